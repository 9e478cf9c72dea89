/** Creates of custom objects whose definition changes between the check and the write: a webhook that admits them does it. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { JsonObject } from '../../machinery/json.ts';
import { makeTestPki, startTestServer, type TestServer } from '../testing.ts';
import { startWebhook, type TestWebhook } from '../webhook.testing.ts';

let server: TestServer;
let webhook: TestWebhook;
/** What happens while an object is admitted. */
let meanwhile: (() => Promise<void>) | undefined;
let asked = 0;

const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const crd = `${crds}/things.example.com`;
const things = '/apis/example.com/v1/namespaces/default/things';

const definition: JsonObject = {
  metadata: { name: 'things.example.com' },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural: 'things', singular: 'thing', kind: 'Thing', listKind: 'ThingList' },
    versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
  },
};

async function until(check: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1000; i++) {
    if (await check()) return;
    await Bun.sleep(10);
  }
  throw new Error('did not come about');
}

const define = async (): Promise<void> => {
  expect((await server.call('POST', crds, definition)).status).toBe(201);
  await until(async () => (await server.call('GET', things)).status === 200);
};
const gone = (): Promise<void> => until(async () => (await server.call('GET', crd)).status === 404);
const create = (name: string, query = '', finalizers: string[] = []) =>
  server.call('POST', `${things}${query}`, {
    apiVersion: 'example.com/v1',
    kind: 'Thing',
    metadata: { name, finalizers },
  });
const names = async (): Promise<string[]> =>
  (await server.call('GET', things)).body.items.map((one: { metadata: { name: string } }) => one.metadata.name);

beforeAll(async () => {
  const pki = await makeTestPki();
  server = await startTestServer({ pki });
  webhook = await startWebhook(pki, async () => {
    asked++;
    const once = meanwhile;
    meanwhile = undefined;
    await once?.();
    return { allowed: true };
  });
  const made = await server.call('POST', '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations', {
    metadata: { name: 'slow' },
    webhooks: [
      {
        name: 'slow.example.com',
        admissionReviewVersions: ['v1'],
        sideEffects: 'None',
        timeoutSeconds: 30,
        clientConfig: webhook.clientConfig('/'),
        rules: [{ operations: ['CREATE'], apiGroups: ['example.com'], apiVersions: ['v1'], resources: ['things'] }],
      },
    ],
  });
  expect(made.body.message ?? made.status).toBe(201);
  await define();
  await until(async () => {
    await create('probe', '?dryRun=All');
    return asked > 0;
  });
});
afterAll(async () => {
  webhook.close();
  await server.close();
});
beforeEach(async () => {
  meanwhile = undefined;
  if ((await server.call('GET', crd)).status === 404) await define();
});

test('the definition is deleted: the object is not created, and not there under the next definition', async () => {
  meanwhile = async () => {
    await server.call('DELETE', crd);
    await gone();
  };
  const refused = await create('late');
  expect([refused.status, refused.body.message]).toEqual([404, 'the server could not find the requested resource']);
  await define();
  expect(await names()).toEqual([]);
  expect((await create('next')).status).toBe(201);
});

test('the definition is deleted and made again: the object is none of the new one', async () => {
  meanwhile = async () => {
    await server.call('DELETE', crd);
    await gone();
    await define();
  };
  expect((await create('late')).status).toBe(404);
  expect(await names()).toEqual([]);
  expect((await create('next')).status).toBe(201);
});

test('the definition goes, but waits for an object that is held: nothing is created', async () => {
  expect((await create('held', '', ['example.com/wait'])).status).toBe(201);
  meanwhile = async () => {
    await server.call('DELETE', crd);
  };
  const refused = await create('late');
  expect([refused.status, refused.body.message]).toEqual([
    405,
    'create not allowed while custom resource definition is terminating',
  ]);
  await server.call(
    'PATCH',
    `${things}/held`,
    { metadata: { finalizers: null } },
    { headers: { 'content-type': 'application/merge-patch+json' } },
  );
  await gone();
});

test('another server deletes or changes the definition, and this one has not heard of it', async () => {
  const txn = server.store.txn.bind(server.store);
  // Right before the write: what this server knows is old.
  const before = (change: () => Promise<unknown>): void => {
    server.store.txn = async (request, durability) => {
      if (new TextDecoder().decode(request.compare?.[0]?.key).includes('/things/')) {
        server.store.txn = txn;
        await change();
      }
      return txn(request, durability);
    };
  };
  const merge = { headers: { 'content-type': 'application/merge-patch+json' } };
  before(() => server.call('PATCH', crd, { metadata: { annotations: { a: 'b' } } }, merge));
  expect((await create('changed')).status).toBe(201);
  before(() => server.call('DELETE', crd));
  expect((await create('late')).status).toBe(405);
  await gone();
  await define();
  expect(await names()).toEqual([]);
});
