/** How long a request that is no watch and no stream may take, and what its client is told afterwards. */
import type { Clock } from '../../base/clock.ts';
import { durationOf } from '../machinery/cel/values.ts';
import { badRequest, failure } from '../machinery/status.ts';
import type { RequestCaller } from './request-caller.ts';

/** Upstream's --request-timeout. */
export const longestMs = 60_000;

/**
 * Milliseconds that the request with the parameter `timeout` (Go's notation; null without it) may take: what it asks for, at most `longestMs`; 0 and
 * less ask for nothing. Throws a bad request when it is no duration.
 */
export function allowedMs(timeout: string | null): number {
  if (timeout === null || timeout === '') return longestMs;
  const asked = durationOf(timeout);
  if (asked === undefined) {
    const why = /^[-+]?(\d+\.?\d*|\.\d+)$/.test(timeout) ? 'missing unit in duration' : 'invalid duration';
    throw badRequest(
      `invalid timeout specified in the request URL - time: ${why} ${JSON.stringify(timeout.slice(0, 100))}`,
    );
  }
  const ms = Number(asked.seconds) * 1000 + asked.nanos / 1e6;
  return ms > 0 && ms < longestMs ? ms : longestMs;
}

/**
 * The result of `work`, or a 504 after `ms`; from then on nobody waits for it, which ends what only waits (for a seat, for the request's body). What is being
 * done is not stopped and keeps its seat until it ends: nobody knows whether a write that was given up is done, as upstream. A result that comes too late is
 * given to `unwanted`.
 */
export function within<T>(
  clock: Clock,
  ms: number,
  caller: RequestCaller,
  work: () => Promise<T>,
  unwanted?: (late: T) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    let over = false;
    const late = clock.after(ms, () => {
      over = true;
      reject(
        failure(
          504,
          'Timeout',
          'Timeout: request did not complete within requested timeout - context deadline exceeded',
          {},
        ),
      );
      caller.giveUp();
    });
    work().then(
      (value) => {
        if (over) return unwanted?.(value);
        late.cancel();
        resolve(value);
      },
      (error: unknown) => {
        late.cancel();
        reject(error);
      },
    );
  });
}
