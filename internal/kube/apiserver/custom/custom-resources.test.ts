import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { builtinOpenApi } from '../../api/builtin.ts';
import type { JsonObject } from '../../machinery/json.ts';
import { makeTestPki, startTestServer, type TestPki, type TestServer } from '../testing.ts';
import { startWebhook, type TestWebhook } from '../webhook.testing.ts';

let server: TestServer;
let pki: TestPki;

beforeAll(async () => {
  pki = await makeTestPki();
  server = await startTestServer({ pki, openapi: builtinOpenApi });
}, 60_000);
afterAll(() => server.close());

const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';

function definition(kind: string, more: JsonObject = {}, schema: JsonObject = {}): JsonObject {
  const plural = `${kind.toLowerCase()}s`;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.example.com` },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { plural, singular: kind.toLowerCase(), kind, listKind: `${kind}List` },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              properties: {
                spec: {
                  type: 'object',
                  properties: {
                    size: { type: 'integer', minimum: 1, default: 3 },
                    image: { type: 'string' },
                    ports: {
                      type: 'array',
                      items: {
                        type: 'object',
                        required: ['name'],
                        properties: { name: { type: 'string' }, port: { type: 'integer' } },
                      },
                      'x-kubernetes-list-type': 'map',
                      'x-kubernetes-list-map-keys': ['name'],
                    },
                    fixed: {
                      type: 'string',
                      'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'is fixed' }],
                    },
                  },
                  'x-kubernetes-validations': [
                    { rule: "!has(self.image) || self.image != 'bad'", message: 'image is bad' },
                  ],
                  ...schema,
                },
                status: { type: 'object', properties: { size: { type: 'integer' }, selector: { type: 'string' } } },
              },
            },
          },
          ...more,
        },
      ],
    },
  };
}

async function until(check: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 400; i++) {
    if (await check()) return;
    await Bun.sleep(10);
  }
  throw new Error('did not come about');
}

const served = (plural: string, version = 'v1'): Promise<void> =>
  until(async () => (await server.call('GET', `/apis/example.com/${version}/${plural}`)).status === 200);

async function define(object: JsonObject): Promise<void> {
  const made = await server.call('POST', crds, object);
  expect(made.body.message ?? made.status).toBe(201);
}

const at = (plural: string, name = '', version = 'v1'): string =>
  `/apis/example.com/${version}/namespaces/default/${plural}${name === '' ? '' : `/${name}`}`;

describe('a CustomResourceDefinition', () => {
  test('is established, discovered, and its objects are pruned, defaulted, validated and ruled', async () => {
    await define(
      definition('Widget', {
        subresources: {
          status: {},
          scale: {
            specReplicasPath: '.spec.size',
            statusReplicasPath: '.status.size',
            labelSelectorPath: '.status.selector',
          },
        },
        additionalPrinterColumns: [{ name: 'Size', type: 'integer', jsonPath: '.spec.size' }],
        selectableFields: [{ jsonPath: '.spec.image' }],
      }),
    );
    await served('widgets');
    const stored = await server.call('GET', `${crds}/widgets.example.com`);
    expect(stored.body.status.conditions.map((one: JsonObject) => [one.type, one.status])).toEqual([
      ['NamesAccepted', 'True'],
      ['Established', 'True'],
    ]);
    expect((await server.call('GET', '/apis')).body.groups.at(-1).name).toBe('example.com');
    const resources = (await server.call('GET', '/apis/example.com/v1')).body.resources;
    expect(resources.map((one: JsonObject) => one.name)).toEqual(['widgets', 'widgets/status', 'widgets/scale']);

    const body = {
      apiVersion: 'example.com/v1',
      kind: 'Widget',
      metadata: { name: 'a' },
      spec: { image: 'x', unknown: 1 },
      status: { size: 9 },
    };
    const warned = await server.call('POST', at('widgets'), body);
    expect(warned.status).toBe(201);
    expect(warned.headers.get('warning')).toBe('299 - "unknown field \\"spec.unknown\\""');
    expect(warned.body.spec).toEqual({ image: 'x', size: 3 });
    expect(warned.body.status).toBeUndefined();
    expect(warned.body.metadata.generation).toBe(1);
    const strict = await server.call('POST', `${at('widgets')}?fieldValidation=Strict`, body);
    expect(strict.body.message).toBe(
      'Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.unknown"',
    );
    const meta = await server.call('POST', `${at('widgets')}?fieldValidation=Strict`, {
      ...body,
      metadata: { name: 'b', unknownMeta: 1 },
      spec: {},
    });
    expect(meta.body.message).toContain('strict decoding error: unknown field "metadata.unknownMeta"');
    const invalid = await server.call('POST', at('widgets'), { ...body, metadata: { name: 'b' }, spec: { size: 0 } });
    expect(invalid.status).toBe(422);
    expect(invalid.body.message).toBe(
      'Widget.example.com "b" is invalid: spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1',
    );
    const ruled = await server.call('POST', at('widgets'), {
      ...body,
      metadata: { name: 'b' },
      spec: { image: 'bad' },
    });
    expect(ruled.body.message).toBe('Widget.example.com "b" is invalid: spec: Invalid value: "object": image is bad');

    const status = await server.call(
      'PATCH',
      `${at('widgets', 'a')}/status`,
      { status: { size: 2, selector: 'app=a' }, spec: { image: 'other' } },
      { headers: { 'content-type': 'application/merge-patch+json' } },
    );
    expect(status.body.status).toEqual({ size: 2, selector: 'app=a' });
    expect(status.body.spec.image).toBe('x');
    expect(status.body.metadata.generation).toBe(1);
    const scale = await server.call('GET', `${at('widgets', 'a')}/scale`);
    expect([scale.body.spec.replicas, scale.body.status]).toEqual([3, { replicas: 2, selector: 'app=a' }]);
    const scaled = await server.call(
      'PATCH',
      `${at('widgets', 'a')}/scale`,
      { spec: { replicas: 5 } },
      { headers: { 'content-type': 'application/merge-patch+json' } },
    );
    expect(scaled.body.spec.replicas).toBe(5);
    expect((await server.call('GET', at('widgets', 'a'))).body.metadata.generation).toBe(2);

    const table = await server.call('GET', at('widgets'), undefined, {
      headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
    });
    expect(table.body.columnDefinitions.map((one: JsonObject) => one.name)).toEqual(['Name', 'Size']);
    expect(table.body.rows[0].cells).toEqual(['a', 5]);
    const selected = async (value: string): Promise<number> =>
      (await server.call('GET', `${at('widgets')}?fieldSelector=spec.image%3D${value}`)).body.items.length;
    expect([await selected('x'), await selected('y')]).toEqual([1, 0]);
    expect((await server.call('GET', `${at('widgets')}?fieldSelector=spec.size%3D3`)).status).toBe(400);
    const patched = await server.call(
      'PATCH',
      at('widgets', 'a'),
      {},
      {
        headers: { 'content-type': 'application/strategic-merge-patch+json' },
      },
    );
    expect(patched.status).toBe(415);
  });

  test('is published in OpenAPI v2, as JSON and for old clients as protobuf, and in v3, without strategic merge patch', async () => {
    await define(
      definition(
        'Published',
        {},
        { description: 'what a Published is', nullable: true, 'x-kubernetes-map-type': 'atomic' },
      ),
    );
    await served('publisheds');
    const v2 = (await server.call('GET', '/openapi/v2')).body;
    const name = 'com.example.v1.Published';
    expect(v2.definitions[name]['x-kubernetes-group-version-kind']).toEqual([
      { group: 'example.com', version: 'v1', kind: 'Published' },
    ]);
    expect(v2.definitions[name].properties.metadata).toMatchObject({
      $ref: '#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta',
    });
    expect(v2.definitions['io.k8s.api.core.v1.Pod']).toBeDefined();
    const item = '/apis/example.com/v1/namespaces/{namespace}/publisheds/{name}';
    expect(v2.paths[item].patch.consumes).not.toContain('application/strategic-merge-patch+json');
    const old = await server.call('GET', '/openapi/v2', undefined, {
      headers: { accept: 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf' },
    });
    expect(old.status).toBe(200);
    expect(String(old.body)).toContain(name);
    const index = (await server.call('GET', '/openapi/v3')).body.paths;
    const v3 = (await server.call('GET', index['apis/example.com/v1'].serverRelativeURL.split('?')[0])).body;
    expect(v3.components.schemas[name].properties.spec.description).toBe('what a Published is');
    expect(v3.components.schemas[name].properties.spec.properties.size.default).toBe(3);
    expect(Object.keys(v3.paths[item].patch.requestBody.content)).not.toContain(
      'application/strategic-merge-patch+json',
    );
  });

  test('server-side apply merges lists by key, knows conflicts, and refuses fields that are not declared', async () => {
    await define(definition('Applied'));
    await served('applieds');
    const apply = (manager: string, spec: JsonObject, query = '') =>
      server.call(
        'PATCH',
        `${at('applieds', 'a')}?fieldManager=${manager}${query}`,
        { apiVersion: 'example.com/v1', kind: 'Applied', metadata: { name: 'a' }, spec },
        { headers: { 'content-type': 'application/apply-patch+yaml' } },
      );
    expect((await apply('one', { ports: [{ name: 'x', port: 1 }] })).status).toBe(201);
    const merged = await apply('two', { ports: [{ name: 'y', port: 2 }] });
    expect(merged.body.spec.ports).toEqual([
      { name: 'x', port: 1 },
      { name: 'y', port: 2 },
    ]);
    expect((await apply('two', { ports: [{ name: 'x', port: 5 }] })).status).toBe(409);
    const forced = await apply('two', { ports: [{ name: 'x', port: 5 }] }, '&force=true');
    expect(forced.body.spec.ports).toEqual([{ name: 'x', port: 5 }]);
    const unknown = await apply('one', { nope: 1 });
    expect(unknown.body.message).toBe(
      'failed to create typed patch object (default/a; example.com/v1, Kind=Applied): .spec.nope: field not declared in schema',
    );
    const twice = await apply('one', { ports: [{ name: 'x' }, { name: 'x', port: 1 }] });
    expect([twice.status, twice.body.message]).toEqual([
      500,
      'failed to create typed patch object (default/a; example.com/v1, Kind=Applied): .spec.ports: duplicate entries for key [name="x"]',
    ]);
    expect((await apply('one', { fixed: 'a' })).status).toBe(200);
    const changed = await apply('one', { fixed: 'b' });
    expect(changed.body.message).toBe(
      'Applied.example.com "a" is invalid: spec.fixed: Invalid value: "string": is fixed',
    );
  });

  test('that is not structural, or whose rules do not compile, is refused', async () => {
    const bad = definition('Bad', {}, { properties: { x: {} } });
    const refused = await server.call('POST', crds, bad);
    expect(refused.status).toBe(422);
    expect(refused.body.message).toContain(
      'spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[x].type: Required value: must not be empty for specified object fields',
    );
    const rule = definition('Bad', {}, { 'x-kubernetes-validations': [{ rule: 'self.nope == 1' }] });
    expect((await server.call('POST', crds, rule)).body.message).toContain('compilation failed');
  });

  test('whose names are taken waits until they are free', async () => {
    await define(definition('First'));
    await served('firsts');
    const second = definition('Second');
    (second.spec as { names: JsonObject }).names.kind = 'First';
    await define(second);
    const named = async (): Promise<JsonObject> => {
      const { body } = await server.call('GET', `${crds}/seconds.example.com`);
      return (body.status?.conditions ?? []).find((one: JsonObject) => one.type === 'NamesAccepted') ?? {};
    };
    await until(async () => (await named()).reason === 'KindConflict');
    expect((await server.call('GET', at('seconds'))).status).toBe(404);
    await server.call('DELETE', `${crds}/firsts.example.com`);
    await served('seconds');
  });

  test('that is deleted takes its objects along, those with finalizers last; nothing is created meanwhile', async () => {
    await define(definition('Doomed'));
    await served('doomeds');
    const object = (name: string, finalizers: string[]) => ({
      apiVersion: 'example.com/v1',
      kind: 'Doomed',
      metadata: { name, finalizers },
      spec: {},
    });
    await server.call('POST', at('doomeds'), object('plain', []));
    await server.call('POST', at('doomeds'), object('held', ['example.com/wait']));
    const deleted = await server.call('DELETE', `${crds}/doomeds.example.com`);
    expect(deleted.body.metadata.finalizers).toEqual(['customresourcecleanup.apiextensions.k8s.io']);
    await until(async () => (await server.call('GET', at('doomeds', 'plain'))).status === 404);
    await until(async () => (await server.call('POST', at('doomeds'), object('late', []))).status === 405);
    expect((await server.call('GET', at('doomeds', 'held'))).body.metadata.deletionTimestamp).toBeDefined();
    await server.call(
      'PATCH',
      at('doomeds', 'held'),
      { metadata: { finalizers: null } },
      {
        headers: { 'content-type': 'application/merge-patch+json' },
      },
    );
    await until(async () => (await server.call('GET', `${crds}/doomeds.example.com`)).status === 404);
    await until(async () => (await server.call('GET', at('doomeds'))).status === 404);
  });

  test('whose schema changes: stored objects get new defaults and lose what is no longer named', async () => {
    await define(definition('Changing'));
    await served('changings');
    await server.call('POST', at('changings'), {
      apiVersion: 'example.com/v1',
      kind: 'Changing',
      metadata: { name: 'a' },
      spec: { image: 'x' },
    });
    const current = (await server.call('GET', `${crds}/changings.example.com`)).body;
    const spec = current.spec.versions[0].schema.openAPIV3Schema.properties.spec;
    spec.properties.added = { type: 'string', default: 'new' };
    delete spec.properties.image;
    delete spec['x-kubernetes-validations'];
    const put = await server.call('PUT', `${crds}/changings.example.com`, current);
    expect(put.body.message ?? put.status).toBe(200);
    await until(async () => (await server.call('GET', at('changings', 'a'))).body.spec?.added === 'new');
    expect((await server.call('GET', at('changings'))).body.items[0].spec).toEqual({ size: 3, added: 'new' });
  });
});

describe('conversion', () => {
  let webhook: TestWebhook;
  let caught: JsonObject[] = [];
  let broken = false;

  beforeAll(async () => {
    webhook = await startWebhook(pki, (request) => {
      caught.push(request);
      if (broken) return { result: { status: 'Failed', message: 'not today' } };
      const { desiredAPIVersion, objects } = request as { desiredAPIVersion: string; objects: JsonObject[] };
      const convertedObjects = objects.map((object) => {
        const spec = object.spec as { hostPort?: string; host?: string; port?: string };
        if (desiredAPIVersion.endsWith('/v2')) {
          const [host = '', port = ''] = (spec.hostPort ?? '').split(':');
          return { ...object, apiVersion: desiredAPIVersion, spec: { host, port } };
        }
        return { ...object, apiVersion: desiredAPIVersion, spec: { hostPort: `${spec.host}:${spec.port}` } };
      });
      return { result: { status: 'Success' }, convertedObjects };
    });
  });
  afterAll(() => webhook.close());

  const version = (name: string, storage: boolean, properties: JsonObject, selectable: string): JsonObject => ({
    name,
    served: true,
    storage,
    schema: { openAPIV3Schema: { type: 'object', properties: { spec: { type: 'object', properties } } } },
    selectableFields: [{ jsonPath: `.spec.${selectable}` }],
  });
  const text = { type: 'string' };

  test('a webhook converts what is read, listed, watched, selected and written in another version', async () => {
    const object = definition('Conv') as { spec: JsonObject };
    object.spec.versions = [
      version('v1', true, { hostPort: text }, 'hostPort'),
      version('v2', false, { host: text, port: text }, 'host'),
    ];
    object.spec.conversion = {
      strategy: 'Webhook',
      webhook: {
        conversionReviewVersions: ['v1'],
        clientConfig: webhook.clientConfig('/convert'),
      },
    };
    await define(object as unknown as JsonObject);
    await served('convs', 'v2');
    const made = await server.call('POST', at('convs'), {
      apiVersion: 'example.com/v1',
      kind: 'Conv',
      metadata: { name: 'one' },
      spec: { hostPort: 'a:1' },
    });
    expect(made.status).toBe(201);
    const asV2 = await server.call('GET', at('convs', 'one', 'v2'));
    expect(asV2.body.spec).toEqual({ host: 'a', port: '1' });
    expect(asV2.body.metadata.uid).toBe(made.body.metadata.uid);
    const written = await server.call('POST', at('convs', '', 'v2'), {
      apiVersion: 'example.com/v2',
      kind: 'Conv',
      metadata: { name: 'two' },
      spec: { host: 'b', port: '2' },
    });
    expect(written.body.spec).toEqual({ host: 'b', port: '2' });
    expect((await server.call('GET', at('convs', 'two'))).body.spec).toEqual({ hostPort: 'b:2' });
    caught = [];
    const list = await server.call('GET', at('convs', '', 'v2'));
    expect(list.body.items.map((one: JsonObject) => one.spec)).toEqual([
      { host: 'a', port: '1' },
      { host: 'b', port: '2' },
    ]);
    expect(caught).toHaveLength(1);
    const picked = await server.call('GET', `${at('convs', '', 'v2')}?fieldSelector=spec.host%3Db`);
    expect(picked.body.items.map((one: { metadata: JsonObject }) => one.metadata.name)).toEqual(['two']);

    const watching = await server.call(
      'GET',
      `${at('convs', '', 'v2')}?watch=1&resourceVersion=${list.body.metadata.resourceVersion}&timeoutSeconds=1&fieldSelector=spec.host%3Dc`,
    );
    expect(watching.status).toBe(200);
    const patched = await server.call(
      'PATCH',
      at('convs', 'one', 'v2'),
      { spec: { host: 'c' } },
      {
        headers: { 'content-type': 'application/merge-patch+json' },
      },
    );
    expect(patched.body.spec).toEqual({ host: 'c', port: '1' });
    const events = await server.call(
      'GET',
      `${at('convs', '', 'v2')}?watch=1&resourceVersion=${list.body.metadata.resourceVersion}&timeoutSeconds=1&fieldSelector=spec.host%3Dc`,
    );
    const seen =
      events.body.type === undefined
        ? String(events.body)
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line))
        : [events.body];
    expect(seen.map((one: JsonObject) => [one.type, (one.object as JsonObject).spec])).toEqual([
      ['ADDED', { host: 'c', port: '1' }],
    ]);

    broken = true;
    const failed = await server.call('GET', at('convs', 'one', 'v2'));
    expect(failed.status).toBe(500);
    expect(failed.body.message).toBe('conversion webhook for example.com/v1, Kind=Conv failed: not today');
    expect((await server.call('GET', at('convs', 'one'))).status).toBe(200);
  });
});
