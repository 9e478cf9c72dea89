import { expect, test } from 'vitest';
import type { Clock } from './clock.ts';
import { flooredClock } from './floored-clock.ts';

test('a machine that woke up in the past: time goes on from the floor until the machine has caught up', () => {
  let wall = 0;
  let monotonic = 500;
  const machine: Clock = { now: () => wall, monotonic: () => monotonic, after: () => ({ cancel: () => undefined }) };
  const clock = flooredClock(machine, 1_000_000);
  expect(clock.now()).toBe(1_000_000);
  monotonic += 250;
  expect(clock.now()).toBe(1_000_250);
  // Time was synchronised.
  wall = 5_000_000;
  expect(clock.now()).toBe(5_000_000);
  wall = 10;
  expect(clock.now()).toBe(1_000_250);
});
