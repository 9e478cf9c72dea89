import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { runCommand } from '../base/command-system.ts';
import { seededRandom } from '../base/random.ts';
import { systemLogger } from '../base/system.ts';
import { fileSystemUuid } from '../ceph/osd/disk-owner.ts';
import { prepareDisk } from '../ceph/osd/disk-system.ts';
import { type OsdConfig, unallocatedOsd } from '../config/config.ts';
import { checkOsdDevices } from './osd-devices-system.ts';

const fsid = '3b1f0e3c-9a5c-4a53-8d4e-0c4e1f1c9d11';
const otherFsid = '77777777-9a5c-4a53-8d4e-0c4e1f1c9d11';
const gone: OsdConfig = { id: 1, serial: 'none-has-this' };
let warnings: string[] = [];
const log = { warn: (message: string, fields?: object) => void warnings.push(`${message} ${JSON.stringify(fields)}`) };
beforeEach(() => {
  warnings = [];
});
const check = (osds: readonly OsdConfig[], known: readonly number[], own: string | undefined = fsid) =>
  checkOsdDevices(osds, { fsid: own, known: (osd) => known.includes(osd), log });

describe('devices of OSDs before the node starts', () => {
  test('a disk that a new OSD would get must be there: at the first start, in an added entry, and without an id', async () => {
    const refusal = {
      code: 'PREFLIGHT',
      message: 'osd.1 (serial none-has-this): no disk has the serial number none-has-this',
    };
    await expect(checkOsdDevices([gone], { fsid: undefined, known: () => true, log })).rejects.toMatchObject(refusal);
    await expect(check([gone], [0])).rejects.toMatchObject(refusal);
    await expect(check([{ ...gone, id: unallocatedOsd }], [unallocatedOsd])).rejects.toMatchObject({
      code: 'PREFLIGHT',
    });
    expect(warnings).toEqual([]);
  });

  test('the OSD itself says that its disk is not there, and what to do', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'osd-devices-'));
    try {
      const prepared = prepareDisk(gone, {
        mountDir: join(directory, 'mount'),
        identityDir: join(directory, 'identity'),
        fsid,
        random: seededRandom(1),
        log: systemLogger({ value: 'error' }),
      });
      await expect(prepared).rejects.toMatchObject({
        code: 'DISK',
        message: 'the disk of osd.1 is not there',
        hint: expect.stringContaining('starts by itself'),
      });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

const able = process.getuid?.() === 0 && Bun.which('mkfs.ext4') !== null && Bun.which('debugfs') !== null;
describe.runIf(able)('with a disk (as root, needs e2fsprogs)', () => {
  let directory = '';
  let device = '';
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'osd-devices-'));
    const image = join(directory, 'image');
    writeFileSync(image, '');
    truncateSync(image, 16 << 20);
    await runCommand(['mkfs.ext4', '-q', '-F', '-L', 'osd.0', '-U', fileSystemUuid(0, fsid), image]);
    device = (await runCommand(['losetup', '--find', '--show', image])).stdout.trim();
  });
  afterAll(async () => {
    if (device !== '') await runCommand(['losetup', '--detach', device]);
    rmSync(directory, { recursive: true, force: true });
  });

  test('one disk is there and one is gone: the node starts, and what is gone is told', async () => {
    await check([{ id: 0, device }, gone], [0, 1]);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('osd.1 (serial none-has-this)');
    expect(warnings[0]).toContain('no disk has the serial number');
  });

  test("another cluster's disk in its place keeps only its OSD from starting, and no byte of it changes", async () => {
    const before = readFileSync(device);
    await check([{ id: 0, device }], [0], otherFsid);
    expect(warnings[0]).toContain(`does not say of which cluster`);
    await expect(check([{ id: 0, device }], [], otherFsid)).rejects.toMatchObject({ code: 'PREFLIGHT' });
    const own = { mountDir: join(directory, 'mount'), identityDir: directory, fsid: otherFsid };
    const started = prepareDisk(
      { id: 0, device },
      { ...own, random: seededRandom(1), log: systemLogger({ value: 'error' }) },
    );
    await expect(started).rejects.toMatchObject({ code: 'FOREIGN_DISK' });
    expect(readFileSync(device).equals(before)).toBe(true);
  });
});
