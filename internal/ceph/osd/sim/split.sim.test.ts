import { describe, expect, test } from 'vitest';
import { SimClient } from './client.testing.ts';
import { changePgs, noFatal, options, settleAndCheck, storm } from './storm.testing.ts';
import { SimCluster } from './world.testing.ts';

const first = Number(process.env.SIM_SEED ?? 1);
const count = Number(process.env.SIM_SEEDS ?? 3);

describe('simulated OSDs, a pool whose PGs split and merge', () => {
  test.each([
    ['copies', { ...options(3), pgNum: 2 }],
    ['shards', { ...options(3), pgNum: 2, osds: 4, size: 4, minSize: 3, erasure: { k: 2, chunkBytes: 32 } }],
  ])(
    'of %s, under load, without trouble: nobody waits for long, all objects stay',
    async (_, given) => {
      const cluster = new SimCluster(given);
      const { scheduler } = cluster;
      const clients = [1, 2, 3].map((num) => new SimClient(cluster, num, 5));
      await cluster.begin(clients);
      for (const client of clients) client.start();
      await scheduler.run(scheduler.timeMs + 2000);
      for (const pgNum of [3, 8, 16]) {
        cluster.split(pgNum);
        await scheduler.run(scheduler.timeMs + 2000);
        cluster.place(pgNum);
        await scheduler.run(scheduler.timeMs + 20_000, () => cluster.allClean());
        expect(cluster.map.pgs.pgNum).toBe(pgNum);
      }
      cluster.place(2);
      await scheduler.run(scheduler.timeMs + 60_000, () => cluster.allClean());
      for (let pgNum = 15; pgNum >= 2; pgNum--) {
        cluster.merge();
        const before = clients.reduce((sum, client) => sum + client.acknowledged, 0);
        await scheduler.run(scheduler.timeMs + 20_000, () => cluster.map.pgs.pgNum === pgNum && cluster.allClean());
        await scheduler.run(scheduler.timeMs + 300);
        expect(cluster.map.pgs.pgNum).toBe(pgNum);
        expect(clients.reduce((sum, client) => sum + client.acknowledged, 0)).toBeGreaterThan(before);
      }
      noFatal(cluster);
      await settleAndCheck(cluster, clients);
      for (const [i, { store }] of cluster.osds.entries()) {
        const seeds = [0, 1];
        const shard = (seed: number): string =>
          given.erasure === undefined ? '' : `s${cluster.map.place({ pool: 1, seed }).acting.indexOf(i)}`;
        const left = store.collections().filter((cid) => cid.startsWith('1.'));
        expect(left).toEqual(seeds.map((seed) => `1.${seed}${shard(seed)}`));
      }
    },
    60_000,
  );

  for (let seed = first; seed < first + count; seed++)
    test(`crashes, partitions and false downs: nothing acknowledged is lost (seed ${seed})`, async () => {
      let merges = 0;
      // More OSDs than copies: PGs also move.
      const acknowledged = await storm({ ...options(seed), osds: 5 }, 40_000, (cluster) => {
        changePgs(cluster);
        merges = cluster.merges;
      });
      expect(acknowledged).toBeGreaterThan(50);
      expect(merges).toBeGreaterThan(0);
    }, 180_000);
});
