import { afterAll, beforeAll, describe, test } from 'vitest';
import { CrashRounds } from './rounds.ts';

/**
 * Crash rounds: under load from librados and from a pod, something is killed at a random moment, or the power fails; after the node came back nothing
 * that was acknowledged may be missing. `CRASH_ROUNDS` (50), `CRASH_SEED` and `CRASH_TARGET` choose how many and which.
 */

const rounds = Number(process.env.CRASH_ROUNDS ?? 50);
const seed = Number(process.env.CRASH_SEED ?? Math.floor(Date.now() / 1000));
const minute = 60_000;
const crash = new CrashRounds({ seed });

beforeAll(() => crash.setUp(), 8 * minute);
afterAll(() => crash.tearDown(), 3 * minute);

describe(`crash rounds with seed ${seed}`, () => {
  for (let round = 1; round <= rounds; round++) {
    const { target, delayMs } = crash.pick();
    test(`round ${round}: ${target} after ${delayMs} ms`, { timeout: 20 * minute }, () =>
      crash.round(round, target, delayMs),
    );
  }
});
