import type { Question } from 'dns-packet';
import { decode, encode } from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../base/log.ts';
import { seededRandom } from '../../../base/random.ts';
import { systemClock } from '../../../base/system.ts';
import type { EndpointSlice, Service } from '../../api/types.ts';
import { type Outcome, rcode, resolve } from './answer.ts';
import { DnsCache } from './cache.ts';
import { DnsServer } from './dns-server.ts';
import { Forwarder } from './forwarder-client.ts';
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

describe('DNS server', () => {
  const random = seededRandom(7);
  const server = new DnsServer({
    address: '127.0.0.1',
    port: 0,
    domain,
    zone: () => ({ zone, serial: 1 }),
    forwarder: new Forwarder({ servers: [], clock: systemClock, random }),
    clock: systemClock,
    log: silentLogger,
  });
  const query = (name: string, type: Question['type'] = 'A') =>
    encode({ type: 'query', id: 77, flags: 1 << 8, questions: [{ name, type, class: 'IN' }] });
  const answer = async (bytes: Uint8Array, tcp = false) => decode((await server.answer(bytes, tcp))!);

  test("answers keep the asker's id and spelling and are authoritative", async () => {
    const got = await answer(query('WEB.ns.svc.cluster.local'));
    expect(got).toMatchObject({ id: 77, type: 'response', flag_aa: true, flag_ra: true });
    expect(got.answers).toMatchObject([{ name: 'WEB.ns.svc.cluster.local', data: '10.43.0.9' }]);
  });

  test('no such name comes with the start of authority', async () => {
    const got = await answer(query('nobody.ns.svc.cluster.local'));
    expect((got.flags ?? 0) & 0xf).toBe(rcode.nameError);
    expect(got.authorities?.[0]?.type).toBe('SOA');
  });

  test('a name outside with no server to ask is a server failure', async () => {
    expect(((await answer(query('example.com'))).flags ?? 0) & 0xf).toBe(rcode.serverFailure);
  });

  test('an answer too long for UDP is asked for again over TCP', async () => {
    const many = new DnsServer({
      address: '127.0.0.1',
      port: 0,
      domain,
      zone: () => ({
        zone: new Map([
          ['big.cluster.local', Array.from({ length: 100 }, (_x, i) => ({ type: 'A' as const, data: `10.42.0.${i}` }))],
        ]),
        serial: 1,
      }),
      forwarder: new Forwarder({ servers: [], clock: systemClock, random }),
      clock: systemClock,
      log: silentLogger,
    });
    expect(decode((await many.answer(query('big.cluster.local'), false))!)).toMatchObject({
      flag_tc: true,
      answers: [],
    });
    expect(decode((await many.answer(query('big.cluster.local'), true))!).answers).toHaveLength(100);
  });

  test('garbage and broken questions are answered or dropped, never more', async () => {
    const good = query('web.ns.svc.cluster.local', 'SRV');
    for (let round = 0; round < 2000; round++) {
      const bytes = round % 2 === 0 ? random.bytes(random.uint32() % 80) : Uint8Array.from(good);
      if (round % 2 === 1) for (let i = 0; i < 3; i++) bytes[random.uint32() % bytes.length] = random.uint32() & 0xff;
      await server.answer(bytes, round % 3 === 0);
    }
  });
});
