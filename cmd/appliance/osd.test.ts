import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { attachLoop } from '../../internal/base/loop-system.ts';
import { systemClock } from '../../internal/base/system.ts';
import { openBlockStore } from '../../internal/ceph/blockstore/blockstore.ts';
import { openSqliteIndex } from '../../internal/ceph/blockstore/index-sqlite-shell.ts';
import { fileSystemUuid, identityText } from '../../internal/ceph/osd/disk-owner.ts';
import { type Answer, runSource } from './source.testing.ts';
import { PgMeta } from '../../internal/ceph/osd/pg-meta.ts';

/** `appliance osd` on real files and loop devices, from the source. */

const fsid = '3b1f0e3c-9a5c-4a53-8d4e-0c4e1f1c9d11';
const otherFsid = '77777777-9a5c-4a53-8d4e-0c4e1f1c9d11';
const usable = process.getuid?.() === 0 && existsSync('/dev/loop-control') && Bun.which('mkfs.ext4') !== null;

/** Each call starts the program anew. */
const slow = 180_000;

let directory = '';
let loop: ReturnType<typeof attachLoop> | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'osd-'));
  mkdirSync(join(directory, 'data/ceph'), { recursive: true });
  writeFileSync(join(directory, 'data/ceph/ceph.conf'), `[global]\nfsid = ${fsid}\n`);
  configure('');
});
afterEach(() => {
  loop?.hold.close();
  loop = undefined;
  rmSync(directory, { recursive: true, force: true });
});

function configure(osds: string): void {
  writeFileSync(
    join(directory, 'appliance.yaml'),
    `dataDir: ${directory}/data\nrunDir: ${directory}/run\nstorage: {osd: [${osds || `{id: 0, file: ${directory}/none.img, size: 1Gi}`}]}\n`,
  );
}

const osd = (...argv: string[]): Promise<Answer> =>
  runSource(['-c', join(directory, 'appliance.yaml'), 'osd', ...argv]);
const json = async (...argv: string[]): Promise<unknown> => JSON.parse((await osd(...argv, '-o', 'json')).out);

/** The first block of a BlueStore (`bluestore_bdev_label_t`). */
function blueStoreLabel(osd: number): Buffer {
  const text = (value: string): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(value.length);
    return Buffer.concat([length, Buffer.from(value, 'latin1')]);
  };
  const head = Buffer.from('bluestore block device\n11111111-2222-4333-8444-555555555555\n\x02\x01', 'latin1');
  return Buffer.concat([head, ...['ceph_fsid', fsid, 'whoami', String(osd)].map(text), Buffer.alloc(4096)]);
}

describe('with the engine ceph', () => {
  const file = (): string => join(directory, 'osd.0.img');
  beforeEach(() => {
    writeFileSync(
      join(directory, 'appliance.yaml'),
      `dataDir: ${directory}/data\nrunDir: ${directory}/run\nstorage: {engine: ceph, osd: [{id: 0, file: ${file()}, size: 1Gi}]}\n`,
    );
    writeFileSync(file(), blueStoreLabel(0));
    truncateSync(file(), 8 << 20);
  });

  test.runIf(usable)(
    'what is for our store is refused, and what does it there is told',
    { timeout: slow },
    async () => {
      for (const [argv, way] of [
        [['list', 'osd.0'], `ceph-objectstore-tool --data-path ${directory}/data/instances/osd.0 --op list-pgs`],
        [['fsck', 'osd.0'], `ceph-bluestore-tool fsck --path ${directory}/data/instances/osd.0`],
        [['repair', file()], `ceph-bluestore-tool repair --path ${directory}/data/instances/osd.N`],
        [['export', 'osd.0', '1.0', '/nowhere'], '--op export --pgid PG --file FILE'],
        [['adopt', file()], 'storage.osd names it by its id'],
        [['prepare', file(), '--id', '3'], 'a blank disk needs no preparing'],
      ] as const) {
        const { code, err } = await osd(...argv);
        expect(code, err).not.toBe(0);
        expect(err).toContain(`osd ${argv[0]} is for the embedded engine; OSDs of this node are ceph-osd's`);
        expect(err).toContain(way);
      }
    },
  );

  test.runIf(usable)(
    'list tells whose a BlueStore is; wipe makes it blank, unless its OSD has it',
    { timeout: slow },
    async () => {
      const listed = async () =>
        ((await json('list')) as { disk: string; state: string }[]).find(({ disk }) => disk === file());
      expect(await listed()).toMatchObject({ osd: 0, cluster: fsid, state: 'stopped' });
      const holder = Bun.spawn(['flock', '--no-fork', file(), 'sh', '-c', 'echo held; exec sleep 60'], {
        stdout: 'pipe',
      });
      await holder.stdout.getReader().read();
      expect(await listed()).toMatchObject({ osd: 0, state: 'running' });
      expect((await osd('wipe', file(), '--yes')).err).toContain('is in use: an OSD runs on it');
      holder.kill();
      await holder.exited;
      expect((await osd('wipe', file())).err).toContain(
        `holds osd.0 of Ceph cluster ${fsid} (BlueStore): all of it would be lost`,
      );
      const wiped = await osd('wipe', file(), '--yes');
      expect(wiped.out + wiped.err).toContain('is blank; it held osd.0');
      expect(await listed()).toMatchObject({ state: 'blank' });
    },
  );
});

/** A directory with the store of osd.`id`, and a PG in it. */
async function storeDirectory(id: number, cluster = fsid): Promise<string> {
  const dir = join(directory, `store-${id}`);
  const identity = identityText({ osd: id, fsid: cluster, uuid: '11111111-2222-4333-8444-555555555555' });
  const store = await openBlockStore({
    disk: systemDisk,
    dir,
    clock: systemClock,
    log: silentLogger,
    openIndex: openSqliteIndex,
    capacityBytes: 16 << 20,
    hostReserveBytes: 0,
    journalSegmentBytes: 1 << 20,
    identity,
  });
  await store.queue({ ops: new PgMeta({ pool: 1, seed: 0x1f }).createOps() });
  await store.close();
  return dir;
}

/** The same in a file with a file system. */
async function storeFile(id: number, cluster = fsid): Promise<string> {
  const file = join(directory, `osd.${id}.img`);
  writeFileSync(file, '');
  truncateSync(file, 48 << 20);
  const dir = await storeDirectory(id, cluster);
  const names = ['-L', `osd.${id}`, '-U', fileSystemUuid(id, cluster)];
  expect(Bun.spawnSync(['mkfs.ext4', '-q', '-F', ...names, '-d', dir, file]).exitCode).toBe(0);
  return file;
}

const mountsOfTest = (): string =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes('appliance-osd-'))
    .join('\n');

describe.runIf(usable)('appliance osd (as root, needs loop devices and e2fsprogs)', () => {
  test(
    'a blank file is prepared once for one OSD; another id, another cluster and a small size are refused',
    async () => {
      const file = join(directory, 'new.img');
      expect((await osd('prepare', file, '--id', '4')).err).toContain('a file is made with --size');
      expect((await osd('prepare', file, '--id', '4', '--size', '10Mi')).code).toBe(2);
      expect(await json('prepare', file, '--id', '4', '--size', '600Mi')).toMatchObject({
        osd: 4,
        cluster: fsid,
        made: true,
        entry: `{id: 4, file: ${file}}`,
      });
      expect(await json('prepare', file, '--id', '4')).toMatchObject({ made: false });
      expect(await osd('prepare', file, '--id', '5')).toMatchObject({
        code: 1,
        err: expect.stringContaining("labelled 'osd.4', not 'osd.5'"),
      });
      const listed = (await json('list')) as { disk: string; state: string }[];
      expect(listed[0]).toMatchObject({ disk: `${directory}/none.img`, state: 'missing' });
      writeFileSync(join(directory, 'data/ceph/ceph.conf'), `[global]\nfsid = ${otherFsid}\n`);
      expect(await osd('prepare', file, '--id', '4')).toMatchObject({
        code: 1,
        err: expect.stringContaining('does not say of which cluster'),
      });
      rmSync(join(directory, 'data/ceph/ceph.conf'));
      expect((await osd('prepare', file, '--id', '4')).err).toContain('no storage cluster yet');
    },
    slow,
  );

  test(
    'a file: listed, its PGs, checked, repaired; nothing stays mounted',
    async () => {
      const file = await storeFile(2);
      configure(`{id: 2, file: ${file}, size: 1Gi}`);
      expect(((await json('list')) as unknown[])[0]).toMatchObject({
        disk: file,
        osd: 2,
        cluster: fsid,
        state: 'stopped',
      });
      expect(await json('list', 'osd.2')).toEqual([
        { pg: '1.1f', objects: 0, bytes: 0, lastUpdate: "0'0", missing: 0, note: '' },
      ]);
      expect(await json('fsck', file)).toMatchObject({ osd: 2, pgs: 1, clean: true, faults: [] });
      expect(await osd('repair', 'osd.2')).toMatchObject({
        code: 0,
        out: expect.stringContaining('nothing is wrong, nothing was changed'),
      });
      expect((await osd('list', 'osd.2', '1.2')).err).toContain('there is no PG 1.2 on this disk');
      expect(await osd('fsck', 'osd.7')).toMatchObject({
        code: 2,
        err: expect.stringContaining('this node has osd.2'),
      });
      expect(mountsOfTest()).toBe('');
      expect(readdirSync(tmpdir()).filter((name) => name.startsWith('appliance-osd-'))).toEqual([]);
    },
    slow,
  );

  test(
    'a fault is told with exit code 1',
    async () => {
      const dir = await storeDirectory(2);
      for (const name of readdirSync(join(dir, 'journal'))) rmSync(join(dir, 'journal', name));
      const ran = await osd('fsck', dir);
      expect(ran).toMatchObject({ code: 1, out: expect.stringContaining('1 fault:') });
      expect(await json('fsck', dir)).toMatchObject({ clean: false, faults: [{ kind: 'journal', mend: 'none' }] });
      expect(await osd('repair', dir)).toMatchObject({ code: 1, out: expect.stringContaining('not mended:') });
    },
    slow,
  );

  test(
    'a disk that somebody uses is refused, whatever is asked of it',
    async () => {
      const file = await storeFile(2);
      loop = attachLoop(file, { autoclear: true });
      for (const argv of [
        ['fsck', file],
        ['repair', file],
        ['export', file, '1.1f', join(directory, 'x')],
        ['wipe', file, '--yes'],
        ['adopt', file],
      ])
        expect(await osd(...argv), argv.join(' ')).toMatchObject({
          code: 1,
          err: expect.stringContaining('is in use'),
        });
      const dir = await storeDirectory(3);
      const index = await openSqliteIndex(systemDisk, dir);
      expect(await osd('fsck', dir)).toMatchObject({ code: 1, err: expect.stringContaining('an OSD runs on it') });
      await index.close();
    },
    slow,
  );

  test(
    'wipe tells what would be lost, and takes --yes; what is not of this cluster takes --foreign, too',
    async () => {
      const file = await storeFile(2);
      const before = readFileSync(file);
      expect(await osd('wipe', file)).toMatchObject({
        code: 1,
        err: expect.stringContaining(`holds osd.2 of cluster ${fsid}: all of it would be lost`),
      });
      expect(readFileSync(file).equals(before)).toBe(true);
      expect(await json('wipe', file, '--yes')).toMatchObject({ osd: 2, wiped: true });
      expect(await json('wipe', file, '--yes')).toMatchObject({ wiped: false });
      expect(readFileSync(file).equals(Buffer.alloc(48 << 20))).toBe(true);
      const foreign = await storeDirectory(4, otherFsid);
      writeFileSync(join(foreign, 'a letter'), 'kept');
      expect(await osd('wipe', foreign, '--yes')).toMatchObject({
        code: 1,
        err: expect.stringContaining('no OSD of this cluster'),
      });
      expect((await osd('wipe', foreign, '--yes', '--foreign')).code).toBe(0);
      expect(readdirSync(foreign)).toEqual(['a letter']);
    },
    slow,
  );

  test(
    "adopt takes a disk of this cluster with its key, and no other cluster's",
    async () => {
      const file = await storeFile(2);
      const keyring = join(directory, 'osd.2.keyring');
      writeFileSync(keyring, '[osd.2]\n\tkey = AQBSdFhZ9dWwLBAAbs6f3ajXtNJrFdI0YQNhOw==\n');
      expect(await osd('adopt', file)).toMatchObject({
        code: 1,
        err: expect.stringContaining('ceph auth get osd.2 -o osd.2.keyring'),
      });
      expect(await json('adopt', file, '--keyring', keyring)).toMatchObject({
        osd: 2,
        cluster: fsid,
        entry: `{id: 2, file: ${file}}`,
      });
      expect(readFileSync(join(directory, 'data/ceph/keyrings/osd.2.keyring'), 'utf8')).toContain(
        'AQBSdFhZ9dWwLBAAbs6f3ajXtNJrFdI0YQNhOw==',
      );
      const foreign = await storeFile(3, otherFsid);
      expect(await osd('adopt', foreign)).toMatchObject({
        code: 1,
        err: expect.stringContaining(`of another cluster: ${otherFsid}`),
      });
      configure(`{id: 2, file: ${foreign}, size: 1Gi}`);
      expect(await osd('adopt', file)).toMatchObject({
        code: 1,
        err: expect.stringContaining('this node has osd.2 on'),
      });
    },
    slow,
  );

  test(
    'export and import: what cannot be is refused in words',
    async () => {
      const dir = await storeDirectory(2);
      expect(await osd('export', dir, 'nonsense', join(directory, 'x'))).toMatchObject({
        code: 2,
        err: expect.stringContaining('is no PG'),
      });
      expect(await osd('export', dir, '1.1f', join(directory, 'appliance.yaml'))).toMatchObject({
        code: 1,
        err: expect.stringContaining('is there already'),
      });
      expect(await osd('export', dir, '1.1f', join(directory, 'x'))).toMatchObject({
        code: 1,
        err: expect.stringContaining('has never been in its cluster'),
      });
      expect(existsSync(join(directory, 'x'))).toBe(false);
      expect(await osd('import', dir, join(directory, 'x'))).toMatchObject({
        code: 2,
        err: expect.stringContaining('is not there'),
      });
      expect(await osd('fsck', join(directory, 'nowhere'))).toMatchObject({
        code: 1,
        err: expect.stringContaining('is not there'),
      });
    },
    slow,
  );
});
