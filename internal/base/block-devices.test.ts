import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findDevice, usersOf } from './block-devices.ts';
import { type DeviceDirectories, devicePath, listBlockDevices } from './block-devices-system.ts';
import { runCommand } from './command-system.ts';
import { AppError } from './errors.ts';

let root = '';
let where: DeviceDirectories;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'devices-'));
  where = { sys: join(root, 'sys'), dev: join(root, 'dev'), proc: join(root, 'proc'), udev: join(root, 'udev') };
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const file = (path: string, content: string | Uint8Array): void => {
  mkdirSync(join(root, dirname(path)), { recursive: true });
  writeFileSync(join(root, path), content);
};
const link = (path: string, target: string): void => {
  mkdirSync(join(root, dirname(path)), { recursive: true });
  symlinkSync(target, join(root, path));
};
/** A disk or partition as sysfs shows it. */
const device = (place: string, number: string, sectors: number, partition?: number): void => {
  const name = place.split('/').at(-1)!;
  file(`sys/devices/${place}/dev`, `${number}\n`);
  file(`sys/devices/${place}/size`, `${sectors}\n`);
  if (partition !== undefined) file(`sys/devices/${place}/partition`, `${partition}\n`);
  link(`sys/class/block/${name}`, `../../devices/${place}`);
  file(`dev/${name}`, '');
};

/** A Pi: an SD card with the system, a USB disk with two partitions, an NVMe disk, and an empty card reader. */
function machine(): void {
  device('mmcblk0', '179:0', 62_333_952);
  device('mmcblk0/mmcblk0p2', '179:2', 61_000_000, 2);
  file('sys/devices/mmcblk0/device/serial', '0x1234\n');
  device('sda', '8:0', 2_000_000_000);
  device('sda/sda1', '8:1', 1_000_000_000, 1);
  device('sda/sda2', '8:2', 999_000_000, 2);
  // VPD page 0x80: two bytes, the length in two more, the number padded with blanks.
  file('sys/devices/sda/device/vpd_pg80', Buffer.concat([Buffer.from([0, 0x80, 0, 10]), Buffer.from('  S3Z9NB0K')]));
  device('nvme0n1', '259:0', 500_000_000);
  file('udev/data/b259:0', 'S:disk/by-id/x\nE:ID_SERIAL=Long_name\nE:ID_SERIAL_SHORT=NV77\n');
  device('sdb', '8:16', 0);
  link('dev/disk/by-id/usb-Disk_S3Z9NB0K-0:0-part2', '../../sda2');
  file('proc/self/mountinfo', '1 0 179:2 / / rw - ext4 /dev/root rw\n2 1 8:1 / /mnt/films rw - ext4 /dev/sda1 rw\n');
  file('proc/swaps', `Filename Type Size Used Priority\n${join(root, 'dev/nvme0n1')} partition 1 0 -2\n`);
}

const find = (name: Parameters<typeof findDevice>[0]) => {
  const links: Record<string, string> = { '/dev/disk/by-id/usb-Disk_S3Z9NB0K-0:0-part2': join(where.dev, 'sda2') };
  return findDevice(
    name,
    listBlockDevices(where),
    (path) => links[path] ?? (path.startsWith(where.dev) ? path : undefined),
  );
};
const refusal = (name: Parameters<typeof findDevice>[0]): string => {
  try {
    find(name);
  } catch (error) {
    if (error instanceof AppError) return `${error.message}: ${error.hint?.replaceAll(`${root}/`, '/')}`;
    throw error;
  }
  throw new Error('was found');
};

describe('block devices', () => {
  test('disks and partitions with size, serial number, names and users', () => {
    machine();
    const list = listBlockDevices(where);
    expect(list.map(({ name, serial, partOf, usedBy }) => ({ name, serial, partOf, usedBy }))).toEqual([
      { name: 'mmcblk0', serial: '0x1234', partOf: undefined, usedBy: [] },
      { name: 'mmcblk0p2', serial: '0x1234', partOf: { disk: 'mmcblk0', number: 2 }, usedBy: ['/'] },
      { name: 'nvme0n1', serial: 'NV77', partOf: undefined, usedBy: ['swap'] },
      { name: 'sda', serial: 'S3Z9NB0K', partOf: undefined, usedBy: [] },
      { name: 'sda1', serial: 'S3Z9NB0K', partOf: { disk: 'sda', number: 1 }, usedBy: ['/mnt/films'] },
      { name: 'sda2', serial: 'S3Z9NB0K', partOf: { disk: 'sda', number: 2 }, usedBy: [] },
    ]);
    expect(list.find(({ name }) => name === 'sda2')).toMatchObject({
      bytes: 511_488_000_000,
      ids: ['usb-Disk_S3Z9NB0K-0:0-part2'],
    });
  });

  test('found by path, by-id name, serial number, and a partition of one', () => {
    machine();
    expect(find({ device: join(where.dev, 'sda2') }).name).toBe('sda2');
    expect(find({ device: 'usb-Disk_S3Z9NB0K-0:0-part2' }).name).toBe('sda2');
    expect(find({ serial: 'NV77' }).name).toBe('nvme0n1');
    expect(find({ serial: 'S3Z9NB0K', partition: 2 }).name).toBe('sda2');
  });

  test('a disk is used by what uses its partitions', () => {
    machine();
    const list = listBlockDevices(where);
    const users = (name: string) => usersOf(list.find((one) => one.name === name)!, list);
    expect(users('sda').map((user) => user.replace(`${root}/`, '/'))).toEqual(['/mnt/films (/dev/sda1)']);
    expect(users('sda2')).toEqual([]);
  });

  test('what is not there is refused with what is free', () => {
    machine();
    const free = 'free are /dev/sda2 (511 GB, serial S3Z9NB0K, usb-Disk_S3Z9NB0K-0:0-part2)';
    expect(refusal({ device: '/dev/sdz' })).toBe(`/dev/sdz does not exist: ${free}`);
    expect(refusal({ device: 'ata-none' })).toBe(`/dev/disk/by-id/ata-none does not exist: ${free}`);
    expect(refusal({ serial: 'none' })).toBe(`no disk has the serial number none: ${free}`);
    expect(refusal({ serial: 'NV77', partition: 3 })).toContain('has no partition 3');
  });

  test('two disks of one serial number are told apart by nobody', () => {
    machine();
    device('sdc', '8:32', 1000);
    file('sys/devices/sdc/device/serial', 'NV77');
    expect(refusal({ serial: 'NV77' })).toContain('2 disks have the serial number NV77');
  });

  test('a machine without any', () => {
    expect(listBlockDevices(where)).toEqual([]);
    expect(refusal({ serial: 'x' })).toContain('no disk or partition of this machine is free');
  });
});

describe.skipIf(process.getuid?.() !== 0)('a real device (as root)', () => {
  test('found by its path and by a link to it; refused while it is mounted', async () => {
    file('image', '');
    truncateSync(join(root, 'image'), 64 << 20);
    const device = (await runCommand(['losetup', '--find', '--show', join(root, 'image')])).stdout.trim();
    const target = join(root, 'mounted');
    mkdirSync(target);
    try {
      link('by-serial', device);
      expect(devicePath({ device })).toBe(device);
      expect(devicePath({ device: join(root, 'by-serial') })).toBe(device);
      expect(listBlockDevices().find((one) => one.path === device)).toMatchObject({ bytes: 64 << 20, usedBy: [] });
      await runCommand(['mkfs.ext4', '-q', '-L', 'films', device]);
      await runCommand(['mount', device, target]);
      try {
        expect(() => devicePath({ device })).toThrow(`${device} is in use: ${device} is mounted at ${target}`);
      } finally {
        await runCommand(['umount', target]);
      }
      expect(devicePath({ device })).toBe(device);
    } finally {
      await runCommand(['losetup', '--detach', device]);
    }
  });
});
