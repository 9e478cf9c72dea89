import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { reverseBits32 } from '../wire/types.ts';
import { stableMod } from './object-hash.ts';
import { childSeeds, pendingMerge, reversedHashRange, seedAt, touchedByPgNum } from './pg-num.ts';

const random = seededRandom(7);

describe('pg_num', () => {
  test('a range of reversed hashes holds just the hashes of its PG; the ranges of all PGs cover everything', () => {
    for (const pgNum of [1, 2, 3, 5, 7, 8, 12, 13, 32, 33, 100]) {
      let covered = 0;
      for (let seed = 0; seed < pgNum; seed++) {
        const { first, end } = reversedHashRange(seed, pgNum);
        covered += end - first;
      }
      expect(covered).toBe(2 ** 32);
      for (let i = 0; i < 300; i++) {
        const hash = random.uint32();
        const { first, end } = reversedHashRange(stableMod(hash, pgNum), pgNum);
        const at = reverseBits32(hash) >>> 0;
        expect(at >= first && at < end).toBe(true);
      }
    }
  });

  test('objects that leave a PG when it splits are those of its children, whatever the step', () => {
    for (const [before, after] of [
      [1, 2],
      [3, 12],
      [8, 32],
      [5, 6],
      [7, 100],
    ] as const)
      for (let i = 0; i < 500; i++) {
        const hash = random.uint32();
        const from = stableMod(hash, before);
        const to = stableMod(hash, after);
        expect(from === to || childSeeds(from, before, after).includes(to)).toBe(true);
        expect(seedAt(to, before)).toBe(from);
        if (from !== to) expect(touchedByPgNum(from, before, after) && touchedByPgNum(to, after, before)).toBe(true);
      }
  });

  test('who merges: the last PG and the one it came from', () => {
    const pool = { pgNum: 12, pgNumPending: 11 };
    expect(pendingMerge(11, pool)).toBe('source');
    expect(pendingMerge(3, pool)).toBe('target');
    expect(pendingMerge(7, pool)).toBeUndefined();
    expect(pendingMerge(3, { pgNum: 12, pgNumPending: 12 })).toBeUndefined();
    expect([0, 1, 2].map((seed) => touchedByPgNum(seed, 12, 11))).toEqual([false, false, false]);
  });
});
