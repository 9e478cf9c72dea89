import * as fs from 'node:fs';
import * as os from 'node:os';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { KeyValue } from './api.ts';
import { Database } from './database-system.ts';
import { keyText } from './keys.ts';
import type { Batch } from './rows.ts';
import { verifySnapshot } from './snapshot-system.ts';
import { bytes } from './testing.ts';
import { verifySnapshotAside, WorkerWriter } from './worker-system.ts';

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(`${os.tmpdir()}/worker-test-`);
});
afterEach(() => fs.rmSync(dir, { recursive: true, force: true }));

/** Entry `index` puts one key. */
function batch(index: number, value = bytes(String(index))): Batch {
  const key = bytes(`k${index % 100}`);
  const kv: KeyValue = { key, value, createRevision: index + 1, modRevision: index + 1, version: 1, lease: 0n };
  return {
    meta: { appliedIndex: index, appliedTerm: 1, revision: index + 1, compactRevision: 0, reserved: 0 },
    versions: [{ key: keyText(key), kv, sub: 0 }],
    leases: [],
  };
}

/** Turns of the event loop until `work` is done. */
async function turnsOf(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let done = false;
  const ended = work.finally(() => {
    done = true;
  });
  while (!done) {
    await new Promise((resolve) => setImmediate(resolve));
    turns++;
  }
  await ended;
  return turns;
}

describe('a checkpoint', () => {
  test.each(['nobody reads', 'a reader began when everything was copied', 'a reader began before the last change'])(
    'what it says is there after a power loss: %s',
    (who) => {
      const path = `${dir}/state.db`;
      const lost = `${dir}/lost`;
      fs.mkdirSync(lost);
      const database = new Database(path, {
        cacheBytes: 1 << 20,
        // What a power loss leaves of it.
        syncFile: (file) => fs.copyFileSync(file, `${lost}/state.db-wal`),
      });
      const reader = new Database(path, { cacheBytes: 1 << 20 });
      database.write(batch(1));
      expect(database.checkpoint()).toBe(1);
      if (who === 'a reader began before the last change') database.write(batch(2));
      const change = (): void => {
        database.write(batch(3));
        expect(database.checkpoint()).toBe(3);
      };
      if (who === 'nobody reads') change();
      else reader.moment(change);
      fs.copyFileSync(path, `${lost}/state.db`);
      const after = new Database(`${lost}/state.db`, { cacheBytes: 1 << 20 });
      expect(after.meta().appliedIndex).toBe(3);
      expect(after.get('k3', 10)).toBeDefined();
      for (const one of [after, reader, database]) one.close();
    },
  );
});

describe('a store of many megabytes', () => {
  test('is written to while a snapshot of it is made, and the snapshot is of its moment', async () => {
    const writer = await WorkerWriter.start(`${dir}/state.db`);
    const value = new Uint8Array(1_000_000).fill(1);
    for (let index = 1; index <= 20; index++) await writer.write(batch(index, value));
    let made = false;
    const snapshot = writer.snapshot(`${dir}/snapshot.db`).finally(() => {
      made = true;
    });
    let index = 20;
    let before = 0;
    do {
      await writer.write(batch(++index));
      await writer.checkpoint();
      if (!made) before++;
    } while (!made);
    expect(before).toBeGreaterThan(0);
    const { revision } = await snapshot;
    expect(revision).toBeLessThanOrEqual(index);
    expect(verifySnapshot(`${dir}/snapshot.db`)).toMatchObject({ revision });
    // Closing waits for whoever reads.
    const last = writer.copy(`${dir}/copy.db`);
    await writer.close();
    await last;
    const copy = new Database(`${dir}/copy.db`, { cacheBytes: 1 << 20 });
    expect(copy.meta().appliedIndex).toBe(index);
    copy.close();
  });

  test('a snapshot is checked off the event loop; a damaged one is refused as ever', async () => {
    const path = `${dir}/snapshot.db`;
    const writer = await WorkerWriter.start(`${dir}/state.db`);
    for (let index = 1; index <= 10; index++) await writer.write(batch(index, new Uint8Array(500_000)));
    await writer.snapshot(path);
    await writer.close();
    expect(await turnsOf(verifySnapshotAside(path))).toBeGreaterThan(1);
    const damaged = fs.readFileSync(path);
    damaged[damaged.length >> 1]! ^= 1;
    fs.writeFileSync(path, damaged);
    await expect(verifySnapshotAside(path)).rejects.toMatchObject({
      message: expect.stringContaining('checksum is wrong') as unknown,
      code: 'SNAPSHOT',
    });
  });
});
