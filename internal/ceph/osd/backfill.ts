import type { Timer } from '../../base/clock.ts';
import { PG_BACKFILL_TOOFULL, PG_BACKFILL_WAIT, PG_BACKFILLING, PG_DEGRADED } from '../wire/messages/osd_mgr.ts';
import { MOSDPGBackfill, MOSDPGScan, type PushCursor, pushStart } from '../wire/messages/osd_osd.ts';
import type { LogEntry } from '../wire/messages/osd_pg.ts';
import {
  compareEVersion,
  compareHObject,
  type EVersion,
  eversionZero,
  type HObject,
  hobjectMax,
  SNAP_HEAD,
} from '../wire/types.ts';
import { FULLNESS_BACKFILLFULL, MAP_NOBACKFILL, MAP_NOREBALANCE } from './map-view.ts';
import { isDone } from './object-copy.ts';
import { decodeObjectInfo, infoXattr } from './object-info.ts';
import { afterKey, endObjectKey, isObjectKey, objectId, objectKey, objectOfKey } from './object-key.ts';
import type { PgCore } from './pg-core.ts';
import { countRecovered } from './recovered-objects.ts';
import { backfillPriority } from './recovery-priority.ts';
import type { Recovery } from './recovery.ts';
import type { Replication } from './replication.ts';
import type { Reservation } from './reserver.ts';

/** Objects compared in one step, and copied at once. */
const batchObjects = 64;
/** A target that holds more than this in one stretch answers for a part of it. */
const maxScanItems = 4096;

interface Listed {
  oid: HObject;
  version: EVersion;
}

/** How far one target has come. The stretch (its lastBackfill, end] is being worked on. */
interface Target {
  osd: number;
  end: HObject;
  phase: 'scanning' | 'pushing' | 'reporting';
  ours: Map<string, Listed>;
  queue: HObject[];
  pushing: Map<string, HObject>;
  /** What only the target has. */
  remove: Map<string, HObject>;
  /** Changed while it was compared or copied: to be copied again. */
  dirty: Map<string, HObject>;
}

export interface BackfillHooks {
  /** All targets are complete. */
  backfilled(): void;
}

/** The objects of a stretch of a collection with their versions, in order; `next`: where the listing goes on. */
function listRange(
  core: PgCore,
  begin: Uint8Array,
  end: Uint8Array,
  limit: number,
): { items: Listed[]; full: boolean } {
  const items: Listed[] = [];
  let start = begin;
  for (;;) {
    const page = core.env.store.list(core.meta.cid, start, 256);
    for (const key of page) {
      if (Buffer.compare(key, end) >= 0) return { items, full: false };
      if (!isObjectKey(key)) continue;
      if (items.length >= limit) return { items, full: true };
      const { store } = core.env;
      const info = store.stat(core.meta.cid, key)?.damaged ? undefined : store.xattr(core.meta.cid, key, infoXattr);
      items.push({
        oid: objectOfKey(key, core.id.pool),
        version: info === undefined ? eversionZero : decodeObjectInfo(info).version,
      });
    }
    if (page.length < 256) return { items, full: false };
    start = afterKey(page[page.length - 1]!);
  }
}

/**
 * Fills copies whose logs do not meet ours: stretch by stretch in object order, what differs is copied, what is too much is removed, then the target's
 * `lastBackfill` moves on. Writes up to the end of the stretch go to the target as a whole, except while their object is compared or copied.
 */
export class Backfill {
  readonly #core: PgCore;
  readonly #recovery: Recovery;
  readonly #hooks: BackfillHooks;
  readonly #targets = new Map<number, Target>();
  #reservation: Reservation | undefined;
  #running = false;
  /** The place is to be given back at the end of the stretches under way. */
  #stopping = false;
  /** A flag of the map holds it back. */
  #held = false;
  #retry: Timer | undefined;
  /** Pushes that `RecoveryPace` counts. */
  #paced = 0;
  readonly #again = (): void => {
    for (const target of this.#targets.values()) if (target.phase === 'pushing') this.#pump(target);
  };

  constructor(core: PgCore, replication: Replication, recovery: Recovery, hooks: BackfillHooks) {
    this.#core = core;
    this.#recovery = recovery;
    this.#hooks = hooks;
    recovery.blockedByBackfill = (id) => {
      for (const target of this.#targets.values()) if (target.pushing.has(id)) return true;
      return false;
    };
    replication.takesWhole = (osd, head, key, entries) => this.#takesWhole(osd, head, key, entries);
  }

  reset(): void {
    this.#targets.clear();
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#held = false;
    this.#stopping = false;
    this.#giveBack();
  }

  #giveBack(): void {
    const { pace } = this.#core.env;
    pace.forget(this.#again);
    pace.done(this.#paced);
    this.#paced = 0;
    this.#running = false;
    this.#reservation?.release();
    this.#reservation = undefined;
  }

  /** Targets that are not complete. */
  #waiting(): number[] {
    const { backfillTargets, peers } = this.#core;
    return [...backfillTargets].filter((osd) => !peers.get(osd)!.info.lastBackfill.max);
  }

  start(): void {
    if (this.#reservation !== undefined) return;
    const core = this.#core;
    const waiting = this.#waiting();
    if (waiting.length === 0) {
      this.#hooks.backfilled();
      return;
    }
    this.#held = this.#forbidden();
    if (this.#held) {
      core.setState(PG_BACKFILL_WAIT);
      return;
    }
    if (this.#tooFull()) {
      core.clearState(PG_BACKFILL_WAIT);
      core.setState(PG_BACKFILL_TOOFULL);
      this.#retry?.cancel();
      this.#retry = core.env.clock.after(core.env.options().backfillRetryInterval * 1000, () => this.#tryAgain());
      return;
    }
    core.clearState(PG_BACKFILL_TOOFULL);
    core.setState(PG_BACKFILL_WAIT);
    this.#reservation = core.env.reserve({
      item: core.text,
      priority: backfillPriority(core.urgency()),
      granted: () => {
        core.clearState(PG_BACKFILL_WAIT);
        core.setState(PG_BACKFILLING);
        this.#running = true;
        for (const osd of this.#waiting()) this.#nextStretch(osd);
      },
      preempted: () => {
        this.#stopping = true;
      },
    });
  }

  /** `nobackfill`, or `norebalance` where nothing is lost by waiting. */
  #forbidden(): boolean {
    const { map } = this.#core;
    return map.hasFlag(MAP_NOBACKFILL) || (map.hasFlag(MAP_NOREBALANCE) && !this.#core.hasState(PG_DEGRADED));
  }

  /** The disk of a target has no room for it. */
  #tooFull(): boolean {
    return this.#waiting().some((osd) => this.#core.map.fullness(osd) >= FULLNESS_BACKFILLFULL);
  }

  #tryAgain(): void {
    this.#retry?.cancel();
    this.#retry = undefined;
    this.start();
  }

  /** Urgency may have changed. */
  reprioritise(): void {
    this.#reservation?.reprioritise(backfillPriority(this.#core.urgency()));
  }

  /** A newer map: flags and full disks may hold it back, or do so no more. */
  mapChanged(): void {
    if (this.#held && !this.#forbidden()) this.start();
    else if (this.#retry !== undefined && !this.#tooFull()) this.#tryAgain();
    else if (this.#reservation !== undefined && (this.#forbidden() || this.#tooFull())) {
      if (this.#running) this.#stopping = true;
      else {
        this.#giveBack();
        this.start();
      }
    }
  }

  /** All stretches under way have ended: others may have the place. */
  #stopped(): void {
    if (this.#targets.size > 0) return;
    this.#stopping = false;
    this.#giveBack();
    this.#core.clearState(PG_BACKFILLING);
    this.start();
  }

  #takesWhole(osd: number, head: HObject, key: Uint8Array, entries: readonly LogEntry[]): boolean {
    const { lastBackfill } = this.#core.peers.get(osd)!.info;
    if (Buffer.compare(key, objectKey(lastBackfill)) <= 0) return true;
    const target = this.#targets.get(osd);
    if (target === undefined || Buffer.compare(key, objectKey(target.end)) > 0) return false;
    // What was reported is ahead of this write in the same stream.
    if (target.phase === 'reporting') return true;
    const id = objectId(head);
    if (target.phase === 'pushing') {
      const stale = target.remove.delete(id);
      if (stale) target.queue.push(head);
      else if (!target.pushing.has(id) && !target.queue.some((o) => objectId(o) === id)) return true;
    }
    // The object is copied after this write, and so is every clone that the write makes or removes.
    for (const { oid } of entries) {
      const touched = objectId(oid);
      target.dirty.set(touched, oid);
      target.remove.delete(touched);
      if (target.phase === 'pushing' && touched !== id && !target.pushing.has(touched)) target.queue.push(oid);
    }
    return false;
  }

  #nextStretch(osd: number): void {
    const core = this.#core;
    const { lastBackfill } = core.peers.get(osd)!.info;
    const begin = afterKey(objectKey(lastBackfill));
    const { items, full } = listRange(core, begin, endObjectKey, batchObjects);
    // A stretch ends behind a head, so that an object and its clones stay together.
    let end: HObject = hobjectMax;
    if (full) {
      let last = items.length - 1;
      while (last > 0 && items[last]!.oid.snap !== SNAP_HEAD) last--;
      if (items[last]!.oid.snap === SNAP_HEAD) {
        items.length = last + 1;
        end = items[last]!.oid;
      } else {
        const more = listRange(core, begin, endObjectKey, maxScanItems).items;
        const head = more.findIndex((item) => item.oid.snap === SNAP_HEAD);
        items.length = 0;
        items.push(...more.slice(0, head + 1));
        end = head < 0 ? hobjectMax : more[head]!.oid;
      }
    }
    const target: Target = {
      osd,
      end,
      phase: 'scanning',
      ours: new Map(items.map((item) => [objectId(item.oid), item])),
      queue: [],
      pushing: new Map(),
      remove: new Map(),
      dirty: new Map(),
    };
    this.#targets.set(osd, target);
    core.env.send(osd, MOSDPGScan, { ...core.head(), op: 'get', begin: lastBackfill, end, items: [] });
  }

  /** A target lists what it has behind `begin` up to `end` inclusive. */
  #answerScan(from: number, m: MOSDPGScan): void {
    const core = this.#core;
    const end = m.end.max ? endObjectKey : afterKey(objectKey(m.end));
    const { items, full } = listRange(core, afterKey(objectKey(m.begin)), end, maxScanItems);
    let reached = m.end;
    if (full) {
      let last = items.length - 1;
      while (last > 0 && items[last]!.oid.snap !== SNAP_HEAD) last--;
      items.length = last + 1;
      reached = items[last]!.oid;
    }
    core.env.send(from, MOSDPGScan, { ...core.head(), op: 'digest', begin: m.begin, end: reached, items });
  }

  onScan(from: number, m: MOSDPGScan): void {
    if (m.op === 'get') {
      this.#answerScan(from, m);
      return;
    }
    const target = this.#targets.get(from);
    if (target === undefined || target.phase !== 'scanning') return;
    if (compareHObject(m.end, target.end) < 0) {
      for (const [id, item] of target.ours) if (compareHObject(item.oid, m.end) > 0) target.ours.delete(id);
      target.end = m.end;
    }
    const { missing } = this.#core.meta;
    const theirs = new Map(m.items.map((item) => [objectId(item.oid), item]));
    for (const [id, item] of theirs)
      if (!target.ours.has(id) && !target.dirty.has(id) && !missing.has(item.oid)) target.remove.set(id, item.oid);
    for (const [id, item] of target.ours) {
      if (missing.has(item.oid)) continue;
      const present = theirs.get(id);
      if (target.dirty.has(id) || present === undefined || compareEVersion(present.version, item.version) !== 0)
        target.queue.push(item.oid);
    }
    // Made meanwhile.
    for (const [id, oid] of target.dirty) if (!target.ours.has(id)) target.queue.push(oid);
    target.dirty.clear();
    target.phase = 'pushing';
    this.#pump(target);
  }

  #pump(target: Target): void {
    const { pace } = this.#core.env;
    while (target.queue.length > 0 && pace.take(this.#again)) {
      this.#paced++;
      const oid = target.queue.shift()!;
      const id = objectId(oid);
      target.pushing.set(id, oid);
      target.dirty.delete(id);
      if (this.#core.env.store.stat(this.#core.meta.cid, objectKey(oid)) === undefined) {
        // Deleted meanwhile.
        target.remove.set(id, oid);
        target.pushing.delete(id);
        this.#unpace();
        this.#recovery.wake(id);
        continue;
      }
      this.#recovery.sendPiece(oid, target.osd, pushStart, false);
    }
    if (target.pushing.size > 0 || target.queue.length > 0) return;
    this.#report(target);
  }

  #unpace(): void {
    if (this.#paced === 0) return;
    this.#paced--;
    this.#core.env.pace.done(1);
  }

  #report(target: Target): void {
    const core = this.#core;
    target.phase = 'reporting';
    const lastBackfill = target.end;
    core.env.send(target.osd, MOSDPGBackfill, {
      ...core.head(),
      op: lastBackfill.max ? 'finish' : 'progress',
      lastBackfill,
      sums: core.info.sums,
      remove: [...target.remove.values()],
    });
  }

  /** True when the push was one of backfill's. */
  onPushReply(from: number, oid: HObject, result: number, after: PushCursor): boolean {
    const target = this.#targets.get(from);
    const id = objectId(oid);
    if (target === undefined || !target.pushing.has(id)) return false;
    if (result === 0 && !isDone(after)) {
      this.#recovery.sendPiece(oid, from, after, false);
      return true;
    }
    target.pushing.delete(id);
    this.#unpace();
    if (target.dirty.has(id) || result !== 0) target.queue.push(oid);
    else {
      countRecovered(this.#core, oid);
      this.#recovery.wake(id);
    }
    this.#pump(target);
    return true;
  }

  onBackfill(from: number, m: MOSDPGBackfill): void {
    const core = this.#core;
    if (m.op === 'ack') {
      const target = this.#targets.get(from);
      if (target === undefined || target.phase !== 'reporting') return;
      const peer = core.peers.get(from)!;
      peer.info.lastBackfill = m.lastBackfill;
      this.#targets.delete(from);
      if (!m.lastBackfill.max && !this.#stopping) {
        this.#nextStretch(from);
        return;
      }
      core.env.reportSoon();
      if (this.#waiting().length === 0) {
        core.clearState(PG_BACKFILLING);
        this.#stopping = false;
        this.#giveBack();
        this.#hooks.backfilled();
      } else if (this.#stopping) this.#stopped();
      return;
    }
    const { meta, info } = core;
    info.lastBackfill = m.lastBackfill;
    info.sums = { ...m.sums };
    meta.touchInfo();
    const { interval } = core;
    const ops = m.remove.map((oid) => ({ op: 'remove' as const, cid: meta.cid, key: objectKey(oid) }));
    core.env.commit([...ops, ...meta.writeOps()], () => {
      if (core.interval !== interval) return;
      core.env.send(from, MOSDPGBackfill, {
        ...core.head(),
        op: 'ack',
        lastBackfill: m.lastBackfill,
        sums: m.sums,
        remove: [],
      });
    });
  }
}
