import type { Clock } from '../../base/clock.ts';
import { defaultOsdOptions, type OsdOptions } from './osd-options.ts';

/** A request that was answered. */
export interface PastOp {
  description: string;
  /** Milliseconds since 1970. */
  initiatedAtMs: number;
  durationMs: number;
  /** What it had come to. */
  stage: string;
}

interface Kept extends PastOp {
  endedMs: number;
}

/** How many requests are kept for how many seconds, and of those that took longer than a threshold. */
export type OpHistoryLimits = Pick<
  OsdOptions,
  'opHistorySize' | 'opHistoryDuration' | 'opHistorySlowOpSize' | 'opHistorySlowOpThreshold'
>;

/**
 * The slowest requests of the last minutes (`ceph tell osd.0 dump_historic_ops`), as upstream's `osd_op_history_size`, `osd_op_history_duration` and their twins for slow
 * ones have it: those that took longer than a threshold are kept apart, so that a burst of them is seen longer.
 */
export class OpHistory {
  readonly #limits: () => OpHistoryLimits;
  /** Slowest first. */
  #ops: Kept[] = [];
  /** Newest last. */
  #slow: Kept[] = [];
  #oldestEndMs = Number.POSITIVE_INFINITY;

  constructor(limits: () => OpHistoryLimits = () => defaultOsdOptions) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#limits().opHistorySize;
  }
  get durationMs(): number {
    return this.#limits().opHistoryDuration * 1000;
  }
  get slowMs(): number {
    return this.#limits().opHistorySlowOpThreshold * 1000;
  }

  /** A request is answered, or left to its client. */
  finished(request: { receivedMs: number; stage?: string; describe(): string }, clock: Clock): void {
    const endedMs = clock.monotonic();
    const durationMs = endedMs - request.receivedMs;
    this.add(durationMs, endedMs, () => ({
      description: request.describe(),
      stage: request.stage ?? 'done',
      initiatedAtMs: clock.now() - durationMs,
    }));
  }

  /** `describe` is called only for what is kept. `endedMs`: by the monotonic clock. */
  add(durationMs: number, endedMs: number, describe: () => Omit<PastOp, 'durationMs'>): void {
    const limits = this.#limits();
    const size = limits.opHistorySize;
    const slow = durationMs >= limits.opHistorySlowOpThreshold * 1000;
    const full = this.#ops.length >= size && endedMs - this.#oldestEndMs <= limits.opHistoryDuration * 1000;
    if (!slow && full && durationMs <= (this.#ops.at(-1)?.durationMs ?? Number.POSITIVE_INFINITY)) return;
    const op: Kept = { ...describe(), durationMs, endedMs };
    this.#forget(endedMs);
    if (slow) this.#slow = [...this.#slow, op].slice(-Math.max(1, limits.opHistorySlowOpSize));
    const at = this.#ops.findIndex((other) => other.durationMs < durationMs);
    this.#ops.splice(at < 0 ? this.#ops.length : at, 0, op);
    this.#ops.length = Math.min(this.#ops.length, size);
    this.#oldestEndMs = Math.min(...this.#ops.map((other) => other.endedMs));
  }

  #forget(nowMs: number): void {
    const keptMs = this.#limits().opHistoryDuration * 1000;
    const recent = (op: Kept): boolean => nowMs - op.endedMs <= keptMs;
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
