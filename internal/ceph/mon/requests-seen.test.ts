import { expect, test } from 'vitest';
import { RequestsSeen } from './requests-seen.ts';

test('a request is open until its work is done, and then one of the past', async () => {
  let nowMs = 1000;
  const clock = { now: () => nowMs, monotonic: () => nowMs, after: () => ({ cancel: () => undefined }) };
  const seen = new RequestsSeen(clock);
  const work = Promise.withResolvers<void>();
  const followed = seen.follow(work.promise, 'MMonCommand(tid 7)', 'client.admin');
  const [open] = seen.open;
  expect(open).toMatchObject({ seq: 1, description: 'MMonCommand(tid 7)', source: 'client.admin', receivedMs: 1000 });
  nowMs = 1250;
  work.resolve();
  await followed;
  expect(seen.open).toEqual([]);
  expect(seen.history.slowest(nowMs)).toMatchObject([{ description: 'MMonCommand(tid 7)', durationMs: 250 }]);
});

test('work that fails fails for whoever waits, and is not open any more', async () => {
  const clock = { now: () => 0, monotonic: () => 0, after: () => ({ cancel: () => undefined }) };
  const seen = new RequestsSeen(clock);
  await expect(seen.follow(Promise.reject(new Error('no')), 'x', 'y')).rejects.toThrow('no');
  expect(seen.open).toEqual([]);
});
