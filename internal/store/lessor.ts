import type { Clock, Timer } from '../base/clock.ts';
import { LeaseNotFoundError } from './errors.ts';

/** Deadlines are looked at no more often than this. */
const checkEveryMs = 500;
/** A timer that comes this late means that this process stood still: every lease then begins anew, as after a restart. */
const stalledMs = 2000;
/** As in etcd: shorter ones are raised to it. */
export const minTtlSeconds = 2;
/** etcd's largest. */
export const maxTtlSeconds = 9_000_000_000;

/**
 * When leases end, by the clock of whoever leads. Deadlines are not stored: after a restart every lease gets its whole time again, as etcd does
 * when the leader changes.
 */
export class Lessor {
  readonly #clock: Clock;
  readonly #expire: (ids: bigint[]) => void;
  readonly #deadlines = new Map<bigint, { ttlSeconds: number; at: number }>();
  #timer: Timer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #closed = false;

  /** `expire` is called with leases that are over; they stay known until `revoked`. */
  constructor(clock: Clock, expire: (ids: bigint[]) => void) {
    this.#clock = clock;
    this.#expire = expire;
  }

  granted(id: bigint, ttlSeconds: number): void {
    const at = this.#clock.monotonic() + ttlSeconds * 1000;
    this.#deadlines.set(id, { ttlSeconds, at });
    this.#schedule(at);
  }

  revoked(id: bigint): void {
    this.#deadlines.delete(id);
  }

  keepAlive(id: bigint): number {
    const lease = this.#deadlines.get(id);
    if (lease === undefined || lease.at <= this.#clock.monotonic()) throw new LeaseNotFoundError(id);
    lease.at = this.#clock.monotonic() + lease.ttlSeconds * 1000;
    return lease.ttlSeconds;
  }

  /** Whole seconds left. */
  remaining(id: bigint): number {
    const lease = this.#deadlines.get(id);
    if (lease === undefined) throw new LeaseNotFoundError(id);
    return Math.max(0, Math.floor((lease.at - this.#clock.monotonic()) / 1000));
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #schedule(at: number): void {
    if (this.#closed || at >= this.#timerAt) return;
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
    for (const [id, lease] of this.#deadlines) {
      if (late > stalledMs) lease.at = now + lease.ttlSeconds * 1000;
      if (lease.at <= now) {
        over.push(id);
        // Asked for again when the revocation did not go through.
        next = Math.min(next, now + 5000);
      } else next = Math.min(next, lease.at);
    }
    if (next !== Number.POSITIVE_INFINITY) this.#schedule(Math.max(next, now + checkEveryMs));
    if (over.length > 0) this.#expire(over);
  }
}
