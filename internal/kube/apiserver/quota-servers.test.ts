/** ResourceQuota where several servers write to one store. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { admin, startApi, startTestServer, type TestServer } from './testing.ts';
import type { ApiServer } from './apiserver.ts';

let first: TestServer;
let second: ApiServer;

beforeAll(async () => {
  first = await startTestServer();
  second = await startApi(first.store, first.pki);
});
afterAll(async () => {
  await second.close();
  await first.close();
});

const space = '/api/v1/namespaces/shared';
async function create(api: ApiServer, resource: string, body: object): Promise<number> {
  const request = new Request(`http://api${space}/${resource}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return (await api.fetch(request, { identity: admin })).status;
}
const names = async (): Promise<string[]> =>
  (await first.call('GET', `${space}/configmaps`)).body.items.map(
    (one: { metadata: { name: string } }) => one.metadata.name,
  );

test('many at once on two servers: the quota takes as many as it says, and its status counts them', async () => {
  await first.call('POST', '/api/v1/namespaces', { metadata: { name: 'shared' } });
  await create(first.api, 'resourcequotas', { metadata: { name: 'q' }, spec: { hard: { configmaps: '7' } } });
  const statuses = await Promise.all(
    Array.from({ length: 24 }, (_, i) =>
      create(i % 2 ? second : first.api, 'configmaps', { metadata: { name: `m${i}` } }),
    ),
  );
  expect(statuses.filter((status) => status === 201)).toHaveLength(7);
  expect(statuses.filter((status) => status === 403)).toHaveLength(17);
  expect(await names()).toHaveLength(7);
  expect((await first.call('GET', `${space}/resourcequotas/q`)).body.status.used).toEqual({ configmaps: '7' });
});

test('one place: one of two gets it; what is deleted gives its place back at once', async () => {
  for (let round = 0; round < 10; round++) {
    const [gone] = await names();
    await first.call('DELETE', `${space}/configmaps/${gone}`);
    const statuses = await Promise.all(
      [first.api, second].map((api, at) => create(api, 'configmaps', { metadata: { name: `r${round}-${at}` } })),
    );
    expect(statuses.sort()).toEqual([201, 403]);
  }
});

test('a dry run is refused and counts for nothing', async () => {
  const dry = 'configmaps?dryRun=All';
  expect(await create(second, dry, { metadata: { name: 'dry' } })).toBe(403);
  const [gone] = await names();
  await first.call('DELETE', `${space}/configmaps/${gone}`);
  expect(await create(second, dry, { metadata: { name: 'dry' } })).toBe(201);
  expect(await create(first.api, 'configmaps', { metadata: { name: 'wet' } })).toBe(201);
});
