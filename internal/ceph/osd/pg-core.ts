import { PG_CREATING } from '../wire/messages/osd_mgr.ts';
import { copyPgInfo, type PgHistory, type PgInfo } from '../wire/messages/osd_pg.ts';
import {
  compareEVersion,
  compareHObject,
  type EVersion,
  eversionZero,
  type HObject,
  type PgId,
  pgText,
} from '../wire/types.ts';
import { type IntervalKey, intervalKey } from './intervals.ts';
import { ReadLease } from './lease.ts';
import type { MapView, PoolCode } from './map-view.ts';
import type { MissingSet } from './missing.ts';
import type { PgEnv } from './pg-env.ts';
import type { PgMeta } from './pg-meta.ts';
import type { RecoveryUrgency } from './recovery-priority.ts';
import { placed } from './shards.ts';
import { UnstableWrites } from './unstable.ts';

/** What the primary knows of another copy. */
export interface Peer {
  info: PgInfo;
  /** Undefined: not known (its log was not fetched). */
  missing: MissingSet | undefined;
  /** It has taken our log over, on disk. */
  activated: boolean;
  /** `up_from` of the incarnation that told. */
  upFrom: number;
}

/** The state of one PG on one OSD that its parts share: peering, operations, replication, recovery, backfill. */
export class PgCore {
  readonly id: PgId;
  readonly text: string;
  readonly meta: PgMeta;
  readonly env: PgEnv;
  map: MapView;
  /** Placement in `map`. */
  key: IntervalKey;
  /** State bits of `osd_mgr.ts`, kept by the parts; a double because bits go beyond 31. */
  state = PG_CREATING;
  /** The primary's knowledge; empty elsewhere. */
  readonly peers = new Map<number, Peer>();
  /** While active, the primary's replicas and backfill targets (without itself). */
  members: number[] = [];
  readonly backfillTargets = new Set<number>();
  /** How the pool cuts objects into shards; undefined in replicated pools. */
  readonly code: PoolCode | undefined;
  /** Entries up to here are on all shards for good; of the primary of an erasure-coded PG. */
  forwardTo: EVersion = eversionZero;
  readonly lease: ReadLease;
  /** The primary's: up to where writes are on the disk of every member; set by Replication. */
  committedTo: () => EVersion = () => this.info.lastUpdate;
  /** The replica's: writes that are not known to be acknowledged. */
  readonly unstable = new UnstableWrites();

  constructor(meta: PgMeta, env: PgEnv, map: MapView) {
    this.id = meta.pg;
    this.text = pgText(meta.pg);
    this.meta = meta;
    this.env = env;
    this.map = map;
    this.key = intervalKey(map, meta.pg);
    this.code = map.pool(meta.pg.pool)?.code;
    this.lease = new ReadLease(this);
  }

  get info(): PgInfo {
    return this.meta.info;
  }
  get isPrimary(): boolean {
    return this.key.actingPrimary === this.env.whoami;
  }
  get isActing(): boolean {
    return this.key.acting.includes(this.env.whoami);
  }
  /** First epoch of the present interval. */
  get interval(): number {
    return this.info.history.sameIntervalSince;
  }

  /** A shard of an erasure-coded PG, not a whole copy. */
  get erasure(): boolean {
    return this.id.shard !== undefined;
  }

  /** Head of every message about this PG. */
  head(): { pg: PgId; epoch: number; interval: number } {
    return { pg: this.id, epoch: this.map.epoch, interval: this.interval };
  }

  hasState(bit: number): boolean {
    return Math.floor(this.state / bit) % 2 === 1;
  }
  setState(bit: number): void {
    if (!this.hasState(bit)) {
      this.state += bit;
      this.env.reportSoon();
    }
  }
  clearState(bit: number): void {
    if (this.hasState(bit)) {
      this.state -= bit;
      this.env.reportSoon();
    }
  }

  /** Whether a copy holds the object in at least the version `need`. */
  peerHas(osd: number, oid: HObject, need: EVersion): boolean {
    const peer = this.peers.get(osd);
    if (peer?.missing === undefined || peer.missing.has(oid)) return false;
    return compareHObject(oid, peer.info.lastBackfill) <= 0 && compareEVersion(peer.info.lastUpdate, need) >= 0;
  }

  /** Copies that serve nowhere in this interval, of OSDs that are as they were when they told of them. */
  strays(): [number, Peer][] {
    const { up, acting } = this.key;
    return [...this.peers].filter(
      ([osd, { upFrom }]) =>
        !up.includes(osd) && !acting.includes(osd) && this.map.isUp(osd) && this.map.upFrom(osd) === upFrom,
    );
  }

  peerInfos(): Map<number, PgInfo> {
    const infos = new Map<number, PgInfo>([[this.env.whoami, this.info]]);
    for (const [osd, peer] of this.peers) infos.set(osd, peer.info);
    return infos;
  }

  /** What says how urgent it is to recover this PG. */
  urgency(): RecoveryUrgency {
    const { acting, size } = this.key;
    const pool = this.map.pool(this.id.pool);
    const whole = acting.filter((member) => {
      if (member === this.env.whoami) return this.meta.missing.size === 0;
      const peer = this.peers.get(member);
      return peer?.missing?.size === 0 && peer.info.lastBackfill.max;
    });
    return {
      state: this.state,
      size,
      minSize: pool?.minSize ?? 1,
      acting: placed(acting),
      complete: whole.length,
      pool: pool?.recoveryPriority ?? 0,
    };
  }

  /** For another member. */
  infoCopy(): PgInfo {
    const info = copyPgInfo(this.info);
    info.history.priorReadableMs = this.lease.remainingMs();
    return info;
  }

  historyCopy(): PgHistory {
    return { ...this.info.history, priorReadableMs: this.lease.remainingMs() };
  }

  /** Writes down what changed in info, log and missing set. */
  flush(done?: () => void): void {
    const ops = this.meta.writeOps();
    if (ops.length > 0 || done !== undefined) this.env.commit(ops, done);
  }
}
