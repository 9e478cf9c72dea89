import {
  chownSync,
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readlinkSync,
  rmSync,
  statfsSync,
  symlinkSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { AppError } from '../../base/errors.ts';
import { readFileIfThere, syncDirectory, writeFileAtomic } from '../../base/files-system.ts';
import { uuid } from '../../base/random.ts';
import { systemRandom } from '../../base/system.ts';
import type { Config, OsdConfig } from '../../config/config.ts';
import type { Paths } from '../../config/paths.ts';
import { confMonAddresses, confMonHosts } from '../client/ceph-conf.ts';
import { knownFsid } from '../client/ceph-conf-system.ts';
import { joinedMgr } from '../mgr/name.ts';
import { selfFile } from '../mon/self-system.ts';
import { askDaemon } from './admin-socket-client.ts';
import { blueStorePath, holdsBlueStoreOf, type OwnBlueStore, readBlueStoreLabel } from './bluestore-place-system.ts';
import { type CephDaemon, daemonConf, firstId, monHost } from './daemon-conf.ts';
import { type DaemonHealth, daemonHealth, healthQuestion } from './daemon-health.ts';
import { mdsCommand, mgrCommand, monCommand, osdCommand, rgwCommand } from './daemon-scripts.ts';

/** Of the daemon's user. */
export interface DaemonUser {
  readonly uid: number;
  readonly gid: number;
}

/** How much of what is free a store in a directory takes when no size is named. */
const directoryShare = 0.9;

/** As root, before each start: writes the daemon's ceph.conf, gives it what it stores on, and tells its command line. Errors: FOREIGN_DISK, NO_DEVICE, DISK. */
export async function prepareDaemon(
  daemon: CephDaemon,
  instance: string,
  config: Config,
  paths: Paths,
  user: DaemonUser,
): Promise<readonly string[]> {
  const fsid = knownFsid(paths);
  if (fsid === undefined) throw new AppError('CEPH_CONF', `${paths.cephConf} has no fsid`);
  const conf = `${paths.instanceRunDir(instance)}/ceph.conf`;
  const data = paths.instanceDir(instance);
  const cephConf = readFileIfThere(paths.cephConf) ?? '';
  const monHosts = confMonHosts(cephConf);
  writeFileAtomic(conf, daemonConf(daemon, instance, { fsid, monHosts }, config, paths), 0o644);
  const place = { conf, data, keyrings: `${paths.ceph}/keyrings` };
  if (daemon === 'mon') {
    const host = monHost(config);
    const joined = readFileIfThere(selfFile(data));
    const id = joined === undefined ? firstId : (JSON.parse(joined) as { name: string }).name;
    // One whose store is lost does not make a second cluster beside the other mons.
    return monCommand(place, fsid, {
      id,
      host,
      joins: joined !== undefined || confMonAddresses(cephConf).some((ip) => ip !== config.node.ip),
    });
  }
  if (daemon === 'mgr') {
    const joined = joinedMgr(config.node.name);
    return mgrCommand(place, existsSync(paths.keyring(`mgr.${joined}`)) ? joined : firstId, config.ports.prometheus);
  }
  if (daemon === 'mds') return mdsCommand(place);
  if (daemon === 'rgw') return rgwCommand(place);
  const osd = config.storage.osd.find(({ id }) => `osd.${id}` === instance);
  if (!osd) throw new AppError('CONFIG', `${instance}: storage.osd has no entry with this id`);
  return osdCommand(place, { id: osd.id, uuid: await prepareStore(osd, data, fsid, user) });
}

/**
 * By what the mon knows an OSD's store: decided before anything is made, and kept. On a node that joined the mon was told it when it gave the id. A disk with this OSD on it that the node knows
 * nothing of, because it was installed again, brings its own.
 */
async function storeUuid(osd: OsdConfig, data: string, fsid: string): Promise<string> {
  const file = `${data}/uuid`;
  const known = readFileIfThere(file)?.trim();
  if (known) return known;
  const path = blueStorePath(osd);
  const own = { osd: osd.id, fsid, uuid: osd.uuid };
  const brought = (await holdsBlueStoreOf(path, own)) ? readBlueStoreLabel(path)?.uuid : undefined;
  const made = brought ?? osd.uuid ?? uuid(systemRandom);
  // It is whole: one that is being made says nothing of its cluster.
  if (brought !== undefined && readBlueStoreLabel(path)?.fsid === fsid) writeFileAtomic(`${data}/made`, '', 0o644);
  writeFileAtomic(file, `${made}\n`, 0o644);
  return made;
}

/** What a node knows of an OSD of the engine `ceph` without preparing it. */
export function ownBlueStore(osd: number, paths: Paths): OwnBlueStore {
  const known = readFileIfThere(`${paths.instanceDir(`osd.${osd}`)}/uuid`)?.trim();
  return { osd, fsid: knownFsid(paths), uuid: known || undefined };
}

async function prepareStore(osd: OsdConfig, data: string, fsid: string, user: DaemonUser): Promise<string> {
  const uuid = await storeUuid(osd, data, fsid);
  const path = blueStorePath(osd);
  const made = existsSync(`${data}/made`);
  const holds = await holdsBlueStoreOf(path, { osd: osd.id, fsid, uuid });
  if (made && !holds)
    throw new AppError(
      'DISK',
      `osd.${osd.id} was made, but ${path} ${existsSync(path) ? 'is blank' : 'is not there'}`,
      {
        hint: `Bring the disk back. If it is lost: \`ceph osd purge ${osd.id} --yes-i-really-mean-it\`, remove ${data}, and start again; the other copies fill the new one`,
      },
    );
  if (!existsSync(path)) makeStoreFile(osd, path);
  chownSync(path, user.uid, user.gid);
  // A device may have another name at each start.
  const link = `${data}/block`;
  if (!holdsLink(link, path)) {
    rmSync(link, { force: true });
    symlinkSync(path, link);
  }
  return uuid;
}

function holdsLink(link: string, path: string): boolean {
  try {
    return readlinkSync(link) === path;
  } catch {
    return false;
  }
}

function makeStoreFile(osd: OsdConfig, path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const size =
    'size' in osd && osd.size !== undefined
      ? osd.size
      : Math.floor((statfsSync(dirname(path)).bavail * statfsSync(dirname(path)).bsize * directoryShare) / 2 ** 20) *
        2 ** 20;
  const fd = openSync(path, 'wx', 0o600);
  try {
    ftruncateSync(fd, size);
  } finally {
    closeSync(fd);
  }
  syncDirectory(dirname(path));
}

/** How long an rgw may take for the list of nobody's buckets. */
const answerMs = 5000;

/** How a running daemon is, by its own answer. Errors: ADMIN_SOCKET; of an rgw those of a connection. */
export async function askDaemonHealth(
  daemon: CephDaemon,
  instance: string,
  { node, ports }: Config,
  paths: Paths,
): Promise<DaemonHealth> {
  if (daemon === 'rgw') {
    const { status } = await fetch(`http://${node.ip}:${ports.rgw}/`, { signal: AbortSignal.timeout(answerMs) });
    return { serves: status === 200, detail: status === 200 ? `S3 on port ${ports.rgw}` : `answers with ${status}` };
  }
  return daemonHealth(daemon, await askDaemon(paths.adminSocket(instance), healthQuestion[daemon]));
}
