import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemDisk } from '../../base/disk-system.ts';
import { seededRandom } from '../../base/random.ts';
import { systemLogger } from '../../base/system.ts';
import { readLabel, writeLabel } from '../blockstore/label.ts';
import {
  fileSystemUuid,
  type FoundFileSystem,
  identityText,
  parseIdentity,
  whyForeignFileSystem,
} from './disk-owner.ts';
import { holdsFileSystemOf, holdsStoreOf, osdOn, readFileSystem } from './disk-owner-system.ts';
import { prepareDisk } from './disk-system.ts';

const ownFsid = '3b1f0e3c-9a5c-4a53-8d4e-0c4e1f1c9d11';
const otherFsid = '77777777-9a5c-4a53-8d4e-0c4e1f1c9d11';
const uuid = '11111111-2222-4333-8444-555555555555';
const own = { osd: 3, fsid: ownFsid };

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'owner-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('whose a file system is', () => {
  const found: FoundFileSystem = {
    label: 'osd.3',
    uuid,
    needsRecovery: false,
    identity: identityText({ osd: 3, fsid: ownFsid, uuid }),
  };
  const made = { ...found, identity: undefined, uuid: fileSystemUuid(3, ownFsid) };
  test.each([
    ['its label names the OSD and the cluster', found, own, undefined],
    ['made for it, not labelled yet', made, own, undefined],
    [
      'the same OSD of another cluster',
      found,
      { osd: 3, fsid: otherFsid },
      `holds the store of 'osd.3 of cluster ${ownFsid}, store ${uuid}', not of osd.3 of cluster ${otherFsid}`,
    ],
    ['another OSD of the cluster', found, { ...own, osd: 4 }, 'not of osd.4 of cluster'],
    ['made for another cluster, not labelled yet', made, { osd: 3, fsid: otherFsid }, 'does not say of which cluster'],
    ['no store that can be read', { ...found, identity: undefined }, own, 'does not say of which cluster'],
    [
      'what it says counts, not what it was made for',
      { ...made, identity: 'osd.3 of cluster x, store y' },
      own,
      'of cluster x',
    ],
    ['a node without a cluster', found, { osd: 3, fsid: undefined }, 'which has no storage cluster yet'],
    ["somebody's files", { ...found, label: 'films', identity: undefined }, own, "a file system labelled 'films'"],
  ])('%s', (_case, file, of, reason) => {
    const error = whyForeignFileSystem('/dev/sda', file, of);
    if (reason === undefined) return expect(error).toBeUndefined();
    expect(error).toMatchObject({ code: 'FOREIGN_DISK', message: expect.stringContaining(reason) });
    expect(error?.hint).toContain('wipe');
  });

  test('one that was not unmounted tells how its journal is brought in', () => {
    const unclean = { ...found, identity: undefined, needsRecovery: true };
    expect(whyForeignFileSystem('/dev/sda', unclean, own)?.hint).toContain('e2fsck -p /dev/sda');
  });

  test('identities are read as they are written', () => {
    const identity = { osd: 12, fsid: ownFsid, uuid };
    expect(parseIdentity(identityText(identity))).toEqual(identity);
    expect(parseIdentity('osd.x of cluster y')).toBeUndefined();
  });

  test('the UUID of a file system is one of RFC 9562, and another for each OSD and cluster', () => {
    const all = [fileSystemUuid(3, ownFsid), fileSystemUuid(4, ownFsid), fileSystemUuid(3, otherFsid)];
    for (const one of all) expect(one).toMatch(/^[\da-f]{8}-[\da-f]{4}-8[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
    expect(new Set(all).size).toBe(3);
    expect(fileSystemUuid(3, ownFsid)).toBe(all[0]!);
  });
});

const tools = Bun.which('mkfs.ext4') !== null && Bun.which('debugfs') !== null;

describe.runIf(tools)('disks with a file system (needs e2fsprogs)', () => {
  const run = (...argv: string[]): void => {
    const ran = Bun.spawnSync(argv, { stderr: 'pipe' });
    if (ran.exitCode !== 0) throw new Error(`${argv.join(' ')}: ${ran.stderr.toString()}`);
  };
  /** A file system labelled osd.3, with the store of a cluster in it. */
  const disk = async (fsid?: string, label = 'osd.3'): Promise<string> => {
    const file = join(directory, 'osd.img');
    writeFileSync(file, '');
    truncateSync(file, 16 << 20);
    run('mkfs.ext4', '-q', '-F', '-L', label, file);
    if (fsid === undefined) return file;
    const identity = identityText({ osd: 3, fsid, uuid });
    await writeLabel(systemDisk, directory, { identity, capacityBytes: 1 << 20, created: 0 });
    run('debugfs', '-w', '-R', `write ${join(directory, 'label')} label`, file);
    return file;
  };
  const start = (file: string, mountDir = join(directory, 'mount')) =>
    prepareDisk(
      { id: 3, file, size: 16 << 20 },
      {
        mountDir,
        identityDir: join(directory, 'identity'),
        fsid: ownFsid,
        random: seededRandom(1),
        log: systemLogger({ value: 'error' }),
      },
    );

  test("another cluster's disk of the same id is refused at the start, says whose it is, and no byte of it changes", async () => {
    const file = await disk(otherFsid);
    const before = readFileSync(file);
    await expect(start(file)).rejects.toMatchObject({
      code: 'FOREIGN_DISK',
      message: `${file} holds the store of 'osd.3 of cluster ${otherFsid}, store ${uuid}', not of osd.3 of cluster ${ownFsid}`,
    });
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(await osdOn(file)).toMatchObject({ osd: 3, fsid: otherFsid });
  });

  test('one that carries the label of an OSD and no store is not taken', async () => {
    const file = await disk();
    await expect(start(file)).rejects.toMatchObject({ code: 'FOREIGN_DISK' });
    expect(await osdOn(file)).toEqual({ osd: 3, fsid: undefined });
  });

  test("the node's own is known by its store, also when it was made by a version that gave no UUID", async () => {
    expect(await holdsFileSystemOf(await disk(ownFsid), own)).toBe(true);
  });

  test('a damaged label is none', async () => {
    const file = await disk();
    writeFileSync(join(directory, 'damaged'), '{"identity":"osd.3 of cluster x, store y"}\nabc\n');
    run('debugfs', '-w', '-R', `write ${join(directory, 'damaged')} label`, file);
    expect((await readFileSystem(file))?.identity).toBeUndefined();
  });

  test.runIf(process.getuid?.() === 0)('a new one is known as its own before it has a store (as root)', async () => {
    const file = join(directory, 'new/osd.img');
    // Nothing can be mounted below a file: the start ends when the file system has just been made.
    writeFileSync(join(directory, 'in-the-way'), '');
    await expect(start(file, join(directory, 'in-the-way/mount'))).rejects.toMatchObject({ code: 'ENOTDIR' });
    expect(statSync(file).size).toBe(16 << 20);
    expect(await holdsFileSystemOf(file, own)).toBe(true);
    await expect(holdsFileSystemOf(file, { ...own, fsid: otherFsid })).rejects.toMatchObject({ code: 'FOREIGN_DISK' });
  });
});

test('the store in a directory: nobody’s, its own, another cluster’s, a damaged one', async () => {
  expect(await holdsStoreOf(directory, own)).toBe(false);
  const label = (fsid: string) =>
    writeLabel(systemDisk, directory, { identity: identityText({ osd: 3, fsid, uuid }), capacityBytes: 1, created: 0 });
  await label(ownFsid);
  expect(await holdsStoreOf(directory, own)).toBe(true);
  await label(otherFsid);
  await expect(holdsStoreOf(directory, own)).rejects.toMatchObject({
    code: 'FOREIGN_DISK',
    message: expect.stringContaining(otherFsid),
  });
  writeFileSync(join(directory, 'label'), 'x');
  await expect(holdsStoreOf(directory, own)).rejects.toMatchObject({ code: 'LABEL' });
  await expect(readLabel(systemDisk, directory)).rejects.toMatchObject({ code: 'LABEL' });
});
