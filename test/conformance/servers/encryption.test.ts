/** Three API servers, each over a member of its own of one replicated store: Secrets are encrypted, and keys rotated, for all of them by a word to one. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../../internal/base/bytes.ts';
import { systemRandom } from '../../../internal/base/system.ts';
import { encryptionPath } from '../../../internal/kube/apiserver/encryption/actions.ts';
import { prefixEnd } from '../../../internal/kube/apiserver/keys.ts';
import { type Any, eventually } from '../api/harness.ts';
import { call, names, type Server, type Servers, startServers } from './members.ts';

const encryptionKey = systemRandom.bytes(32);
let cluster: Servers;
let servers: Servers['running'];
let start: Servers['start'];
let stop: Servers['stop'];

beforeAll(async () => {
  cluster = await startServers({ encryptionKey });
  ({ running: servers, start, stop } = cluster);
});
afterAll(() => cluster.close());

const password = 'plain nowhere on any disk';
const secrets = '/api/v1/namespaces/default/secrets';
const write = (server: Server, name: string): Promise<Any> =>
  call(server, 'POST', secrets, { metadata: { name }, stringData: { password } });
async function read(server: Server, name: string): Promise<string> {
  const { data } = await call(server, 'GET', `${secrets}/${name}`);
  return Buffer.from(data.password, 'base64').toString();
}

const status = (server: Server): Promise<Any> => call(server, 'GET', `${encryptionPath}status`);
/** As `appliance secrets-encrypt` does on that server: resolves when every Secret is rewritten. */
async function act(server: Server, action: string): Promise<void> {
  await call(server, 'PUT', `${encryptionPath}config`, { action });
  await eventually('every Secret is rewritten', async () => (await status(server)).stage === 'finished');
}

/** What the member itself holds. */
async function held({ store }: Server): Promise<[name: string, value: string][]> {
  const prefix = '/registry/core/secrets/';
  const { kvs } = await store.range({ key: utf8(prefix), rangeEnd: prefixEnd(prefix), serializable: true });
  return kvs.map(({ key, value }) => [utf8Text(key), Buffer.from(value).toString('latin1')]);
}

/** Waits until every member holds all Secrets sealed with the active key and nothing in plain text. */
async function sealed(): Promise<void> {
  for (const server of servers.values()) {
    const [active] = (await status(server)).keys;
    const start = `k8s:enc:aesgcm:v1:${active.name}:`;
    await eventually(`${server.name} holds what is sealed with ${active.name}`, async () => {
      const all = await held(server);
      return all.length > 0 && all.every(([, value]) => value.startsWith(start));
    });
    for (const [name, value] of await held(server)) expect(value, name).not.toContain(password);
  }
}

test('enabled on one server, a Secret written by another is read by all, and is ciphertext on every member', async () => {
  const [first, second, third] = names.map((name) => servers.get(name)!) as [Server, Server, Server];
  await write(first, 'before');
  await act(second, 'enable');
  await write(third, 'after');
  for (const server of servers.values())
    for (const name of ['before', 'after']) expect(await read(server, name), server.name).toBe(password);
  await sealed();
});

test('a key is rotated on one while all write: nobody is refused, nothing stays sealed with the key before', async () => {
  const before = (await status(servers.get('n1')!)).keys[0].name;
  let rotated = false;
  const writers = [...servers.values()].map(async (server) => {
    let written = 0;
    for (let last = false; !last; written++) {
      last = rotated;
      // Several at a time, so that some are on their way when the key changes.
      await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((i) => write(server, `${server.name}-${written}-${i}`)));
    }
    return written;
  });
  await act(servers.get('n3')!, 'rotate-keys');
  rotated = true;
  const written = await Promise.all(writers);
  for (const server of servers.values()) {
    const { keys } = await status(server);
    expect(keys.map(({ active }: Any) => active)).toEqual([true, false]);
    expect(keys[1].name).toBe(before);
  }
  await sealed();
  for (const reader of servers.values())
    for (const [at, name] of names.entries())
      expect(await read(reader, `${name}-${written[at]! - 1}-7`)).toBe(password);
});

test('the server that leads the store is gone: the others rotate and read; it comes back and knows the key', async () => {
  const leader = [...servers.values()].find(({ store }) => store.cluster.leaderId === store.cluster.memberId)!;
  await stop(leader);
  const [one, other] = [...servers.values()] as [Server, Server];
  await eventually('the others have a leader', async () => one.store.cluster.leaderId !== 0n && write(one, 'alone'));
  await act(other, 'rotate-keys');
  expect(await read(one, 'after')).toBe(password);
  const back = await start(leader.name);
  expect((await status(back)).keys).toEqual((await status(one)).keys);
  for (const name of ['before', 'after', 'alone']) expect(await read(back, name)).toBe(password);
  await write(back, 'again');
  expect(await read(one, 'again')).toBe(password);
  await sealed();
});
