import { expect } from 'vitest';
import { bytesEqual } from '../../../base/bytes.ts';
import { systemLogger } from '../../../base/system.ts';
import { keyText } from '../../blockstore/errors.ts';
import { LOG_ERROR } from '../../wire/messages/log.ts';
import { pgText } from '../../wire/types.ts';
import { firstObjectKey, isObjectKey } from '../object-key.ts';
import { SimClient } from './client.testing.ts';
import { type SimOptions, simPool } from './map.testing.ts';
import { SimReader } from './reader.testing.ts';
import { SimCluster } from './world.testing.ts';

const verbose = process.env.SIM_VERBOSE === '1';

/** Three OSDs, each PG on all of them; scrubbed all the time. */
export function options(seed: number, fault?: SimOptions['fault']): SimOptions {
  return {
    ...(fault === undefined ? {} : { fault }),
    seed,
    osds: 3,
    size: 3,
    minSize: 2,
    pgNum: 4,
    // Scrubs all the time: whatever they find wrong is a defect.
    scrub: {
      ...{ scrubMinInterval: 4, scrubMaxInterval: 20, deepScrubInterval: 8, scrubChunkMax: 3, scrubChunkMin: 1 },
      // Not at once: some objects are found to have no digests before they have.
      deepScrubUpdateDigestMinAge: 2,
    },
    ...(seed % 2 === 0 ? { logEntries: 8 } : {}),
    ...(verbose ? { log: systemLogger({ value: 'debug' }) } : {}),
  };
}

/** No OSD has given up. */
export function noFatal(cluster: SimCluster): void {
  for (const osd of cluster.osds) if (osd.fatal !== undefined) throw osd.fatal;
}

/** Copies of every PG must be equal: objects, data, xattrs, omap. */
async function compareCopies(cluster: SimCluster): Promise<void> {
  for (let seed = 0; seed < cluster.map.pgs.pgNum; seed++) {
    const pg = { pool: simPool, seed };
    const cid = pgText(pg);
    const [first, ...others] = cluster.map.place(pg).acting.map((osd) => cluster.osds[osd]!.store);
    const keys = first!.list(cid, firstObjectKey, 1e6);
    for (const store of others) {
      expect(store.list(cid, firstObjectKey, 1e6).map(keyText)).toEqual(keys.map(keyText));
      for (const key of keys) {
        const [a, b] = await Promise.all([first!.read(cid, key, 0, 1e9), store.read(cid, key, 0, 1e9)]);
        if (!bytesEqual(a!, b!)) throw new Error(`pg ${cid}: ${keyText(key)} differs`);
        expect(store.xattrs(cid, key)).toEqual(first!.xattrs(cid, key));
        expect(store.omapList(cid, key, { limit: 1e6 })).toEqual(first!.omapList(cid, key, { limit: 1e6 }));
      }
    }
  }
}

/** The shards of every object must be those of one object: xattrs equal, and the coding chunks what the data chunks give. */
async function compareShards(cluster: SimCluster): Promise<void> {
  const { code } = cluster.map.pool(simPool)!.code!;
  for (let seed = 0; seed < cluster.map.pgs.pgNum; seed++) {
    const { acting } = cluster.map.place({ pool: simPool, seed });
    const shards = acting.map((osd, shard) => {
      const cid = pgText({ pool: simPool, seed, shard });
      const { store } = cluster.osds[osd]!;
      const keys = store.list(cid, firstObjectKey, 1e6).filter(isObjectKey);
      // Nothing is kept to take writes back once all is quiet.
      expect(store.list(cid, firstObjectKey, 1e6).length).toBe(keys.length);
      return { store, cid, keys };
    });
    const [first] = shards;
    for (const { keys } of shards) expect(keys.map(keyText)).toEqual(first!.keys.map(keyText));
    for (const key of first!.keys) {
      const chunks = await Promise.all(shards.map(({ store, cid }) => store.read(cid, key, 0, 1e9)));
      for (const { store, cid } of shards) expect(store.xattrs(cid, key)).toEqual(first!.store.xattrs(first!.cid, key));
      const made = code.encode(chunks.slice(0, code.k).map((chunk) => chunk!));
      made.forEach((chunk, i) => {
        if (!bytesEqual(chunk, chunks[code.k + i]!))
          throw new Error(`pg 1.${seed}: ${keyText(key)} shard ${code.k + i}`);
      });
    }
  }
}

/** What the leaders of PGs that are not clean have to say. */
export function stuckPgs(cluster: SimCluster): string[] {
  return cluster.osds.flatMap((o) =>
    [...(o.osd?.pgs.values() ?? [])]
      .filter((pg) => pg.core.isPrimary && !pg.clean)
      .map((pg) => `${o.id}: ${JSON.stringify(pg.query())}`),
  );
}

/** Ends all trouble, waits until every PG is clean, reads everything and compares the copies. `damaged`: scrubs had something to find. */
export async function settleAndCheck(cluster: SimCluster, clients: SimClient[], damaged = false): Promise<void> {
  const { scheduler } = cluster;
  cluster.heal();
  for (const osd of cluster.osds) {
    cluster.start(osd.id);
    cluster.setOut(osd.id, false);
  }
  for (const client of clients) client.stopped = true;
  await scheduler.run(scheduler.timeMs + 300_000, () => cluster.allClean() && clients.every((c) => !c.busy));
  noFatal(cluster);
  expect(stuckPgs(cluster)).toEqual([]);
  expect(clients.filter((c) => c.busy).map((c) => c.num)).toEqual([]);
  for (const client of clients) {
    for (const oid of client.expected.keys()) {
      let done = false;
      client.readAll(oid, () => {
        done = true;
      });
      await scheduler.run(scheduler.timeMs + 60_000, () => done);
      expect(done).toBe(true);
    }
    expect(client.errors).toEqual([]);
  }
  await scheduler.run(scheduler.timeMs + 12_000);
  if (cluster.options.erasure === undefined) await compareCopies(cluster);
  else await compareShards(cluster);
  if (!damaged) expect(cluster.clusterLog.filter(({ level }) => level === LOG_ERROR)).toEqual([]);
  expect(cluster.clusterLog.some(({ text }) => text.endsWith('deep-scrub ok'))).toBe(true);
}

/** Writers without trouble. */
export async function calm(given: SimOptions): Promise<SimCluster> {
  const cluster = new SimCluster(given);
  const clients = [1, 2].map((num) => new SimClient(cluster, num, 4));
  await cluster.begin(clients);
  noFatal(cluster);
  expect(cluster.allClean()).toBe(true);
  for (const client of clients) client.start();
  await cluster.scheduler.run(cluster.scheduler.timeMs + 5000);
  noFatal(cluster);
  for (const client of clients) {
    expect(client.errors).toEqual([]);
    expect(client.acknowledged).toBeGreaterThan(100);
  }
  await settleAndCheck(cluster, clients);
  return cluster;
}

/** Splits the pool's PGs, has them placed elsewhere and merges them, at random. */
export function changePgs(cluster: SimCluster): void {
  const { pgNum, pgpNum } = cluster.map.pgs;
  const roll = cluster.random.float();
  if (roll < 0.25 && pgNum < 10) cluster.split(pgNum + 1 + (cluster.random.uint32() % 6));
  else if (roll < 0.4) cluster.place(1 + (cluster.random.uint32() % pgNum));
  else if (pgpNum < pgNum) cluster.merge();
  else cluster.place(Math.max(1, pgpNum - 4));
}

/** An OSD goes out, and comes in again later: its shards go to others and come back. */
export function moveShards(cluster: SimCluster): void {
  const id = cluster.random.uint32() % cluster.osds.length;
  if (!cluster.chance(0.3)) return;
  if (!cluster.map.states.some(({ out }) => out)) cluster.setOut(id, true);
  else for (const osd of cluster.osds) cluster.setOut(osd.id, false);
}

/**
 * Writers and readers while OSDs crash, part, are cut off from everybody but clients and are taken for down, and `change` is called now and then; then everything must be there. Gives how many writes were
 * acknowledged.
 */
export async function storm(
  given: SimOptions,
  durationMs: number,
  change?: (cluster: SimCluster) => void,
): Promise<number> {
  const cluster = new SimCluster(given);
  const clients = [1, 2, 3].map((num) => new SimClient(cluster, num, 5));
  const readers = [1, 2].map((num) => new SimReader(cluster, num, clients));
  await cluster.begin([...clients, ...readers]);
  for (const client of [...clients, ...readers]) client.start();
  const { scheduler } = cluster;
  const end = scheduler.timeMs + durationMs;
  const trouble = (): void => {
    if (scheduler.timeMs >= end) return;
    const id = cluster.random.uint32() % cluster.osds.length;
    const roll = cluster.random.float();
    if (roll < 0.4) {
      cluster.crash(id);
      // A refused connection tells the mon that it is dead; silence does not.
      const dead = cluster.chance(0.5);
      const { nonce } = cluster.osds[id]!;
      if (cluster.chance(0.7))
        scheduler.after(cluster.between(100, 3000), () =>
          cluster.markDown(id, dead && cluster.osds[id]!.nonce === nonce),
        );
      scheduler.after(cluster.between(50, 8000), () => cluster.start(id));
    } else if (roll < 0.5) cluster.markDown(id);
    else if (roll < 0.65) {
      const other = (id + 1) % cluster.osds.length;
      cluster.part(id, other);
      scheduler.after(cluster.between(100, 4000), () => {
        if (cluster.chance(0.5)) cluster.markDown(id);
        cluster.heal();
      });
    } else if (roll < 0.7) for (const osd of cluster.osds) cluster.crash(osd.id);
    else if (roll < 0.85) {
      cluster.cutOff(id);
      if (cluster.chance(0.8)) scheduler.after(cluster.between(50, 1500), () => cluster.markDown(id));
      scheduler.after(cluster.between(1000, 6000), () => cluster.heal());
    }
    if (roll >= 0.65 && roll < 0.7)
      for (const osd of cluster.osds) scheduler.after(cluster.between(50, 5000), () => cluster.start(osd.id));
    scheduler.after(cluster.between(200, 4000), trouble);
  };
  trouble();
  const changes = (): void => {
    if (scheduler.timeMs >= end) return;
    change?.(cluster);
    scheduler.after(cluster.between(100, 3000), changes);
  };
  if (change !== undefined) changes();
  await scheduler.run(end);
  noFatal(cluster);
  for (const reader of readers) reader.stopped = true;
  await settleAndCheck(cluster, clients);
  expect(readers.flatMap((reader) => reader.wrong())).toEqual([]);
  for (const reader of readers) expect(reader.seen.length).toBeGreaterThan(100);
  return clients.reduce((sum, client) => sum + client.acknowledged, 0);
}
