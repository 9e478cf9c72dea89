import { compareText, Decoder, encoded, textFromBytes } from '../../wire/encoding.ts';
import { SNAP_HEAD } from '../../wire/types.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EEXIST, EINVAL, ENOENT, ENOEXEC, EXDEV } from './errno.ts';
import { asU64, mustExist, needKey, readKey, writeKey } from './omap-values.ts';
import { hasFeature, requireFeature, setOpFeatures, snapshotOf } from './rbd-header.ts';
import { snapshotsOf, writeSnapshot } from './rbd-snap-record.ts';
import {
  type Child,
  decodeChild,
  decodeParent,
  decodeParentSpec,
  decodeSnapshot,
  encodeChild,
  encodeParent,
  encodeParentSpec,
  FEATURE_DEEP_FLATTEN,
  FEATURE_LAYERING,
  hasParent,
  noParent,
  OP_FEATURE_CLONE_CHILD,
  OP_FEATURE_CLONE_PARENT,
  type Parent,
  parentExists,
  SNAP_NAMESPACE_TRASH,
  sameParentSpec,
  snapChildrenKey,
  snapshotKey,
} from './rbd-types.ts';

function attach(ctx: ClassContext, parent: Parent, again: boolean): void {
  mustExist(ctx);
  requireFeature(ctx, FEATURE_LAYERING);
  if (!parentExists(parent) || (parent.overlap ?? 0n) === 0n) throw new ClassFailure(EINVAL);
  const stored = readKey(ctx, 'parent', decodeParent);
  if (stored !== undefined && (stored.overlap !== undefined || !sameParentSpec(stored, parent)) && !again)
    throw new ClassFailure(EEXIST);
  const size = needKey(ctx, 'size', asU64);
  let overlap = parent.overlap ?? 0n;
  if (size < overlap) overlap = size;
  writeKey(ctx, 'parent', (e) => encodeParent(e, { ...parent, overlap }));
}

function detach(ctx: ClassContext, legacy: boolean): void {
  mustExist(ctx);
  const features = readKey(ctx, 'features', asU64);
  if (features === undefined || (features & FEATURE_LAYERING) === 0n) throw new ClassFailure(ENOEXEC);
  const parent = needKey(ctx, 'parent', decodeParent);
  if (legacy && parent.nspace !== '') throw new ClassFailure(EXDEV);
  if (parent.overlap === undefined) throw new ClassFailure(ENOENT);
  let snapsNeedIt = false;
  for (const snap of snapshotsOf(ctx)) {
    if (!hasParent(snap)) continue;
    if ((features & FEATURE_DEEP_FLATTEN) === 0n) {
      snapsNeedIt = true;
      break;
    }
    writeSnapshot(ctx, { ...snap, parent: noParent, parentOverlap: undefined });
  }
  if (snapsNeedIt) {
    writeKey(ctx, 'parent', (e) => encodeParent(e, { ...parent, overlap: undefined }));
    return;
  }
  ctx.removeOmap(['parent']);
  setOpFeatures(ctx, 0n, OP_FEATURE_CLONE_CHILD);
}

function parentGet(ctx: ClassContext): Uint8Array {
  mustExist(ctx);
  let parent: Parent = noParent;
  if (hasFeature(ctx, FEATURE_LAYERING)) {
    const stored = readKey(ctx, 'parent', decodeParent);
    if (stored !== undefined) parent = stored;
    else for (const snap of snapshotsOf(ctx)) if (parentExists(snap.parent)) parent = snap.parent;
  }
  return encoded((e) => encodeParentSpec(e, parent));
}

function parentOverlapGet(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const id = new Decoder(input).u64b();
  let overlap: bigint | undefined;
  if (hasFeature(ctx, FEATURE_LAYERING)) {
    if (id === SNAP_HEAD) overlap = readKey(ctx, 'parent', decodeParent)?.overlap;
    else {
      const snap = snapshotOf(ctx, id);
      overlap = snap.parentOverlap ?? (parentExists(snap.parent) ? snap.parent.overlap : undefined);
    }
  }
  return encoded((e) => e.optional(overlap, (x, v) => x.u64b(v)));
}

function parentAttach(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const parent = decodeParentSpec(d);
  parent.overlap = d.u64b();
  attach(ctx, parent, d.remaining > 0 && d.bool());
}

/** Of clients before Nautilus and krbd. */
function getParent(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const id = new Decoder(input).u64b();
  mustExist(ctx);
  let parent: Parent = noParent;
  if (hasFeature(ctx, FEATURE_LAYERING)) {
    parent = readKey(ctx, 'parent', decodeParent) ?? noParent;
    if (parent.nspace !== '') throw new ClassFailure(EXDEV);
    if (id !== SNAP_HEAD) {
      const snap = readKey(ctx, snapshotKey(id), decodeSnapshot);
      if (snap !== undefined && parentExists(snap.parent)) parent = snap.parent;
      else if (snap?.parentOverlap !== undefined) {
        if (!parentExists(parent)) throw new ClassFailure(EINVAL);
        parent = { ...parent, overlap: snap.parentOverlap };
      } else parent = noParent;
    }
  }
  return encoded((e) =>
    e
      .s64(parent.pool)
      .string(parent.image)
      .u64b(parent.snap)
      .u64b(parent.overlap ?? 0n),
  );
}

function setParent(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  attach(ctx, { pool: d.s64(), nspace: '', image: d.string(), snap: d.u64b(), overlap: d.u64b() }, false);
}

// ---- clones of format 2: children are known to the parent's header ----

const asChildren = (d: Decoder): Child[] => d.list(decodeChild, 6);

const compareChild = (a: Child, b: Child): number =>
  a.pool - b.pool || compareText(a.nspace, b.nspace) || compareText(a.image, b.image);

function inputChild(input: Uint8Array): { id: bigint; child: Child } {
  const d = new Decoder(input);
  return { id: d.u64b(), child: decodeChild(d) };
}

function childAttach(ctx: ClassContext, input: Uint8Array): void {
  const { id, child } = inputChild(input);
  const snap = snapshotOf(ctx, id);
  if (snap.namespace.type === SNAP_NAMESPACE_TRASH) throw new ClassFailure(ENOENT);
  const children = readKey(ctx, snapChildrenKey(id), asChildren) ?? [];
  if (children.some((c) => compareChild(c, child) === 0)) throw new ClassFailure(EEXIST);
  children.push(child);
  children.sort(compareChild);
  writeKey(ctx, snapChildrenKey(id), (e) => e.list(children, encodeChild));
  writeSnapshot(ctx, { ...snap, childCount: snap.childCount + 1 });
  setOpFeatures(ctx, OP_FEATURE_CLONE_PARENT, OP_FEATURE_CLONE_PARENT);
}

function childDetach(ctx: ClassContext, input: Uint8Array): void {
  const { id, child } = inputChild(input);
  const snap = snapshotOf(ctx, id);
  const children = readKey(ctx, snapChildrenKey(id), asChildren) ?? [];
  if (snap.childCount !== children.length) throw new ClassFailure(EINVAL);
  const left = children.filter((c) => compareChild(c, child) !== 0);
  if (left.length === children.length) throw new ClassFailure(ENOENT);
  if (left.length === 0) ctx.removeOmap([snapChildrenKey(id)]);
  else writeKey(ctx, snapChildrenKey(id), (e) => e.list(left, encodeChild));
  const childCount = snap.childCount - 1;
  writeSnapshot(ctx, { ...snap, childCount });
  if (childCount > 0) return;
  for (const other of snapshotsOf(ctx)) if (other.id !== id && other.childCount > 0) return;
  setOpFeatures(ctx, 0n, OP_FEATURE_CLONE_PARENT);
}

function childrenList(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const id = new Decoder(input).u64b();
  snapshotOf(ctx, id);
  const children = needKey(ctx, snapChildrenKey(id), asChildren);
  return encoded((e) => e.list(children, encodeChild));
}

// ---- clones of format 1: the object rbd_children maps parents to children ----

const asNames = (d: Decoder): string[] => d.stringList();

/** The key is the encoding of the parent: bytes that stand in a text as omap keys do. */
function childrenKey(d: Decoder): string {
  const pool = d.u64b();
  const image = d.string();
  const snap = d.u64b();
  return textFromBytes(encoded((e) => e.u64b(pool).string(image).u64b(snap)));
}

function addChild(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const key = childrenKey(d);
  const child = d.string();
  const children = readKey(ctx, key, asNames) ?? [];
  if (children.includes(child)) throw new ClassFailure(EEXIST);
  writeKey(ctx, key, (e) => e.stringSet([...children, child]));
}

function removeChild(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const key = childrenKey(d);
  const child = d.string();
  const children = needKey(ctx, key, asNames);
  if (!children.includes(child)) throw new ClassFailure(ENOENT);
  if (children.length === 1) ctx.removeOmap([key]);
  else writeKey(ctx, key, (e) => e.stringSet(children.filter((c) => c !== child)));
}

function getChildren(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const children = needKey(ctx, childrenKey(new Decoder(input)), asNames);
  return encoded((e) => e.stringSet(children));
}

/** Methods about clones: on `rbd_header.ID` and `rbd_children`. */
export const rbdParentMethods: ClassMethods = {
  parent_get: readMethod(parentGet),
  parent_overlap_get: readMethod(parentOverlapGet),
  parent_attach: writeMethod(parentAttach),
  parent_detach: writeMethod((ctx) => detach(ctx, false)),
  get_parent: readMethod(getParent),
  set_parent: writeMethod(setParent),
  remove_parent: writeMethod((ctx) => detach(ctx, true)),
  child_attach: writeMethod(childAttach),
  child_detach: writeMethod(childDetach),
  children_list: readMethod(childrenList),
  add_child: writeMethod(addChild),
  remove_child: writeMethod(removeChild),
  get_children: readMethod(getChildren),
};
