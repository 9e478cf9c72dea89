import type { Question } from 'dns-packet';
import { describe, expect, test } from 'vitest';
import type { EndpointSlice, Service } from '../../api/types.ts';
import { type Outcome, resolve } from './answer.ts';
import { DnsCache } from './cache.ts';
import { buildZone } from './zone.ts';

const domain = 'cluster.local';

function service(name: string, spec: NonNullable<Service['spec']>): Service {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'ns' }, spec };
}

const slices: EndpointSlice[] = [
  {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'db-1', namespace: 'ns', labels: { 'kubernetes.io/service-name': 'db' } },
    addressType: 'IPv4',
    ports: [{ name: 'sql', port: 5432, protocol: 'TCP' }],
    endpoints: [
      { addresses: ['10.42.0.5'], hostname: 'db-0', conditions: { ready: true } },
      { addresses: ['10.42.0.6'], conditions: { ready: true } },
      { addresses: ['10.42.0.7'], hostname: 'db-2', conditions: { ready: false } },
    ],
  },
];
const zone = buildZone(
  [
    service('web', { clusterIP: '10.43.0.9', clusterIPs: ['10.43.0.9'], ports: [{ name: 'http', port: 80 }] }),
    service('db', { clusterIP: 'None', ports: [{ name: 'sql', port: 5432 }] }),
    service('ext', { type: 'ExternalName', externalName: 'foo.example.com' }),
  ],
  slices,
  domain,
);
const ask = (name: string, type: Question['type'] = 'A'): Outcome => resolve(zone, domain, { name, type });
const data = (o: Outcome): unknown[] =>
  o.kind === 'answers' ? o.answers.map((a) => ('data' in a ? a.data : a)) : [o.kind];

describe('cluster DNS', () => {
  test('a service has its cluster IP, whatever the case of the question', () => {
    expect(data(ask('web.ns.svc.cluster.local'))).toEqual(['10.43.0.9']);
    expect(data(ask('WEB.ns.svc.Cluster.Local'))).toEqual(['10.43.0.9']);
  });

  test('AAAA of an IPv4 service is no data, not no name', () => {
    expect(ask('web.ns.svc.cluster.local', 'AAAA').kind).toBe('none');
  });

  test('SRV of a named port, with the address beside it', () => {
    const outcome = ask('_http._tcp.web.ns.svc.cluster.local', 'SRV');
    expect(data(outcome)).toEqual([{ priority: 0, weight: 100, port: 80, target: 'web.ns.svc.cluster.local' }]);
    expect(outcome.kind === 'answers' && outcome.additionals).toMatchObject([{ type: 'A', data: '10.43.0.9' }]);
  });

  test('PTR of the cluster IP', () => {
    expect(data(ask('9.0.43.10.in-addr.arpa', 'PTR'))).toEqual(['web.ns.svc.cluster.local']);
  });

  test('a headless service has its ready pods, by host name or by address', () => {
    expect(data(ask('db.ns.svc.cluster.local'))).toEqual(['10.42.0.5', '10.42.0.6']);
    expect(data(ask('db-0.db.ns.svc.cluster.local'))).toEqual(['10.42.0.5']);
    expect(data(ask('10-42-0-6.db.ns.svc.cluster.local'))).toEqual(['10.42.0.6']);
    expect(ask('db-2.db.ns.svc.cluster.local').kind).toBe('noName');
    expect(data(ask('_sql._tcp.db.ns.svc.cluster.local', 'SRV'))).toHaveLength(2);
  });

  test('ExternalName is an alias to chase', () => {
    const outcome = ask('ext.ns.svc.cluster.local');
    expect(data(outcome)).toEqual(['foo.example.com']);
    expect(outcome.kind === 'answers' && outcome.chase).toBe('foo.example.com');
  });

  test('pod names carry their address', () => {
    expect(data(ask('10-42-0-5.ns.pod.cluster.local'))).toEqual(['10.42.0.5']);
    expect(ask('10-42-0-999.ns.pod.cluster.local').kind).toBe('noName');
  });

  test('names of the cluster that nobody has end here, others are forwarded', () => {
    expect(ask('nobody.ns.svc.cluster.local').kind).toBe('noName');
    expect(ask('ns.svc.cluster.local').kind).toBe('none');
    expect(ask('cluster.local').kind).toBe('none');
    expect(ask('example.com').kind).toBe('forward');
    expect(ask('notcluster.local').kind).toBe('forward');
  });

  test('the cache forgets what is too old and keeps its bound', () => {
    const cache = new DnsCache<number>(2);
    cache.set('a', 1, 10, 0);
    expect(cache.get('a', 4_000)).toEqual({ value: 1, ageSeconds: 4 });
    expect(cache.get('a', 10_000)).toBeUndefined();
    for (const key of ['x', 'y', 'z']) cache.set(key, 1, 10, 0);
    expect(cache.get('x', 1)).toBeUndefined();
    expect(cache.get('z', 1)?.value).toBe(1);
  });
});
