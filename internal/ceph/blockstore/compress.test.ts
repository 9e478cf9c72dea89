import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter, DecodeError } from '../../base/bytes.ts';
import { type MemoryDisk, memoryDisk } from '../../base/disk-memory.ts';
import { seededRandom } from '../../base/random.ts';
import { type CompressionPolicy, poolOf, type TransactionOp } from './api.ts';
import { CompressedBlob } from './blob.ts';
import { BlobCache } from './blob-cache.ts';
import type { BlockStore } from './blockstore.ts';
import { BlockTable } from './blocktable.ts';
import { checkIndex } from './check-index.ts';
import { Compressor, wantsCompression } from './compress.ts';
import { FaultList } from './fault.ts';
import { openLogIndex } from './index-log.ts';
import { memoryStore } from './memory.ts';
import { storeBeforeCompression } from './old-store.testing.ts';
import { dump } from './workload.testing.ts';
import { capacityBytes, compression, openStore } from './store.testing.ts';

const cid = '1.0';
const key = new Uint8Array([0x61]);
const other = new Uint8Array([0x62]);
const none = new Map<number, CompressionPolicy>();
const nothing = { stored: 0, allocated: 0, original: 0 };

/** Bytes that compress to about a quarter, and are other ones with each seed. */
function text(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const random = seededRandom(seed);
  const out = new Uint8Array(length);
  for (let at = 0; at < length; at += 64) out.set(random.bytes(Math.min(8, length - at)), at);
  return out;
}
/** Quicker than comparing element by element. */
function same(found: Uint8Array | undefined, wanted: Uint8Array): void {
  expect(found?.length).toBe(wanted.length);
  expect(Buffer.compare(found!, wanted)).toBe(0);
}
const noise = (length: number, seed = 1): Uint8Array<ArrayBuffer> => new Uint8Array(seededRandom(seed).bytes(length));
const write = (offset: number, data: Uint8Array, to = key): TransactionOp => ({
  op: 'write',
  cid,
  key: to,
  offset,
  data: [data],
});

async function made(disk: MemoryDisk, how = compression()): Promise<BlockStore> {
  const store = await openStore(disk);
  store.setCompression(new Map([[1, how]]));
  await store.queue({ ops: [{ op: 'create-collection', cid }] });
  return store;
}

async function faultsOf(disk: MemoryDisk, bytes = capacityBytes): Promise<string[]> {
  const index = await openLogIndex(disk, '/osd');
  const list = new FaultList();
  await checkIndex(index, bytes / 4096, list, async () => undefined);
  await index.close();
  return list.faults.map((fault) => fault.text);
}

describe('what is compressed', () => {
  test('a collection is of the pool that its name says, also while a PG is brought in', () => {
    const names = ['1.0', '12.1f', 'import.3.a', 'replaced.3.a', 'meta', 'new'];
    expect(names.map(poolOf)).toEqual([1, 12, 3, 3, -1, -1]);
  });

  test('mode and hint of the object say it', () => {
    const table: [CompressionPolicy['mode'], none: boolean, compressible: boolean, incompressible: boolean][] = [
      ['passive', false, true, false],
      ['aggressive', true, true, false],
      ['force', true, true, true],
    ];
    for (const [mode, ...wanted] of table)
      expect(
        [0, 256, 512].map((hint) => wantsCompression(compression({ mode }), hint)),
        mode,
      ).toEqual(wanted);
  });

  test('pieces end at multiples of their size, 64 KiB at most', () => {
    const counts = { compress_success_count: 0, compress_rejected_count: 0 };
    const pieces = (maxBlobBytes: number, first: number, end: number): number[] => {
      const compressor = new Compressor(compression({ maxBlobBytes }), counts);
      const out: number[] = [];
      for (let block = first; block < end; block += out.at(-1)!) out.push(compressor.pieceAt(block, end));
      return out;
    };
    expect(pieces(65536, 0, 40)).toEqual([16, 16, 8]);
    expect(pieces(65536, 14, 33)).toEqual([2, 16, 1]);
    expect(pieces(2 ** 30, 0, 40)).toEqual([16, 16, 8]);
    expect(pieces(16384, 3, 9)).toEqual([1, 4, 1]);
    expect(pieces(0, 0, 5)).toEqual([2, 2, 1]);
  });

  test('what takes more than the required share, or as many blocks, stays as it is; both are counted', () => {
    const counts = { compress_success_count: 0, compress_rejected_count: 0 };
    const blocks = (data: Uint8Array, how: Partial<CompressionPolicy>): number | undefined => {
      const made = new Compressor(compression(how), counts).compress([data], data.length / 4096);
      return made && made.bytes.length / 4096;
    };
    // Nine blocks of noise and seven of zeros: ten blocks or so.
    const half = new Uint8Array(65536);
    half.set(noise(9 * 4096));
    expect(blocks(half, {})).toBe(10);
    expect(blocks(half, { requiredRatio: 0.625 })).toBe(10);
    expect(blocks(half, { requiredRatio: 0.5 })).toBeUndefined();
    expect(blocks(noise(65536), { requiredRatio: 1 })).toBeUndefined();
    expect(blocks(text(8192), {})).toBe(1);
    expect(counts).toEqual({ compress_success_count: 3, compress_rejected_count: 2 });
    expect(blocks(text(8192), { minBlobBytes: 16384 })).toBeUndefined();
    expect(blocks(text(4096), { minBlobBytes: 0 })).toBeUndefined();
    expect(counts.compress_rejected_count).toBe(2);
  });

  test('a blob and a table of blobs: what is written is read; impossible ones are refused', () => {
    const table = new BlockTable();
    const blob = new CompressedBlob(
      { first: 3, blocks: 4, codec: 1, length: 5000, places: Uint32Array.of(9, 20), crcs: Uint32Array.of(5, 6) },
      7,
    );
    table.set(0, 11, 1, 0);
    table.addBlob(blob);
    for (const block of [3, 5, 6]) table.setCompressed(block, blob, 100 + block);
    table.set(4, 12, 2, 0);
    const writer = new ByteWriter(64);
    table.encode(writer);
    table.encodeBlobs(writer);
    const bytes = writer.finish();
    const reader = new ByteReader(bytes);
    const again = BlockTable.decode(reader);
    again.decodeBlobs(reader);
    expect(reader.remaining).toBe(0);
    const runs = (of: BlockTable): unknown[] => {
      const out: unknown[] = [];
      of.forEachRun(0, 100, (run) => out.push([run.logical, run.physical, run.count, run.share, run.blob?.live]));
      return out;
    };
    expect(runs(again)).toEqual([
      [0, 11, 1, 0, undefined],
      [3, 9, 1, 7, 3],
      [4, 12, 1, 0, undefined],
      [5, 9, 2, 7, 3],
    ]);
    expect([again.crc(6), again.mapped, again.blobAt(5)!.length]).toEqual([106, 5, 5000]);
    again.clear(3);
    again.clear(5);
    expect(again.compressed).toBe(true);
    again.clear(6);
    expect(again.compressed).toBe(false);
    for (let at = 0; at < bytes.length; at++) {
      const wrong = bytes.slice();
      wrong[at]! ^= 0xff;
      const damaged = new ByteReader(wrong);
      // An error that is told, never a loop or memory without bound.
      try {
        BlockTable.decode(damaged).decodeBlobs(damaged);
      } catch (error) {
        expect(error).toBeInstanceOf(DecodeError);
      }
    }
  });
});

test('the cache of what was decompressed: bounded, the oldest goes first; another blob at the same place is another one', () => {
  const cache = new BlobCache(3 * 8192);
  const blob = (place: number, crc = 1): CompressedBlob =>
    new CompressedBlob({
      ...{ first: 4, blocks: 2, codec: 1, length: 100 },
      ...{ places: Uint32Array.of(place), crcs: Uint32Array.of(crc) },
    });
  const raw = (): Uint8Array => noise(8192);
  for (const place of [10, 20, 30]) cache.put(blob(place), raw());
  expect(cache.block(blob(10), 5)).toEqual(raw().subarray(4096));
  expect(cache.get(blob(10, 2))).toBeUndefined();
  cache.put(blob(40), raw());
  expect([10, 20, 30, 40].map((place) => cache.get(blob(place)) !== undefined)).toEqual([true, false, true, true]);
  expect(cache.memoryBytes).toBe(3 * 8192);
  cache.forget({ start: 25, count: 10 });
  expect([cache.get(blob(30)), cache.memoryBytes]).toEqual([undefined, 2 * 8192]);
  cache.put(blob(50), noise(4 * 8192));
  expect(cache.get(blob(50))).toBeUndefined();
});

describe('a store that compresses', () => {
  for (const algorithm of ['lz4', 'zstd', 'snappy', 'zlib'] as const)
    test(`${algorithm}: data takes less room, is read as it was, also after a restart, and counts`, async () => {
      const disk = memoryDisk({ random: seededRandom(1) });
      let store = await made(disk, compression({ algorithm }));
      const data = text(300_000);
      await store.queue({ ops: [write(0, data)] });
      same(await store.read(cid, key, 0, 300_000), data);
      await store.close();
      store = await openStore(disk);
      same(await store.read(cid, key, 0, 300_000), data);
      for (const [offset, length] of [
        [0, 1],
        [4095, 2],
        [65_530, 12],
        [200_000, 70_000],
        [299_999, 9],
      ] as const)
        same(await store.read(cid, key, offset, length), data.slice(offset, offset + length));
      const { dataBytes, allocatedBytes, compressed } = store.statfs();
      expect(dataBytes).toBe(300_000);
      expect(compressed.original).toBe(74 * 4096);
      expect(compressed.allocated).toBe(allocatedBytes);
      expect(allocatedBytes).toBeLessThan(30 * 4096);
      expect(compressed.stored).toBeLessThanOrEqual(allocatedBytes);
      expect(store.compressed()).toEqual(new Map([[1, compressed]]));
      expect(store.extents(cid, key, 0, 1e9)).toEqual([{ offset: 0, length: 300_000 }]);
      await store.queue({ ops: [{ op: 'remove', cid, key }] });
      expect(store.statfs()).toMatchObject({ allocatedBytes: 0, compressed: nothing });
      await store.close();
      expect(await faultsOf(disk)).toEqual([]);
    });

  test('small writes are compressed, too, and logged compressed; the tail of an object goes with the rest', async () => {
    const disk = memoryDisk({ random: seededRandom(1) });
    const store = await made(disk);
    const before = store.status().journal;
    await store.queue({ ops: [write(0, text(17_000))] });
    expect(store.statfs()).toMatchObject({ dataBytes: 17_000, allocatedBytes: 4096 });
    expect(store.status().deferredBytes).toBe(4096);
    expect(store.status().journal).not.toEqual(before);
    // What is appended leaves the rest as it is.
    await store.queue({ ops: [write(17_000, text(100, 2))] });
    expect(store.statfs()).toMatchObject({ dataBytes: 17_100, allocatedBytes: 8192 });
    same(await store.read(cid, key, 16_990, 200), new Uint8Array([...text(17_000).subarray(16_990), ...text(100, 2)]));
    await store.close();
    expect(await faultsOf(disk)).toEqual([]);
  });

  test('hints steer: passive compresses what is said to be compressible, aggressive all but what is said not to be', async () => {
    const disk = memoryDisk({ random: seededRandom(1) });
    let store = await made(disk, compression({ mode: 'passive' }));
    const hint = (flags: number): TransactionOp => ({ op: 'set-alloc-hint', cid, key, flags });
    const original = async (...ops: TransactionOp[]): Promise<number> => {
      await store.queue({ ops: [...ops, write(0, text(65536))] });
      return store.statfs().compressed.original;
    };
    expect(await original()).toBe(0);
    expect(await original(hint(256))).toBe(65536);
    // The hint stays with the object.
    await store.close();
    store = await openStore(disk);
    store.setCompression(new Map([[1, compression({ mode: 'passive' })]]));
    expect(await original()).toBe(65536);
    store.setCompression(new Map([[1, compression()]]));
    expect(await original(hint(512))).toBe(0);
    expect(await original(hint(0))).toBe(65536);
    store.setCompression(new Map([[1, compression({ mode: 'force' })]]));
    expect(await original(hint(512))).toBe(65536);
    store.setCompression(none);
    expect(await original(hint(256))).toBe(0);
    store.setCompression(new Map([[2, compression({ mode: 'force' })]]));
    expect(await original(hint(256))).toBe(0);
    await store.close();
  });

  test('when a pool’s mode changes its data stays as it is, and is read; what is written anew follows', async () => {
    const disk = memoryDisk({ random: seededRandom(1) });
    const store = await made(disk);
    await store.queue({ ops: [write(0, text(131_072))] });
    store.setCompression(none);
    same(await store.read(cid, key, 0, 131_072), text(131_072));
    await store.queue({ ops: [write(65_536, text(65_536, 2))] });
    expect(store.statfs().compressed.original).toBe(65_536);
    store.setCompression(new Map([[1, compression({ algorithm: 'zstd' })]]));
    await store.queue({ ops: [write(65_536, text(65_536, 3)), write(131_072, text(65_536, 4))] });
    expect(store.statfs().compressed.original).toBe(3 * 65_536);
    const wanted = new Uint8Array([...text(131_072).subarray(0, 65_536), ...text(65_536, 3), ...text(65_536, 4)]);
    same(await store.read(cid, key, 0, 1e9), wanted);
    await store.close();
    expect(await faultsOf(disk)).toEqual([]);
  });

  test('clones share what is compressed: it counts once as allocated and for each as original, and goes with the last', async () => {
    const disk = memoryDisk({ random: seededRandom(1) });
    const store = await made(disk);
    await store.queue({ ops: [write(0, text(65_536))] });
    const { allocated, stored } = store.statfs().compressed;
    await store.queue({ ops: [{ op: 'clone', cid, from: key, to: other }] });
    expect(store.statfs().compressed).toEqual({ allocated, stored, original: 131_072 });
    // Into it again, twice: the object counts once.
    const back: TransactionOp = { op: 'clone-range', cid, from: other, to: key, offset: 8192, length: 16_384 };
    await store.queue({ ops: [back, back, write(40_960, noise(4096))] });
    expect(store.statfs().compressed).toEqual({ allocated, stored, original: 131_072 - 4096 });
    expect(store.statfs().allocatedBytes).toBe(allocated + 4096);
    await store.queue({ ops: [{ op: 'remove', cid, key: other }] });
    expect(store.statfs().compressed).toEqual({ allocated, stored, original: 65_536 - 4096 });
    const wanted = text(65_536);
    wanted.set(noise(4096), 40_960);
    same(await store.read(cid, key, 0, 65_536), wanted);
    await store.checkpoint();
    expect(await faultsOf(disk)).toEqual([]);
    await store.queue({ ops: [{ op: 'remove', cid, key }] });
    expect(store.statfs()).toMatchObject({ allocatedBytes: 0, compressed: nothing });
    await store.close();
  });

  test('however it is overwritten, an object takes no more room than without compression', async () => {
    const disk = memoryDisk({ random: seededRandom(1) });
    const store = await made(disk);
    const random = seededRandom(5);
    const twin = memoryStore();
    await twin.queue({ ops: [{ op: 'create-collection', cid }] });
    let thin = false;
    for (let round = 0; round < 6; round++) {
      // Blobs of all sizes: from a quarter to nearly all.
      const data = text(65_536 * 4, round + 1);
      for (let i = 0; i < 4; i++) data.set(noise(4096 * ((i * 4 + round) % 13), round), i * 65_536);
      const first = [write(0, data)];
      await store.queue({ ops: first });
      await twin.queue({ ops: first });
      for (let n = 0; n < 60; n++) {
        const block = random.uint32() % 64;
        const ops = [write(block * 4096 + (random.uint32() % 3), noise(1 + (random.uint32() % 9000), n))];
        await store.queue({ ops });
        await twin.queue({ ops });
        const { allocatedBytes, compressed } = store.statfs();
        const blocks = Math.ceil(store.stat(cid, key)!.size / 4096);
        expect(allocatedBytes).toBeLessThanOrEqual(blocks * 4096);
        thin ||= compressed.original > 0 && compressed.original < 65_536;
        if (n % 20 === 0) await store.checkpoint();
      }
      expect(await dump(store)).toBe(await dump(twin));
    }
    expect(thin).toBe(true);
    await store.close();
    expect(await faultsOf(disk)).toEqual([]);
  });

  test('a wrong bit in what is compressed is an error that names the object; a part written anew does not hide it, all of it heals it', async () => {
    const disk = memoryDisk({ random: seededRandom(1) });
    let store = await made(disk);
    const data = text(131_072);
    await store.queue({ ops: [write(0, data)] });
    await store.close();
    const file = await disk.open('/osd/data');
    const bytes = new Uint8Array(await file.size());
    await file.read(bytes, 0);
    const at = bytes.findIndex((byte) => byte !== 0);
    // Beyond what compression made is padding that belongs to it, too.
    const { stored } = await (async () => {
      const looked = await openStore(disk, { readOnly: true });
      const sums = looked.statfs().compressed;
      await looked.close();
      return sums;
    })();
    expect(stored).toBeGreaterThan(4096);
    disk.flipBit('/osd/data', at + 1000);
    store = await openStore(disk);
    const damaged = { code: 'CHECKSUM', cid, key, offset: 0 };
    await expect(store.read(cid, key, 0, 131_072)).rejects.toMatchObject(damaged);
    await expect(store.read(cid, key, 0, 131_072, true)).rejects.toMatchObject(damaged);
    await expect(store.read(cid, key, 8192, 10)).rejects.toMatchObject({ ...damaged, offset: 8192 });
    same(await store.read(cid, key, 65_536, 65_536), data.subarray(65_536));
    await store.queue({ ops: [write(100, noise(50)), { op: 'truncate', cid, key, size: 100_000 }] });
    await expect(store.read(cid, key, 0, 100)).rejects.toMatchObject(damaged);
    expect(store.status().checksumErrors).toBeGreaterThan(3);
    await store.close();
    store = await openStore(disk);
    await expect(store.read(cid, key, 0, 100)).rejects.toMatchObject(damaged);
    await store.queue({ ops: [write(0, data.subarray(0, 65_536))] });
    same(await store.read(cid, key, 0, 1e9), data.subarray(0, 100_000));
    await store.close();
  });

  test('what was decompressed lately comes from memory, and other data never does', async () => {
    const disk = memoryDisk({ random: seededRandom(1) });
    const store = await made(disk);
    await store.queue({ ops: [write(0, text(65_536))] });
    await store.checkpoint();
    same(await store.read(cid, key, 4096, 4096), text(65_536).subarray(4096, 8192));
    const file = await disk.open('/osd/data');
    const bytes = new Uint8Array(await file.size());
    await file.read(bytes, 0);
    disk.flipBit('/osd/data', bytes.findIndex((byte) => byte !== 0) + 500);
    same(await store.read(cid, key, 8192, 4096), text(65_536).subarray(8192, 12_288));
    await expect(store.read(cid, key, 8192, 4096, true)).rejects.toMatchObject({ code: 'CHECKSUM' });
    // What nobody has any more takes no memory.
    const { memoryBytes } = store.status();
    await store.queue({ ops: [{ op: 'truncate', cid, key, size: 0 }] });
    expect(store.status().memoryBytes).toBeLessThan(memoryBytes - 60_000);
    // The same first bytes at the same place, and something else behind them.
    for (let seed = 2; seed < 6; seed++) {
      const data = text(65_536);
      data.set(text(8192, seed), 57_344);
      await store.queue({ ops: [{ op: 'remove', cid, key }] });
      await store.queue({ ops: [write(0, data)] });
      same(await store.read(cid, key, 57_000, 8000), data.subarray(57_000, 65_000));
    }
    await store.close();
  });

  test('a full store: nothing is lost, and what is removed can be used', async () => {
    const disk = memoryDisk({ random: seededRandom(1) });
    const store = await openStore(disk, { capacityBytes: 2 * 1024 * 1024 });
    store.setCompression(new Map([[1, compression()]]));
    await store.queue({ ops: [{ op: 'create-collection', cid }] });
    let written = 0;
    for (; ; written++) {
      const refused = await store.queue({ ops: [write(0, text(262_144, written), new Uint8Array([written]))] }).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (refused === undefined) continue;
      expect(refused).toMatchObject({ code: 'ENOSPC' });
      break;
    }
    // Three times as much and more than without compression.
    expect(written * 262_144).toBeGreaterThan(3 * 2 * 1024 * 1024);
    for (let n = 0; n < written; n++)
      same(await store.read(cid, new Uint8Array([n]), 1000, 99_000), text(262_144, n).subarray(1000, 100_000));
    for (let n = 0; n < written; n++)
      await store.queue({ ops: [{ op: 'truncate', cid, key: new Uint8Array([n]), size: 100 }] });
    await store.queue({ ops: [write(0, noise(262_144), key)] });
    await store.close();
    expect(await faultsOf(disk, 2 * 1024 * 1024)).toEqual([]);
  });
});

describe('formats', () => {
  test('a store that the program before compression left when the power failed is opened, and goes on compressed', async () => {
    const disk = await storeBeforeCompression();
    const small = { capacityBytes: 1024 * 1024, identity: 'osd.1', journalSegmentBytes: 64 * 1024 };
    let store = await openStore(disk, small);
    const fill = (length: number, value: number): Uint8Array<ArrayBuffer> => new Uint8Array(length).fill(value);
    const named = (name: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(name));
    const look = async (): Promise<void> => {
      same(await store.read(cid, named('a'), 0, 1e6), fill(100_000, 7));
      same(await store.read(cid, named('b'), 0, 1e6), fill(100_000, 7).fill(8, 0, 50_000));
      same(await store.read(cid, named('c'), 0, 1e6), fill(5100, 9).fill(0, 0, 100));
      expect([...store.omapGet(cid, named('a'), ['n']).values()].map((v) => Buffer.from(v).toString())).toEqual(['v']);
      expect(store.statfs()).toMatchObject({ objects: 3, dataBytes: 205_100 });
    };
    await look();
    expect(store.statfs().compressed).toEqual(nothing);
    store.setCompression(new Map([[1, compression()]]));
    await store.queue({ ops: [write(0, fill(65_536, 7), named('a'))] });
    expect(store.statfs().compressed.original).toBe(65_536);
    await store.close();
    store = await openStore(disk, small);
    await look();
    await store.close();
  });

  test('objects without compressed data and hint have rows that older programs read', async () => {
    const disk = memoryDisk({ random: seededRandom(1) });
    const store = await made(disk);
    const third = new Uint8Array([0x63]);
    await store.queue({ ops: [write(0, noise(65_536)), write(0, text(65_536), other), write(0, text(65_536), third)] });
    await store.queue({ ops: [write(0, noise(65_536), third)] });
    await store.close();
    const index = await openLogIndex(disk, '/osd');
    const rows = index.range('objects', new Uint8Array(0), new Uint8Array(9).fill(0xff), 10);
    expect(rows.map(([name, row]) => [name.at(-1), row[0]])).toEqual([
      [0x61, 2],
      [0x62, 3],
      [0x63, 2],
    ]);
    await index.close();
  });
});
