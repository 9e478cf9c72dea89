import type { Clock, Timer } from '../base/clock.ts';
import { plantedFault } from '../base/planted-fault.ts';
import { LeaseNotFoundError } from './errors.ts';

/** Deadlines are looked at no more often than this. */
const checkEveryMs = 500;
/** A timer that comes this late means that this process stood still: every lease then begins anew, as after a restart. */
const stalledMs = 2000;
/** As in etcd: shorter ones are raised to it. */
export const minTtlSeconds = 2;
/** etcd's largest. */
export const maxTtlSeconds = 9_000_000_000;
/** What is left of a lease goes to the log this often (etcd's defaultLeaseCheckpointInterval), in entries of so many leases at most. */
const checkpointEveryMs = 5 * 60_000;
const checkpointLeases = 1000;

export interface LeaseCheckpoint {
  id: bigint;
  remainingSeconds: number;
}

export interface LessorHandlers {
  /** Leases that are over; they stay known until `revoked`. Called again every few seconds until then. */
  expire(ids: bigint[]): void;
  /** What is left of leases, to be remembered by whoever leads next. */
  checkpoint(checkpoints: LeaseCheckpoint[]): Promise<unknown>;
}

interface Lease {
  readonly ttlSeconds: number;
  at: number;
  /** The log says that less than the whole time is left. */
  checkpointed: boolean;
}

/**
 * When leases end, by the clock of whoever leads. Deadlines are not stored: after a restart a lease gets its whole time again, or what was left at
 * its last checkpoint, as etcd does when the leader changes.
 */
export class Lessor {
  readonly #clock: Clock;
  readonly #handlers: LessorHandlers;
  readonly #leases = new Map<bigint, Lease>();
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #checkpointAt: number;
  #closed = false;
  /** Only the leader ends leases; the others just know them. */
  #leading = false;

  constructor(clock: Clock, handlers: LessorHandlers) {
    this.#clock = clock;
    this.#handlers = handlers;
    this.#checkpointAt = clock.monotonic() + checkpointEveryMs;
  }

  /** `remainingSeconds` > 0: what is left of a lease that was granted before. */
  granted(id: bigint, ttlSeconds: number, remainingSeconds = 0): void {
    const at = this.#clock.monotonic() + (remainingSeconds || ttlSeconds) * 1000;
    this.#leases.set(id, { ttlSeconds, at, checkpointed: remainingSeconds > 0 });
    this.#schedule(at);
    if (at > this.#checkpointAt) this.#schedule(this.#checkpointAt);
  }

  revoked(id: bigint): void {
    this.#leases.delete(id);
  }

  /** Only whoever leads knows when leases end. */
  get leads(): boolean {
    return this.#leading;
  }

  /** Its time is over, though it may not be revoked yet: it must not be renewed any more. Throws LeaseNotFoundError. */
  isOver(id: bigint): boolean {
    return this.#find(id).at <= this.#clock.monotonic();
  }

  /** Returns the seconds that are left now, once the next leader would give it as many. Throws LeaseNotFoundError. */
  async keepAlive(id: bigint): Promise<number> {
    const lease = this.#find(id);
    if (!plantedFault('forget-renewal')) lease.at = this.#clock.monotonic() + lease.ttlSeconds * 1000;
    if (lease.checkpointed) {
      await this.#handlers.checkpoint([{ id, remainingSeconds: 0 }]);
      lease.checkpointed = false;
    }
    return lease.ttlSeconds;
  }

  #find(id: bigint): Lease {
    const lease = this.#leases.get(id);
    if (lease === undefined) throw new LeaseNotFoundError(id);
    return lease;
  }

  /** Whole seconds left. */
  remaining(id: bigint): number {
    return Math.max(0, Math.floor((this.#find(id).at - this.#clock.monotonic()) / 1000));
  }

  /** A new leader gives every lease the time it had when it was granted or last checkpointed: renewals are known to the old one only. */
  lead(leases: Iterable<[bigint, { ttlSeconds: number; remainingSeconds: number }]>): void {
    this.#leading = true;
    // Not when it was due by the time of this member's start: that it is late would look as if the process had stood still.
    this.#checkpointAt = this.#clock.monotonic() + checkpointEveryMs;
    for (const [id, { ttlSeconds, remainingSeconds }] of leases) this.granted(id, ttlSeconds, remainingSeconds);
  }

  follow(): void {
    this.#leading = false;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  /** The state is another one now. */
  reset(): void {
    this.#leases.clear();
  }

  /** The same ids, those first that end first, as far as that is known here. */
  byDeadline(ids: Iterable<bigint>): bigint[] {
    const at = (id: bigint): number => this.#leases.get(id)?.at ?? Number.MAX_VALUE;
    return [...ids].sort((a, b) => at(a) - at(b));
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #schedule(at: number): void {
    if (this.#closed || !this.#leading || at >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    const delay = Math.max(0, at - this.#clock.monotonic());
    // Timers hold at most 2^31 ms; a longer one comes early and finds nothing.
    this.#timer = this.#clock.after(Math.min(delay, 0x7fff_ffff), () => this.#check());
  }

  #check(): void {
    const now = this.#clock.monotonic();
    const late = now - this.#timerAt;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const over: bigint[] = [];
    let next = Number.POSITIVE_INFINITY;
    for (const [id, lease] of this.#leases) {
      if (late > stalledMs) lease.at = now + lease.ttlSeconds * 1000;
      if (lease.at <= now) {
        over.push(id);
        // Asked for again when the revocation did not go through.
        next = Math.min(next, now + 5000);
      } else next = Math.min(next, lease.at);
    }
    if (now >= this.#checkpointAt) {
      this.#checkpointAt = now + checkpointEveryMs;
      this.#checkpoint(now);
    }
    // Short leases need none: by the time of the next checkpoint they have been renewed or are over.
    if ([...this.#leases.values()].some(({ at }) => at > this.#checkpointAt)) next = Math.min(next, this.#checkpointAt);
    if (next !== Number.POSITIVE_INFINITY) this.#schedule(Math.max(next, now + checkEveryMs));
    if (over.length > 0) this.#handlers.expire(over);
  }

  #checkpoint(now: number): void {
    let batch: LeaseCheckpoint[] = [];
    const send = (): void => {
      if (batch.length > 0) this.#handlers.checkpoint(batch).catch(() => undefined);
      batch = [];
    };
    for (const [id, lease] of this.#leases) {
      const left = lease.at - now;
      // Renewed since the last time: its whole time is left, which needs no entry.
      if (left <= checkpointEveryMs || left > lease.ttlSeconds * 1000 - checkpointEveryMs / 2) continue;
      lease.checkpointed = true;
      batch.push({ id, remainingSeconds: Math.max(1, Math.floor(left / 1000)) });
      if (batch.length >= checkpointLeases) send();
    }
    send();
  }
}
