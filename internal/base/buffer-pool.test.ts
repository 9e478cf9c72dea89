import { expect, test } from 'vitest';
import { BufferPool } from './buffer-pool.ts';
import { noteCrc32c, rawCrc32c, wholeCrc32c } from './crc32c.ts';

function counting(limitBytes = 1 << 20): { pool: BufferPool; made: number[] } {
  const made: number[] = [];
  const allocate = (length: number): Uint8Array => {
    made.push(length);
    return new Uint8Array(length);
  };
  return { pool: new BufferPool(allocate, limitBytes), made };
}

test('a buffer given back is used again, also for another length of its class; one not given back is not', () => {
  const { pool, made } = counting();
  const a = pool.take(100_000);
  const b = pool.take(100_000);
  expect([a.length, a.buffer === b.buffer]).toEqual([100_000, false]);
  pool.give(a);
  const c = pool.take(70_000);
  expect([c.length, c.buffer === a.buffer]).toEqual([70_000, true]);
  pool.take(100_000);
  expect(made).toEqual([131_072, 131_072, 131_072]);
});

test('what was given back once, was never lent, or is too small or too large is left alone', () => {
  const { pool } = counting();
  const a = pool.take(65_536);
  pool.give(a);
  pool.give(a);
  pool.give(new Uint8Array(65_536));
  for (const length of [0, 4096, 5 << 20]) pool.give(pool.take(length));
  expect(pool.freeBytes).toBe(65_536);
});

test('a checksum noted for the last user of a buffer is not the next one’s', () => {
  const { pool } = counting();
  for (const length of [65_536, 70_000]) {
    const first = pool.take(length);
    noteCrc32c(first, 1);
    pool.give(first);
    const next = pool.take(length);
    expect(next.buffer).toBe(first.buffer);
    expect(wholeCrc32c(next)).toBe(rawCrc32c(0xffffffff, next));
    expect(wholeCrc32c(next.subarray())).toBe(rawCrc32c(0xffffffff, next));
  }
});

test('a view may stand for the buffer it is of', () => {
  const { pool } = counting();
  const whole = pool.take(131_072);
  const part = whole.subarray(10, 20);
  pool.rename(whole, part);
  pool.give(whole);
  expect(pool.freeBytes).toBe(0);
  pool.give(part);
  expect(pool.freeBytes).toBe(131_072);
});

test('what lies unused is bounded, and goes when it was not needed between two trims', () => {
  const { pool } = counting(200_000);
  const [a, b] = [pool.take(131_072), pool.take(131_072)];
  pool.give(a);
  pool.give(b);
  expect(pool.freeBytes).toBe(131_072);
  pool.trim();
  expect(pool.freeBytes).toBe(131_072);
  pool.give(pool.take(131_072));
  pool.trim();
  expect(pool.freeBytes).toBe(131_072);
  pool.trim();
  expect(pool.freeBytes).toBe(0);
});
