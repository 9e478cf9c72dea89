import { describe, expect, test } from 'vitest';
import { ManualClock } from '../../store/testing.ts';
import { StatusError } from '../machinery/status.ts';
import { discard, type Reply } from './reply.ts';
import { RequestCaller } from './request-caller.ts';
import { allowedMs, within } from './request-deadline.ts';

describe('the parameter timeout', () => {
  test.each<[string | null, number]>([
    [null, 60_000],
    ['', 60_000],
    ['0s', 60_000],
    ['0', 60_000],
    ['-5s', 60_000],
    ['1m', 60_000],
    ['3h', 60_000],
    ['59s', 59_000],
    ['1.5s', 1500],
    ['0m250ms', 250],
  ])('%s allows %d ms', (timeout, ms) => {
    expect(allowedMs(timeout)).toBe(ms);
  });

  test.each([
    ['soon', 'time: invalid duration "soon"'],
    ['5', 'time: missing unit in duration "5"'],
    ['5s ', 'time: invalid duration "5s "'],
  ])('%s is refused', (timeout, why) => {
    expect(() => allowedMs(timeout)).toThrow(`invalid timeout specified in the request URL - ${why}`);
  });
});

describe('within', () => {
  test('what ends in time is answered, and leaves no timer', async () => {
    const clock = new ManualClock();
    const caller = new RequestCaller();
    expect(await within(clock, 1000, caller, async () => 'done')).toBe('done');
    await expect(within(clock, 1000, caller, () => Promise.reject(new Error('own')))).rejects.toThrow('own');
    expect(clock.waiting).toBe(0);
    expect(caller.gone).toBe(false);
  });

  test('what does not is a 504, whatever comes of it later', async () => {
    const clock = new ManualClock();
    const { promise, reject } = Promise.withResolvers<string>();
    const caller = new RequestCaller();
    const answer = within(clock, 1000, caller, () => promise);
    clock.advance(1000);
    expect([caller.gone, caller.left]).toEqual([true, false]);
    reject(new Error('too late to matter'));
    const error = await answer.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(StatusError);
    expect((error as StatusError).status).toMatchObject({
      code: 504,
      reason: 'Timeout',
      message: 'Timeout: request did not complete within requested timeout - context deadline exceeded',
    });
  });

  test('a result that comes too late is let go: a stream is stopped', async () => {
    const clock = new ManualClock();
    const late = Promise.withResolvers<Reply>();
    const answer = within(clock, 1000, new RequestCaller(), () => late.promise, discard).catch(() => 'late');
    clock.advance(1000);
    expect(await answer).toBe('late');
    let stopped = 0;
    late.resolve({ status: 200, headers: {}, body: () => () => stopped++ });
    await late.promise;
    await Promise.resolve();
    expect(stopped).toBe(1);
    const inTime = async (): Promise<Reply> => ({ status: 200, headers: {}, body: () => () => stopped++ });
    await within(clock, 1000, new RequestCaller(), inTime, discard);
    expect(stopped).toBe(1);
  });
});
