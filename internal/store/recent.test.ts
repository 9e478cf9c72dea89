import { expect, test } from 'vitest';
import { RecentEvents } from './recent.ts';
import { bytes } from './testing.ts';

test('events that are trimmed are let go at once, however few revisions they were', () => {
  const recent = new RecentEvents(1, 4096);
  const alive: WeakRef<object>[] = [];
  for (let revision = 1; revision <= 200; revision++) {
    const kv = {
      key: bytes(`k${revision}`),
      value: new Uint8Array(10_000),
      createRevision: revision,
      modRevision: revision,
      version: 1,
      lease: 0n,
    };
    alive.push(new WeakRef(kv));
    recent.push(revision, [{ type: 'put', kv }]);
    recent.trim(revision + 1);
  }
  expect(recent.bytes).toBeLessThanOrEqual(4096);
  Bun.gc(true);
  // The stack may keep one or the other alive.
  expect(alive.filter((one) => one.deref() !== undefined).length).toBeLessThan(50);
});

test('what is held is told from any revision on', () => {
  const recent = new RecentEvents(5, 1000);
  for (let revision = 5; revision < 3000; revision++) {
    recent.push(revision, []);
    const kv = {
      key: bytes('k'),
      value: new Uint8Array(300),
      createRevision: 5,
      modRevision: revision,
      version: 1,
      lease: 0n,
    };
    recent.push(++revision, [{ type: 'put', kv }]);
    recent.trim(revision - 1);
  }
  const held = [...recent.since(recent.first)].map(({ revision }) => revision);
  expect(held[0]).toBe(recent.first);
  expect(held.at(-1)).toBe(3000);
  expect([...recent.since(2999)].map(({ revision }) => revision)).toEqual([2999, 3000]);
});
