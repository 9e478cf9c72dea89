import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { whyNotBlank } from '../../base/blank-system.ts';
import { tryCommand } from '../../base/command-system.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { AppError } from '../../base/errors.ts';
import { parseLabel, readLabel } from '../blockstore/label.ts';
import {
  type FoundFileSystem,
  fileSystemUuid,
  type OwnOsd,
  parseIdentity,
  uuidText,
  whyForeignFileSystem,
  whyForeignStore,
} from './disk-owner.ts';

/** Reads whose a disk is. Nothing is mounted and nothing is written: not even the journal of somebody's file system is replayed. */

/** ext4's superblock (Documentation/filesystems/ext4/super.rst): it begins at 1024. */
const superblock = { at: 1024, bytes: 1024, magic: 0x38, incompatible: 0x60, uuid: 0x68, label: 0x78 } as const;
const ext4Magic = 0xef53;
/** EXT4_FEATURE_INCOMPAT_RECOVER */
const needsRecovery = 0x4;
const debugfsMs = 30_000;

/** The ext4 file system on a file or device; undefined when there is none. Errors: DISK when e2fsprogs is not installed. */
export async function readFileSystem(path: string): Promise<FoundFileSystem | undefined> {
  const head = Buffer.alloc(superblock.bytes);
  const fd = openSync(path, 'r');
  try {
    if (readSync(fd, head, 0, head.length, superblock.at) < head.length) return undefined;
  } finally {
    closeSync(fd);
  }
  if (head.readUInt16LE(superblock.magic) !== ext4Magic) return undefined;
  const name = head.subarray(superblock.label, superblock.label + 16);
  const end = name.indexOf(0);
  const label = name.subarray(0, end < 0 ? 16 : end).toString();
  return {
    label,
    uuid: uuidText(head.subarray(superblock.uuid, superblock.uuid + 16)),
    needsRecovery: (head.readUInt32LE(superblock.incompatible) & needsRecovery) !== 0,
    identity: /^osd\.\d+$/.test(label) ? await storeIn(path) : undefined,
  };
}

/** The identity in the label of the store in an OSD's file system; undefined when it has none that can be read. */
async function storeIn(path: string): Promise<string | undefined> {
  // -c: opened for reading alone, and without its bitmaps.
  const { stdout } = await tryCommand(['debugfs', '-c', '-R', 'cat label', path], { timeoutMs: debugfsMs }).catch(
    (cause: unknown) => {
      throw new AppError('DISK', `debugfs, which tells whose the disk ${path} is, could not be started`, {
        cause,
        hint: 'Install e2fsprogs (apt install e2fsprogs).',
      });
    },
  );
  try {
    return parseLabel(stdout, path).identity;
  } catch {
    return undefined;
  }
}

/**
 * Whether a file or device holds this OSD's file system already; false when it is blank. AppError FOREIGN_DISK, which says whose it is, for one that holds
 * anything else: it is never taken over.
 */
export async function holdsFileSystemOf(path: string, own: OwnOsd): Promise<boolean> {
  const found = await readFileSystem(path);
  if (found !== undefined) {
    const foreign = whyForeignFileSystem(path, found, own);
    if (foreign !== undefined) throw foreign;
    return true;
  }
  const reason = await whyNotBlank(path);
  if (reason !== undefined)
    throw new AppError('FOREIGN_DISK', `${path} is not empty and holds no file system of an OSD: ${reason}`, {
      hint: 'It is not overwritten. Wipe it (`appliance osd wipe`) if its data is not needed.',
    });
  return false;
}

/** Whether a directory holds this OSD's store; false when it holds no store. AppError FOREIGN_DISK for another's, LABEL for one that cannot be read. */
export async function holdsStoreOf(directory: string, own: OwnOsd): Promise<boolean> {
  const label = await readLabel(systemDisk, directory);
  if (label === undefined) return false;
  const foreign = whyForeignStore(directory, label.identity, own);
  if (foreign !== undefined) throw foreign;
  return true;
}

/**
 * The OSD that a file or device holds, and its cluster as far as the disk says it; undefined when it is no OSD's, or not there. Of one without a store it can only be told whether it
 * is of the cluster `own`.
 */
export async function osdOn(
  path: string,
  own?: string,
): Promise<{ osd: number; fsid: string | undefined } | undefined> {
  const found = existsSync(path) ? await readFileSystem(path) : undefined;
  const store = parseIdentity(found?.identity ?? '');
  if (store) return store;
  const label = /^osd\.(\d+)$/.exec(found?.label ?? '');
  if (!label) return undefined;
  const osd = Number(label[1]);
  return { osd, fsid: own !== undefined && found?.uuid === fileSystemUuid(osd, own) ? own : undefined };
}
