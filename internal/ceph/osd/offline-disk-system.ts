import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmdirSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { whyNotBlank } from '../../base/blank-system.ts';
import { listBlockDevices } from '../../base/block-devices-system.ts';
import { usersOf } from '../../base/block-devices.ts';
import { tryCommand } from '../../base/command-system.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { AppError, errorCode } from '../../base/errors.ts';
import { type FileLock, lockFile } from '../../base/file-lock-system.ts';
import { readFileIfThere } from '../../base/files-system.ts';
import { mountsBelow } from '../../base/mounts-system.ts';
import type { Label } from '../blockstore/label.ts';
import { readLabel } from '../blockstore/label.ts';
import { parseIdentity, type StoreIdentity } from './disk-owner.ts';
import { readFileSystem } from './disk-owner-system.ts';
import { loopsOn } from './disk-use.ts';
import { mountDevice, mountFile } from './disk-system.ts';

/** The disk of an OSD that does not run, for tools: found, refused when somebody uses it, mounted for as long as it is looked at. */

export type DiskKind = 'device' | 'file' | 'directory';

export interface DiskPlace {
  readonly kind: DiskKind;
  /** Without symbolic links. */
  readonly path: string;
}

/** What is at a path. AppError NO_DISK when nothing is. */
export function diskAt(path: string): DiskPlace {
  const info = statSync(path, { throwIfNoEntry: false });
  if (info === undefined)
    throw new AppError('NO_DISK', `${path} is not there`, {
      hint: '`appliance osd list` shows the disks of this machine',
    });
  const real = realpathSync(path);
  if (info.isDirectory()) return { kind: 'directory', path: real };
  if (info.isFile()) return { kind: 'file', path: real };
  if (info.isBlockDevice()) return { kind: 'device', path: real };
  throw new AppError('NO_DISK', `${path} is no disk, partition, file or directory`);
}

function loops(): { name: string; backingFile: string }[] {
  return readdirSync('/sys/block')
    .filter((name) => name.startsWith('loop'))
    .flatMap((name) => {
      const backingFile = readFileIfThere(`/sys/block/${name}/loop/backing_file`)?.trimEnd();
      return backingFile === undefined ? [] : [{ name, backingFile }];
    });
}

/** Who uses a disk, in words; undefined when nobody does, as far as can be told without taking it. */
export function userOf({ kind, path }: DiskPlace): string | undefined {
  if (kind === 'file') {
    const found = loopsOn(path, loops());
    if (found.length > 0) return `${found.join(', ')} shows it: an OSD runs on it, or somebody has mounted it`;
    return isLocked(path) ? 'an OSD runs on it, or a tool has it' : undefined;
  }
  if (kind === 'directory') {
    // Of our store, and of the distribution's.
    const held = [`${path}/index.sqlite`, `${path}/block`].some((file) => existsSync(file) && isLocked(file));
    return held ? 'an OSD runs on it' : undefined;
  }
  const devices = listBlockDevices();
  const device = devices.find((one) => one.path === path);
  const users = device === undefined ? [] : usersOf(device, devices);
  if (users.length > 0) return users.includes('swap') ? 'it is swapped to' : `it is mounted at ${users.join(', ')}`;
  // A ceph-osd does not have it for itself, but locks it.
  if (isLocked(path)) return 'an OSD runs on it, or a tool has it';
  try {
    // The kernel lets nobody have a device for itself that is mounted in any namespace (open(2), O_EXCL).
    closeSync(openSync(path, constants.O_RDONLY | constants.O_EXCL));
    return undefined;
  } catch (error) {
    if (errorCode(error) !== 'EBUSY') throw error;
    return 'an OSD runs on it, or something else has it for itself';
  }
}

/** Whether a process has a lock on a file, of fcntl(2) as sqlite or of flock(2) as BlueStore: /proc/locks lists them by inode. */
function isLocked(path: string): boolean {
  const { ino } = statSync(path);
  return (readFileIfThere('/proc/locks') ?? '')
    .split('\n')
    .some((line) => line.split(/\s+/)[5]?.endsWith(`:${ino}`) === true);
}

/** AppError IN_USE when somebody uses the disk. */
export function refuseUsed(place: DiskPlace): void {
  const user = userOf(place);
  if (user === undefined) return;
  throw new AppError('IN_USE', `${place.path} is in use: ${user}`, {
    hint: 'stop the node first (appliance down, or systemctl stop appliance), or unmount it; nothing was changed',
  });
}

/** Whether this process has mounts of its own: what it mounts is seen by nobody else and ends with it. */
export function hasPrivateMounts(): boolean {
  const parent = `/proc/${process.ppid}/ns/mnt`;
  return existsSync(parent) && readlinkSync('/proc/self/ns/mnt') !== readlinkSync(parent);
}

/** The command line that runs another one with mounts of its own, which ends with this process. */
export function withPrivateMounts(command: readonly string[]): string[] {
  return ['setpriv', '--pdeathsig', 'KILL', 'unshare', '--mount', '--propagation', 'private', ...command];
}

export interface OfflineDisk {
  readonly place: DiskPlace;
  /** Directory of the store. */
  readonly dir: string;
  readonly label: Label;
  readonly identity: StoreIdentity;
  close(): Promise<void>;
}

/**
 * Brings the store of an OSD that does not run within reach. A device or file is mounted, for which the process must have `hasPrivateMounts`. Errors: NO_DISK,
 * IN_USE, NO_OSD when it holds none, LABEL.
 */
export async function openOffline(place: DiskPlace): Promise<OfflineDisk> {
  refuseUsed(place);
  const { kind, path } = place;
  if (kind === 'directory') return { ...(await storeIn(place, path)), close: () => Promise.resolve() };
  if (!/^osd\.\d+$/.test((await readFileSystem(path))?.label ?? '')) throw await noOsd(path);
  const lock = kind === 'file' ? takeFile(path) : undefined;
  const dir = mkdtempSync(join(tmpdir(), 'appliance-osd-'));
  const close = async (): Promise<void> => {
    if (mountsBelow(dir).length > 0) await tryCommand(['umount', '--no-canonicalize', dir]);
    // Mounted still: it ends with this process.
    if (mountsBelow(dir).length === 0) rmdirSync(dir);
    lock?.release();
  };
  try {
    if (kind === 'file') mountFile(path, dir);
    else mountDevice(path, dir);
    return { ...(await storeIn(place, dir)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Takes an OSD's file for this process. AppError IN_USE when another one has it. */
export function takeFile(path: string): FileLock {
  const lock = lockFile(path);
  if (lock !== undefined) return lock;
  throw new AppError('IN_USE', `${path} is in use: an OSD, or a tool, has it`, { hint: 'wait until that has ended' });
}

async function storeIn(place: DiskPlace, dir: string): Promise<Omit<OfflineDisk, 'close'>> {
  const label = await readLabel(systemDisk, dir);
  const identity = label && parseIdentity(label.identity);
  if (label === undefined || identity === undefined)
    throw new AppError(
      'NO_OSD',
      `${place.path} holds no store of an OSD${label === undefined ? '' : `, but one of '${label.identity}'`}`,
      {
        hint:
          place.kind === 'directory'
            ? 'name the directory that storage.osd names'
            : 'it was prepared for one that has not started yet',
      },
    );
  return { place, dir, label, identity };
}

async function noOsd(path: string): Promise<AppError> {
  const why = await whyNotBlank(path);
  return new AppError(
    'NO_OSD',
    why === undefined ? `${path} is blank: it holds no OSD` : `${path} holds no OSD: ${why}`,
    {
      hint: '`appliance osd list` shows what the disks of this machine hold',
    },
  );
}
