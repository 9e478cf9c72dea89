import { describe, expect, test } from 'vitest';
import type { Disk } from '../../base/disk.ts';
import { faultyDisk, type PlantedFaults } from '../../base/disk-faults.ts';
import { type MemoryDisk, memoryDisk } from '../../base/disk-memory.ts';
import { type Random, seededRandom } from '../../base/random.ts';
import type { ObjectStore, TransactionOp } from './api.ts';
import type { BlockStore } from './blockstore.ts';
import { type MemoryStore, memoryStore } from './memory.ts';
import { dump, randomCompression, randomTransaction } from './workload.testing.ts';
import { openStore } from './store.testing.ts';

function open(disk: Disk): Promise<BlockStore> {
  return openStore(disk, {
    capacityBytes: 16 * 1024 * 1024,
    // Checkpoints, new segments and recycling all the time.
    memoryBudget: 192 * 1024,
    journalSegmentBytes: 64 * 1024,
    deferredMaxBytes: 8 * 1024,
  });
}

const pick = <T>(random: Random, from: readonly T[]): T => from[random.uint32() % from.length]!;

/** What may be found: the state as of the last acknowledged transaction, then every later one. As text. */
interface Truth {
  states: string[];
}

/** Opens, checks and works until it is done or the power fails. */
async function life(disk: Disk, crashed: Promise<void>, truth: Truth, random: Random, count: number): Promise<void> {
  const work = async (): Promise<void> => {
    const store = await open(disk);
    await check(store, truth);
    store.setCompression(randomCompression(random));
    const twin = await twinOf(store);
    for (let i = 0; i < count; i++) {
      if (random.uint32() % 10 === 0) store.setCompression(randomCompression(random));
      const ops = randomTransaction(random, twin, pick(random, [64, 64, 200]) * 1024);
      await twin.queue({ ops });
      truth.states.push(await dump(twin));
      // Commits come in order: the oldest state is not allowed any more.
      const acknowledged = store.queue({ ops }).then(() => void truth.states.shift());
      if (random.uint32() % 3 === 0) await acknowledged;
      if (random.uint32() % 12 === 0) void store.checkpoint();
    }
    await store.close();
  };
  await Promise.race([work(), crashed]);
}

async function check(store: ObjectStore, truth: Truth): Promise<void> {
  const found = await dump(store);
  if (!truth.states.includes(found)) expect(found).toBe(truth.states[0]);
  // What an open shows counts as acknowledged.
  truth.states = [found];
}

/** A twin that holds what the store holds. */
async function twinOf(store: ObjectStore): Promise<MemoryStore> {
  const twin = memoryStore({ capacityBytes: 2 ** 40 });
  for (const cid of store.collections()) {
    const ops: TransactionOp[] = [{ op: 'create-collection', cid }];
    for (const key of store.list(cid, new Uint8Array(0), 1e6)) {
      const { size } = store.stat(cid, key)!;
      ops.push({ op: 'truncate', cid, key, size });
      for (const { offset, length } of store.extents(cid, key, 0, size))
        ops.push({ op: 'write', cid, key, offset, data: [(await store.read(cid, key, offset, length))!] });
      ops.push({ op: 'set-xattrs', cid, key, xattrs: store.xattrs(cid, key) });
      ops.push({ op: 'omap-set', cid, key, entries: new Map(store.omapList(cid, key, { limit: 1e6 }).entries) });
      ops.push({ op: 'omap-set-header', cid, key, header: store.omapHeader(cid, key) });
    }
    await twin.queue({ ops });
  }
  return twin;
}

/** Everything can be removed, and then nothing is allocated: no block was lost or counted twice. */
async function checkSpace(store: BlockStore): Promise<void> {
  for (const cid of store.collections())
    for (const key of store.list(cid, new Uint8Array(0), 1e6)) await store.queue({ ops: [{ op: 'remove', cid, key }] });
  const { allocatedBytes, dataBytes, objects, compressed } = store.statfs();
  expect({ allocatedBytes, dataBytes, objects }).toEqual({ allocatedBytes: 0, dataBytes: 0, objects: 0 });
  expect(compressed).toEqual({ stored: 0, allocated: 0, original: 0 });
}

/** `STORE_CRASH_SEEDS=2000` for a long run. */
const seeds = Number(process.env.STORE_CRASH_SEEDS ?? 60);

const fresh = (): Truth => ({ states: [''] });

describe('block store: the power fails', () => {
  test('at every step of one life: the state found is the last acknowledged one or a later one', async () => {
    const rehearsal = memoryDisk({ random: seededRandom(30) });
    await life(rehearsal, rehearsal.crashed, fresh(), seededRandom(31), 40);
    expect(rehearsal.steps).toBeGreaterThan(100);
    for (let step = 0; step < rehearsal.steps; step++) {
      const disk = memoryDisk({ random: seededRandom(30) });
      const truth = fresh();
      disk.crashAt(step);
      await life(disk, disk.crashed, truth, seededRandom(31), 40);
      disk.crash();
      const store = await open(disk.restart(seededRandom(step)));
      await check(store, truth);
      await checkSpace(store);
      await store.close();
    }
  });

  test('again and again at random moments, also while opening', { timeout: 60_000 + seeds * 500 }, async () => {
    for (let seed = 0; seed < seeds; seed++) {
      const random = seededRandom(7000 + seed);
      let disk: MemoryDisk = memoryDisk({ random });
      const truth = fresh();
      for (let lives = 0; lives < 5; lives++) {
        disk.crashAt(disk.steps + (random.uint32() % 150));
        await life(disk, disk.crashed, truth, random, 30);
        disk.crash();
        disk = disk.restart();
      }
      const store = await open(disk);
      await check(store, truth);
      await checkSpace(store);
      await store.close();
    }
  });

  const plants: [string, PlantedFaults][] = [
    ['the data file is not synced', { ignoreDatasync: true, only: /data$/ }],
    ['the journal is not synced', { ignoreWriteDurable: true, only: /journal/ }],
    ['the index is not synced', { ignoreDatasync: true, only: /index/ }],
  ];
  for (const [name, faults] of plants)
    test(`planted fault, ${name}: these rounds notice`, async () => {
      let caught = 0;
      for (let seed = 0; seed < 30 && caught < 3; seed++) {
        const random = seededRandom(9000 + seed);
        let disk: MemoryDisk = memoryDisk({ random });
        const truth = fresh();
        try {
          for (let lives = 0; lives < 4; lives++) {
            disk.crashAt(disk.steps + 60 + (random.uint32() % 200));
            await life(faultyDisk(disk, faults), disk.crashed, truth, random, 40);
            disk.crash();
            disk = disk.restart();
          }
          await check(await open(disk), truth);
        } catch {
          caught++;
        }
      }
      expect(caught).toBe(3);
    });
});
