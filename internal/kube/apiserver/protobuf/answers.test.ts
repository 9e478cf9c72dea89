/** Answers as protobuf, for clients that take nothing else: what is decoded again is what JSON says. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { builtinKinds, builtinSchemas } from '../../api/builtin.ts';
import type { JsonObject } from '../../machinery/json.ts';
import { admin, startTestServer, type TestServer } from '../testing.ts';
import { decodeProtobuf } from './decode.ts';
import { layoutOf } from './layout.ts';

let server: TestServer;
const media = 'application/vnd.kubernetes.protobuf';
const definition = (kind: string): string => `io.k8s.api.core.v1.${kind}`;
const path = '/api/v1/namespaces/default/configmaps';

beforeAll(async () => {
  server = await startTestServer();
  for (const name of ['a', 'b'])
    await server.call('POST', path, { metadata: { name, labels: { x: name } }, data: { k: name } });
});
afterAll(() => server.close());

async function ask(
  url: string,
  accept: string,
  init: RequestInit = {},
): Promise<{ response: Response; bytes: Uint8Array }> {
  const request = new Request(`http://x${url}`, { ...init, headers: { accept, ...init.headers } });
  const response = await server.api.fetch(request, { identity: admin });
  return { response, bytes: new Uint8Array(await response.arrayBuffer()) };
}
/** What Go writes for fields that are empty makes no difference. */
const plain = (object: JsonObject): JsonObject =>
  JSON.parse(JSON.stringify(object, (_key, value) => (value === '' || value === null ? undefined : value)));
const decode = (bytes: Uint8Array, kind: string): JsonObject =>
  plain(decodeProtobuf(bytes, kind.includes('.') ? kind : definition(kind), builtinSchemas));

test('an object and a list say what they say in JSON', async () => {
  for (const [url, kind] of [
    [`${path}/a`, 'ConfigMap'],
    [path, 'ConfigMapList'],
    ['/api/v1/namespaces?limit=1', 'NamespaceList'],
    ['/api/v1/services', 'ServiceList'],
  ] as const) {
    const { response, bytes } = await ask(url, media);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, media]);
    expect(new TextDecoder('latin1').decode(bytes.subarray(0, 4))).toBe('k8s\0');
    const json = (await server.call('GET', url)).body as JsonObject;
    // Items of lists do not say their kind.
    for (const item of Array.isArray(json.items) ? (json.items as JsonObject[]) : []) {
      delete item.kind;
      delete item.apiVersion;
    }
    const { metadata, ...decoded } = decode(bytes, kind);
    const { continue: _token, ...others } = metadata as JsonObject;
    const { continue: _other, ...expected } = json.metadata as JsonObject;
    expect({ ...decoded, metadata: others }).toEqual(plain({ ...json, metadata: expected }));
  }
});

test('writes are answered the same way, a removal with its Status', async () => {
  const body = JSON.stringify({ metadata: { name: 'made' }, data: { k: 'v' } });
  const made = await ask(path, media, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
  expect(made.response.status).toBe(201);
  expect(decode(made.bytes, 'ConfigMap')).toMatchObject({
    kind: 'ConfigMap',
    metadata: { name: 'made' },
    data: { k: 'v' },
  });
  const gone = await ask(`${path}/made`, media, { method: 'DELETE' });
  expect(decode(gone.bytes, 'io.k8s.apimachinery.pkg.apis.meta.v1.Status')).toMatchObject({ status: 'Success' });
});

test('a watch is frames of events with the object inside', async () => {
  const url = `${path}?watch=1&timeoutSeconds=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan`;
  const { response, bytes } = await ask(url, `${media};stream=watch`);
  expect(response.headers.get('content-type')).toBe(`${media};stream=watch`);
  const events: [type: string, object: JsonObject][] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0);
    const event = bytes.subarray(at + 4, at + 4 + length);
    at += 4 + length;
    const typeLength = event[1]!;
    const type = new TextDecoder().decode(event.subarray(2, 2 + typeLength));
    // The object's envelope begins at its magic number.
    const begin = Buffer.from(event).indexOf('k8s\0', 0, 'latin1');
    events.push([type, decode(event.subarray(begin), 'ConfigMap')]);
  }
  expect(events.map(([type, object]) => [type, (object.metadata as JsonObject).name])).toEqual([
    ['ADDED', 'a'],
    ['ADDED', 'b'],
    ['BOOKMARK', undefined],
  ]);
  expect(events[0]![1]).toMatchObject({ kind: 'ConfigMap', data: { k: 'a' } });
});

test('who takes JSON, too, gets that; a kind that has no such form is refused; every kind of the table has one, and its list', async () => {
  expect((await ask(`${path}/a`, `${media}, */*`)).response.headers.get('content-type')).toBe('application/json');
  expect((await ask(`${path}/a`, `${media};as=Table;v=v1;g=meta.k8s.io`)).response.status).toBe(406);
  for (const kind of builtinKinds.all) {
    expect(layoutOf(kind.schema), kind.kind).toBeDefined();
    if (!kind.virtual) expect(layoutOf(`${kind.schema}List`), kind.listKind).toBeDefined();
  }
});
