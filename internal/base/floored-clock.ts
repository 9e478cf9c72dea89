import type { Clock } from './clock.ts';

/** `clock`, but never before `floorMs`: while the machine's time is earlier, time goes on from there. It follows the machine again once that has caught up. */
export function flooredClock(clock: Clock, floorMs: number): Clock {
  const startedMs = clock.monotonic();
  return {
    now: () => Math.max(clock.now(), floorMs + clock.monotonic() - startedMs),
    monotonic: () => clock.monotonic(),
    after: (delayMs, fn) => clock.after(delayMs, fn),
  };
}
