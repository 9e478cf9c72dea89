import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { whyNotBlank } from '../../base/blank-system.ts';
import { devicePath } from '../../base/block-devices-system.ts';
import { AppError } from '../../base/errors.ts';
import { type OsdConfig, unallocatedOsd } from '../../config/config.ts';
import { blueStoreOwner, type BlueStoreLabel, labelBytes, parseBlueStoreLabel } from './bluestore-label.ts';

/** The file or device that holds an OSD's BlueStore: in a directory it is the file `block`. Errors: NO_DEVICE, DEVICE. */
export function blueStorePath(osd: OsdConfig): string {
  if ('file' in osd) return osd.file;
  if ('directory' in osd) return `${osd.directory}/block`;
  return devicePath(osd);
}

/** Undefined when there is none. */
export function readBlueStoreLabel(path: string): BlueStoreLabel | undefined {
  const head = Buffer.alloc(labelBytes);
  const fd = openSync(path, 'r');
  try {
    if (readSync(fd, head, 0, head.length, 0) < head.length) return undefined;
  } finally {
    closeSync(fd);
  }
  return parseBlueStoreLabel(head);
}

/** Whose BlueStore is on a file or device, which need not be there. */
export function blueStoreOn(path: string): BlueStoreLabel | undefined {
  return existsSync(path) ? readBlueStoreLabel(path) : undefined;
}

export interface OwnBlueStore {
  readonly osd: number;
  /** Of the node's cluster; undefined when it has none. */
  readonly fsid: string | undefined;
  /** What this node gave the store, where it did. */
  readonly uuid: string | undefined;
}

/**
 * Whether there is this OSD's BlueStore at `path`; false when it is blank or not there. AppError FOREIGN_DISK, which says what there is, for anything else: it is
 * never taken over.
 */
export async function holdsBlueStoreOf(path: string, own: OwnBlueStore): Promise<boolean> {
  if (!existsSync(path)) return false;
  const label = readBlueStoreLabel(path);
  if (label) {
    const itsUuid = own.uuid !== undefined && label.uuid === own.uuid;
    // Between the first block and the last of its making it says no more than its UUID.
    if (itsUuid && (label.fsid ?? own.fsid) === own.fsid) return true;
    if (own.uuid === undefined && own.fsid !== undefined && label.fsid === own.fsid && label.osd === own.osd)
      return true;
    const wanted =
      own.osd === unallocatedOsd
        ? 'and nothing of this node: a new OSD takes a blank one'
        : `not osd.${own.osd} of this node`;
    throw new AppError('FOREIGN_DISK', `${path} holds ${blueStoreOwner(label)}, ${wanted}`, {
      hint:
        'It is not taken over. Give the disk to its OSD; on a machine that was installed again name that in storage.osd by its id, with its key in <dataDir>/ceph/keyrings (`ceph auth get osd.N -o osd.N.keyring`). ' +
        'Is its data not needed? `appliance osd wipe` makes it blank.',
    });
  }
  const reason = await whyNotBlank(path);
  if (reason === undefined) return false;
  throw new AppError('FOREIGN_DISK', `${path} is not empty and holds no BlueStore of Ceph: ${reason}`, {
    hint: 'It is not overwritten. Wipe it (wipefs -a, blkdiscard, or zeros over its first 4 MiB and its last) if its data is not needed.',
  });
}
