/** Parameters and audit annotations of ValidatingAdmissionPolicies. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parsePolicy } from './audit/policy.ts';
import { startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
const lines: string[] = [];
beforeAll(async () => {
  const policy = parsePolicy('apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n');
  server = await startTestServer({ audit: { policy, sink: { write: (line) => void lines.push(line) } } });
  for (const name of ['one', 'two']) await server.call('POST', '/api/v1/namespaces', { metadata: { name } });
});
afterAll(() => server.close());

const group = 'admissionregistration.k8s.io/v1';
const params = { apiVersion: 'v1', kind: 'ConfigMap' };
const rule = (apiGroup: string, resource: string): object => ({
  resourceRules: [{ apiGroups: [apiGroup], apiVersions: ['v1'], operations: ['CREATE'], resources: [resource] }],
});

async function make(plural: string, kind: string, name: string, spec: object): Promise<void> {
  const object = { apiVersion: group, kind, metadata: { name }, spec };
  const made = await server.call('POST', `/apis/${group}/${plural}`, object);
  expect(made.status, made.body.message).toBe(201);
}
const policy = (name: string, spec: object) =>
  make('validatingadmissionpolicies', 'ValidatingAdmissionPolicy', name, spec);
const bind = (name: string, policyName: string, spec: object) =>
  make('validatingadmissionpolicybindings', 'ValidatingAdmissionPolicyBinding', name, { policyName, ...spec });
const configMap = (namespace: string, name: string, data: object, labels: object = {}) =>
  server.call('POST', `/api/v1/namespaces/${namespace}/configmaps`, { ...params, metadata: { name, labels }, data });
const priorityClass = async (name: string): Promise<string> => {
  const object = { apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass', metadata: { name }, value: 5 };
  const { status, body } = await server.call('POST', '/apis/scheduling.k8s.io/v1/priorityclasses?dryRun=All', object);
  return status === 201 ? 'admitted' : `${status} ${body.message}`;
};

test('policies: a binding that only warns or audits refuses, too, where its parameters are missing', async () => {
  const validations = [{ expression: "params.data.a == 'yes'" }];
  await policy('strict', {
    paramKind: params,
    matchConstraints: rule('scheduling.k8s.io', 'priorityclasses'),
    validations,
  });
  await bind('audits', 'strict', {
    validationActions: ['Audit', 'Warn'],
    paramRef: { name: 'missing', namespace: 'one', parameterNotFoundAction: 'Deny' },
  });
  await expect
    .poll(() => priorityClass('low'), { timeout: 10_000 })
    .toBe(
      "422 priorityclasses.scheduling.k8s.io \"low\" is forbidden: ValidatingAdmissionPolicy 'strict' with binding 'audits' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction",
    );
  // With the parameters there it does as it says.
  await configMap('one', 'missing', { a: 'no' });
  await expect.poll(() => priorityClass('low'), { timeout: 10_000 }).toBe('admitted');
  await server.call('DELETE', `/apis/${group}/validatingadmissionpolicybindings/audits`);
});

test('policies: objects of any namespace are no parameters for what is in none', async () => {
  const validations = [{ expression: "params.data.a == 'yes'" }];
  await policy('tenants', {
    paramKind: params,
    matchConstraints: rule('scheduling.k8s.io', 'priorityclasses'),
    validations,
  });
  await configMap('two', 'tenant', { a: 'yes' }, { for: 'tenants' });
  await bind('by-label', 'tenants', {
    validationActions: ['Deny'],
    paramRef: { selector: { matchLabels: { for: 'tenants' } }, parameterNotFoundAction: 'Allow' },
  });
  await expect
    .poll(() => priorityClass('low'), { timeout: 10_000 })
    .toContain('cannot use namespaced paramRef in policy binding that matches cluster-scoped resources');
  await server.call('DELETE', `/apis/${group}/validatingadmissionpolicybindings/by-label`);
});

test('policies: an audit event names the failed validation by its place and has the annotations of every parameter once', async () => {
  await policy('noted', {
    paramKind: params,
    matchConstraints: rule('', 'secrets'),
    validations: [{ expression: 'true' }, { expression: "object.metadata.name != 'odd'", message: 'odd' }],
    auditAnnotations: [{ key: 'of', valueExpression: "' ' + params.data.of + ' '" }],
  });
  for (const [name, of] of Object.entries({ a: 'x', b: 'y', c: 'x' }))
    await configMap('two', name, { of }, { for: 'noted' });
  await bind('all', 'noted', {
    validationActions: ['Audit'],
    paramRef: { selector: { matchLabels: { for: 'noted' } }, parameterNotFoundAction: 'Deny' },
  });
  const annotations = async (): Promise<Record<string, string>> => {
    lines.length = 0;
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'odd' } };
    expect((await server.call('POST', '/api/v1/namespaces/two/secrets?dryRun=All', secret)).status).toBe(201);
    return JSON.parse(lines.at(-1) ?? '{}').annotations ?? {};
  };
  await expect.poll(async () => (await annotations())['noted/of'], { timeout: 10_000 }).toBe('x, y');
  const failure = JSON.parse((await annotations())['validation.policy.admission.k8s.io/validation_failure'] ?? 'null');
  expect(failure).toEqual([
    { message: 'odd', policy: 'noted', binding: 'all', expressionIndex: 1, validationActions: ['Audit'] },
  ]);
});
