import { describe, expect, test } from 'vitest';
import { bytesEqual, DecodeError } from '../../base/bytes.ts';
import { decodeCrushMap, encodeCrushMap } from './codec.ts';
import { crushHash1, crushHash2, crushHash3, crushHash4 } from './hash.ts';
import { CrushMapper } from './mapper.ts';
import { haveRecorded, recordedBytes, recordedLines } from './recorded.testing.ts';

const maps = [
  'mixed-algs',
  'straw-argonaut',
  'straw2-argonaut',
  'straw2-bobtail',
  'straw2-jewel',
  'straw2-weird',
  'tree-straw',
];

interface Mapping {
  rule: number;
  num_rep: number;
  weights: Record<string, number>;
  mappings: Record<string, number[]>;
}

describe('crush', () => {
  test('hashes of small numbers', () => {
    // R's tests and the kernel agree on these forms; the recorded mappings below cover the rest.
    for (const h of [crushHash1(1), crushHash2(1, 2), crushHash3(1, 2, 3), crushHash4(1, 2, 3, 4)]) {
      expect(Number.isInteger(h) && h >= 0 && h < 2 ** 32).toBe(true);
    }
  });

  for (const name of maps) {
    test.skipIf(!haveRecorded)(`${name}: decodes and encodes to the same bytes`, () => {
      const bytes = recordedBytes(`maps/synthetic/${name}.bin`);
      expect(bytesEqual(encodeCrushMap(decodeCrushMap(bytes)), bytes)).toBe(true);
    });

    test.skipIf(!haveRecorded)(`${name}: every recorded mapping`, () => {
      const map = decodeCrushMap(recordedBytes(`maps/synthetic/${name}.bin`));
      const mapper = new CrushMapper(map);
      let checked = 0;
      for (const line of recordedLines<Mapping>(`maps/synthetic/${name}.mappings.jsonl.gz`)) {
        const weights = new Uint32Array(map.maxDevices).fill(0x10000);
        for (const [osd, weight] of Object.entries(line.weights)) weights[Number(osd)] = Math.trunc(weight * 0x10000);
        const out = new Int32Array(line.num_rep);
        for (const [x, expected] of Object.entries(line.mappings)) {
          const n = mapper.doRule(line.rule, Number(x), out, line.num_rep, weights, map.chooseArgsFor(-1));
          if (String([...out.subarray(0, n)]) !== String(expected))
            expect([name, line.rule, line.num_rep, line.weights, x, ...out.subarray(0, n)]).toEqual(expected);
          checked++;
        }
      }
      expect(checked).toBeGreaterThan(1000);
    });
  }

  test.skipIf(!haveRecorded)('a map that is damaged anywhere is refused or read, never more', () => {
    const bytes = recordedBytes('maps/synthetic/mixed-algs.bin');
    for (let i = 0; i < bytes.length; i++) {
      for (const value of [0, 0x7f, 0xff]) {
        const copy = Uint8Array.from(bytes);
        copy[i] = value;
        try {
          decodeCrushMap(copy);
        } catch (e) {
          expect(e).toBeInstanceOf(DecodeError);
        }
      }
      expect(() => decodeCrushMap(bytes.subarray(0, i))).not.toThrow(RangeError);
    }
  });
});
