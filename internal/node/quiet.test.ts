import { describe, expect, test } from 'vitest';
import { QuietAfterWork } from './quiet.ts';

/** Asks every two seconds, with the milliseconds of processor time used since the last question; gives the seconds at which it was time. */
function times(used: readonly number[]): number[] {
  const quiet = new QuietAfterWork(0, 0);
  let cpuMs = 0;
  return used.flatMap((ms, i) => {
    cpuMs += ms;
    return quiet.isTime((i + 1) * 2000, cpuMs) ? [(i + 1) * 2] : [];
  });
}
const rounds = (count: number, ms: number): number[] => Array.from({ length: count }, () => ms);

describe('quiet after work', () => {
  test('the first quiet is time, and then no more while nothing is done', () => {
    expect(times(rounds(100, 10))).toEqual([6]);
  });
  test('work is never interrupted; when it has ended it is time once', () => {
    expect(times([...rounds(3, 10), ...rounds(30, 1500), ...rounds(30, 10)])).toEqual([6, 72]);
  });
  test('a steady little is time in proportion: after two seconds of work', () => {
    // 3 % of a core.
    const at = times(rounds(300, 60));
    expect(at.slice(0, 4)).toEqual([6, 78, 150, 222]);
  });
  test('questions that come late count by the time that passed', () => {
    const quiet = new QuietAfterWork(0, 0);
    expect([quiet.isTime(60_000, 7000), quiet.isTime(120_000, 12_000), quiet.isTime(121_000, 12_000)]).toEqual([
      false,
      true,
      false,
    ]);
  });
});
