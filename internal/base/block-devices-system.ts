import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type BlockDevice, type DeviceName, deviceNameText, findDevice, usersOf } from './block-devices.ts';
import { AppError, errorCode } from './errors.ts';
import { readFileIfThere } from './files-system.ts';
import { parseMountInfo } from './mountinfo.ts';

/** Where the kernel and udev tell about devices; other directories in tests. */
export interface DeviceDirectories {
  readonly sys: string;
  readonly dev: string;
  readonly proc: string;
  readonly udev: string;
}
export const machineDevices: DeviceDirectories = { sys: '/sys', dev: '/dev', proc: '/proc', udev: '/run/udev' };

function entries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** A file of sysfs in one line; undefined when it is not there or the device does not answer. */
function attribute(path: string): string | undefined {
  try {
    return readFileIfThere(path)?.trim() || undefined;
  } catch {
    return undefined;
  }
}

/** The serial number of a disk: as udev knows it, of NVMe, virtio and SD cards as the driver tells it, of SCSI and ATA from page 0x80 (SPC-4). */
function serialOf(directory: string, number: string, { udev }: DeviceDirectories): string | undefined {
  const short = /^E:ID_SERIAL_SHORT=(.+)$/m.exec(attribute(join(udev, 'data', `b${number}`)) ?? '')?.[1];
  if (short) return short;
  const told = attribute(join(directory, 'device/serial')) ?? attribute(join(directory, 'serial'));
  if (told) return told;
  try {
    const page = readFileSync(join(directory, 'device/vpd_pg80'));
    return (
      page
        .subarray(4, 4 + page.readUInt16BE(2))
        .toString('latin1')
        .trim() || undefined
    );
  } catch {
    return undefined;
  }
}

/** Disks and partitions, by name. */
export function listBlockDevices(where: DeviceDirectories = machineDevices): BlockDevice[] {
  const ids = new Map<string, string[]>();
  for (const id of entries(join(where.dev, 'disk/by-id')).sort()) {
    const name = basename(realpath(join(where.dev, 'disk/by-id', id)) ?? '');
    if (name) ids.set(name, [...(ids.get(name) ?? []), id]);
  }
  const users = new Map<string, string[]>();
  const use = (number: string, by: string): void => void users.set(number, [...(users.get(number) ?? []), by]);
  for (const mount of parseMountInfo(readFileIfThere(join(where.proc, 'self/mountinfo')) ?? ''))
    use(mount.device, mount.target);
  const swaps = (readFileIfThere(join(where.proc, 'swaps')) ?? '').split('\n').map((line) => line.split(/\s/)[0]!);

  const list = join(where.sys, 'class/block');
  return entries(list)
    .sort()
    .flatMap((name): BlockDevice[] => {
      const directory = realpath(join(list, name));
      const number = attribute(join(list, name, 'dev'));
      // Always in sectors of 512 bytes, whatever the device's are.
      const bytes = 512 * Number(attribute(join(list, name, 'size')) ?? 0);
      if (directory === undefined || number === undefined || bytes === 0) return [];
      const partition = attribute(join(directory, 'partition'));
      const disk = partition === undefined ? directory : join(directory, '..');
      const path = join(where.dev, name);
      return [
        {
          name,
          path,
          bytes,
          serial: serialOf(disk, attribute(join(disk, 'dev')) ?? number, where),
          ids: ids.get(name) ?? [],
          partOf: partition === undefined ? undefined : { disk: basename(disk), number: Number(partition) },
          usedBy: [...new Set([...(users.get(number) ?? []), ...(swaps.includes(path) ? ['swap'] : [])])],
        },
      ];
    });
}

/** A path without symbolic links, undefined when it leads nowhere: how `findDevice` follows names below /dev/disk. */
export function realpath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ELOOP') return undefined;
    throw error;
  }
}

/**
 * The path of the device that a name means now: kernel names change from boot to boot, serial numbers do not. AppError NO_DEVICE when there is none, DEVICE
 * when something is mounted from it or swaps to it, or the name means several.
 */
export function devicePath(name: DeviceName): string {
  const devices = listBlockDevices();
  const found = findDevice(name, devices, realpath);
  const users = usersOf(found, devices);
  if (users.length > 0)
    throw new AppError('DEVICE', `${deviceNameText(name)} is in use: ${found.path} is mounted at ${users.join(', ')}`, {
      hint: 'unmount it and take it out of /etc/fstab if its data is not needed, or name another device',
    });
  if (!statSync(found.path, { throwIfNoEntry: false })?.isBlockDevice())
    throw new AppError(
      'NO_DEVICE',
      `${found.path} is known to the kernel but there is no such block device below /dev`,
      {
        hint: 'udev or devtmpfs makes them',
      },
    );
  return found.path;
}
