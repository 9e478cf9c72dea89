import { closeSync, cpSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { Database } from 'bun:sqlite';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { utf8 } from '../../base/bytes.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { silentLogger } from '../../base/log.ts';
import { systemClock } from '../../base/system.ts';
import type { TransactionOp } from '../blockstore/api.ts';
import { openBlockStore } from '../blockstore/blockstore.ts';
import { openSqliteIndex } from '../blockstore/index-sqlite-shell.ts';
import { SNAP_HEAD } from '../wire/types.ts';
import { encodeObjectInfo, infoXattr, noObject } from './object-info.ts';
import { objectKey } from './object-key.ts';
import { PgMeta } from './pg-meta.ts';
import { type FsckOptions, fsckStore, repairStore } from './store-fsck.ts';

/** Stores on a real disk, with faults planted into their files. */

let dir = '';
let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'fsck-'));
  dir = join(root, 'store');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const pg = { pool: 1, seed: 0 };
const cid = '1.0';
const keyOf = (name: string): Uint8Array =>
  objectKey({ key: '', name, snap: SNAP_HEAD, hash: 77, max: false, nspace: '', pool: 1 });
const contentOf = (name: string): Uint8Array => utf8(`<${name}>`.repeat(2000));

const openStore = () =>
  openBlockStore({
    disk: systemDisk,
    dir,
    clock: systemClock,
    log: silentLogger,
    openIndex: openSqliteIndex,
    capacityBytes: 64 << 20,
    hostReserveBytes: 0,
    identity: 'osd.0',
  });

const options = (): FsckOptions => ({
  disk: systemDisk,
  dir,
  clock: systemClock,
  log: silentLogger,
  openIndex: openSqliteIndex,
  progress: () => undefined,
  breathe: () => Promise.resolve(),
});

/** A store with a PG of three objects; everything is in the index. */
async function made(): Promise<void> {
  const store = await openStore();
  const meta = new PgMeta(pg);
  meta.epoch = 3;
  await store.queue({ ops: meta.createOps() });
  for (const [n, name] of ['a', 'b', 'c'].entries()) {
    const version = { epoch: 3, version: n + 1 };
    const data = contentOf(name);
    const oid = { key: '', name, snap: SNAP_HEAD, hash: 77, max: false, nspace: '', pool: 1 };
    meta.append({
      op: 'modify',
      oid,
      version,
      prior: { epoch: 0, version: 0 },
      userVersion: n + 1,
      reqid: undefined,
      mtime: { sec: 1, nsec: 0 },
      returnCode: 0,
      returns: undefined,
    });
    meta.info.lastUpdate = version;
    meta.info.lastComplete = version;
    const xattrs = new Map([[infoXattr, encodeObjectInfo({ ...noObject, version, size: data.length })]]);
    const ops: TransactionOp[] = [
      { op: 'write', cid, key: keyOf(name), offset: 0, data: [data] },
      { op: 'set-xattrs', cid, key: keyOf(name), xattrs },
      { op: 'omap-set', cid, key: keyOf(name), entries: new Map([['k', utf8(name)]]) },
    ];
    await store.queue({ ops: [...ops, ...meta.writeOps()] });
  }
  await store.close();
}

/** Writes over the place in a file of the store where `what` is. */
function spoil(file: string, what: Uint8Array, at = 0): void {
  const path = join(dir, file);
  const place = readFileSync(path).indexOf(what);
  expect(place).toBeGreaterThan(0);
  const fd = openSync(path, 'r+');
  writeSync(fd, utf8('SPOILT'), 0, 6, place + at);
  closeSync(fd);
}

function sql(statement: string): void {
  const db = new Database(join(dir, 'index.sqlite'));
  expect(db.run(statement).changes).toBeGreaterThan(0);
  db.close();
}

const kinds = async (): Promise<string[]> => (await fsckStore(options())).faults.map(({ kind }) => kind);
const never = (): void => {
  throw new Error('nothing should be removed');
};

describe('fsck and repair of a store on a real disk', () => {
  test('nothing is wrong with a whole one, and looking leaves it as it is', async () => {
    await made();
    const before = readFileSync(join(dir, 'data'));
    const report = await fsckStore(options());
    expect(report).toMatchObject({ faults: [], faultCount: 0, pgs: 1 });
    expect(report.statfs!.objects).toBe(4);
    expect(readFileSync(join(dir, 'data')).equals(before)).toBe(true);
    expect(await repairStore(options(), never)).toMatchObject({ faults: [], marked: [], left: [], remaining: [] });
  });

  test('a damaged block: fsck names the object; without a map repair leaves it as it is and says why', async () => {
    await made();
    spoil('data', utf8('<b><b>'), 4096);
    const { faults } = await fsckStore(options());
    expect(faults.map(({ kind, mend }) => [kind, mend])).toEqual([['checksum', 'fetched']]);
    const repaired = await repairStore(options(), never);
    expect(repaired.marked).toEqual([]);
    expect(repaired.remaining.map(({ text }) => text)).toEqual(['object b of PG 1.0: there is no other copy of it']);
    const store = await openStore();
    expect(Buffer.from((await store.read(cid, keyOf('b'), 0, 3))!).toString()).toBe('<b>');
    await expect(store.read(cid, keyOf('b'), 4096, 10)).rejects.toMatchObject({ code: 'CHECKSUM' });
    await store.close();
  });

  test('a map of used blocks that lies is made anew; data and writes are right afterwards', async () => {
    await made();
    sql('UPDATE space SET value = zeroblob(4096)');
    expect(await kinds()).toEqual(['block-free']);
    const repaired = await repairStore(options(), never);
    expect(repaired.remaining).toEqual([]);
    expect(await kinds()).toEqual([]);
    const store = await openStore();
    await store.queue({ ops: [{ op: 'write', cid, key: keyOf('d'), offset: 0, data: [new Uint8Array(1 << 20)] }] });
    for (const name of ['a', 'b', 'c'])
      expect(await store.read(cid, keyOf(name), 0, 1e6)).toEqual(new Uint8Array(contentOf(name)));
    await store.close();
  });

  test('an entry of the index that cannot be read goes only when that is allowed', async () => {
    await made();
    sql(
      `UPDATE objects SET value = substr(value, 1, 30) WHERE instr(key, x'62') > 0 AND instr(value, CAST('oi' AS BLOB)) > 0`,
    );
    const before = readFileSync(join(dir, 'index.sqlite'));
    expect(await kinds()).toContain('object');
    await expect(
      repairStore(options(), (removed) => {
        throw new Error(`may not: ${removed.length}`);
      }),
    ).rejects.toThrow('may not: 2');
    expect(readFileSync(join(dir, 'index.sqlite')).equals(before)).toBe(true);
    const repaired = await repairStore(options(), () => undefined);
    expect(repaired.left.map(({ why }) => why)).toEqual(['there is no other copy of it']);
    // The log knows of it: it stays told until another copy has come.
    expect(await kinds()).toEqual(['object-info']);
    const store = await openStore();
    expect(await store.read(cid, keyOf('a'), 0, 3)).toEqual(new Uint8Array(utf8('<a>')));
    await store.close();
  });

  test('a damaged index: told, and nothing is made worse', async () => {
    await made();
    const fd = openSync(join(dir, 'index.sqlite'), 'r+');
    writeSync(fd, new Uint8Array(4096).fill(0xa5), 0, 4096, 2 * 4096);
    closeSync(fd);
    const before = readFileSync(join(dir, 'index.sqlite'));
    const { faults, statfs } = await fsckStore(options());
    expect(faults.map(({ kind, mend }) => [kind, mend])).toEqual([['index', 'none']]);
    expect(statfs).toBeUndefined();
    expect((await repairStore(options(), never)).remaining).toHaveLength(1);
    expect(readFileSync(join(dir, 'index.sqlite')).equals(before)).toBe(true);
  });

  test('a journal that is not there any more: told', async () => {
    await made();
    for (const name of readdirSync(join(dir, 'journal'))) rmSync(join(dir, 'journal', name));
    expect(await kinds()).toEqual(['journal']);
    expect((await repairStore(options(), never)).remaining.map(({ kind }) => kind)).toEqual(['journal']);
  });

  test('the OSD was killed: what only the journal has is looked at, and is there after a repair', async () => {
    await made();
    const store = await openStore();
    const late = contentOf('late');
    await store.queue({ ops: [{ op: 'write', cid, key: keyOf('b'), offset: 0, data: [late] }] });
    const killed = join(root, 'killed');
    cpSync(dir, killed, { recursive: true });
    await store.close();
    dir = killed;
    const read = async (): Promise<unknown> => {
      const again = await openStore();
      const bytes = await again.read(cid, keyOf('b'), 0, late.length);
      await again.close();
      return bytes;
    };
    // The object is longer than it says now.
    expect(await kinds()).toEqual(['object-info']);
    sql('UPDATE space SET value = zeroblob(4096)');
    expect(await kinds()).toEqual(['block-free', 'object-info']);
    const { faults } = await repairStore(options(), never);
    expect(faults.map(({ kind }) => kind)).toEqual(['block-free', 'object-info']);
    expect(await kinds()).toEqual(['object-info']);
    expect(await read()).toEqual(new Uint8Array(late));
  });

  test('a store that somebody has open is refused', async () => {
    await made();
    const store = await openStore();
    await expect(fsckStore(options())).rejects.toMatchObject({ code: 'INDEX' });
    await store.close();
  });
});
