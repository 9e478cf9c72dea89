import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterAll, describe, expect, test } from 'vitest';
import { utf8 } from '../../base/bytes.ts';
import { type MemoryDisk, memoryDisk } from '../../base/disk-memory.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { seededRandom } from '../../base/random.ts';
import type { CompressionPolicy, TransactionOp } from './api.ts';
import type { BlockStore } from './blockstore.ts';
import { checkData } from './check-data.ts';
import { checkIndex, type IndexCheck } from './check-index.ts';
import { type Fault, FaultList } from './fault.ts';
import type { Index, IndexChange } from './index-api.ts';
import { openLogIndex } from './index-log.ts';
import { newCollection, number, numberOf } from './index-rows.ts';
import { openSqliteIndex } from './index-sqlite-shell.ts';
import { Onode } from './onode.ts';
import { RecordWriter } from './record-writer.ts';
import { countUses } from './used-blocks.ts';
import { dump, randomCompression, randomTransaction } from './workload.testing.ts';
import { capacityBytes, compression, openStore } from './store.testing.ts';

const cid = '1.0';
const key = new Uint8Array([0x61]);
const other = new Uint8Array([0x62]);
const fill = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);
const write = (to: Uint8Array, offset: number, data: Uint8Array): TransactionOp => ({
  op: 'write',
  cid,
  key: to,
  offset,
  data: [data],
});

const compressed = new Map<number, CompressionPolicy>([[1, compression({ mode: 'force' })]]);

async function checked(index: Index): Promise<IndexCheck & { faults: Fault[] }> {
  const list = new FaultList();
  const found = await checkIndex(index, capacityBytes / 4096, list, async () => undefined);
  return { ...found, faults: list.faults };
}

async function checkedDisk(disk: MemoryDisk): Promise<IndexCheck & { faults: Fault[] }> {
  const index = await openLogIndex(disk, '/osd');
  const found = await checked(index);
  await index.close();
  return found;
}

async function dataFaults(disk: MemoryDisk): Promise<Fault[]> {
  const list = new FaultList();
  const store = await openStore(disk, { readOnly: true });
  await checkData(store, list, { progress: () => undefined, recycle: () => undefined });
  await store.close();
  return list.faults;
}

/** A store with an object, a clone of half of it, another one, and key-value rows; everything is in the index. */
async function made(policies?: ReadonlyMap<number, CompressionPolicy>): Promise<MemoryDisk> {
  const disk = memoryDisk({ random: seededRandom(1) });
  const store = await openStore(disk);
  if (policies !== undefined) store.setCompression(policies);
  await store.queue({ ops: [{ op: 'create-collection', cid }, write(key, 0, fill(200_000, 7))] });
  await store.queue({ ops: [{ op: 'clone', cid, from: key, to: other }, write(other, 0, fill(90_000, 8))] });
  await store.queue({ ops: [write(new Uint8Array([0x63]), 0, fill(50_000, 9))] });
  await store.queue({ ops: [{ op: 'omap-set', cid, key, entries: new Map([['a', fill(10, 1)]]) }] });
  await store.close();
  return disk;
}

async function change(disk: MemoryDisk, changes: (index: Index) => IndexChange[]): Promise<void> {
  const index = await openLogIndex(disk, '/osd');
  await index.write(changes(index));
  await index.close();
}

describe('checking a store', () => {
  test('whatever transactions did, nothing is found: in the index of a checkpoint, and in the data with the journal', async () => {
    for (let seed = 1; seed <= 25; seed++) {
      const random = seededRandom(seed);
      const disk = memoryDisk({ random: seededRandom(seed + 1000) });
      const store = await openStore(disk, { memoryBudget: 512 * 1024, journalSegmentBytes: 128 * 1024 });
      for (let n = 0; n < 40; n++) {
        if (n % 10 === 0) store.setCompression(randomCompression(random));
        await store.queue({ ops: randomTransaction(random, store) });
        if (random.uint32() % 10 === 0) await store.checkpoint();
      }
      // A copy of the disk as it is now, with a journal that the index does not hold yet.
      const before = await dump(store);
      disk.crash();
      const left = disk.restart();
      expect((await checkedDisk(left)).faults, `seed ${seed}`).toEqual([]);
      expect(await dataFaults(left)).toEqual([]);
      const again = await openStore(left);
      expect(await dump(again)).toBe(before);
      await again.close();
      expect((await checkedDisk(left)).faults, `seed ${seed}`).toEqual([]);
    }
  });

  test('uses are counted into runs', () => {
    expect(countUses([])).toEqual([]);
    expect(countUses([5, 2])).toEqual([{ start: 5, count: 2, refs: 1 }]);
    expect(countUses([5, 4, 7, 4, 20, 1, 11, 1])).toEqual([
      { start: 5, count: 2, refs: 1 },
      { start: 7, count: 2, refs: 2 },
      { start: 9, count: 3, refs: 1 },
      { start: 20, count: 1, refs: 1 },
    ]);
  });

  const row = (index: Index, table: 'objects' | 'shares' | 'space' | 'meta', nth = 0) =>
    index.range(table, new Uint8Array(0), new Uint8Array(9).fill(0xff), 100)[nth]!;
  const flipped = (bytes: Uint8Array, at: number, bits: number): Uint8Array => {
    const out = bytes.slice();
    out[at]! ^= bits;
    return out;
  };
  const planted: readonly [
    what: string,
    plant: (index: Index) => IndexChange[],
    found: readonly (readonly [string, string])[],
  ][] = [
    [
      'a block of an object counts as free',
      (index) => {
        const [key, value] = row(index, 'space');
        const at = value.findIndex((byte, i) => i > 0 && byte !== 0);
        return [{ table: 'space', key, value: flipped(value, at, 1 << Math.floor(Math.log2(value[at]!))) }];
      },
      [['block-free', 'rebuilt']],
    ],
    [
      'free blocks count as used',
      (index) => {
        const [key, value] = row(index, 'space');
        return [{ table: 'space', key, value: flipped(value, 250, 0xff) }];
      },
      [['block-lost', 'rebuilt']],
    ],
    [
      'the map of used blocks is gone',
      (index) => [{ table: 'space', key: row(index, 'space')[0], value: undefined }],
      [['block-free', 'rebuilt']],
    ],
    [
      'a count of shared blocks is wrong',
      (index) => {
        const [key, value] = row(index, 'shares');
        return [{ table: 'shares', key, value: flipped(value, 13, 4) }];
      },
      [['share', 'rebuilt']],
    ],
    [
      'a count of shared blocks is gone, and one of nothing is there',
      (index) => {
        const [key, value] = row(index, 'shares');
        return [
          { table: 'shares', key, value: undefined },
          { table: 'shares', key: number(numberOf(key) + 1), value },
        ];
      },
      [
        ['share', 'rebuilt'],
        ['share', 'rebuilt'],
      ],
    ],
    [
      'rows of key-value pairs without an object',
      () => [{ table: 'omap', key: new Uint8Array([...number(99), 0x61]), value: fill(3, 3) }],
      [['omap', 'removed']],
    ],
    [
      'a sum is wrong',
      (index) => {
        const [key, value] = row(index, 'meta', 1);
        return [{ table: 'meta', key, value: flipped(value, 33, 1) }];
      },
      [['sums', 'rebuilt']],
    ],
    [
      "an object's row cannot be read",
      (index) => {
        const [key, value] = row(index, 'objects', 2);
        return [{ table: 'objects', key, value: value.subarray(0, value.length - 3) }];
      },
      [
        ['object', 'removed'],
        ['block-lost', 'rebuilt'],
        ['sums', 'rebuilt'],
        ['sums', 'rebuilt'],
      ],
    ],
  ];
  test.each(planted)('%s: it is found, and mended when the changes are written', async (_, plant, found) => {
    const disk = await made();
    expect((await checkedDisk(disk)).faults).toEqual([]);
    await change(disk, plant);
    const { faults, changes } = await checkedDisk(disk);
    expect(faults.map(({ kind, mend }) => [kind, mend])).toEqual(found);
    await change(disk, () => [...changes]);
    expect((await checkedDisk(disk)).faults).toEqual([]);
    expect(await dataFaults(disk)).toEqual([]);
    const store = await openStore(disk);
    await store.queue({ ops: [{ op: 'remove', cid, key: other }, write(key, 0, fill(10, 1))] });
    await store.close();
    expect((await checkedDisk(disk)).faults).toEqual([]);
  });

  test.each(['plain', 'compressed'])(
    'two objects with the same blocks are both named, and share them after the repair: %s',
    async (how) => {
      const disk = await made(how === 'compressed' ? compressed : undefined);
      await change(disk, (index) => {
        const [, value] = row(index, 'objects', 2);
        const [key] = row(index, 'objects', 1);
        const [from, to] = ['c', 'b'];
        const collection = newCollection(cid, 1);
        const same = Onode.decode(collection, from!, 1, 0, value).copy(0, to);
        return [{ table: 'objects', key, value: same.encode(new RecordWriter()) }];
      });
      const { faults, changes } = await checkedDisk(disk);
      const twice = faults.filter(({ kind }) => kind === 'block-twice');
      expect(twice.map((fault) => [fault.key, fault.mend])).toEqual([
        [other, 'rebuilt'],
        [new Uint8Array([0x63]), 'rebuilt'],
      ]);
      // They share the blocks from then on: what is written to one does not change the other, and what one gives up the other keeps.
      await change(disk, () => [...changes]);
      expect((await checkedDisk(disk)).faults).toEqual([]);
      const store = await openStore(disk);
      if (how === 'compressed') store.setCompression(compressed);
      await store.queue({ ops: [write(other, 0, fill(10, 1))] });
      expect(await store.read(cid, new Uint8Array([0x63]), 0, 50_000, true)).toEqual(fill(50_000, 9));
      await store.queue({ ops: [{ op: 'remove', cid, key: other }] });
      await store.queue({ ops: [write(key, 0, fill(300_000, 5))] });
      expect(await store.read(cid, new Uint8Array([0x63]), 0, 50_000, true)).toEqual(fill(50_000, 9));
      await store.close();
      expect((await checkedDisk(disk)).faults).toEqual([]);
    },
  );

  test('sums of what is compressed that are wrong are put right', async () => {
    const disk = await made(compressed);
    const noted = (index: Index): Uint8Array => index.get('meta', utf8('compressed/1'))!;
    let right: Uint8Array | undefined;
    await change(disk, (index) => {
      right = noted(index).slice();
      return [{ table: 'meta', key: utf8('compressed/1'), value: flipped(right, 9, 1) }];
    });
    const { faults, changes } = await checkedDisk(disk);
    expect(faults.map(({ kind, mend, text }) => [kind, mend, /pool 1 are wrong: allocated is/.test(text)])).toEqual([
      ['sums', 'rebuilt', true],
    ]);
    await change(disk, () => [...changes]);
    await change(disk, (index) => {
      expect(noted(index)).toEqual(right);
      // Nothing at all is noted: what is there is counted.
      return [{ table: 'meta', key: utf8('compressed/1'), value: undefined }];
    });
    const again = await checkedDisk(disk);
    expect(again.faults.map(({ kind }) => kind)).toEqual(['sums']);
    await change(disk, () => [...again.changes]);
    expect((await checkedDisk(disk)).faults).toEqual([]);
  });

  /** A store in which the row of `other` has a wrong bit. */
  async function withWrongBit(): Promise<MemoryDisk> {
    const disk = await made();
    await change(disk, (index) => {
      const [key, value] = row(index, 'objects', 1);
      return [{ table: 'objects', key, value: flipped(value, 9, 1) }];
    });
    return disk;
  }

  /** What a store says of an object whose entry is damaged. */
  async function expectDamaged(store: BlockStore, of: Uint8Array): Promise<void> {
    expect(store.stat(cid, of)).toEqual({ size: 0, damaged: true });
    for (const look of [
      () => store.xattr(cid, of, 'x'),
      () => store.xattrs(cid, of),
      () => store.omapHeader(cid, of),
      () => store.omapList(cid, of, { limit: 1 }),
      () => store.omapGet(cid, of, ['x']),
      () => store.extents(cid, of, 0, 1),
    ])
      expect(look).toThrow('its entry in the index is damaged');
    await expect(store.read(cid, of, 0, 10)).rejects.toMatchObject({ code: 'CHECKSUM', cid });
  }

  test('a row with a wrong bit: the store tells nothing of the object, by name, and the others are there', async () => {
    const disk = await withWrongBit();
    const store = await openStore(disk);
    await expectDamaged(store, other);
    expect(store.status().checksumErrors).toBe(1);
    expect(store.list(cid, other, 1)).toEqual([other]);
    expect(store.stat(cid, key)).toEqual({ size: 200_000 });
    await store.close();
    expect((await checkedDisk(disk)).faults[0]).toMatchObject({ kind: 'object', key: other });
  });

  test('what is written to it, it stays damaged: when read again, by replay, in clones; until it is removed', async () => {
    const disk = await withWrongBit();
    const clone = new Uint8Array([0x71]);
    const store = await openStore(disk);
    // Each change with the power lost before the checkpoint, and with one.
    await store.queue({ ops: [write(other, 4096, fill(5000, 3))] });
    await store.queue({ ops: [{ op: 'set-xattrs', cid, key: other, xattrs: new Map([['x', fill(3, 3)]]) }] });
    await store.queue({ ops: [{ op: 'truncate', cid, key: other, size: 9 }] });
    await store.queue({ ops: [{ op: 'clone', cid, from: other, to: clone }] });
    for (const each of [other, clone]) await expectDamaged(store, each);
    disk.crash();
    let left = disk.restart();
    const again = await openStore(left);
    for (const each of [other, clone]) await expectDamaged(again, each);
    await again.checkpoint();
    left.crash();
    left = left.restart();
    const third = await openStore(left);
    for (const each of [other, clone]) await expectDamaged(third, each);
    await third.queue({ ops: [{ op: 'remove', cid, key: other }, write(other, 0, fill(100, 4))] });
    await third.queue({ ops: [{ op: 'clone', cid, from: key, to: clone }] });
    expect(await third.read(cid, other, 0, 1000)).toEqual(fill(100, 4));
    expect(third.stat(cid, clone)).toEqual({ size: 200_000 });
    await third.close();
    const { faults } = await checkedDisk(left);
    expect(faults.filter(({ kind }) => kind === 'object')).toEqual([]);
  });

  test('a write that replay does again to blocks of a row that was damaged since leaves it damaged', async () => {
    const disk = await made();
    const store = await openStore(disk);
    await store.queue({ ops: [write(other, 100, fill(5000, 3))] });
    disk.crash();
    const left = disk.restart();
    await change(left, (index) => {
      const [rowKey, value] = row(index, 'objects', 1);
      return [{ table: 'objects', key: rowKey, value: flipped(value, 9, 1) }];
    });
    const again = await openStore(left);
    await expectDamaged(again, other);
    await again.close();
  });

  test('a row of an object in no collection is told, and its blocks stay taken', async () => {
    const disk = await made();
    await change(disk, (index) => {
      const [key, value] = row(index, 'objects', 2);
      return [
        { table: 'objects', key, value: undefined },
        { table: 'objects', key: flipped(key, 3, 0x40), value },
      ];
    });
    const { faults, changes } = await checkedDisk(disk);
    expect(faults.map(({ kind }) => kind)).toEqual(['stray-object', 'sums', 'sums']);
    expect(changes.map(({ table }) => table)).toEqual(['meta', 'meta']);
  });

  test('every damaged object is found, not only the first; what lies between is not', async () => {
    const disk = await made();
    const file = await disk.open('/osd/data');
    const bytes = new Uint8Array(await file.size());
    await file.read(bytes, 0);
    for (const value of [8, 9]) disk.flipBit('/osd/data', bytes.indexOf(value) + 5000);
    const faults = (await dataFaults(disk)).sort((a, b) => Buffer.compare(a.key!, b.key!));
    expect(faults.map((fault) => [fault.kind, fault.key![0], fault.mend])).toEqual([
      ['checksum', 0x62, 'fetched'],
      ['checksum', 0x63, 'fetched'],
    ]);
    expect(faults[0]!.text).toContain('at 4096');
  });

  test('a store that is looked at refuses writes, and its journal and index stay as they are', async () => {
    const disk = memoryDisk({ random: seededRandom(1) });
    const writer = await openStore(disk);
    await writer.queue({ ops: [{ op: 'create-collection', cid }, write(key, 0, fill(5000, 7))] });
    disk.crash();
    const left = disk.restart();
    const { steps } = left;
    const store = await openStore(left, { readOnly: true });
    expect(await store.read(cid, key, 0, 10)).toEqual(fill(10, 7));
    await expect(store.queue({ ops: [write(key, 0, fill(1, 1))] })).rejects.toMatchObject({ code: 'READ_ONLY' });
    await store.close();
    // Syncs, of the journal and the index as they are opened, are all that reached the disk.
    expect((await openStore(left, { readOnly: true })).status().checkpointIndex).toBe(0);
    expect(left.steps).toBeGreaterThanOrEqual(steps);
    await expect(openStore(memoryDisk({ random: seededRandom(1) }), { readOnly: true })).rejects.toMatchObject({
      code: 'LABEL',
    });
  });

  const directory = mkdtempSync(`${tmpdir()}/check-`);
  afterAll(() => rmSync(directory, { recursive: true }));
  test('on a real disk with sqlite: a good index is good, a damaged page of it is found', async () => {
    const store = await openStore(systemDisk, { dir: directory, openIndex: openSqliteIndex });
    const ops: TransactionOp[] = [{ op: 'create-collection', cid }];
    for (let n = 0; n < 200; n++) ops.push(write(new Uint8Array([0x70, n]), 0, fill(9000, n + 1)));
    await store.queue({ ops });
    await store.close();
    let index = await openSqliteIndex(systemDisk, directory);
    expect((await checked(index)).faults).toEqual([]);
    await index.close();
    const file = await systemDisk.open(`${directory}/index.sqlite`);
    const size = await file.size();
    await file.write([fill(4096, 0xa5)], Math.floor(size / 8192) * 4096);
    await file.close();
    index = await openSqliteIndex(systemDisk, directory);
    const { faults, collections } = await checked(index);
    expect(faults.map(({ kind, mend }) => [kind, mend])).toEqual([['index', 'none']]);
    expect(collections).toBeUndefined();
    await index.close();
  });
});
