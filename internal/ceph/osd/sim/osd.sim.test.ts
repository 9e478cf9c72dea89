import { describe, expect, test } from 'vitest';
import { bytesEqual } from '../../../base/bytes.ts';
import { systemLogger } from '../../../base/system.ts';
import { keyText } from '../../blockstore/errors.ts';
import { LOG_ERROR } from '../../wire/messages/log.ts';
import { pgText } from '../../wire/types.ts';
import { firstObjectKey } from '../object-key.ts';
import { SimClient } from './client.testing.ts';
import { SimCluster, type SimOptions, simPool } from './world.testing.ts';

const verbose = process.env.SIM_VERBOSE === '1';

function options(seed: number, fault?: SimOptions['fault']): SimOptions {
  return {
    ...(fault === undefined ? {} : { fault }),
    seed,
    osds: 3,
    size: 3,
    minSize: 2,
    pgNum: 4,
    // Scrubs all the time: whatever they find wrong is a defect.
    scrub: { scrubMinInterval: 4, scrubMaxInterval: 20, deepScrubInterval: 8, scrubChunkMax: 3, scrubChunkMin: 1 },
    ...(seed % 2 === 0 ? { logEntries: 8 } : {}),
    ...(verbose ? { log: systemLogger({ value: 'debug' }) } : {}),
  };
}

function noFatal(cluster: SimCluster): void {
  for (const osd of cluster.osds) if (osd.fatal !== undefined) throw osd.fatal;
}

/** Copies of every PG must be equal: objects, data, xattrs, omap. */
async function compareCopies(cluster: SimCluster): Promise<void> {
  for (let seed = 0; seed < cluster.options.pgNum; seed++) {
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

/** What the leaders of PGs that are not clean have to say. */
function stuckPgs(cluster: SimCluster): string[] {
  return cluster.osds.flatMap((o) =>
    [...(o.osd?.pgs.values() ?? [])]
      .filter((pg) => pg.core.isPrimary && !pg.clean)
      .map((pg) => `${o.id}: ${JSON.stringify(pg.query())}`),
  );
}

async function settleAndCheck(cluster: SimCluster, clients: SimClient[]): Promise<void> {
  const { scheduler } = cluster;
  cluster.heal();
  for (const osd of cluster.osds) cluster.start(osd.id);
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
  await compareCopies(cluster);
  expect(cluster.clusterLog.filter(({ level }) => level === LOG_ERROR)).toEqual([]);
  expect(cluster.clusterLog.some(({ text }) => text.endsWith('deep-scrub ok'))).toBe(true);
}

async function calm(seed: number): Promise<SimCluster> {
  const cluster = new SimCluster(options(seed));
  const clients = [1, 2].map((num) => new SimClient(cluster, num, 4));
  cluster.onMap = (map) => {
    for (const client of clients) client.newMap(map.epoch);
  };
  for (const osd of cluster.osds) cluster.start(osd.id);
  await cluster.scheduler.run(20_000, () => cluster.allClean());
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

async function storm(seed: number, durationMs: number, fault?: SimOptions['fault']): Promise<number> {
  const cluster = new SimCluster(options(seed, fault));
  const clients = [1, 2, 3].map((num) => new SimClient(cluster, num, 5));
  cluster.onMap = (map) => {
    for (const client of clients) client.newMap(map.epoch);
  };
  for (const osd of cluster.osds) cluster.start(osd.id);
  await cluster.scheduler.run(20_000, () => cluster.allClean());
  for (const client of clients) client.start();
  const { scheduler } = cluster;
  const end = scheduler.timeMs + durationMs;
  const trouble = (): void => {
    if (scheduler.timeMs >= end) return;
    const id = cluster.random.uint32() % cluster.osds.length;
    const roll = cluster.random.float();
    if (roll < 0.4) {
      cluster.crash(id);
      if (cluster.chance(0.7)) scheduler.after(cluster.between(100, 3000), () => cluster.markDown(id));
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
    if (roll >= 0.65 && roll < 0.7)
      for (const osd of cluster.osds) scheduler.after(cluster.between(50, 5000), () => cluster.start(osd.id));
    scheduler.after(cluster.between(200, 4000), trouble);
  };
  trouble();
  await scheduler.run(end);
  noFatal(cluster);
  await settleAndCheck(cluster, clients);
  return clients.reduce((sum, client) => sum + client.acknowledged, 0);
}

const first = Number(process.env.SIM_SEED ?? 1);
const count = Number(process.env.SIM_SEEDS ?? 12);

describe('simulated OSDs', () => {
  test('three OSDs become clean and serve', async () => {
    await calm(1);
  });

  test('first start: OSDs that come up one after another while maps and messages overtake each other make every PG clean', async () => {
    for (let seed = first; seed < first + 10 * count; seed++) {
      const cluster = new SimCluster({ ...options(seed), pgNum: 16 });
      for (const osd of cluster.osds) cluster.scheduler.after(cluster.between(0, 400), () => cluster.start(osd.id));
      await cluster.scheduler.run(30_000, () => cluster.upOsds === 3 && cluster.allClean());
      noFatal(cluster);
      expect({ seed, stuck: stuckPgs(cluster) }).toEqual({ seed, stuck: [] });
    }
  }, 60_000);

  for (const fault of ['early-ack', 'skipped-replica'] as const)
    test(`a planted fault is found: ${fault}`, async () => {
      let found = 0;
      for (let seed = 1; seed <= 4 && found === 0; seed++)
        await storm(seed, 30_000, fault).catch(() => {
          found++;
        });
      expect(found).toBe(1);
    }, 60_000);

  for (let seed = first; seed < first + count; seed++)
    test(`crashes, partitions and false downs: nothing acknowledged is lost (seed ${seed})`, async () => {
      const acknowledged = await storm(seed, 60_000);
      expect(acknowledged).toBeGreaterThan(50);
    }, 180_000);
});
