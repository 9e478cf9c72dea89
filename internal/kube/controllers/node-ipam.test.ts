import { describe, expect, test } from 'vitest';
import type { Node } from '../api/types.ts';
import { dnsEndpoints } from './cluster-dns.ts';
import { freePodCIDR } from './node-ipam-plan.ts';

describe('pod networks of nodes', () => {
  test.each([
    ['the first', '10.42.0.0/16', [], '10.42.0.0/24'],
    ['the lowest gap', '10.42.0.0/16', ['10.42.0.0/24', '10.42.2.0/24'], '10.42.1.0/24'],
    ['around a larger one', '10.42.0.0/16', ['10.42.0.0/22'], '10.42.4.0/24'],
    ['around a smaller one', '10.42.0.0/16', ['10.42.0.128/25'], '10.42.1.0/24'],
    ['what is not a network takes nothing', '10.42.0.0/16', ['fd00::/64', 'x'], '10.42.0.0/24'],
    ['none left', '10.42.0.0/23', ['10.42.0.0/24', '10.42.1.0/24'], undefined],
    ['a cluster network of one', '10.42.7.0/24', [], '10.42.7.0/24'],
  ])('%s', (_name, cluster, taken, free) => {
    expect(freePodCIDR(cluster, taken)).toBe(free);
  });
});

describe('endpoints of the cluster DNS', () => {
  const node = (name: string, ip: string | undefined, ready: string): Node => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    status: {
      addresses: ip === undefined ? [] : [{ type: 'InternalIP', address: ip }],
      conditions: [{ type: 'Ready', status: ready }],
    },
  });

  test('one a node, for its own node first; that of a silent node is not ready', () => {
    const endpoints = dnsEndpoints([
      node('b', '192.0.2.2', 'Unknown'),
      node('a', '192.0.2.1', 'True'),
      node('c', undefined, 'True'),
    ]);
    expect(endpoints).toEqual([
      {
        addresses: ['192.0.2.1'],
        conditions: { ready: true, serving: true, terminating: false },
        hints: { forNodes: [{ name: 'a' }] },
        nodeName: 'a',
      },
      {
        addresses: ['192.0.2.2'],
        conditions: { ready: false, serving: false, terminating: false },
        hints: { forNodes: [{ name: 'b' }] },
        nodeName: 'b',
      },
    ]);
  });
});
