import { describe, expect, test } from 'vitest';
import {
  addQuantities,
  canonicalQuantity,
  compareQuantities,
  parseQuantity,
  quantityMilli,
  quantityValue,
} from './quantity.ts';

describe('quantity', () => {
  test.each([
    ['0', '0'],
    ['1000m', '1'],
    ['0.5', '500m'],
    ['1.5Gi', '1536Mi'],
    ['1024Mi', '1Gi'],
    ['100m', '100m'],
    ['1000', '1k'],
    ['1024', '1024'],
    ['1e3', '1e3'],
    ['1E', '1E'],
    ['1000Ki', '1000Ki'],
    ['512', '512'],
    ['0.1Ki', '102400m'],
    ['1.1Ki', '1127'],
    ['-5', '-5'],
    ['.5', '500m'],
    ['5.', '5'],
    ['1n', '1n'],
    ['0.0000000001', '1n'],
    ['9223372036854775808', '9223372036854775807'],
    ['+1', '1'],
    ['64Mi', '64Mi'],
  ])('%s is written %s', (text, canonical) => {
    expect(canonicalQuantity(text)).toBe(canonical);
  });
  test.each(['', 'x', '1x', '1 Gi', '.', '-', '1KiB', '1e', '1..2'])('%s is refused', (text) => {
    expect(() => parseQuantity(text)).toThrow(/quantities must match/);
  });
  test('sums and comparisons are exact', () => {
    expect(compareQuantities(parseQuantity('1Gi'), parseQuantity('1073741824'))).toBe(0);
    expect(addQuantities(parseQuantity('100m'), parseQuantity('0.2')).nano).toBe(300_000_000n);
    expect(quantityMilli(parseQuantity('1.0001'))).toBe(1001);
    expect(quantityValue(parseQuantity('1500m'))).toBe(2);
  });
});
