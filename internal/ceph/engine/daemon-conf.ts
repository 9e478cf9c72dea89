import type { Config } from '../../config/config.ts';
import type { Paths } from '../../config/paths.ts';
import { authLines } from '../client/ceph-conf.ts';

/** The daemons of a distribution's Ceph that the roles of the engine `ceph` are. */
export type CephDaemon = 'mon' | 'mgr' | 'osd' | 'mds' | 'rgw';

/** The mon, mgr, mds and rgw of the machine that made the cluster; those of others are called as their nodes, and OSDs have their numbers. */
export const firstId = 'a';

/** How much of a role's budget its daemon aims at: what it does not count itself, the page cache and threads, needs the rest. */
const targetShare = 0.75;
/** The least that Ceph takes for `osd_memory_target` and `mon_memory_target` (src/common/options.cc). */
const leastTargetBytes = { osd: 896 * 2 ** 20, mon: 512 * 2 ** 20 } as const;
/** OSDs, mgr and mds take a few ports each, from the first that is free. */
const daemonPorts = 500;

/** What a daemon aims at of its budget, in its own option. */
function memoryTarget(daemon: CephDaemon, limitBytes: number): string[] {
  // An mds uses about half as much again beside its cache (doc/cephfs/cache-configuration.rst).
  if (daemon === 'mds') return limitBytes === 0 ? [] : [`mds cache memory limit = ${Math.floor(limitBytes / 2)}`];
  if ((daemon !== 'osd' && daemon !== 'mon') || limitBytes === 0) return [];
  return [`${daemon} memory target = ${Math.max(leastTargetBytes[daemon], Math.floor(limitBytes * targetShare))}`];
}

/** What is true of one kind only. */
function ownLines(daemon: CephDaemon, config: Config, paths: Paths, data: string): string[] {
  const { node, ports } = config;
  switch (daemon) {
    case 'mon':
      return [
        'mgr initial modules = iostat prometheus',
        // The share that is free where the mon keeps its store: doctor looks after the disk, too, and warns at the same.
        'mon data avail warn = 10',
        // The mons' common key. Without this file a mon has no cephx for other mons.
        `keyring = ${monStore(paths)}/keyring`,
        // Where one that is in no map yet is to be.
        `public addrv = ${monHost(config)}`,
      ];
    case 'osd':
      return [
        `crush location = root=default host=${node.name}`,
        // With these, the classes that the embedded engine has, rbd's among them, are all there.
        'osd class load list = *',
        'osd class default list = *',
      ];
    case 'mds':
      return [`keyring = ${data}/keyring`];
    case 'rgw':
      // Threads for a small machine: of themselves it starts 512.
      return [
        `keyring = ${data}/keyring`,
        `rgw frontends = beast endpoint=${node.ip}:${ports.rgw}`,
        'rgw thread pool size = 64',
      ];
    case 'mgr':
      return [];
  }
}

/** Whose key a daemon has, and the section of ceph.conf that is about it. */
export function daemonEntity(daemon: 'mds' | 'rgw'): string {
  return daemon === 'mds' ? `mds.${firstId}` : `client.rgw.${firstId}`;
}

/**
 * The ceph.conf of one daemon. What clients need stands in the node's ceph.conf; this one says where the daemon keeps and tells things, and only it reads this. `cluster`: its fsid,
 * and where its mons are (`[v2:10.0.0.1:3300]` each).
 */
export function daemonConf(
  daemon: CephDaemon,
  instance: string,
  cluster: { readonly fsid: string; readonly monHosts: readonly string[] },
  config: Config,
  paths: Paths,
): string {
  const { node, ports, storage, memory } = config;
  const run = paths.instanceRunDir(instance);
  const data = paths.instanceDir(instance);
  const bySize =
    storage.replication === 1 ? ['mon allow pool size one = true', 'mon warn on pool no redundancy = false'] : [];
  return `${[
    '[global]',
    `fsid = ${cluster.fsid}`,
    `mon host = ${cluster.monHosts.join(',')}`,
    `public addr = ${node.ip}`,
    `cluster addr = ${node.ip}`,
    'ms bind msgr1 = false',
    'ms bind ipv6 = false',
    `ms bind port min = ${ports.ceph}`,
    `ms bind port max = ${Math.min(65_535, ports.ceph + daemonPorts)}`,
    ...authLines('cephx'),
    'auth allow insecure global id reclaim = false',
    `osd pool default size = ${storage.replication}`,
    // A file system and an rgw make ten pools, which do not fit three OSDs with 32 each. The mgr aims at 32, and does something from three times off.
    'osd pool default pg num = 16',
    // Of these, the data pools of both are marked as large: the mgr shares what it aims at for each OSD among such pools alone. With 100 that made 305 groups on each of three OSDs, and a warning.
    'mon target pg per osd = 50',
    ...bySize,
    ...(storage.failureDomain === 'osd'
      ? ['osd crush chooseleaf type = 0', 'mon osd reporter subtree level = osd']
      : []),
    `run dir = ${run}`,
    `crash dir = ${data}/crash`,
    `keyring = ${paths.ceph}/keyrings/$name.keyring`,
    'log file =',
    'log to file = false',
    'log to stderr = true',
    'err to stderr = true',
    'mon cluster log to file = false',
    'mon cluster log to stderr = false',
    // At their own levels, RocksDB's options alone fill a tenth of a role's log at each start.
    ...['rocksdb', 'bluestore', 'bluefs', 'bdev', 'mon', 'paxos'].map((part) => `debug ${part} = 0/5`),
    `[${daemon === 'rgw' ? daemonEntity('rgw') : daemon}]`,
    `${daemon} data = ${daemon === 'mon' ? monStore(paths) : data}`,
    `admin socket = ${paths.adminSocket(instance)}`,
    ...ownLines(daemon, config, paths, data),
    ...memoryTarget(daemon, memory[daemon]),
  ].join('\n')}\n`;
}

/** `[v2:10.0.0.1:3300]` */
export function monHost({ node, ports }: Pick<Config, 'node' | 'ports'>): string {
  return `[v2:${node.ip}:${ports.mon}]`;
}

/** A directory by itself: it has its name from the moment on when it is whole. */
export function monStore(paths: Paths): string {
  return `${paths.instanceDir('mon')}/store`;
}
