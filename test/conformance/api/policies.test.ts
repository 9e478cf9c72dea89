/** Admission policies in CEL. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, eventually, refusal, Refusal, unique } from './harness.ts';
import { discovered, everyVerb } from './verbs.ts';
import { registration, rule, scopedNamespace } from './webhook.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

type Kind = 'Validating' | 'Mutating';
const policiesOf = (kind: Kind) => cluster.resource(registration, `${kind.toLowerCase()}admissionpolicies`);
const bindingsOf = (kind: Kind) => cluster.resource(registration, `${kind.toLowerCase()}admissionpolicybindings`);

const podSpec = { containers: [{ name: 'nginx', image: 'nginx' }] };
const workload = (kind: 'Deployment' | 'ReplicaSet', name: string, replicas: number, labels: Any = {}): Any => ({
  apiVersion: 'apps/v1',
  kind,
  metadata: { name, labels },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: podSpec },
  },
});

const scoped = (scope: string, resources: Any[], policy: Any): Any => ({
  matchConstraints: {
    resourceRules: resources,
    namespaceSelector: { matchLabels: { [scope]: 'true' } },
  },
  ...policy,
});
const deployments = [rule(['CREATE'], 'apps', 'v1', 'deployments')];

/** A policy bound in the namespaces of `scope`. */
async function bind(kind: Kind, scope: string, spec: Any): Promise<string> {
  const name = unique('policy');
  const metadata = { name };
  await policiesOf(kind).create({ apiVersion: registration, kind: `${kind}AdmissionPolicy`, metadata, spec });
  await bindingsOf(kind).create({
    apiVersion: registration,
    kind: `${kind}AdmissionPolicyBinding`,
    metadata,
    spec: {
      policyName: name,
      matchResources: { namespaceSelector: { matchLabels: { [scope]: 'true' } } },
      ...(kind === 'Validating' ? { validationActions: ['Deny'] } : {}),
    },
  });
  return name;
}

/** Waits until a marker Deployment is refused, as every policy here does with those that carry the label. */
async function counts(namespace: string): Promise<void> {
  const resource = cluster.resource('apps/v1', 'deployments', namespace);
  const marker = workload('Deployment', 'marker-deployment', 0, { 'marker-label': 'true' });
  await eventually('the policy counts', async () => {
    try {
      await resource.create(marker, '?dryRun=All');
      return false;
    } catch (error) {
      return error instanceof Refusal && error.message.includes('marker');
    }
  });
}
const marked = {
  expression: "!has(object.metadata.labels) || !('marker-label' in object.metadata.labels)",
  message: 'marker denied; policy is ready',
};

test('conformance: vap-validate-deployment: one replica is refused, two are admitted, ReplicaSets are ignored', async () => {
  const { scope, namespace } = await scopedNamespace(cluster);
  const spec = scoped(scope, deployments, {
    variables: [],
    validations: [
      marked,
      {
        expression: 'object.spec.replicas > 1',
        messageExpression: "'wants replicas > 1, got ' + object.spec.replicas",
      },
    ],
  });
  const name = await bind('Validating', scope, spec);
  await counts(namespace);
  const resource = cluster.resource('apps/v1', 'deployments', namespace);
  const refused = await refusal(resource.create(workload('Deployment', 'replicated', 1)));
  expect(refused).toMatchObject({ code: 422, reason: 'Invalid' });
  expect(refused.message).toBe(
    `deployments.apps "replicated" is forbidden: ValidatingAdmissionPolicy '${name}' with binding '${name}' denied request: failed expression: object.spec.replicas > 1`,
  );
  await resource.create(workload('Deployment', 'replicated', 2));
  await cluster.resource('apps/v1', 'replicasets', namespace).create(workload('ReplicaSet', 'non-replicated', 1));
});

test('conformance: vap-variables: later variables use earlier ones, validations read both', async () => {
  const { scope, namespace } = await scopedNamespace(cluster);
  const spec = scoped(scope, deployments, {
    variables: [
      { name: 'replicas', expression: 'object.spec.replicas' },
      { name: 'oddReplicas', expression: 'variables.replicas % 2 == 1' },
    ],
    validations: [marked, { expression: 'variables.replicas > 1' }, { expression: 'variables.oddReplicas' }],
  });
  await bind('Validating', scope, spec);
  await counts(namespace);
  const resource = cluster.resource('apps/v1', 'deployments', namespace);
  const one = await refusal(resource.create(workload('Deployment', 'replicated', 1)));
  expect(one.message).toMatch(/failed expression: variables\.replicas > 1$/);
  const two = await refusal(resource.create(workload('Deployment', 'replicated', 2)));
  expect(two.message).toMatch(/failed expression: variables\.oddReplicas$/);
  await resource.create(workload('Deployment', 'replicated', 3));
  await cluster.resource('apps/v1', 'replicasets', namespace).create(workload('ReplicaSet', 'non-replicated', 1));
});

test('conformance: vap-api: discovery, every verb, and the status of a policy', async () => {
  const condition = {
    type: 'Tested',
    status: 'True',
    reason: 'Test',
    message: 'm',
    lastTransitionTime: '2026-01-01T00:00:00Z',
  };
  await everyVerb(cluster, {
    groupVersion: registration,
    plural: 'validatingadmissionpolicies',
    kind: 'ValidatingAdmissionPolicy',
    object: () => ({
      spec: {
        failurePolicy: 'Ignore',
        matchConstraints: { resourceRules: deployments },
        validations: [{ expression: 'object.spec.replicas <= 100', messageExpression: "'too many'" }],
      },
    }),
    settled: ({ status }) => status?.observedGeneration === 1,
    status: {
      patch: { conditions: [condition] },
      change: (object) => {
        object.status.conditions = [condition, { ...condition, type: 'Updated' }];
      },
      check: (status) => expect(status.conditions).toContainEqual(condition),
    },
  });
});

test('a policy is told in its status which expressions do not fit the types of its objects', async () => {
  const { scope } = await scopedNamespace(cluster);
  const check = async (validations: Any[], more: Any = {}): Promise<Any> => {
    const name = unique('typed');
    await policiesOf('Validating').create({
      apiVersion: registration,
      kind: 'ValidatingAdmissionPolicy',
      metadata: { name },
      spec: scoped(scope, deployments, { ...more, validations }),
    });
    return eventually('type checking is done', async () => {
      const { status } = await policiesOf('Validating').get(name);
      return status?.observedGeneration === 1 && status.typeChecking;
    });
  };
  const checked = await check([
    {
      expression: "object.spec.replicas > '1'",
      messageExpression: "'wants replicas > 1, got ' + object.spec.replicas",
    },
    { expression: 'object.spec.replicas > 1' },
    { expression: 'object.replicas > 1' },
  ]);
  expect(checked.expressionWarnings).toEqual([
    {
      fieldRef: 'spec.validations[0].expression',
      warning: `apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'
 | object.spec.replicas > '1'
 | .....................^
`,
    },
    {
      fieldRef: 'spec.validations[0].messageExpression',
      warning: `apps/v1, Kind=Deployment: ERROR: <input>:1:28: found no matching overload for '_+_' applied to '(string, int)'
 | 'wants replicas > 1, got ' + object.spec.replicas
 | ...........................^
`,
    },
    {
      fieldRef: 'spec.validations[2].expression',
      warning: `apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'
 | object.replicas > 1
 | ......^
`,
    },
  ]);
  const variables = [{ name: 'image', expression: 'object.spec.template.spec.containers[0].image' }];
  const good = [{ expression: "variables.image.startsWith('a') && object.metadata.labels.exists(k, k == 'a')" }];
  expect(await check(good, { variables })).toEqual({});
  const bad = await check([{ expression: 'variables.image > 1' }], { variables });
  expect(bad.expressionWarnings[0].warning).toContain("'_>_' applied to '(string, int)'");
});

const selector = { matchLabels: { [unique('nowhere')]: 'true' } };

test('conformance: vap-binding-api: discovery and every verb of bindings', async () => {
  await everyVerb(cluster, {
    groupVersion: registration,
    plural: 'validatingadmissionpolicybindings',
    kind: 'ValidatingAdmissionPolicyBinding',
    object: () => ({
      spec: {
        policyName: 'replicalimit-policy.example.com',
        validationActions: ['Deny'],
        matchResources: { namespaceSelector: selector },
      },
    }),
  });
});

const replicasMutation = (expression: string): Any => ({
  failurePolicy: 'Fail',
  reinvocationPolicy: 'Never',
  mutations: [{ patchType: 'ApplyConfiguration', applyConfiguration: { expression } }],
});

/** Creates until the returned object satisfies `mutated`. */
async function created(namespace: string, mutated: (object: Any) => boolean): Promise<Any> {
  const resource = cluster.resource('apps/v1', 'deployments', namespace);
  const name = unique('mutated');
  return eventually('the created Deployment is mutated', async () => {
    const object = await resource.create(workload('Deployment', `${name}-${unique('n')}`, 1));
    return mutated(object) ? object : undefined;
  });
}

test('conformance: map-annotations: an ApplyConfiguration sets an annotation on new Deployments', async () => {
  const { scope, namespace } = await scopedNamespace(cluster);
  const expression = "Object{metadata: Object.metadata{annotations: {'mutated-by': 'admission-policy'}}}";
  await bind('Mutating', scope, scoped(scope, deployments, replicasMutation(expression)));
  const object = await created(
    namespace,
    ({ metadata }) => metadata.annotations?.['mutated-by'] === 'admission-policy',
  );
  expect(object.spec.replicas).toBe(1);
});

test('conformance: map-replicas: an ApplyConfiguration changes replicas, as the answer to the create shows', async () => {
  const { scope, namespace } = await scopedNamespace(cluster);
  const expression = 'Object{spec: Object.spec{replicas: 1337}}';
  await bind('Mutating', scope, scoped(scope, deployments, replicasMutation(expression)));
  const object = await created(namespace, ({ spec }) => spec.replicas === 1337);
  const read = await cluster.resource('apps/v1', 'deployments', namespace).get(object.metadata.name);
  expect(read.spec.replicas).toBe(1337);
});

test('conformance: map-api: discovery and every verb of mutating policies; the reinvocation policy is patched', async () => {
  const spec = scoped('never', deployments, replicasMutation('Object{spec: Object.spec{replicas: 100}}'));
  await everyVerb(cluster, {
    groupVersion: registration,
    plural: 'mutatingadmissionpolicies',
    kind: 'MutatingAdmissionPolicy',
    object: () => ({ spec }),
  });
  const policies = policiesOf('Mutating');
  const name = unique('reinvoked');
  const made = await policies.create({
    apiVersion: registration,
    kind: 'MutatingAdmissionPolicy',
    metadata: { name },
    spec,
  });
  const patched = await policies.patch(name, 'merge', { spec: { reinvocationPolicy: 'IfNeeded' } });
  expect(patched.spec.reinvocationPolicy).toBe('IfNeeded');
  expect(Number(patched.metadata.resourceVersion)).toBeGreaterThan(Number(made.metadata.resourceVersion));
  expect(patched.metadata.generation).toBe(2);
  const back = await policies.patch(name, 'merge', { spec: { reinvocationPolicy: 'Never' } });
  expect(back.spec.reinvocationPolicy).toBe('Never');
});

test('conformance: map-binding-api: discovery and every verb of bindings of mutating policies', async () => {
  await everyVerb(cluster, {
    groupVersion: registration,
    plural: 'mutatingadmissionpolicybindings',
    kind: 'MutatingAdmissionPolicyBinding',
    object: () => ({
      spec: { policyName: 'mutate-policy.example.com', matchResources: { namespaceSelector: selector } },
    }),
  });
  await discovered(cluster, registration, 'mutatingadmissionpolicybindings', {
    kind: 'MutatingAdmissionPolicyBinding',
    namespaced: false,
  });
});
