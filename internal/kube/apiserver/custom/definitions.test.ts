/** What definitions have in common with each other, and what is left of one that goes. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServer, type TestServer } from '../testing.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const merge = { headers: { 'content-type': 'application/merge-patch+json' } };
const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
const patient = { timeout: 10_000 };

function definition(group: string, kind: string, names: object = {}): object {
  const singular = kind.toLowerCase();
  const plural = `${singular}s`;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural, singular, kind, listKind: `${kind}List`, ...names },
      versions: [{ name: 'v1', served: true, storage: true, schema }],
    },
  };
}

const status = async (path: string): Promise<number> => (await server.call('GET', path)).status;

async function condition(name: string, type: string): Promise<string> {
  const { body } = await server.call('GET', `${definitions}/${name}`);
  const found = (body.status?.conditions ?? []).find((one: { type: string }) => one.type === type);
  return found === undefined ? 'none' : `${found.status}: ${found.message}`;
}

test('definition: instances of one that serves no version go with it and do not come back with the next', async () => {
  const group = 'gone.example.com';
  const objects = `/apis/${group}/v1/things`;
  const own = `${definitions}/things.${group}`;
  await server.call('POST', definitions, definition(group, 'Thing'));
  await expect.poll(() => status(objects), patient).toBe(200);
  const thing = { apiVersion: `${group}/v1`, kind: 'Thing', metadata: { name: 'old' } };
  expect((await server.call('POST', `/apis/${group}/v1/namespaces/default/things`, thing)).status).toBe(201);

  const unserved = { spec: { versions: [{ name: 'v1', served: false, storage: true, schema }] } };
  expect((await server.call('PATCH', own, unserved, merge)).status).toBe(200);
  await expect.poll(() => status(objects), patient).toBe(404);
  await server.call('DELETE', own);
  await expect.poll(() => status(own), patient).toBe(404);

  await server.call('POST', definitions, definition(group, 'Thing'));
  await expect.poll(() => status(objects), patient).toBe(200);
  expect((await server.call('GET', objects)).body.items).toEqual([]);
});

test('definition: a name that another gives up, or leaves behind, is accepted where it was refused', async () => {
  const group = 'names.example.com';
  const inUse = 'False: "sh" is already in use';
  const accepted = 'True: no conflicts found';
  const patchNames = (plural: string, shortNames: string[]) =>
    server.call('PATCH', `${definitions}/${plural}.${group}`, { spec: { names: { shortNames } } }, merge);
  await server.call('POST', definitions, definition(group, 'First', { shortNames: ['sh'] }));
  await server.call('POST', definitions, definition(group, 'Second'));
  for (const plural of ['firsts', 'seconds'])
    await expect.poll(() => condition(`${plural}.${group}`, 'NamesAccepted'), patient).toBe(accepted);

  // The second is established and goes on being served without the name.
  await patchNames('seconds', ['sh']);
  await expect.poll(() => condition(`seconds.${group}`, 'NamesAccepted'), patient).toBe(inUse);
  await patchNames('firsts', ['other']);
  await expect.poll(() => condition(`seconds.${group}`, 'NamesAccepted'), patient).toBe(accepted);

  await patchNames('firsts', ['sh']);
  await expect.poll(() => condition(`firsts.${group}`, 'NamesAccepted'), patient).toBe(inUse);
  await server.call('DELETE', `${definitions}/seconds.${group}`);
  await expect.poll(() => condition(`firsts.${group}`, 'NamesAccepted'), patient).toBe(accepted);
});
