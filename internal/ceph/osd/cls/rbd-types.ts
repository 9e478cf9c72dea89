import { emptyBytes } from '../../../base/bytes.ts';
import { type Decoder, type Encoder, encoded, type UTime, utimeZero } from '../../wire/encoding.ts';
import { SNAP_HEAD } from '../../wire/types.ts';

/** Image features (`src/include/rbd/features.h`). */
export const FEATURE_LAYERING = 1n;
export const FEATURE_STRIPINGV2 = 2n;
export const FEATURE_EXCLUSIVE_LOCK = 4n;
export const FEATURE_OBJECT_MAP = 8n;
export const FEATURE_FAST_DIFF = 16n;
export const FEATURE_DEEP_FLATTEN = 32n;
export const FEATURE_JOURNALING = 64n;
export const FEATURE_DATA_POOL = 128n;
export const FEATURE_OPERATIONS = 256n;
export const FEATURE_MIGRATING = 512n;
export const FEATURE_NON_PRIMARY = 1024n;
export const FEATURE_DIRTY_CACHE = 2048n;

export const FEATURES_ALL = 4095n;
/** Not even readable by a client that does not know them. */
export const FEATURES_INCOMPATIBLE = FEATURE_LAYERING | FEATURE_STRIPINGV2 | FEATURE_DATA_POOL | FEATURE_DIRTY_CACHE;
/** Not writable by a client that does not know them. */
export const FEATURES_RW_INCOMPATIBLE = FEATURES_ALL;
/** May be switched on and off. */
export const FEATURES_MUTABLE =
  FEATURE_EXCLUSIVE_LOCK |
  FEATURE_OBJECT_MAP |
  FEATURE_FAST_DIFF |
  FEATURE_JOURNALING |
  FEATURE_NON_PRIMARY |
  FEATURE_DIRTY_CACHE;
export const FEATURES_DISABLE_ONLY = FEATURE_DEEP_FLATTEN;
/** Set by the class itself. */
export const FEATURES_INTERNAL = FEATURE_OPERATIONS | FEATURE_MIGRATING;

/** What uses an image beside its own features (`op_features`). */
export const OP_FEATURE_CLONE_PARENT = 1n;
export const OP_FEATURE_CLONE_CHILD = 2n;
export const OP_FEATURE_GROUP = 4n;
export const OP_FEATURE_SNAP_TRASH = 8n;
export const OP_FEATURES_ALL = 15n;

export const PROTECTION_UNPROTECTED = 0;
export const PROTECTION_UNPROTECTING = 1;
export const PROTECTION_PROTECTED = 2;

export const SNAP_NAMESPACE_USER = 0;
export const SNAP_NAMESPACE_GROUP = 1;
export const SNAP_NAMESPACE_TRASH = 2;
export const SNAP_NAMESPACE_MIRROR = 3;

/** Largest snapshot id (`CEPH_MAXSNAP`). */
export const MAX_SNAP = 0xffff_ffff_ffff_fffdn;

export const UINT64_MAX = 0xffff_ffff_ffff_ffffn;

/** `cls_rbd_parent`: where a clone comes from. */
export interface Parent {
  pool: number;
  nspace: string;
  image: string;
  snap: bigint;
  /** Bytes of the parent that the head still shows; undefined when only snapshots need the parent. */
  overlap: bigint | undefined;
}

export const noParent: Parent = Object.freeze({ pool: -1, nspace: '', image: '', snap: SNAP_HEAD, overlap: undefined });

export function parentExists(p: Parent): boolean {
  return p.pool >= 0 && p.image !== '' && p.snap !== SNAP_HEAD;
}

export function sameParentSpec(a: Parent, b: Parent): boolean {
  return a.pool === b.pool && a.nspace === b.nspace && a.image === b.image && a.snap === b.snap;
}

const encodeOptionalU64 = (e: Encoder, value: bigint | undefined): void => {
  e.optional(value, (x, v) => x.u64b(v));
};

export function encodeParent(e: Encoder, p: Parent): void {
  e.struct(2, 2, () => {
    e.s64(p.pool).string(p.nspace).string(p.image).u64b(p.snap);
    encodeOptionalU64(e, p.overlap);
  });
}
export function decodeParent(d: Decoder): Parent {
  return d.struct('cls_rbd_parent', 2, (_, version) => ({
    pool: d.s64(),
    nspace: version >= 2 ? d.string() : '',
    image: d.string(),
    snap: d.u64b(),
    overlap: version === 1 ? d.u64b() : d.optional((x) => x.u64b()),
  }));
}

/** `ParentImageSpec`. */
export function encodeParentSpec(e: Encoder, p: Parent): void {
  e.struct(1, 1, () => e.s64(p.pool).string(p.nspace).string(p.image).u64b(p.snap));
}
export function decodeParentSpec(d: Decoder): Parent {
  return d.struct('ParentImageSpec', 1, () => ({
    pool: d.s64(),
    nspace: d.string(),
    image: d.string(),
    snap: d.u64b(),
    overlap: undefined,
  }));
}

/** `ChildImageSpec`: a clone of format 2. */
export interface Child {
  pool: number;
  image: string;
  nspace: string;
}

export function encodeChild(e: Encoder, c: Child): void {
  e.struct(2, 1, () => e.s64(c.pool).string(c.image).string(c.nspace));
}
export function decodeChild(d: Decoder): Child {
  return d.struct('ChildImageSpec', 2, (_, version) => ({
    pool: d.s64(),
    image: d.string(),
    nspace: version >= 2 ? d.string() : '',
  }));
}

/** `SnapshotNamespace`: what a snapshot is for. The payload is kept as it came. */
export interface SnapNamespace {
  type: number;
  payload: Uint8Array;
}

export const userNamespace: SnapNamespace = Object.freeze({ type: SNAP_NAMESPACE_USER, payload: emptyBytes });

export function encodeSnapNamespace(e: Encoder, n: SnapNamespace): void {
  e.struct(1, 1, () => e.u32(n.type).bytes(n.payload));
}
export function decodeSnapNamespace(d: Decoder): SnapNamespace {
  return d.struct('SnapshotNamespace', 1, () => ({ type: d.u32(), payload: d.rest().slice() }));
}
export function trashNamespace(originalType: number, originalName: string): SnapNamespace {
  return { type: SNAP_NAMESPACE_TRASH, payload: encoded((e) => e.string(originalName).u32(originalType)) };
}
export function sameNamespace(a: SnapNamespace, b: SnapNamespace): boolean {
  return a.type === b.type && Buffer.compare(a.payload, b.payload) === 0;
}

/** `cls_rbd_snap`: a snapshot's record in the header. */
export interface Snapshot {
  id: bigint;
  name: string;
  size: bigint;
  protection: number;
  /** Only in records of old releases; now the header's parent and `parentOverlap` say it. */
  parent: Parent;
  flags: bigint;
  timestamp: UTime;
  namespace: SnapNamespace;
  childCount: number;
  parentOverlap: bigint | undefined;
}

export function newSnapshot(id: bigint, name: string): Snapshot {
  return {
    id,
    name,
    size: 0n,
    protection: PROTECTION_UNPROTECTED,
    parent: noParent,
    flags: 0n,
    timestamp: utimeZero,
    namespace: userNamespace,
    childCount: 0,
    parentOverlap: undefined,
  };
}

export function encodeSnapshot(e: Encoder, s: Snapshot): void {
  e.struct(8, 8, () => {
    e.u64b(s.id).string(s.name).u64b(s.size).u8(s.protection).u64b(s.flags);
    encodeSnapNamespace(e, s.namespace);
    e.utime(s.timestamp).u32(s.childCount);
    encodeOptionalU64(e, s.parentOverlap);
  });
}
export function decodeSnapshot(d: Decoder): Snapshot {
  const opened = d.open('cls_rbd_snap', 8);
  const { version, compat } = opened;
  const s = newSnapshot(d.u64b(), d.string());
  s.size = d.u64b();
  if (compat < 8) {
    d.skip(8);
    if (version >= 2) s.parent = decodeParent(d);
  }
  if (version >= 3) s.protection = d.u8();
  if (version >= 4) s.flags = d.u64b();
  if (version >= 5) s.namespace = decodeSnapNamespace(d);
  if (version >= 6) s.timestamp = d.utime();
  if (version >= 7) s.childCount = d.u32();
  if (version >= 8) s.parentOverlap = d.optional((x) => x.u64b());
  d.close(opened);
  return s;
}

/** Whether a snapshot shows part of a parent image. */
export function hasParent(s: Snapshot): boolean {
  return s.parent.pool !== -1 || s.parentOverlap !== undefined;
}

export function snapshotKey(id: bigint): string {
  return `snapshot_${id.toString(16).padStart(16, '0')}`;
}
export function snapChildrenKey(id: bigint): string {
  return `snap_children_${id.toString(16).padStart(16, '0')}`;
}

/** Image and group ids: letters and digits. */
export function isValidId(id: string): boolean {
  return /^[A-Za-z0-9]+$/.test(id);
}

/** Version 4 UUID from 16 bytes of the context's random source. */
export function uuidText(bytes: Uint8Array): string {
  const b = Uint8Array.from(bytes);
  b[6] = (b[6]! & 0x0f) | 0x40;
  b[8] = (b[8]! & 0x3f) | 0x80;
  const hex = Buffer.from(b).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
