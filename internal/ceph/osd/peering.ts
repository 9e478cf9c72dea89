import { assert } from '../../base/errors.ts';
import type { TransactionOp } from '../blockstore/api.ts';
import {
  PG_ACTIVATING,
  PG_ACTIVE,
  PG_CLEAN,
  PG_CREATING,
  PG_DOWN,
  PG_FORCED_BACKFILL,
  PG_FORCED_RECOVERY,
  PG_INCOMPLETE,
  PG_PEERED,
  PG_PEERING,
  PG_PREMERGE,
  PG_REMAPPED,
  PG_UNDERSIZED,
} from '../wire/messages/osd_mgr.ts';
import { pendingMerge } from '../maps/pg-num.ts';
import { MOSDPGInfo, MOSDPGLog, MOSDPGNotify, MOSDPGQuery, MOSDPGRemove } from '../wire/messages/osd_osd.ts';
import { copyPgInfo, emptyPgInfo, type PgHistory, type PgInfo } from '../wire/messages/osd_pg.ts';
import { compareEVersion, type EVersion, eversionZero, hobjectMin } from '../wire/types.ts';
import { type Activation, activationOf } from './activation.ts';
import { type ActingChoice, chooseActing, chooseShards, findBestInfo } from './choose-acting.ts';
import {
  buildPrior,
  closedInterval,
  intervalKey,
  isNewInterval,
  mergeIntervals,
  type PriorSet,
  priorChangedBy,
  readableDown,
} from './intervals.ts';
import type { MapView } from './map-view.ts';
import { MissingSet } from './missing.ts';
import type { Peer, PgCore } from './pg-core.ts';
import { judgeReplica } from './pg-log.ts';
import { completeUpTo } from './pg-meta.ts';
import { mergeHistory } from './history-merge.ts';
import type { PeeringHooks, PeeringPhase } from './peering-host.ts';
import { scrubSums } from './scrub-history.ts';
import { noMember, placed } from './shards.ts';
import { takeLog } from './take-log.ts';

/** `PeeringState`. */
export class Peering {
  phase: PeeringPhase = 'idle';
  prior: PriorSet | undefined;
  readonly #core: PgCore;
  readonly #hooks: PeeringHooks;
  /** OSDs whose answer the phase waits for. */
  readonly #waiting = new Set<number>();
  #logFrom = -1;
  /** Copies outside of the acting set whose OSD went down in this interval. */
  readonly #gone = new Set<number>();
  #localActivated = false;
  /** What members were sent that have not said yet that they took it over. */
  readonly #activations = new Map<number, Activation>();
  #needsBegin = true;
  /** It would be clean, but for leases of earlier intervals. */
  #cleanLater = false;
  /** `clock.monotonic` when the phase began or its questions were last repeated. */
  #askedMs = 0;

  constructor(core: PgCore, hooks: PeeringHooks) {
    this.#core = core;
    this.#hooks = hooks;
  }

  get waitingFor(): number[] {
    return this.phase === 'down' ? [...(this.prior?.blockedBy.keys() ?? [])] : [...this.#waiting];
  }

  /** One map further. Call for each map in order, then `settle`. */
  advance(next: MapView): void {
    const core = this.#core;
    if (next.epoch === core.map.epoch + 1 && !next.changesPlacement(core.id.pool)) {
      core.map = next;
      core.meta.epoch = next.epoch;
      return;
    }
    const key = intervalKey(next, core.id);
    const before = core.key;
    if (isNewInterval(before, key)) {
      const history = core.info.history;
      if (history.sameIntervalSince < next.epoch && history.sameIntervalSince > 0)
        core.meta.past.push(closedInterval(before, history.sameIntervalSince, core.map, next.epoch));
      const upChanged = before.up.length !== key.up.length || before.up.some((osd, i) => osd !== key.up[i]);
      history.sameIntervalSince = next.epoch;
      if (upChanged) history.sameUpSince = next.epoch;
      if (before.actingPrimary !== key.actingPrimary) history.samePrimarySince = next.epoch;
      core.meta.touchInfo();
      core.meta.touchPast();
      core.lease.newInterval();
      core.unstable.clear();
      this.#needsBegin = true;
    }
    core.map = next;
    core.key = key;
    core.meta.epoch = next.epoch;
  }

  /** All maps are in: begins peering anew where needed. */
  settle(): void {
    const core = this.#core;
    if (!this.#needsBegin && core.isPrimary && this.prior !== undefined && this.phase !== 'active') {
      if (this.phase !== 'activating' && priorChangedBy(this.prior, core.map)) {
        // Strays tell of themselves once an interval.
        this.#begin(core.strays());
        return;
      }
    }
    if (this.#needsBegin) {
      this.#begin();
      return;
    }
    if (this.phase === 'wait-up-thru') this.#checkUpThru();
    else if (this.phase === 'active') {
      core.lease.onMap();
      this.#checkStrays();
    }
  }

  /** Strays that restarted have forgotten what we asked of them: they are asked anew. */
  #checkStrays(): void {
    const core = this.#core;
    let gone = false;
    for (const [osd, peer] of core.peers)
      if (!core.map.isUp(osd) || core.map.upFrom(osd) !== peer.upFrom) {
        core.peers.delete(osd);
        this.#gone.add(osd);
        gone = true;
      }
    if (gone) this.#hooks.lostStray();
    for (const osd of this.#gone)
      if (core.map.isUp(osd)) {
        this.#gone.delete(osd);
        this.#query(osd, 'info');
      }
  }

  /** `known`: what other copies told in this interval and would not tell again. */
  #begin(known: readonly [number, Peer][] = []): void {
    const core = this.#core;
    this.#needsBegin = false;
    this.#waiting.clear();
    this.#gone.clear();
    this.#activations.clear();
    this.prior = undefined;
    core.peers.clear();
    for (const [osd, peer] of known) core.peers.set(osd, peer);
    core.members = [];
    core.backfillTargets.clear();
    const kept = core.isPrimary ? [PG_CREATING, PG_FORCED_RECOVERY, PG_FORCED_BACKFILL] : [PG_CREATING];
    core.state = kept.filter((bit) => core.hasState(bit)).reduce((bits, bit) => bits + bit, 0);
    this.#hooks.reset();
    core.flush();
    if (core.key.up.length !== core.key.acting.length || core.key.up.some((osd, i) => osd !== core.key.acting[i]))
      core.setState(PG_REMAPPED);
    core.env.reportSoon();
    if (core.isPrimary) {
      core.setState(PG_PEERING);
      this.#getInfo();
      return;
    }
    this.phase = 'stray';
    core.clearState(PG_CREATING);
    if (core.key.actingPrimary >= 0) this.#notify(core.key.actingPrimary);
  }

  #notify(to: number): void {
    const core = this.#core;
    core.env.send(to, MOSDPGNotify, { ...core.head(), info: core.infoCopy(), past: core.meta.past });
  }

  #enter(phase: PeeringPhase): void {
    this.phase = phase;
    this.#askedMs = this.#core.env.clock.monotonic();
    this.#core.env.log.debug('peering', { pg: this.#core.text, phase });
  }

  // --- primary -----------------------------------------------------------------------------------------------------------------

  #getInfo(): void {
    const core = this.#core;
    this.#enter('get-info');
    core.clearState(PG_DOWN);
    core.clearState(PG_INCOMPLETE);
    if (core.map.upThru(core.env.whoami) < core.interval) core.env.wantUpThru(core.interval);
    this.#buildPrior();
    this.#maybeGotInfo();
  }

  #buildPrior(): void {
    const core = this.#core;
    const { key } = core;
    const needed = core.code?.code.k ?? 1;
    this.prior = buildPrior(core.map, core.meta.past, core.info.history, key.up, key.acting, needed);
    core.lease.priorDown = readableDown(core.map, core.meta.past, core.info.history);
    for (const osd of [...this.#waiting]) if (!this.prior.probe.has(osd)) this.#waiting.delete(osd);
    for (const osd of this.prior.probe) {
      if (osd === core.env.whoami || core.peers.has(osd) || this.#waiting.has(osd) || !core.map.isUp(osd)) continue;
      this.#waiting.add(osd);
      this.#query(osd, 'info');
    }
  }

  #query(osd: number, kind: 'info' | 'log' | 'fulllog', since = eversionZero): void {
    const core = this.#core;
    core.env.send(osd, MOSDPGQuery, { ...core.head(), kind, since, history: core.historyCopy() });
  }

  #maybeGotInfo(): void {
    if (this.phase !== 'get-info' || this.#waiting.size > 0) return;
    if (this.prior!.blocked) {
      this.#enter('down');
      this.#core.setState(PG_DOWN);
      return;
    }
    this.#getLog();
  }

  #getLog(): void {
    const core = this.#core;
    const { key } = core;
    const infos = core.peerInfos();
    const best = findBestInfo(infos, core.env.whoami, core.erasure);
    const choice = best === undefined ? undefined : this.#choose(infos, best);
    if (best === undefined || choice === undefined || placed(choice.want) < (core.code?.code.k ?? 1)) {
      this.#enter('incomplete');
      core.setState(PG_INCOMPLETE);
      return;
    }
    const { want } = choice;
    if (want.length !== key.acting.length || want.some((osd, i) => osd !== key.acting[i])) {
      this.#enter('wait-acting');
      const same = want.length === key.up.length && want.every((osd, i) => osd === key.up[i]);
      core.env.wantPgTemp(core.id, same ? [] : want);
      return;
    }
    core.backfillTargets.clear();
    for (const osd of choice.backfill) core.backfillTargets.add(osd);
    core.members = [...want, ...choice.backfill].filter((osd) => osd !== core.env.whoami && osd !== noMember);
    this.#enter('get-log');
    if (best === core.env.whoami) {
      this.#getMissing();
      return;
    }
    this.#logFrom = best;
    this.#query(best, 'log', core.info.lastUpdate);
  }

  #choose(infos: ReadonlyMap<number, PgInfo>, best: number): ActingChoice {
    const { key, erasure } = this.#core;
    return erasure
      ? chooseShards(infos, best, key.up, key.acting, key.size)
      : chooseActing(infos, best, key.upPrimary, key.up, key.acting, key.size);
  }

  #gotMasterLog(from: number, m: MOSDPGLog): void {
    const core = this.#core;
    const { meta } = core;
    if (compareEVersion(m.log.tail, m.info.logTail) > 0 && !meta.log.holds(m.log.tail)) {
      // The stretch does not begin at an entry of ours: see all of it before taking anything back.
      this.#query(from, 'fulllog');
      return;
    }
    const ops = takeLog(this.#core, m);
    const { info } = core;
    info.lastEpochStarted = Math.max(info.lastEpochStarted, m.info.lastEpochStarted);
    info.lastIntervalStarted = Math.max(info.lastIntervalStarted, m.info.lastIntervalStarted);
    info.sums = { ...m.info.sums };
    info.sumsEstimated = m.info.sumsEstimated;
    this.#heard(m.info.history);
    core.peers.set(from, {
      info: copyPgInfo(m.info),
      missing: MissingSet.of(m.missing),
      activated: false,
      upFrom: core.map.upFrom(from),
    });
    core.env.commit([...ops, ...meta.writeOps()]);
    this.#getMissing();
  }

  #getMissing(): void {
    const core = this.#core;
    const { log } = core.meta;
    this.#enter('get-missing');
    this.#waiting.clear();
    for (const osd of core.members) {
      const peer = core.peers.get(osd);
      assert(peer !== undefined, `pg ${core.text}: member osd.${osd} without info`);
      const { info } = peer;
      const whole = compareEVersion(info.lastUpdate, info.lastComplete) === 0;
      if (
        info.lastUpdate.version === 0 ||
        compareEVersion(info.lastUpdate, log.tail) < 0 ||
        (!info.lastBackfill.max && info.lastBackfill.name === '') ||
        (whole && compareEVersion(info.lastUpdate, core.info.lastUpdate) === 0 && log.holds(info.lastUpdate))
      ) {
        peer.missing = new MissingSet();
        continue;
      }
      this.#waiting.add(osd);
      this.#query(osd, 'log', { epoch: info.lastEpochStarted, version: 0 });
    }
    this.#maybeGotMissing();
  }

  #gotReplicaLog(from: number, m: MOSDPGLog): void {
    const core = this.#core;
    const missing = MissingSet.of(m.missing);
    const info = copyPgInfo(m.info);
    const undoable = core.erasure ? new Set(m.undoable) : undefined;
    const common = judgeReplica(core.meta.log, m.log, missing, info.lastBackfill, undoable);
    if (core.meta.log.holds(common)) {
      if (compareEVersion(common, info.lastUpdate) < 0) info.lastUpdate = common;
    } else {
      // Its log shares nothing with ours: it must be filled from the start.
      info.lastUpdate = eversionZero;
      info.lastBackfill = hobjectMin;
      core.backfillTargets.add(from);
    }
    core.peers.set(from, { info, missing, activated: false, upFrom: core.map.upFrom(from) });
    this.#waiting.delete(from);
    this.#maybeGotMissing();
  }

  #maybeGotMissing(): void {
    if (this.phase !== 'get-missing' || this.#waiting.size > 0) return;
    this.#checkUpThru();
  }

  #checkUpThru(): void {
    const core = this.#core;
    if (core.map.upThru(core.env.whoami) >= core.interval) {
      this.#activate();
      return;
    }
    if (this.phase !== 'wait-up-thru') this.#enter('wait-up-thru');
    core.env.wantUpThru(core.interval);
  }

  #activate(): void {
    const core = this.#core;
    const { info, meta } = core;
    this.#enter('activating');
    this.#localActivated = false;
    this.#cleanLater = false;
    core.setState(PG_ACTIVATING);
    const lease = core.lease.first();
    // An interval that takes no writes proves nothing to later ones: a copy that was not in it may have writes that were acknowledged before.
    if (this.#takesWrites()) {
      info.lastEpochStarted = core.map.epoch;
      info.lastIntervalStarted = core.interval;
    }
    info.lastComplete = completeUpTo(meta.log, meta.missing, info.lastUpdate);
    meta.touchInfo();
    if (placed(core.key.acting) < core.key.size) core.setState(PG_UNDERSIZED);

    for (const osd of core.members) {
      const activation = activationOf(core, osd, lease);
      this.#activations.set(osd, activation);
      this.#sendActivation(osd, activation);
    }

    const interval = core.interval;
    core.flush(() => {
      if (core.interval !== interval || this.phase !== 'activating') return;
      this.#localActivated = true;
      this.#maybeAllActivated();
    });
  }

  /** Whether there are as many copies as the pool wants for writes (`acting_set_writeable`). */
  #takesWrites(): boolean {
    const { acting, minSize } = this.#core.key;
    return placed(acting) >= minSize;
  }

  #sendActivation(osd: number, activation: Activation): void {
    this.#core.env.send(osd, MOSDPGLog, { ...this.#core.head(), missing: [], undoable: [], ...activation });
  }

  #maybeAllActivated(): void {
    const core = this.#core;
    if (this.phase !== 'activating' || !this.#localActivated) return;
    for (const osd of core.members) if (!core.peers.get(osd)!.activated) return;
    const { history } = core.info;
    history.lastEpochStarted = core.info.lastEpochStarted;
    history.lastIntervalStarted = core.info.lastIntervalStarted;
    core.meta.touchInfo();
    // Whoever peers from now on meets one of those that have all of this log, if it could take writes.
    if (this.#takesWrites()) core.forwardTo = core.info.lastUpdate;
    core.env.commit([...core.meta.rollback.forward(core.forwardTo), ...core.meta.writeOps()]);
    this.#enter('active');
    core.clearState(PG_CREATING);
    core.clearState(PG_PEERING);
    core.clearState(PG_ACTIVATING);
    core.lease.start();
    if (!core.lease.waiting) this.#readable();
    // What is about to merge takes no more writes.
    const merging = pendingMerge(core.id.seed, core.key) !== undefined;
    if (merging) core.setState(PG_PREMERGE);
    core.setState(!merging && this.#takesWrites() ? PG_ACTIVE : PG_PEERED);
    this.shareInfo();
    this.#hooks.active();
    if (core.hasState(PG_PREMERGE)) this.#hooks.mergeReady();
  }

  /** No OSD of an earlier interval can be readable any more. */
  #readable(): void {
    this.#core.info.history.lastEpochReadable = this.#core.map.epoch;
    this.#core.meta.touchInfo();
    this.#core.flush();
  }

  /** The wait for earlier intervals is over. */
  waited(): void {
    this.#readable();
    if (this.#cleanLater) this.markClean();
    else this.shareInfo();
  }

  /** Tells the members what the history has become. */
  shareInfo(): void {
    const core = this.#core;
    for (const osd of core.members)
      core.env.send(osd, MOSDPGInfo, {
        ...core.head(),
        info: core.infoCopy(),
        activated: false,
        forwardTo: core.forwardTo,
        committedTo: core.committedTo(),
        leaseAckMs: undefined,
      });
  }

  /** Everything is where it belongs (`try_mark_clean`). */
  markClean(): void {
    const core = this.#core;
    if (this.phase !== 'active' || core.hasState(PG_CLEAN)) return;
    // Who may still be readable is known by the past intervals, which then are forgotten.
    this.#cleanLater = core.lease.waiting;
    if (this.#cleanLater) return;
    core.setState(PG_CLEAN);
    const { history } = core.info;
    history.lastEpochClean = core.map.epoch;
    history.lastIntervalClean = core.interval;
    core.meta.past = [];
    core.meta.touchInfo();
    core.meta.touchPast();
    core.flush();
    this.shareInfo();
    for (const osd of core.peers.keys()) if (!core.members.includes(osd)) core.env.send(osd, MOSDPGRemove, core.head());
    if (core.hasState(PG_PREMERGE)) this.#hooks.mergeReady();
  }

  /** The backfilled copies could serve now: asks for the acting set that CRUSH wants. True when it was asked for. */
  wantUp(): boolean {
    const core = this.#core;
    const { key } = core;
    if (key.acting.length === key.up.length && key.acting.every((osd, i) => osd === key.up[i])) return false;
    const best = findBestInfo(core.peerInfos(), core.env.whoami, core.erasure) ?? core.env.whoami;
    const { want } = this.#choose(core.peerInfos(), best);
    if (want.length === key.acting.length && want.every((osd, i) => osd === key.acting[i])) return false;
    const same = want.length === key.up.length && want.every((osd, i) => osd === key.up[i]);
    core.env.wantPgTemp(core.id, same ? [] : want);
    return true;
  }

  /** Asks a stray for its log, to learn which objects it can give. */
  queryStray(osd: number): void {
    this.#query(osd, 'fulllog');
  }

  // --- messages ----------------------------------------------------------------------------------------------------------------

  onNotify(from: number, m: MOSDPGNotify): void {
    const core = this.#core;
    if (!core.isPrimary) return;
    // Until it is activated a copy does not change: a second notice of this interval says nothing new.
    if (core.peers.has(from)) return;
    if (this.phase === 'active' || this.phase === 'activating') {
      core.peers.set(from, { info: m.info, missing: undefined, activated: false, upFrom: core.map.upFrom(from) });
      if (core.hasState(PG_CLEAN)) core.env.send(from, MOSDPGRemove, core.head());
      else this.#hooks.foundStray(from);
      return;
    }
    core.peers.set(from, { info: m.info, missing: undefined, activated: false, upFrom: core.map.upFrom(from) });
    this.#waiting.delete(from);
    const before = core.info.history.lastEpochStarted;
    const oldest = core.meta.past[0]?.first;
    core.meta.past = mergeIntervals(core.meta.past, m.past);
    this.#heard(m.info.history);
    if (core.info.history.lastEpochStarted !== before || core.meta.past[0]?.first !== oldest) {
      core.meta.touchPast();
      core.flush();
      // What was asked on the ground of an older history may be too little or too much.
      if (this.phase === 'get-info') this.#buildPrior();
      else this.#restart();
    }
    if (this.phase === 'get-info') this.#maybeGotInfo();
    else if (this.phase === 'incomplete' || this.phase === 'down') this.#restart();
  }

  /** Peers again in the same interval, keeping what others told. */
  #restart(): void {
    this.#waiting.clear();
    this.#getInfo();
  }

  /** What another member knows of the PG's history. */
  #heard(history: PgHistory): void {
    mergeHistory(this.#core.meta, history);
    this.#core.lease.heard(history);
  }

  onQuery(from: number, m: MOSDPGQuery): void {
    this.#heard(m.history);
    if (m.kind === 'info') {
      this.#notify(from);
      return;
    }
    this.#sendLog(from, m.kind === 'log' ? m.since : undefined);
  }

  /** What is here, from `since` on: our log and what is missing. */
  #sendLog(to: number, since?: EVersion): void {
    const core = this.#core;
    const { meta } = core;
    core.env.send(to, MOSDPGLog, {
      ...core.head(),
      info: core.infoCopy(),
      log: meta.log.segment(since),
      missing: meta.missing.list(),
      past: meta.past,
      undoable: meta.rollback.versions(),
      activate: 'no',
      lease: undefined,
    });
  }

  onLog(from: number, m: MOSDPGLog): void {
    if (m.activate !== 'no') {
      if (from !== this.#core.key.actingPrimary || this.#core.isPrimary) return;
      if (m.activate === 'rewind') this.#rewindStray(from, m);
      else this.#activateReplica(from, m);
      return;
    }
    if (this.phase === 'get-log' && from === this.#logFrom) this.#gotMasterLog(from, m);
    else if (this.phase === 'get-missing' && this.#waiting.has(from)) this.#gotReplicaLog(from, m);
    else if (this.phase === 'active' && !this.#core.members.includes(from)) this.#gotStrayLog(from, m);
  }

  #gotStrayLog(from: number, m: MOSDPGLog): void {
    const core = this.#core;
    const missing = MissingSet.of(m.missing);
    const info = copyPgInfo(m.info);
    const common = judgeReplica(core.meta.log, m.log, missing, info.lastBackfill);
    if (compareEVersion(common, info.lastUpdate) < 0) {
      info.lastUpdate = common;
      // Its shards of these objects may be needed as they were before: it takes its writes back, and tells anew what it has.
      if (core.erasure && core.meta.log.holds(common))
        core.env.send(from, MOSDPGLog, {
          ...core.head(),
          info: core.infoCopy(),
          log: { tail: common, head: common, entries: [], dups: [] },
          missing: [],
          past: [],
          undoable: [],
          activate: 'rewind',
          lease: undefined,
        });
    }
    core.peers.set(from, { info, missing, activated: false, upFrom: core.map.upFrom(from) });
    this.#hooks.foundStray(from);
  }

  #rewindStray(primary: number, m: MOSDPGLog): void {
    const core = this.#core;
    if (this.phase !== 'stray' || compareEVersion(m.log.head, core.info.lastUpdate) >= 0) return;
    const ops = takeLog(this.#core, m);
    const { interval } = core;
    core.env.commit([...ops, ...core.meta.writeOps()], () => {
      if (core.interval === interval && this.phase === 'stray') this.#sendLog(primary);
    });
  }

  #activateReplica(primary: number, m: MOSDPGLog): void {
    const core = this.#core;
    const { meta } = core;
    let ops: TransactionOp[] = [];
    if (m.activate === 'backfill') {
      const { history } = meta.info;
      meta.info = copyPgInfo(m.info);
      meta.info.history = history;
      ops = meta.replaceLog(m.log);
    } else {
      ops = takeLog(this.#core, m);
      meta.info.sums = { ...m.info.sums };
      meta.info.sumsEstimated = m.info.sumsEstimated;
    }
    const { info } = meta;
    info.lastEpochStarted = Math.max(info.lastEpochStarted, m.info.lastEpochStarted);
    info.lastIntervalStarted = Math.max(info.lastIntervalStarted, m.info.lastIntervalStarted);
    this.#heard(m.info.history);
    if (m.lease !== undefined) core.lease.granted(m.lease);
    meta.past = mergeIntervals(meta.past, m.past);
    meta.touchInfo();
    meta.touchPast();
    this.#enter('replica');
    this.#hooks.replicaActive();
    const interval = core.interval;
    core.env.commit([...ops, ...meta.writeOps()], () => {
      if (core.interval !== interval || this.phase !== 'replica') return;
      core.env.send(primary, MOSDPGInfo, {
        ...core.head(),
        info: core.infoCopy(),
        activated: true,
        forwardTo: eversionZero,
        committedTo: eversionZero,
        leaseAckMs: m.lease === undefined ? undefined : core.lease.ackMs,
      });
    });
  }

  onInfo(from: number, m: MOSDPGInfo): void {
    const core = this.#core;
    if (core.isPrimary) {
      const peer = core.peers.get(from);
      if (!m.activated || peer === undefined || !core.members.includes(from)) return;
      peer.activated = true;
      if (m.leaseAckMs !== undefined) core.lease.acked(from, m.leaseAckMs);
      this.#activations.delete(from);
      this.#maybeAllActivated();
      return;
    }
    if (from !== core.key.actingPrimary) return;
    this.#heard(m.info.history);
    if (this.phase === 'replica' && m.info.history.lastEpochReadable >= core.interval) core.lease.serve();
    core.unstable.committed(m.committedTo);
    // Scrubs tell what they found outside of writes.
    for (const field of scrubSums) core.info.sums[field] = m.info.sums[field];
    if (core.info.sumsEstimated !== m.info.sumsEstimated) {
      core.info.sumsEstimated = m.info.sumsEstimated;
      core.meta.touchInfo();
    }
    core.meta.touchFast();
    core.env.commit([...core.meta.rollback.forward(m.forwardTo), ...core.meta.writeOps()]);
  }

  onRemove(from: number): void {
    if (
      from === this.#core.key.actingPrimary &&
      !this.#core.isActing &&
      !this.#core.key.up.includes(this.#core.env.whoami)
    )
      this.#hooks.removeMe();
  }

  /** Repeats questions that got no answer for long; every few seconds. */
  tick(): void {
    const core = this.#core;
    const nowMs = core.env.clock.monotonic();
    if (!core.isPrimary || nowMs - this.#askedMs < repeatMs) return;
    this.#askedMs = nowMs;
    if (this.phase === 'get-info') for (const osd of this.#waiting) this.#query(osd, 'info');
    else if (this.phase === 'get-log') this.#query(this.#logFrom, 'log', core.info.lastUpdate);
    else if (this.phase === 'get-missing')
      for (const osd of this.#waiting)
        this.#query(osd, 'log', { epoch: core.peers.get(osd)!.info.lastEpochStarted, version: 0 });
    // The same bytes, in order before anything that follows: taking them over twice changes nothing.
    else if (this.phase === 'activating')
      for (const [osd, activation] of this.#activations) this.#sendActivation(osd, activation);
    else if (this.phase === 'wait-acting') this.#restart();
  }
}

const repeatMs = 10_000;

/** The info of a copy that is not there. */
export function absentInfo(history: PgHistory): PgInfo {
  return { ...emptyPgInfo(), history: { ...history, priorReadableMs: 0 } };
}
