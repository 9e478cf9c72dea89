import { describe, expect, test } from 'vitest';
import { isLinearizable } from './history.ts';
import { plantedFaults, withPlanted } from './planted.ts';
import { type SimulationOptions, simulate } from './run.ts';

/** Short histories; `bun test/sim/store/main.ts` runs any number of long ones. */
const seeds = Number(process.env.SIM_SEEDS ?? 200);
const parts = 10;

/** Seeds that broke a rule once, and how they were run. */
const regressions: { seed: number; was: string; options?: Partial<SimulationOptions> }[] = [
  {
    seed: 1008,
    was: 'the history ended before watches were told of requests without an answer',
    options: { steady: true },
  },
  {
    seed: 1069,
    was: 'the only voter of the outgoing configuration was damaged: nobody could lead',
    options: { steady: true },
  },
  { seed: 1193, was: 'a leader that had been replaced told that a renewed lease is gone', options: { steady: true } },
  { seed: 1260, was: 'a snapshot was sent in the term of the next leader', options: { steady: true } },
  { seed: 1401, was: 'a removed member got its vote back from a late request', options: { steady: true } },
  {
    seed: 5545,
    was: 'power was lost while a state took the place of the old one, and the member did not start again',
    options: { prompt: true },
  },
  {
    seed: 11000,
    was: 'members that knew only removed ones were expected to hear of their removal',
    options: { short: false, prompt: true },
  },
  {
    seed: 3886,
    was: 'a member that heard of its removal while members were compared was taken for a broken one',
    options: { prompt: true },
  },
  { seed: 15554, was: 'the last read was asked of a leader that had just been left', options: { prompt: true } },
];

describe('store simulation', () => {
  for (let part = 0; part < parts; part++)
    test(`no rule is broken under faults: seeds ${part + 1}, ${part + 1 + parts}, … of ${seeds}`, {
      timeout: 600_000,
    }, async () => {
      for (let seed = part + 1; seed <= seeds; seed += parts) {
        const result = await simulate({ seed, short: true });
        expect(result.violation, `seed ${seed}\n${result.trace.slice(-60).join('\n')}`).toBeUndefined();
        expect(result.acknowledged).toBeGreaterThan(0);
      }
    });

  test.each(regressions)('seed $seed: $was', { timeout: 60_000 }, async ({ seed, options }) => {
    const result = await simulate({ seed, short: true, ...options });
    expect(result.violation, result.trace.slice(-60).join('\n')).toBeUndefined();
  });

  test('the same seed gives the same history', async () => {
    const [one, other] = [await simulate({ seed: 7, short: true }), await simulate({ seed: 7, short: true })];
    expect(one.trace).toEqual(other.trace);
    expect([one.events, one.operations, one.revision]).toEqual([other.events, other.operations, other.revision]);
  });

  for (const planted of plantedFaults)
    test(`planted: ${planted.what}: found`, { timeout: 300_000 }, async () => {
      let violation: string | undefined;
      for (let seed = 1; seed <= planted.within && violation === undefined; seed++)
        ({ violation } = await withPlanted(planted, seed));
      expect(violation).toMatch(planted.says);
    });
});

describe('linearizability checker', () => {
  const write = (value: string, invoked: number, answered: number) => ({ write: true, value, invoked, answered });
  const read = (value: string | undefined, invoked: number, answered: number) => ({
    write: false,
    value,
    invoked,
    answered,
  });
  const never = Number.POSITIVE_INFINITY;

  test.each([
    ['nothing', [], true],
    ['a read of what was written', [write('a', 1, 2), read('a', 3, 4)], true],
    ['a read of what was there before the write was answered', [write('a', 1, 4), read(undefined, 2, 3)], true],
    ['a stale read', [write('a', 1, 2), write('b', 3, 4), read('a', 5, 6)], false],
    ['a read that goes back', [write('a', 1, 2), write('b', 3, 10), read('b', 4, 5), read('a', 6, 7)], false],
    ['a read of a write without an answer', [write('a', 1, never), read('a', 2, 3), read('a', 4, 5)], true],
    [
      'a write without an answer that comes late',
      [write('a', 1, never), write('b', 2, 3), read('b', 4, 5), read('a', 6, 7)],
      true,
    ],
    [
      'a write without an answer that comes and goes',
      [write('a', 1, never), write('b', 2, 3), read('a', 4, 5), read('b', 6, 7)],
      false,
    ],
    ['a lost write', [write('a', 1, 2), read(undefined, 3, 4)], false],
  ] as const)('%s', (_name, operations, expected) => {
    expect(isLinearizable(operations)).toBe(expected);
  });
});
