/** Configurations of webhooks as objects: changed, listed, removed together, with conditions. What webhooks do: webhooks.test.ts. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, eventually, refusal, Refusal, type Resource, unique } from './harness.ts';
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

type Kind = 'Mutating' | 'Validating';
const configurationsOf = (kind: Kind): Resource =>
  cluster.resource(registration, `${kind.toLowerCase()}webhookconfigurations`);
const pathOf = (kind: Kind): string => (kind === 'Mutating' ? '/mutating-configmaps' : '/configmaps');

/** Creates a ConfigMap that the webhook of `kind` acts upon; whether it did. */
async function actsUpon(kind: Kind, namespace: string): Promise<boolean> {
  const data = kind === 'Mutating' ? { 'mutation-start': 'yes' } : { 'webhook-e2e-test': 'webhook-disallow' };
  try {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { generateName: 'acts-' }, data };
    const made = await cluster.resource('v1', 'configmaps', namespace).create(object);
    return made.data['mutation-stage-1'] === 'yes';
  } catch (error) {
    if (!(error instanceof Refusal) || !error.message.includes('unwanted key and value')) throw error;
    return true;
  }
}

/** A rule without CREATE put in by update, then CREATE put back by patch, each counting soon. */
async function switched(kind: Kind): Promise<void> {
  const { scope, namespace } = await scopedNamespace(cluster);
  const { name } = await ready.configure(kind, [webhook.hook(pathOf(kind), scope)]);
  expect(await actsUpon(kind, namespace)).toBe(true);
  const configurations = configurationsOf(kind);
  const updated = await configurations.change(name, (object) => {
    object.webhooks[0].rules[0].operations = ['UPDATE'];
  });
  expect(updated.metadata.generation).toBe(2);
  await eventually('it acts no more', async () => !(await actsUpon(kind, namespace)));
  await configurations.patch(name, 'json', [
    { op: 'replace', path: '/webhooks/0/rules/0/operations', value: ['CREATE'] },
  ]);
  await eventually('it acts again', () => actsUpon(kind, namespace));
}

/** Ten configurations of one label: listed, in force, then removed together. */
async function tenListed(kind: Kind): Promise<void> {
  const { scope, namespace } = await scopedNamespace(cluster);
  const labels = { 'e2e-list-test-uuid': unique('list') };
  const selected = `?labelSelector=${encodeURIComponent(`e2e-list-test-uuid=${labels['e2e-list-test-uuid']}`)}`;
  for (let i = 0; i < 10; i++) await ready.configure(kind, [webhook.hook(pathOf(kind), scope)], labels);
  expect(await configurationsOf(kind).names(selected)).toHaveLength(10);
  expect(await actsUpon(kind, namespace)).toBe(true);
  await configurationsOf(kind).deleteCollection(selected);
  expect(await configurationsOf(kind).names(selected)).toEqual([]);
  await eventually('nobody acts', async () => !(await actsUpon(kind, namespace)));
}

const withConditions = (kind: Kind, name: string, matchConditions: Any[]): Any => ({
  apiVersion: registration,
  kind: `${kind}WebhookConfiguration`,
  metadata: { name },
  webhooks: [webhook.hook(pathOf(kind), 'never', { matchConditions })],
});

async function conditionsKept(kind: Kind): Promise<void> {
  const conditions = [
    { name: 'expression-1', expression: "object.metadata.namespace == 'production'" },
    { name: 'expression-2', expression: "object.metadata.namespace == 'staging'" },
  ];
  const name = unique('match-conditions');
  const configurations = configurationsOf(kind);
  const made = await configurations.create(withConditions(kind, name, conditions.slice(0, 1)));
  expect(made.webhooks[0].matchConditions).toEqual(conditions.slice(0, 1));
  expect((await configurations.get(name)).webhooks[0].matchConditions).toEqual(conditions.slice(0, 1));
  await configurations.change(name, (object) => {
    object.webhooks[0].matchConditions = conditions;
  });
  expect((await configurations.get(name)).webhooks[0].matchConditions).toEqual(conditions);
}

async function badConditionRefused(kind: Kind): Promise<void> {
  const bad = [{ name: 'invalid-expression-1', expression: '... [] bad expression' }];
  const refused = await refusal(configurationsOf(kind).create(withConditions(kind, unique('bad'), bad)));
  expect(refused).toMatchObject({ code: 422, reason: 'Invalid' });
  expect(refused.message).toContain('compilation failed');
  expect(refused.details!.causes!.map(({ field }) => field)).toContain('webhooks[0].matchConditions[0].expression');
}

test('conformance: webhook-update-validating: CREATE taken out of a rule by update ends the refusal, put back by patch it refuses again', () =>
  switched('Validating'));
test('conformance: webhook-update-mutating: CREATE taken out of a rule by update ends the mutation, put back by patch it mutates again', () =>
  switched('Mutating'));
test('conformance: webhook-list-validating: ten labelled configurations are listed, refuse, and are removed together', () =>
  tenListed('Validating'));
test('conformance: webhook-list-mutating: ten labelled configurations are listed, mutate, and are removed together', () =>
  tenListed('Mutating'));
test('conformance: webhook-matchconditions-validating-crud: conditions come back unchanged and in order', () =>
  conditionsKept('Validating'));
test('conformance: webhook-matchconditions-mutating-crud: conditions come back unchanged and in order', () =>
  conditionsKept('Mutating'));
test('conformance: webhook-matchconditions-invalid-validating: a condition that does not parse is refused', () =>
  badConditionRefused('Validating'));
test('conformance: webhook-matchconditions-invalid-mutating: a condition that does not parse is refused', () =>
  badConditionRefused('Mutating'));

test('conformance: webhook-matchconditions-skip-me: a condition excludes one object by its name', async () => {
  const { scope, namespace } = await scopedNamespace(cluster);
  await ready.configure('Mutating', [
    webhook.hook('/mutating-configmaps', scope, {
      rules: [rule(['CREATE'], '', 'v1', 'configmaps')],
      matchConditions: [{ name: 'skip-me', expression: "object.metadata.name != 'skip-me'" }],
    }),
  ]);
  const maps = cluster.resource('v1', 'configmaps', namespace);
  const data = { 'mutation-start': 'yes' };
  expect((await maps.create({ metadata: { name: 'skip-me' }, data })).data).toEqual(data);
  const other = await maps.create({ metadata: { name: unique('other') }, data });
  expect(other.data).toEqual({ 'mutation-start': 'yes', 'mutation-stage-1': 'yes' });
});
