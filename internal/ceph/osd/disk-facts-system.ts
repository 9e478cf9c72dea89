import { readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type DeviceDirectories, listBlockDevices, machineDevices, realpath } from '../../base/block-devices-system.ts';
import { readFileIfThere } from '../../base/files-system.ts';

/** `8:0` of the file system that holds a path; undefined when it cannot be asked. */
function deviceNumber(path: string): string | undefined {
  const dev = statSync(path, { throwIfNoEntry: false })?.dev;
  if (dev === undefined) return undefined;
  // `gnu_dev_major`, `gnu_dev_minor`.
  const [low, high] = [dev % 2 ** 32, Math.floor(dev / 2 ** 32)];
  const major = ((low >>> 8) & 0xfff) | (high & ~0xfff);
  const minor = (low & 0xff) | ((low >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}

/** A file of sysfs in one line; empty when it is not there or the device does not answer. */
function attribute(path: string): string {
  try {
    return readFileIfThere(path)?.trim() ?? '';
  } catch {
    return '';
  }
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

/** Deep enough for an encrypted volume on a RAID in a file on a volume. */
const maxDepth = 8;

/** Names of the disks below a device: of the parts of a volume or RAID, of the file of a loop device. */
function disksBelow(
  number: string | undefined,
  where: DeviceDirectories,
  numberOf: (path: string) => string | undefined,
  depth = 0,
): string[] {
  const devices = listBlockDevices(where);
  const below = (name: string, level: number): string[] => {
    if (level > maxDepth) return [];
    const own = join(where.sys, 'class/block', name);
    const parts = entries(join(own, 'slaves'));
    if (parts.length > 0) return parts.flatMap((part) => below(part, level + 1));
    const file = attribute(join(own, 'loop/backing_file'));
    if (file !== '') return disksBelow(numberOf(file), where, numberOf, level + 1);
    return [devices.find((device) => device.name === name)?.partOf?.disk ?? name];
  };
  const found = devices.find(({ name }) => attribute(join(where.sys, 'class/block', name, 'dev')) === number);
  return found === undefined || depth > maxDepth ? [] : [...new Set(below(found.name, depth))];
}

/** `VENDOR_MODEL_SERIAL`, of what the disk tells; empty without a serial number, which alone makes it one of its kind. */
function deviceId(name: string, serial: string | undefined, { sys }: DeviceDirectories): string {
  if (serial === undefined) return '';
  const own = join(sys, 'class/block', name, 'device');
  const vendor = attribute(join(own, 'vendor'));
  // Numbers are those of a bus, and ATA is how a disk is spoken to.
  const parts = [/^(0x[0-9a-f]+|ATA)$/i.test(vendor) ? '' : vendor, attribute(join(own, 'model')), serial];
  return parts
    .filter((part) => part !== '')
    .join('_')
    .replace(/[\s=,]+/g, '_');
}

/**
 * What `ceph osd metadata` tells of the disks that a store is on, with 16.2.15's names (`BlockDevice::collect_metadata`, `get_device_metadata`): of these the mgr makes
 * `ceph device ls` and the metric `disk_occupation`. `dir`: where the store is; `bytes`: its size.
 */
export function diskFacts(
  dir: string,
  bytes: number,
  where: DeviceDirectories = machineDevices,
  numberOf: (path: string) => string | undefined = deviceNumber,
): Record<string, string> {
  const disks = disksBelow(numberOf(dir), where, numberOf);
  const devices = listBlockDevices(where);
  const pairs = (of: (name: string) => string): string =>
    disks
      .map((name) => [name, of(name)])
      .filter(([, value]) => value !== '')
      .map(([name, value]) => `${name}=${value}`)
      .join(',');
  const byPath = join(where.dev, 'disk/by-path');
  const paths = entries(byPath).map((entry) => [entry, basename(realpath(join(byPath, entry)) ?? '')] as const);
  // Nobody knows of none: as upstream does, the slower kind is taken.
  const turns =
    disks.length === 0 ||
    disks.some((name) => attribute(join(where.sys, 'class/block', name, 'queue/rotational')) !== '0');
  return {
    bluestore_bdev_dev_node: disks.length === 1 ? join(where.dev, disks[0]!) : '',
    bluestore_bdev_devices: disks.join(','),
    bluestore_bdev_path: dir,
    bluestore_bdev_rotational: turns ? '1' : '0',
    bluestore_bdev_size: String(bytes),
    bluestore_bdev_type: turns ? 'hdd' : 'ssd',
    devices: disks.join(','),
    device_ids: pairs((name) => deviceId(name, devices.find((one) => one.name === name)?.serial, where)),
    device_paths: pairs((name) => {
      const entry = paths.find(([, target]) => target === name)?.[0];
      return entry === undefined ? '' : join(byPath, entry);
    }),
    rotational: turns ? '1' : '0',
  };
}
