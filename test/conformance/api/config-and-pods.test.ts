/** ConfigMaps, Secrets, and what an API server alone decides of pods, their templates, nodes, leases and runtime classes. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, eventually, refusal, type Resource, unique } from './harness.ts';
import { everyVerb } from './verbs.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

const resource = async (plural: string): Promise<Resource> => cluster.resource('v1', plural, await cluster.namespace());
const base64 = (text: string): string => Buffer.from(text).toString('base64');

test('conformance: cm-empty-key: a ConfigMap with an empty key is refused', async () => {
  const refused = await refusal(
    (await resource('configmaps')).create({ metadata: { name: 'empty' }, data: { '': 'value-1' } }),
  );
  expect(refused).toMatchObject({ code: 422, reason: 'Invalid' });
  expect(refused.details!.causes).toContainEqual(
    expect.objectContaining({ reason: 'FieldValueInvalid', field: 'data[]' }),
  );
});

test('conformance: cm-lifecycle: a ConfigMap is patched, listed everywhere by label and removed with its collection, as a watch tells', async () => {
  const maps = await resource('configmaps');
  const label = unique('test-configmap');
  const selected = `labelSelector=test-configmap-static%3D${label}`;
  const watch = await maps.watch(`&${selected}`);
  await maps.create({
    metadata: { name: 'test-configmap', labels: { 'test-configmap-static': label } },
    data: { valueName: 'value' },
  });
  await maps.patch('test-configmap', 'strategic', {
    metadata: { labels: { 'test-configmap': 'patched' } },
    data: { valueName: 'value1' },
  });
  const read = await maps.get('test-configmap');
  expect(read.data).toEqual({ valueName: 'value1' });
  expect(read.metadata.labels['test-configmap']).toBe('patched');
  expect(await maps.everywhere().names(`?${selected}`)).toEqual(['test-configmap']);
  await maps.deleteCollection(`?${selected}`);
  await watch.first(3);
  expect(watch.summary()).toEqual(['ADDED', 'MODIFIED', 'DELETED'].map((type) => `${type} test-configmap`));
  await eventually('none is left', async () => (await maps.names(`?${selected}`)).length === 0);
});

test('conformance: cm-update: updated data is what a later get returns', async () => {
  const maps = await resource('configmaps');
  await maps.create({ metadata: { name: 'configmap-test' }, data: {} });
  await maps.change('configmap-test', (object) => {
    object.data = { data: 'value' };
  });
  expect((await maps.get('configmap-test')).data).toEqual({ data: 'value' });
});

test('conformance: secret-empty-key: a Secret with an empty key is refused', async () => {
  const secrets = await resource('secrets');
  const refused = await refusal(secrets.create({ metadata: { name: 'empty' }, data: { '': base64('value-1') } }));
  expect(refused).toMatchObject({ code: 422, reason: 'Invalid' });
});

test('conformance: secret-patch: a Secret is listed, patched and removed with its collection', async () => {
  const secrets = await resource('secrets');
  const label = unique('testsecret');
  const selected = `?labelSelector=testsecret-constant%3D${label}`;
  await secrets.create({
    metadata: { name: 'test-secret', labels: { 'testsecret-constant': label } },
    type: 'Opaque',
    data: { key: base64('value') },
  });
  expect(await secrets.everywhere().names(selected)).toEqual(['test-secret']);
  await secrets.patch('test-secret', 'strategic', {
    metadata: { labels: { testsecret: 'true' } },
    data: { key: base64('value1') },
  });
  const read = await secrets.get('test-secret');
  expect(read.metadata.labels).toEqual({ 'testsecret-constant': label, testsecret: 'true' });
  expect(read.data).toEqual({ key: base64('value1') });
  await secrets.deleteCollection(selected);
  expect(await secrets.everywhere().names(selected)).toEqual([]);
});

/** `immutable: true` blocks changes of the data and of itself, not of labels, and not deletion. */
async function immutable(objects: Resource, value: (text: string) => string): Promise<void> {
  await objects.create({ metadata: { name: 'immutable' }, data: { 'data-1': value('value-1') } });
  const put = (key: string): Promise<Any> => objects.change('immutable', ({ data }) => (data[key] = value(key)));
  await put('data-2');
  await objects.change('immutable', (object) => {
    object.immutable = true;
  });
  const refused = await refusal(put('data-3'));
  expect(refused).toMatchObject({ code: 422, reason: 'Invalid' });
  expect(refused.message).toContain('data: Forbidden: field is immutable when `immutable` is set');
  const unset = await refusal(
    objects.change('immutable', (object) => {
      object.immutable = false;
    }),
  );
  expect(unset.message).toContain('immutable: Forbidden: field is immutable when `immutable` is set');
  await refusal(objects.patch('immutable', 'merge', { immutable: null }));
  const labelled = await objects.change('immutable', ({ metadata }) => {
    metadata.labels = { label: 'label-value' };
  });
  expect(labelled.metadata.labels).toEqual({ label: 'label-value' });
  expect(labelled.data).toEqual({ 'data-1': value('value-1'), 'data-2': value('data-2') });
  await objects.delete('immutable');
  expect(await objects.gone('immutable')).toBe(true);
}

test('conformance: cmvol-immutable: an immutable ConfigMap keeps its data', async () => {
  await immutable(await resource('configmaps'), (text) => text);
});

test('conformance: secretvol-immutable: an immutable Secret keeps its data', async () => {
  await immutable(await resource('secrets'), base64);
});

const pod = (name: string, spec: Any = {}, container: Any = {}): Any => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name },
  spec: {
    containers: [{ name: 'agnhost', image: 'registry.k8s.io/e2e-test-images/agnhost:2.53', ...container }],
    ...spec,
  },
});

test('conformance: pod-qos: equal requests and limits make a pod Guaranteed', async () => {
  const pods = await resource('pods');
  const amounts = { cpu: '100m', memory: '100Mi' };
  await pods.create(pod('pod-qos', {}, { resources: { requests: amounts, limits: amounts } }));
  expect((await pods.get('pod-qos')).status.qosClass).toBe('Guaranteed');
});

const podTemplate = (name: string, labels: Any): Any => ({
  apiVersion: 'v1',
  kind: 'PodTemplate',
  metadata: { name, labels },
  template: { spec: { containers: [{ name: 'nginx', image: 'nginx' }] } },
});

test('conformance: podtemplate-lifecycle: a template is patched, listed everywhere by label and deleted', async () => {
  const templates = await resource('podtemplates');
  const label = unique('podtemplate');
  const selected = `?labelSelector=podtemplate-static%3D${label}`;
  expect(await templates.everywhere().names(selected)).toEqual([]);
  await templates.create(podTemplate('nginx-pod-template', { 'podtemplate-static': label }));
  await templates.patch('nginx-pod-template', 'strategic', { metadata: { labels: { podtemplate: 'patched' } } });
  expect((await templates.get('nginx-pod-template')).metadata.labels.podtemplate).toBe('patched');
  expect(await templates.everywhere().names(selected)).toEqual(['nginx-pod-template']);
  await templates.delete('nginx-pod-template');
  expect(await templates.everywhere().names(selected)).toEqual([]);
});

test('conformance: podtemplate-replace: an update with an annotation is seen as MODIFIED', async () => {
  const templates = await resource('podtemplates');
  const label = unique('podtemplate');
  const watch = await templates.watch(`&labelSelector=e2e%3D${label}`);
  await templates.create(podTemplate('podtemplate', { e2e: label }));
  await templates.change('podtemplate', ({ metadata }) => {
    metadata.annotations = { updated: 'true' };
  });
  const { object } = await watch.find('MODIFIED', ({ type }) => type === 'MODIFIED');
  expect(object.metadata.annotations).toEqual({ updated: 'true' });
});

test('conformance: podtemplate-deletecollection: labelled templates are removed together', async () => {
  const templates = await resource('podtemplates');
  for (let i = 1; i <= 3; i++) await templates.create(podTemplate(`test-podtemplate-${i}`, { set: 'true' }));
  expect(await templates.names('?labelSelector=set%3Dtrue')).toHaveLength(3);
  await templates.deleteCollection('?labelSelector=set%3Dtrue');
  await eventually('none is left', async () => (await templates.names('?labelSelector=set%3Dtrue')).length === 0);
});

test('conformance: node-lifecycle: a node is created by a client, read, patched, listed, updated and deleted', async () => {
  const nodes = cluster.resource('v1', 'nodes');
  const name = unique('e2e-fake-node');
  await nodes.create({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True', message: 'Set from e2e test' }] },
  });
  const read = await nodes.get(name);
  expect(read.status.conditions).toEqual([expect.objectContaining({ type: 'Ready', message: 'Set from e2e test' })]);
  const patched = await nodes.patch(name, 'strategic', { metadata: { labels: { [name]: 'patched' } } });
  expect(patched.metadata.labels[name]).toBe('patched');
  expect(await nodes.names(`?labelSelector=${name}%3Dpatched`)).toEqual([name]);
  await nodes.change(name, ({ metadata }) => {
    metadata.labels[name] = 'updated';
  });
  expect(await nodes.names(`?labelSelector=${name}%3Dupdated`)).toEqual([name]);
  await nodes.delete(name);
  expect(await nodes.gone(name)).toBe(true);
});

test('conformance: lease-api: the spec of a lease survives create, update and patch to the microsecond', async () => {
  const leases = cluster.resource('coordination.k8s.io/v1', 'leases', await cluster.namespace());
  const lease = (name: string): Any => ({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, labels: { deletecollection: 'true' } },
    spec: {
      holderIdentity: 'holder',
      leaseDurationSeconds: 30,
      acquireTime: '2026-01-02T03:04:05.000006Z',
      renewTime: '2026-01-02T03:04:10.999999Z',
      leaseTransitions: 0,
    },
  });
  const created = await leases.create(lease('lease'));
  expect(created.spec).toEqual(lease('lease').spec);
  expect((await leases.get('lease')).spec).toEqual(created.spec);
  const next = {
    holderIdentity: 'holder2',
    leaseDurationSeconds: 60,
    acquireTime: '2026-01-02T03:05:05.123456Z',
    renewTime: '2026-01-02T03:05:10.000001Z',
    leaseTransitions: 1,
  };
  await leases.change('lease', (object) => {
    object.spec = next;
  });
  expect((await leases.get('lease')).spec).toEqual(next);
  const patch = {
    ...next,
    holderIdentity: 'holder3',
    leaseDurationSeconds: 70,
    renewTime: '2026-01-02T03:06:10.000002Z',
  };
  await leases.patch('lease', 'strategic', { spec: patch });
  expect((await leases.get('lease')).spec).toEqual(patch);
  await leases.create(lease('lease2'));
  expect(await leases.names('?labelSelector=deletecollection%3Dtrue')).toEqual(['lease', 'lease2']);
  await leases.deleteCollection('?labelSelector=deletecollection%3Dtrue');
  expect(await leases.names()).toEqual([]);
  await leases.create(lease('lease'));
  await leases.delete('lease');
  expect(await leases.gone('lease')).toBe(true);
});

test('conformance: runtimeclass-api: discovery and every verb; a name that exists is refused', async () => {
  await everyVerb(cluster, {
    groupVersion: 'node.k8s.io/v1',
    plural: 'runtimeclasses',
    kind: 'RuntimeClass',
    object: () => ({ handler: 'test-handler' }),
  });
  const classes = cluster.resource('node.k8s.io/v1', 'runtimeclasses');
  const object = {
    apiVersion: 'node.k8s.io/v1',
    kind: 'RuntimeClass',
    metadata: { name: unique('twice') },
    handler: 'h',
  };
  await classes.create(object);
  expect(await refusal(classes.create(object))).toMatchObject({ code: 409, reason: 'AlreadyExists' });
});

test('conformance: runtimeclass-nonexistent: a pod that names an unknown class is forbidden, a dry run too', async () => {
  const pods = await resource('pods');
  for (const query of ['', '?dryRun=All']) {
    const refused = await refusal(pods.create(pod('no-class', { runtimeClassName: 'nonexistent' }), query));
    expect(refused).toMatchObject({ code: 403, reason: 'Forbidden' });
    expect(refused.message).toBe('pods "no-class" is forbidden: pod rejected: RuntimeClass "nonexistent" not found');
  }
});

test('conformance: runtimeclass-deleted: so is one whose class was deleted', async () => {
  const pods = await resource('pods');
  const classes = cluster.resource('node.k8s.io/v1', 'runtimeclasses');
  const runtimeClassName = unique('deleted');
  const object = { apiVersion: 'node.k8s.io/v1', kind: 'RuntimeClass', metadata: { name: runtimeClassName } };
  await classes.create({ ...object, handler: 'runc' });
  await pods.create(pod('with-class', { runtimeClassName }));
  await classes.delete(runtimeClassName);
  expect(await refusal(pods.create(pod('without-class', { runtimeClassName })))).toMatchObject({
    code: 403,
    reason: 'Forbidden',
  });
});

test('conformance: sysctl-invalid: bad names are refused, and only those are named', async () => {
  const sysctls = ['foo-', 'kernel.shmmax', 'safe-and-unsafe', 'bar..'].map((name) => ({ name, value: '1' }));
  const refused = await refusal((await resource('pods')).create(pod('sysctl', { securityContext: { sysctls } })));
  expect(refused).toMatchObject({ code: 422, reason: 'Invalid' });
  expect(refused.message).toContain('Invalid value: "foo-"');
  expect(refused.message).toContain('Invalid value: "bar.."');
  expect(refused.message).not.toContain('safe-and-unsafe');
  expect(refused.message).not.toContain('kernel.shmmax');
});
