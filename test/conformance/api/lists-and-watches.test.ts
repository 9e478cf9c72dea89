/** Lists in pages, tables, and what watches tell. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, refusal, type Resource, unique } from './harness.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

const total = 400;
const templateName = (index: number): string => `template-${String(index).padStart(4, '0')}`;

let made: Promise<Resource> | undefined;
/** The same for both tests that page through them. */
const templates = (): Promise<Resource> => {
  made ??= makeTemplates();
  return made;
};

async function makeTemplates(): Promise<Resource> {
  const resource = cluster.resource('v1', 'podtemplates', await cluster.namespace());
  await Promise.all(
    Array.from({ length: total }, (_, index) =>
      resource.create({
        apiVersion: 'v1',
        kind: 'PodTemplate',
        metadata: { name: templateName(index) },
        template: { spec: { containers: [{ name: 'test', image: 'test2' }] } },
      }),
    ),
  );
  return resource;
}

const page = (resource: Resource, limit: number, token?: string): Promise<Any> =>
  resource.list(`?limit=${limit}${token === undefined ? '' : `&continue=${encodeURIComponent(token)}`}`);

test('conformance: chunking-pages: pages of any size are one list: one version, sorted, counted, nothing twice', async () => {
  const resource = await templates();
  for (const limits of [[1, 40, 17, 399], [33], [200], [7, 90]]) {
    let seen = 0;
    let token: string | undefined;
    let version: string | undefined;
    do {
      const limit = limits[Math.min(seen, limits.length - 1)]!;
      const { items, metadata } = await page(resource, limit, token);
      expect(items.length).toBeLessThanOrEqual(limit);
      version ??= metadata.resourceVersion;
      expect(metadata.resourceVersion).toBe(version);
      expect(items.map((item: Any) => item.metadata.name)).toEqual(
        items.map((_: Any, index: number) => templateName(seen + index)),
      );
      seen += items.length;
      if (metadata.continue) expect(metadata.remainingItemCount + seen).toBe(total);
      else expect(metadata.remainingItemCount).toBeUndefined();
      token = metadata.continue || undefined;
    } while (token !== undefined);
    expect(seen).toBe(total);
  }
  const whole = await page(resource, total + 1);
  expect(whole.items).toHaveLength(total);
  expect(whole.metadata.continue ?? '').toBe('');
});

test('conformance: chunking-expired: an expired token is refused with one that goes on in a newer list', async () => {
  const resource = await templates();
  const first = await page(resource, 40);
  // History is forgotten as it is every five minutes.
  await resource.patch(templateName(0), 'merge', { metadata: { labels: { changed: 'yes' } } });
  await cluster.server.store.compact(cluster.server.store.revision);
  const expired = await refusal(page(resource, 40, first.metadata.continue));
  expect(expired).toMatchObject({ code: 410, reason: 'Expired' });
  expect(expired.metadata.continue).toMatch(/./);
  const second = await page(resource, 40, expired.metadata.continue);
  expect(second.metadata.resourceVersion).not.toBe(first.metadata.resourceVersion);
  let seen = 40;
  for (let next = second; ; next = await page(resource, 40, next.metadata.continue)) {
    expect(next.metadata.resourceVersion).toBe(second.metadata.resourceVersion);
    expect(next.items.map((item: Any) => item.metadata.name)).toEqual(
      Array.from({ length: 40 }, (_, index) => templateName(seen + index)),
    );
    seen += next.items.length;
    if (!next.metadata.continue) break;
  }
  expect(seen).toBe(total);
});

test('conformance: table-406: a review has no table', async () => {
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    spec: { nonResourceAttributes: { path: '/', verb: 'get' } },
  };
  const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
  const { status, body } = await cluster.call('POST', path, review, {
    accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
  });
  expect(status).toBe(406);
  expect(body).toMatchObject({ kind: 'Status', code: 406, reason: 'NotAcceptable' });
});

const label = 'watch-this-configmap';
const configMap = (name: string, of: string): Any => ({ metadata: { name, labels: { [label]: of } } });
const mutate = (resource: Resource, name: string, to: number): Promise<Any> =>
  resource.change(name, (object) => {
    object.data = { mutation: String(to) };
  });

test('conformance: watch-events: each watcher is told of what its selector concerns', async () => {
  const maps = cluster.resource('v1', 'configmaps', await cluster.namespace());
  const [a, b, both] = [
    await maps.watch(`&labelSelector=${label}%3Dmultiple-watchers-A`),
    await maps.watch(`&labelSelector=${label}%3Dmultiple-watchers-B`),
    await maps.watch(`&labelSelector=${label}+in+(multiple-watchers-A,multiple-watchers-B)`),
  ];
  await maps.create(configMap('configmap-a', 'multiple-watchers-A'));
  for (const to of [1, 2]) await mutate(maps, 'configmap-a', to);
  await maps.delete('configmap-a');
  await maps.create(configMap('configmap-b', 'multiple-watchers-B'));
  await maps.delete('configmap-b');
  const ofA = ['ADDED configmap-a', 'MODIFIED configmap-a', 'MODIFIED configmap-a', 'DELETED configmap-a'];
  const ofB = ['ADDED configmap-b', 'DELETED configmap-b'];
  await Promise.all([a.first(4), b.first(2), both.first(6)]);
  expect(a.summary()).toEqual(ofA);
  expect(b.summary()).toEqual(ofB);
  expect(both.summary()).toEqual([...ofA, ...ofB]);
  expect(a.events.map(({ object }) => object.data?.mutation)).toEqual([undefined, '1', '2', '2']);
});

test('conformance: watch-from-rv: a watch from the first update tells of what came later', async () => {
  const maps = cluster.resource('v1', 'configmaps', await cluster.namespace());
  await maps.create(configMap('resource-version', 'from-resource-version'));
  const first = await mutate(maps, 'resource-version', 1);
  await mutate(maps, 'resource-version', 2);
  await maps.delete('resource-version');
  const selected = `&labelSelector=${label}%3Dfrom-resource-version`;
  const watch = await maps.watch(`${selected}&resourceVersion=${first.metadata.resourceVersion}`);
  await watch.first(2);
  expect(watch.summary()).toEqual(['MODIFIED resource-version', 'DELETED resource-version']);
  expect(watch.events[0]!.object.data).toEqual({ mutation: '2' });
});

test('conformance: watch-restart: a watch from the last version that another saw misses nothing', async () => {
  const maps = cluster.resource('v1', 'configmaps', await cluster.namespace());
  const selected = `&labelSelector=${label}%3Dwatch-closed-and-restarted`;
  const before = await maps.watch(selected);
  await maps.create(configMap('closed', 'watch-closed-and-restarted'));
  await mutate(maps, 'closed', 1);
  const last = (await before.first(2))[1]!.object.metadata.resourceVersion;
  await before.close();
  await mutate(maps, 'closed', 2);
  const after = await maps.watch(`${selected}&resourceVersion=${last}`);
  await maps.delete('closed');
  await after.first(2);
  expect(after.summary()).toEqual(['MODIFIED closed', 'DELETED closed']);
  expect(after.events[0]!.object.data).toEqual({ mutation: '2' });
});

test('conformance: watch-selector-leave: what leaves the selector is DELETED, and ADDED when it returns', async () => {
  const maps = cluster.resource('v1', 'configmaps', await cluster.namespace());
  const watch = await maps.watch(`&labelSelector=${label}%3Dlabel-changed-and-restored`);
  const relabel = (of: string): Promise<Any> => maps.patch('label', 'merge', { metadata: { labels: { [label]: of } } });
  await maps.create(configMap('label', 'label-changed-and-restored'));
  await mutate(maps, 'label', 1);
  await relabel('wrong-value');
  await mutate(maps, 'label', 2);
  await relabel('label-changed-and-restored');
  await mutate(maps, 'label', 3);
  await maps.delete('label');
  await watch.first(6);
  expect(watch.summary()).toEqual([
    'ADDED label',
    'MODIFIED label',
    'DELETED label',
    'ADDED label',
    'MODIFIED label',
    'DELETED label',
  ]);
  expect(watch.events.map(({ object }) => object.data?.mutation)).toEqual([undefined, '1', '1', '2', '3', '3']);
});

test('conformance: watch-order: watches from any version tell the same events in the same order', async () => {
  const maps = cluster.resource('v1', 'configmaps', await cluster.namespace());
  const from = (await maps.list()).metadata.resourceVersion;
  const first = await maps.watch(`&resourceVersion=${from}`);
  const live = new Set<string>();
  const watches = [];
  let actions = 0;
  for (let i = 0; i < 100; i++) {
    // Create, update and delete, several at once.
    const one = unique('cm');
    const [oldest, next] = live;
    const requests = [maps.create({ metadata: { name: one } })];
    if (oldest !== undefined && i % 2 === 0) requests.push(maps.delete(oldest));
    if (next !== undefined) requests.push(mutate(maps, next, i));
    await Promise.all(requests);
    if (oldest !== undefined && i % 2 === 0) live.delete(oldest);
    actions += requests.length;
    live.add(one);
    if (i % 4 === 0) {
      const version = first.events.at(-1)?.object.metadata.resourceVersion ?? from;
      watches.push({ version, watch: await maps.watch(`&resourceVersion=${version}`) });
    }
  }
  expect(actions).toBe(247);
  const marker = (await maps.create({ metadata: { name: 'last' } })).metadata.uid;
  const last = ({ object }: { object: Any }): boolean => object.metadata.uid === marker;
  const told = ({ type, object }: { type: string; object: Any }): string =>
    `${type} ${object.metadata.name} ${object.metadata.resourceVersion}`;
  await first.find('the last', last);
  const versions = first.events.map(({ object }) => Number(object.metadata.resourceVersion));
  expect(versions).toEqual(versions.toSorted((a, b) => a - b));
  for (const { version, watch } of watches) {
    await watch.find('the last', last);
    const later = first.events.filter(({ object }) => Number(object.metadata.resourceVersion) > Number(version));
    expect(watch.events.map(told)).toEqual(later.map(told));
  }
});
