import { Database } from 'bun:sqlite';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { seededRandom } from '../../internal/base/random.ts';
import { LossyMount, type LossyOptions } from './lossy.ts';

const possible = process.getuid?.() === 0 && fs.existsSync('/dev/fuse');

describe.skipIf(!possible)('lossy file system', () => {
  let base = '';
  let mount: LossyMount;
  let root = '';

  const start = async (options: LossyOptions = {}): Promise<void> => {
    mount = new LossyMount(`${base}/backing`, root, { writebackMs: 0, ...options });
    await mount.start();
  };
  const powerLoss = async (): Promise<void> => {
    await mount.crash();
    await mount.start();
  };
  const put = (name: string, text: string, sync: boolean): void => {
    const fd = fs.openSync(`${root}/${name}`, 'w');
    fs.writeSync(fd, text);
    if (sync) fs.fsyncSync(fd);
    fs.closeSync(fd);
  };
  const syncDirectory = (name: string): void => {
    const fd = fs.openSync(`${root}/${name}`, 'r');
    fs.fsyncSync(fd);
    fs.closeSync(fd);
  };
  const get = (name: string): string | undefined =>
    fs.existsSync(`${root}/${name}`) ? fs.readFileSync(`${root}/${name}`, 'utf8') : undefined;

  beforeEach(() => {
    base = fs.mkdtempSync(`${tmpdir()}/lossy-`);
    root = `${base}/mount`;
  });
  afterEach(async () => {
    await mount.stop();
    fs.rmSync(base, { recursive: true });
  });

  test('a file system like others: names, links, modes, many entries', async () => {
    await start();
    fs.mkdirSync(`${root}/a/b`, { recursive: true });
    fs.writeFileSync(`${root}/a/b/file`, 'hello', { mode: 0o640 });
    fs.symlinkSync('b/file', `${root}/a/link`);
    fs.linkSync(`${root}/a/b/file`, `${root}/a/hard`);
    expect(fs.readFileSync(`${root}/a/link`, 'utf8')).toBe('hello');
    expect(fs.statSync(`${root}/a/hard`).nlink).toBe(2);
    expect(fs.statSync(`${root}/a/hard`).mode & 0o777).toBe(0o640);
    fs.appendFileSync(`${root}/a/hard`, ' world');
    expect(fs.readFileSync(`${root}/a/b/file`, 'utf8')).toBe('hello world');
    fs.renameSync(`${root}/a/b/file`, `${root}/moved`);
    expect(fs.readdirSync(`${root}/a`).sort()).toEqual(['b', 'hard', 'link']);
    expect(() => fs.rmdirSync(`${root}/a`)).toThrow('ENOTEMPTY');
    fs.truncateSync(`${root}/moved`, 3);
    expect(fs.readFileSync(`${root}/a/hard`, 'utf8')).toBe('hel');
    fs.rmSync(`${root}/a`, { recursive: true });
    expect(fs.readdirSync(root)).toEqual(['moved']);
    fs.utimesSync(`${root}/moved`, 1000, 2000);
    expect(fs.statSync(`${root}/moved`).mtimeMs).toBe(2_000_000);
    for (let i = 0; i < 2000; i++) fs.writeFileSync(`${root}/n${i}`, '');
    expect(fs.readdirSync(root).length).toBe(2001);
  });

  test('what was synced stays, what was not is gone', async () => {
    await start();
    put('synced', 'one', true);
    put('unsynced', 'two', false);
    fs.writeFileSync(`${root}/synced`, 'changed, never synced');
    await powerLoss();
    expect(get('synced')).toBe('one');
    expect(get('unsynced')).toBeUndefined();
  });

  test('every access fails from the power loss on', async () => {
    await start();
    put('file', 'x', true);
    const fd = fs.openSync(`${root}/file`, 'r+');
    await mount.crash();
    expect(() => fs.writeSync(fd, 'y')).toThrow();
    expect(() => fs.fsyncSync(fd)).toThrow();
    fs.closeSync(fd);
    expect(fs.existsSync(`${root}/file`)).toBe(false);
    await mount.start();
    expect(get('file')).toBe('x');
  });

  test('as on ext4 a sync of any file brings earlier names along; strict: only the sync of their directory does', async () => {
    await start();
    put('other', 'not synced', false);
    put('synced', 'x', true);
    await powerLoss();
    expect(get('synced')).toBe('x');
    expect(get('other')).toBe('');
    await mount.stop();

    await start({ strict: true });
    put('new', 'y', true);
    put('kept', 'z', true);
    syncDirectory('.');
    put('late', 'z', true);
    fs.renameSync(`${root}/kept`, `${root}/renamed`);
    await powerLoss();
    expect([get('new'), get('kept'), get('late'), get('renamed')]).toEqual(['y', 'z', undefined, undefined]);
  });

  test('a full disk: what needs room fails, what is there can be overwritten and removed', async () => {
    await start();
    put('file', 'x'.repeat(8192), true);
    mount.full();
    expect(() => fs.writeFileSync(`${root}/new`, '')).toThrow('ENOSPC');
    expect(() => fs.appendFileSync(`${root}/file`, 'y')).toThrow('ENOSPC');
    const fd = fs.openSync(`${root}/file`, 'r+');
    fs.writeSync(fd, 'z', 0);
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    expect(fs.statfsSync(root).bavail).toBe(0);
    await powerLoss();
    expect(get('file')).toBe(`z${'x'.repeat(8191)}`);
    mount.full();
    mount.full(false);
    put('new', 'y', true);
    expect(get('new')).toBe('y');
  });

  test('a slow disk: a sync takes longer, and is one', async () => {
    await start();
    mount.slow(300);
    const began = performance.now();
    put('file', 'x', true);
    expect(performance.now() - began).toBeGreaterThanOrEqual(300);
    mount.slow(0);
    await powerLoss();
    expect(get('file')).toBe('x');
  });

  test('early pages are torn: sectors are old or new, whole, and both kinds are found in one page', async () => {
    await start({ early: 1 });
    put('file', 'a'.repeat(64 * 4096), true);
    const fd = fs.openSync(`${root}/file`, 'r+');
    fs.writeSync(fd, 'b'.repeat(64 * 4096), 0);
    await mount.crash();
    fs.closeSync(fd);
    await mount.start();
    const text = get('file')!;
    let torn = 0;
    for (let page = 0; page < 64; page++) {
      const sectors = Array.from({ length: 8 }, (_, i) =>
        text.slice(page * 4096 + i * 512, page * 4096 + (i + 1) * 512),
      );
      for (const sector of sectors) expect(['a', 'b'].map((letter) => letter.repeat(512))).toContain(sector);
      if (new Set(sectors).size === 2) torn++;
    }
    expect(torn).toBeGreaterThan(5);
  });

  test('a planted fault: syncs of some files do nothing', async () => {
    await start({ ignoreSync: '^/d/bad$' });
    fs.mkdirSync(`${root}/d`);
    put('d/bad', 'x', true);
    put('d/good', 'y', true);
    expect(mount.stats().ignored).toBe(1);
    await powerLoss();
    expect([get('d/bad'), get('d/good')]).toEqual(['', 'y']);
  });

  test('a replaced file is the old one or the new one', async () => {
    await start({ strict: true });
    put('config', 'old', true);
    syncDirectory('.');
    put('config.new', 'new', true);
    fs.renameSync(`${root}/config.new`, `${root}/config`);
    await powerLoss();
    expect(get('config')).toBe('old');
    put('config.new', 'new', true);
    fs.renameSync(`${root}/config.new`, `${root}/config`);
    syncDirectory('.');
    await powerLoss();
    expect(get('config')).toBe('new');
  });

  test('O_DSYNC and O_DIRECT|O_DSYNC writes are stable when they return, others not', async () => {
    await start();
    const { O_RDWR, O_CREAT, O_DIRECT, O_DSYNC } = fs.constants as typeof fs.constants & { O_DIRECT: number };
    const page = (value: number): Uint8Array => new Uint8Array(8192).fill(value);
    const write = (name: string, flags: number, value: number): void => {
      const fd = fs.openSync(`${root}/${name}`, O_RDWR | O_CREAT | flags);
      fs.writeSync(fd, page(value), 0, 8192, 0);
      fs.closeSync(fd);
    };
    write('plain', 0, 1);
    write('dsync', O_DSYNC, 2);
    write('direct', O_DIRECT, 3);
    write('both', O_DIRECT | O_DSYNC, 4);
    await powerLoss();
    const first = (name: string): number | undefined => fs.readFileSync(`${root}/${name}`)[0];
    expect([first('dsync'), first('both')]).toEqual([2, 4]);
    expect([first('plain'), first('direct')]).toEqual([undefined, undefined]);
  });

  test('random writes, truncates and syncs of one file: after each power loss it is as of the last sync', async () => {
    await start();
    const random = seededRandom(7);
    let live = Buffer.alloc(0);
    let stable = Buffer.alloc(0);
    put('f', '', true);
    for (let round = 0; round < 6; round++) {
      const fd = fs.openSync(`${root}/f`, 'r+');
      for (let i = 0; i < 60; i++) {
        const at = random.uint32() % 60000;
        const kind = random.uint32() % 10;
        if (kind < 7) {
          const data = Buffer.from(random.bytes(1 + (random.uint32() % 9000)));
          fs.writeSync(fd, data, 0, data.length, at);
          if (live.length < at + data.length)
            live = Buffer.concat([live, Buffer.alloc(at + data.length - live.length)]);
          data.copy(live, at);
        } else if (kind < 9) {
          fs.ftruncateSync(fd, at);
          live =
            at <= live.length
              ? Buffer.from(live.subarray(0, at))
              : Buffer.concat([live, Buffer.alloc(at - live.length)]);
        } else {
          fs.fdatasyncSync(fd);
          stable = Buffer.from(live);
        }
        if (i % 20 === 0) expect(fs.readFileSync(`${root}/f`).equals(live)).toBe(true);
      }
      fs.closeSync(fd);
      await powerLoss();
      expect(fs.readFileSync(`${root}/f`).equals(stable)).toBe(true);
      live = Buffer.from(stable);
    }
  });

  test('sqlite in WAL mode keeps what it committed with synchronous=FULL, loses with OFF', async () => {
    for (const [mode, kept] of [
      ['FULL', true],
      ['OFF', false],
    ] as const) {
      await start();
      const open = (): Database => {
        const db = new Database(`${root}/${mode}.db`, { create: true });
        db.run(`PRAGMA synchronous=${mode}`);
        db.run('PRAGMA journal_mode=WAL');
        return db;
      };
      let db = open();
      db.run('CREATE TABLE IF NOT EXISTS t (x INTEGER)');
      for (let i = 0; i < 20; i++) db.run('INSERT INTO t VALUES (?)', [i]);
      await mount.crash();
      await mount.start();
      if (kept) {
        db = open();
        expect(db.query<{ n: number }, []>('SELECT count(*) AS n FROM t').get()?.n).toBe(20);
        db.close();
      } else expect(get(`${mode}.db`) ?? '').toBe('');
      await mount.stop();
    }
    await start();
  });
});
