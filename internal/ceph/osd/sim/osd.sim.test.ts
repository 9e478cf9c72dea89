import { describe, expect, test } from 'vitest';
import { calm, noFatal, options, storm, stuckPgs } from './storm.testing.ts';
import { SimCluster } from './world.testing.ts';

const first = Number(process.env.SIM_SEED ?? 1);
const count = Number(process.env.SIM_SEEDS ?? 12);

describe('simulated OSDs', () => {
  test('three OSDs become clean and serve', async () => {
    await calm(options(1));
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
        await storm(options(seed, fault), 30_000).catch(() => {
          found++;
        });
      expect(found).toBe(1);
    }, 60_000);

  for (let seed = first; seed < first + count; seed++)
    test(`crashes, partitions and false downs: nothing acknowledged is lost (seed ${seed})`, async () => {
      const acknowledged = await storm(options(seed), 60_000);
      expect(acknowledged).toBeGreaterThan(50);
    }, 180_000);
});
