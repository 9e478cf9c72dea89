import type { Clock, Timer } from '../../base/clock.ts';

/**
 * How many objects an OSD recovers at a time, over all of its PGs, and how long it rests between two (`osd_recovery_max_active`, `osd_recovery_sleep`). Who is
 * refused is called when it is worth a try again.
 */
export class RecoveryPace {
  readonly #clock: Clock;
  readonly #limits: () => { maxActive: number; sleepMs: number };
  readonly #refused = new Set<() => void>();
  #active = 0;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(clock: Clock, limits: () => { maxActive: number; sleepMs: number }) {
    this.#clock = clock;
    this.#limits = limits;
  }

  get active(): number {
    return this.#active;
  }

  /** True: one object may be recovered, which `done` ends. Else `again` is called later, once. */
  take(again: () => void): boolean {
    const { maxActive, sleepMs } = this.#limits();
    const nowMs = this.#clock.monotonic();
    if (this.#active >= maxActive || nowMs < this.#restUntilMs) {
      this.#refused.add(again);
      if (nowMs < this.#restUntilMs) this.#wakeAfter(this.#restUntilMs - nowMs);
      return false;
    }
    // `again` stays with those that were refused: it may speak for more than this object.
    this.#active++;
    if (sleepMs > 0) this.#restUntilMs = nowMs + sleepMs;
    return true;
  }

  /** So many objects are recovered, or given up. */
  done(objects: number): void {
    this.#active -= objects;
    if (objects > 0) this.#wakeAfter(0);
  }

  /** Limits may have changed. */
  changed(): void {
    this.#restUntilMs = Math.min(this.#restUntilMs, this.#clock.monotonic() + this.#limits().sleepMs);
    this.#wakeAfter(0);
  }

  /** `again` need not be called any more. */
  forget(again: () => void): void {
    this.#refused.delete(again);
  }

  #wakeAfter(ms: number): void {
    if (this.#refused.size === 0) return;
    if (ms === 0) {
      this.#timer?.cancel();
      this.#timer = undefined;
    }
    this.#timer ??= this.#clock.after(ms, () => {
      this.#timer = undefined;
      const waiting = [...this.#refused];
      this.#refused.clear();
      for (const again of waiting) again();
    });
  }

  stop(): void {
    this.#timer?.cancel();
    this.#refused.clear();
  }
}
