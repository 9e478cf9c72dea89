/** Three API servers, each over a member of its own of one replicated store: Secrets are encrypted, and keys rotated, for all of them by a word to one. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../../internal/base/bytes.ts';
import { systemDisk } from '../../../internal/base/disk-system.ts';
import { silentLogger } from '../../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../../internal/base/system.ts';
import type { ApiServer } from '../../../internal/kube/apiserver/apiserver.ts';
import { encryptionPath } from '../../../internal/kube/apiserver/encryption/actions.ts';
import { prefixEnd } from '../../../internal/kube/apiserver/keys.ts';
import { admin, makeTestPki, startApi, type TestPki } from '../../../internal/kube/apiserver/testing.ts';
import { issueCertificate, makeAuthority } from '../../../internal/pki/certificates.ts';
import type { Store } from '../../../internal/store/api.ts';
import type { Identity } from '../../../internal/store/identity.ts';
import { connectPeers } from '../../../internal/store/peers-transport.ts';
import { openStore } from '../../../internal/store/store.ts';
import { type Any, eventually } from '../api/harness.ts';

const directory = mkdtempSync(join(tmpdir(), 'conformance-servers-'));
const names = ['n1', 'n2', 'n3'] as const;
type Name = (typeof names)[number];
const encryptionKey = systemRandom.bytes(32);
const common = { clock: systemClock, random: systemRandom, log: silentLogger };

interface Server {
  readonly name: Name;
  readonly store: Store;
  readonly api: ApiServer;
}

const servers = new Map<Name, Server>();
let ports: Record<Name, number>;
let tls: { cert: string; key: string; ca: string };
let pki: TestPki;

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

async function start(name: Name, identity?: Identity): Promise<Server> {
  const port = ports[name];
  const store = await openStore({
    ...common,
    dir: join(directory, name),
    disk: systemDisk,
    writer: 'inline',
    member: { name, peerUrls: [`https://127.0.0.1:${port}`], clientUrls: [] },
    ...(identity && { join: identity }),
    connect: connectPeers({ host: '127.0.0.1', port, tls: () => tls, clock: systemClock, log: silentLogger }).connect,
  });
  const address = `127.0.0.${names.indexOf(name) + 1}`;
  const server = { name, store, api: await startApi(store, pki, { encryptionKey, address }) };
  servers.set(name, server);
  return server;
}

async function stop({ name, api, store }: Server): Promise<void> {
  servers.delete(name);
  await api.close();
  await store.close();
}

beforeAll(async () => {
  pki = await makeTestPki();
  const authority = await makeAuthority('peers', systemClock.now(), systemRandom.bytes(16));
  const peer = { commonName: 'etcd-n', usage: 'peer', dnsNames: [], ipAddresses: ['127.0.0.1'] } as const;
  const pair = await issueCertificate(authority, peer, systemClock.now(), systemRandom.bytes(16));
  tls = { ...pair, ca: authority.cert };
  ports = { n1: await freePort(), n2: await freePort(), n3: await freePort() };
  const first = await start('n1');
  for (const name of ['n2', 'n3'] as const) {
    const { id: memberId } = await first.store.cluster.addMember([`https://127.0.0.1:${ports[name]}`], true);
    await start(name, { clusterId: first.store.cluster.clusterId, memberId });
  }
  await eventually('all vote', async () => first.store.cluster.members().every(({ learner }) => !learner));
});
afterAll(async () => {
  for (const server of [...servers.values()]) await stop(server);
  rmSync(directory, { recursive: true });
});

async function call(server: Server, method: string, path: string, body?: unknown): Promise<Any> {
  const request = new Request(`http://api${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const response = await server.api.fetch(request, { identity: admin });
  const text = await response.text();
  if (response.status >= 300) throw new Error(`${server.name}: ${method} ${path}: ${response.status} ${text}`);
  return JSON.parse(text);
}

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
