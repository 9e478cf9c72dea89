/** Storage objects that need no volume. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, eventually, type Resource, unique } from './harness.ts';
import { everyVerb } from './verbs.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

const groupVersion = 'storage.k8s.io/v1';

/** Create, get, patch, delete; again: update, deletecollection, nothing left. */
async function lifecycle(objects: Resource, kind: string, make: (labels: Any) => Any): Promise<void> {
  const label = unique('e2e');
  const selected = (value: string): string => `?labelSelector=${label}%3D${value}`;
  const create = async (): Promise<Any> => {
    const { metadata, ...rest } = make({ [label]: 'created' });
    return objects.create({ apiVersion: groupVersion, kind, metadata, ...rest });
  };
  const first = await create();
  const { name } = first.metadata;
  expect((await objects.get(name)).metadata.uid).toBe(first.metadata.uid);
  const patched = await objects.patch(name, 'strategic', { metadata: { labels: { [label]: 'patched' } } });
  expect(patched.metadata.labels[label]).toBe('patched');
  expect(await objects.names(selected('patched'))).toEqual([name]);
  await objects.delete(name);
  await eventually('gone', () => objects.gone(name));
  const second = await create();
  expect(second.metadata.uid).not.toBe(first.metadata.uid);
  const updated = await objects.change(second.metadata.name, ({ metadata }) => {
    metadata.labels[label] = 'updated';
  });
  expect(updated.metadata.labels[label]).toBe('updated');
  expect(await objects.names(selected('updated'))).toEqual([second.metadata.name]);
  await objects.deleteCollection(selected('updated'));
  await eventually('none is left', async () => (await objects.names(selected('updated'))).length === 0);
}

test('conformance: storageclass-lifecycle: a class is made, patched, deleted, made again, updated and removed', async () => {
  await lifecycle(cluster.resource(groupVersion, 'storageclasses'), 'StorageClass', (labels) => ({
    metadata: { generateName: 'e2e-', labels },
    provisioner: 'e2e-fake-provisioner',
    parameters: { foo: 'bar' },
  }));
});

test('conformance: vac-lifecycle: a class of volume attributes goes the same way', async () => {
  const classes = cluster.resource(groupVersion, 'volumeattributesclasses');
  await lifecycle(classes, 'VolumeAttributesClass', (labels) => ({
    metadata: { generateName: 'e2e-vac-', labels },
    driverName: 'e2e-fake-csi-driver',
    parameters: { foo: 'bar' },
  }));
});

const attachment = (name: string, labels: Any = {}): Any => ({
  apiVersion: groupVersion,
  kind: 'VolumeAttachment',
  metadata: { name, labels },
  spec: { attacher: 'e2e-test.storage.k8s.io', nodeName: 'e2e-node', source: { persistentVolumeName: `pv-${name}` } },
});

test('conformance: volumeattachment-lifecycle: three attachments are made, patched, listed, updated and removed', async () => {
  const attachments = cluster.resource(groupVersion, 'volumeattachments');
  const label = unique('va');
  const names = [1, 2, 3].map((index) => unique(`va-e2e-${index}`));
  await attachments.create(attachment(names[0]!));
  expect((await attachments.get(names[0]!)).spec.source.persistentVolumeName).toBe(`pv-${names[0]}`);
  const patched = await attachments.patch(names[0]!, 'strategic', { metadata: { labels: { [label]: 'patched' } } });
  expect(patched.metadata.labels).toEqual({ [label]: 'patched' });
  expect(await attachments.names(`?labelSelector=${label}%3Dpatched`)).toEqual([names[0]]);
  await attachments.delete(names[0]!);
  await eventually('gone', () => attachments.gone(names[0]!));
  for (const name of names.slice(1)) await attachments.create(attachment(name));
  for (const name of names.slice(1))
    await attachments.change(name, ({ metadata }) => {
      metadata.labels = { [label]: 'updated' };
    });
  expect(await attachments.names(`?labelSelector=${label}%3Dupdated`)).toHaveLength(2);
  await attachments.deleteCollection(`?labelSelector=${label}%3Dupdated`);
  await eventually('none is left', async () => (await attachments.names(`?labelSelector=${label}`)).length === 0);
});

test('conformance: volumeattachment-status: attached is false at first, patched to true and updated to false', async () => {
  const attachments = cluster.resource(groupVersion, 'volumeattachments');
  const name = unique('va-status');
  expect((await attachments.create(attachment(name))).status).toEqual({ attached: false });
  expect((await attachments.get(name, 'status')).kind).toBe('VolumeAttachment');
  const patched = await attachments.patch(
    name,
    'merge',
    { metadata: { annotations: { 'e2e-patched': 'true' } }, status: { attached: true } },
    'status',
  );
  expect(patched.status.attached).toBe(true);
  expect(patched.metadata.annotations).toEqual({ 'e2e-patched': 'true' });
  await attachments.change(
    name,
    ({ status }) => {
      status.attached = false;
    },
    'status',
  );
  expect((await attachments.get(name)).status.attached).toBe(false);
  await attachments.delete(name);
  expect(await attachments.gone(name)).toBe(true);
});

test('conformance: csidriver-lifecycle: two drivers are patched, updated, listed and removed', async () => {
  const drivers = cluster.resource(groupVersion, 'csidrivers');
  const label = unique('csidriver');
  const names = ['one', 'two'].map((which) => `${unique(`e2e-${which}`)}.example.com`);
  for (const name of names) {
    const made = await drivers.create({
      apiVersion: groupVersion,
      kind: 'CSIDriver',
      metadata: { name, labels: { [label]: 'created' } },
      spec: {},
    });
    expect(made.spec).toMatchObject({
      attachRequired: true,
      podInfoOnMount: false,
      volumeLifecycleModes: ['Persistent'],
    });
  }
  await drivers.patch(names[0]!, 'strategic', { metadata: { labels: { [label]: 'patched' } } });
  expect((await drivers.get(names[0]!)).metadata.labels[label]).toBe('patched');
  await drivers.change(names[1]!, ({ metadata }) => {
    metadata.labels[label] = 'updated';
  });
  expect(await drivers.names(`?labelSelector=${label}+in+(patched,updated)`)).toEqual(names.toSorted());
  await drivers.delete(names[0]!);
  expect(await drivers.gone(names[0]!)).toBe(true);
  await drivers.deleteCollection(`?labelSelector=${label}%3Dupdated`);
  await eventually('none is left', async () => (await drivers.names(`?labelSelector=${label}`)).length === 0);
});

test('conformance: csi-inline-pod-api: a pod with an inline CSI volume is made, listed, patched and deleted', async () => {
  await cluster.resource(groupVersion, 'csidrivers').create({
    apiVersion: groupVersion,
    kind: 'CSIDriver',
    metadata: { name: 'inline.csi.k8s.io' },
    spec: { volumeLifecycleModes: ['Ephemeral'] },
  });
  const pods = cluster.resource('v1', 'pods', await cluster.namespace());
  const made = await pods.create({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'inline', labels: { 'e2e-test': 'inline' } },
    spec: {
      containers: [
        { name: 'c', image: 'registry.k8s.io/pause:3.10', volumeMounts: [{ name: 'v', mountPath: '/mnt' }] },
      ],
      volumes: [{ name: 'v', csi: { driver: 'inline.csi.k8s.io' } }],
    },
  });
  expect(made.spec.volumes[0]).toEqual({ name: 'v', csi: { driver: 'inline.csi.k8s.io' } });
  expect((await pods.get('inline')).metadata.uid).toBe(made.metadata.uid);
  expect(await pods.names('?labelSelector=e2e-test%3Dinline')).toEqual(['inline']);
  await pods.patch('inline', 'strategic', { metadata: { labels: { 'e2e-test': 'patched' } } });
  expect(await pods.names('?labelSelector=e2e-test%3Dpatched')).toEqual(['inline']);
  await pods.delete('inline', { gracePeriodSeconds: 0 });
  await eventually('gone', () => pods.gone('inline'));
});

test('conformance: csinode-lifecycle: a CSI node is made, patched, deleted, made again, updated and removed', async () => {
  const name = unique('csinode');
  await lifecycle(cluster.resource(groupVersion, 'csinodes'), 'CSINode', (labels) => ({
    metadata: { name, labels },
    spec: { drivers: [] },
  }));
});

test('conformance: csistoragecapacity-api: discovery and every verb, in a namespace and across all', async () => {
  await everyVerb(cluster, {
    groupVersion,
    plural: 'csistoragecapacities',
    kind: 'CSIStorageCapacity',
    namespaced: true,
    object: (index) => ({ storageClassName: `sc-${index}`, capacity: '1Gi' }),
  });
});
