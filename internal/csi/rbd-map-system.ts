import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { stat } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { runCommand } from '../base/command-system.ts';
import { AppError, errorCode, errorText } from '../base/errors.ts';
import { makeDirectory, readFileIfThere, writeFileAtomic } from '../base/files-system.ts';
import type { Logger } from '../base/log.ts';
import { attachLoop } from '../base/loop-system.ts';
import { listMounts, mountsAt, mountsBelow } from '../base/mounts-system.ts';

/** An image to attach and the credentials to do it with. */
export interface RbdImage {
  cephConf: string;
  pool: string;
  image: string;
  userId: string;
  userKey: string;
  /** `cgroup.procs` of the group for what backs mounted volumes; undefined: where this process is. */
  cgroupProcs: string | undefined;
}

/** Which device of the kernel's client is meant: numbers are given out again, so all of it must fit. */
export interface KrbdIdentity {
  pool: string;
  image: string;
  /** '' where the kernel does not tell. */
  imageId: string;
  clusterFsid: string;
}

/** How an image was attached; kept on disk so that any later process can detach it. */
export type Mapping = {
  /** The boot that it belongs to: in any other, nothing of it is left. */
  bootId: string;
  device: string;
} & (
  | { kind: 'krbd'; identity: KrbdIdentity }
  /** An rbd-fuse process serves the pool's images as files at `mountpoint`; a loop device stands on the one of `image`. */
  | { kind: 'fuse'; mountpoint: string; pid: number; image: string }
);

/** What is known before an image is attached; with it, whatever an interrupted attach left can be found. */
export interface MappingStart {
  bootId: string;
  pool: string;
  image: string;
  /** Names of the kernel's rbd devices that were there before. */
  krbdBefore: string[];
}

const krbdDevices = '/sys/bus/rbd/devices';

const mapTimeoutMs = 60_000;

/** True when the kernel has the rbd client, loading its module if there is one. */
async function kernelHasRbd(): Promise<boolean> {
  if (existsSync('/sys/bus/rbd')) return true;
  try {
    await runCommand(['modprobe', 'rbd'], { timeoutMs: 10_000 });
  } catch {
    return false;
  }
  return existsSync('/sys/bus/rbd');
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** To be kept durably before `mapImage` is called. */
export function mappingStart(image: Pick<RbdImage, 'pool' | 'image'>): MappingStart {
  return { bootId: bootId(), pool: image.pool, image: image.image, krbdBefore: entries(krbdDevices) };
}

/** Attaches an image as a block device. `directory` (0700) is for this mapping alone; what an earlier attempt left in it is detached first. */
export async function mapImage(image: RbdImage, directory: string, log: Logger): Promise<Mapping> {
  makeDirectory(directory);
  await detachBelow(directory);
  const keyring = `${directory}/keyring`;
  writeFileAtomic(keyring, `[client.${image.userId}]\n\tkey = ${image.userKey}\n`, 0o600);
  if (await kernelHasRbd()) {
    const { stdout } = await runCommand(
      [
        'rbd',
        '-c',
        image.cephConf,
        '--id',
        image.userId,
        '--keyring',
        keyring,
        'device',
        'map',
        '-o',
        'ms_mode=prefer-crc',
        `${image.pool}/${image.image}`,
      ],
      { timeoutMs: mapTimeoutMs },
    );
    const device = stdout.trim();
    const identity = krbdIdentity(device.replace('/dev/rbd', ''));
    if (identity?.pool !== image.pool || identity.image !== image.image)
      throw new AppError('RBD', `${device} is not ${image.pool}/${image.image}, for which the kernel's client gave it`);
    return { kind: 'krbd', bootId: bootId(), device, identity };
  }
  return mapByFuse(image, directory, keyring, log);
}

async function mapByFuse(image: RbdImage, directory: string, keyring: string, log: Logger): Promise<Mapping> {
  const mountpoint = poolMount(directory);
  makeDirectory(mountpoint);
  const output = openSync(`${directory}/rbd-fuse.log`, 'a', 0o600);
  // No death signal and a session of its own: it backs a mounted volume and outlives this process. Without librbd's cache every
  // write that it acknowledged is on the OSDs' disks, and it needs no memory for it; the page cache above does the buffering.
  const child = Bun.spawn(
    ['setsid', 'rbd-fuse', '-f', '-c', image.cephConf, '-p', image.pool, '-r', image.image, mountpoint],
    {
      stdin: 'ignore',
      stdout: output,
      stderr: output,
      env: {
        PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
        CEPH_ARGS: `--id ${image.userId} --keyring ${keyring} --rbd_cache=false`,
      },
    },
  );
  closeSync(output);
  child.unref();
  // Its memory is not this process's, and it must not be killed for what this process uses.
  if (image.cgroupProcs !== undefined) writeFileSync(image.cgroupProcs, String(child.pid));
  const ended = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const name = `${image.pool}/${image.image}`;
  const file = `${mountpoint}/${image.image}`;
  const deadline = performance.now() + mapTimeoutMs;
  try {
    for (;;) {
      if (ended()) throw new AppError('RBD_FUSE', `rbd-fuse for ${name} ended`);
      if (mountedBy(child.pid, mountpoint) && (await fileIsThere(file, deadline - performance.now()))) break;
      if (performance.now() > deadline)
        throw new AppError('RBD_FUSE', `rbd-fuse did not show ${name} within ${mapTimeoutMs / 1000} s`);
      await Bun.sleep(50);
    }
    const { device, hold } = attachLoop(file, { autoclear: false });
    hold.close();
    if (ended() || !mountedBy(child.pid, mountpoint))
      throw new AppError('RBD_FUSE', `rbd-fuse for ${name} ended while it was being attached`);
    log.info('attached', { pool: image.pool, image: image.image, device, pid: child.pid });
    return { kind: 'fuse', bootId: bootId(), device, mountpoint, pid: child.pid, image: image.image };
  } catch (error) {
    if (!ended()) child.kill('SIGKILL');
    await child.exited;
    await detachBelow(directory).catch((again: unknown) =>
      log.warn('cannot detach', { directory, error: errorText(again) }),
    );
    const words = readFileSync(`${directory}/rbd-fuse.log`, 'utf8').trim().split('\n').slice(-2).join('; ');
    throw new AppError('RBD_FUSE', `cannot attach ${name}${words ? ` (${words})` : ''}`, { cause: error });
  }
}

function poolMount(directory: string): string {
  return `${directory}/pool`;
}

/** True when the one mount at `mountpoint` is a FUSE one and `pid` holds a FUSE connection. Nothing was mounted there before `pid` began. */
function mountedBy(pid: number, mountpoint: string): boolean {
  const mounts = mountsAt(mountpoint);
  if (mounts.length !== 1 || !mounts[0]!.type.startsWith('fuse')) return false;
  return entries(`/proc/${pid}/fd`).some((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`) === '/dev/fuse';
    } catch {
      // It was closed meanwhile.
      return false;
    }
  });
}

/** False when there is no such file; any other failure is thrown, also no answer in `timeoutMs`: the cluster may be away. */
export async function fileIsThere(path: string, timeoutMs: number): Promise<boolean> {
  const answer = stat(path).then(
    (info) => info.isFile(),
    (error: unknown) => {
      if (errorCode(error) === 'ENOENT') return false;
      throw error;
    },
  );
  const none = Symbol();
  const first = await Promise.race([answer, Bun.sleep(Math.max(0, timeoutMs)).then(() => none)]);
  if (typeof first === 'boolean') return first;
  answer.catch(() => undefined);
  throw new AppError('RBD_FUSE', `${path}: no answer`);
}

/** Names in a directory; none when it is not there. */
function entries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** What the kernel's rbd device with this number is; undefined when there is none. */
function krbdIdentity(number: string): KrbdIdentity | undefined {
  if (!/^\d+$/.test(number)) return undefined;
  const of = (name: string): string => readFileIfThere(`${krbdDevices}/${number}/${name}`)?.trim() ?? '';
  const image = of('name');
  return image === ''
    ? undefined
    : { pool: of('pool'), image, imageId: of('image_id'), clusterFsid: of('cluster_fsid') };
}

function krbdPresent(mapping: Extract<Mapping, { kind: 'krbd' }>): boolean {
  const now = krbdIdentity(mapping.device.replace('/dev/rbd', ''));
  return now !== undefined && isDeepStrictEqual(now, mapping.identity);
}

/** True when the device still has what backs it. */
export function mappingAlive(mapping: Mapping | undefined): boolean {
  if (mapping === undefined || mapping.bootId !== bootId()) return false;
  if (mapping.kind === 'krbd') return krbdPresent(mapping) && existsSync(mapping.device);
  return (
    servers(mapping.mountpoint).includes(mapping.pid) &&
    mountsAt(mapping.mountpoint).length > 0 &&
    loopBacking(mapping.device) === `${mapping.mountpoint}/${mapping.image}`
  );
}

/** Processes that serve a pool at `mountpoint`. */
function servers(mountpoint: string): number[] {
  return entries('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const argv = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0');
        return argv.includes('rbd-fuse') && argv.includes(mountpoint);
      } catch {
        // It ended.
        return false;
      }
    })
    .map(Number);
}

async function detach(argv: readonly string[]): Promise<boolean> {
  try {
    await runCommand(argv, { timeoutMs: 30_000 });
    return true;
  } catch {
    return false;
  }
}

/**
 * Detaches an image; also when what backed it is dead, when it was never attached whole (`mapping` undefined), and when it is detached already.
 * `directory` is removed with the credentials in it. Throws when something of it is still in use; then it is to be called again.
 */
export async function unmapImage(
  start: MappingStart | undefined,
  mapping: Mapping | undefined,
  directory: string,
): Promise<void> {
  if (mapping?.kind === 'krbd' && mapping.bootId === bootId() && krbdPresent(mapping))
    await runCommand(['rbd', 'device', 'unmap', mapping.device], { timeoutMs: mapTimeoutMs });
  if (mapping === undefined && start?.bootId === bootId())
    for (const number of entries(krbdDevices)) {
      const found = krbdIdentity(number);
      if (found?.pool !== start.pool || found.image !== start.image || start.krbdBefore.includes(number)) continue;
      await runCommand(['rbd', 'device', 'unmap', `/dev/rbd${number}`], { timeoutMs: mapTimeoutMs });
    }
  // The path of a file whose file system was detached lazily begins at that file system's root.
  if (mapping?.kind === 'fuse' && mapping.bootId === bootId() && loopBacking(mapping.device) === `/${mapping.image}`)
    await detach(['losetup', '-d', mapping.device]);
  await detachBelow(directory);
  removeMappingDirectory(directory);
}

/**
 * Takes away every loop device, mount and rbd-fuse process of `directory`, going by what is there and not by any record. Throws when something
 * is still mounted.
 */
async function detachBelow(directory: string): Promise<void> {
  const mountpoint = poolMount(directory);
  const mounts = listMounts();
  const loops = entries('/sys/block')
    .filter((name) => name.startsWith('loop') && loopBacking(`/dev/${name}`)?.startsWith(`${directory}/`))
    .map((name) => `/dev/${name}`);
  // Whoever has it mounted may still write to it: not pulled away under them while somebody serves it.
  const user = mounts.find((mount) => loops.includes(mount.source));
  if (user && servers(mountpoint).length > 0)
    throw new AppError('IN_USE', `${user.source} of ${directory} is still mounted at ${user.target}`);
  for (const device of loops) await detach(['losetup', '-d', device]);
  for (let round = 0; ; round++) {
    const [mount] = mountsBelow(directory);
    if (!mount) break;
    if (round === 16) throw new AppError('MOUNTED', `${mount.target} is still mounted`);
    if (!(await detach(['umount', mount.target]))) await detach(['umount', '-l', mount.target]);
  }
  for (let waited = 0; ; waited += 50) {
    const pids = servers(mountpoint);
    if (pids.length === 0) break;
    if (waited === 15_000) throw new AppError('RBD_FUSE', `rbd-fuse of ${directory} does not end (pid ${pids.join()})`);
    if (waited === 5000) for (const pid of pids) signal(pid, 'SIGTERM');
    if (waited === 10_000) for (const pid of pids) signal(pid, 'SIGKILL');
    await Bun.sleep(50);
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (errorCode(error) !== 'ESRCH') throw error;
  }
}

/**
 * Removes what `mapImage` made, by name. Never with what is below: files below `pool` are the pool's images while rbd-fuse is mounted there,
 * and to unlink one is to delete the image.
 */
export function removeMappingDirectory(directory: string): void {
  for (const name of ['keyring', '.keyring.new', 'rbd-fuse.log']) rmSync(`${directory}/${name}`, { force: true });
  for (const path of [poolMount(directory), directory])
    try {
      rmdirSync(path);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
}

/** The file behind a loop device, undefined when it is free. */
function loopBacking(device: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${device.replace('/dev/', '')}/loop/backing_file`, 'utf8').trim();
  } catch {
    return undefined;
  }
}
