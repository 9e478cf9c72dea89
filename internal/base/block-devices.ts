import { AppError } from './errors.ts';

/** A disk or partition of this machine. */
export interface BlockDevice {
  /** `sda1`. */
  readonly name: string;
  /** `/dev/sda1`. */
  readonly path: string;
  readonly bytes: number;
  /** Of the disk; its partitions have it too. */
  readonly serial: string | undefined;
  /** Names in /dev/disk/by-id. */
  readonly ids: readonly string[];
  /** Of a partition: the name of its disk and its number. */
  readonly partOf: { readonly disk: string; readonly number: number } | undefined;
  /** Where it is mounted, `swap` when it is swapped to. */
  readonly usedBy: readonly string[];
}

/** How a device is named: by a path below /dev or a name in /dev/disk/by-id, or by serial number. */
export type DeviceName =
  | { readonly device: string }
  | { readonly serial: string; readonly partition?: number | undefined };

export function deviceNameText(name: DeviceName): string {
  if ('device' in name) return name.device;
  return `serial ${name.serial}${name.partition === undefined ? '' : `, partition ${name.partition}`}`;
}

function sizeText(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(bytes < 1e10 ? 1 : 0)} GB` : `${(bytes / 1e6).toFixed(0)} MB`;
}

/** What could have been meant: disks and partitions that nothing uses. */
function candidates(devices: readonly BlockDevice[]): string {
  const free = devices.filter((one) => !/^(loop|ram|zram|sr|fd)/.test(one.name) && usersOf(one, devices).length === 0);
  if (free.length === 0) return 'no disk or partition of this machine is free';
  const line = (one: BlockDevice): string =>
    `${one.path} (${sizeText(one.bytes)}${one.serial === undefined ? '' : `, serial ${one.serial}`}${one.ids[0] === undefined ? '' : `, ${one.ids[0]}`})`;
  return `free are ${free.slice(0, 12).map(line).join(', ')}${free.length > 12 ? ` and ${free.length - 12} more` : ''}`;
}

/** What uses a device: of a disk also what uses its partitions. */
export function usersOf(device: BlockDevice, devices: readonly BlockDevice[]): string[] {
  return devices
    .filter((one) => one === device || one.partOf?.disk === device.name)
    .flatMap((one) => one.usedBy.map((by) => (one === device ? by : `${by} (${one.path})`)));
}

/**
 * The device that a name means. `resolve` gives the path without symbolic links, undefined when there is none.
 * AppError NO_DEVICE when there is none, with the devices that are free; DEVICE when there is more than one.
 */
export function findDevice(
  name: DeviceName,
  devices: readonly BlockDevice[],
  resolve: (path: string) => string | undefined,
): BlockDevice {
  const missing = (what: string): AppError => new AppError('NO_DEVICE', what, { hint: candidates(devices) });
  if ('device' in name) {
    const path = name.device.startsWith('/') ? name.device : `/dev/disk/by-id/${name.device}`;
    const real = resolve(path);
    const found = devices.find((one) => one.path === real);
    if (found) return found;
    throw missing(real === undefined ? `${path} does not exist` : `${path} is not a disk or partition`);
  }
  const disks = devices.filter((one) => one.serial === name.serial && one.partOf === undefined);
  if (disks.length === 0) throw missing(`no disk has the serial number ${name.serial}`);
  if (disks.length > 1)
    throw new AppError(
      'DEVICE',
      `${disks.length} disks have the serial number ${name.serial}: ${disks.map((disk) => disk.path).join(', ')}`,
      { hint: 'name the disk by a name in /dev/disk/by-id' },
    );
  const disk = disks[0]!;
  if (name.partition === undefined) return disk;
  const part = devices.find((one) => one.partOf?.disk === disk.name && one.partOf.number === name.partition);
  if (part) return part;
  throw missing(`${disk.path}, serial ${name.serial}, has no partition ${name.partition}`);
}
