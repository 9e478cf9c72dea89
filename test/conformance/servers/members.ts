/** Three API servers, each over a member of its own of one replicated store. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemDisk } from '../../../internal/base/disk-system.ts';
import { silentLogger } from '../../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../../internal/base/system.ts';
import type { ApiServer } from '../../../internal/kube/apiserver/apiserver.ts';
import { admin, makeTestPki, startApi } from '../../../internal/kube/apiserver/testing.ts';
import { issueCertificate, makeAuthority } from '../../../internal/pki/certificates.ts';
import type { Store } from '../../../internal/store/api.ts';
import type { Identity } from '../../../internal/store/identity.ts';
import { raftId } from '../../../internal/store/members.ts';
import { connectPeers } from '../../../internal/store/peers-transport.ts';
import { openStore, type StoreOptions } from '../../../internal/store/store.ts';
import { type Any, eventually } from '../api/harness.ts';

export const names = ['n1', 'n2', 'n3'] as const;
export type Name = (typeof names)[number];
const common = { clock: systemClock, random: systemRandom, log: silentLogger };

export interface Server {
  readonly name: Name;
  readonly store: Store;
  readonly api: ApiServer;
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

/** Those that run, how one is started again and stopped, and how all are ended. */
export interface Servers {
  readonly running: Map<Name, Server>;
  start(name: Name, identity?: Identity): Promise<Server>;
  stop(server: Server): Promise<void>;
  /** From now on nothing that is written reaches the member, which hears that there is a leader, until the result is called. */
  hold(server: Server): () => void;
  close(): Promise<void>;
}

/** Starts all three; resolves when all vote. */
export async function startServers(options: { encryptionKey?: Uint8Array } = {}): Promise<Servers> {
  const directory = mkdtempSync(join(tmpdir(), 'conformance-servers-'));
  const pki = await makeTestPki();
  const authority = await makeAuthority('peers', systemClock.now(), systemRandom.bytes(16));
  const peer = { commonName: 'etcd-n', usage: 'peer', dnsNames: [], ipAddresses: ['127.0.0.1'] } as const;
  const pair = await issueCertificate(authority, peer, systemClock.now(), systemRandom.bytes(16));
  const tls = { ...pair, ca: authority.cert };
  const ports = { n1: await freePort(), n2: await freePort(), n3: await freePort() };
  const running = new Map<Name, Server>();
  const held = new Set<bigint | number>();

  /** The way to the others, on which changes for members that are held are lost. */
  const lossy =
    (connect: NonNullable<StoreOptions['connect']>): NonNullable<StoreOptions['connect']> =>
    (group) => {
      const transport = connect(group);
      return {
        send: (message) => {
          if (message.type !== 'append' || !held.has(message.to)) transport.send(message);
        },
        sendSnapshot: (to, term, snapshot) => transport.sendSnapshot(to, term, snapshot),
        close: () => transport.close(),
      };
    };

  async function start(name: Name, identity?: Identity): Promise<Server> {
    const port = ports[name];
    const store = await openStore({
      ...common,
      dir: join(directory, name),
      disk: systemDisk,
      writer: 'inline',
      member: { name, peerUrls: [`https://127.0.0.1:${port}`], clientUrls: [] },
      ...(identity && { join: identity }),
      connect: lossy(
        connectPeers({ host: '127.0.0.1', port, tls: () => tls, clock: systemClock, log: silentLogger }).connect,
      ),
    });
    const address = `127.0.0.${names.indexOf(name) + 1}`;
    const server = { name, store, api: await startApi(store, pki, { ...options, address }) };
    running.set(name, server);
    return server;
  }

  async function stop({ name, api, store }: Server): Promise<void> {
    running.delete(name);
    await api.close();
    await store.close();
  }

  const first = await start('n1');
  for (const name of ['n2', 'n3'] as const) {
    const { id: memberId } = await first.store.cluster.addMember([`https://127.0.0.1:${ports[name]}`], true);
    await start(name, { clusterId: first.store.cluster.clusterId, memberId });
  }
  await eventually('all vote', async () => first.store.cluster.members().every(({ learner }) => !learner));
  return {
    running,
    start,
    stop,
    hold({ store }) {
      const id = raftId(store.cluster.memberId);
      held.add(id);
      return () => held.delete(id);
    },
    async close() {
      for (const server of [...running.values()]) await stop(server);
      rmSync(directory, { recursive: true });
    },
  };
}

/** A request to that server, as an administrator. Throws when it is refused. */
export async function call(server: Server, method: string, path: string, body?: unknown): Promise<Any> {
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
