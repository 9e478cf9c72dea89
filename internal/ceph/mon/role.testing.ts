import * as fs from 'node:fs';
import * as os from 'node:os';
import { utf8Text } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import type { Config } from '../../config/config.ts';
import { nodePaths } from '../../config/paths.ts';
import type { RoleHandle } from '../../node/role.ts';
import type { AuthEntry } from '../auth/api.ts';
import { newCryptoKey } from '../auth/crypto.ts';
import { formatKeyring } from '../auth/keyring.ts';
import type { MonClient } from '../client/api.ts';
import { createMonClient } from '../client/mon-client.ts';
import { FEATURES_PACIFIC } from '../wire/features.ts';
import { MOSDBoot } from '../wire/messages/osd_mon.ts';
import { addrV2, parseEntityName } from '../wire/types.ts';
import { ensurePeerCertificate } from './peer-certificate-system.ts';
import { start } from './role.ts';

export const fsid = '1f6f2a3c-7d57-4d0b-9f0e-3a8b1c2d4e5f';
let nextPort = 23_700;

const allCaps: Record<string, Record<string, string>> = {
  'mon.': { mon: 'allow *' },
  'client.admin': { mon: 'allow *', osd: 'allow *', mgr: 'allow *', mds: 'allow *' },
  'client.rbd': { mon: 'profile rbd', osd: 'profile rbd pool=images' },
  'client.none': { osd: 'allow *' },
  'mgr.a': { mon: 'allow profile mgr', osd: 'allow *', mds: 'allow *' },
  'osd.0': { mon: 'allow profile osd', mgr: 'allow profile osd', osd: 'allow *' },
  'osd.1': { mon: 'allow profile osd', mgr: 'allow profile osd', osd: 'allow *' },
  'osd.2': { mon: 'allow profile osd', mgr: 'allow profile osd', osd: 'allow *' },
};

export interface HarnessOptions {
  /** Its own loopback address; the node is called by the last number of it. */
  ip?: string;
  /** A mon of the same cluster: this one has its keys. */
  like?: Harness;
  /** How far the clock of this machine is ahead. */
  clockAheadMs?: number;
}

/** What an OSD says when it has started: its four addresses are loopback's from `port` on. */
export function osdBoot(
  osdId: number,
  { port, host, weightTiB = 1 }: { port: number; host: string; weightTiB?: number },
): MOSDBoot {
  const addrs = (n: number) => [addrV2('127.0.0.1', port + n, port)];
  return {
    fsid,
    osdId,
    osdUuid: `00000000-0000-4000-8000-00000000000${osdId}`,
    bootEpoch: 1,
    clientAddrs: addrs(0),
    clusterAddrs: addrs(1),
    hbBackAddrs: addrs(2),
    hbFrontAddrs: addrs(3),
    features: FEATURES_PACIFIC,
    crush: { root: 'default', host, weightTiB },
    metadata: new Map([['hostname', host]]),
  };
}

/** A mon on loopback, of a cluster of its own unless it joins one, and clients of it. */
export class Harness {
  readonly data = fs.mkdtempSync(`${os.tmpdir()}/mon-test-`);
  readonly port: number;
  readonly paths = nodePaths(this.data, `${this.data}/run`);
  readonly peerPort: number;
  ip: string;
  readonly entries: Map<string, AuthEntry>;
  readonly clients: MonClient[] = [];
  handle: RoleHandle | undefined;
  stopping = new AbortController();

  readonly #clock: Clock;

  constructor({ ip = '127.0.0.1', like, clockAheadMs = 0 }: HarnessOptions = {}) {
    this.#clock = { ...systemClock, now: () => systemClock.now() + clockAheadMs };
    // As on machines of their own.
    this.port = like?.port ?? nextPort++;
    this.peerPort = like?.peerPort ?? nextPort++;
    this.ip = ip;
    this.node = `n${ip.split('.')[3]}`;
    this.entries = like?.entries ?? new Map<string, AuthEntry>();
    fs.mkdirSync(`${this.paths.ceph}/keyrings`, { recursive: true });
    fs.writeFileSync(this.paths.cephConf, `[global]\nfsid = ${fsid}\nmon host = [v2:${ip}:${this.port}]\n`);
    for (const [name, caps] of Object.entries(allCaps)) {
      const entry = this.entries.get(name) ?? { key: newCryptoKey(Date.now(), systemRandom), caps };
      this.entries.set(name, entry);
      fs.writeFileSync(this.paths.keyring(name), formatKeyring(new Map([[name, entry]])));
    }
  }

  get dir(): string {
    return this.paths.instanceDir('mon');
  }

  /** The node's number. */
  readonly node: string;

  /** The network gives it another address, while it does not run; ceph.conf names these mons. */
  async moveTo(ip: string, mons: readonly string[]): Promise<void> {
    this.ip = ip;
    fs.writeFileSync(this.paths.cephConf, `[global]\nfsid = ${fsid}\nmon host = ${mons.join(',')}\n`);
    await this.prepare();
  }

  /** With the way to other mons, which a node is prepared with. */
  async prepare(): Promise<void> {
    const { secret } = this.entries.get('mon.')!.key;
    await ensurePeerCertificate(this.dir, { fsid, ip: this.ip, nowMs: Date.now(), random: systemRandom, secret });
  }

  async start(): Promise<void> {
    this.stopping = new AbortController();
    this.handle = await start({
      role: 'mon',
      instance: 'mon',
      paths: this.paths,
      log: silentLogger,
      clock: this.#clock,
      random: systemRandom,
      stopping: this.stopping.signal,
      waits: () => undefined,
      fail: (error) => {
        throw error;
      },
      config: {
        node: { name: this.node, ip: this.ip, labels: {} },
        roles: ['mon'],
        ports: { mon: this.port, monPeer: this.peerPort },
        storage: { engine: 'embedded', replication: 3, failureDomain: 'osd', osd: [] },
      } as unknown as Config,
    });
  }

  async client(name: string, key = this.entries.get(name)!.key): Promise<MonClient> {
    const client = createMonClient({
      entity: parseEntityName(name)!,
      key,
      monAddrs: [[addrV2(this.ip, this.port)]],
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
    });
    this.clients.push(client);
    await client.start(10_000);
    return client;
  }

  async stop(): Promise<void> {
    for (const client of this.clients.splice(0)) await client.close();
    this.stopping.abort();
    await this.handle?.stop();
    this.handle = undefined;
  }
}

/** Starts a mon as the one was from which commands were recorded: three OSDs on a host, pools may be deleted and of size 1. Gives the administrator. */
export async function startRecordedCluster(harness: Harness): Promise<MonClient> {
  await harness.start();
  const admin = await harness.client('client.admin');
  for (const osdId of [0, 1, 2]) {
    const osd = await harness.client(`osd.${osdId}`);
    osd.send(MOSDBoot, osdBoot(osdId, { port: 31_000 + osdId * 10, host: 'vm', weightTiB: 0.006 }));
  }
  for (let n = 0; n < 200; n++) {
    const stat = utf8Text((await admin.command({ prefix: 'osd stat' })).output);
    if (stat.includes('3 up')) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  for (const name of ['mon_allow_pool_delete', 'mon_allow_pool_size_one'])
    await admin.command({ prefix: 'config set', who: 'global', name, value: 'true' });
  return admin;
}
