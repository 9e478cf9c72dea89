import type { Clock } from '../../base/clock.ts';

/** A request that was answered. */
export interface PastOp {
  description: string;
  /** Milliseconds since 1970. */
  initiatedAtMs: number;
  durationMs: number;
}

interface Kept extends PastOp {
  endedMs: number;
}

/**
 * The slowest requests of the last minutes (`ceph tell osd.0 dump_historic_ops`), as upstream's `osd_op_history_size`, `osd_op_history_duration` and their twins for slow
 * ones have it: those that took longer than a threshold are kept apart, so that a burst of them is seen longer.
 */
export class OpHistory {
  readonly size: number;
  readonly durationMs: number;
  readonly slowMs: number;
  /** Slowest first. */
  #ops: Kept[] = [];
  /** Newest last. */
  #slow: Kept[] = [];
  #oldestEndMs = Number.POSITIVE_INFINITY;

  constructor(size = 20, durationMs = 600_000, slowMs = 10_000) {
    this.size = size;
    this.durationMs = durationMs;
    this.slowMs = slowMs;
  }

  /** A request is answered, or left to its client. */
  finished(request: { receivedMs: number; describe(): string }, clock: Clock): void {
    const endedMs = clock.monotonic();
    const durationMs = endedMs - request.receivedMs;
    this.add(durationMs, endedMs, () => ({
      description: request.describe(),
      initiatedAtMs: clock.now() - durationMs,
    }));
  }

  /** `describe` is called only for what is kept. `endedMs`: by the monotonic clock. */
  add(durationMs: number, endedMs: number, describe: () => Pick<PastOp, 'description' | 'initiatedAtMs'>): void {
    const slow = durationMs >= this.slowMs;
    const full = this.#ops.length >= this.size && endedMs - this.#oldestEndMs <= this.durationMs;
    if (!slow && full && durationMs <= this.#ops[this.#ops.length - 1]!.durationMs) return;
    const op: Kept = { ...describe(), durationMs, endedMs };
    this.#forget(endedMs);
    if (slow) this.#slow = [...this.#slow, op].slice(-this.size);
    const at = this.#ops.findIndex((other) => other.durationMs < durationMs);
    this.#ops.splice(at < 0 ? this.#ops.length : at, 0, op);
    this.#ops.length = Math.min(this.#ops.length, this.size);
    this.#oldestEndMs = Math.min(...this.#ops.map((other) => other.endedMs));
  }

  #forget(nowMs: number): void {
    const recent = (op: Kept): boolean => nowMs - op.endedMs <= this.durationMs;
    this.#ops = this.#ops.filter(recent);
    this.#slow = this.#slow.filter(recent);
  }

  slowest(nowMs: number): readonly PastOp[] {
    this.#forget(nowMs);
    return this.#ops;
  }

  /** Those above the threshold, newest last. */
  slow(nowMs: number): readonly PastOp[] {
    this.#forget(nowMs);
    return this.#slow;
  }
}
