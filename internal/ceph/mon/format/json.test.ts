import { describe, expect, test } from 'vitest';
import { generalText, jsonText, numberText } from './json.ts';

describe('numbers as C prints them', () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, '0'],
    [1, '1'],
    [-3, '-3'],
    [0.1, '0.10000000000000001'],
    [Math.fround(0.95), '0.94999998807907104'],
    [Math.fround(33.03407287597656), '33.034072875976562'],
    [0.00051325012464076281, '0.00051325012464076281'],
    [9.0824723883997649e-6, '9.0824723883997649e-06'],
    [1e300, '1.0000000000000001e+300'],
  ];
  for (const [value, text] of cases)
    test(text, () => {
      expect(numberText(value)).toBe(text);
    });

  test('with six digits', () => {
    expect([0.85, 1, 0.699997, 1234567, 0.00001].map((n) => generalText(n, 6))).toEqual([
      '0.85',
      '1',
      '0.699997',
      '1.23457e+06',
      '1e-05',
    ]);
  });

  test('objects keep the order of their members, empty ones have no line of their own', () => {
    expect(jsonText({ b: 1, a: new Map([['2', 'x']]), c: [], d: {} })).toBe('{"b":1,"a":{"2":"x"},"c":[],"d":{}}');
    expect(jsonText({ a: [1, 2n], b: [] }, true)).toBe('{\n    "a": [\n        1,\n        2\n    ],\n    "b": []\n}');
  });
});
