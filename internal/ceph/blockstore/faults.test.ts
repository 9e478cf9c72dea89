import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, test } from 'vitest';
import { type MemoryDisk, memoryDisk } from '../../base/disk-memory.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { seededRandom } from '../../base/random.ts';
import type { TransactionOp } from './api.ts';
import type { BlockStore } from './blockstore.ts';
import { openSqliteIndex } from './index-sqlite-shell.ts';
import { compression, openStore } from './store.testing.ts';

const cid = '1.0';
const key = new Uint8Array([0x61]);
const fill = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);
const write = (offset: number, data: Uint8Array): TransactionOp => ({ op: 'write', cid, key, offset, data: [data] });

async function made(disk: MemoryDisk): Promise<BlockStore> {
  const store = await openStore(disk);
  await store.queue({ ops: [{ op: 'create-collection', cid }] });
  return store;
}

/** Damages the block of the data file that is filled with `value`. */
async function damage(disk: MemoryDisk, value: number): Promise<void> {
  const file = await disk.open('/osd/data');
  const bytes = new Uint8Array(await file.size());
  await file.read(bytes, 0);
  const at = bytes.indexOf(value);
  expect(at).toBeGreaterThan(0);
  disk.flipBit('/osd/data', at + 1000);
}

describe('block store: faults', () => {
  test('a damaged block is an error that names object and offset; the rest is read', async () => {
    const disk = memoryDisk({ random: seededRandom(1) });
    const store = await made(disk);
    await store.queue({ ops: [write(0, fill(100_000, 1)), write(40960, fill(4096, 7))] });
    await store.checkpoint();
    await damage(disk, 7);
    await expect(store.read(cid, key, 0, 100_000)).rejects.toMatchObject({ code: 'CHECKSUM', cid, key, offset: 40960 });
    expect(await store.read(cid, key, 0, 40960)).toEqual(fill(40960, 1));
    expect(store.status().checksumErrors).toBe(1);
    await store.close();
  });

  test('overwriting part of a damaged block does not hide the damage; overwriting all of it heals it', async () => {
    const disk = memoryDisk({ random: seededRandom(2) });
    let store = await made(disk);
    await store.queue({ ops: [write(0, fill(8192, 7))] });
    await store.checkpoint();
    await damage(disk, 7);
    await store.queue({ ops: [write(100, fill(10, 8))] });
    await expect(store.read(cid, key, 0, 10)).rejects.toMatchObject({ code: 'CHECKSUM', offset: 0 });
    await store.checkpoint();
    await expect(store.read(cid, key, 0, 10)).rejects.toMatchObject({ code: 'CHECKSUM', offset: 0 });
    await store.close();
    store = await openStore(disk);
    await expect(store.read(cid, key, 0, 10)).rejects.toMatchObject({ code: 'CHECKSUM', offset: 0 });
    await store.queue({ ops: [write(0, fill(4096, 9))] });
    expect(await store.read(cid, key, 0, 8192)).toEqual(fill(8192, 7).fill(9, 0, 4096));
    await store.close();
  });

  test.each(['none', 'lz4'] as const)(
    'overwriting part of a block that the disk cannot read damages it, and the store goes on (compression: %s)',
    async (algorithm) => {
      const disk = memoryDisk({ random: seededRandom(4) });
      let store = await made(disk);
      if (algorithm !== 'none') store.setCompression(new Map([[1, compression({ mode: 'force', algorithm })]]));
      await store.queue({ ops: [write(0, fill(65_536, 7))] });
      await store.checkpoint();
      await store.close();
      store = await openStore(disk);
      disk.failNext('read', 'EIO');
      await store.queue({ ops: [write(8292, fill(10, 8))] });
      await expect(store.read(cid, key, 8192, 10)).rejects.toMatchObject({ code: 'CHECKSUM', offset: 8192 });
      expect(await store.read(cid, key, 0, 4096)).toEqual(fill(4096, 7));
      await store.queue({ ops: [write(8192, fill(4096, 9))] });
      expect(await store.read(cid, key, 8192, 4096)).toEqual(fill(4096, 9));
      await store.close();
    },
  );

  test('small blocks lately written or read come from memory; a block with other content or another owner does not', async () => {
    const disk = memoryDisk({ random: seededRandom(8) });
    const store = await made(disk);
    await store.queue({ ops: [write(0, fill(4096, 7))] });
    await store.checkpoint();
    await damage(disk, 7);
    expect(await store.read(cid, key, 0, 4096)).toEqual(fill(4096, 7));
    await store.queue({ ops: [write(0, fill(4096, 8))] });
    await store.checkpoint();
    expect(await store.read(cid, key, 100, 50)).toEqual(fill(50, 8));
    await store.queue({ ops: [{ op: 'remove', cid, key }] });
    await store.queue({ ops: [write(0, fill(40_960, 9))] });
    expect(await store.read(cid, key, 0, 4096)).toEqual(fill(4096, 9));
    await damage(disk, 9);
    expect(await store.read(cid, key, 0, 4096)).toEqual(fill(4096, 9));
    await expect(store.read(cid, key, 0, 40_960)).rejects.toMatchObject({ code: 'CHECKSUM' });
    await store.close();
  });

  test('a failed write fails the store for good; what was acknowledged is there after reopening', async () => {
    const disk = memoryDisk({ random: seededRandom(3) });
    const store = await made(disk);
    await store.queue({ ops: [write(0, fill(5000, 1))] });
    disk.failNext('write', 'EIO');
    await expect(store.queue({ ops: [write(0, fill(5000, 2))] })).rejects.toMatchObject({ code: 'STORE_FAILED' });
    await expect(store.queue({ ops: [write(0, fill(5000, 3))] })).rejects.toMatchObject({ code: 'STORE_FAILED' });
    expect(store.status().failed).toContain('EIO');
    await store.close();
    const again = await openStore(disk);
    expect(await again.read(cid, key, 0, 5000)).toEqual(fill(5000, 1));
    await again.close();
  });

  test('a failed sync of the data file fails a large write', async () => {
    const disk = memoryDisk({ random: seededRandom(4) });
    const store = await made(disk);
    disk.failNext('datasync', 'EIO');
    await expect(store.queue({ ops: [write(0, fill(500_000, 2))] })).rejects.toMatchObject({ code: 'STORE_FAILED' });
    await store.close();
    const again = await openStore(disk);
    expect(again.stat(cid, key)).toBeUndefined();
    expect(again.statfs().allocatedBytes).toBe(0);
    await again.close();
  });

  test('a full file system refuses writes before they change anything, and clean-up still works', async () => {
    const disk = memoryDisk({ random: seededRandom(5), capacityBytes: 6 * 1024 * 1024 });
    const store = await openStore(disk, { hostReserveBytes: 1024 * 1024 });
    await store.queue({ ops: [{ op: 'create-collection', cid }] });
    let written = 0;
    for (; ; written++) {
      const name = new Uint8Array([written]);
      const refused = await store
        .queue({ ops: [{ op: 'write', cid, key: name, offset: 0, data: [fill(200_000, written)] }] })
        .then(() => undefined)
        .catch((error: unknown) => error);
      if (refused === undefined) continue;
      expect(refused).toMatchObject({ code: 'ENOSPC' });
      break;
    }
    expect(written).toBeGreaterThan(3);
    await store.queue({ ops: [{ op: 'remove', cid, key: new Uint8Array([0]) }] });
    expect(await store.read(cid, new Uint8Array([1]), 0, 10)).toEqual(fill(10, 1));
    await store.close();
  });

  test('a store of another identity is refused, and so is a damaged label; capacity may grow', async () => {
    const disk = memoryDisk({ random: seededRandom(6) });
    await (await openStore(disk, { identity: 'osd.1' })).close();
    await expect(openStore(disk, { identity: 'osd.2' })).rejects.toMatchObject({ code: 'LABEL' });
    const grown = await openStore(disk, { identity: 'osd.1', capacityBytes: 16 * 1024 * 1024 });
    expect(grown.statfs().totalBytes).toBe(16 * 1024 * 1024);
    await grown.close();
    const same = await openStore(disk, { identity: 'osd.1' });
    expect(same.statfs().totalBytes).toBe(16 * 1024 * 1024);
    await same.close();
    disk.flipBit('/osd/label', 5);
    await expect(openStore(disk, { identity: 'osd.1' })).rejects.toMatchObject({ code: 'LABEL' });
  });

  test('an index without its journal is refused', async () => {
    const disk = memoryDisk({ random: seededRandom(7) });
    const store = await made(disk);
    await store.queue({ ops: [write(0, fill(10, 1))] });
    await store.close();
    for (const name of await disk.list('/osd/journal')) await disk.remove(`/osd/journal/${name}`);
    await expect(openStore(disk)).rejects.toMatchObject({ code: 'STORE_CORRUPT' });
  });

  test('a second opener of a real store is kept out', async () => {
    const dir = mkdtempSync(`${tmpdir()}/blockstore-`);
    const open = () => openStore(systemDisk, { dir, openIndex: openSqliteIndex });
    const store = await open();
    await expect(open()).rejects.toMatchObject({ code: 'INDEX' });
    await store.close();
    await (await open()).close();
    rmSync(dir, { recursive: true });
  });
});
