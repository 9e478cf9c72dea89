import type { Timer } from '../../base/clock.ts';
import type { TransactionOp } from '../blockstore/api.ts';
import { PG_ACTIVE, PG_CLEAN, PG_SNAPTRIM } from '../wire/messages/osd_mgr.ts';
import type { LogEntry } from '../wire/messages/osd_pg.ts';
import { eversionZero, type HObject, SNAP_HEAD } from '../wire/types.ts';
import { MAP_NOSNAPTRIM } from './map-view.ts';
import {
  type CloneInfo,
  encodeObjectInfo,
  encodeSnapSet,
  infoXattr,
  intersectRanges,
  type SnapSet,
  snapsetXattr,
} from './object-info.ts';
import { endObjectKey, firstObjectKey, isObjectKey, objectKey, objectOfKey } from './object-key.ts';
import type { InternalWrite } from './engine-host.ts';
import type { OpEngine } from './op-engine.ts';
import type { ObjectContext } from './ops/object-context.ts';
import type { PgCore } from './pg-core.ts';
import type { Replication } from './replication.ts';

/** Keys looked at in one step, and the pause between steps: trimming must not starve clients. */
const keysPerStep = 256;
const pauseMs = 20;

/**
 * Removes the clones that only served snapshots which are gone (`SnapTrimmer`). The PG is walked once for all snapshots removed since the last walk; what
 * is done is remembered with the PG.
 */
export class SnapTrim {
  readonly #core: PgCore;
  readonly #engine: OpEngine;
  readonly #replication: Replication;
  #snaps: ReadonlySet<bigint> = new Set();
  #cursor: Uint8Array = firstObjectKey;
  #running = false;
  #timer: Timer | undefined;
  #generation = 0;

  constructor(core: PgCore, engine: OpEngine, replication: Replication) {
    this.#core = core;
    this.#engine = engine;
    this.#replication = replication;
  }

  get queueLength(): number {
    return this.#running ? this.#snaps.size : 0;
  }

  reset(): void {
    this.#generation++;
    this.#running = false;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Begins when there is something to do and the PG is clean. */
  kick(): void {
    const core = this.#core;
    if (this.#running || !core.isPrimary || !core.hasState(PG_ACTIVE) || !core.hasState(PG_CLEAN)) return;
    if (core.map.hasFlag(MAP_NOSNAPTRIM)) return;
    const removed = core.map.removedSnaps(core.id.pool);
    const snaps = new Set<bigint>();
    for (const [start, length] of removed)
      for (let snap = start; snap < start + length; snap++) {
        if (!core.meta.purgedSnaps.has(snap)) snaps.add(snap);
        // The rest is for the next walk.
        if (snaps.size >= 1000) break;
      }
    if (snaps.size === 0) return;
    this.#snaps = snaps;
    this.#cursor = firstObjectKey;
    this.#running = true;
    core.setState(PG_SNAPTRIM);
    this.#step();
  }

  #later(): void {
    const generation = this.#generation;
    this.#timer = this.#core.env.clock.after(pauseMs, () => {
      if (generation === this.#generation) this.#step();
    });
  }

  #step(): void {
    const core = this.#core;
    if (!core.hasState(PG_CLEAN)) {
      this.#finish(false);
      return;
    }
    const keys = core.env.store.list(core.meta.cid, this.#cursor, keysPerStep);
    for (const key of keys) {
      if (Buffer.compare(key, endObjectKey) >= 0) break;
      this.#cursor = new Uint8Array([...key, 0]);
      if (!isObjectKey(key)) continue;
      const oid = objectOfKey(key, core.id.pool);
      // Clones stand before their head: the head tells all about them.
      if (oid.snap === SNAP_HEAD) continue;
      const head: HObject = { ...oid, snap: SNAP_HEAD };
      const { snapset, damaged } = this.#engine.contexts.get(head);
      if (damaged) {
        // What its clones serve is not known before it is mended.
        this.#finish(false);
        return;
      }
      if (!snapset.clones.some((clone) => clone.snaps.some((snap) => this.#snaps.has(snap)))) continue;
      this.#cursor = objectKey(head);
      const generation = this.#generation;
      this.#engine.internalWrite(
        head,
        (obc) => this.#trimObject(obc),
        () => {
          if (generation === this.#generation) this.#later();
        },
      );
      return;
    }
    if (keys.length < keysPerStep) this.#finish(true);
    else this.#later();
  }

  #finish(complete: boolean): void {
    const core = this.#core;
    this.#running = false;
    core.clearState(PG_SNAPTRIM);
    if (!complete) return;
    const { purgedSnaps } = core.meta;
    for (const snap of this.#snaps) purgedSnaps.add(snap);
    for (const snap of purgedSnaps) if (!core.map.isSnapRemoved(core.id.pool, snap)) purgedSnaps.delete(snap);
    core.meta.touchPurged();
    core.flush();
    this.kick();
  }

  /** The write that takes the removed snapshots out of an object's clones. */
  #trimObject(obc: ObjectContext): InternalWrite | undefined {
    const core = this.#core;
    const { cid } = core.meta;
    const entries: LogEntry[] = [];
    const ops: TransactionOp[] = [];
    const clones: CloneInfo[] = [];
    let changed = false;
    for (const clone of obc.snapset.clones) {
      const snaps = clone.snaps.filter((snap) => !this.#snaps.has(snap));
      if (snaps.length === clone.snaps.length) {
        clones.push(clone);
        continue;
      }
      changed = true;
      if (snaps.length > 0) {
        clones.push({ ...clone, snaps });
        continue;
      }
      const oid: HObject = { ...obc.oid, snap: clone.id };
      const older = clones.pop();
      if (older !== undefined) clones.push({ ...older, overlap: intersectRanges(older.overlap, clone.overlap) });
      const removed = this.#engine.contexts.get(oid).info;
      ops.push({ op: 'remove', cid, key: objectKey(oid) });
      entries.push({
        op: 'delete',
        oid,
        version: this.#replication.nextVersion(entries.length),
        prior: removed.version,
        userVersion: 0,
        reqid: undefined,
        mtime: obc.info.mtime,
        returnCode: 0,
        returns: undefined,
      });
      this.#engine.contexts.forget(oid);
      core.info.sums.objects--;
      core.info.sums.objectClones--;
      core.info.sums.bytes -= clone.size;
      if (removed.omap) core.info.sums.objectsOmap--;
    }
    if (!changed) return undefined;
    const gone = clones.length === 0 && obc.info.whiteout;
    const version = this.#replication.nextVersion(entries.length);
    const snapset: SnapSet = { seq: obc.snapset.seq, clones };
    const info = { ...obc.info, version };
    if (gone) {
      ops.push({ op: 'remove', cid, key: obc.key });
      core.info.sums.whiteouts--;
    } else
      ops.push({
        op: 'set-xattrs',
        cid,
        key: obc.key,
        xattrs: new Map([
          [infoXattr, encodeObjectInfo(info)],
          [snapsetXattr, encodeSnapSet(snapset)],
        ]),
      });
    entries.push({
      op: gone ? 'delete' : 'modify',
      oid: obc.oid,
      version,
      prior: obc.inStore ? obc.info.version : eversionZero,
      userVersion: obc.info.userVersion,
      reqid: undefined,
      mtime: obc.info.mtime,
      returnCode: 0,
      returns: undefined,
    });
    return { entries, ops, after: { info, inStore: !gone, snapset } };
  }
}
