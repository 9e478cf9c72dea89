/** Webhooks that refuse and that change what is written. Their configurations as objects: webhook-configurations.test.ts. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, eventually, refusal, type Resource, unique } from './harness.ts';
import { discovered } from './verbs.ts';
import { Ready, registration, rule, scopedNamespace, WebhookServer } from './webhook.ts';

let cluster: Cluster;
let webhook: WebhookServer;
let ready: Ready;
beforeAll(async () => {
  cluster = await Cluster.start();
  webhook = await WebhookServer.start(cluster);
  ready = new Ready(cluster, webhook);
});
afterAll(async () => {
  webhook.close();
  await cluster.close();
});

const disallowed = { 'webhook-e2e-test': 'webhook-disallow' };
const pod = (name: string, container: string, labels: Any = {}): Any => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, labels },
  spec: { containers: [{ name: container, image: 'registry.k8s.io/pause:3.10' }] },
});
const configMap = (name: string, data: Any): Any => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data });

/** A definition in which every property may be, of a group of its own. */
async function customKind(
  more: Any = {},
  schema: Any = { 'x-kubernetes-preserve-unknown-fields': true },
): Promise<Any> {
  const group = `${unique('webhook')}.example.com`;
  const definitions = cluster.resource('apiextensions.k8s.io/v1', 'customresourcedefinitions');
  const version = (name: string, storage: boolean): Any => ({
    name,
    served: true,
    storage,
    schema: { openAPIV3Schema: { type: 'object', ...schema } },
  });
  const definition = await definitions.create({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `widgets.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural: 'widgets', singular: 'widget', kind: 'Widget', listKind: 'WidgetList' },
      versions: [version('v1', true), version('v2', false)],
      ...more,
    },
  });
  await served(group, 'v1', 'widgets');
  return { group, definition, definitions };
}

const served = (group: string, version: string, plural: string): Promise<unknown> =>
  eventually(`${plural}.${group} is served`, async () => {
    return (await cluster.call('GET', `/apis/${group}/${version}/${plural}`)).status === 200;
  });

const widget = (group: string, name: string, data: Any, version = 'v1'): Any => ({
  apiVersion: `${group}/${version}`,
  kind: 'Widget',
  metadata: { name },
  data,
});

test('conformance: webhook-discovery: both kinds of configuration are discovered on three levels', async () => {
  for (const kind of ['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration'])
    await discovered(cluster, registration, `${kind.toLowerCase()}s`, { kind, namespaced: false });
});

test('conformance: webhook-deny-create: pods and ConfigMaps are refused on POST, PUT and PATCH; a hanging webhook refuses by timeout; an exempt namespace is left alone', async () => {
  const { scope, namespace } = await scopedNamespace(cluster);
  const exempt = await cluster.namespace({ [scope]: 'true', 'skip-webhook-admission': 'yes' });
  const namespaceSelector = {
    matchLabels: { [scope]: 'true' },
    matchExpressions: [{ key: 'skip-webhook-admission', operator: 'NotIn', values: ['yes'] }],
  };
  const { caBundle: _, ...withoutCa } = webhook.clientConfig('/configmaps');
  await ready.configure('Validating', [
    webhook.hook('/pods', scope, {
      rules: [rule(['CREATE'], '', 'v1', 'pods')],
      namespaceSelector,
      timeoutSeconds: 1,
    }),
    webhook.hook('/configmaps', scope, {
      rules: [rule(['CREATE', 'UPDATE', 'DELETE'], '', 'v1', 'configmaps')],
      namespaceSelector,
    }),
    webhook.hook('/fail-open', scope, { clientConfig: withoutCa, failurePolicy: 'Ignore', namespaceSelector }),
  ]);
  const pods = cluster.resource('v1', 'pods', namespace);
  const refused = await refusal(pods.create(pod('disallowed-pod', 'webhook-disallow', disallowed)));
  expect(refused.message).toContain('the pod contains unwanted label');
  expect(refused.message).toContain('the pod contains unwanted container name');
  const hanging = pod('hanging-pod', 'hanging', { 'webhook-e2e-test': 'wait-forever' });
  const late = await refusal(pods.create(hanging));
  expect(late.message).toContain('webhook');
  expect(late.message).toContain('deadline');
  expect(await pods.gone('hanging-pod')).toBe(true);

  const maps = cluster.resource('v1', 'configmaps', namespace);
  const unwanted = 'the configmap contains unwanted key and value';
  expect((await refusal(maps.create(configMap('disallowed', disallowed)))).message).toContain(unwanted);
  const live = await maps.create(configMap('allowed', { admit: 'this' }));
  expect((await refusal(maps.update({ ...live, data: disallowed }))).message).toContain(unwanted);
  expect((await refusal(maps.patch('allowed', 'merge', { data: disallowed }))).message).toContain(unwanted);
  expect((await maps.get('allowed')).data).toEqual({ admit: 'this' });
  await cluster.resource('v1', 'configmaps', exempt).create(configMap('disallowed', disallowed));
});

test('conformance: webhook-deny-cr: create, update, patch and delete of a custom resource are refused while forbidden data is present', async () => {
  const { scope, namespace } = await scopedNamespace(cluster);
  const { group } = await customKind();
  const rules = [rule(['CREATE', 'UPDATE', 'DELETE'], group, '*', 'widgets')];
  const configuration = await ready.configure('Validating', [webhook.hook('/custom-resource', scope, { rules })]);
  const widgets = cluster.resource(`${group}/v1`, 'widgets', namespace);
  const unwanted = /denied the request: the custom resource contains unwanted data$/;
  expect((await refusal(widgets.create(widget(group, 'a', disallowed)))).message).toMatch(unwanted);
  const live = await widgets.create(widget(group, 'a', { admit: 'this' }));
  expect((await refusal(widgets.update({ ...live, data: disallowed }))).message).toMatch(unwanted);
  expect((await refusal(widgets.patch('a', 'merge', { data: disallowed }))).message).toMatch(unwanted);
  await configuration.remove();
  // Made while nobody looks, it cannot be deleted afterwards until its data is good.
  await eventually('unguarded', () => widgets.create(widget(group, 'b', disallowed)));
  await ready.configure('Validating', [webhook.hook('/custom-resource', scope, { rules })]);
  expect((await refusal(widgets.delete('b'))).message).toMatch(unwanted);
  await widgets.patch('b', 'merge', { data: { 'webhook-e2e-test': 'webhook-allow' } });
  await widgets.delete('b');
  expect(await widgets.gone('b')).toBe(true);
});

test('conformance: webhook-fail-closed: without a trusted certificate every matching create is refused', async () => {
  const scope = unique('scope');
  const namespace = await cluster.namespace({ [scope]: 'closed' });
  const { caBundle: _, ...clientConfig } = webhook.clientConfig('/configmaps');
  await ready.configure('Validating', [
    webhook.hook('/fail-closed', scope, {
      clientConfig,
      failurePolicy: 'Fail',
      namespaceSelector: { matchExpressions: [{ key: scope, operator: 'In', values: ['closed'] }] },
    }),
  ]);
  const refused = await refusal(cluster.resource('v1', 'configmaps', namespace).create(configMap('any', { a: 'b' })));
  expect(refused).toMatchObject({ code: 500, reason: 'InternalError' });
  expect(refused.message).toMatch(/^Internal error occurred: failed calling webhook "fail-closed/);
  await cluster.resource('v1', 'configmaps', await cluster.namespace()).create(configMap('any', { a: 'b' }));
});

test('conformance: webhook-mutate-configmap-ordered: the second webhook of a configuration sees what the first added', async () => {
  const { scope, namespace } = await scopedNamespace(cluster);
  await ready.configure('Mutating', [
    webhook.hook('/mutating-configmaps', scope),
    webhook.hook('/mutating-configmaps', scope),
  ]);
  const made = await cluster
    .resource('v1', 'configmaps', namespace)
    .create(configMap('to-be-mutated', { 'mutation-start': 'yes' }));
  expect(made.data).toEqual({ 'mutation-start': 'yes', 'mutation-stage-1': 'yes', 'mutation-stage-2': 'yes' });
});

test('conformance: webhook-mutate-pod-defaults: an injected init container gets defaults', async () => {
  const { scope, namespace } = await scopedNamespace(cluster);
  await ready.configure('Mutating', [
    webhook.hook('/mutating-pods', scope, { rules: [rule(['CREATE'], '', 'v1', 'pods')] }),
  ]);
  const made = await cluster.resource('v1', 'pods', namespace).create(pod('webhook-to-be-mutated', 'example'));
  expect(made.spec.initContainers).toHaveLength(1);
  expect(made.spec.initContainers[0]).toMatchObject({
    name: 'webhook-added-init-container',
    terminationMessagePolicy: 'File',
    terminationMessagePath: '/dev/termination-log',
    imagePullPolicy: 'Always',
  });
});

test('conformance: webhook-not-on-webhook-configs: configurations are created unmutated and deleted, whatever matches them', async () => {
  const { scope } = await scopedNamespace(cluster);
  const rules = ['mutating', 'validating'].map((kind) =>
    rule(['CREATE', 'UPDATE', 'DELETE'], 'admissionregistration.k8s.io', '*', `${kind}webhookconfigurations`),
  );
  const everywhere = { rules, namespaceSelector: {}, failurePolicy: 'Fail' };
  await ready.configure('Validating', [webhook.hook('/always-deny', scope, everywhere)]);
  await ready.configure('Mutating', [webhook.hook('/add-label', scope, everywhere)]);
  for (const kind of ['Validating', 'Mutating'] as const) {
    const configurations = cluster.resource(registration, `${kind.toLowerCase()}webhookconfigurations`);
    const made = await configurations.create({
      apiVersion: registration,
      kind: `${kind}WebhookConfiguration`,
      metadata: { name: unique('dummy') },
      webhooks: [
        webhook.hook('/invalid', 'never', { rules: [rule(['CREATE'], '', 'v1', 'invalid')], failurePolicy: 'Ignore' }),
      ],
    });
    expect(made.metadata.labels).toBeUndefined();
    await configurations.delete(made.metadata.name);
    expect(await configurations.gone(made.metadata.name)).toBe(true);
  }
});

test('conformance: webhook-mutate-cr: custom resources are mutated like built-in kinds', async () => {
  const { scope, namespace } = await scopedNamespace(cluster);
  const { group } = await customKind();
  await mutateWidgets(group, scope);
  const made = await cluster
    .resource(`${group}/v1`, 'widgets', namespace)
    .create(widget(group, 'a', { 'mutation-start': 'yes' }));
  expect(made.data).toEqual({ 'mutation-start': 'yes', 'mutation-stage-1': 'yes', 'mutation-stage-2': 'yes' });
});

const mutateWidgets = (group: string, scope: string): Promise<unknown> => {
  const more = { rules: [rule(['CREATE', 'UPDATE'], group, '*', 'widgets')] };
  return ready.configure('Mutating', [
    webhook.hook('/mutating-custom-resource', scope, more),
    webhook.hook('/mutating-custom-resource', scope, more),
  ]);
};

test('conformance: webhook-mutate-cr-pruning: what a webhook adds is pruned unless the schema names it', async () => {
  const { scope, namespace } = await scopedNamespace(cluster);
  const text = { type: 'string' };
  const data = { type: 'object', properties: { 'mutation-start': text, 'mutation-stage-1': text } };
  const { group } = await customKind({}, { properties: { data } });
  await mutateWidgets(group, scope);
  const widgets = cluster.resource(`${group}/v1`, 'widgets', namespace);
  const made = await widgets.create(widget(group, 'a', { 'mutation-start': 'yes' }));
  expect(made.data).toEqual({ 'mutation-start': 'yes', 'mutation-stage-1': 'yes' });
  expect((await widgets.get('a')).data).toEqual({ 'mutation-start': 'yes', 'mutation-stage-1': 'yes' });
});

test('conformance: webhook-mutate-cr-storage-change: an object of the old storage version is mutated and stored in the new', async () => {
  const { scope, namespace } = await scopedNamespace(cluster);
  const { group, definition, definitions } = await customKind();
  await mutateWidgets(group, scope);
  const widgets: Resource = cluster.resource(`${group}/v1`, 'widgets', namespace);
  await widgets.create(widget(group, 'a', { 'mutation-start': 'yes' }));
  const [v1, v2] = definition.spec.versions;
  await definitions.patch(definition.metadata.name, 'merge', {
    spec: {
      versions: [
        { ...v1, storage: false },
        { ...v2, storage: true },
      ],
    },
  });
  await eventually('v2 is stored', async () => {
    return (await definitions.get(definition.metadata.name)).status.storedVersions.includes('v2');
  });
  const patched = await cluster
    .resource(`${group}/v2`, 'widgets', namespace)
    .patch('a', 'merge', { data: { 'mutation-stage-1': null, dummy: 'test' } });
  expect(patched.apiVersion).toBe(`${group}/v2`);
  expect(patched.data).toEqual({
    'mutation-start': 'yes',
    'mutation-stage-1': 'yes',
    'mutation-stage-2': 'yes',
    dummy: 'test',
  });
  expect((await widgets.get('a')).data.dummy).toBe('test');
});

test('conformance: webhook-deny-crd: the creation of a definition is refused with the message of the webhook', async () => {
  const marker = unique('crd');
  await ready.configure('Validating', [
    webhook.hook('/crd', marker, {
      rules: [rule(['CREATE'], 'apiextensions.k8s.io', '*', 'customresourcedefinitions')],
      namespaceSelector: {},
      objectSelector: { matchLabels: disallowed },
    }),
  ]);
  const definition = (labels: Any): Any => ({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `tests.${marker}.example.com`, labels },
    spec: {
      group: `${marker}.example.com`,
      scope: 'Cluster',
      names: { plural: 'tests', kind: 'Test' },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
    },
  });
  const definitions = cluster.resource('apiextensions.k8s.io/v1', 'customresourcedefinitions');
  const refused = await refusal(definitions.create(definition(disallowed)));
  expect(refused.message).toMatch(/denied the request: the crd contains unwanted label$/);
  await definitions.create(definition({}));
});

test('conformance: webhook-timeout: 1 s with Fail refuses, with Ignore admits; 10 s and none admit a webhook that takes 5 s', async () => {
  const slow = async (more: Any): Promise<{ maps: Resource; name: string; timeoutSeconds: number }> => {
    const { scope, namespace } = await scopedNamespace(cluster);
    const hook = webhook.hook('/always-allow-delay-5s', scope, more);
    const { object } = await ready.configure('Validating', [hook]);
    return {
      maps: cluster.resource('v1', 'configmaps', namespace),
      name: hook.name,
      timeoutSeconds: object.webhooks[0].timeoutSeconds,
    };
  };
  const [strict, lenient, patient, usual] = [
    await slow({ timeoutSeconds: 1, failurePolicy: 'Fail' }),
    await slow({ timeoutSeconds: 1, failurePolicy: 'Ignore' }),
    await slow({ timeoutSeconds: 10, failurePolicy: 'Fail' }),
    await slow({ failurePolicy: 'Fail' }),
  ];
  expect(usual.timeoutSeconds).toBe(10);
  const [late] = await Promise.all([
    refusal(strict.maps.create(configMap('a', {}))),
    ...[lenient, patient, usual].map(({ maps }) => maps.create(configMap('a', {}))),
  ]);
  expect(late.code).toBe(500);
  expect(late.message).toMatch(
    /failed calling webhook "[^"]+": failed to call webhook: Post "https:\/\/e2e-test-webhook\.[^/]+\.svc:\d+\/always-allow-delay-5s\?timeout=1s": context deadline exceeded$/,
  );
  expect(late.message).toContain(`failed calling webhook "${strict.name}"`);
});
