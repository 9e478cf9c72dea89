import { Decoder, encoded } from '../../wire/encoding.ts';
import { SNAP_HEAD } from '../../wire/types.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EBUSY, EDQUOT, EEXIST, EINVAL, EIO, ENOENT, ERANGE, ESTALE } from './errno.ts';
import { asU64, mustExist, needKey, readKey, writeKey } from './omap-values.ts';
import { requireFeature, setOpFeatures, snapshotOf } from './rbd-header.ts';
import { snapshotIdsOf, snapshotsOf, writeSnapshot } from './rbd-snap-record.ts';
import {
  decodeParent,
  decodeSnapNamespace,
  encodeSnapNamespace,
  FEATURE_LAYERING,
  hasParent,
  MAX_SNAP,
  newSnapshot,
  OP_FEATURE_CLONE_CHILD,
  OP_FEATURE_SNAP_TRASH,
  PROTECTION_PROTECTED,
  PROTECTION_UNPROTECTED,
  parentExists,
  SNAP_NAMESPACE_MIRROR,
  SNAP_NAMESPACE_TRASH,
  SNAP_NAMESPACE_USER,
  sameNamespace,
  snapshotKey,
  trashNamespace,
  UINT64_MAX,
  uuidText,
} from './rbd-types.ts';

function getSnapContext(ctx: ClassContext): Uint8Array {
  const ids = [...snapshotIdsOf(ctx)].reverse();
  const seq = needKey(ctx, 'snap_seq', asU64);
  return encoded((e) => e.u64b(seq).list(ids, (x, id) => x.u64b(id)));
}

/** The id that the input is; the head has no record. */
function inputSnap(input: Uint8Array): bigint {
  const id = new Decoder(input).u64b();
  if (id === SNAP_HEAD) throw new ClassFailure(EINVAL);
  return id;
}

function getProtection(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const id = new Decoder(input).u64b();
  mustExist(ctx);
  if (id === SNAP_HEAD) throw new ClassFailure(EINVAL);
  const { protection } = snapshotOf(ctx, id);
  if (protection > PROTECTION_PROTECTED) throw new ClassFailure(EIO);
  return Uint8Array.of(protection);
}

function setProtection(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const id = d.u64b();
  const protection = d.u8();
  mustExist(ctx);
  requireFeature(ctx, FEATURE_LAYERING);
  if (id === SNAP_HEAD || protection > PROTECTION_PROTECTED) throw new ClassFailure(EINVAL);
  writeSnapshot(ctx, { ...snapshotOf(ctx, id), protection });
}

function snapshotGet(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const s = snapshotOf(ctx, inputSnap(input));
  return encoded((e) =>
    e.struct(1, 1, () => {
      e.u64b(s.id);
      encodeSnapNamespace(e, s.namespace);
      e.string(s.name).u64b(s.size).utime(s.timestamp).u32(s.childCount);
    }),
  );
}

function snapshotAdd(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const name = d.string();
  const snap = newSnapshot(d.u64b(), name);
  if (d.remaining > 0) snap.namespace = decodeSnapNamespace(d);
  if (snap.namespace.type > SNAP_NAMESPACE_MIRROR || snap.id > MAX_SNAP) throw new ClassFailure(EINVAL);
  // Somebody else was faster: ids only grow.
  if (snap.id < needKey(ctx, 'snap_seq', asU64)) throw new ClassFailure(ESTALE);
  snap.size = needKey(ctx, 'size', asU64);
  snap.flags = readKey(ctx, 'flags', asU64) ?? 0n;
  snap.timestamp = ctx.now();
  const limit = readKey(ctx, 'snap_limit', asU64) ?? UINT64_MAX;
  let count = 0n;
  for (const old of snapshotsOf(ctx)) {
    count++;
    if (count >= limit) throw new ClassFailure(EDQUOT);
    if (old.id === snap.id || (old.name === snap.name && sameNamespace(old.namespace, snap.namespace)))
      throw new ClassFailure(EEXIST);
  }
  const parent = readKey(ctx, 'parent', decodeParent);
  if (parent !== undefined) snap.parent = parent;
  if (snap.namespace.type === SNAP_NAMESPACE_TRASH) setOpFeatures(ctx, OP_FEATURE_SNAP_TRASH, OP_FEATURE_SNAP_TRASH);
  writeKey(ctx, 'snap_seq', (e) => e.u64b(snap.id));
  writeSnapshot(ctx, snap);
}

function snapshotRename(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const id = d.u64b();
  const name = d.string();
  for (const other of snapshotsOf(ctx))
    if (other.namespace.type === SNAP_NAMESPACE_USER && other.name === name) throw new ClassFailure(EEXIST);
  const snap = snapshotOf(ctx, id);
  if (snap.namespace.type !== SNAP_NAMESPACE_USER) throw new ClassFailure(EINVAL);
  writeSnapshot(ctx, { ...snap, name });
}

function snapshotRemove(ctx: ClassContext, input: Uint8Array): void {
  const id = new Decoder(input).u64b();
  const snap = snapshotOf(ctx, id);
  if (snap.protection !== PROTECTION_UNPROTECTED || snap.childCount > 0) throw new ClassFailure(EBUSY);
  ctx.removeOmap([snapshotKey(id)]);
  let othersHaveParent = false;
  let othersInTrash = false;
  for (const other of snapshotsOf(ctx)) {
    // Reads do not see the removal yet.
    if (other.id === id) continue;
    if (hasParent(other)) othersHaveParent = true;
    if (other.namespace.type === SNAP_NAMESPACE_TRASH) othersInTrash = true;
  }
  const parent = readKey(ctx, 'parent', decodeParent);
  const exists = parent !== undefined && parentExists(parent);
  const headIsChild = exists && parent.overlap !== undefined;
  if (exists && !headIsChild && !othersHaveParent) ctx.removeOmap(['parent']);
  let unused = 0n;
  if (!othersHaveParent && !headIsChild) unused |= OP_FEATURE_CLONE_CHILD;
  if (!othersInTrash) unused |= OP_FEATURE_SNAP_TRASH;
  if (unused !== 0n) setOpFeatures(ctx, 0n, unused);
}

function snapshotTrashAdd(ctx: ClassContext, input: Uint8Array): void {
  const snap = snapshotOf(ctx, new Decoder(input).u64b());
  if (snap.protection !== PROTECTION_UNPROTECTED) throw new ClassFailure(EBUSY);
  if (snap.namespace.type === SNAP_NAMESPACE_TRASH) throw new ClassFailure(EEXIST);
  setOpFeatures(ctx, OP_FEATURE_SNAP_TRASH, OP_FEATURE_SNAP_TRASH);
  writeSnapshot(ctx, {
    ...snap,
    namespace: trashNamespace(snap.namespace.type, snap.name),
    name: uuidText(ctx.random(16)),
  });
}

function getLimit(ctx: ClassContext): Uint8Array {
  const limit = readKey(ctx, 'snap_limit', asU64) ?? UINT64_MAX;
  return encoded((e) => e.u64b(limit));
}

function setLimit(ctx: ClassContext, input: Uint8Array): void {
  const limit = new Decoder(input).u64b();
  if (limit === UINT64_MAX) {
    ctx.removeOmap(['snap_limit']);
    return;
  }
  if (ctx.stat() === undefined) throw new ClassFailure(ENOENT);
  let count = 0n;
  for (const _ of snapshotIdsOf(ctx)) count++;
  if (limit < count) throw new ClassFailure(ERANGE);
  writeKey(ctx, 'snap_limit', (e) => e.u64b(limit));
}

/** Methods on `rbd_header.ID` about snapshots. */
export const rbdSnapshotMethods: ClassMethods = {
  get_snapcontext: readMethod(getSnapContext),
  get_snapshot_name: readMethod((ctx, input) => {
    const { name } = snapshotOf(ctx, inputSnap(input));
    return encoded((e) => e.string(name));
  }),
  get_snapshot_timestamp: readMethod((ctx, input) => {
    const { timestamp } = snapshotOf(ctx, inputSnap(input));
    return encoded((e) => e.utime(timestamp));
  }),
  snapshot_get: readMethod(snapshotGet),
  snapshot_add: writeMethod(snapshotAdd),
  snapshot_remove: writeMethod(snapshotRemove),
  snapshot_rename: writeMethod(snapshotRename),
  snapshot_trash_add: writeMethod(snapshotTrashAdd),
  get_protection_status: readMethod(getProtection),
  set_protection_status: writeMethod(setProtection),
  snapshot_get_limit: readMethod(getLimit),
  snapshot_set_limit: writeMethod(setLimit),
};
