import { describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { seededRandom } from '../../base/random.ts';
import {
  addGap,
  decodeGaps,
  encodeGaps,
  type Gaps,
  gapBytes,
  gapsAround,
  gapsIn,
  isGap,
  maxGaps,
  noGaps,
  removeGaps,
} from './gaps.ts';

describe('gaps', () => {
  test('adding and removing at random is what marking byte by byte is', () => {
    const random = seededRandom(3);
    const marks = new Uint8Array(300);
    let gaps: Gaps = noGaps;
    for (let round = 0; round < 3000; round++) {
      const from = random.uint32() % 290;
      const end = Math.min(300, from + (random.uint32() % 20));
      const before = [...gaps];
      const kept = gaps;
      if (random.uint32() % 2 === 0) {
        gaps = addGap(gaps, from, end);
        marks.fill(1, from, end);
      } else {
        gaps = removeGaps(gaps, from, end);
        marks.fill(0, from, end);
      }
      expect(kept).toEqual(before);
      const want: number[] = [];
      for (let at = 0; at < 300; at++) if (marks[at] !== (marks[at - 1] ?? 0)) want.push(at);
      if (want.length % 2 === 1) want.push(300);
      expect(gaps).toEqual(want);
      expect(gapBytes(gaps)).toBe(marks.reduce((sum, mark) => sum + mark, 0));
      expect(isGap(gaps, from, end)).toBe(end > from && marks.subarray(from, end).every((mark) => mark === 1));
      for (const [first, behind] of gapsIn(gaps, from, end))
        expect(first >= from && behind <= end && marks.subarray(first, behind).every((mark) => mark === 1)).toBe(true);
    }
  });

  test('of too many the smallest is forgotten, also when one is cut in two', () => {
    let gaps: Gaps = noGaps;
    for (let n = 0; n < maxGaps; n++) gaps = addGap(gaps, n * 100, n * 100 + 50 - (n === 7 ? 1 : 0));
    expect(gaps.length).toBe(2 * maxGaps);
    gaps = addGap(gaps, 1_000_000, 1_000_100);
    expect(gaps.length).toBe(2 * maxGaps);
    expect([isGap(gaps, 700, 701), isGap(gaps, 1_000_000, 1_000_100)]).toEqual([false, true]);
    gaps = removeGaps(gaps, 1_000_010, 1_000_020);
    expect(gaps.length).toBe(2 * maxGaps);
    expect(isGap(gaps, 1_000_000, 1_000_010)).toBe(false);
  });

  test('what is written is read, and what cannot be is refused', () => {
    const gaps = addGap(addGap(noGaps, 5, 9), 2 ** 40, 2 ** 40 + 7);
    const writer = new ByteWriter();
    encodeGaps(writer, gaps);
    const bytes = writer.finish();
    expect(decodeGaps(new ByteReader(bytes))).toEqual(gaps);
    for (let cut = 0; cut < bytes.length; cut++)
      expect(() => decodeGaps(new ByteReader(bytes.subarray(0, cut)))).toThrow();
    const wrong = new ByteWriter();
    encodeGaps(wrong, [10, 20, 15, 30]);
    expect(() => decodeGaps(new ByteReader(wrong.finish()))).toThrow('a part of 15 bytes at 15 that nobody wrote');
  });

  test('data leaves gaps in blocks where nothing was, and behind the old end', () => {
    const none = (): boolean => false;
    const all = (): boolean => true;
    expect(gapsAround(100, 200, 0, none)).toEqual([[0, 100]]);
    expect(gapsAround(100, 200, 10_000, none)).toEqual([
      [0, 100],
      [200, 4096],
    ]);
    expect(gapsAround(4096, 8192, 10_000, none)).toEqual([]);
    expect(gapsAround(9000, 9100, 5000, all)).toEqual([[5000, 8192]]);
    expect(gapsAround(5000, 9100, 5000, all)).toEqual([]);
    expect(gapsAround(100, 200, 10_000, all)).toEqual([]);
  });
});
