/** Server-side apply of what cannot be owned, against a whole server. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JsonObject } from '../machinery/json.ts';
import { startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
  await server.call('POST', '/api/v1/namespaces', { metadata: { name: 't' } });
});
afterAll(() => server.close());

test('apply of a field that no schema has is refused, whatever the field validation, and told by the keys of its list', async () => {
  const body = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"u"},"spec":{"colour":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","imagge":"x","ports":[{"containerPort":80,"prt":1}]}]}}}}`;
  for (const validation of ['Ignore', 'Warn', 'Strict']) {
    const refused = await server.call(
      'PATCH',
      `/apis/apps/v1/namespaces/t/deployments/u?fieldManager=me&fieldValidation=${validation}`,
      body,
      { headers: { 'content-type': 'application/apply-patch+yaml' } },
    );
    expect(refused.status).toBe(500);
    expect(refused.body.message).toBe(`failed to create typed patch object (t/u; apps/v1, Kind=Deployment): errors:
  .spec.colour: field not declared in schema
  .spec.template.spec.containers[name="c"].imagge: field not declared in schema
  .spec.template.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].prt: field not declared in schema`);
  }
});

test('apply of an item of a set or a map list twice is refused, though a live object may have it', async () => {
  const containers = (names: string[], ports: JsonObject[] = []): JsonObject[] => [
    { name: 'c', image: 'i', env: names.map((name, at) => ({ name, value: String(at) })), ports },
  ];
  const deployment = (list: JsonObject[], finalizers: string[] = []): JsonObject => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'twice', finalizers },
    spec: {
      selector: { matchLabels: { a: 'b' } },
      template: { metadata: { labels: { a: 'b' } }, spec: { containers: list } },
    },
  });
  const apply = (body: JsonObject) =>
    server.call('PATCH', '/apis/apps/v1/namespaces/t/deployments/twice?fieldManager=me&force=true', body, {
      headers: { 'content-type': 'application/apply-patch+yaml' },
    });
  const one = await apply(deployment(containers(['X', 'Y', 'X'])));
  expect([one.status, one.body.message]).toEqual([
    500,
    'failed to create typed patch object (t/twice; apps/v1, Kind=Deployment): .spec.template.spec.containers[name="c"].env: duplicate entries for key [name="X"]',
  ]);
  const several = await apply(
    deployment(containers([], [{ containerPort: 93 }, { containerPort: 93, protocol: 'TCP' }]), ['a/b', 'a/b', 'a/b']),
  );
  expect(several.body.message).toBe(`failed to create typed patch object (t/twice; apps/v1, Kind=Deployment): errors:
  .metadata.finalizers: duplicate entries for key [="a/b"]
  .metadata.finalizers: duplicate entries for key [="a/b"]
  .spec.template.spec.containers[name="c"].ports: duplicate entries for key [containerPort=93,protocol="TCP"]`);
  expect((await server.call('GET', '/apis/apps/v1/namespaces/t/deployments/twice')).status).toBe(404);

  const created = await server.call(
    'POST',
    '/apis/apps/v1/namespaces/t/deployments',
    deployment(containers(['X', 'Y', 'X'])),
  );
  expect(created.status).toBe(201);
  expect((await apply(deployment(containers(['X', 'Y'])))).status).toBe(200);
});
