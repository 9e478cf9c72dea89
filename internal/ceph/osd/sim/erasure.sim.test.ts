import { describe, expect, test } from 'vitest';
import { calm, options, storm } from './storm.testing.ts';
import type { SimOptions } from './world.testing.ts';

/** k data and m coding shards on one OSD more than that, so that PGs move. */
function erasure(seed: number, k: number, m: number, fault?: SimOptions['fault']): SimOptions {
  return {
    ...options(seed, fault),
    osds: k + m + (seed % 3 === 0 ? 0 : 1),
    size: k + m,
    minSize: k + Math.min(1, m - 1),
    erasure: { k, chunkBytes: 32 },
  };
}

const shapes = [
  [2, 2],
  [2, 1],
  [3, 2],
] as const;
const first = Number(process.env.SIM_SEED ?? 1);
const count = Number(process.env.SIM_SEEDS ?? 6);

describe('simulated OSDs, erasure-coded pool', () => {
  test('shards become clean and serve', async () => {
    for (const [k, m] of shapes) await calm(erasure(1, k, m));
  }, 60_000);

  for (let seed = first; seed < first + count; seed++)
    test(`crashes, partitions and false downs: nothing acknowledged is lost (seed ${seed})`, async () => {
      const [k, m] = shapes[seed % shapes.length]!;
      const acknowledged = await storm(erasure(seed, k, m), 60_000);
      expect(acknowledged).toBeGreaterThan(30);
    }, 180_000);
});
