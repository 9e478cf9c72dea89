import { describe, expect, test } from 'vitest';
import { simulateMons } from './simulate.ts';

/** Short histories; SIM_SEEDS says how many, from SIM_SEED on. */
const first = Number(process.env.SIM_SEED ?? 1);
const seeds = Number(process.env.SIM_SEEDS ?? 4);

describe('mons under faults', () => {
  test.each([1, 3, 5] as const)(
    '%i: nothing acknowledged is lost, no map forks, no id is given twice, nothing stale is said',
    {
      timeout: Math.max(600_000, seeds * 120_000),
    },
    async (mons) => {
      for (let seed = first; seed < first + seeds; seed++) {
        const result = await simulateMons({ seed, mons, durationMs: 20_000 });
        expect(result.violation, `seed ${seed}\n${result.trace.slice(-60).join('\n')}`).toBeUndefined();
        expect(result.acknowledged).toBeGreaterThan(0);
        expect(result.reads).toBeGreaterThan(0);
      }
    },
  );
});
