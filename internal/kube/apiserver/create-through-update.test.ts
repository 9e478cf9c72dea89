/** PUT and server-side apply of objects that do not exist. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
const joe = { name: 'joe', groups: [] };
const rbac = 'rbac.authorization.k8s.io';
const roles = `/apis/${rbac}/v1/namespaces/default/roles`;
const role = (verbs: readonly string[]) => ({
  apiVersion: `${rbac}/v1`,
  kind: 'Role',
  metadata: { name: 'writer' },
  rules: [{ verbs, apiGroups: ['', 'coordination.k8s.io'], resources: ['configmaps', 'leases'] }],
});

beforeAll(async () => {
  server = await startTestServer();
  await server.call('POST', roles, role(['get', 'patch', 'update']));
  await server.call('POST', `/apis/${rbac}/v1/namespaces/default/rolebindings`, {
    apiVersion: `${rbac}/v1`,
    kind: 'RoleBinding',
    metadata: { name: 'writer' },
    roleRef: { apiGroup: rbac, kind: 'Role', name: 'writer' },
    subjects: [{ kind: 'User', name: 'joe', apiGroup: rbac }],
  });
});
afterAll(() => server.close());

const apply = (name: string, data: object) =>
  server.call(
    'PATCH',
    `/api/v1/namespaces/default/configmaps/${name}?fieldManager=joe`,
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data },
    { as: joe, headers: { 'content-type': 'application/apply-patch+yaml' } },
  );
const put = (name: string) =>
  server.call(
    'PUT',
    `/apis/coordination.k8s.io/v1/namespaces/default/leases/${name}`,
    { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name } },
    { as: joe },
  );

test('create through update: who may patch and update but not create changes what is there and makes nothing', async () => {
  // The binding is known as soon as a refusal names the other verb.
  await expect
    .poll(async () => (await apply('made', { a: 'b' })).body.message, { timeout: 10_000 })
    .toBe(
      'configmaps "made" is forbidden: User "joe" cannot create resource "configmaps" in API group "" in the namespace "default"',
    );
  const lease = await put('made');
  expect([lease.status, lease.body.reason]).toEqual([403, 'Forbidden']);
  for (const path of [
    '/api/v1/namespaces/default/configmaps/made',
    '/apis/coordination.k8s.io/v1/namespaces/default/leases/made',
  ])
    expect((await server.call('GET', path)).status).toBe(404);

  const existing = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'there' } };
  expect((await server.call('POST', '/api/v1/namespaces/default/configmaps', existing)).status).toBe(201);
  expect((await apply('there', { a: 'b' })).status).toBe(200);
});

test('create through update: with the verb create both make objects', async () => {
  expect((await server.call('PUT', `${roles}/writer`, role(['patch', 'update', 'create']))).status).toBe(200);
  await expect.poll(async () => (await apply('allowed', { a: 'b' })).status, { timeout: 10_000 }).toBe(201);
  expect((await put('allowed')).status).toBe(201);
});
