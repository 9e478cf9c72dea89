import { describe, expect, test } from 'vitest';
import { storeBudget } from './store-budget.ts';

const mib = 2 ** 20;

describe('the memory of a store', () => {
  const table: readonly [limitMiB: number, storeMiB: number, bufferMiB: number][] = [
    [0, 64, 32],
    [64, 8, 4],
    [128, 8, 4],
    [256, 21, 10],
    [512, 64, 32],
    [1024, 149, 32],
    [16_384, 1024, 32],
  ];
  test.each(table)('of an OSD with a limit of %i MiB', (limit, store, buffer) => {
    const { storeBytes, bufferBytes } = storeBudget(limit * mib);
    expect([Math.floor(storeBytes / mib), Math.floor(bufferBytes / mib)]).toEqual([store, buffer]);
    if (limit > 0) expect(storeBytes + bufferBytes).toBeLessThan(limit * mib);
  });
});
