import type { Clock } from '../../base/clock.ts';
import { OpHistory } from '../osd/op-history.ts';

/** A request that is not answered yet. */
export interface OpenRequest {
  seq: number;
  description: string;
  /** Who it came from. */
  source: string;
  /** By the monotonic clock. */
  receivedMs: number;
  /** Milliseconds since 1970. */
  initiatedAtMs: number;
}

/** More are not followed: they are answered all the same. */
const followedMax = 1024;

/** Requests that a mon waits with (`ceph tell mon.a ops`), and the slowest of the last minutes. */
export class RequestsSeen {
  readonly history = new OpHistory();
  readonly #clock: Clock;
  readonly #open = new Map<number, OpenRequest>();
  #seq = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** In the order of their coming. */
  get open(): readonly OpenRequest[] {
    return [...this.#open.values()];
  }

  /** Follows a request until its work is done. */
  follow(work: Promise<void>, description: string, source: string): Promise<void> {
    if (this.#open.size >= followedMax) return work;
    const seq = ++this.#seq;
    const receivedMs = this.#clock.monotonic();
    this.#open.set(seq, { seq, description, source, receivedMs, initiatedAtMs: this.#clock.now() });
    return work.finally(() => {
      this.#open.delete(seq);
      this.history.finished({ receivedMs, describe: () => description }, this.#clock);
    });
  }
}
