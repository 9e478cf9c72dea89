import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { DeviceName } from '../../base/block-devices.ts';
import { devicePath } from '../../base/block-devices-system.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { AppError, errorCode } from '../../base/errors.ts';
import { lockFile } from '../../base/file-lock-system.ts';
import { readFileIfThere, syncDirectory, writeFileAtomic } from '../../base/files-system.ts';
import { attachLoop } from '../../base/loop-system.ts';
import { MS_NOATIME, mountFileSystem } from '../../base/mount-system.ts';
import type { Logger } from '../../base/log.ts';
import { type Random, uuid } from '../../base/random.ts';
import type { OsdConfig } from '../../config/config.ts';
import { osdPlace } from '../../config/load.ts';
import { readLabel } from '../blockstore/label.ts';
import {
  fileSystemUuid,
  identityText,
  type OwnOsd,
  parseIdentity,
  volumeLabel,
  whyForeignStore,
} from './disk-owner.ts';
import { holdsFileSystemOf } from './disk-owner-system.ts';
import { type FoundStore, whyNoNewStore } from './store-made.ts';

/** Where an OSD's store is, and who it says it is. */
export interface PreparedDisk {
  /** Directory of the store. */
  dir: string;
  capacityBytes: number;
  /** Identity of the store, kept in its label. */
  uuid: string;
  /** For the label: `osd.2 of cluster <fsid>, store <uuid>`. */
  identity: string;
}

/** Kept free on the OSD's own file system for journal, index and the file system itself. */
const overheadShare = 0.04;
const overheadMinBytes = 192 * 2 ** 20;

interface Ran {
  code: number;
  output: string;
}

function run(command: string, args: readonly string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const take = (chunk: Buffer): void => {
      if (output.length < 16_384) output += chunk.toString();
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('error', (cause) =>
      reject(
        new AppError('DISK', `${command} could not be started`, {
          cause,
          hint: 'Install e2fsprogs and mount (apt install e2fsprogs mount).',
        }),
      ),
    );
    child.on('close', (code) => resolve({ code: code ?? 1, output: output.trim() }));
  });
}

/** Makes an OSD's file system on a file or device. AppError DISK when that fails. */
export async function makeFileSystem(path: string, { osd, fsid }: OwnOsd & { fsid: string }): Promise<void> {
  const names = ['-L', volumeLabel(osd), '-U', fileSystemUuid(osd, fsid)];
  const args = ['-q', ...names, '-m', '0', '-T', 'largefile', '-E', 'lazy_itable_init=1,nodiscard', path];
  // A file is nothing that mkfs takes unless it is forced to. Of a device it must be free to say no: it may be in use.
  if (statSync(path).isFile()) args.unshift('-F');
  const made = await run('mkfs.ext4', args);
  if (made.code !== 0)
    throw new AppError('DISK', `mkfs.ext4 of ${path} failed: ${made.output}`, {
      hint: 'Is the disk in use or read-only?',
    });
}

/**
 * Makes an OSD's file with its file system, under another name until it is whole: a crash on the way leaves no file that is neither blank nor
 * an OSD's.
 */
export async function makeFile(file: string, size: number, own: OwnOsd & { fsid: string }): Promise<void> {
  mkdirSync(dirname(file), { recursive: true });
  const temporary = join(dirname(file), `.${basename(file)}.osd-new`);
  rmSync(temporary, { force: true });
  const fd = openSync(temporary, 'wx', 0o600);
  try {
    ftruncateSync(fd, size);
    await makeFileSystem(temporary, own);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, file);
  syncDirectory(dirname(file));
}

export function mountDevice(source: string, dir: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  mountFileSystem(source, dir, 'ext4', MS_NOATIME);
}

/** The loop device goes with the mount, and the mount with the process. */
export function mountFile(file: string, dir: string): void {
  // Without the page cache between: the store's own file system caches what is worth it, and writes data past the cache anyway.
  const { device, hold } = attachLoop(file, { autoclear: true, directIo: true });
  try {
    mountDevice(device, dir);
  } finally {
    hold.close();
  }
}

/** Throws when what is found must not become a new store. */
type Check = (found: FoundStore) => void;

/** Makes the OSD's file system on a file or device when that is blank; refuses what is not ours. */
async function ensureFileSystem(
  path: string,
  own: OwnOsd & { fsid: string },
  check: Check,
  log: Logger,
): Promise<void> {
  if (await holdsFileSystemOf(path, own)) return;
  check('blank');
  log.info('making the file system', { osd: own.osd, path });
  await makeFileSystem(path, own);
}

/** The device of an OSD; one that is not there may be plugged in again, or be late. */
function deviceOf(config: OsdConfig & DeviceName): string {
  try {
    return devicePath(config);
  } catch (error) {
    if (errorCode(error) !== 'NO_DEVICE') throw error;
    throw new AppError('DISK', `the disk of osd.${config.id} is not there`, {
      cause: error,
      hint: 'Attach it: the OSD starts by itself then. If it is lost for good, give the OSD another one (docs/storage.md).',
    });
  }
}

async function prepareMounted(
  config: OsdConfig,
  { mountDir, fsid, log }: { mountDir: string; fsid: string; log: Logger },
  check: Check,
): Promise<string> {
  const own = { osd: config.id, fsid };
  if ('directory' in config) {
    if (!existsSync(config.directory)) check('missing');
    mkdirSync(config.directory, { recursive: true, mode: 0o700 });
    return config.directory;
  }
  if ('file' in config) {
    if (!existsSync(config.file)) {
      check('missing');
      log.info('making the file', { osd: config.id, path: config.file, bytes: config.size });
      await makeFile(config.file, config.size, own);
    } else if (!statSync(config.file).isFile())
      throw new AppError('DISK', `${config.file} of osd.${config.id} is not a file`);
    // Of a device the kernel sees to it. A file could be shown by a second loop device, and two mounts would destroy it.
    if (lockFile(config.file) === undefined)
      throw new AppError('DISK', `${config.file} of osd.${config.id} is in use by another process`, {
        hint: 'A tool looks at it (`appliance osd`): the OSD starts by itself when that has ended.',
      });
    await ensureFileSystem(config.file, own, check, log);
    mountFile(config.file, mountDir);
    return mountDir;
  }
  const device = deviceOf(config);
  await ensureFileSystem(device, own, check, log);
  mountDevice(device, mountDir);
  return mountDir;
}

/** Its being there says that the store with this uuid was made. One file each: the OSDs of a node are processes that must not write over each other's notes. */
function madeFile(identityDir: string, uuid: string): string {
  return `${identityDir}/osds-made/${uuid}`;
}

/**
 * Notes durably that the store which the mon knows by `config.uuid` was made. To be called when its label is on disk and before the OSD shows itself to the mon: a crash before
 * leaves a store that has acknowledged nothing. Without `config.uuid` nothing is noted: each new store has a uuid of its own then, and the mon refuses it.
 */
export function noteStoreMade(config: OsdConfig, prepared: PreparedDisk, identityDir: string): void {
  // Another store than the mon knows says nothing of the one it knows.
  if (config.uuid === undefined || prepared.uuid !== config.uuid) return;
  const file = madeFile(identityDir, config.uuid);
  if (readFileIfThere(file) === undefined) writeFileAtomic(file, `osd.${config.id}\n`, 0o644);
}

/**
 * Brings an OSD's disk to where its store can be opened: makes a sparse file and a file system on first use, mounts it, checks that the store
 * is this OSD's. Where the store was made before (`noteStoreMade` in `identityDir`) none is made again. The process must be in a mount namespace of its own: then nothing is left behind however it ends.
 * Errors: DISK, FOREIGN_DISK.
 */
export async function prepareDisk(
  config: OsdConfig,
  options: { mountDir: string; identityDir: string; fsid: string; random: Random; log: Logger },
): Promise<PreparedDisk> {
  const { identityDir } = options;
  const made = config.uuid !== undefined && readFileIfThere(madeFile(identityDir, config.uuid)) !== undefined;
  const of = { osd: config.id, place: osdPlace(config), made, idsFile: `${identityDir}/osds.json` };
  const check: Check = (found) => {
    const error = whyNoNewStore(found, of);
    if (error !== undefined) throw error;
  };
  const dir = await prepareMounted(config, options, check);
  const label = await readLabel(systemDisk, dir);
  check(label === undefined ? 'unlabelled' : 'store');
  let id = config.uuid ?? uuid(options.random);
  if (label !== undefined) {
    const foreign = whyForeignStore(dir, label.identity, { osd: config.id, fsid: options.fsid });
    if (foreign !== undefined) throw foreign;
    id = parseIdentity(label.identity)!.uuid;
  }
  const space = statfsSync(dir);
  const total = space.blocks * space.bsize;
  const whole = 'size' in config && config.size !== undefined ? Math.min(total, config.size) : total;
  const capacityBytes = Math.floor(Math.max(whole / 2, whole - Math.max(overheadMinBytes, whole * overheadShare)));
  return {
    dir,
    capacityBytes,
    uuid: id,
    identity: identityText({ osd: config.id, fsid: options.fsid, uuid: id }),
  };
}
