/** Namespaces and ResourceQuotas as objects. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, eventually, type Resource, unique } from './harness.ts';

let cluster: Cluster;
let namespaces: Resource;
beforeAll(async () => {
  cluster = await Cluster.start();
  namespaces = cluster.resource('v1', 'namespaces');
});
afterAll(() => cluster.close());

test('conformance: ns-patch: a patched label is returned and persists', async () => {
  const name = await cluster.namespace();
  const patched = await namespaces.patch(name, 'strategic', { metadata: { labels: { testLabel: 'testValue' } } });
  expect(patched.metadata.labels.testLabel).toBe('testValue');
  expect((await namespaces.get(name)).metadata.labels).toMatchObject({
    testLabel: 'testValue',
    'kubernetes.io/metadata.name': name,
  });
});

test('conformance: ns-update: updated labels persist', async () => {
  const name = await cluster.namespace();
  const updated = await namespaces.change(name, ({ metadata }) => {
    metadata.labels[name] = 'updated';
  });
  expect(updated.metadata.labels[name]).toBe('updated');
  expect((await namespaces.get(name)).metadata.labels[name]).toBe('updated');
});

test('conformance: ns-status: it starts Active; conditions that are patched and updated into the status are returned', async () => {
  const name = await cluster.namespace();
  expect((await namespaces.get(name, 'status')).status).toEqual({ phase: 'Active' });
  const patch = { type: 'StatusPatch', status: 'True', reason: 'E2E', message: 'Patched by an e2e test' };
  const patched = await namespaces.patch(name, 'merge', { status: { conditions: [patch] } }, 'status');
  expect(patched.status.conditions).toEqual([expect.objectContaining(patch)]);
  const update = { type: 'StatusUpdate', status: 'True', reason: 'E2E', message: 'Updated by an e2e test' };
  await namespaces.change(name, ({ status }) => status.conditions.push(update), 'status');
  expect((await namespaces.get(name)).status).toEqual({
    phase: 'Active',
    conditions: [expect.objectContaining(patch), expect.objectContaining(update)],
  });
});

test('conformance: ns-finalizer: /finalize adds a finalizer to the spec and removes it', async () => {
  const name = await cluster.namespace();
  const finalizer = 'e2e.example.com/fakeFinalizer';
  const added = await namespaces.change(name, ({ spec }) => spec.finalizers.push(finalizer), 'finalize');
  expect(added.spec.finalizers).toEqual(['kubernetes', finalizer]);
  expect((await namespaces.get(name)).spec.finalizers).toEqual(['kubernetes', finalizer]);
  const removed = await namespaces.change(
    name,
    ({ spec }) => {
      spec.finalizers = spec.finalizers.filter((one: string) => one !== finalizer);
    },
    'finalize',
  );
  expect(removed.spec.finalizers).toEqual(['kubernetes']);
  expect((await namespaces.get(name)).spec.finalizers).toEqual(['kubernetes']);
});

const quota = (name: string, hard: Any, labels: Any = {}): Any => ({
  apiVersion: 'v1',
  kind: 'ResourceQuota',
  metadata: { name, labels },
  spec: { hard },
});

test('conformance: quota-update-delete: a quota is made, raised and deleted', async () => {
  const quotas = cluster.resource('v1', 'resourcequotas', await cluster.namespace());
  const made = await quotas.create(quota('test-quota', { cpu: '1', memory: '500Mi' }));
  expect(made.spec.hard).toEqual({ cpu: '1', memory: '500Mi' });
  await quotas.change('test-quota', ({ spec }) => {
    spec.hard = { cpu: '2', memory: '1Gi' };
  });
  expect((await quotas.get('test-quota')).spec.hard).toEqual({ cpu: '2', memory: '1Gi' });
  await quotas.delete('test-quota');
  expect(await quotas.gone('test-quota')).toBe(true);
});

test('conformance: quota-lifecycle: a quota is listed by label everywhere, patched, and removed with its collection', async () => {
  const quotas = cluster.resource('v1', 'resourcequotas', await cluster.namespace());
  const label = unique('e2e-rq');
  const made = await quotas.create(quota('e2e-quota', { cpu: '1', memory: '500Mi' }, { [label]: 'active' }));
  expect((await quotas.get('e2e-quota')).spec.hard.memory).toBe('500Mi');
  expect(await quotas.everywhere().names(`?labelSelector=${label}%3Dactive`)).toEqual(['e2e-quota']);
  const patched = await quotas.patch('e2e-quota', 'strategic', {
    metadata: { labels: { [label]: 'patched' } },
    spec: { hard: { memory: '750Mi' } },
  });
  expect(patched.metadata.labels[label]).toBe('patched');
  expect(patched.spec.hard).toEqual({ cpu: '1', memory: '750Mi' });
  expect(Number(patched.metadata.resourceVersion)).toBeGreaterThan(Number(made.metadata.resourceVersion));
  await quotas.deleteCollection(`?labelSelector=${label}%3Dpatched`);
  await eventually('gone', () => quotas.gone('e2e-quota'));
});
