import { afterEach, describe, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../../base/bytes.ts';
import { systemRandom } from '../../../base/system.ts';
import type { Store } from '../../../store/api.ts';
import type { ApiServer } from '../apiserver.ts';
import { prefixEnd } from '../keys.ts';
import { admin, startApi, startTestServer, type TestServer } from '../testing.ts';
import { Providers } from './providers.ts';

const clusterKey = systemRandom.bytes(32);
const path = '/api/v1/namespaces/default/secrets';
const prefix = '/registry/core/secrets/';
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

async function start(options: Parameters<typeof startTestServer>[0] = {}): Promise<TestServer> {
  const server = await startTestServer({ encryptionKey: clusterKey, ...options });
  open.push(server);
  return server;
}

const password = 'correct horse battery staple';
const secret = (name: string, value = password) => ({ metadata: { name, labels: { l: '1' } }, stringData: { value } });
const decoded = (body: { data: { value: string } }): string => Buffer.from(body.data.value, 'base64').toString();

async function raw(store: Store): Promise<Map<string, string>> {
  const { kvs } = await store.range({ key: utf8(prefix), rangeEnd: prefixEnd(prefix) });
  return new Map(kvs.map(({ key, value }) => [utf8Text(key), Buffer.from(value).toString('latin1')]));
}

async function call(
  api: ApiServer,
  method: string,
  url: string,
  body?: unknown,
): Promise<{ status: number; body: any_; text: string }> {
  const request = new Request(`http://api${url}`, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const response = await api.fetch(request, { identity: admin });
  const text = await response.text();
  const json = response.headers.get('content-type') === 'application/json' && !/watch=1/.test(url);
  return { status: response.status, text, body: json ? JSON.parse(text) : undefined };
}
// biome-ignore lint/suspicious/noExplicitAny: answers of any kind are looked into
type any_ = any;

const act = (api: ApiServer, action: string) => call(api, 'PUT', '/v1-appliance/encrypt/config', { action });
const status = async (api: ApiServer) => (await call(api, 'GET', '/v1-appliance/encrypt/status')).body;

async function finished(api: ApiServer): Promise<void> {
  for (let i = 0; i < 1000 && (await status(api)).stage !== 'finished'; i++) await Bun.sleep(10);
  expect((await status(api)).stage).toBe('finished');
}

describe('encryption at rest', () => {
  test('Secrets are ciphertext in the store and themselves over the API: get, list with a selector, watch, patch, delete', async () => {
    const { api, store } = await start({ secretsEncryption: true });
    expect((await call(api, 'POST', path, secret('s'))).status).toBe(201);
    await call(api, 'POST', '/api/v1/namespaces/default/configmaps', { metadata: { name: 'c' }, data: { a: 'plain' } });
    const key = `${prefix}default/s`;
    const stored = (await raw(store)).get(key)!;
    expect(stored).toMatch(/^k8s:enc:aesgcm:v1:key-\d{8}-[a-z0-9]{5}:/);
    for (const plain of ['value', 'Opaque', 'labels', password, Buffer.from(password).toString('base64')])
      expect(stored).not.toContain(plain);
    const { kvs } = await store.range({ key: utf8('/registry/core/configmaps/default/c') });
    expect(utf8Text(kvs[0]!.value)).toContain('plain');
    // Nor is the key anywhere in the store.
    const all = await store.range({ key: new Uint8Array(1), rangeEnd: new Uint8Array(1) });
    expect(all.kvs.map(({ value }) => utf8Text(value)).filter((text) => text.includes('"secret"'))).toEqual([]);

    expect(decoded((await call(api, 'GET', `${path}/s`)).body)).toBe(password);
    expect((await call(api, 'GET', `${path}?labelSelector=l%3D1&fieldSelector=type%3DOpaque`)).body.items).toHaveLength(
      1,
    );
    const { metadata } = (await call(api, 'GET', path)).body;
    const aborter = new AbortController();
    const watch = await api.fetch(
      new Request(`http://api${path}?watch=1&resourceVersion=${metadata.resourceVersion}`, { signal: aborter.signal }),
      { identity: admin },
    );
    const events = watch.body!.getReader();
    await call(api, 'PUT', `${path}/s`, { ...secret('s', 'another'), type: 'Opaque' });
    const event = JSON.parse(utf8Text((await events.read()).value!));
    expect([event.type, decoded(event.object)]).toEqual(['MODIFIED', 'another']);
    await call(api, 'DELETE', `${path}/s`);
    expect(JSON.parse(utf8Text((await events.read()).value!)).type).toBe('DELETED');
    aborter.abort();
  });

  test('the stored form is that of the aesgcm provider: any implementation of AES-GCM reads it with prefix, nonce and path', async () => {
    const bytes = new Uint8Array(systemRandom.bytes(32));
    const key = { name: 'key1', secret: Buffer.from(bytes).toString('base64') };
    const web = await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt', 'decrypt']);
    const head = 'k8s:enc:aesgcm:v1:key1:';
    const providers = new Providers([{ aesgcm: { keys: [key] } }]);
    const additionalData = new Uint8Array(utf8(`${prefix}default/s`));
    const sealed = new Uint8Array(providers.seal(`${prefix}default/s`, utf8(password), systemRandom));
    expect(utf8Text(sealed.subarray(0, head.length))).toBe(head);
    const nonce = sealed.slice(head.length, head.length + 12);
    const plain = await crypto.subtle.decrypt(
      { name: 'AES-GCM', iv: nonce, additionalData },
      web,
      sealed.slice(head.length + 12),
    );
    expect(utf8Text(new Uint8Array(plain))).toBe(password);
    const iv = new Uint8Array(12).fill(7);
    const theirs = await crypto.subtle.encrypt(
      { name: 'AES-GCM', iv, additionalData },
      web,
      new TextEncoder().encode('from elsewhere'),
    );
    const value = Buffer.concat([Buffer.from(head), iv, Buffer.from(theirs)]);
    expect(utf8Text(providers.open(`${prefix}default/s`, value))).toBe('from elsewhere');
    expect(() => providers.open(`${prefix}default/t`, value)).toThrow(/key1 does not fit/);
  });

  test('enabled on a cluster with Secrets, rotated and disabled: every Secret is rewritten each time, and answers throughout', async () => {
    const { api, store } = await start();
    const names = Array.from({ length: 210 }, (_, i) => `s${i}`);
    for (const name of names) await call(api, 'POST', path, secret(name));
    const readable = async (): Promise<void> => {
      const { items } = (await call(api, 'GET', path)).body as { items: { data: { value: string } }[] };
      expect(items.map(decoded)).toEqual(names.map(() => password));
    };
    expect(await status(api)).toEqual({ enabled: false, stage: 'finished', keys: [], rewritten: 0 });
    expect((await act(api, 'rotate-keys')).body).toMatchObject({ code: 409, message: /disabled/ });
    expect((await act(api, 'enable')).body).toMatchObject({ enabled: true, stage: 'rewriting' });
    await readable();
    await finished(api);
    expect((await status(api)).rewritten).toBe(210);
    const values = [...(await raw(store)).values()];
    expect(values.filter((value) => !value.startsWith('k8s:enc:aesgcm:v1:'))).toEqual([]);
    await readable();
    expect((await act(api, 'enable')).body).toMatchObject({ code: 409, message: /already/ });

    expect((await act(api, 'rotate-keys')).status).toBe(200);
    await readable();
    await finished(api);
    const { keys } = await status(api);
    expect(keys.map((one: { active: boolean }) => one.active)).toEqual([true, false]);
    const stale = [...(await raw(store)).values()].filter(
      (value) => !value.startsWith(`k8s:enc:aesgcm:v1:${keys[0].name}:`),
    );
    expect(stale).toEqual([]);
    await readable();

    expect((await act(api, 'disable')).status).toBe(200);
    await finished(api);
    expect([...(await raw(store)).values()].filter((value) => value.startsWith('k8s:enc:'))).toEqual([]);
    await readable();
    expect((await act(api, 'burn')).body).toMatchObject({
      code: 400,
      message: /enable, disable, rotate-keys, reencrypt/,
    });
  });

  test('two servers write while the key is rotated at one of them: nothing is written with the key before once that is finished, both read everything', async () => {
    const first = await start({ secretsEncryption: true });
    const second = await startApi(first.store, first.pki, { encryptionKey: clusterKey, address: '127.0.0.2' });
    open.push(second);
    const servers = [first.api, second];
    for (let i = 0; i < 40; i++) await call(servers[i % 2]!, 'POST', path, secret(`s${i}`));
    let writing = true;
    let written = 0;
    const writers = servers.map(async (api, at) => {
      for (let i = 0; writing || i < 5; i++) {
        const name = `w${at}-${i % 10}`;
        const put = await call(api, i < 10 ? 'POST' : 'PUT', i < 10 ? path : `${path}/${name}`, secret(name, `v${i}`));
        expect(put.status, put.text).toBeLessThan(300);
        written++;
      }
    });
    await act(first.api, 'rotate-keys');
    await finished(first.api);
    const [active] = (await status(second)).keys;
    // The second server has the key without a word to it, and what it writes from here on is sealed with it.
    writing = false;
    await Promise.all(writers);
    expect(written).toBeGreaterThan(20);
    const stale = [...(await raw(first.store))].filter(
      ([, value]) => !value.startsWith(`k8s:enc:aesgcm:v1:${active.name}:`),
    );
    expect(stale.map(([key]) => key)).toEqual([]);
    for (const api of servers) {
      const list = await call(api, 'GET', path);
      expect(list.body.items.length, list.text.slice(0, 200)).toBeGreaterThan(40);
    }
  });

  test('a server that was stopped while rewriting goes on when it starts', async () => {
    const server = await start();
    for (let i = 0; i < 5; i++) await server.call('POST', path, secret(`s${i}`));
    await act(server.api, 'enable');
    await server.api.close();
    const again = await startApi(server.store, server.pki, { encryptionKey: clusterKey });
    open.push(again);
    await finished(again);
    expect([...(await raw(server.store)).values()].filter((value) => !value.startsWith('k8s:enc:'))).toEqual([]);
  });

  test.each([
    ['another key', systemRandom.bytes(32), /encryption\.key is not the key of this cluster/],
    ['no key', undefined, /this server has no encryption\.key/],
  ])(
    'a server with %s serves everything but Secrets, tells which object and why, and is not ready',
    async (_, encryptionKey, why) => {
      const server = await start({ secretsEncryption: true });
      await server.call('POST', path, secret('s'));
      const other = await startApi(server.store, server.pki, encryptionKey === undefined ? {} : { encryptionKey });
      open.push(other);
      expect((await call(other, 'GET', '/api/v1/namespaces/default')).status).toBe(200);
      const get = await call(other, 'GET', `${path}/s`);
      expect(get.body).toMatchObject({ kind: 'Status', code: 500, reason: 'InternalError' });
      expect(get.body.message).toContain('"/registry/core/secrets/default/s"');
      expect(get.body.message).toMatch(why);
      expect((await call(other, 'GET', path)).body).toMatchObject({ code: 500, reason: 'InternalError' });
      expect((await call(other, 'POST', path, secret('t'))).body).toMatchObject({ code: 500 });
      const ready = await call(other, 'GET', '/readyz');
      expect([ready.status, ready.text]).toEqual([500, expect.stringMatching(/\[-\]encryption-at-rest failed/)]);
      // Nothing of that was written.
      expect([...(await raw(server.store)).keys()]).not.toContain(`${prefix}default/t`);
    },
  );

  test('a value that was moved to another name is refused and named; the others are read', async () => {
    const { api, store } = await start({ secretsEncryption: true });
    for (const name of ['a', 'b']) await call(api, 'POST', path, secret(name));
    const { kvs } = await store.range({ key: utf8(`${prefix}default/a`) });
    await store.put({ key: utf8(`${prefix}default/b`), value: kvs[0]!.value });
    const get = await call(api, 'GET', `${path}/b`);
    expect(get.body.message).toMatch(/secrets\/default\/b": cannot decrypt it: .*another object's/);
    expect((await call(api, 'GET', path)).body.message).toMatch(/secrets\/default\/b"/);
    expect((await call(api, 'GET', `${path}/a`)).status).toBe(200);
    // A watch ends with the reason instead of leaving the change out.
    const watch = await call(api, 'GET', `${path}?watch=1&timeoutSeconds=1&resourceVersion=${kvs[0]!.modRevision}`);
    expect(watch.text).toContain('"type":"ERROR"');
    expect(watch.text).toContain('cannot decrypt it');
  });

  test('only who may everything may look and change', async () => {
    const { call: as } = await start();
    const nobody = { as: { name: 'dev', groups: ['system:authenticated'] } };
    expect((await as('GET', '/v1-appliance/encrypt/status', undefined, nobody)).status).toBe(403);
    expect((await as('PUT', '/v1-appliance/encrypt/config', { action: 'enable' }, nobody)).status).toBe(403);
    expect((await as('POST', '/v1-appliance/encrypt/config', { action: 'enable' })).status).toBe(405);
  });
});
