import { describe, expect, test } from 'vitest';
import type { Clock, Timer } from '../base/clock.ts';
import { memoryDisk } from '../base/disk-memory.ts';
import type { Disk } from '../base/disk.ts';
import { faultyDisk } from '../base/disk-faults.ts';
import { silentLogger } from '../base/log.ts';
import { type Random, seededRandom } from '../base/random.ts';
import type { Journal, JournalOptions } from './api.ts';
import { openJournal } from './journal.ts';

/** Time that a test moves. */
function manualClock(): Clock & { advance(ms: number): void } {
  let now = 1_700_000_000_000;
  const timers = new Set<{ at: number; fn: () => void }>();
  return {
    now: () => now,
    monotonic: () => now,
    after: (delayMs, fn): Timer => {
      const timer = { at: now + delayMs, fn };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
    advance: (ms) => {
      now += ms;
      for (const timer of [...timers])
        if (timer.at <= now) {
          timers.delete(timer);
          timer.fn();
        }
    },
  };
}

const clock = manualClock();

function open(disk: Disk, more: Partial<JournalOptions> = {}): Promise<Journal> {
  return openJournal({ disk, dir: '/data/journal', clock, log: silentLogger, segmentBytes: 16384, ...more });
}

async function contents(journal: Journal, from = 0): Promise<Map<number, string>> {
  const found = new Map<number, string>();
  await journal.replay(from, ({ index, type, payload }) => {
    found.set(index, `${type}:${Buffer.from(payload).toString('latin1')}`);
  });
  return found;
}

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');

describe('journal', () => {
  test('records come back in order after a clean stop, in pieces or not', async () => {
    const disk = memoryDisk({ random: seededRandom(1) });
    const journal = await open(disk);
    expect(journal.lastIndex).toBe(0);
    const first = journal.append(7, [bytes('ab'), bytes('c')]);
    const second = journal.append(8, []);
    const third = journal.append(9, [bytes('x'.repeat(5000)), bytes('y')]);
    expect([first.index, second.index, third.index]).toEqual([1, 2, 3]);
    await Promise.all([first.done, second.done, third.done]);
    await journal.close();

    const again = await open(disk);
    expect(again.lastIndex).toBe(3);
    expect(again.status().tornBytes).toBe(0);
    expect(await contents(again)).toEqual(
      new Map([
        [1, '7:abc'],
        [2, '8:'],
        [3, `9:${'x'.repeat(5000)}y`],
      ]),
    );
    expect([...(await contents(again, 3)).keys()]).toEqual([3]);
    await again.close();
  });

  test('what arrives while a write is in flight shares the next one', async () => {
    const disk = memoryDisk({ random: seededRandom(2) });
    const journal = await open(disk, { segmentBytes: 1024 * 1024 });
    const before = disk.steps;
    const all = Array.from({ length: 100 }, (_, i) => journal.append(1, [bytes(`r${i}`)]).done);
    await Promise.all(all);
    // One write, durable in the same trip: two steps of the simulated disk.
    expect(disk.steps - before).toBe(2);
    await journal.close();
  });

  test('volatile records are synced after volatileSyncMs, or with the next durable record', async () => {
    const disk = memoryDisk({ random: seededRandom(3) });
    const journal = await open(disk);
    await journal.append(1, [bytes('v')], 'volatile').done;
    expect(journal.status().durableIndex).toBe(0);
    clock.advance(5000);
    await journal.sync();
    expect(journal.status().durableIndex).toBe(1);
    await journal.append(1, [bytes('w')], 'volatile').done;
    await journal.append(1, [bytes('d')]).done;
    expect(journal.status().durableIndex).toBe(3);
    disk.crash();
    const again = await open(disk.restart());
    expect([...(await contents(again)).values()]).toEqual(['1:v', '1:w', '1:d']);
  });

  test('deferred records wait in memory for another record, or for deferredMs, or until they are many', async () => {
    const disk = memoryDisk({ random: seededRandom(3) });
    const journal = await open(disk);
    const before = disk.steps;
    const memory = bytes('e');
    await journal.append(1, [memory], 'deferred').done;
    // Whoever was told that it is done may use the memory again.
    memory[0] = 0;
    await journal.append(1, [bytes('f')], 'deferred').done;
    expect(disk.steps).toBe(before);
    clock.advance(59_000);
    expect(disk.steps).toBe(before);
    clock.advance(1000);
    await journal.sync();
    expect(journal.status().durableIndex).toBe(2);
    await journal.append(1, [bytes('g')], 'deferred').done;
    await journal.append(1, [bytes('d')]).done;
    expect(journal.status().durableIndex).toBe(4);
    const large = bytes('h'.repeat(10_000));
    for (let i = 0; i < 7; i++) await journal.append(1, [large], 'deferred').done;
    await journal.sync();
    expect(journal.status().durableIndex).toBe(11);
    // The write that is over would still take it along.
    await new Promise((resolve) => setImmediate(resolve));
    await journal.append(1, [bytes('lost')], 'deferred').done;
    disk.crash();
    const again = await open(disk.restart());
    expect([...(await contents(again)).values()].slice(0, 4)).toEqual(['1:e', '1:f', '1:g', '1:d']);
    expect(again.lastIndex).toBe(11);
  });

  test('a record larger than a segment gets one of its own', async () => {
    const disk = memoryDisk({ random: seededRandom(4) });
    const journal = await open(disk);
    await journal.append(1, [bytes('small')]).done;
    await journal.append(1, [new Uint8Array(100_000).fill(0x61)]).done;
    await journal.append(1, [bytes('after')]).done;
    expect(() => journal.append(1, [new Uint8Array(65 * 1024 * 1024)])).toThrow(RangeError);
    await journal.close();
    const again = await open(disk);
    expect((await contents(again)).get(2)?.length).toBe(100_002);
    expect((await contents(again)).get(3)).toBe('1:after');
    await again.close();
  });

  test('reclaim gives whole segments back and uses their files again; old records are not replayed', async () => {
    const disk = memoryDisk({ random: seededRandom(5) });
    const journal = await open(disk);
    for (let i = 1; i <= 200; i++) await journal.append(1, [new Uint8Array(1000).fill(i)]).done;
    expect(journal.status().segments).toBeGreaterThan(10);
    journal.reclaim(195);
    for (let i = 201; i <= 230; i++) await journal.append(2, [new Uint8Array(1000).fill(i)]).done;
    await journal.close();
    expect(journal.firstIndex).toBeGreaterThan(100);
    expect(journal.status().segments).toBeLessThan(6);
    expect((await disk.list('/data/journal')).length).toBeLessThan(9);

    const again = await open(disk);
    expect(again.lastIndex).toBe(230);
    const found = [...(await contents(again)).keys()];
    expect(found[0]).toBe(again.firstIndex);
    expect(found.at(-1)).toBe(230);
    expect(found.length).toBe(230 - again.firstIndex + 1);
    await again.close();
  });

  for (const kind of ['rename', 'remove', 'syncDirectory'] as const)
    test(`a recycling that fails (${kind}) leaves no gap, and a later one goes on`, async () => {
      const disk = memoryDisk({ random: seededRandom(50) });
      const journal = await open(disk);
      for (let i = 1; i <= 100; i++) await journal.append(1, [new Uint8Array(1000).fill(i)]).done;
      disk.failNext(kind, 'EIO');
      journal.reclaim(90);
      await journal.close();
      const stopped = journal.firstIndex;
      expect(stopped).toBeLessThan(80);

      const again = await open(disk);
      expect([...(await contents(again)).keys()][0]).toBe(stopped);
      disk.failNext(kind, 'EIO');
      again.reclaim(91);
      await again.append(1, [bytes('between')]).done;
      // A replay beside the recycling reads what is left only.
      await contents(again, 92);
      again.reclaim(92);
      await again.close();
      expect(again.firstIndex).toBeGreaterThan(80);
      const last = await open(disk);
      expect(last.lastIndex).toBe(101);
      expect((await contents(last)).size).toBe(101 - last.firstIndex + 1);
      await last.close();
    });

  /** Three records in one write, after another one. */
  const lastBatch = async (journal: Journal): Promise<void> => {
    await journal.append(1, [bytes('first')]).done;
    await Promise.all([2, 3, 4].map((i) => journal.append(1, [bytes(`record ${i}`)]).done));
  };
  const path = '/data/journal/seg-0000000000000001';

  test('a damaged record before the tail is an error with file and offset', async () => {
    const disk = memoryDisk({ random: seededRandom(6) });
    const journal = await open(disk);
    for (let i = 0; i < 5; i++) await journal.append(1, [bytes(`record ${i}`)]).done;
    await journal.close();
    disk.flipBit(path, 4096 + 2 * 56 + 50);
    await expect(open(disk)).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT', file: path, offset: 4096 + 2 * 56 });
  });

  test.each([2, 3, 4])(
    'record %i, of what was written last before a clean stop, is damaged: an error with file and offset, also when it was opened since',
    async (record) => {
      const disk = memoryDisk({ random: seededRandom(6) });
      const journal = await open(disk);
      await lastBatch(journal);
      await journal.close();
      const again = await open(disk);
      expect(again.status().tornBytes).toBe(0);
      expect(again.lastIndex).toBe(4);
      await again.close();
      const offset = 4096 + (record - 1) * 56;
      disk.flipBit(path, offset + 50);
      await expect(open(disk)).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT', file: path, offset });
    },
  );

  test('what is damaged of the last write before a crash is cut, and told', async () => {
    const disk = memoryDisk({ random: seededRandom(6) });
    await lastBatch(await open(disk));
    disk.crash();
    const restarted = disk.restart();
    restarted.flipBit(path, 4096 + 2 * 56 + 50);
    const journal = await open(restarted);
    expect([journal.lastIndex, journal.status().tornBytes]).toEqual([2, 112]);
    await journal.close();
  });

  test('a journal goes on where it was closed: the mark of its end is written over', async () => {
    const disk = memoryDisk({ random: seededRandom(6) });
    const written: string[] = [];
    for (let life = 0; life < 5; life++) {
      const journal = await open(disk);
      expect(journal.status().tornBytes).toBe(0);
      expect([...(await contents(journal)).values()]).toEqual(written);
      written.push(`${life}:`);
      await journal.append(life, []).done;
      await journal.close();
    }
    disk.flipBit(path, 4096 + 4 * 48 + 20);
    await expect(open(disk)).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT', offset: 4096 + 4 * 48 });
  });

  test('a segment without room for the mark of the end is closed by the next one', async () => {
    const disk = memoryDisk({ random: seededRandom(6) });
    const journal = await open(disk);
    const fill = 16384 - 4096 - 48 - 40;
    await journal.append(1, [new Uint8Array(fill)]).done;
    await journal.close();
    const again = await open(disk);
    expect([again.lastIndex, again.status().segments, again.status().tornBytes]).toEqual([1, 2, 0]);
    await again.close();
    disk.flipBit(path, 5000);
    const damaged = await open(disk);
    await expect(contents(damaged)).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT', offset: 4096 });
    await damaged.close();
  });

  test('a damaged record in an older segment is found by replay', async () => {
    const disk = memoryDisk({ random: seededRandom(7) });
    const journal = await open(disk);
    for (let i = 0; i < 40; i++) await journal.append(1, [new Uint8Array(1000).fill(i)]).done;
    await journal.close();
    disk.flipBit('/data/journal/seg-0000000000000002', 5000);
    const again = await open(disk);
    await expect(contents(again)).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT', offset: 4096 });
    await again.close();
  });

  test('a damaged header or a missing segment is an error', async () => {
    const disk = memoryDisk({ random: seededRandom(8) });
    const journal = await open(disk);
    for (let i = 0; i < 60; i++) await journal.append(1, [new Uint8Array(1000).fill(i)]).done;
    await journal.close();
    disk.flipBit('/data/journal/seg-0000000000000002', 25);
    await expect(open(disk)).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT' });
    await disk.remove('/data/journal/seg-0000000000000002');
    await expect(open(disk)).rejects.toMatchObject({ code: 'JOURNAL_CORRUPT' });
  });

  test('a full disk rejects what is in flight and everything later; what was acknowledged is there', async () => {
    const disk = memoryDisk({ random: seededRandom(9), capacityBytes: 80_000 });
    const journal = await open(disk);
    const acknowledged: number[] = [];
    let failure: unknown;
    for (let i = 1; i <= 200 && failure === undefined; i++)
      await journal.append(1, [new Uint8Array(1000).fill(i)]).done.then(
        () => acknowledged.push(i),
        (error: unknown) => {
          failure = error;
        },
      );
    expect(failure).toMatchObject({ code: 'JOURNAL_FAILED' });
    expect(() => journal.append(1, [])).toThrow('could not be written');
    expect(journal.status().failed).toContain('no space');
    await journal.close();
    disk.setCapacity(10_000_000);
    const again = await open(disk);
    expect([...(await contents(again)).keys()]).toEqual(acknowledged);
    await again.append(1, [bytes('more')]).done;
    await again.close();
  });

  test('a failed sync fails the journal for good: what it covered is not acknowledged', async () => {
    const disk = memoryDisk({ random: seededRandom(10) });
    const journal = await open(disk);
    await journal.append(1, [bytes('one')]).done;
    disk.failNext('datasync', 'EIO');
    await expect(journal.append(1, [bytes('two')]).done).rejects.toMatchObject({ code: 'JOURNAL_FAILED' });
    expect(() => journal.append(1, [bytes('three')])).toThrow();
    await expect(journal.sync()).rejects.toThrow();
    await journal.close();
  });
});

/** What was appended at each index last, and up to where it must be there. */
interface Truth {
  written: Map<number, string>;
  durable: number;
  reclaimed: number;
}

function check(truth: Truth, journal: Journal, found: Map<number, string>): void {
  expect(journal.lastIndex).toBeGreaterThanOrEqual(truth.durable);
  expect(journal.firstIndex).toBeLessThanOrEqual(Math.max(1, truth.reclaimed));
  expect(found.size).toBe(journal.lastIndex - journal.firstIndex + 1);
  for (const [index, text] of found) expect([index, text]).toEqual([index, truth.written.get(index)]);
}

/** Appends and reclaims until it is done or the power fails. */
async function life(
  disk: Disk,
  crashed: Promise<void>,
  truth: Truth,
  random: Random,
  name: string,
  count: number,
): Promise<void> {
  const work = async (): Promise<void> => {
    const journal = await open(disk);
    const found = await contents(journal);
    check(truth, journal, found);
    // What an open shows counts as acknowledged.
    truth.durable = journal.lastIndex;
    for (const index of truth.written.keys()) if (index > journal.lastIndex) truth.written.delete(index);
    const waits: Promise<void>[] = [];
    for (let i = 0; i < count; i++) {
      const length = [0, 10, 100, 900, 3000][random.uint32() % 5]!;
      const text = `${name}.${i}.`.padEnd(length, 'z');
      const kind = (['volatile', 'deferred', 'durable', 'durable', 'durable'] as const)[random.uint32() % 5]!;
      const { index, done } = journal.append(i, [bytes(text.slice(0, 5)), bytes(text.slice(5))], kind);
      truth.written.set(index, `${i}:${text}`);
      const acknowledged = done.then(() => {
        if (kind === 'durable') truth.durable = Math.max(truth.durable, index);
      });
      waits.push(acknowledged);
      if (random.uint32() % 3 === 0) await acknowledged;
      if (random.uint32() % 10 === 0 && truth.durable > 5) {
        truth.reclaimed = Math.max(truth.reclaimed, truth.durable - (random.uint32() % 5));
        journal.reclaim(truth.reclaimed);
      }
    }
    await Promise.all(waits);
    await journal.close();
    truth.durable = journal.lastIndex;
  };
  await Promise.race([work(), crashed]);
}

describe('journal: the power fails', () => {
  test('at every step of one life: nothing acknowledged is lost, nothing is made up', async () => {
    const rehearsal = memoryDisk({ random: seededRandom(20) });
    await life(
      rehearsal,
      rehearsal.crashed,
      { written: new Map(), durable: 0, reclaimed: 0 },
      seededRandom(21),
      'a',
      60,
    );
    expect(rehearsal.steps).toBeGreaterThan(60);
    for (let step = 0; step < rehearsal.steps; step++) {
      const disk = memoryDisk({ random: seededRandom(20) });
      const truth: Truth = { written: new Map(), durable: 0, reclaimed: 0 };
      disk.crashAt(step);
      await life(disk, disk.crashed, truth, seededRandom(21), 'a', 60);
      const journal = await open(disk.restart(seededRandom(step)));
      check(truth, journal, await contents(journal));
      await journal.close();
    }
  });

  test('again and again at random moments, also while opening', async () => {
    for (let seed = 0; seed < 150; seed++) {
      const random = seededRandom(1000 + seed);
      let disk = memoryDisk({ random });
      const truth: Truth = { written: new Map(), durable: 0, reclaimed: 0 };
      for (let lives = 0; lives < 6; lives++) {
        disk.crashAt(disk.steps + (random.uint32() % 60));
        await life(disk, disk.crashed, truth, random, `${seed}.${lives}`, 30);
        disk.crash();
        disk = disk.restart();
      }
      const journal = await open(disk);
      check(truth, journal, await contents(journal));
      await journal.close();
    }
  });

  test('planted faults: without the sync of records, or of names, the same rounds lose data', async () => {
    for (const fault of [{ ignoreWriteDurable: true }, { ignoreSyncDirectory: true }]) {
      let caught = 0;
      for (let seed = 0; seed < 40; seed++) {
        const random = seededRandom(5000 + seed);
        const disk = memoryDisk({ random });
        const truth: Truth = { written: new Map(), durable: 0, reclaimed: 0 };
        disk.crashAt(40 + (random.uint32() % 60));
        await life(faultyDisk(disk, fault), disk.crashed, truth, random, 'x', 60);
        disk.crash();
        try {
          const journal = await open(disk.restart());
          check(truth, journal, await contents(journal));
        } catch {
          caught++;
        }
      }
      expect(caught).toBeGreaterThan(5);
    }
  });
});
