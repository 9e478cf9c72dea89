import type { MOSDCopyGet, MOSDCopyGetReply } from '../wire/messages/osd_copy.ts';
import {
  PG_ACTIVE,
  PG_BACKFILL_WAIT,
  PG_BACKFILLING,
  PG_FORCED_BACKFILL,
  PG_FORCED_RECOVERY,
  PG_RECOVERING,
  PG_RECOVERY_WAIT,
  PG_CLEAN,
  PG_PREMERGE,
  PG_DEGRADED,
  type PgStat,
} from '../wire/messages/osd_mgr.ts';
import type {
  MOSDPGBackfill,
  MOSDPGInfo,
  MOSDPGLog,
  MOSDPGNotify,
  MOSDPGPull,
  MOSDPGPush,
  MOSDPGPushReply,
  MOSDPGQuery,
  MOSDPGScan,
  MOSDRepOp,
  MOSDRepOpReply,
} from '../wire/messages/osd_osd.ts';
import type { MOSDECSubOpRead, MOSDECSubOpReadReply } from '../wire/messages/osd_ec.ts';
import type { MOSDPGLease, MOSDPGLeaseAck } from '../wire/messages/osd_lease.ts';
import type { MOSDRepScrub, MOSDRepScrubMap, MOSDScrubReserve } from '../wire/messages/osd_scrub.ts';
import { utimeFromMs } from '../wire/encoding.ts';
import type { PastInterval, PgHistory } from '../wire/messages/osd_pg.ts';
import { hobjectMax, type PgId } from '../wire/types.ts';
import { Backfill } from './backfill.ts';
import { serveCopyGet } from './copy-source.ts';
import type { MapView } from './map-view.ts';
import type { FullState } from './engine-host.ts';
import { OpEngine } from './op-engine.ts';
import type { OpClient, OpRequest } from './op-request.ts';
import { headOf } from './object-key.ts';
import { Peering } from './peering.ts';
import { PgCore } from './pg-core.ts';
import type { PgEnv } from './pg-env.ts';
import { PgMeta } from './pg-meta.ts';
import { pgQuery } from './pg-query.ts';
import { PgReporter } from './pg-stats.ts';
import { Recovery } from './recovery.ts';
import { type LogLimits, Replication } from './replication.ts';
import { Scrubber } from './scrubber.ts';
import { listInconsistent } from './scrub-list.ts';
import { placed } from './shards.ts';
import { SnapTrim } from './snap-trim.ts';

export interface PgOptions {
  full: FullState;
  logLimits: () => LogLimits;
  /** The copy is no longer needed on this OSD. */
  removeMe: () => void;
  /** The PG is to merge, and can now, or cannot. */
  mergeReady: () => void;
  /** A place for a scrub may be free again. */
  scrubEnded: () => void;
}

/** One PG on one OSD: its parts and how they follow each other. */
export class Pg {
  readonly core: PgCore;
  readonly peering: Peering;
  readonly engine: OpEngine;
  readonly replication: Replication;
  readonly recovery: Recovery;
  readonly backfill: Backfill;
  readonly snapTrim: SnapTrim;
  readonly scrubber: Scrubber;
  readonly #reporter = new PgReporter();
  #ticks = 0;

  constructor(meta: PgMeta, env: PgEnv, map: MapView, options: PgOptions) {
    this.core = new PgCore(meta, env, map);
    const { history } = meta.info;
    if (history.lastScrubStamp.sec === 0) {
      // A PG that was just made has nothing to scrub; one from before there were scrubs is not late because of that.
      history.lastScrubStamp = utimeFromMs(env.clock.now());
      history.lastDeepScrubStamp = history.lastScrubStamp;
      history.lastCleanScrubStamp = history.lastScrubStamp;
    }
    this.replication = new Replication(this.core, options.logLimits);
    this.recovery = new Recovery(this.core, {
      objectChanged: (oid) => {
        this.engine.contexts.forget(oid);
        this.scrubber.objectChanged(oid);
      },
      recovered: () => this.#recovered(),
      quiet: (oid) => this.engine.contexts.quiet(headOf(oid)),
      searchStrays: () => this.#searchStrays(),
    });
    this.replication.memberLacks = (osd, entries, ready) => this.recovery.memberLacks(osd, entries, ready);
    this.backfill = new Backfill(this.core, this.replication, this.recovery, { backfilled: () => this.#backfilled() });
    this.engine = new OpEngine(
      this.core,
      this.replication,
      {
        readable: (oid, ready) => this.recovery.readable(oid, ready),
        writable: (oid, ready) => this.recovery.writable(oid, ready) && this.scrubber.writable(oid, ready),
        repair: (oid, version) => this.recovery.repair(oid, version),
        sumsChanged: (oid, delta) => this.scrubber.sumsChanged(oid, delta),
        listInconsistent: (input) =>
          listInconsistent(this.scrubber.record, this.core.interval, this.core.env.whoami, input),
      },
      options.full,
      this.recovery.erasure,
    );
    this.scrubber = new Scrubber(this.core, this.engine, this.recovery, {
      ended: options.scrubEnded,
      shareInfo: () => this.peering.shareInfo(),
    });
    this.core.lease.onReadable = () => this.engine.resume();
    this.core.lease.onWaited = () => this.peering.waited();
    this.snapTrim = new SnapTrim(this.core, this.engine, this.replication);
    this.peering = new Peering(this.core, {
      reset: () => this.#reset(),
      active: () => this.#active(),
      replicaActive: () => this.engine.contexts.clear(),
      removeMe: options.removeMe,
      mergeReady: options.mergeReady,
      lostStray: () => this.recovery.onMap(),
      foundStray: (osd) => this.#foundStray(osd),
    });
  }

  /** A copy that never was: `history` says since when the PG exists. */
  static create(
    pg: PgId,
    env: PgEnv,
    map: MapView,
    history: PgHistory,
    past: readonly PastInterval[],
    options: PgOptions,
  ): Pg {
    const meta = new PgMeta(pg);
    meta.info.history = { ...history, priorReadableMs: 0 };
    meta.info.lastBackfill = hobjectMax;
    meta.past = [...past];
    meta.epoch = map.epoch;
    const made = new Pg(meta, env, map, options);
    made.core.lease.heard(history);
    env.commit(meta.createOps());
    return made;
  }

  get id(): PgId {
    return this.core.id;
  }

  /**
   * Whether the PG may merge as it is (`wait`: not yet): it is clean and takes no writes. `no`: a copy is lacking, so that it would have to wait for long.
   */
  get mergeable(): 'yes' | 'wait' | 'no' {
    const { core } = this;
    if (!core.isPrimary || !core.hasState(PG_PREMERGE)) return 'wait';
    if (placed(core.key.acting) < core.key.size) return 'no';
    return this.clean && this.replication.pending === 0 ? 'yes' : 'wait';
  }

  /** Takes the PG through one map; call `settle` after the last. */
  advance(map: MapView): void {
    this.peering.advance(map);
  }
  settle(): void {
    this.peering.settle();
    if (this.peering.phase === 'active') {
      this.recovery.mapChanged();
      this.backfill.mapChanged();
    }
    this.snapTrim.kick();
  }

  #reset(): void {
    this.replication.reset();
    this.snapTrim.reset();
    this.scrubber.reset();
    this.backfill.reset();
    this.recovery.reset();
    this.engine.reset();
  }

  #active(): void {
    if (this.core.hasState(PG_ACTIVE)) this.engine.resume();
    this.recovery.start();
  }

  #recovered(): void {
    this.backfill.start();
  }

  #backfilled(): void {
    const { core } = this;
    core.clearState(PG_BACKFILLING);
    core.clearState(PG_BACKFILL_WAIT);
    core.clearState(PG_FORCED_RECOVERY);
    core.clearState(PG_FORCED_BACKFILL);
    core.clearState(PG_DEGRADED);
    if (this.peering.wantUp()) return;
    if (placed(core.key.acting) === core.key.size) this.peering.markClean();
    this.snapTrim.kick();
  }

  #searchStrays(): void {
    const { core } = this;
    for (const [osd, peer] of core.peers)
      if (peer.missing === undefined && core.map.isUp(osd)) this.peering.queryStray(osd);
  }

  #foundStray(osd: number): void {
    if (this.recovery.unfound === 0) return;
    if (this.core.peers.get(osd)?.missing === undefined) this.peering.queryStray(osd);
    else this.recovery.retryUnfound();
  }

  /** An operator wants it recovered before others, or no more (`PeeringState::set_force_recovery`, `set_force_backfill`). */
  force(what: 'recovery' | 'backfill', wanted: boolean): void {
    const { core } = this;
    if (!core.isPrimary) return;
    const bit = what === 'recovery' ? PG_FORCED_RECOVERY : PG_FORCED_BACKFILL;
    if (!wanted) core.clearState(bit);
    else {
      const due = what === 'recovery' ? [PG_RECOVERY_WAIT, PG_RECOVERING] : [PG_BACKFILL_WAIT, PG_BACKFILLING];
      if ([PG_DEGRADED, ...due].some((state) => core.hasState(state))) core.setState(bit);
    }
    this.recovery.reprioritise();
    this.backfill.reprioritise();
  }

  handleOp(request: OpRequest): void {
    this.engine.handle(request);
  }

  clientClosed(client: OpClient): void {
    this.engine.clientClosed(client);
  }

  onNotify(from: number, m: MOSDPGNotify): void {
    this.peering.onNotify(from, m);
  }
  onQuery(from: number, m: MOSDPGQuery): void {
    this.peering.onQuery(from, m);
  }
  onLog(from: number, m: MOSDPGLog): void {
    this.peering.onLog(from, m);
  }
  onInfo(from: number, m: MOSDPGInfo): void {
    this.peering.onInfo(from, m);
  }
  onRemove(from: number): void {
    this.peering.onRemove(from);
  }

  /** True while this copy follows the given primary. */
  #follows(from: number): boolean {
    return this.peering.phase === 'replica' && this.core.key.actingPrimary === from;
  }

  onLease(from: number, m: MOSDPGLease): void {
    if (this.#follows(from)) this.core.lease.onLease(from, m);
  }
  onLeaseAck(from: number, m: MOSDPGLeaseAck): void {
    if (this.peering.phase === 'active') this.core.lease.acked(from, m.readableUntilUbMs);
  }

  onRepOp(from: number, m: MOSDRepOp): void {
    if (!this.#follows(from)) return;
    this.replication.onRepOp(from, m);
    if (this.engine.contexts.size > 0) for (const entry of m.entries) this.engine.contexts.forget(entry.oid);
  }
  onRepOpReply(from: number, m: MOSDRepOpReply): void {
    if (this.peering.phase === 'active') this.replication.onReply(from, m);
  }
  onPull(from: number, m: MOSDPGPull): void {
    this.recovery.onPull(from, m);
  }
  onPush(from: number, m: MOSDPGPush): void {
    if (m.pulled ? this.peering.phase === 'active' : this.#follows(from)) this.recovery.onPush(from, m);
  }
  onPushReply(from: number, m: MOSDPGPushReply): void {
    if (this.peering.phase !== 'active') return;
    for (const item of m.items)
      if (!this.recovery.onPushReply(from, item.oid, item.result, item.after))
        this.backfill.onPushReply(from, item.oid, item.result, item.after);
  }
  onShardRead(from: number, m: MOSDECSubOpRead): void {
    this.recovery.erasure?.reads.onRead(from, m);
  }
  onShardReadReply(from: number, m: MOSDECSubOpReadReply): void {
    this.recovery.erasure?.reads.onReply(from, m);
  }
  onScrubReserve(from: number, m: MOSDScrubReserve): void {
    const ours = m.op === 'request' || m.op === 'release' ? this.#follows(from) : this.peering.phase === 'active';
    if (ours) this.scrubber.onReserve(from, m);
  }
  onRepScrub(from: number, m: MOSDRepScrub): void {
    if (this.#follows(from)) this.scrubber.onRepScrub(from, m);
  }
  onRepScrubMap(from: number, m: MOSDRepScrubMap): void {
    if (this.peering.phase === 'active') this.scrubber.onRepScrubMap(from, m);
  }
  onScan(from: number, m: MOSDPGScan): void {
    if (m.op === 'get' ? this.#follows(from) : this.peering.phase === 'active') this.backfill.onScan(from, m);
  }
  onBackfill(from: number, m: MOSDPGBackfill): void {
    if (m.op === 'ack' ? this.peering.phase === 'active' : this.#follows(from)) this.backfill.onBackfill(from, m);
  }

  onCopyGet(m: MOSDCopyGet, reply: (value: MOSDCopyGetReply) => void): void {
    serveCopyGet(this.core, this.engine, m, reply);
  }

  /** Every few seconds. Writes the map epoch down now and then, so that old maps can go. */
  tick(): void {
    this.peering.tick();
    this.scrubber.showErrors();
    const { core } = this;
    if (++this.#ticks % 100 === 0) core.meta.dropDupCache();
    if (core.map.epoch - core.meta.writtenEpoch > 100) {
      core.meta.touchInfo();
      core.flush();
    }
  }

  stat(nowMs: number): PgStat {
    return this.#reporter.report(this.core, this.recovery.unfound, this.peering.waitingFor, nowMs);
  }

  /** What `ceph pg <id> query` shows of it. */
  query(): Record<string, unknown> {
    return pgQuery(this.core, this.peering.phase, this.recovery.unfound, this.peering.waitingFor);
  }

  /** Ends it in memory: timers, waiting requests. */
  shutdown(): void {
    this.#reset();
    this.core.lease.stop();
    for (const request of [...this.engine.open]) request.drop();
  }

  /** True when nothing is to be done for it any more. */
  get clean(): boolean {
    return this.core.hasState(PG_CLEAN);
  }
}
