import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { diskFacts } from './disk-facts-system.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'disk-facts-'));
});
afterEach(() => {
  rmSync(root, { recursive: true });
});

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

/** A device as sysfs shows it. `of`: the disk that it is a partition of. */
function device(name: string, number: string, more: Record<string, string> = {}, of?: string): void {
  const own = `sys/devices/${of === undefined ? name : `${of}/${name}`}`;
  for (const [file, text] of Object.entries({ dev: number, size: '2048', ...more })) put(`${own}/${file}`, `${text}\n`);
  mkdirSync(join(root, 'sys/class/block'), { recursive: true });
  symlinkSync(join(root, own), join(root, 'sys/class/block', name));
}

const facts = (numbers: Record<string, string>): Record<string, string> =>
  diskFacts(
    '/store',
    4096,
    { sys: join(root, 'sys'), dev: join(root, 'dev'), proc: join(root, 'proc'), udev: join(root, 'udev') },
    (path) => numbers[path],
  );

describe('what an OSD tells of its disk', () => {
  test('a partition of an ATA disk: its disk, with model and serial number', () => {
    device('sda', '8:0', {
      ...{ 'device/vendor': 'ATA', 'device/model': 'ACME Disk 4T', 'device/serial': 'S12 3' },
      'queue/rotational': '1',
    });
    device('sda2', '8:2', { partition: '2' }, 'sda');
    put('dev/sda', '');
    mkdirSync(join(root, 'dev/disk/by-path'), { recursive: true });
    symlinkSync(join(root, 'dev/sda'), join(root, 'dev/disk/by-path/pci-0000:00:1f.2-ata-1'));
    expect(facts({ '/store': '8:2' })).toEqual({
      bluestore_bdev_dev_node: join(root, 'dev/sda'),
      bluestore_bdev_devices: 'sda',
      bluestore_bdev_path: '/store',
      bluestore_bdev_rotational: '1',
      bluestore_bdev_size: '4096',
      bluestore_bdev_type: 'hdd',
      devices: 'sda',
      device_ids: 'sda=ACME_Disk_4T_S12_3',
      device_paths: `sda=${join(root, 'dev/disk/by-path/pci-0000:00:1f.2-ata-1')}`,
      rotational: '1',
    });
  });

  test('a loop device on a volume on two disks: both disks', () => {
    device('nvme0n1', '259:0', { 'device/model': 'Fast', 'device/serial': 'A1', 'queue/rotational': '0' });
    device('vdb', '253:16', { serial: 'vol-7', 'device/vendor': '0x1af4', 'queue/rotational': '0' });
    device('dm-0', '252:0');
    mkdirSync(join(root, 'sys/devices/dm-0/slaves/nvme0n1'), { recursive: true });
    mkdirSync(join(root, 'sys/devices/dm-0/slaves/vdb'), { recursive: true });
    device('loop3', '7:3', { 'loop/backing_file': '/var/osd.img' });
    const found = facts({ '/store': '7:3', '/var/osd.img': '252:0' });
    expect([found.devices, found.device_ids, found.bluestore_bdev_dev_node, found.rotational]).toEqual([
      'nvme0n1,vdb',
      'nvme0n1=Fast_A1,vdb=vol-7',
      '',
      '0',
    ]);
  });

  test('a file system of no device, and a disk without a serial number: no ids', () => {
    device('vda', '253:0', { 'queue/rotational': '1' });
    expect(facts({ '/store': '253:0' })).toMatchObject({ devices: 'vda', device_ids: '' });
    expect(facts({ '/store': '0:42' })).toMatchObject({ devices: '', device_ids: '', bluestore_bdev_dev_node: '' });
  });

  test('a loop device whose file is on itself ends', () => {
    device('loop0', '7:0', { 'loop/backing_file': '/var/osd.img' });
    expect(facts({ '/store': '7:0', '/var/osd.img': '7:0' }).devices).toBe('');
  });
});
