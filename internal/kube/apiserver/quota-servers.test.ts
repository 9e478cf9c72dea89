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

test('while others delete: never more than the quota says, and every place that became free can be taken', async () => {
  const most = 7;
  const limit = async (): Promise<number> => {
    const count = (await names()).length;
    expect(count).toBeLessThanOrEqual(most);
    return count;
  };
  let made = 0;
  let over = false;
  const makers = [first.api, second].flatMap((api, at) =>
    [0, 1, 2].map(async (i) => {
      for (let round = 0; round < 25; round++) {
        const status = await create(api, 'configmaps', { metadata: { name: `race-${at}-${i}-${round}` } });
        expect([201, 403]).toContain(status);
        if (status === 201) made++;
        // As between requests that come over a network.
        await Bun.sleep(0);
      }
    }),
  );
  const deleter = (async () => {
    for (let turn = 0; !over; turn++) {
      const all = await names();
      const gone = all[turn % Math.max(1, all.length)];
      if (gone !== undefined) await first.call('DELETE', `${space}/configmaps/${gone}`);
      await limit();
    }
  })();
  await Promise.all(makers);
  over = true;
  await deleter;
  expect(made).toBeGreaterThan(0);
  // What is free now is free at once, to the last place.
  const free = most - (await limit());
  for (let i = 0; i < free; i++)
    expect(await create(i % 2 ? second : first.api, 'configmaps', { metadata: { name: `after-${i}` } })).toBe(201);
  expect(await create(second, 'configmaps', { metadata: { name: 'one-too-many' } })).toBe(403);
  expect((await first.call('GET', `${space}/resourcequotas/q`)).body.status.used).toEqual({ configmaps: '7' });
});

test('objects that grow on two servers at once: what they use together fits', async () => {
  const claims = `${space}/persistentvolumeclaims`;
  await first.call('POST', '/apis/storage.k8s.io/v1/storageclasses', {
    metadata: { name: 'grows' },
    provisioner: 'example.com/x',
    allowVolumeExpansion: true,
  });
  await create(first.api, 'resourcequotas', {
    metadata: { name: 's' },
    spec: { hard: { 'requests.storage': '10Gi' } },
  });
  const merge = { headers: { 'content-type': 'application/merge-patch+json' } };
  for (const name of ['a', 'b', 'c']) {
    const spec = {
      accessModes: ['ReadWriteOnce'],
      storageClassName: 'grows',
      resources: { requests: { storage: '1Gi' } },
    };
    expect(await create(first.api, 'persistentvolumeclaims', { metadata: { name }, spec })).toBe(201);
    await first.call('PATCH', `${claims}/${name}/status`, { status: { phase: 'Bound' } }, merge);
  }
  const grow = async (api: ApiServer, name: string): Promise<number> => {
    const body = JSON.stringify({ spec: { resources: { requests: { storage: '5Gi' } } } });
    const request = new Request(`http://api${claims}/${name}`, { method: 'PATCH', ...merge, body });
    return (await api.fetch(request, { identity: admin })).status;
  };
  const statuses = await Promise.all(['a', 'b', 'c'].map((name, i) => grow(i % 2 ? second : first.api, name)));
  expect(statuses.sort()).toEqual([200, 403, 403]);
  expect((await first.call('GET', `${space}/resourcequotas/s`)).body.status.used).toEqual({
    'requests.storage': '7Gi',
  });
});
