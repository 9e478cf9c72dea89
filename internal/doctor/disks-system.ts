import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { findDevice, usersOf } from '../base/block-devices.ts';
import { listBlockDevices, realpath } from '../base/block-devices-system.ts';
import { runCommand } from '../base/command-system.ts';
import type { Config } from '../config/config.ts';
import type { DiskFact } from './facts.ts';
import { blueStoreOwner, storeOwner } from './parse.ts';

/** Whose OSD a disk or file holds, read without mounting it: the label file inside our ext4, or BlueStore's first block. */
async function ownerOf(path: string): Promise<{ owner: string; fsid: string | undefined } | undefined> {
  const head = Buffer.alloc(4096);
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return undefined;
  }
  try {
    if (readSync(fd, head, 0, head.length, 0) < head.length) return undefined;
  } finally {
    closeSync(fd);
  }
  const blueStore = blueStoreOwner(head);
  if (blueStore) return blueStore;
  // ext4: magic at 1024 + 0x38, volume name at 1024 + 0x78.
  if (head.readUInt16LE(1024 + 0x38) !== 0xef53) return undefined;
  const volume = head
    .subarray(1024 + 0x78, 1024 + 0x88)
    .toString('latin1')
    .replace(/\0.*$/s, '');
  if (!/^osd\.\d+$/.test(volume)) return undefined;
  const { stdout } = await runCommand(['debugfs', '-R', 'cat label', path], { timeoutMs: 10_000 }).catch(() => ({
    stdout: '',
  }));
  return storeOwner(stdout) ?? { owner: `${volume} of a cluster that it does not name yet`, fsid: undefined };
}

/** The places of this node's OSDs, and other disks that hold somebody's. */
export async function diskFacts(config: Config): Promise<DiskFact[]> {
  const out: DiskFact[] = [];
  const devices = listBlockDevices();
  const seen = new Set<string>();
  const add = async (path: string, osd: number | undefined, exists: boolean, inUse: boolean): Promise<void> => {
    const found = exists ? await ownerOf(path) : undefined;
    if (osd === undefined && !found) return;
    out.push({ path, osd, exists, inUse, owner: found?.owner, ownerFsid: found?.fsid });
  };
  for (const osd of config.storage.osd) {
    const id = osd.id < 0 ? undefined : osd.id;
    if ('directory' in osd) continue;
    if ('file' in osd) {
      await add(osd.file, id, existsSync(osd.file), false);
      continue;
    }
    try {
      const device = findDevice(osd, devices, realpath);
      seen.add(device.path);
      await add(device.path, id, true, usersOf(device, devices).length > 0);
    } catch {
      // The check says that it is not there, and how to find the right one.
      const path = 'device' in osd ? osd.device : `serial ${osd.serial}`;
      out.push({ path, osd: id, exists: false, inUse: false, owner: undefined, ownerFsid: undefined });
    }
  }
  for (const device of devices)
    if (!seen.has(device.path) && !/^(loop|ram|zram|sr|fd)/.test(device.name))
      await add(device.path, undefined, true, device.usedBy.length > 0);
  return out;
}
