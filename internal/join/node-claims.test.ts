import { describe, expect, test } from 'vitest';
import { effectiveConfig } from '../config/load.ts';
import { serverSans } from '../pki/leaves.ts';
import { claimRefusal } from './node-claims.ts';

const config = effectiveConfig('tlsSans: [api.example.com, 203.0.113.7]\ncluster: {domain: home.arpa}', 'test', {
  hostname: 'server-1',
  ip: '10.0.0.1',
  freeBytes: 1e12,
});
const own = ['10.0.0.1', '192.168.9.1'];
const refusal = (name: string, ...addresses: string[]) =>
  claimRefusal(
    { name, addresses },
    {
      server: { node: 'server-1', addresses: own },
      serverSans: serverSans(config, own),
      servers: ['10.0.0.1:6443', '10.0.0.3:6443'],
      cluster: config.cluster,
      nodes: [
        { name: 'server-1', addresses: ['10.0.0.1'] },
        { name: 'pi-2', addresses: ['10.0.0.2'] },
      ],
    },
  );

describe('what a node claims', () => {
  test.each([
    ['kubernetes', 'a name of every API server'],
    ['kubernetes.default', 'a name of every API server'],
    ['kubernetes.default.svc', 'a name of every API server'],
    ['kubernetes.default.svc.home.arpa', 'a name of every API server'],
    ['localhost', 'loopback'],
    ['api.localhost', 'loopback'],
    ['api.example.com', 'tlsSans'],
    ['home.arpa', 'the domain of the cluster'],
    ['shop.default.svc', 'a service'],
    ['shop.default.svc.home.arpa', 'a service'],
    ['10.43.0.1', 'an address as a name'],
    ['10.0.0.1', 'an address as a name'],
    ['10.0.0.2', 'the address of another node as a name'],
  ])('the name %s is refused: %s', (name) => {
    expect(refusal(name)?.why).toContain(name);
  });

  test.each([
    ['10.43.0.1', 'the service of the API', 'address of the server'],
    ['10.43.7.7', 'another service', 'serviceCIDR 10.43.0.0/16'],
    ['10.42.0.1', 'a pod', 'podCIDR 10.42.0.0/16'],
    ['203.0.113.7', 'tlsSans', 'address of the server'],
    ['10.0.0.1', 'the server', 'address of the server'],
    ['192.168.9.1', 'another interface of the server', 'address of the server'],
    ['10.0.0.3', 'another server', 'address of the server'],
    ['127.0.0.1', 'loopback', 'no address'],
    ['127.8.8.8', 'loopback', 'no address'],
    ['0.0.0.0', 'any address', 'no address'],
    ['224.0.0.251', 'multicast', 'no address'],
    ['255.255.255.255', 'broadcast', 'no address'],
    ['10.0.0.2', 'another node', 'kubectl delete node pi-2'],
  ])('the address %s, of %s, is refused', (address, _, why) => {
    expect(refusal('thief', '10.0.0.9', address)?.why).toContain(why);
  });

  test.each([
    ['pi-9', ['10.0.0.9', '192.168.9.9']],
    ['pi-9.lan', []],
    ['10.0.0.9', ['10.0.0.9']],
    ['pi-2', ['10.0.0.2']],
    ['server-1', own],
  ])('%s with %j has what is its own', (name, addresses) => {
    expect(refusal(name, ...addresses)).toBeUndefined();
  });

  test("the server's own node is certified for its machine, not for the API's other names", () => {
    for (const address of ['10.43.0.1', '203.0.113.7', '10.0.0.3', '127.0.0.1'])
      expect(refusal('server-1', address)).toBeDefined();
    expect(refusal('thief', '10.0.0.2')?.by).toBe('pi-2');
  });
});
