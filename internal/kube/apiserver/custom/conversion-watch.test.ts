import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { builtinOpenApi } from '../../api/builtin.ts';
import type { JsonObject } from '../../machinery/json.ts';
import { makeTestPki, startTestServer, type TestPki, type TestServer } from '../testing.ts';
import { startWebhook, type TestWebhook } from '../webhook.testing.ts';

let server: TestServer;
let pki: TestPki;
let webhook: TestWebhook;
/** Names of the objects that the webhook was asked about, by call. */
let asked: string[][] = [];
/** The webhook answers when it is open. */
let open: () => void = () => {};
let gate = Promise.resolve();
const close = (): void => {
  gate = new Promise((resolve) => {
    open = resolve;
  });
};

const at = (version: string, query = ''): string =>
  `/apis/example.com/${version}/namespaces/default/slows${query === '' ? '' : `?${query}`}`;

beforeAll(async () => {
  pki = await makeTestPki();
  server = await startTestServer({ pki, openapi: builtinOpenApi });
  webhook = await startWebhook(pki, async (request) => {
    const { desiredAPIVersion, objects } = request as { desiredAPIVersion: string; objects: JsonObject[] };
    asked.push(objects.map((one) => (one.metadata as { name: string }).name));
    await gate;
    return {
      result: { status: 'Success' },
      convertedObjects: objects.map((object) => ({ ...object, apiVersion: desiredAPIVersion })),
    };
  });
  const version = (name: string, storage: boolean): JsonObject => ({
    name,
    served: true,
    storage,
    schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
  });
  const made = await server.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
    metadata: { name: 'slows.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { plural: 'slows', singular: 'slow', kind: 'Slow', listKind: 'SlowList' },
      versions: [version('v1', true), version('v2', false)],
      conversion: {
        strategy: 'Webhook',
        webhook: { conversionReviewVersions: ['v1'], clientConfig: webhook.clientConfig('/convert') },
      },
    },
  });
  expect(made.status).toBe(201);
  while ((await server.call('GET', at('v2'))).status !== 200) await Bun.sleep(20);
}, 60_000);
afterAll(async () => {
  open();
  webhook.close();
  await server.close();
});
beforeEach(() => {
  asked = [];
});

async function create(name: string, more: JsonObject = {}): Promise<void> {
  const body = { apiVersion: 'example.com/v1', kind: 'Slow', metadata: { name }, ...more };
  expect((await server.call('POST', at('v1'), body)).status).toBe(201);
}

const namesOf = (stream: unknown): string[] =>
  String(stream)
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { object: { metadata: { name: string } } }).object.metadata.name);

test('watchers that wait for one webhook ask it once for each object, and get all changes in their order', async () => {
  const { resourceVersion } = (await server.call('GET', at('v1'))).body.metadata as { resourceVersion: string };
  close();
  const watchers = [1, 2].map(() =>
    server.call('GET', at('v2', `watch=1&resourceVersion=${resourceVersion}&timeoutSeconds=5`)),
  );
  const names = Array.from({ length: 20 }, (_, index) => `slow-${index}`);
  for (const name of names) await create(name);
  expect(asked.length).toBeLessThan(2);
  open();
  for (const watcher of watchers) expect(namesOf((await watcher).body)).toEqual(names);
  expect(asked.flat()).toEqual(names);
  expect(asked.length).toBeLessThan(4);
}, 30_000);

test('a watch ends when too much waits for its webhook', async () => {
  close();
  const { resourceVersion } = (await server.call('GET', at('v1'))).body.metadata as { resourceVersion: string };
  const watching = server.call('GET', at('v2', `watch=1&resourceVersion=${resourceVersion}&timeoutSeconds=3600`));
  const big = 'x'.repeat(1024 * 1024);
  for (let index = 0; index < 11; index++) await create(`big-${index}`, { spec: { big } });
  expect((await watching).body).toBe('');
}, 60_000);
