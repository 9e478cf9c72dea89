import { describe, expect, test } from 'vitest';
import { concatBytes, utf8 } from '../../../base/bytes.ts';
import { memoryDisk } from '../../../base/disk-memory.ts';
import { silentLogger } from '../../../base/log.ts';
import { seededRandom } from '../../../base/random.ts';
import { systemClock } from '../../../base/system.ts';
import type { ObjectStore } from '../../blockstore/api.ts';
import { openBlockStore } from '../../blockstore/blockstore.ts';
import { openLogIndex } from '../../blockstore/index-log.ts';
import { type MemoryStore, memoryStore } from '../../blockstore/memory.ts';
import { OP, OsdOp } from '../../wire/messages/osd_op.ts';
import { type PgId, pgText, SNAP_HEAD } from '../../wire/types.ts';
import { Encoder } from '../../wire/encoding.ts';
import { objectKey } from '../object-key.ts';
import type { ReadBytes } from '../pg-archive.ts';
import { type Exported, exportPg, type ImportTarget, importPg } from '../pg-transfer.ts';
import { loadPg } from '../store-check.ts';
import { severalPgs, type TestClient } from './single.testing.ts';
import { simHash, simPool } from './map.testing.ts';
import type { SimCluster } from './world.testing.ts';

const fsid = '00000000-0000-0000-0000-000000000001';
const names = Array.from({ length: 12 }, (_, n) => `object-${n}`);
const contentOf = (name: string): Uint8Array => utf8(`content of ${name} `.repeat(400));
const keyOf = (name: string): Uint8Array =>
  objectKey({ key: '', name, snap: SNAP_HEAD, hash: simHash(name), max: false, nspace: '', pool: simPool });

async function put(client: TestClient, name: string): Promise<void> {
  client.aim(name);
  const data = contentOf(name);
  const omap = new Encoder().stringMap(new Map([['k', name]]), (e, v) => e.string(v)).finish();
  const ops = [OsdOp.extent(OP.WRITEFULL, 0, data.length, [data]), OsdOp.make(OP.OMAPSETVALS, [omap])];
  expect((await client.exec(name, ops)).result).toBe(0);
}

/** A cluster with objects; both OSDs of one PG are down. */
async function withBothDown() {
  const { cluster, client } = await severalPgs(3);
  for (const name of names) await put(client, name);
  await cluster.scheduler.run(cluster.scheduler.timeMs + 3000);
  const pg = cluster.map.pgOfHash(simPool, simHash(names[0]!));
  const inside = names.filter((name) => cluster.map.pgOfHash(simPool, simHash(name)).seed === pg.seed);
  const [from, to] = cluster.map.place(pg).acting;
  for (const osd of [from!, to!]) {
    cluster.crash(osd);
    cluster.markDown(osd);
  }
  await cluster.scheduler.run(cluster.scheduler.timeMs + 3000);
  return { cluster, client, pg, inside, from: from!, to: to! };
}

async function exported(
  store: ObjectStore,
  pg: PgId,
  more: { skipDamaged?: boolean } = {},
): Promise<{ file: Uint8Array; result: Exported }> {
  const pieces: Uint8Array[] = [];
  const result = await exportPg(store, pg, {
    fsid,
    osd: 0,
    nowMs: 1_700_000_000_000,
    pgNum: 8,
    write: async (more) => void pieces.push(...more.map((piece) => piece.slice())),
    progress: () => undefined,
    skipDamaged: more.skipDamaged ?? false,
  });
  return { file: concatBytes(pieces), result };
}

const readerOf = (file: Uint8Array) => (): ReadBytes => {
  let at = 0;
  return async (count) => {
    const part = file.slice(at, at + count);
    at += part.length;
    return part;
  };
};

/** Commits whatever `work` queues. */
async function committing<T>(store: MemoryStore, work: Promise<T>): Promise<T> {
  let ended = false;
  const end = (): void => {
    ended = true;
  };
  work.then(end, end);
  while (!ended) {
    store.commit(store.uncommitted);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return work;
}

const targetOf = (cluster: SimCluster, store: ObjectStore, change: Partial<ImportTarget> = {}): ImportTarget => ({
  store,
  fsid,
  osd: 1,
  maps: { oldest: 1, newest: cluster.map.epoch, pgNum: (_, pool) => (pool === simPool ? 8 : undefined) },
  ...change,
});
const how = (file: Uint8Array, replace = false) => ({
  open: readerOf(file),
  replace,
  checked: () => undefined,
  written: () => undefined,
});

describe('moving a PG between disks', () => {
  test('both copies are down, one disk is lost: what was exported from the other is imported into a new disk and served from there', async () => {
    const { cluster, client, pg, inside, from, to } = await withBothDown();
    const { file, result } = await exported(cluster.osds[from]!.store, pg);
    expect(result.objects).toBe(inside.length);
    cluster.osds[to]!.store = memoryStore({ commit: 'manual' });
    const { store } = cluster.osds[to]!;
    const imported = await committing(store, importPg(targetOf(cluster, store), how(file)));
    expect(imported).toMatchObject({ objects: inside.length, replaced: undefined });
    expect(store.collections()).toEqual([pgText(pg)]);
    expect(loadPg(store, pgText(pg))!.log.all()).toEqual(loadPg(cluster.osds[from]!.store, pgText(pg))!.log.all());
    cluster.start(to);
    const { scheduler } = cluster;
    await scheduler.run(
      scheduler.timeMs + 60_000,
      () => cluster.osds[to]!.osd!.pgs.get(pgText(pg))?.core.isPrimary === true,
    );
    for (const name of inside) {
      client.aim(name);
      expect(client.target).toBe(to);
      expect((await client.exec(name, [OsdOp.extent(OP.READ, 0, 1e6)])).outs[0], name).toEqual(contentOf(name));
    }
    await put(client, inside[0]!);
    // The other disk comes back after all: it follows.
    cluster.start(from);
    await scheduler.run(scheduler.timeMs + 60_000, () => cluster.allClean());
    expect(loadPg(cluster.osds[from]!.store, pgText(pg))!.info.lastUpdate).toEqual(
      loadPg(store, pgText(pg))!.info.lastUpdate,
    );
  });

  test('an import that ends anywhere leaves no PG, and the next one goes through; the same on a block store', async () => {
    const { cluster, pg, inside, from } = await withBothDown();
    const { file } = await exported(cluster.osds[from]!.store, pg);
    const disk = memoryDisk({ random: seededRandom(1) });
    const open = (from = disk) =>
      openBlockStore({
        disk: from,
        dir: '/osd',
        clock: systemClock,
        log: silentLogger,
        openIndex: openLogIndex,
        capacityBytes: 64 << 20,
        hostReserveBytes: 0,
        journalSegmentBytes: 1 << 20,
      });
    let store = await open();
    let writes = 0;
    const failing = new Proxy(store, {
      get: (target, name) => {
        if (name === 'queue' && ++writes > inside.length) return () => Promise.reject(new Error('power'));
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    await expect(importPg(targetOf(cluster, failing), how(file))).rejects.toThrow('power');
    expect(loadPg(store, pgText(pg))).toBeUndefined();
    expect(store.collections()).toEqual([`import.${pgText(pg)}`]);
    await importPg(targetOf(cluster, store), how(file));
    await store.close();
    store = await open();
    expect(store.collections()).toEqual([pgText(pg)]);
    for (const name of inside) {
      expect(await store.read(pgText(pg), keyOf(name), 0, 1e6)).toEqual(contentOf(name));
      expect(store.omapGet(pgText(pg), keyOf(name), ['k']).size).toBe(1);
    }
    // What comes out again is the same, byte by byte.
    expect(Buffer.from((await exported(store, pg)).file).equals(file)).toBe(true);
    await store.close();
  });

  test('what does not belong there is refused in words, and nothing is changed', async () => {
    const { cluster, pg, from, to } = await withBothDown();
    const { file } = await exported(cluster.osds[from]!.store, pg);
    const empty = memoryStore({ capacityBytes: 1 << 30 });
    const refused = (change: Partial<ImportTarget>, bytes = file, replace = false) =>
      expect(importPg(targetOf(cluster, change.store ?? empty, change), how(bytes, replace))).rejects;
    await refused({ fsid: 'another' }).toMatchObject({ code: 'FOREIGN_DISK' });
    const maps = { oldest: 1, newest: cluster.map.epoch, pgNum: () => 8 };
    await refused({ maps: { ...maps, newest: 1 } }).toMatchObject({
      code: 'PG',
      hint: expect.stringContaining('for a moment'),
    });
    await refused({ maps: { ...maps, pgNum: () => undefined } }).toMatchObject({
      message: expect.stringContaining('not there any more'),
    });
    await refused({ maps: { ...maps, oldest: 999, newest: 1000, pgNum: () => 16 } }).toMatchObject({
      message: expect.stringContaining('had 8 PGs and has 16'),
    });
    await refused({ store: memoryStore({ capacityBytes: 8192 }) }).toMatchObject({ code: 'ENOSPC' });
    const damaged = file.slice();
    damaged[damaged.length - 40]! ^= 1;
    await refused({}, damaged).toMatchObject({ code: 'ARCHIVE' });
    expect(empty.collections()).toEqual([]);

    const { store } = cluster.osds[to]!;
    await refused({ store }).toMatchObject({ message: expect.stringContaining('already') });
    const before = loadPg(store, pgText(pg))!.info.lastUpdate;
    const imported = await committing(store, importPg(targetOf(cluster, store), how(file, true)));
    expect(imported.replaced).toEqual(before);
    expect(store.collections().filter((cid) => /import|replaced/.test(cid))).toEqual([]);
    await expect(exported(store, { pool: 9, seed: 1 })).rejects.toMatchObject({
      code: 'PG',
      hint: expect.stringContaining('1.'),
    });
  });

  test('an older copy does not replace a newer one', async () => {
    const { cluster, client, pg, inside, from, to } = await withBothDown();
    const { file } = await exported(cluster.osds[from]!.store, pg);
    cluster.start(to);
    const { scheduler } = cluster;
    await scheduler.run(
      scheduler.timeMs + 60_000,
      () => cluster.osds[to]!.osd!.pgs.get(pgText(pg))?.core.isPrimary === true,
    );
    await put(client, inside[0]!);
    await scheduler.run(scheduler.timeMs + 3000);
    cluster.crash(to);
    await expect(importPg(targetOf(cluster, cluster.osds[to]!.store), how(file, true))).rejects.toMatchObject({
      message: expect.stringContaining('newer copy'),
    });
  });

  test('a damaged object stops an export; skipped, the copy knows that it lacks it', async () => {
    const { cluster, pg, inside, from } = await withBothDown();
    const { file } = await exported(cluster.osds[from]!.store, pg);
    const disk = memoryDisk({ random: seededRandom(1) });
    const options = {
      disk,
      dir: '/osd',
      clock: systemClock,
      log: silentLogger,
      openIndex: openLogIndex,
      capacityBytes: 64 << 20,
      hostReserveBytes: 0,
    };
    let store = await openBlockStore(options);
    await importPg(targetOf(cluster, store), how(file));
    await store.close();
    const data = await disk.open('/osd/data');
    const bytes = new Uint8Array(await data.size());
    await data.read(bytes, 0);
    disk.flipBit('/osd/data', Buffer.from(bytes).indexOf(contentOf(inside[0]!).subarray(0, 30)) + 100);
    store = await openBlockStore(options);
    await expect(exported(store, pg)).rejects.toMatchObject({
      code: 'CHECKSUM',
      hint: expect.stringContaining('--skip-damaged'),
    });
    const { file: rest, result } = await exported(store, pg, { skipDamaged: true });
    expect(result.skipped).toEqual([keyOf(inside[0]!)]);
    const other = memoryStore({});
    await importPg(targetOf(cluster, other), how(rest));
    const meta = loadPg(other, pgText(pg))!;
    expect([...meta.missing.items.values()].map(({ oid }) => oid.name)).toEqual([inside[0]]);
    expect(other.stat(pgText(pg), keyOf(inside[0]!))).toBeUndefined();
    await store.close();
  });
});
