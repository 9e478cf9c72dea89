/** A scheduled call that can be taken back. */
export interface Timer {
  cancel(): void;
}

/** Time as the shell gives it to a pure core; the simulator injects its own. */
export interface Clock {
  /** Wall time in milliseconds since the epoch. It may jump. */
  now(): number;
  /** Milliseconds that only grow; the origin is arbitrary. */
  monotonic(): number;
  /** Calls `fn` once after `delayMs`; the timer does not keep a process alive on its own. */
  after(delayMs: number, fn: () => void): Timer;
}

/** Resolves after `delayMs` on `clock`, or at once when `signal` aborts. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = clock.after(delayMs, done);
    signal?.addEventListener('abort', done, { once: true });
  });
}
