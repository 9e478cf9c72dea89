import type { Pod } from '../api/types.ts';
import { sortsBefore } from './framework.ts';

interface Waiting {
  key: string;
  pod: Pod;
  addedMs: number;
  attempts: number;
  /** Not tried before this time. */
  readyMs: number;
}

const backOffFirstMs = 1000;
const backOffMaxMs = 10_000;
/** A pod that nothing woke is tried again after this long all the same. */
export const unschedulableRetryMs = 300_000;

/**
 * Pods that wait for a node: active (to be tried now, in order of priority), backing off, and unschedulable (until something changes that may
 * help). Pure: times are passed in, in milliseconds of the monotonic clock.
 */
export class SchedulingQueue {
  readonly #waiting = new Map<string, Waiting>();
  readonly #unschedulable = new Set<string>();
  /** Counts changes of the cluster: a pod that failed while one came in is tried again at once. */
  #changes = 0;

  get changes(): number {
    return this.#changes;
  }
  get length(): number {
    return this.#waiting.size;
  }

  add(key: string, pod: Pod, nowMs: number): void {
    const before = this.#waiting.get(key);
    this.#waiting.set(key, {
      key,
      pod,
      addedMs: before?.addedMs ?? nowMs,
      attempts: before?.attempts ?? 0,
      readyMs: before?.readyMs ?? nowMs,
    });
    if (before && !samePodSpec(before.pod, pod)) this.#unschedulable.delete(key);
  }

  delete(key: string): void {
    this.#waiting.delete(key);
    this.#unschedulable.delete(key);
  }

  /** The pod to try now; it stays in the queue until `delete` or `failed`. */
  next(nowMs: number): { key: string; pod: Pod; changes: number } | undefined {
    let best: Waiting | undefined;
    for (const waiting of this.#waiting.values()) {
      if (this.#unschedulable.has(waiting.key) || waiting.readyMs > nowMs) continue;
      if (!best || sortsBefore(waiting, best)) best = waiting;
    }
    return best && { key: best.key, pod: best.pod, changes: this.#changes };
  }

  /** When `next` may have something to give, undefined when nothing waits. */
  nextReadyMs(): number | undefined {
    let soonest: number | undefined;
    for (const { readyMs } of this.#waiting.values()) if (soonest === undefined || readyMs < soonest) soonest = readyMs;
    return soonest;
  }

  /** The attempt failed; `changes` is what `next` told with the pod. */
  failed(key: string, changes: number, nowMs: number): void {
    const waiting = this.#waiting.get(key);
    if (!waiting) return;
    waiting.attempts += 1;
    const backOff = Math.min(backOffMaxMs, backOffFirstMs * 2 ** (waiting.attempts - 1));
    if (changes === this.#changes) {
      this.#unschedulable.add(key);
      waiting.readyMs = nowMs + unschedulableRetryMs;
    } else waiting.readyMs = nowMs + backOff;
  }

  /**
   * Something changed that may make pods fit: those that did not are tried again, each after its back-off at the latest. `helps` tells which pods the change can
   * help; default all.
   */
  wake(nowMs: number, helps: (pod: Pod) => boolean = () => true): void {
    this.#changes += 1;
    for (const key of this.#unschedulable) {
      const waiting = this.#waiting.get(key);
      if (waiting && !helps(waiting.pod)) continue;
      this.#unschedulable.delete(key);
      if (waiting)
        waiting.readyMs = Math.min(
          waiting.readyMs,
          nowMs + Math.min(backOffMaxMs, backOffFirstMs * 2 ** (waiting.attempts - 1)),
        );
    }
  }

  /** Lets pods whose time has come out of the unschedulable set. */
  expire(nowMs: number): void {
    for (const key of this.#unschedulable)
      if ((this.#waiting.get(key)?.readyMs ?? 0) <= nowMs) this.#unschedulable.delete(key);
  }
}

function samePodSpec(a: Pod, b: Pod): boolean {
  return (
    a.metadata.generation === b.metadata.generation &&
    JSON.stringify(a.metadata.labels) === JSON.stringify(b.metadata.labels)
  );
}
