import { dirname } from 'node:path';
import type { Config, OsdConfig } from '../config/config.ts';
import { type Paths, nodePaths } from '../config/paths.ts';

/** What a node has written, and what `reset` does with it. */
export interface ResetPlan {
  /** Files and directories that go, each with what it is. */
  readonly remove: readonly { readonly path: string; readonly what: string }[];
  /** Devices that hold an OSD of this node and are made blank. */
  readonly wipe: readonly { readonly path: string; readonly osd: number }[];
  /** What stays, and why. */
  readonly keep: readonly { readonly path: string; readonly why: string }[];
}

/** What the shell found where an OSD keeps its data. */
export interface FoundOsd {
  readonly config: OsdConfig;
  /** Its file or device as the kernel knows it, or its directory; undefined when it is not there. */
  readonly path: string | undefined;
  /** This OSD of this cluster, nothing, or somebody else's: why it is not this OSD's, and the way out. */
  readonly holds: 'ours' | 'nothing' | { readonly foreign: string };
}

export interface Found {
  /** Names in the data directory. */
  readonly dataEntries: readonly string[];
  readonly osds: readonly FoundOsd[];
  /** Whether there is something at a path. */
  exists(path: string): boolean;
  /** The run directory is there, and a node made it. */
  readonly runDirectoryIsOurs: boolean;
  readonly wipeDevices: boolean;
}

/** What the files of an OSD in a directory are called (`internal/ceph/blockstore`). */
export const storeFiles = [
  'label',
  'data',
  'journal',
  'index.log',
  'index.sqlite',
  'index.sqlite-wal',
  'index.sqlite-shm',
];

/** Names that do not stay. */
const leftovers: readonly { readonly pattern: RegExp; readonly what: string }[] = [
  { pattern: /^\..+\.new$/, what: 'a file that was being written' },
  { pattern: /^pki\.(joining|new)$/, what: 'keys of a cluster that the machine was about to join' },
  {
    pattern: /^store\.(before|restored)-[\w-]+$/,
    what: "the control plane's database before or while a snapshot was restored",
  },
];

/** Directories that a user may have chosen: what the node made goes only where they are at their own place in the data directory. */
function userDirectories(config: Config): { path: string; usual: string; what: string }[] {
  return [
    { path: config.snapshots.dir, usual: 'snapshots', what: "snapshots of the control plane's database" },
    { path: config.audit.logDir, usual: 'audit', what: 'the audit log' },
    { path: config.imagesDir, usual: 'images', what: 'image tarballs' },
    { path: config.manifestsDir, usual: 'manifests', what: 'manifests' },
  ].map(({ path, usual, what }) => ({ path, usual: `${config.dataDir}/${usual}`, what }));
}

/** The node's own in a data directory, by exact path. Anything else there is somebody else's. */
function knownPaths(config: Config, paths: Paths): ReadonlyMap<string, string> {
  return new Map([
    [paths.pki, 'certificate authorities and keys of the cluster'],
    [paths.identity, 'certificates, keys and identity of the node'],
    [paths.store, "the control plane's database: every Kubernetes object"],
    [paths.agent, 'containers, images and volumes of pods'],
    [paths.ceph, 'ceph.conf and keyrings'],
    [
      dirname(paths.instanceDir('mon')),
      config.roles.includes('mon')
        ? "the mon's database: maps, pools and users of the storage"
        : 'what roles keep from one start to the next',
    ],
    [paths.logs, 'logs'],
    [`${config.dataDir}/last-time`, 'the last known time'],
    [`${config.dataDir}/lock`, 'the mark that a node runs with this directory'],
    [`${config.dataDir}/osd`, "the OSDs' files: all stored data"],
    [paths.adminKubeconfig, "the admin's kubeconfig"],
    ...userDirectories(config)
      .filter(({ path, usual }) => path === usual)
      .map(({ path, what }): [string, string] => [path, what]),
  ]);
}

/** Decides what goes. Nothing that the node did not make is touched. */
export function resetPlan(config: Config, found: Found): ResetPlan {
  const paths = nodePaths(config.dataDir, config.runDir);
  const remove: { path: string; what: string }[] = [];
  const wipe: { path: string; osd: number }[] = [];
  const keep: { path: string; why: string }[] = [];
  const known = knownPaths(config, paths);
  const chosen = userDirectories(config).filter(({ path, usual }) => path !== usual);
  // What is told of below by itself.
  const told = new Set([config.runDir, ...chosen.map(({ path }) => path)]);
  const foreign = found.osds.flatMap(({ path, holds }) =>
    path !== undefined && typeof holds === 'object' ? [path] : [],
  );
  for (const name of found.dataEntries.toSorted()) {
    const path = `${config.dataDir}/${name}`;
    if (told.has(path)) continue;
    const what = known.get(path) ?? leftovers.find(({ pattern }) => pattern.test(name))?.what;
    const kept = foreign.find((one) => one === path || one.startsWith(`${path}/`));
    if (kept !== undefined) keep.push({ path, why: `${kept} in it is not an OSD of this node` });
    else if (what !== undefined) remove.push({ path, what });
    else keep.push({ path, why: 'the appliance did not make it' });
  }
  const covered = (path: string): boolean => remove.some((one) => path === one.path || path.startsWith(`${one.path}/`));
  const osdText = (id: number): string => `all data of osd.${id}`;
  for (const { config: osd, path, holds } of found.osds) {
    if (path === undefined || covered(path)) continue;
    if (typeof holds === 'object') keep.push({ path, why: holds.foreign });
    else if (holds === 'nothing') keep.push({ path, why: `it does not hold osd.${osd.id}` });
    else if ('file' in osd) remove.push({ path, what: osdText(osd.id) });
    else if ('directory' in osd)
      remove.push(
        // `block`: with the engine `ceph`.
        ...[...storeFiles, 'block']
          .map((name) => ({ path: `${path}/${name}`, what: osdText(osd.id) }))
          .filter((one) => found.exists(one.path)),
      );
    else if (found.wipeDevices) wipe.push({ path, osd: osd.id });
    else keep.push({ path, why: `a device, osd.${osd.id}: --wipe-devices makes it blank` });
  }
  if (found.runDirectoryIsOurs && !covered(config.runDir))
    remove.push({ path: config.runDir, what: 'sockets of the running node' });
  else if (!covered(config.runDir) && found.exists(config.runDir))
    keep.push({ path: config.runDir, why: 'no node made this run directory' });
  if (!covered(paths.adminKubeconfig) && found.exists(paths.adminKubeconfig))
    remove.push({ path: paths.adminKubeconfig, what: "the admin's kubeconfig" });
  for (const { path, what } of chosen)
    if (!covered(path) && found.exists(path))
      keep.push({ path, why: `the configuration chose it for ${what}; nothing in it is deleted` });
  return { remove, wipe, keep };
}

/** Of the mounts where something goes, those that stopping the node does not take away: its own are below the directories `own`. */
export function foreignMounts(targets: readonly string[], own: readonly string[]): string[] {
  return targets.filter((target) => !own.some((path) => target.startsWith(`${path}/`)));
}
