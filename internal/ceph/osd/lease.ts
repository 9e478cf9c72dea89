import type { Timer } from '../../base/clock.ts';
import { MOSDPGLease, MOSDPGLeaseAck, type PgLease } from '../wire/messages/osd_lease.ts';
import { PG_LAGGY, PG_WAIT } from '../wire/messages/osd_mgr.ts';
import type { PgHistory } from '../wire/messages/osd_pg.ts';
import { configuredLeaseMs } from './osd-options.ts';
import type { PgCore } from './pg-core.ts';
import { noMember } from './shards.ts';

/**
 * Read leases of one PG on one OSD (`doc/dev/osd_internals/stale_read.rst`): an OSD answers clients only until a moment of which all acting OSDs know, and those who come
 * after them begin only when it has passed, or when whoever could still answer is known not to. So an OSD that is cut off from the others never gives what
 * has been overwritten meanwhile. Moments are of this OSD's monotonic clock, 0: none.
 *
 * The invariant: `readableUntil` of every acting OSD <= `readableUntilUb` of every acting OSD.
 */
export class ReadLease {
  /** Until then this OSD may answer clients. */
  readableUntil = 0;
  /** No OSD of this interval is readable after it. */
  readableUntilUb = 0;
  /** No OSD of an earlier interval is readable after it. */
  priorUb = 0;
  /** OSDs of earlier intervals that are down and may not know: once they all do, `priorUb` is of no matter. */
  priorDown = new Set<number>();
  /** The PG went active without that it has to wait, or has waited: clients are served while the lease holds. */
  #served = false;
  /** The primary's: the bound that it has told its replicas. */
  #sentUb = 0;
  /** What each has acknowledged. */
  readonly #acked = new Map<number, number>();
  /** The replica's: the newest bound of the primary, on the primary's clock. */
  #ubFromPrimary = 0;
  #renewTimer: Timer | undefined;
  #waitTimer: Timer | undefined;
  readonly #core: PgCore;
  /** Clients may be served (again); set by Pg. */
  onReadable: () => void = () => undefined;
  /** The wait for earlier intervals is over; set by Pg. */
  onWaited: () => void = () => undefined;

  constructor(core: PgCore) {
    this.#core = core;
  }

  get #nowMs(): number {
    return this.#core.env.clock.monotonic();
  }

  get #intervalMs(): number {
    const { env, map, id } = this.#core;
    const seconds = map.pool(id.pool)?.readLeaseSec ?? 0;
    return seconds > 0 ? seconds * 1000 : configuredLeaseMs(env.options());
  }

  /** Whether this copy may answer a client now. */
  get readable(): boolean {
    return this.#served && this.#nowMs < this.readableUntil && !this.#core.env.leaving();
  }

  /** Whether the primary waits for leases of earlier intervals. */
  get waiting(): boolean {
    return this.#core.hasState(PG_WAIT);
  }

  /** For how long OSDs of this or earlier intervals may be readable yet, as a duration: what another member is told. */
  remainingMs(): number {
    return Math.max(0, this.priorUb - this.#nowMs);
  }

  /** The PG comes from the disk of a life that may have promised a lease of which nothing is known any more. */
  unknownLease(): void {
    const { env } = this.#core;
    this.priorUb = this.#nowMs + Math.max(this.#intervalMs, configuredLeaseMs(env.options()));
  }

  /** Another PG's objects become this one's, by a split or merge: so does what OSDs may still tell of them. */
  inherit(other: ReadLease): void {
    this.priorUb = Math.max(this.priorUb, other.priorUb, other.readableUntilUb);
  }

  /** Another member says how long OSDs of earlier intervals may be readable. */
  heard({ priorReadableMs }: PgHistory): void {
    if (priorReadableMs > 0) this.priorUb = Math.max(this.priorUb, this.#nowMs + priorReadableMs);
  }

  /** An interval ends: nothing is readable any more here, and for how long it may be elsewhere is what has been promised. */
  newInterval(): void {
    this.priorUb = Math.max(this.priorUb, this.readableUntilUb);
    this.stop();
  }

  /** Ends it: timers, and what this OSD could answer. */
  stop(): void {
    this.#renewTimer?.cancel();
    this.#waitTimer?.cancel();
    this.#renewTimer = undefined;
    this.#waitTimer = undefined;
    this.#served = false;
    this.readableUntil = 0;
    this.readableUntilUb = 0;
    this.#sentUb = 0;
    this.#ubFromPrimary = 0;
    this.#acked.clear();
    this.priorDown.clear();
  }

  // --- primary -----------------------------------------------------------------------------------------------------------------

  /** Those whose acknowledgement counts. */
  *#others(): Generator<number> {
    const { key, env } = this.#core;
    for (const member of key.acting) if (member !== noMember && member !== env.whoami) yield member;
  }

  /** The lease that activates the acting OSDs with it. */
  first(): PgLease {
    this.#sentUb = this.#nowMs + this.#intervalMs;
    this.#recalculate();
    return this.#lease();
  }

  #lease(): PgLease {
    return { readableUntilMs: this.readableUntil, readableUntilUbMs: this.#sentUb, intervalMs: this.#intervalMs };
  }

  #recalculate(): void {
    let until = this.#sentUb;
    for (const member of this.#others()) until = Math.min(until, this.#acked.get(member) ?? 0);
    this.readableUntil = until;
    this.readableUntilUb = until;
  }

  /** The PG is active. */
  start(): void {
    const core = this.#core;
    this.#knowDead();
    if (this.priorUb > this.#nowMs) {
      core.env.log.info('waits for read leases of earlier OSDs', {
        pg: core.text,
        ms: Math.ceil(this.priorUb - this.#nowMs),
        osds: [...this.priorDown].join(' '),
      });
      core.setState(PG_WAIT);
      this.#waitTimer = core.env.clock.after(this.priorUb - this.#nowMs, () => this.#waited());
    } else this.#served = true;
    this.#renew();
  }

  /** Whoever could still answer for an earlier interval and knows better now, or is gone, is not waited for. */
  #knowDead(): void {
    const { map } = this.#core;
    for (const osd of this.priorDown) if (map.isUp(osd) || map.isDead(osd)) this.priorDown.delete(osd);
    if (this.priorDown.size === 0) this.priorUb = 0;
  }

  /** A newer map of the same interval. */
  onMap(): void {
    if (!this.waiting) return;
    this.#knowDead();
    if (this.priorUb <= this.#nowMs) this.#waited();
  }

  #waited(): void {
    const core = this.#core;
    this.#waitTimer?.cancel();
    this.#waitTimer = undefined;
    this.priorUb = 0;
    this.priorDown.clear();
    this.#served = true;
    core.clearState(PG_WAIT);
    core.env.log.info('earlier OSDs are not readable any more', { pg: core.text });
    this.onWaited();
    if (this.readable) this.onReadable();
  }

  #renew(): void {
    const core = this.#core;
    this.#sentUb = this.#nowMs + this.#intervalMs;
    this.#recalculate();
    const lease = this.#lease();
    let alone = true;
    for (const member of this.#others()) {
      alone = false;
      core.env.send(member, MOSDPGLease, { ...core.head(), lease, committedTo: core.committedTo() });
    }
    if (alone) this.#maybeReadable();
    this.#renewTimer = core.env.clock.after(this.#intervalMs / 2, () => this.#renew());
  }

  /** A member has taken note of a bound. */
  acked(from: number, ubMs: number): void {
    if (ubMs <= (this.#acked.get(from) ?? 0)) return;
    this.#acked.set(from, ubMs);
    this.#recalculate();
    this.#maybeReadable();
  }

  /** The lease had run out when somebody asked. */
  lag(): void {
    if (!this.waiting) this.#core.setState(PG_LAGGY);
  }

  #maybeReadable(): void {
    if (!this.#core.hasState(PG_LAGGY) || !this.readable) return;
    this.#core.clearState(PG_LAGGY);
    this.onReadable();
  }

  // --- replica -----------------------------------------------------------------------------------------------------------------

  /** The primary grants more. */
  granted(lease: PgLease): void {
    const core = this.#core;
    this.#ubFromPrimary = Math.max(this.#ubFromPrimary, lease.readableUntilUbMs);
    const { lb, ub } = core.env.clockDelta(core.key.actingPrimary);
    if (lease.readableUntilMs !== 0 && ub !== undefined)
      this.readableUntil = Math.max(this.readableUntil, lease.readableUntilMs - ub);
    const bound = lb === undefined ? this.#nowMs + lease.intervalMs : lease.readableUntilUbMs - lb;
    this.readableUntilUb = Math.max(this.readableUntilUb, bound);
  }

  /** What the primary is told then. */
  get ackMs(): number {
    return this.#ubFromPrimary;
  }

  /** A message of the primary; answered. */
  onLease(from: number, m: MOSDPGLease): void {
    const core = this.#core;
    this.granted(m.lease);
    core.unstable.committed(m.committedTo);
    core.env.send(from, MOSDPGLeaseAck, { ...core.head(), readableUntilUbMs: this.#ubFromPrimary });
  }

  /** The primary of this interval says that it need not wait for earlier ones (any more): what the lease grants holds. */
  serve(): void {
    this.priorUb = 0;
    this.#served = true;
  }
}
