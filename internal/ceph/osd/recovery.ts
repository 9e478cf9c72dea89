import type { Timer } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import {
  PG_CLEAN,
  PG_DEGRADED,
  PG_FORCED_RECOVERY,
  PG_RECOVERING,
  PG_RECOVERY_TOOFULL,
  PG_RECOVERY_UNFOUND,
  PG_RECOVERY_WAIT,
} from '../wire/messages/osd_mgr.ts';
import {
  MOSDPGPull,
  MOSDPGPush,
  MOSDPGPushReply,
  type PushCursor,
  type PushItem,
  pushStart,
} from '../wire/messages/osd_osd.ts';
import type { LogEntry } from '../wire/messages/osd_pg.ts';
import { compareEVersion, compareHObject, type EVersion, eversionZero, type HObject } from '../wire/types.ts';
import { ErasurePg } from './ec/erasure-pg.ts';
import { FULLNESS_FULL, MAP_NORECOVER } from './map-view.ts';
import { isDone, notFound, pieceOps, readPiece } from './object-copy.ts';
import { objectId } from './object-key.ts';
import { EAGAIN, ENOENT } from './ops/errno.ts';
import type { PgCore } from './pg-core.ts';
import { completeUpTo } from './pg-meta.ts';
import { countRecovered, infoOf, loggedVersion } from './recovered-objects.ts';
import { recoveryPriority } from './recovery-priority.ts';
import type { Reservation } from './reserver.ts';
import type { Mend } from './scrub-compare.ts';

/** How long a missing object waits before its other possible holders are asked again. */
const unfoundRetryMs = 5000;
/** Objects that are looked for again at once. */
const maxUnfoundTries = 16;

/** One object on its way: first to the primary (pull), then to the members that lack it (push). */
interface ObjectRecovery {
  oid: HObject;
  need: EVersion;
  /** The OSD it is pulled from; -1: it is here. */
  from: number;
  pushing: Set<number>;
}

export interface RecoveryHooks {
  /** The object came in or changed behind its context. */
  objectChanged(oid: HObject): void;
  /** Nothing is missing anywhere any more. */
  recovered(): void;
  /** Resolves with a way to let go when no write of the object is under way; until then no new one begins. */
  quiet(oid: HObject): Promise<() => void>;
  /** Strays may have what nobody else has. */
  searchStrays(): void;
}

/**
 * Log recovery: what the log says is missing is pulled by the primary and pushed to the members. Objects that clients wait for come first. Also
 * the receiving side on every copy.
 */
export class Recovery {
  readonly #core: PgCore;
  readonly #hooks: RecoveryHooks;
  readonly #active = new Map<string, ObjectRecovery>();
  readonly #waiters = new Map<string, (() => void)[]>();
  readonly #unfound = new Set<string>();
  /** OSDs that turned out not to have an object. */
  readonly #tried = new Map<string, Set<number>>();
  /** Objects of writes that wait until a member has them again. */
  readonly #lacked = new Set<string>();
  /** Of those under way, the ones that nobody waits for: `RecoveryPace` counts them. */
  readonly #paced = new Set<string>();
  readonly #again = (): void => this.#kick();
  #running = false;
  #reservation: Reservation | undefined;
  /** The place is to be given back when nothing is under way any more. */
  #stopping = false;
  /** A flag of the map holds recovery back. */
  #held = false;
  #retry: Timer | undefined;
  #generation = 0;
  /** Writes that backfill holds back: given by Backfill. */
  blockedByBackfill: (id: string) => boolean = () => false;
  /** Of an erasure-coded PG. */
  readonly erasure: ErasurePg | undefined;

  constructor(core: PgCore, hooks: RecoveryHooks) {
    this.#core = core;
    if (core.code !== undefined)
      this.erasure = new ErasurePg(core, core.code, {
        damaged: (oid, version, bad) => this.mend([{ oid, version, good: [], bad: [...bad] }]),
      });
    this.#hooks = hooks;
  }

  get unfound(): number {
    return this.#unfound.size;
  }

  /** Objects that no OSD has, as far as it is known. */
  unfoundObjects(): { oid: HObject; need: EVersion; have: EVersion }[] {
    const { meta, members, peers } = this.#core;
    const all = [...meta.missing.items, ...members.flatMap((osd) => [...peers.get(osd)!.missing!.items])];
    return [...new Map(all.filter(([id]) => this.#unfound.has(id))).values()];
  }

  // --- gate --------------------------------------------------------------------------------------------------------------------

  /** True when the object is here; else `ready` is called when it is. */
  readable(oid: HObject, ready: () => void): boolean {
    const item = this.#core.meta.missing.get(oid) ?? this.#tooFewShards(oid);
    if (item === undefined) return true;
    this.#wait(objectId(oid), ready);
    this.#recover(oid, item.need);
    return false;
  }

  /** What is needed of an object that is here but cannot be read, since too few other shards have it. */
  #tooFewShards(oid: HObject): { need: EVersion } | undefined {
    const core = this.#core;
    if (this.erasure === undefined) return undefined;
    let need: EVersion | undefined;
    for (const member of core.members) need ??= core.peers.get(member)!.missing!.get(oid)?.need;
    return need === undefined || this.erasure.reads.readable(oid, need) ? undefined : { need };
  }

  /** True when every member can follow a write of the object; else `ready` is called when they can. */
  writable(oid: HObject, ready: () => void): boolean {
    const id = objectId(oid);
    if (this.blockedByBackfill(id)) {
      this.#wait(id, ready);
      return false;
    }
    const core = this.#core;
    const own = core.meta.missing.get(oid);
    let need = own?.need ?? this.#active.get(id)?.need;
    for (const osd of core.members) need ??= core.peers.get(osd)!.missing!.get(oid)?.need;
    if (need === undefined) return true;
    this.#wait(id, ready);
    this.#recover(oid, need);
    return false;
  }

  /**
   * Our copy of an object is damaged: from now on it is missing here, and is fetched from another OSD. False: there is no other, or its version (undefined: it
   * cannot be read here) is not in the log.
   */
  repair(oid: HObject, known: EVersion | undefined): boolean {
    const { meta, info } = this.#core;
    const version = known ?? loggedVersion(this.#core, oid);
    if (this.#core.members.length === 0 || version === undefined) return false;
    if (!meta.missing.has(oid)) {
      this.#core.env.log.error('damaged object: it is fetched from another OSD', {
        pg: this.#core.text,
        oid: oid.name,
      });
      meta.missing.set(oid, version, eversionZero);
      info.lastComplete = completeUpTo(meta.log, meta.missing, info.lastUpdate);
      info.sums.objectsRepaired++;
      this.#core.env.countRepair();
      meta.touchFast();
      this.#core.flush();
      this.#hooks.objectChanged(oid);
    }
    this.#recover(oid, version);
    return true;
  }

  /** Scrub found copies that are not right: each is replaced with one that is. */
  mend(mends: readonly Mend[]): void {
    const core = this.#core;
    const { meta, info } = core;
    for (const { oid, version, bad } of mends) {
      for (const osd of bad) {
        const missing = osd === core.env.whoami ? meta.missing : core.peers.get(osd)?.missing;
        missing?.set(oid, version, eversionZero);
        info.sums.objectsRepaired++;
        if (osd === core.env.whoami) core.env.countRepair();
      }
      if (meta.missing.has(oid)) this.#hooks.objectChanged(oid);
    }
    info.lastComplete = completeUpTo(meta.log, meta.missing, info.lastUpdate);
    meta.touchFast();
    core.flush();
    core.clearState(PG_CLEAN);
    if (this.#running) this.#kick();
    else this.#resume();
  }

  /** A member has lost what a write built on, and said so: it gets the objects of the write as they are now. */
  memberLacks(osd: number, entries: readonly LogEntry[], ready: () => void): void {
    const core = this.#core;
    const peer = core.peers.get(osd);
    if (peer?.missing === undefined) return;
    let waiting = 1;
    const one = (): void => {
      if (--waiting === 0) ready();
    };
    const lacked = entries.filter(({ op }) => op === 'modify' || op === 'clone');
    for (const { oid, version } of lacked) {
      this.#lacked.add(objectId(oid));
      core.env.log.error('a member has lost an object', { pg: core.text, osd, oid: oid.name });
      peer.missing.set(oid, version, eversionZero);
      core.info.sums.objectsRepaired++;
    }
    peer.info.lastComplete = completeUpTo(core.meta.log, peer.missing, peer.info.lastUpdate);
    core.meta.touchFast();
    core.flush();
    core.clearState(PG_CLEAN);
    for (const { oid } of lacked) {
      waiting++;
      const check = (): void => {
        if (!this.writable(oid, check)) return;
        this.#lacked.delete(objectId(oid));
        one();
      };
      check();
    }
    one();
    if (this.#running) this.#kick();
    else this.#resume();
  }

  #wait(id: string, ready: () => void): void {
    const list = this.#waiters.get(id);
    if (list === undefined) this.#waiters.set(id, [ready]);
    else list.push(ready);
  }

  /** Lets those go on who wait for the object. */
  wake(id: string): void {
    const list = this.#waiters.get(id);
    if (list === undefined) return;
    this.#waiters.delete(id);
    for (const ready of list) ready();
  }

  // --- life --------------------------------------------------------------------------------------------------------------------

  reset(): void {
    this.#generation++;
    this.erasure?.reads.reset();
    this.#active.clear();
    this.#waiters.clear();
    this.#unfound.clear();
    this.#tried.clear();
    this.#lacked.clear();
    this.#core.env.pace.forget(this.#again);
    this.#core.env.pace.done(this.#paced.size);
    this.#paced.clear();
    this.#running = false;
    this.#stopping = false;
    this.#held = false;
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#reservation?.release();
    this.#reservation = undefined;
  }

  /** The primary serves: begins when something is missing, or reports that nothing is. */
  start(): void {
    if (!this.#anyMissing()) {
      this.#recovered();
      return;
    }
    const core = this.#core;
    core.setState(PG_DEGRADED);
    this.#held = core.map.hasFlag(MAP_NORECOVER);
    if (this.#held || this.#reservation !== undefined) return;
    if (this.#tooFull()) {
      core.setState(PG_RECOVERY_TOOFULL);
      this.#retryAfter(core.env.options().recoveryRetryInterval * 1000, () => this.start());
      return;
    }
    core.clearState(PG_RECOVERY_TOOFULL);
    core.setState(PG_RECOVERY_WAIT);
    this.#reservation = core.env.reserve({
      item: core.text,
      priority: recoveryPriority(core.urgency()),
      granted: () => {
        core.clearState(PG_RECOVERY_WAIT);
        core.setState(PG_RECOVERING);
        this.#running = true;
        this.#kick();
      },
      preempted: () => this.#stop(),
    });
  }

  /** What is under way ends; then others may have the place. */
  #stop(): void {
    if (!this.#running) return;
    this.#running = false;
    this.#stopping = true;
    this.#stopped();
  }

  #stopped(): void {
    if (!this.#stopping || this.#active.size > 0) return;
    this.#stopping = false;
    this.#giveBack();
    this.start();
  }

  #giveBack(): void {
    this.#running = false;
    this.#core.clearState(PG_RECOVERING);
    this.#core.env.pace.forget(this.#again);
    this.#reservation?.release();
    this.#reservation = undefined;
  }

  #recovered(): void {
    const core = this.#core;
    this.#giveBack();
    core.clearState(PG_RECOVERY_WAIT);
    core.clearState(PG_RECOVERY_UNFOUND);
    core.clearState(PG_RECOVERY_TOOFULL);
    core.clearState(PG_FORCED_RECOVERY);
    this.#hooks.recovered();
  }

  /** Something is missing that was not, or can be had that could not. */
  #resume(): void {
    if (this.#running || this.#stopping || this.#reservation !== undefined) return;
    if (this.#core.hasState(PG_CLEAN) && !this.#anyMissing()) return;
    if (this.#anyMissing() && !this.#anyToRecover()) this.#awaitUnfound();
    else this.start();
  }

  /** A disk of the PG is full: what is pushed there could not be kept (`OSDService::check_osdmap_full`). */
  #tooFull(): boolean {
    const core = this.#core;
    const all = [core.env.whoami, ...core.members];
    return all.some((member) => core.map.fullness(member) >= FULLNESS_FULL);
  }

  #retryAfter(ms: number, run: () => void): void {
    this.#retry?.cancel();
    this.#retry = this.#core.env.clock.after(ms, () => {
      this.#retry = undefined;
      run();
    });
  }

  /** Urgency may have changed. */
  reprioritise(): void {
    this.#reservation?.reprioritise(recoveryPriority(this.#core.urgency()));
  }

  /** A newer map: flags and full disks may hold recovery back, or do so no more. */
  mapChanged(): void {
    const core = this.#core;
    if (this.#held && !core.map.hasFlag(MAP_NORECOVER)) this.start();
    else if (core.hasState(PG_RECOVERY_TOOFULL) && !this.#tooFull()) {
      this.#retry?.cancel();
      this.#retry = undefined;
      this.start();
    } else if (this.#running && core.map.hasFlag(MAP_NORECOVER)) this.#stop();
    else if (this.#reservation !== undefined && !this.#running && !this.#stopping && core.map.hasFlag(MAP_NORECOVER)) {
      core.clearState(PG_RECOVERY_WAIT);
      this.#giveBack();
      this.#held = true;
    }
  }

  #anyMissing(): boolean {
    const core = this.#core;
    if (core.meta.missing.size > 0) return true;
    return core.members.some((osd) => core.peers.get(osd)!.missing!.size > 0);
  }

  /** What is missing somewhere, each object once a copy that lacks it. */
  *#missing(): Generator<{ oid: HObject; need: EVersion }> {
    const core = this.#core;
    yield* core.meta.missing.items.values();
    for (const osd of core.members) yield* core.peers.get(osd)!.missing!.items.values();
  }

  #anyToRecover(): boolean {
    for (const { oid } of this.#missing()) if (!this.#unfound.has(objectId(oid))) return true;
    return false;
  }

  #kick(): void {
    this.#stopped();
    if (!this.#running) return;
    const core = this.#core;
    for (const { oid, need } of this.#missing()) {
      const id = objectId(oid);
      if (this.#active.has(id) || this.#unfound.has(id)) continue;
      if (!core.env.pace.take(this.#again)) break;
      this.#paced.add(id);
      this.#recover(oid, need);
      if (!this.#active.has(id)) this.#unpace(id);
    }
    if (this.#active.size > 0) return;
    if (!this.#anyMissing()) this.#recovered();
    else if (!this.#anyToRecover()) {
      this.#giveBack();
      this.#awaitUnfound();
    }
  }

  /** Others have the place meanwhile. */
  #awaitUnfound(): void {
    this.#core.setState(PG_RECOVERY_UNFOUND);
    this.#hooks.searchStrays();
    if (this.#retry === undefined) this.#retryAfter(unfoundRetryMs, () => this.retryUnfound());
  }

  #unpace(id: string): void {
    if (this.#paced.delete(id)) this.#core.env.pace.done(1);
  }

  /** A copy that may have what was not found has shown up, or time has passed. */
  retryUnfound(): void {
    if (this.#unfound.size === 0) return;
    this.#unfound.clear();
    this.#tried.clear();
    let tries = maxUnfoundTries;
    // Those that clients wait for first.
    for (const id of this.#waiters.keys()) {
      const item = this.#core.meta.missing.items.get(id);
      if (item !== undefined) this.#recover(item.oid, item.need);
    }
    for (const { oid, need } of this.#missing()) {
      if (tries-- === 0) break;
      this.#recover(oid, need);
    }
    if (this.#running) this.#kick();
    else if (this.#active.size === 0) this.#resume();
  }

  // --- primary -----------------------------------------------------------------------------------------------------------------

  #recover(oid: HObject, need: EVersion): void {
    const id = objectId(oid);
    if (this.#active.has(id) || this.#unfound.has(id)) return;
    const core = this.#core;
    const op: ObjectRecovery = { oid, need, from: -1, pushing: new Set() };
    const own = core.meta.missing.get(oid);
    if (own === undefined) {
      if (this.erasure?.reads.readable(oid, need) === false) {
        this.#notFound(id, oid, need);
        return;
      }
      this.#active.set(id, op);
      this.#pushToMembers(op);
      return;
    }
    op.need = own.need;
    const source = this.#source(oid, own.need);
    if (source === undefined) {
      this.#notFound(id, oid, own.need);
      return;
    }
    op.from = source;
    this.#active.set(id, op);
    this.#pull(op, pushStart);
  }

  #notFound(id: string, oid: HObject, need: EVersion): void {
    this.#unfound.add(id);
    this.erasure?.reads.search(oid, need, () => {
      if (!this.#unfound.delete(id)) return;
      this.#tried.delete(id);
      this.#recover(oid, need);
      this.#kick();
    });
    this.#core.env.log.warn('object not found on any OSD that is up', { pg: this.#core.text, oid: oid.name });
    this.#hooks.searchStrays();
  }

  /**
   * Who has the object: a copy that says so, else any that was not asked for it yet. A copy that is to be filled from scratch may still hold what nobody else
   * does; whatever comes must be the very version needed.
   */
  #source(oid: HObject, need: EVersion): number | undefined {
    const core = this.#core;
    const tried = this.#tried.get(objectId(oid));
    if (this.erasure !== undefined) {
      const self = core.env.whoami;
      return tried?.has(self) !== true && this.erasure.reads.readable(oid, need) ? self : undefined;
    }
    const up = [...core.peers.keys()].filter((osd) => core.map.isUp(osd) && tried?.has(osd) !== true);
    return up.find((osd) => core.peerHas(osd, oid, need)) ?? up[0];
  }

  #pull(op: ObjectRecovery, from: PushCursor): void {
    const core = this.#core;
    if (this.erasure !== undefined) {
      this.#rebuildOwn(op, from);
      return;
    }
    core.env.send(op.from, MOSDPGPull, { ...core.head(), items: [{ oid: op.oid, need: op.need, from }] });
  }

  /** Our shard of an object, made of others. */
  #rebuildOwn(op: ObjectRecovery, from: PushCursor): void {
    const core = this.#core;
    const generation = this.#generation;
    const self = core.env.whoami;
    const got = (item: PushItem): void => {
      if (generation === this.#generation) this.#onPulled(self, item);
    };
    this.erasure!.rebuild(op.oid, op.need, self, from).then(got, (error: unknown) => {
      core.env.log.info('a shard cannot be made yet', { pg: core.text, oid: op.oid.name, error: errorText(error) });
      got(notFound(op.oid, from));
    });
  }

  #pushToMembers(op: ObjectRecovery): void {
    const core = this.#core;
    for (const osd of core.members) if (core.peers.get(osd)!.missing!.has(op.oid)) op.pushing.add(osd);
    if (op.pushing.size === 0) {
      this.#finish(op);
      return;
    }
    for (const osd of op.pushing) this.#push(op, osd, pushStart);
  }

  #push(op: ObjectRecovery, osd: number, from: PushCursor): void {
    this.sendPiece(op.oid, osd, from, false);
  }

  /** Sends a piece of an object of ours; an object that cannot be read is sent as not found. */
  sendPiece(oid: HObject, osd: number, from: PushCursor, pulled: boolean): void {
    const core = this.#core;
    const generation = this.#generation;
    core.env.bulk(osd, async () => {
      if (generation !== this.#generation) return;
      let item: PushItem;
      try {
        item = await (this.erasure === undefined
          ? readPiece(core.env.store, core.meta.cid, oid, from)
          : this.#shardPiece(this.erasure, oid, osd, from));
      } catch (error) {
        const reason = errorText(error);
        core.env.log.error('cannot read an object for recovery', { pg: core.text, oid: oid.name, error: reason });
        if (!pulled && generation === this.#generation && this.erasure === undefined) {
          // It cannot be given to others before it is whole here.
          this.#active.delete(objectId(oid));
          this.#unpace(objectId(oid));
          if (this.repair(oid, infoOf(core, oid)?.version)) return;
        }
        item = notFound(oid, from);
      }
      if (generation === this.#generation) core.env.send(osd, MOSDPGPush, { ...core.head(), pulled, items: [item] });
    });
  }

  /** In its turn on the object: no write that may still be taken back is on its way. */
  async #shardPiece(erasure: ErasurePg, oid: HObject, member: number, from: PushCursor): Promise<PushItem> {
    // Of a write that waits for this very member no end can be waited for.
    const release = this.#lacked.has(objectId(oid)) ? undefined : await this.#hooks.quiet(oid);
    try {
      const version = infoOf(this.#core, oid)?.version;
      return version === undefined ? notFound(oid, from) : await erasure.rebuild(oid, version, member, from);
    } finally {
      release?.();
    }
  }

  /** A newer map of the same interval: pulls from OSDs that are gone are tried elsewhere. */
  onMap(): void {
    this.erasure?.reads.onMap();
    for (const [id, op] of [...this.#active]) {
      if (op.from < 0 || op.from === this.#core.env.whoami || this.#core.peers.has(op.from)) continue;
      this.#active.delete(id);
      this.#recover(op.oid, op.need);
      if (!this.#active.has(id)) this.#unpace(id);
    }
    this.#kick();
  }

  #finish(op: ObjectRecovery): void {
    const id = objectId(op.oid);
    this.#active.delete(id);
    this.#unpace(id);
    countRecovered(this.#core, op.oid);
    this.#core.env.reportSoon();
    this.wake(id);
    if (this.#running || this.#stopping) this.#kick();
    else if (this.#active.size === 0) this.#resume();
  }

  // --- messages ----------------------------------------------------------------------------------------------------------------

  /** The primary wants objects of ours. */
  onPull(from: number, m: MOSDPGPull): void {
    for (const item of m.items) this.sendPiece(item.oid, from, item.from, true);
  }

  onPush(from: number, m: MOSDPGPush): void {
    for (const item of m.items) {
      if (m.pulled) this.#onPulled(from, item);
      else this.#onPushed(from, item);
    }
  }

  /** The primary receives what it asked for. */
  #onPulled(from: number, item: PushItem): void {
    const core = this.#core;
    const id = objectId(item.oid);
    const op = this.#active.get(id);
    if (op === undefined || op.from !== from) return;
    if (!item.found || compareEVersion(item.version, op.need) !== 0) {
      core.env.log.info('a copy does not have the object', { pg: core.text, from, oid: item.oid.name });
      if (core.members.includes(from) && core.peerHas(from, item.oid, op.need))
        core.peers.get(from)!.missing!.set(item.oid, op.need, eversionZero);
      const tried = this.#tried.get(id) ?? new Set();
      this.#tried.set(id, tried.add(from));
      this.#active.delete(id);
      this.#recover(item.oid, op.need);
      if (!this.#active.has(id)) this.#unpace(id);
      if (this.#running || this.#stopping) this.#kick();
      else if (this.#active.size === 0) this.#resume();
      return;
    }
    const ops = pieceOps(core.meta.cid, item);
    if (!isDone(item.after)) {
      core.env.commit(ops);
      this.#pull(op, item.after);
      return;
    }
    this.#complete(item.oid);
    core.env.commit([...ops, ...core.meta.writeOps()]);
    this.#hooks.objectChanged(item.oid);
    op.from = -1;
    this.#pushToMembers(op);
    // Readers need not wait for the other copies.
    if (this.#active.has(id)) this.wake(id);
  }

  #complete(oid: HObject): void {
    const { meta, info } = this.#core;
    if (!meta.missing.delete(oid)) return;
    info.lastComplete = completeUpTo(meta.log, meta.missing, info.lastUpdate);
    meta.touchFast();
  }

  /** A replica or backfill target receives a piece from the primary. */
  #onPushed(from: number, item: PushItem): void {
    const core = this.#core;
    const reply = (result: number): void =>
      core.env.send(from, MOSDPGPushReply, {
        ...core.head(),
        items: [{ oid: item.oid, version: item.version, result, after: item.after }],
      });
    if (!item.found) {
      reply(ENOENT);
      return;
    }
    const lacked = core.meta.missing.get(item.oid);
    if (lacked !== undefined && compareEVersion(item.version, lacked.need) < 0) {
      // Read before a write that came here first.
      reply(EAGAIN);
      return;
    }
    const ops = pieceOps(core.meta.cid, item);
    if (isDone(item.after)) {
      // What was not known to be missing here was wrong.
      if (lacked === undefined && compareHObject(item.oid, core.info.lastBackfill) <= 0) core.env.countRepair();
      this.#complete(item.oid);
      ops.push(...core.meta.writeOps());
      this.#hooks.objectChanged(item.oid);
    }
    const { interval } = core;
    core.env.commit(ops, () => {
      if (core.interval === interval) reply(0);
    });
  }

  /** A member has a piece on its disk. False: it was not ours to recover (backfill asks next). */
  onPushReply(from: number, oid: HObject, result: number, after: PushCursor): boolean {
    const op = this.#active.get(objectId(oid));
    if (op === undefined || !op.pushing.has(from)) return false;
    if (result === 0 && !isDone(after)) {
      this.#push(op, from, after);
      return true;
    }
    const peer = this.#core.peers.get(from);
    if (result === 0 && peer?.missing !== undefined) {
      peer.missing.delete(oid);
      peer.info.lastComplete = completeUpTo(this.#core.meta.log, peer.missing, peer.info.lastUpdate);
    }
    op.pushing.delete(from);
    // Left for a while, instead of trying again at once and for ever.
    if (result !== 0) this.#unfound.add(objectId(oid));
    if (op.pushing.size === 0) this.#finish(op);
    return true;
  }
}
