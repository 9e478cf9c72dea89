import type { HObject, SnapContext } from '../../wire/types.ts';
import type { OsdOp } from '../../wire/messages/osd_op.ts';
import { type CloneInfo, intersectRanges, type SnapSet, snapsetXattr } from '../object-info.ts';
import { needsClone } from './data-ops.ts';
import { EBUSY } from './errno.ts';
import type { OpContext } from './op-context.ts';

/** The clone id that serves snapshot `snap` of an object: 'head', or undefined when the object did not exist then. */
export function resolveSnap(snapset: SnapSet, headExists: boolean, snap: bigint): bigint | 'head' | undefined {
  if (snap > snapset.seq) return headExists ? 'head' : undefined;
  for (const clone of snapset.clones) {
    if (clone.id < snap) continue;
    return clone.snaps.includes(snap) ? clone.id : undefined;
  }
  // The head was made, or made again, after it.
  return undefined;
}

/** What a write leaves beside the head: the clone made of it, if any. */
export interface CloneMade {
  oid: HObject;
  clone: CloneInfo;
}

/**
 * `make_writeable`: when snapshots were taken since the last write, the head as it was becomes a clone before it changes. Gives the snapset after
 * the request and the clone.
 */
export function makeWriteable(ctx: OpContext): { snapset: SnapSet; made: CloneMade | undefined } {
  const { obc, snapContext } = ctx;
  let { snapset } = obc;
  let made: CloneMade | undefined;
  const { clones } = snapset;
  if (needsClone(ctx)) {
    const snaps = snapContext.snaps.filter((snap) => snap > snapset.seq);
    const oid = { ...obc.oid, snap: snapContext.seq };
    const size = obc.info.size;
    const clone: CloneInfo = { id: snapContext.seq, size, snaps, overlap: size > 0 ? [[0, size]] : [] };
    made = { oid, clone };
    snapset = { seq: snapset.seq, clones: [...clones, clone] };
    ctx.delta.objects++;
    ctx.delta.objectClones++;
    ctx.delta.bytes += size;
    if (obc.info.omap) ctx.delta.objectsOmap++;
  }
  const newest = snapset.clones[snapset.clones.length - 1];
  if (newest !== undefined && (ctx.changed === undefined || ctx.changed.length > 0)) {
    const overlap = intersectRanges(ctx.overlapAfter(newest.overlap), [[0, ctx.info.size]]);
    snapset = { seq: snapset.seq, clones: [...snapset.clones.slice(0, -1), { ...newest, overlap }] };
  }
  if (snapContext.seq > snapset.seq) snapset = { ...snapset, seq: snapContext.seq };
  return { snapset, made };
}

/** ROLLBACK: the head becomes what the snapshot saw; nothing, when the object did not exist then. */
export function rollback(ctx: OpContext, op: OsdOp): number {
  const head = ctx.obc;
  const source = ctx.host.contextAt(head, op.snapId);
  if (source === head) return 0;
  if (source === undefined) {
    if (ctx.obc.info.watchers.length > 0) return EBUSY;
    // As upstream: there is none already, and that is no error.
    if (!ctx.exists) return 0;
    ctx.delta.write++;
    ctx.remove(head.snapset.clones.length > 0 || needsClone(ctx));
    return 0;
  }
  if (source.oid.snap === head.oid.snap) return EBUSY;
  const before = ctx.exists ? ctx.info : undefined;
  const from = source.info;
  ctx.delta.write++;
  ctx.touch();
  ctx.ops.push({ op: 'clone', cid: ctx.cid, from: source.key, to: ctx.key });
  ctx.ops.push({ op: 'remove-xattr', cid: ctx.cid, key: ctx.key, name: snapsetXattr });
  if (!ctx.exists) {
    ctx.delta.objects++;
    if (ctx.info.whiteout) ctx.delta.whiteouts--;
  }
  ctx.exists = true;
  ctx.inStore = true;
  ctx.delta.bytes += from.size - (before?.size ?? 0);
  if (from.omap !== (before?.omap ?? false)) ctx.delta.objectsOmap += from.omap ? 1 : -1;
  ctx.changedAll();
  ctx.info = {
    ...ctx.info,
    size: from.size,
    omap: from.omap,
    truncateSeq: from.truncateSeq,
    truncateSize: from.truncateSize,
    whiteout: false,
  };
  return 0;
}

/** Pool snapshots unless the client brings its own context and the pool has none. */
export function effectiveSnapContext(
  given: SnapContext,
  poolSnaps: SnapContext | undefined,
  enforceGiven: boolean,
): SnapContext {
  return poolSnaps !== undefined && !enforceGiven ? poolSnaps : given;
}

/** A client's snap context is descending and not beyond its seq (`SnapContext::is_valid`). */
export function validSnapContext(context: SnapContext): boolean {
  const { seq, snaps } = context;
  if (snaps.length > 0 && snaps[0]! > seq) return false;
  for (let i = 1; i < snaps.length; i++) if (snaps[i]! >= snaps[i - 1]!) return false;
  return true;
}
