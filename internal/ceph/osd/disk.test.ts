import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { systemLogger } from '../../base/system.ts';
import type { OsdConfig } from '../../config/config.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { writeLabel } from '../blockstore/label.ts';
import { noteStoreMade, type PreparedDisk, prepareDisk } from './disk-system.ts';
import { whyNoNewStore, whyNotTaken } from './store-made.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'disk-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('disks of OSDs', () => {
  test('a file with anything in its first 4 MiB is refused and left as it is', async () => {
    const file = join(directory, 'osd.img');
    writeFileSync(file, '');
    truncateSync(file, 16 << 20);
    const fd = openSync(file, 'r+');
    writeSync(fd, 'somebody else', 1 << 20);
    closeSync(fd);
    const before = readFileSync(file);
    const prepared = prepareDisk(
      { id: 0, file, size: 16 << 20 },
      {
        mountDir: join(directory, 'mount'),
        identityDir: join(directory, 'identity'),
        fsid: 'f',
        random: seededRandom(1),
        log: systemLogger({ value: 'error' }),
      },
    );
    await expect(prepared).rejects.toMatchObject({ code: 'FOREIGN_DISK' });
    expect(readFileSync(file).equals(before)).toBe(true);
  });
});

describe('an OSD whose store was made before, on a node that joined', () => {
  const known = '11111111-2222-4333-8444-555555555555';
  const other = '99999999-2222-4333-8444-555555555555';
  const prepare = (config: OsdConfig): Promise<PreparedDisk> =>
    prepareDisk(config, {
      mountDir: join(directory, 'mount'),
      identityDir: join(directory, 'identity'),
      fsid: 'f',
      random: seededRandom(1),
      log: systemLogger({ value: 'error' }),
    });
  const onDirectory = (uuid?: string): OsdConfig => ({
    id: 3,
    directory: join(directory, 'usb/osd'),
    ...(uuid === undefined ? {} : { uuid }),
  });
  const label = (prepared: PreparedDisk): Promise<void> =>
    writeLabel(systemDisk, prepared.dir, { identity: prepared.identity, capacityBytes: 1 << 20, created: 0 });
  const note = (prepared: PreparedDisk, uuid = known): void =>
    noteStoreMade(onDirectory(uuid), prepared, join(directory, 'identity'));
  const firstLife = async (): Promise<void> => {
    const prepared = await prepare(onDirectory(known));
    await label(prepared);
    note(prepared);
  };
  const refused = { code: 'DISK', hint: expect.stringContaining('ceph osd purge 3') };

  test('its stick is not mounted: neither file nor directory is made in its place', async () => {
    await firstLife();
    rmSync(join(directory, 'usb'), { recursive: true });
    const file = join(directory, 'usb/osd.img');
    await expect(prepare({ id: 3, uuid: known, file, size: 16 << 20 })).rejects.toMatchObject(refused);
    await expect(prepare(onDirectory(known))).rejects.toMatchObject(refused);
    expect(existsSync(join(directory, 'usb'))).toBe(false);
  });

  test('its file is blank: it gets no file system', async () => {
    await firstLife();
    const file = join(directory, 'osd.img');
    writeFileSync(file, '');
    truncateSync(file, 16 << 20);
    await expect(prepare({ id: 3, uuid: known, file, size: 16 << 20 })).rejects.toMatchObject(refused);
    expect(readFileSync(file).equals(Buffer.alloc(16 << 20))).toBe(true);
  });

  test('its directory is the empty mount point: no store is made; when the disk is back it is the same store', async () => {
    await firstLife();
    const place = join(directory, 'usb/osd');
    const away = join(directory, 'away');
    renameSync(place, away);
    mkdirSync(place);
    await expect(prepare(onDirectory(known))).rejects.toMatchObject(refused);
    expect(readdirSync(place)).toEqual([]);
    rmSync(place, { recursive: true });
    renameSync(away, place);
    expect((await prepare(onDirectory(known))).uuid).toBe(known);
  });

  test('a crash before the label, and one between the label and the note, do not keep the first start from ending', async () => {
    await prepare(onDirectory(known));
    const prepared = await prepare(onDirectory(known));
    await label(prepared);
    const again = await prepare(onDirectory(known));
    expect(again).toEqual(prepared);
    note(again);
    expect(await prepare(onDirectory(known))).toEqual(prepared);
  });

  test('another store on its place does not count as its own; after a purge the new uuid may start blank', async () => {
    await label(await prepare(onDirectory(other)));
    const found = await prepare(onDirectory(known));
    expect(found.uuid).toBe(other);
    note(found);
    rmSync(join(directory, 'usb'), { recursive: true });
    await firstLife();
    rmSync(join(directory, 'usb'), { recursive: true });
    await expect(prepare(onDirectory(known))).rejects.toMatchObject(refused);
    expect((await prepare(onDirectory(other))).uuid).toBe(other);
  });

  test('on a node with a mon a place that is blank again gets a store with another uuid, which the mon refuses', async () => {
    const first = await prepare(onDirectory());
    await label(first);
    noteStoreMade(onDirectory(), first, join(directory, 'identity'));
    expect(existsSync(join(directory, 'identity'))).toBe(false);
    rmSync(join(directory, 'usb'), { recursive: true });
    const second = await prepareDisk(onDirectory(), {
      mountDir: join(directory, 'mount'),
      identityDir: join(directory, 'identity'),
      fsid: 'f',
      random: seededRandom(2),
      log: systemLogger({ value: 'error' }),
    });
    expect(second.uuid).not.toBe(first.uuid);
  });
});

test('an OSD whose place in the cluster is another store says so, and the way out', () => {
  const own = { id: 3, uuid: '00000000-0000-4000-8000-000000000003' };
  expect(whyNotTaken(own, undefined)).toBeUndefined();
  expect(whyNotTaken(own, own.uuid)).toBeUndefined();
  const text = whyNotTaken(own, '00000000-0000-4000-8000-0000000000ff');
  for (const part of ['knows osd.3 by another store', own.uuid, '0000000000ff', 'ceph osd purge 3', 'appliance reload'])
    expect(text).toContain(part);
});

describe('whether an OSD may get a new store', () => {
  const of = { osd: 3, place: '/mnt/usb/osd.img', idsFile: '/data/identity/osds.json' };
  test.each([
    ['missing', false, undefined],
    ['blank', false, undefined],
    ['unlabelled', false, undefined],
    ['store', false, undefined],
    ['store', true, undefined],
    ['missing', true, 'osd.3 has its store on /mnt/usb/osd.img, which is not there'],
    ['blank', true, 'osd.3 has its store on /mnt/usb/osd.img, which is blank'],
    ['unlabelled', true, 'osd.3 has its store on /mnt/usb/osd.img, which holds no store'],
  ] as const)('found: %s, made before: %s', (found, made, message) => {
    const error = whyNoNewStore(found, { ...of, made });
    expect(error?.message).toBe(message);
    if (message === undefined) return;
    for (const part of ['ceph osd purge 3', of.place, of.idsFile]) expect(error?.hint).toContain(part);
  });
});
