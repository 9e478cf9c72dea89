import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { findDevice, usersOf } from '../base/block-devices.ts';
import { listBlockDevices, realpath } from '../base/block-devices-system.ts';
import { systemDisk } from '../base/disk-system.ts';
import { errorCode, errorText } from '../base/errors.ts';
import { readLabel } from '../ceph/blockstore/label.ts';
import { blueStoreOwner, labelBytes, parseBlueStoreLabel } from '../ceph/engine/bluestore-label.ts';
import { knownFsid } from '../ceph/client/ceph-conf-system.ts';
import { blueStorePath } from '../ceph/engine/bluestore-place-system.ts';
import { fileSystemUuid, parseIdentity } from '../ceph/osd/disk-owner.ts';
import { readFileSystem } from '../ceph/osd/disk-owner-system.ts';
import type { Config } from '../config/config.ts';
import { nodePaths } from '../config/paths.ts';
import { type DiskFact, isUnknown } from './facts.ts';

interface Owner {
  readonly owner: DiskFact['owner'];
  readonly fsid: string | undefined;
}

const storeOwner = (identity: string): Owner => ({ owner: identity, fsid: parseIdentity(identity)?.fsid });

/** Whose OSD a disk or file holds, read without mounting it: the label file inside our ext4, or BlueStore's first block. */
async function ownerOf(path: string, own: string | undefined): Promise<Owner | undefined> {
  const head = Buffer.alloc(labelBytes);
  const fd = openSync(path, 'r');
  try {
    if (readSync(fd, head, 0, head.length, 0) < head.length) return undefined;
  } finally {
    closeSync(fd);
  }
  const blueStore = parseBlueStoreLabel(head);
  if (blueStore) return { owner: blueStoreOwner(blueStore), fsid: blueStore.fsid };
  const found = await readFileSystem(path);
  const osd = /^osd\.(\d+)$/.exec(found?.label ?? '')?.[1];
  if (found === undefined || osd === undefined) return undefined;
  if (found.identity !== undefined) return storeOwner(found.identity);
  if (own !== undefined && found.uuid === fileSystemUuid(Number(osd), own))
    return { owner: `osd.${osd} of cluster ${own}, which has no store on it yet`, fsid: own };
  return { owner: `osd.${osd} of a cluster that it does not name`, fsid: undefined };
}

async function ownerOfDirectory(path: string): Promise<Owner | undefined> {
  const label = await readLabel(systemDisk, path);
  return label && storeOwner(label.identity);
}

/** Undefined where we may not look. */
function unreadable(error: unknown): Owner | undefined {
  if (['EACCES', 'EPERM', 'ENOMEDIUM'].includes(errorCode(error) ?? '')) return undefined;
  return { owner: { unknown: errorText(error) }, fsid: undefined };
}

/** The places of this node's OSDs, and other disks that hold somebody's. */
export async function diskFacts(config: Config): Promise<DiskFact[]> {
  const out: DiskFact[] = [];
  const devices = listBlockDevices();
  const seen = new Set<string>();
  const fsid = knownFsid(nodePaths(config.dataDir, config.runDir));
  const add = async (
    path: string,
    osd: number | undefined,
    { exists, inUse, look = ownerOf }: { exists: boolean; inUse: boolean; look?: typeof ownerOf },
  ): Promise<void> => {
    const found = exists ? await look(path, fsid).catch(unreadable) : undefined;
    // What an unknown disk holds is worth a word only when it is an OSD.
    if (osd === undefined && (!found || isUnknown(found.owner))) return;
    out.push({ path, osd, exists, inUse, owner: found?.owner, ownerFsid: found?.fsid });
  };
  for (const osd of config.storage.osd) {
    const id = osd.id < 0 ? undefined : osd.id;
    if ('directory' in osd) {
      if (config.storage.engine === 'ceph')
        await add(blueStorePath(osd), id, { exists: existsSync(blueStorePath(osd)), inUse: false });
      else await add(osd.directory, id, { exists: existsSync(osd.directory), inUse: false, look: ownerOfDirectory });
      continue;
    }
    if ('file' in osd) {
      await add(osd.file, id, { exists: existsSync(osd.file), inUse: false });
      continue;
    }
    try {
      const device = findDevice(osd, devices, realpath);
      seen.add(device.path);
      await add(device.path, id, { exists: true, inUse: usersOf(device, devices).length > 0 });
    } catch {
      // The check says that it is not there, and how to find the right one.
      const path = 'device' in osd ? osd.device : `serial ${osd.serial}`;
      out.push({ path, osd: id, exists: false, inUse: false, owner: undefined, ownerFsid: undefined });
    }
  }
  for (const device of devices)
    if (!seen.has(device.path) && !/^(loop|ram|zram|sr|fd)/.test(device.name))
      await add(device.path, undefined, { exists: true, inUse: device.usedBy.length > 0 });
  return out;
}
