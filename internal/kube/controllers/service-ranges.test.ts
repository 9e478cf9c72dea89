import { afterAll, beforeAll, expect, test } from 'vitest';
import { utf8 } from '../../base/bytes.ts';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { builtinKinds } from '../api/builtin.ts';
import { adminClient, startTestServer, type TestServer } from '../apiserver/testing.ts';
import type { JsonObject } from '../machinery/json.ts';
import { runControllers } from './context.ts';
import { addressesOf, serviceRangesController } from './service-ranges.ts';

/** Addresses of Services as objects, over a whole server: who makes them, who repairs them, what more ranges are for. */
let server: TestServer;
let controllers: { stop(): Promise<void> } | undefined;
/** How far the controllers' clock is ahead. */
let aheadMs = 0;
const services = '/api/v1/namespaces/default/services';
const group = '/apis/networking.k8s.io/v1';

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await controllers?.stop();
  await server.close();
});
const control = (): void => {
  controllers ??= runControllers([serviceRangesController], {
    client: adminClient(server),
    kinds: builtinKinds,
    clock: { ...systemClock, now: () => systemClock.now() + aheadMs },
    random: systemRandom,
    log: silentLogger,
    host: 'test',
  });
};

const make = (name: string, spec: JsonObject = {}): ReturnType<TestServer['call']> =>
  server.call('POST', services, { metadata: { name }, spec: { ports: [{ port: 80 }], ...spec } });
const address = (ip: string): ReturnType<TestServer['call']> => server.call('GET', `${group}/ipaddresses/${ip}`);
const range = (name: string): ReturnType<TestServer['call']> => server.call('GET', `${group}/servicecidrs/${name}`);
const parent = (name: string): JsonObject => ({ parentRef: { resource: 'services', namespace: 'default', name } });

test('addresses of a Service: each once, and none where there is none', () => {
  const of = (spec: object): string[] =>
    addressesOf({ apiVersion: 'v1', kind: 'Service', metadata: { name: 's' }, spec });
  expect(of({ clusterIP: '10.43.0.9', clusterIPs: ['10.43.0.9', 'fd00::1'] })).toEqual(['10.43.0.9']);
  expect(of({ clusterIP: 'None', clusterIPs: ['None'] })).toEqual([]);
});

test('an IPAddress comes and goes with its Service, with the labels of the allocator', async () => {
  const { body } = await make('one');
  const ip = body.spec.clusterIP as string;
  expect((await address(ip)).body).toMatchObject({
    metadata: {
      name: ip,
      uid: expect.any(String),
      labels: {
        'ipaddress.kubernetes.io/ip-family': 'IPv4',
        'ipaddress.kubernetes.io/managed-by': 'ipallocator.k8s.io',
      },
    },
    spec: parent('one'),
  });
  const list = await server.call('GET', `${group}/ipaddresses`);
  expect(list.body.items.map((one: JsonObject) => (one.metadata as JsonObject).name)).toContain('10.43.0.1');
  expect((await make('dry', { clusterIP: '10.43.0.50' })).status).toBe(201);
  await server.call('DELETE', `${services}/one`);
  expect((await address(ip)).status).toBe(404);
});

test('an address that is an object already is not given to a Service', async () => {
  await server.call('POST', `${group}/ipaddresses`, {
    metadata: { name: '10.43.0.77' },
    spec: { parentRef: { group: 'example.com', resource: 'things', name: 'mine' } },
  });
  const refused = await make('wants', { clusterIP: '10.43.0.77' });
  expect(refused.body.message).toContain('provided IP is already allocated');
});

test('what is missing is made, also for Services from before there were such objects; what is of no Service goes', async () => {
  const { body } = await make('old');
  const ip = body.spec.clusterIP as string;
  await server.store.txn({
    compare: [],
    success: [{ op: 'delete', request: { key: utf8(`/registry/networking.k8s.io/ipaddresses/${ip}`) } }],
    failure: [],
  });
  expect((await address(ip)).status).toBe(404);
  control();
  await expect.poll(async () => (await address(ip)).body.spec).toEqual(parent('old'));
  await server.call('DELETE', `${group}/ipaddresses/${ip}`);
  await expect.poll(async () => (await address(ip)).body.spec).toEqual(parent('old'));
  // What somebody else made is left alone, whatever it says.
  await server.call('POST', `${group}/ipaddresses`, { metadata: { name: '10.43.9.9' }, spec: parent('nobody') });
  await Bun.sleep(100);
  expect((await address('10.43.9.9')).status).toBe(200);
});

test('a range of a user becomes ready and is used for what the first does not have; it stays while it is needed', async () => {
  control();
  const wants = { clusterIP: '10.99.0.5' };
  expect((await make('far', wants)).body.message).toContain('The range of valid IPs is 10.43.0.0/16');
  await server.call('POST', `${group}/servicecidrs`, { metadata: { name: 'more' }, spec: { cidrs: ['10.99.0.0/24'] } });
  const ready = async (): Promise<JsonObject> => (await range('more')).body.status?.conditions?.[0];
  await expect.poll(ready).toMatchObject({ type: 'Ready', status: 'True' });
  expect((await range('more')).body.metadata.finalizers).toEqual(['networking.k8s.io/service-cidr-finalizer']);
  expect((await make('far', wants)).status).toBe(201);
  await server.call('DELETE', `${group}/servicecidrs/more`);
  await expect.poll(ready).toMatchObject({ status: 'False', reason: 'Terminating' });
  expect((await make('farther', { clusterIP: '10.99.0.6' })).status).toBe(422);
  aheadMs = 11_000;
  await server.call('DELETE', `${services}/far`);
  await expect.poll(async () => (await range('more')).status).toBe(404);
});

test('a range that nobody needs stays ten seconds, until every allocator has seen that it goes', async () => {
  aheadMs = 0;
  control();
  await server.call('POST', `${group}/servicecidrs`, { metadata: { name: 'idle' }, spec: { cidrs: ['10.97.0.0/24'] } });
  await expect.poll(async () => (await range('idle')).body.status?.conditions?.[0]?.status).toBe('True');
  await server.call('DELETE', `${group}/servicecidrs/idle`);
  await Bun.sleep(300);
  expect((await range('idle')).status).toBe(200);
  aheadMs = 11_000;
  const label = { metadata: { labels: { look: 'again' } } };
  const merge = { headers: { 'content-type': 'application/merge-patch+json' } };
  await server.call('PATCH', `${group}/servicecidrs/idle`, label, merge);
  await expect.poll(async () => (await range('idle')).status).toBe(404);
});
