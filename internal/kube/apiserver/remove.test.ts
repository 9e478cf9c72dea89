import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JsonObject } from '../machinery/json.ts';
import { startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

test('remove: a negative grace period is one second, not a deletion by force', async () => {
  const pods = '/api/v1/namespaces/default/pods';
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default' } };
  await server.call('POST', '/api/v1/namespaces/default/serviceaccounts', account);
  const spec = { nodeName: 'node', containers: [{ name: 'a', image: 'b' }] };
  for (const [name, path, body] of [
    ['body', `${pods}/body`, { gracePeriodSeconds: -1 }],
    ['query', `${pods}/query?gracePeriodSeconds=-1`, undefined],
  ] as const) {
    expect((await server.call('POST', pods, { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec })).status).toBe(
      201,
    );
    await server.call(
      'PATCH',
      `${pods}/${name}/status`,
      { status: { phase: 'Running' } },
      { headers: { 'content-type': 'application/merge-patch+json' } },
    );
    const deleted = await server.call('DELETE', path, body);
    expect([deleted.status, deleted.body.metadata.deletionGracePeriodSeconds]).toEqual([200, 1]);
    expect((await server.call('GET', `${pods}/${name}`)).status).toBe(200);
  }
});

test.each<[string, JsonObject, string]>([
  [
    'both a policy and orphanDependents',
    { propagationPolicy: 'Background', orphanDependents: false },
    'propagationPolicy: Invalid value: "Background": orphanDependents and deletionPropagation cannot be both set',
  ],
  [
    'an unknown policy',
    { propagationPolicy: 'Sideways' },
    'propagationPolicy: Unsupported value: "Sideways": supported values: "Background", "Foreground", "Orphan", "nil"',
  ],
  ['an unknown dryRun', { dryRun: ['Some'] }, 'dryRun: Unsupported value: "Some": supported values: "All"'],
])('remove: %s is refused, in the body as in the query, and nothing is deleted', async (_, options, why) => {
  const maps = '/api/v1/namespaces/default/configmaps';
  await server.call('POST', maps, { metadata: { name: 'kept' } });
  const query = new URLSearchParams(
    Object.entries(options).map(([key, value]): [string, string] => [key, String(value)]),
  );
  for (const [path, body] of [
    [`${maps}/kept`, options],
    [`${maps}/kept?${query}`, undefined],
    [maps, options],
  ] as const) {
    const refused = await server.call('DELETE', path, body);
    expect([refused.status, refused.body.message]).toEqual([422, `DeleteOptions.meta.k8s.io "" is invalid: ${why}`]);
  }
  expect((await server.call('GET', `${maps}/kept`)).status).toBe(200);
});

const jobWarning =
  'child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning';
const template = {
  metadata: { labels: { app: 'a' } },
  spec: { restartPolicy: 'Never', containers: [{ name: 'a', image: 'b' }] },
};
const controllerTemplate = { ...template, spec: { containers: template.spec.containers } };

test.each<[string, string, JsonObject, string | undefined]>([
  ['Job', '/apis/batch/v1/namespaces/default/jobs', { template }, jobWarning],
  [
    'ReplicationController',
    '/api/v1/namespaces/default/replicationcontrollers',
    { selector: { app: 'a' }, template: controllerTemplate },
    undefined,
  ],
])('remove: a %s without a policy leaves its pods, as it says', async (_, path, spec, warning) => {
  const make = async (): Promise<void> => {
    expect((await server.call('POST', path, { metadata: { name: 'owner' }, spec })).status).toBe(201);
  };
  const gone = async (): Promise<void> => expect((await server.call('GET', `${path}/owner`)).status).toBe(404);
  for (const policy of [{ propagationPolicy: 'Background' }, { orphanDependents: false }]) {
    await make();
    const explicit = await server.call('DELETE', `${path}/owner`, policy);
    expect([explicit.status, explicit.headers.get('warning')]).toEqual([200, null]);
    await gone();
  }
  for (const target of [`${path}/owner`, path]) {
    await make();
    const deleted = await server.call('DELETE', target);
    expect(deleted.status).toBe(200);
    expect(deleted.headers.get('warning') ?? undefined).toEqual(warning && expect.stringContaining(warning));
    const { metadata } = (await server.call('GET', `${path}/owner`)).body;
    expect(metadata).toMatchObject({ finalizers: ['orphan'], deletionTimestamp: expect.any(String) });
    await server.call('DELETE', `${path}/owner`, { propagationPolicy: 'Background' });
    await gone();
  }
});
