import type { Clock, Timer } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';

export interface WorkQueue {
  /** Wants `key` reconciled; a key that waits already waits once, one that is being reconciled is done again afterwards. */
  add(key: string): void;
  addAfter(key: string, delayMs: number): void;
  /** Keys that wait or run; for health and tests. */
  readonly length: number;
  stop(): void;
}

const retryFirstMs = 20;
const retryMaxMs = 60_000;

/**
 * The one reconcile loop: calls `reconcile` for each wanted key, at most `workers` at once and never twice at once for one key. A key whose
 * reconcile throws is retried with a back-off of its own, from 20 ms doubling to 60 s.
 */
export function createWorkQueue(options: {
  name: string;
  clock: Clock;
  log: Logger;
  reconcile: (key: string) => Promise<void>;
  workers?: number;
}): WorkQueue {
  const { clock, log, name } = options;
  const workers = options.workers ?? 4;
  const waiting = new Set<string>();
  const running = new Set<string>();
  const again = new Set<string>();
  const failures = new Map<string, number>();
  const timers = new Map<string, { timer: Timer; atMs: number }>();
  let stopped = false;

  const pump = (): void => {
    for (const key of waiting) {
      if (stopped || running.size >= workers) return;
      waiting.delete(key);
      running.add(key);
      void work(key);
    }
  };
  const work = async (key: string): Promise<void> => {
    try {
      await options.reconcile(key);
      failures.delete(key);
    } catch (error) {
      const count = (failures.get(key) ?? 0) + 1;
      failures.set(key, count);
      const delay = Math.min(retryMaxMs, retryFirstMs * 2 ** Math.min(20, count - 1));
      log[count > 5 ? 'warn' : 'debug']('reconcile failed', {
        queue: name,
        key,
        attempt: count,
        error: errorText(error),
        retryMs: delay,
      });
      addAfter(key, delay);
    }
    running.delete(key);
    if (again.delete(key)) add(key);
    else pump();
  };
  const add = (key: string): void => {
    if (stopped) return;
    if (running.has(key)) again.add(key);
    else waiting.add(key);
    pump();
  };
  const addAfter = (key: string, delayMs: number): void => {
    if (stopped) return;
    if (delayMs <= 0) {
      add(key);
      return;
    }
    const atMs = clock.monotonic() + delayMs;
    const existing = timers.get(key);
    if (existing && existing.atMs <= atMs) return;
    existing?.timer.cancel();
    const timer = clock.after(delayMs, () => {
      timers.delete(key);
      add(key);
    });
    timers.set(key, { timer, atMs });
  };
  return {
    add,
    addAfter,
    get length() {
      return waiting.size + running.size + timers.size;
    },
    stop: () => {
      stopped = true;
      for (const { timer } of timers.values()) timer.cancel();
      timers.clear();
      waiting.clear();
    },
  };
}
