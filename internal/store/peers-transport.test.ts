import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { utf8 } from '../base/bytes.ts';
import { systemDisk } from '../base/disk-system.ts';
import type { AppError } from '../base/errors.ts';
import { silentLogger } from '../base/log.ts';
import { systemClock, systemRandom } from '../base/system.ts';
import { issueCertificate, type KeyPair, makeAuthority } from '../pki/certificates.ts';
import type { Store } from './api.ts';
import type { Identity } from './identity.ts';
import type { MemberStore } from './member.ts';
import { connectPeers, type Peers } from './peers-transport.ts';
import { openStore } from './store.ts';

const directory = mkdtempSync(join(tmpdir(), 'peers-'));
const tlsOf = async (ca: KeyPair): Promise<{ cert: string; key: string; ca: string }> => {
  const pair = await issueCertificate(
    ca,
    { commonName: 'etcd-n', usage: 'peer', dnsNames: [], ipAddresses: ['127.0.0.1'] },
    systemClock.now(),
    systemRandom.bytes(16),
  );
  return { ...pair, ca: ca.cert };
};

interface Member {
  name: string;
  store: Store & MemberStore;
  peers: Peers;
  ended: AppError | undefined;
}
const members = new Map<string, Member>();
afterEach(async () => {
  for (const { store } of members.values()) await store.close();
  members.clear();
  rmSync(directory, { recursive: true });
});

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 3000 && !condition(); i++) await Bun.sleep(10);
  expect(condition(), what).toBe(true);
}

/** A port that nothing listens on. */
function freePort(): number {
  const server = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data: () => undefined } });
  const { port } = server;
  server.stop(true);
  return port;
}

test('three servers that all have other addresses than before find each other, and agree on where they are; one that is removed is told', async () => {
  const tls = await tlsOf(await makeAuthority('peers', systemClock.now(), systemRandom.bytes(16)));
  const url = (port: number): string => `https://127.0.0.1:${port}`;
  let ports = { n1: freePort(), n2: freePort(), n3: freePort() };
  let elsewhere: (name: string) => string[] = () => [];
  const open = async (name: keyof typeof ports, identity?: Identity): Promise<Member> => {
    const peers = connectPeers({
      host: '127.0.0.1',
      port: ports[name],
      tls: () => tls,
      clock: systemClock,
      log: silentLogger,
      elsewhere: (record) => elsewhere(record.name),
    });
    const member: Partial<Member> = { name, peers, ended: undefined };
    member.store = await openStore({
      dir: join(directory, name),
      disk: systemDisk,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
      writer: 'inline',
      segmentBytes: 1 << 20,
      member: { name, peerUrls: [url(ports[name])], clientUrls: [] },
      ...(identity && { join: identity }),
      connect: peers.connect,
      ended: (error) => {
        member.ended = error;
      },
    });
    members.set(name, member as Member);
    return member as Member;
  };
  const { store: first } = await open('n1');
  for (const name of ['n2', 'n3'] as const) {
    const { id: memberId } = await first.cluster.addMember([url(ports[name])], true);
    await open(name, { clusterId: first.cluster.clusterId, memberId });
  }
  const known = (store: Store): string =>
    store.cluster
      .members()
      .filter(({ learner }) => !learner)
      .map(({ name, peerUrls }) => `${name} ${peerUrls.join()}`)
      .sort()
      .join('; ');
  const now = (): string => `n1 ${url(ports.n1)}; n2 ${url(ports.n2)}; n3 ${url(ports.n3)}`;
  await until('all vote', () => known(first) === now());
  await first.put({ key: utf8('a'), value: utf8('b') });

  for (const { store } of members.values()) await store.close();
  // Two have changed places, one is where nobody was.
  ports = { n1: ports.n2, n2: ports.n1, n3: freePort() };
  for (const name of ['n1', 'n2', 'n3'] as const) await open(name);
  const one = members.get('n1')!;
  const other = one.store.cluster.members().find(({ name }) => name === 'n2')!;
  await until('it is said why nobody is here', () =>
    /it refuses: a call for member/.test(one.peers.problem(other.id) ?? ''),
  );
  expect(one.store.cluster.leaderId).toBe(0n);
  elsewhere = (name) => [url(ports[name as keyof typeof ports])];
  await until('everybody knows where everybody is', () =>
    [...members.values()].every(({ store }) => known(store) === now()),
  );
  expect((await one.store.range({ key: utf8('a') })).kvs).toHaveLength(1);

  const leaving = [...members.values()].find(({ store }) => store.cluster.leaderId !== store.cluster.memberId)!;
  const staying = [...members.values()].find((member) => member !== leaving)!;
  await staying.store.cluster.removeMember(leaving.store.cluster.memberId);
  await until('it is told', () => leaving.ended !== undefined);
  expect(leaving.ended!.code).toBe('REMOVED');
}, 120_000);
