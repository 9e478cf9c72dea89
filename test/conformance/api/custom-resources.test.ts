/** CustomResourceDefinitions and the objects of their kinds. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, eventually, unique } from './harness.ts';
import { discovered } from './verbs.ts';
import { WebhookServer } from './webhook.ts';

let cluster: Cluster;
let webhook: WebhookServer;
beforeAll(async () => {
  cluster = await Cluster.start();
  webhook = await WebhookServer.start(cluster);
});
afterAll(async () => {
  webhook.close();
  await cluster.close();
});

const apiextensions = 'apiextensions.k8s.io/v1';
const definitions = () => cluster.resource(apiextensions, 'customresourcedefinitions');

const preserving = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
const version = (name: string, storage: boolean, schema: Any = preserving, more: Any = {}): Any => ({
  name,
  served: true,
  storage,
  schema: { openAPIV3Schema: schema },
  ...more,
});

interface Made {
  readonly group: string;
  readonly plural: string;
  readonly kind: string;
  readonly object: Any;
}

/** A random kind, established when this resolves. */
async function define(more: Any = {}, labels: Any = {}): Promise<Made> {
  const word = unique('foo').replace('-', '');
  const group = `${word}.example.com`;
  const kind = `E2e${word}`;
  const plural = `${kind.toLowerCase()}s`;
  const name = `${plural}.${group}`;
  await definitions().create({
    apiVersion: apiextensions,
    kind: 'CustomResourceDefinition',
    metadata: { name, labels },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural, singular: kind.toLowerCase(), kind, listKind: `${kind}List` },
      versions: [version('v1', true)],
      ...more,
    },
  });
  const object = await eventually('established', async () => {
    const live = await definitions().get(name);
    const established = live.status?.conditions?.find(({ type }: Any) => type === 'Established');
    return established?.status === 'True' ? live : undefined;
  });
  for (const { name: served } of object.spec.versions)
    await eventually(
      'served',
      async () => (await cluster.call('GET', `/apis/${group}/${served}/${plural}`)).status === 200,
    );
  return { group, plural, kind, object };
}

const instance = ({ group, kind }: Made, name: string, fields: Any = {}, of = 'v1'): Any => ({
  apiVersion: `${group}/${of}`,
  kind,
  metadata: { name },
  ...fields,
});

test('conformance: crd-create-delete: a random definition is established, used and deleted', async () => {
  const one = await define();
  const namespace = await cluster.namespace();
  await cluster.resource(`${one.group}/v1`, one.plural, namespace).create(instance(one, 'a'));
  await definitions().delete(one.object.metadata.name);
  await eventually('gone', () => definitions().gone(one.object.metadata.name));
  await eventually('not served', async () => {
    return (await cluster.call('GET', `/apis/${one.group}/v1/namespaces/${namespace}/${one.plural}`)).status === 404;
  });
});

test('conformance: crd-list: ten labelled definitions are listed and removed together, others stay', async () => {
  const other = await define();
  const label = unique('crd-list');
  for (let i = 0; i < 10; i++) await define({}, { 'e2e-list-test-uuid': label });
  const selected = `?labelSelector=e2e-list-test-uuid%3D${label}`;
  expect(await definitions().names(selected)).toHaveLength(10);
  await definitions().deleteCollection(selected);
  await eventually('none is left', async () => (await definitions().names(selected)).length === 0);
  expect(await definitions().gone(other.object.metadata.name)).toBe(false);
});

test('conformance: crd-status: conditions written to the status by update and by patch persist', async () => {
  const { object } = await define();
  const { name } = object.metadata;
  const read = await definitions().get(name, 'status');
  expect(read).toMatchObject({ kind: 'CustomResourceDefinition', metadata: { uid: object.metadata.uid } });
  const updated = await definitions().change(
    name,
    ({ status }) => {
      status.conditions.push({ type: 'StatusUpdate', status: 'True', reason: 'E2E', message: 'Set from an e2e test' });
    },
    'status',
  );
  expect(updated.status.conditions).toContainEqual(
    expect.objectContaining({ type: 'StatusUpdate', status: 'True', reason: 'E2E', message: 'Set from an e2e test' }),
  );
  const conditions = [
    ...updated.status.conditions,
    { type: 'StatusPatched', status: 'True', reason: 'E2E', message: 'm' },
  ];
  await definitions().patch(name, 'merge', { status: { conditions } }, 'status');
  const after = (await definitions().get(name)).status.conditions.map(({ type }: Any) => type);
  expect(after).toEqual(expect.arrayContaining(['Established', 'NamesAccepted', 'StatusUpdate', 'StatusPatched']));
});

test('conformance: crd-discovery: definitions are discovered on three levels', async () => {
  await discovered(cluster, apiextensions, 'customresourcedefinitions', {
    kind: 'CustomResourceDefinition',
    namespaced: false,
    subresources: { status: ['get', 'patch', 'update'] },
  });
});

test('conformance: crd-defaulting: defaults apply to requests and to what is read; a removed default erases nothing stored', async () => {
  const schema = (a: Any, b: Any): Any => ({ type: 'object', properties: { a, b } });
  const text = { type: 'string' };
  const one = await define({ versions: [version('v1', true, schema(text, text))] });
  const objects = cluster.resource(`${one.group}/v1`, one.plural, await cluster.namespace());
  const first = await objects.create(instance(one, 'first'));
  expect(first.a).toBeUndefined();
  const change = (a: Any, b: Any): Promise<Any> =>
    definitions().patch(one.object.metadata.name, 'json', [
      { op: 'replace', path: '/spec/versions/0/schema/openAPIV3Schema', value: schema(a, b) },
    ]);
  await change({ ...text, default: 'A' }, text);
  await eventually('a is defaulted when read', async () => (await objects.get('first')).a === 'A');
  expect((await objects.create(instance(one, 'second'))).a).toBe('A');
  await change(text, { ...text, default: 'B' });
  await eventually('b is defaulted when read', async () => (await objects.get('second')).b === 'B');
  expect(await objects.get('second')).toMatchObject({ a: 'A', b: 'B' });
  const again = await objects.get('first');
  expect([again.a, again.b]).toEqual([undefined, 'B']);
});

test('conformance: crd-watch: a watch tells of the right object alone', async () => {
  const one = await define({ scope: 'Cluster' });
  const objects = cluster.resource(`${one.group}/v1`, one.plural);
  const watches = [];
  for (const name of ['name1', 'name2']) watches.push(await objects.watch(`&fieldSelector=metadata.name%3D${name}`));
  for (const name of ['name1', 'name2']) await objects.create(instance(one, name, { content: { key: 'value' } }));
  for (const name of ['name1', 'name2'])
    await objects.patch(name, 'merge', { metadata: { annotations: { dummy: 'test' } } });
  for (const name of ['name1', 'name2']) await objects.delete(name);
  for (const [index, watch] of watches.entries()) {
    await watch.first(3);
    const name = `name${index + 1}`;
    expect(watch.summary()).toEqual([`ADDED ${name}`, `MODIFIED ${name}`, `DELETED ${name}`]);
  }
});

const converted = (schemas: Any = {}): Any => {
  const text = { type: 'string' };
  const versions = [
    version('v1', true, { type: 'object', properties: { hostPort: text } }, schemas.v1),
    version('v2', false, { type: 'object', properties: { host: text, port: text } }, schemas.v2),
  ];
  const conversion = {
    strategy: 'Webhook',
    webhook: { conversionReviewVersions: ['v1', 'v1beta1'], clientConfig: webhook.clientConfig('/crdconvert') },
  };
  return { versions, conversion };
};

test('conformance: crd-conversion-single: an object made in v1 is read in v2, converted by the webhook', async () => {
  const one = await define(converted());
  const namespace = await cluster.namespace();
  webhook.conversions.length = 0;
  const made = await cluster
    .resource(`${one.group}/v1`, one.plural, namespace)
    .create(instance(one, 'cr-instance-1', { hostPort: 'localhost:8080' }));
  const read = await cluster.resource(`${one.group}/v2`, one.plural, namespace).get('cr-instance-1');
  expect(read).toMatchObject({ apiVersion: `${one.group}/v2`, host: 'localhost', port: '8080' });
  expect(read.hostPort).toBeUndefined();
  const { managedFields: _, ...metadata } = read.metadata;
  const { managedFields: __, ...before } = made.metadata;
  expect(metadata).toEqual(before);
  expect(webhook.conversions.at(-1)).toMatchObject({ desiredAPIVersion: `${one.group}/v2` });
});

test('conformance: crd-conversion-mixed-list: objects stored in two versions are listed in either', async () => {
  const one = await define(converted());
  const namespace = await cluster.namespace();
  const in_ = (of: string) => cluster.resource(`${one.group}/${of}`, one.plural, namespace);
  await in_('v1').create(instance(one, 'cr-instance-1', { hostPort: 'localhost:8080' }));
  const [v1, v2] = one.object.spec.versions;
  await definitions().patch(one.object.metadata.name, 'merge', {
    spec: {
      versions: [
        { ...v1, storage: false },
        { ...v2, storage: true },
      ],
    },
  });
  await eventually('v2 is stored', async () => {
    return (await definitions().get(one.object.metadata.name)).status.storedVersions.includes('v2');
  });
  await in_('v1').create(instance(one, 'cr-instance-2', { hostPort: 'example:80' }));
  const first = (await in_('v1').list()).items;
  expect(first.map(({ apiVersion, hostPort }: Any) => [apiVersion, hostPort])).toEqual([
    [`${one.group}/v1`, 'localhost:8080'],
    [`${one.group}/v1`, 'example:80'],
  ]);
  const second = (await in_('v2').list()).items;
  expect(second.map(({ apiVersion, host, port }: Any) => [apiVersion, host, port])).toEqual([
    [`${one.group}/v2`, 'localhost', '8080'],
    [`${one.group}/v2`, 'example', '80'],
  ]);
});

test('conformance: crd-selectable-fields: fields select in lists, watches and removal, in each version and through conversion', async () => {
  const fields = (...paths: string[]): Any => ({ selectableFields: paths.map((jsonPath) => ({ jsonPath })) });
  const one = await define(converted({ v1: fields('.hostPort'), v2: fields('.host', '.port') }));
  const namespace = await cluster.namespace();
  const v1 = cluster.resource(`${one.group}/v1`, one.plural, namespace);
  const v2 = cluster.resource(`${one.group}/v2`, one.plural, namespace);
  const select = (selector: string): string => `fieldSelector=${encodeURIComponent(selector)}`;
  const watches = {
    byHost: await v2.watch(`&${select('host=host1')}`),
    byHostAndPort: await v2.watch(`&${select('host=host1,port=80')}`),
    byHostPort: await v1.watch(`&${select('hostPort=host1:80')}`),
  };
  const made: [string, string, string][] = [
    ['cr-1', 'host1', '80'],
    ['cr-2', 'host1', '8080'],
    ['cr-3', 'host2', '80'],
  ];
  for (const [name, host, port] of made) await v2.create(instance(one, name, { host, port }, 'v2'));
  expect(await v2.names(`?${select('host=host1')}`)).toEqual(['cr-1', 'cr-2']);
  expect(await v2.names(`?${select('host=host1,port=80')}`)).toEqual(['cr-1']);
  expect(await v1.names(`?${select('hostPort=host1:80')}`)).toEqual(['cr-1']);
  expect(await v2.everywhere().names(`?${select('host=host2')}`)).toEqual(['cr-3']);
  const unknown = await cluster.call('GET', `${v1.path()}?${select('host=host1')}`);
  expect(unknown.status).toBe(400);
  // Out of one selector, into another; v1 sees it through conversion.
  await v2.change('cr-1', (object) => {
    object.host = 'host2';
  });
  for (const watch of Object.values(watches))
    await watch.find('DELETED cr-1', ({ type, object }) => type === 'DELETED' && object.metadata.name === 'cr-1');
  expect(watches.byHost.summary()).toEqual(['ADDED cr-1', 'ADDED cr-2', 'DELETED cr-1']);
  expect(watches.byHostAndPort.summary()).toEqual(['ADDED cr-1', 'DELETED cr-1']);
  expect(watches.byHostPort.summary()).toEqual(['ADDED cr-1', 'DELETED cr-1']);
  await v2.deleteCollection(`?${select('host=host2')}`);
  expect(await v2.names()).toEqual(['cr-2']);
  expect(await v1.names(`?${select('hostPort=host1:8080')}`)).toEqual(['cr-2']);
});
