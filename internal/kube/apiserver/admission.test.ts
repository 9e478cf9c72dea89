/** Admission that users configure, against a whole server: webhooks over TLS, policies, limits, quotas, pod security. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { JsonObject } from '../machinery/json.ts';
import { admin, makeTestPki, startTestServer, type TestPki, type TestServer } from './testing.ts';
import { startWebhook, type TestWebhook } from './webhook.testing.ts';

let server: TestServer;
let pki: TestPki;
let webhook: TestWebhook;
/** Paths that were asked, and what each answers. */
let asked: { path: string; request: JsonObject }[] = [];
const answers = new Map<string, (request: JsonObject) => JsonObject | Promise<JsonObject>>();

beforeAll(async () => {
  pki = await makeTestPki();
  server = await startTestServer({ pki });
  webhook = await startWebhook(pki, async (request, path) => {
    // The server writes objects of its own after its start.
    if ((request.resource as JsonObject).resource === 'configmaps') asked.push({ path, request });
    return (await answers.get(path)?.(request)) ?? { allowed: true };
  });
});
afterAll(async () => {
  webhook.close();
  await server.close();
});
beforeEach(() => {
  asked = [];
  answers.clear();
});

const registration = '/apis/admissionregistration.k8s.io/v1';

async function until(check: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await check()) return;
    await Bun.sleep(10);
  }
  throw new Error('did not come about');
}

function hook(path: string, more: JsonObject = {}): JsonObject {
  return {
    name: `${path.slice(1)}.example.com`,
    admissionReviewVersions: ['v1'],
    sideEffects: 'None',
    clientConfig: webhook.clientConfig(path),
    rules: [{ operations: ['*'], apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'] }],
    ...more,
  };
}

async function configure(
  kind: 'Mutating' | 'Validating',
  name: string,
  webhooks: JsonObject[],
): Promise<() => Promise<void>> {
  const path = `${registration}/${kind.toLowerCase()}webhookconfigurations`;
  const made = await server.call('POST', path, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: `${kind}WebhookConfiguration`,
    metadata: { name },
    webhooks,
  });
  expect(made.body.message ?? made.status).toBe(201);
  // The cache of configurations hears of it with the next change of the store.
  await until(async () => {
    const before = asked.length;
    await server.call('POST', `/api/v1/namespaces/default/configmaps?dryRun=All`, {
      metadata: { generateName: 'probe-' },
    });
    return asked.length > before;
  });
  asked = [];
  return async () => {
    await server.call('DELETE', `${path}/${name}`);
    await until(async () => {
      const before = asked.length;
      await server.call('POST', `/api/v1/namespaces/default/configmaps?dryRun=All`, {
        metadata: { generateName: 'probe-' },
      });
      return asked.length === before;
    });
  };
}

const maps = '/api/v1/namespaces/default/configmaps';
const create = (name: string, data: JsonObject = {}, query = '') =>
  server.call('POST', `${maps}${query}`, { metadata: { name }, data });
const patchOf = (...patch: JsonObject[]): JsonObject => ({
  allowed: true,
  patchType: 'JSONPatch',
  patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
});

describe('webhooks', () => {
  test('a validating webhook refuses with its message and code; what it is told', async () => {
    const remove = await configure('Validating', 'deny', [hook('/deny')]);
    answers.set('/deny', () => ({ allowed: false, status: { message: 'not here', code: 418 }, warnings: ['careful'] }));
    const refused = await create('a', { k: 'v' });
    expect(refused.status).toBe(418);
    expect(refused.body.message).toBe('admission webhook "deny.example.com" denied the request: not here');
    const { request } = asked.at(-1)!;
    expect(request).toMatchObject({
      kind: { group: '', version: 'v1', kind: 'ConfigMap' },
      resource: { group: '', version: 'v1', resource: 'configmaps' },
      name: 'a',
      namespace: 'default',
      operation: 'CREATE',
      userInfo: { username: admin.name },
      oldObject: null,
      dryRun: false,
      options: { kind: 'CreateOptions', apiVersion: 'meta.k8s.io/v1' },
    });
    expect((request.object as { data: JsonObject }).data).toEqual({ k: 'v' });
    answers.set('/deny', () => ({ allowed: true, warnings: ['careful'] }));
    expect((await create('a')).headers.get('warning')).toBe('299 - "careful"');
    answers.set('/deny', (r) => ({ allowed: r.operation !== 'DELETE' }));
    expect((await server.call('DELETE', `${maps}/a`)).body.message).toBe(
      'admission webhook "deny.example.com" denied the request without explanation',
    );
    answers.clear();
    expect((await server.call('DELETE', `${maps}/a`)).status).toBe(200);
    await remove();
  });

  test('mutating webhooks run in order; the first is asked again when it wants to see what a later one changed', async () => {
    const remove = await configure('Mutating', 'mutate', [
      hook('/first', { reinvocationPolicy: 'IfNeeded' }),
      hook('/second'),
    ]);
    answers.set('/first', (r) => {
      const data = ((r.object as JsonObject).data ?? {}) as JsonObject;
      if (data.second !== undefined && data.seen === undefined)
        return patchOf({ op: 'add', path: '/data/seen', value: 'yes' });
      return data.first === undefined
        ? patchOf({ op: 'add', path: '/data', value: { ...data, first: '1' } })
        : { allowed: true };
    });
    answers.set('/second', (r) =>
      patchOf({
        op: 'add',
        path: '/data/second',
        value: `after ${((r.object as JsonObject).data as JsonObject).first}`,
      }),
    );
    const made = await create('ordered');
    expect(made.body.data).toEqual({ first: '1', second: 'after 1', seen: 'yes' });
    expect(asked.map(({ path }) => path)).toEqual(['/first', '/second', '/first']);
    await remove();
  });

  test('failure policies, selectors, conditions, timeouts', async () => {
    const remove = await configure('Validating', 'picky', [
      hook('/all'),
      hook('/labelled', { objectSelector: { matchLabels: { on: 'yes' } } }),
      hook('/elsewhere', { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'other' } } }),
      hook('/condition', {
        matchConditions: [{ name: 'not-skipped', expression: "object.metadata.name != 'skip-me'" }],
      }),
      hook('/update', {
        rules: [{ operations: ['UPDATE'], apiGroups: ['*'], apiVersions: ['*'], resources: ['*/*'] }],
      }),
      hook('/slow', {
        timeoutSeconds: 1,
        failurePolicy: 'Ignore',
        objectSelector: { matchLabels: { slow: 'ignored' } },
      }),
      hook('/slower', { timeoutSeconds: 1, objectSelector: { matchLabels: { slow: 'counts' } } }),
    ]);
    const paths = async (object: JsonObject): Promise<string[]> => {
      asked = [];
      await server.call('POST', maps, object);
      return asked.map(({ path }) => path).sort();
    };
    expect(await paths({ metadata: { name: 'p1', labels: { on: 'yes' } } })).toEqual([
      '/all',
      '/condition',
      '/labelled',
    ]);
    expect(await paths({ metadata: { name: 'skip-me' } })).toEqual(['/all']);
    const hanging = (): Promise<JsonObject> => new Promise(() => undefined);
    answers.set('/slow', hanging);
    answers.set('/slower', hanging);
    expect((await server.call('POST', maps, { metadata: { name: 'p3', labels: { slow: 'ignored' } } })).status).toBe(
      201,
    );
    const counts = await server.call('POST', maps, { metadata: { name: 'p4', labels: { slow: 'counts' } } });
    expect(counts.status).toBe(500);
    expect(counts.body.message).toMatch(
      /^Internal error occurred: failed calling webhook "slower\.example\.com": failed to call webhook: Post "https:\/\/localhost:\d+\/slower\?timeout=1s": context deadline exceeded$/,
    );
    await remove();
  });

  test('are never asked about the configuration of admission', async () => {
    const everything = [{ operations: ['*'], apiGroups: ['*'], apiVersions: ['*'], resources: ['*'] }];
    const remove = await configure('Validating', 'everything', [hook('/lock', { rules: everything })]);
    answers.set('/lock', () => ({ allowed: false }));
    expect((await create('locked')).status).toBe(403);
    await remove();
    expect((await create('unlocked')).status).toBe(201);
  });

  test('a condition that does not compile is refused', async () => {
    const refused = await server.call('POST', `${registration}/validatingwebhookconfigurations`, {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: 'broken' },
      webhooks: [hook('/x', { matchConditions: [{ name: 'c', expression: '... [] bad expression' }] })],
    });
    expect(refused.status).toBe(422);
    expect(refused.body.message).toContain('compilation failed');
  });
});

async function policy(
  kind: 'Validating' | 'Mutating',
  name: string,
  spec: JsonObject,
  binding: JsonObject = {},
): Promise<void> {
  const lower = kind.toLowerCase();
  const made = await server.call('POST', `${registration}/${lower}admissionpolicies`, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: `${kind}AdmissionPolicy`,
    metadata: { name },
    spec,
  });
  expect(made.body.message ?? made.status).toBe(201);
  const bound = await server.call('POST', `${registration}/${lower}admissionpolicybindings`, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: `${kind}AdmissionPolicyBinding`,
    metadata: { name },
    spec: { policyName: name, ...(kind === 'Validating' ? { validationActions: ['Deny'] } : {}), ...binding },
  });
  expect(bound.body.message ?? bound.status).toBe(201);
}

async function withoutPolicy(kind: 'Validating' | 'Mutating', name: string): Promise<void> {
  for (const plural of ['admissionpolicybindings', 'admissionpolicies'])
    await server.call('DELETE', `${registration}/${kind.toLowerCase()}${plural}/${name}`);
}

const onMaps = {
  resourceRules: [
    { operations: ['CREATE', 'UPDATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'] },
  ],
};

describe('policies', () => {
  test('validate: variables, parameters, messages, reasons, warnings', async () => {
    await server.call('POST', maps, { metadata: { name: 'limits' }, data: { most: '2' } });
    await policy(
      'Validating',
      'few-keys',
      {
        paramKind: { apiVersion: 'v1', kind: 'ConfigMap' },
        matchConstraints: onMaps,
        matchConditions: [{ name: 'ours', expression: "object.metadata.name.startsWith('v-')" }],
        variables: [
          { name: 'keys', expression: 'has(object.data) ? object.data.size() : 0' },
          { name: 'most', expression: 'int(params.data.most)' },
          { name: 'over', expression: 'variables.keys - variables.most' },
        ],
        validations: [
          {
            expression: 'variables.over <= 0',
            messageExpression: "'%d too many in %s'.format([variables.over, namespaceObject.metadata.name])",
            reason: 'Forbidden',
          },
        ],
      },
      { paramRef: { name: 'limits', namespace: 'default', parameterNotFoundAction: 'Deny' } },
    );
    await until(async () => (await create('v-many', { a: '1', b: '2', c: '3' }, '?dryRun=All')).status === 403);
    const refused = await create('v-many', { a: '1', b: '2', c: '3' });
    expect(refused.body.message).toBe(
      "configmaps \"v-many\" is forbidden: ValidatingAdmissionPolicy 'few-keys' with binding 'few-keys' denied request: 1 too many in default",
    );
    expect((await create('v-few', { a: '1' })).status).toBe(201);
    await withoutPolicy('Validating', 'few-keys');
    await until(async () => (await create('v-many', { a: '1', b: '2', c: '3' }, '?dryRun=All')).status === 201);

    await policy(
      'Validating',
      'no-secrets',
      {
        matchConstraints: onMaps,
        validations: [
          {
            expression: "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()",
            message: 'you may not read secrets',
          },
          { expression: "!has(object.data) || !('x' in object.data)" },
          {
            expression:
              "authorizer.requestResource.check('create').allowed() && !authorizer.serviceAccount('default', 'nobody').requestResource.fieldSelector('metadata.name=w').check('create').allowed()",
            message: 'who asks may create this, a service account without roles may not',
          },
        ],
      },
      { validationActions: ['Warn'] },
    );
    await until(async () => (await create('w', { x: '1' }, '?dryRun=All')).headers.get('warning') !== null);
    const warned = await create('w', { x: '1' });
    expect([warned.status, warned.headers.get('warning')]).toEqual([
      201,
      "299 - \"Validation failed for ValidatingAdmissionPolicy 'no-secrets' with binding 'no-secrets': failed expression: !has(object.data) || !('x' in object.data)\"",
    ]);
    await withoutPolicy('Validating', 'no-secrets');
  });

  test('mutate: apply configurations and JSON patches', async () => {
    await policy('Mutating', 'stamp', {
      matchConstraints: onMaps,
      reinvocationPolicy: 'Never',
      mutations: [
        {
          patchType: 'ApplyConfiguration',
          applyConfiguration: {
            expression:
              'Object{metadata: Object.metadata{annotations: {"mutated-by": "policy"}}, data: {"added": "1"}}',
          },
        },
        {
          patchType: 'JSONPatch',
          jsonPatch: {
            expression: '[JSONPatch{op: "add", path: "/data/seen", value: object.data.added + request.operation}]',
          },
        },
      ],
    });
    await until(async () => (await create('m', { own: 'x' }, '?dryRun=All')).body.data.added !== undefined);
    const made = await create('m', { own: 'x' });
    expect(made.body.data).toEqual({ own: 'x', added: '1', seen: '1CREATE' });
    expect(made.body.metadata.annotations).toEqual({ 'mutated-by': 'policy' });
    await withoutPolicy('Mutating', 'stamp');
  });

  test('an expression that does not compile is refused; one that fails when it runs refuses the request', async () => {
    const refused = await server.call('POST', `${registration}/validatingadmissionpolicies`, {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingAdmissionPolicy',
      metadata: { name: 'broken' },
      spec: { matchConstraints: onMaps, validations: [{ expression: 'object.spec +' }] },
    });
    expect(refused.body.message).toContain('compilation failed');
    await policy('Validating', 'failing', {
      matchConstraints: onMaps,
      matchConditions: [{ name: 'ours', expression: "object.metadata.name == 'failing'" }],
      validations: [{ expression: 'object.nope.deeper == 1' }],
    });
    await until(async () => (await create('failing', {}, '?dryRun=All')).status === 422);
    expect((await create('failing')).body.message).toContain(
      "denied request: expression 'object.nope.deeper == 1' resulted in error: no such key: nope",
    );
    await withoutPolicy('Validating', 'failing');
  });
});

const namespace = async (name: string, labels: JsonObject = {}): Promise<void> => {
  await server.call('POST', '/api/v1/namespaces', { metadata: { name, labels } });
  await server.call('POST', `/api/v1/namespaces/${name}/serviceaccounts`, { metadata: { name: 'default' } });
};

function pod(name: string, container: JsonObject = {}, spec: JsonObject = {}): JsonObject {
  return { metadata: { name }, spec: { containers: [{ name: 'c', image: 'i', ...container }], ...spec } };
}

describe('limits and quotas', () => {
  test('a LimitRange fills in and bounds', async () => {
    await namespace('ranged');
    await server.call('POST', '/api/v1/namespaces/ranged/limitranges', {
      metadata: { name: 'l' },
      spec: {
        limits: [
          {
            type: 'Container',
            default: { cpu: '500m' },
            defaultRequest: { cpu: '100m', memory: '64Mi' },
            min: { cpu: '50m' },
            max: { cpu: '1' },
          },
        ],
      },
    });
    const made = await server.call('POST', '/api/v1/namespaces/ranged/pods', pod('a'));
    expect(made.body.spec.containers[0].resources).toEqual({
      limits: { cpu: '500m' },
      requests: { cpu: '100m', memory: '64Mi' },
    });
    const small = await server.call(
      'POST',
      '/api/v1/namespaces/ranged/pods',
      pod('b', { resources: { requests: { cpu: '10m' } } }),
    );
    expect([small.status, small.body.message]).toEqual([
      403,
      'pods "b" is forbidden: minimum cpu usage per Container is 50m, but request is 10m',
    ]);
    const large = await server.call(
      'POST',
      '/api/v1/namespaces/ranged/pods',
      pod('b', { resources: { limits: { cpu: '2' } } }),
    );
    expect(large.body.message).toBe('pods "b" is forbidden: maximum cpu usage per Container is 1, but limit is 2');
  });

  test('a ResourceQuota bounds what a namespace holds, also of many at once', async () => {
    await namespace('quotaed');
    await server.call('POST', '/api/v1/namespaces/quotaed/resourcequotas', {
      metadata: { name: 'q' },
      spec: { hard: { configmaps: '5', 'requests.cpu': '1', pods: '10' } },
    });
    const silent = await server.call('POST', '/api/v1/namespaces/quotaed/pods', pod('a'));
    expect(silent.body.message).toBe('pods "a" is forbidden: failed quota: q: must specify requests.cpu for: c');
    const some = (name: string, cpu: string) =>
      server.call('POST', '/api/v1/namespaces/quotaed/pods', pod(name, { resources: { requests: { cpu } } }));
    expect((await some('a', '600m')).status).toBe(201);
    expect((await some('b', '500m')).body.message).toBe(
      'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1',
    );
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        server.call('POST', '/api/v1/namespaces/quotaed/configmaps', { metadata: { name: `m${i}` } }),
      ),
    );
    expect(results.filter(({ status }) => status === 201)).toHaveLength(5);
    const { body } = await server.call('GET', '/api/v1/namespaces/quotaed/resourcequotas/q');
    expect(body.status.used).toEqual({ configmaps: '5', pods: '1', 'requests.cpu': '600m' });
  });

  test('scopes: a quota for best effort leaves others alone', async () => {
    await namespace('scoped');
    await server.call('POST', '/api/v1/namespaces/scoped/resourcequotas', {
      metadata: { name: 'best' },
      spec: { hard: { pods: '1' }, scopes: ['BestEffort'] },
    });
    expect((await server.call('POST', '/api/v1/namespaces/scoped/pods', pod('a'))).status).toBe(201);
    expect((await server.call('POST', '/api/v1/namespaces/scoped/pods', pod('b'))).status).toBe(403);
    const burstable = pod('c', { resources: { requests: { cpu: '1' } } });
    expect((await server.call('POST', '/api/v1/namespaces/scoped/pods', burstable)).status).toBe(201);
  });
});

describe('pod security', () => {
  test('a namespace that enforces a standard refuses what violates it, and warns about workloads', async () => {
    await namespace('secure', {
      'pod-security.kubernetes.io/enforce': 'baseline',
      'pod-security.kubernetes.io/warn': 'restricted',
    });
    const privileged = pod('a', { securityContext: { privileged: true } }, { hostNetwork: true });
    const refused = await server.call('POST', '/api/v1/namespaces/secure/pods', privileged);
    expect([refused.status, refused.body.message]).toEqual([
      403,
      'pods "a" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true), privileged (container "c" must not set securityContext.privileged=true)',
    ]);
    const warned = await server.call('POST', '/api/v1/namespaces/secure/pods', pod('b'));
    expect(warned.status).toBe(201);
    expect(warned.headers.get('warning')).toContain(
      'would violate PodSecurity \\"restricted:latest\\": allowPrivilegeEscalation != false (container \\"c\\" must set securityContext.allowPrivilegeEscalation=false)',
    );
    const good = pod(
      'd',
      { securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } },
      { securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } } },
    );
    expect((await server.call('POST', '/api/v1/namespaces/secure/pods', good)).headers.get('warning')).toBeNull();
    const tightened = await server.call(
      'PATCH',
      '/api/v1/namespaces/secure',
      { metadata: { labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } } },
      { headers: { 'content-type': 'application/merge-patch+json' } },
    );
    expect(tightened.headers.get('warning')).toContain('existing pods in namespace \\"secure\\" violate');
    const wrong = await server.call('POST', '/api/v1/namespaces', {
      metadata: { name: 'x', labels: { 'pod-security.kubernetes.io/enforce': 'tight' } },
    });
    expect(wrong.status).toBe(422);
  });
});
