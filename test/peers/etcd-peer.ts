import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { issueCertificate, makeAuthority } from '../../internal/pki/certificates.ts';
import { serveEtcd } from '../../internal/store/etcd/face-server.ts';
import type { Store } from '../../internal/store/api.ts';
import { connectPeers } from '../../internal/store/peers-transport.ts';
import { openStore } from '../../internal/store/store.ts';
import { type Output, run, until } from '../e2e/harness.ts';

/** Debian's etcd and our store side by side, both with the same certificates, driven by Debian's etcdctl. */
export interface EtcdPeer {
  readonly port: number;
  etcdctl(args: readonly string[], options?: { input?: string; timeoutMs?: number }): Promise<Output>;
  close(): Promise<void>;
}

/** Debian's etcd, which can be killed and started again on its port. */
export interface RealEtcd extends EtcdPeer {
  restart(): Promise<void>;
}

export interface Certificates {
  readonly directory: string;
  readonly ca: string;
  readonly server: { cert: string; key: string };
  readonly client: { cert: string; key: string };
}

/** A certificate authority with a server's and a client's certificate, as text and as files `ca.crt`, `server.crt`, `client.crt`, … */
export async function makeCertificates(directory: string): Promise<Certificates> {
  const serial = (): Uint8Array => systemRandom.bytes(16);
  const authority = await makeAuthority('etcd-test', Date.now(), serial());
  const ipAddresses = ['127.0.0.1'];
  // etcd talks to itself with its own certificate, so it is a client too.
  const server = await issueCertificate(
    authority,
    { commonName: 'etcd', usage: 'peer', dnsNames: ['localhost'], ipAddresses },
    Date.now(),
    serial(),
  );
  const client = await issueCertificate(authority, { commonName: 'root', usage: 'client' }, Date.now(), serial());
  for (const [name, text] of Object.entries({
    'ca.crt': authority.cert,
    'server.crt': server.cert,
    'server.key': server.key,
    'client.crt': client.cert,
    'client.key': client.key,
  }))
    writeFileSync(join(directory, name), text, { mode: 0o600 });
  return { directory, ca: authority.cert, server, client };
}

export function etcdctlOf(certificates: Certificates, ...ports: number[]): EtcdPeer['etcdctl'] {
  const file = (name: string): string => join(certificates.directory, name);
  return (args, options = {}) =>
    run(['etcdctl', ...args], {
      ...options,
      env: {
        ETCDCTL_API: '3',
        ETCDCTL_ENDPOINTS: ports.map((port) => `https://127.0.0.1:${port}`).join(),
        ETCDCTL_CACERT: file('ca.crt'),
        ETCDCTL_CERT: file('client.crt'),
        ETCDCTL_KEY: file('client.key'),
        ETCDCTL_COMMAND_TIMEOUT: '30s',
      },
    });
}

/** Our store in `directory` with its etcd face. */
export async function startOurs(directory: string, certificates: Certificates): Promise<EtcdPeer> {
  const common = { clock: systemClock, random: systemRandom, log: silentLogger };
  const store = await openStore({
    ...common,
    dir: directory,
    disk: systemDisk,
    member: { name: 'default', peerUrls: [], clientUrls: [] },
  });
  const face = await serveEtcd({
    ...common,
    store,
    addresses: ['127.0.0.1'],
    port: 0,
    tls: { ...certificates.server, clientCa: certificates.ca },
  });
  return {
    port: face.port,
    etcdctl: etcdctlOf(certificates, face.port),
    close: async () => {
      await face.close();
      await store.close();
    },
  };
}

/** One of several members of our store. */
export interface OwnMember {
  readonly name: string;
  readonly store: Store;
  readonly port: number;
  close(): Promise<void>;
}

/** A group of our stores below `directory`, each with its etcd face; resolves when all have a vote. `etcdctl` is given all of them. */
export async function startMembers(
  directory: string,
  certificates: Certificates,
  count: number,
): Promise<{ members: OwnMember[]; etcdctl: EtcdPeer['etcdctl']; close(): Promise<void> }> {
  const common = { clock: systemClock, random: systemRandom, log: silentLogger };
  const members: OwnMember[] = [];
  for (let n = 1; n <= count; n++) {
    const [name, peerPort, port] = [`m${n}`, freePort(), freePort()];
    const peerUrl = `https://127.0.0.1:${peerPort}`;
    const { cluster } = members[0]?.store ?? {};
    const added = await cluster?.addMember([peerUrl], true);
    const store = await openStore({
      ...common,
      dir: join(directory, name),
      disk: systemDisk,
      member: { name, peerUrls: [peerUrl], clientUrls: [`https://127.0.0.1:${port}`] },
      ...(added && { join: { clusterId: cluster!.clusterId, memberId: added.id } }),
      connect: connectPeers({
        ...common,
        host: '127.0.0.1',
        port: peerPort,
        tls: () => ({ ...certificates.server, ca: certificates.ca }),
      }).connect,
    });
    const tls = { ...certificates.server, clientCa: certificates.ca };
    const face = await serveEtcd({ ...common, store, addresses: ['127.0.0.1'], port, tls });
    const close = async (): Promise<void> => {
      await face.close();
      await store.close();
    };
    members.push({ name, store, port, close });
  }
  await until('every member has a vote and a name', 60_000, async () =>
    members.every(({ store }) => {
      const known = store.cluster.members();
      return known.length === count && known.every(({ learner, name }) => !learner && name !== '');
    }),
  );
  return {
    members,
    etcdctl: etcdctlOf(certificates, ...members.map(({ port }) => port)),
    close: async () => {
      for (const member of members) await member.close();
    },
  };
}

export function freePort(): number {
  const server = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data: () => undefined } });
  const { port } = server;
  server.stop();
  return port;
}

/** Debian's etcd with its data in `directory`; `flags` beside those for ports and certificates. */
export async function startEtcd(
  directory: string,
  certificates: Certificates,
  flags: readonly string[] = [],
): Promise<RealEtcd> {
  const file = (name: string): string => join(certificates.directory, name);
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  const [client, peer] = [`https://127.0.0.1:${port}`, `http://127.0.0.1:${port + 1}`];
  const argv = [
    'etcd',
    ...['--data-dir', directory, '--name', 'default', '--logger', 'zap', '--log-level', 'error'],
    ...['--listen-client-urls', client, '--advertise-client-urls', client],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
    ...['--cert-file', file('server.crt'), '--key-file', file('server.key')],
    ...['--client-cert-auth', '--trusted-ca-file', file('ca.crt')],
    ...flags,
  ];
  const etcdctl = etcdctlOf(certificates, port);
  const spawn = async () => {
    const child = Bun.spawn(argv, { stdout: 'ignore', stderr: 'ignore' });
    await until('etcd answers', 60_000, async () => (await etcdctl(['get', 'x'])).code === 0);
    return child;
  };
  let child = await spawn();
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await child.exited;
  };
  return {
    port,
    etcdctl,
    restart: async () => {
      await kill();
      child = await spawn();
    },
    close: kill,
  };
}
