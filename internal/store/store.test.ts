import { Database as Sqlite } from 'bun:sqlite';
import * as fs from 'node:fs';
import * as os from 'node:os';
import { afterEach, describe, expect, test } from 'vitest';
import { systemDisk } from '../base/disk-system.ts';
import { AppError } from '../base/errors.ts';
import { silentLogger } from '../base/log.ts';
import { seededRandom } from '../base/random.ts';
import { systemClock } from '../base/system.ts';
import type { RequestOp, Store, WatchEvent } from './api.ts';
import {
  CompactedError,
  FutureRevisionError,
  InvalidRequestError,
  KeyNotFoundError,
  LeaseNotFoundError,
  NoSpaceError,
} from './errors.ts';
import { prefixEnd } from './keys.ts';
import { encodeCommand } from './command.ts';
import { openJournal } from '../journal/journal.ts';
import { openStore, resetCluster, type StoreOptions } from './store.ts';
import { restoreStore } from './restore.ts';
import { revisionSkip } from './revisions.ts';
import { bytes, ManualClock, Model, plain, randomTxn } from './testing.ts';

const made: string[] = [];
const open = new Set<Store>();

function directory(): string {
  const dir = fs.mkdtempSync(`${os.tmpdir()}/store-test-`);
  made.push(dir);
  return `${dir}/store`;
}

const standard = (dir: string, options: Partial<StoreOptions> = {}): StoreOptions => ({
  dir,
  disk: systemDisk,
  clock: systemClock,
  random: seededRandom(1),
  log: silentLogger,
  writer: 'inline',
  segmentBytes: 1 << 20,
  ...options,
});

async function start(dir: string, options: Partial<StoreOptions> = {}): Promise<Store> {
  const store = await openStore(standard(dir, options));
  open.add(store);
  return store;
}

async function stop(store: Store): Promise<void> {
  open.delete(store);
  await store.close();
}

afterEach(async () => {
  for (const store of open) await store.close();
  open.clear();
  for (const dir of made.splice(0)) fs.rmSync(dir, { recursive: true, force: true });
});

const put = (store: Store, key: string, value: string, lease?: bigint) =>
  store.put({ key: bytes(key), value: bytes(value), ...(lease !== undefined && { lease }) });

const get = async (store: Store, key: string, revision?: number) =>
  plain((await store.range({ key: bytes(key), ...(revision !== undefined && { revision }) })).kvs);

/** Collects what a watch is told. */
function collect(store: Store, key: string, startRevision?: number, rangeEnd?: Uint8Array) {
  const seen: [number, WatchEvent[]][] = [];
  let ended: Error | undefined;
  const watch = store.watch(
    {
      key: bytes(key),
      prevKv: true,
      ...(startRevision !== undefined && { startRevision }),
      ...(rangeEnd && { rangeEnd }),
    },
    {
      onEvents: (events, revision) => seen.push([revision, events]),
      onEnd: (error) => {
        ended = error;
      },
    },
  );
  return { seen, watch, ended: () => ended };
}

async function save(store: Store, file: string): Promise<void> {
  const pieces: Uint8Array[] = [];
  for await (const piece of (await store.snapshot()).pieces()) pieces.push(piece);
  fs.writeFileSync(file, Buffer.concat(pieces));
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 2));
  expect(condition()).toBe(true);
}

test('the names of the store’s directory and of its parents are made durable', async () => {
  const dir = `${directory()}/deep/er`;
  const synced = new Set<string>();
  const disk = {
    ...systemDisk,
    syncDirectory: (path: string) => {
      synced.add(path);
      return systemDisk.syncDirectory(path);
    },
  };
  await stop(await start(dir, { disk }));
  const base = dir.slice(0, -'/store/deep/er'.length);
  expect([...synced]).toEqual(
    expect.arrayContaining([base, `${base}/store`, `${base}/store/deep`, dir, `${dir}/journal`]),
  );
});

describe('store', () => {
  test('a put gives key, revisions and versions as etcd does', async () => {
    const store = await start(directory());
    expect(store.revision).toBe(1);
    expect((await put(store, 'a', '1')).revision).toBe(2);
    expect((await put(store, 'a', '2')).revision).toBe(3);
    expect(await get(store, 'a')).toEqual([
      { key: 'a', value: '2', createRevision: 2, modRevision: 3, version: 2, lease: '0n' },
    ]);
    expect(await get(store, 'a', 2)).toEqual([
      { key: 'a', value: '1', createRevision: 2, modRevision: 2, version: 1, lease: '0n' },
    ]);
    const deleted = await store.delete({ key: bytes('a'), prevKv: true });
    expect([deleted.revision, deleted.deleted, plain(deleted.prevKvs[0]!.value)]).toEqual([4, 1, '2']);
    expect((await store.delete({ key: bytes('a') })).revision).toBe(4);
    expect(await get(store, 'a')).toEqual([]);
    await put(store, 'a', '3');
    expect(await get(store, 'a')).toMatchObject([{ createRevision: 5, version: 1 }]);
  });

  test('a future revision, a compacted revision, an empty key and a key written twice are refused', async () => {
    const store = await start(directory());
    for (let i = 0; i < 5; i++) await put(store, 'a', `${i}`);
    await expect(store.range({ key: bytes('a'), revision: 99 })).rejects.toBeInstanceOf(FutureRevisionError);
    await store.compact(4);
    await expect(store.range({ key: bytes('a'), revision: 3 })).rejects.toBeInstanceOf(CompactedError);
    expect(await get(store, 'a', 4)).toMatchObject([{ value: '2' }]);
    await expect(store.compact(4)).rejects.toBeInstanceOf(CompactedError);
    await expect(store.compact(99)).rejects.toBeInstanceOf(FutureRevisionError);
    await expect(put(store, '', 'x')).rejects.toBeInstanceOf(InvalidRequestError);
    const one: RequestOp = { op: 'put', request: { key: bytes('k'), value: bytes('v') } };
    const gone: RequestOp = { op: 'delete', request: { key: bytes('a'), rangeEnd: bytes('z') } };
    for (const success of [
      [one, one],
      [one, gone],
      [gone, one],
      [gone, { op: 'txn' as const, request: { compare: [], success: [one], failure: [] } }],
    ])
      await expect(store.txn({ compare: [], success, failure: [] })).rejects.toThrow('duplicate key');
    const either: RequestOp = { op: 'txn', request: { compare: [], success: [one], failure: [one] } };
    expect((await store.txn({ compare: [], success: [either], failure: [one] })).succeeded).toBe(true);
  });

  test('a put with an unknown lease changes nothing, also in a transaction', async () => {
    const store = await start(directory());
    await expect(put(store, 'a', '1', 7n)).rejects.toBeInstanceOf(LeaseNotFoundError);
    const puts = ['a', 'b'].map(
      (key, i): RequestOp => ({
        op: 'put',
        request: { key: bytes(key), value: bytes('v'), lease: BigInt(7 * i) },
      }),
    );
    await expect(store.txn({ compare: [], success: puts, failure: [] })).rejects.toBeInstanceOf(LeaseNotFoundError);
    expect(store.revision).toBe(1);
    expect(await get(store, 'a')).toEqual([]);
  });

  test('a watch from a revision is told everything once, from the database, from memory and live', async () => {
    const store = await start(directory(), { recentBytes: 2000, flushAfterMs: 5 });
    for (let i = 0; i < 1200; i++) void put(store, `k/${i % 7}`, `${i}`);
    await put(store, 'other', 'x');
    await new Promise((resolve) => setTimeout(resolve, 50));
    const watched = collect(store, 'k/', 2, prefixEnd(bytes('k/')));
    const single = collect(store, 'k/3', 500);
    for (let i = 1200; i < 1300; i++) await put(store, `k/${i % 7}`, `${i}`);
    await until(() => watched.seen.length >= 1300);
    expect(watched.seen.map(([, events]) => plain(events[0]!.kv.value))).toEqual(
      Array.from({ length: 1300 }, (_, i) => `${i}`),
    );
    expect(plain(watched.seen[8]![1][0]!.prevKv)).toMatchObject({ value: '1', version: 1 });
    expect(single.seen.every(([revision, events]) => revision >= 500 && plain(events[0]!.kv.key) === 'k/3')).toBe(true);
    watched.watch.close();
    await put(store, 'k/1', 'after close');
    expect(watched.seen.length).toBe(1300);
  });

  test('a watch from a compacted revision ends with CompactedError, one from the future begins there', async () => {
    const store = await start(directory());
    for (let i = 0; i < 10; i++) await put(store, 'a', `${i}`);
    await store.compact(8);
    const old = collect(store, 'a', 7);
    const edge = collect(store, 'a', 8);
    const later = collect(store, 'a', 13);
    await until(() => old.ended() !== undefined && edge.seen.length === 4);
    expect(old.ended()).toBeInstanceOf(CompactedError);
    expect((old.ended() as CompactedError).compactRevision).toBe(8);
    await put(store, 'a', 'twelve');
    await put(store, 'a', 'thirteen');
    expect(later.seen.map(([revision]) => revision)).toEqual([13]);
  });

  test('a lease takes its keys with it when it expires, not before, and survives a restart', async () => {
    const dir = directory();
    const clock = new ManualClock();
    let store = await start(dir, { clock });
    const { id, ttlSeconds } = await store.leaseGrant(10);
    expect(ttlSeconds).toBe(10);
    await put(store, 'a', '1', id);
    await put(store, 'b', '1', id);
    await put(store, 'b', '2');
    clock.advance(8000);
    await store.leaseKeepAlive(id);
    clock.advance(8000);
    expect(plain(await store.leaseTimeToLive(id, { keys: true }))).toEqual({
      ttlSeconds: 2,
      grantedTtlSeconds: 10,
      keys: ['a'],
    });
    await stop(store);
    store = await start(dir, { clock });
    expect(await store.leases()).toEqual([id]);
    expect((await store.leaseTimeToLive(id)).ttlSeconds).toBe(10);
    const watched = collect(store, 'a');
    clock.advance(10_100);
    await until(() => watched.seen.length === 1);
    expect(watched.seen[0]![1][0]!.type).toBe('delete');
    expect(await store.leases()).toEqual([]);
    await expect(store.leaseKeepAlive(id)).rejects.toBeInstanceOf(LeaseNotFoundError);
    expect(await get(store, 'b')).toMatchObject([{ value: '2' }]);
  });

  test('a lease does not expire because this process stood still', async () => {
    const clock = new ManualClock();
    const store = await start(directory(), { clock });
    const { id } = await store.leaseGrant(5);
    const stalled = clock as unknown as { monotonic(): number };
    const real = clock.monotonic.bind(clock);
    stalled.monotonic = () => real() + 60_000;
    clock.advance(5000);
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await store.leases()).toEqual([id]);
  });

  test('after an unclean start revisions jump past reserved ones and older watches are told', async () => {
    const dir = directory();
    const first = await start(dir);
    await put(first, 'a', '1');
    const handedOut = await first.put({ key: bytes('b'), value: bytes('2') }, 'volatile');
    expect(handedOut.revision).toBe(3);
    const copy = directory();
    fs.cpSync(dir, copy, { recursive: true });
    const second = await start(copy);
    expect(second.revision).toBeGreaterThan(10_000);
    const old = collect(second, 'a', handedOut.revision + 1);
    await until(() => old.ended() !== undefined);
    expect(old.ended()).toBeInstanceOf(CompactedError);
    const current = collect(second, 'c', second.revision + 1);
    const next = await put(second, 'c', '3');
    expect(next.revision).toBe(second.revision);
    expect(current.seen.length).toBe(1);
    expect(await get(second, 'a')).toMatchObject([{ value: '1', modRevision: 2 }]);
    await stop(first);
    const clean = await start(dir);
    expect(clean.revision).toBe(3);
  });

  test('lives that end too early for a checkpoint leave neither a log of the database nor a journal that grows without end', {
    timeout: 240_000,
  }, async () => {
    const options = { checkpointBytes: 2 << 20, segmentBytes: 1 << 18 };
    const size = (path: string): number =>
      fs.statSync(path).isDirectory()
        ? fs.readdirSync(path).reduce((sum, name) => sum + size(`${path}/${name}`), 0)
        : fs.statSync(path).size;
    let dir = directory();
    for (let life = 0; life < 6; life++) {
      const store = await start(dir, options);
      await Promise.all(Array.from({ length: 20 }, (_, i) => put(store, `${i % 10}`, 'v'.repeat(30_000))));
      // Everything is in the database.
      await store.hashKv();
      const killed = directory();
      fs.cpSync(dir, killed, { recursive: true });
      await stop(store);
      dir = killed;
      expect(size(`${dir}/state.db-wal`)).toBeLessThan(3.5 * 2 ** 20);
      expect(size(`${dir}/journal`)).toBeLessThan(3 * 2 ** 20);
    }
    const store = await start(dir, options);
    expect((await store.range({ key: bytes('0'), rangeEnd: bytes(':') })).count).toBe(10);
  });

  test('a member that was not alone for a while reserves revisions again before it hands them out unsynced', async () => {
    const dir = directory();
    const store = await start(dir);
    await store.put({ key: bytes('a'), value: bytes('1') }, 'volatile');
    const { id } = await store.cluster.addMember(['https://10.0.0.9:2380'], true);
    await store.put({ key: bytes('a'), value: bytes('2') }, 'volatile');
    await store.cluster.removeMember(id);
    const { revision } = await store.put({ key: bytes('a'), value: bytes('3') }, 'volatile');
    const copy = directory();
    fs.cpSync(dir, copy, { recursive: true });
    const after = await start(copy);
    expect(after.revision).toBeGreaterThan(revision + 9000);
  });

  test('a put keeps the value or the lease, and is refused for a key that does not exist', async () => {
    const store = await start(directory());
    const { id } = await store.leaseGrant(100);
    await put(store, 'a', '1', id);
    await store.put({ key: bytes('a'), value: bytes('2'), ignoreLease: true });
    expect(await get(store, 'a')).toMatchObject([{ value: '2', lease: `${id}n` }]);
    await store.put({ key: bytes('a'), value: bytes(''), ignoreValue: true });
    expect(await get(store, 'a')).toMatchObject([{ value: '2', lease: '0n', version: 3 }]);
    await expect(store.put({ key: bytes('b'), value: bytes(''), ignoreValue: true })).rejects.toBeInstanceOf(
      KeyNotFoundError,
    );
    await expect(
      put(store, 'a', '3').then(() => store.put({ key: bytes('a'), value: bytes('x'), ignoreValue: true })),
    ).rejects.toMatchObject({ code: 'VALUE_PROVIDED' });
    expect(store.revision).toBe(5);
  });

  test('a watch leaves out what it filters, and tells how far it is', async () => {
    const store = await start(directory());
    const seen: string[] = [];
    const watch = store.watch(
      { key: bytes('a'), startRevision: 2, noPut: true },
      { onEvents: (events) => seen.push(...events.map(({ type }) => type)), onEnd: () => undefined },
    );
    for (let i = 0; i < 3; i++) {
      await put(store, 'a', `${i}`);
      await store.delete({ key: bytes('a') });
    }
    await until(() => watch.progress() === store.revision);
    expect(seen).toEqual(['delete', 'delete', 'delete']);
  });

  test('a full store refuses puts and leases, also after a restart, until the alarm is disarmed; deletes and compaction work', async () => {
    const dir = directory();
    const options = { quotaBytes: 200_000, flushAfterMs: 1 };
    let store = await start(dir, options);
    const refused = async () => {
      for (let i = 0; i < 500; i++) await put(store, 'big', 'x'.repeat(4000));
    };
    await expect(refused()).rejects.toBeInstanceOf(NoSpaceError);
    await until(() => store.status().revision > 0);
    await stop(store);
    store = await start(dir, options);
    expect(await store.alarms()).toEqual([{ memberId: store.cluster.memberId, type: 'nospace' }]);
    await expect(put(store, 'small', 'x')).rejects.toBeInstanceOf(NoSpaceError);
    await expect(store.leaseGrant(10)).rejects.toBeInstanceOf(NoSpaceError);
    await store.delete({ key: bytes('big') });
    await store.compact(store.revision, { physical: true });
    await store.defragment();
    expect(store.status().databaseBytes).toBeLessThan(200_000);
    expect(await store.disarmAlarm({ memberId: 0n, type: 'nospace' })).toHaveLength(1);
    await put(store, 'small', 'x');
  });

  test('what is left of a long lease is remembered at the next start, and a renewed one has its whole time', async () => {
    const dir = directory();
    const clock = new ManualClock();
    let store = await start(dir, { clock });
    const old = await store.leaseGrant(3600);
    const renewed = await store.leaseGrant(3600);
    for (let i = 0; i < 22; i++) {
      clock.advance(60_000);
      await put(store, 'a', `${i}`);
    }
    await store.leaseKeepAlive(renewed.id);
    await stop(store);
    store = await start(dir, { clock });
    expect((await store.leaseTimeToLive(old.id)).ttlSeconds).toBe(3600 - 20 * 60);
    expect((await store.leaseTimeToLive(renewed.id)).ttlSeconds).toBe(3600);
  });

  test('a snapshot restored into a new directory has every revision, leases and alarms, and another cluster id', async () => {
    const dir = directory();
    const store = await start(dir, { flushAfterMs: 1 });
    const lease = await store.leaseGrant(100, -5n);
    for (let i = 0; i < 300; i++) await put(store, `k${i % 90}`, 'v'.repeat((i * 37) % 9000));
    await put(store, 'leased', 'x', lease.id);
    await store.delete({ key: bytes('k1'), rangeEnd: bytes('k2') });
    await store.compact(100, { physical: true });
    await store.raiseAlarm({ memberId: 9n, type: 'nospace' });
    const file = `${dir}/../snapshot`;
    await save(store, file);
    const copy = directory();
    const { revision } = await restoreStore({ from: file, dir: copy, disk: systemDisk, skip: 0 });
    expect(revision).toBe(store.revision);
    const restored = await start(copy, { random: seededRandom(2) });
    expect(restored.cluster.clusterId).not.toBe(store.cluster.clusterId);
    expect([restored.revision, restored.compactRevision]).toEqual([store.revision, 100]);
    expect(await restored.leases()).toEqual([-5n]);
    expect(plain(await restored.alarms())).toEqual([{ memberId: '9n', type: 'nospace' }]);
    for (const at of [100, 200, store.revision]) {
      const range = { key: bytes('\0'), rangeEnd: bytes('\0'), revision: at };
      expect(plain((await restored.range(range)).kvs)).toEqual(plain((await store.range(range)).kvs));
    }
    expect((await restored.hashKv()).hash).toBe((await store.hashKv()).hash);
    await expect(restoreStore({ from: file, dir: copy, disk: systemDisk })).rejects.toThrow('is not empty');
  });

  test.each(['a restored snapshot', 'a reset cluster'])(
    '%s: its revisions are beyond all that were seen, and a watch from before is told that it cannot go on',
    async (what) => {
      let dir = directory();
      const store = await start(dir);
      for (let i = 0; i < 20; i++) await put(store, `k${i % 7}`, String(i));
      const member = await store.cluster.addMember(['http://127.0.0.1:1'], true);
      const { clusterId, memberId } = store.cluster;
      expect(store.cluster.members().map(({ id }) => id)).toContain(member.id);
      await save(store, `${dir}.snapshot`);
      // The end of this life: seen by watches, in no snapshot.
      const lost = (await put(store, 'k0', 'lost')).revision;
      await stop(store);
      if (what === 'a reset cluster') {
        for (const seed of [2, 3]) await resetCluster(standard(dir, { random: seededRandom(seed) }));
      } else {
        dir = directory();
        await restoreStore({ from: `${made[0]!}/store.snapshot`, dir, disk: systemDisk });
      }
      const again = await start(dir, { random: seededRandom(4) });
      expect(again.cluster.clusterId).not.toBe(clusterId);
      if (what === 'a reset cluster') expect(again.cluster.memberId).toBe(memberId);
      expect(again.cluster.members()).toMatchObject([{ id: again.cluster.memberId, learner: false }]);
      expect(again.revision).toBeGreaterThan(lost + revisionSkip / 2);
      expect(await get(again, 'k6')).toMatchObject([{ value: '13', version: 2 }]);
      for (const revision of [2, lost - 1, lost, lost + 1, lost + 100]) {
        const watched = collect(again, 'k0', revision);
        await until(() => watched.ended() !== undefined);
        expect(watched.ended()).toMatchObject({ code: 'COMPACTED' });
        await expect(again.range({ key: bytes('k0'), revision })).rejects.toMatchObject({ code: 'COMPACTED' });
      }
      const watched = collect(again, 'k0', again.revision + 1);
      const { revision } = await put(again, 'k0', 'new');
      await until(() => watched.seen.length > 0);
      expect(watched.seen[0]![0]).toBe(revision);
      // What it is now holds after the next start, too.
      await stop(again);
      expect((await start(dir)).revision).toBe(revision);
    },
  );

  test('a damaged, cut off or foreign snapshot is refused and nothing is left', async () => {
    const store = await start(directory());
    for (let i = 0; i < 50; i++) await put(store, `k${i}`, 'v'.repeat(i * 100));
    const file = `${made[0]!}/snapshot`;
    await save(store, file);
    const whole = fs.readFileSync(file);
    const flipped = Buffer.from(whole);
    flipped[whole.length >> 1]! ^= 1;
    const cases: [Uint8Array, string][] = [
      [flipped, 'checksum is wrong'],
      [whole.subarray(0, whole.length - 4096), 'checksum is wrong'],
      [whole.subarray(0, whole.length - 32), 'no checksum'],
      [Buffer.concat([Buffer.alloc(4096), new Bun.CryptoHasher('sha256').update(Buffer.alloc(4096)).digest()]), 'meta'],
    ];
    for (const [content, message] of cases) {
      fs.writeFileSync(file, content);
      const target = directory();
      await expect(restoreStore({ from: file, dir: target, disk: systemDisk })).rejects.toThrow(message);
      expect(fs.existsSync(`${target}/state.db`)).toBe(false);
    }
  });

  test('fuzz: a snapshot whose pages were damaged under a right checksum is refused, never a crash', async () => {
    const store = await start(directory());
    for (let i = 0; i < 200; i++) await put(store, `k${i}`, 'v'.repeat((i * 13) % 600));
    const file = `${made[0]!}/snapshot`;
    await save(store, file);
    const whole = fs.readFileSync(file);
    const random = seededRandom(Number(process.env.FUZZ_SEED ?? 1));
    for (let round = 0; round < Number(process.env.FUZZ_ROUNDS ?? 60); round++) {
      const damaged = Buffer.from(whole.subarray(0, -32));
      for (let i = 0; i <= random.uint32() % 6; i++)
        damaged[8192 + (random.uint32() % (damaged.length - 8192))] = random.uint32() & 0xff;
      fs.writeFileSync(file, Buffer.concat([damaged, new Bun.CryptoHasher('sha256').update(damaged).digest()]));
      const target = directory();
      await restoreStore({ from: file, dir: target, disk: systemDisk }).catch((error: unknown) => {
        if (!(error instanceof AppError)) throw error;
      });
      fs.rmSync(target, { recursive: true, force: true });
    }
  });

  test('a database of the format before is brought to this one', async () => {
    const dir = directory();
    const store = await start(dir);
    const { id } = await store.leaseGrant(50);
    for (const key of ['a', 'b', 'c', 'd']) await put(store, key, '0');
    await store.delete({ key: bytes('b'), rangeEnd: bytes('d') });
    await put(store, 'c', '1');
    await put(store, 'a', '1', id);
    await stop(store);
    const db = new Sqlite(`${dir}/state.db`);
    db.run('ALTER TABLE lease DROP COLUMN remaining');
    for (const table of ['alarm', 'raft', 'live']) db.run(`DROP TABLE ${table}`);
    db.run("DELETE FROM meta WHERE name = 'term'");
    db.run("UPDATE meta SET value = 1 WHERE name = 'format'");
    db.close();
    const again = await start(dir);
    expect((await again.leaseTimeToLive(id)).grantedTtlSeconds).toBe(50);
    const { kvs, count } = await again.range({ key: bytes('a'), rangeEnd: bytes('z'), limit: 2 });
    expect([kvs.map(({ key }) => String.fromCharCode(...key)), count]).toEqual([['a', 'c'], 3]);
    await again.raiseAlarm({ memberId: 1n, type: 'corrupt' });
    await expect(put(again, 'a', '2')).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  test('a directory from before there were groups is taken over: what was only in its journal too', async () => {
    const dir = directory();
    const first = await start(dir);
    await put(first, 'a', '1');
    await stop(first);
    const db = new Sqlite(`${dir}/state.db`);
    for (const table of ['raft', 'live']) db.run(`DROP TABLE ${table}`);
    db.run("DELETE FROM meta WHERE name = 'term'");
    db.run("UPDATE meta SET value = 2 WHERE name = 'format'");
    db.run("UPDATE meta SET value = 1 WHERE name = 'applied'");
    db.close();
    fs.rmSync(`${dir}/journal`, { recursive: true });
    const journal = await openJournal({
      disk: systemDisk,
      dir: `${dir}/journal`,
      clock: systemClock,
      log: silentLogger,
    });
    for (const [key, value] of [
      ['a', '1'],
      ['a', '2'],
      ['b', '1'],
    ]) {
      const request = { key: bytes(key!), value: bytes(value!) };
      await journal.append(1, encodeCommand({ kind: 'op', op: { op: 'put', request } })).done;
    }
    await journal.close();
    for (let life = 0; life < 3; life++) {
      const store = await start(dir);
      expect(await get(store, 'a')).toMatchObject([{ value: '2', modRevision: 3, version: 2 }]);
      expect(await get(store, 'b')).toMatchObject([{ value: '1', modRevision: 4 }]);
      expect((await put(store, `c${life}`, '')).revision).toBe(5 + life);
      expect(store.cluster.members()).toMatchObject([{ learner: false }]);
      await stop(store);
    }
  });

  test('a journal that is damaged in its middle is refused, and it is said how the server comes back', async () => {
    const dir = directory();
    const store = await start(dir);
    for (let i = 0; i < 20; i++) await put(store, `k${i}`, `damage me ${i}`);
    await stop(store);
    const files = fs.readdirSync(`${dir}/journal`).map((name) => `${dir}/journal/${name}`);
    const hit = files.find((file) => fs.readFileSync(file).includes('damage me 7'))!;
    const bytesOf = fs.readFileSync(hit);
    bytesOf[bytesOf.indexOf('damage me 7')]! ^= 1;
    fs.writeFileSync(hit, bytesOf);
    await expect(start(dir)).rejects.toMatchObject({
      code: 'STORE_DAMAGED',
      message: expect.stringMatching(/journal\/.*damaged record at offset \d+/) as string,
      hint: expect.stringMatching(/--replace.*appliance reset.*appliance join.*snapshot restore/) as string,
    });
  });

  test('a damaged pair of database and journal is refused', async () => {
    const dir = directory();
    const store = await start(dir);
    await put(store, 'a', '1');
    await stop(store);
    fs.rmSync(`${dir}/journal`, { recursive: true });
    await expect(start(dir)).rejects.toThrow('no journal');
  });

  test('a directory whose keys alone were read has its values all the same', async () => {
    const store = await start(directory(), { flushAfterMs: 5 });
    await put(store, 'd/a', '1');
    const range = { key: bytes('d/'), rangeEnd: prefixEnd(bytes('d/')) };
    for (let i = 0; i < 2; i++) {
      expect(plain((await store.range({ ...range, keysOnly: true })).kvs)).toMatchObject([{ key: 'd/a', value: '' }]);
      expect(plain((await store.range(range)).kvs)).toMatchObject([{ key: 'd/a', value: '1' }]);
    }
    await stop(store);
  });

  test('the thread writes the same database', async () => {
    const dir = directory();
    const store = await start(dir, { writer: 'worker', flushAfterMs: 5 });
    for (let i = 0; i < 3000; i++) void store.put({ key: bytes(`k${i % 100}`), value: bytes(`${i}`) });
    await put(store, 'end', 'x');
    await store.compact(2500);
    expect((await store.range({ key: bytes('k'), rangeEnd: bytes('l'), limit: 3 })).count).toBe(100);
    await stop(store);
    const again = await start(dir);
    expect((await again.range({ key: bytes('k'), rangeEnd: bytes('l') })).count).toBe(100);
    expect(await get(again, 'k99')).toMatchObject([{ value: '2999', version: 30 }]);
  });
});

describe('store against a model', () => {
  for (const seed of [1, 2, 3, 4])
    test(`random transactions, restarts, crashes and compactions: seed ${seed}`, async () => {
      const random = seededRandom(seed);
      const model = new Model();
      let dir = directory();
      const options = { recentBytes: 20_000, flushAfterMs: 3, cacheBytes: 20_000, segmentBytes: 64 << 10 };
      let store = await start(dir, options);
      let compacted = 0;
      for (let step = 0; step < 1500; step++) {
        const what = random.uint32() % 200;
        if (what === 0) {
          await stop(store);
          store = await start(dir, options);
        } else if (what === 1) {
          // A crash: what is on disk at this moment, without the end that `close` makes.
          const copy = directory();
          fs.cpSync(dir, copy, { recursive: true });
          if (random.uint32() % 3 === 0)
            for (const end of ['-wal', '-shm']) fs.rmSync(`${copy}/state.db${end}`, { force: true });
          await stop(store);
          dir = copy;
          store = await start(dir, options);
        } else if (what < 5 && model.revision > compacted + 10) {
          compacted = model.revision - (random.uint32() % 10);
          await store.compact(compacted);
        } else if (what < 15) {
          await new Promise((resolve) => setTimeout(resolve, random.uint32() % 8));
        } else {
          const txn = randomTxn(random, model.revision, compacted);
          const answer = await store.txn(txn).catch((error: unknown) => error);
          if (answer instanceof InvalidRequestError) continue;
          if (answer instanceof Error) throw answer;
          expect(plain(answer)).toEqual(plain(model.apply(txn)));
        }
      }
      expect(store.revision).toBe(model.revision);
      const hash = await store.hashKv();
      const twin = directory();
      await save(store, `${dir}.snapshot`);
      await restoreStore({ from: `${dir}.snapshot`, dir: twin, disk: systemDisk, skip: 0 });
      expect(await (await start(twin)).hashKv()).toEqual(hash);
      const from = Math.max(1, compacted);
      const watched = collect(store, 'key/', from, prefixEnd(bytes('key/')));
      const expected = model.events.filter(({ revision }) => revision >= from);
      await until(() => watched.seen.length >= expected.length);
      const known = (event: WatchEvent): unknown =>
        plain(event.kv.modRevision - 1 >= compacted ? event : { type: event.type, kv: event.kv });
      expect(watched.seen.map(([revision, events]) => [revision, events.map(known)])).toEqual(
        expected.map(({ revision, events }) => [revision, events.map(known)]),
      );
      for (let revision = from; revision <= model.revision; revision += 7) {
        const answer = await store.range({ key: bytes('key/'), rangeEnd: prefixEnd(bytes('key/')), revision });
        expect(plain(answer.kvs)).toEqual(
          plain(model.live({ key: bytes('key/'), rangeEnd: prefixEnd(bytes('key/')) }, revision)),
        );
      }
    }, 120_000);
});
