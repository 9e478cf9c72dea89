import { type Decoder, Decoder as Reader, type Encoder, encoded, type UTime, utimeZero } from '../../wire/encoding.ts';
import { SNAP_HEAD } from '../../wire/types.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EEXIST, EINVAL, EIO, ENOENT, ENOEXEC, ENOSYS } from './errno.ts';
import { asS64, asString, asU64, asU8, entriesWith, mustExist, needKey, readKey, writeKey } from './omap-values.ts';
import {
  decodeParent,
  decodeSnapshot,
  encodeParent,
  FEATURE_DATA_POOL,
  FEATURE_OPERATIONS,
  FEATURE_STRIPINGV2,
  FEATURES_ALL,
  FEATURES_DISABLE_ONLY,
  FEATURES_INCOMPATIBLE,
  FEATURES_INTERNAL,
  FEATURES_MUTABLE,
  FEATURES_RW_INCOMPATIBLE,
  OP_FEATURES_ALL,
  parentExists,
  type Snapshot,
  snapshotKey,
} from './rbd-types.ts';
import { writeSnapshot } from './rbd-snap-record.ts';

const u64Bytes = (value: bigint): Uint8Array => encoded((e) => e.u64b(value), 8);

/** Fails with ENOEXEC when the image lacks a feature (old images have none). */
export function requireFeature(ctx: ClassContext, need: bigint): void {
  const features = readKey(ctx, 'features', asU64);
  if (features === undefined || (features & need) !== need) throw new ClassFailure(ENOEXEC);
}

export function hasFeature(ctx: ClassContext, need: bigint): boolean {
  const features = readKey(ctx, 'features', asU64);
  return features !== undefined && (features & need) === need;
}

/** Changes `op_features` within `mask`; the feature OPERATIONS shows whether there are any. */
export function setOpFeatures(ctx: ClassContext, value: bigint, mask: bigint): void {
  const features = needKey(ctx, 'features', asU64);
  const before = readKey(ctx, 'op_features', asU64) ?? 0n;
  const after = (before & ~mask) | (value & mask);
  if (after === before) return;
  if (after === 0n) ctx.removeOmap(['op_features']);
  else writeKey(ctx, 'op_features', (e) => e.u64b(after));
  const next = after === 0n ? features & ~FEATURE_OPERATIONS : features | FEATURE_OPERATIONS;
  if (next !== features) writeKey(ctx, 'features', (e) => e.u64b(next));
}

function create(ctx: ClassContext, input: Uint8Array): void {
  const d = new Reader(input);
  const size = d.u64b();
  const order = d.u8();
  const features = d.u64b();
  const prefix = d.string();
  const dataPool = d.remaining > 0 ? d.s64() : -1;
  if ((features & ~FEATURES_ALL) !== 0n) throw new ClassFailure(ENOSYS);
  if (prefix === '') throw new ClassFailure(EINVAL);
  if (ctx.omapValue('object_prefix') !== undefined) throw new ClassFailure(EEXIST);
  if ((features & FEATURE_OPERATIONS) !== 0n) throw new ClassFailure(EINVAL);
  const now = encoded((e) => e.utime(ctx.now()));
  const values = new Map([
    ['size', u64Bytes(size)],
    ['order', Uint8Array.of(order)],
    ['features', u64Bytes(features)],
    ['object_prefix', encoded((e) => e.string(prefix))],
    ['snap_seq', u64Bytes(0n)],
    ['create_timestamp', now],
    ['access_timestamp', now],
    ['modify_timestamp', now],
  ]);
  if ((features & FEATURE_DATA_POOL) !== 0n) {
    if (dataPool === -1) throw new ClassFailure(EINVAL);
    values.set(
      'data_pool_id',
      encoded((e) => e.s64(dataPool)),
    );
  } else if (dataPool !== -1) throw new ClassFailure(EINVAL);
  ctx.setOmap(values);
}

function getFeatures(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Reader(input);
  d.skip(8);
  const readOnly = d.remaining > 0 && d.bool();
  const features = needKey(ctx, 'features', asU64);
  const incompatible = features & (readOnly ? FEATURES_INCOMPATIBLE : FEATURES_RW_INCOMPATIBLE);
  return encoded((e) => e.u64b(features).u64b(incompatible));
}

function setFeatures(ctx: ClassContext, input: Uint8Array): void {
  const d = new Reader(input);
  const wanted = d.u64b();
  const given = d.u64b();
  const before = readKey(ctx, 'features', asU64) ?? 0n;
  if ((given & FEATURES_INTERNAL) !== 0n) throw new ClassFailure(EINVAL);
  const mask = given & FEATURES_ALL;
  const on = wanted & mask;
  const off = ~wanted & mask;
  if ((on & FEATURES_MUTABLE) !== on) throw new ClassFailure(EINVAL);
  if ((off & (FEATURES_MUTABLE | FEATURES_DISABLE_ONLY)) !== off) throw new ClassFailure(EINVAL);
  writeKey(ctx, 'features', (e) => e.u64b((before & ~mask) | on));
}

/** The snapshot's record, by the id that the input begins with. */
export function snapshotOf(ctx: ClassContext, id: bigint): Snapshot {
  return needKey(ctx, snapshotKey(id), decodeSnapshot);
}

function getSize(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const snap = new Reader(input).u64b();
  const order = needKey(ctx, 'order', asU8);
  const size = snap === SNAP_HEAD ? needKey(ctx, 'size', asU64) : snapshotOf(ctx, snap).size;
  return encoded((e) => e.u8(order).u64b(size));
}

function setSize(ctx: ClassContext, input: Uint8Array): void {
  const size = new Reader(input).u64b();
  const before = needKey(ctx, 'size', asU64);
  writeKey(ctx, 'size', (e) => e.u64b(size));
  if (size >= before) return;
  // A smaller clone shows less of its parent.
  const parent = readKey(ctx, 'parent', decodeParent);
  if (parent !== undefined && parentExists(parent) && (parent.overlap ?? 0n) > size)
    writeKey(ctx, 'parent', (e) => encodeParent(e, { ...parent, overlap: size }));
}

function getStripe(ctx: ClassContext): Uint8Array {
  mustExist(ctx);
  requireFeature(ctx, FEATURE_STRIPINGV2);
  let unit = readKey(ctx, 'stripe_unit', asU64);
  if (unit === undefined) {
    const order = readKey(ctx, 'order', asU8);
    if (order === undefined) throw new ClassFailure(EIO);
    unit = 1n << BigInt(order);
  }
  const count = readKey(ctx, 'stripe_count', asU64) ?? 1n;
  return encoded((e) => e.u64b(unit).u64b(count));
}

function setStripe(ctx: ClassContext, input: Uint8Array): void {
  const d = new Reader(input);
  const unit = d.u64b();
  const count = d.u64b();
  if (unit === 0n || count === 0n) throw new ClassFailure(EINVAL);
  mustExist(ctx);
  requireFeature(ctx, FEATURE_STRIPINGV2);
  const objectSize = 1n << BigInt(needKey(ctx, 'order', asU8));
  if (objectSize % unit !== 0n || unit > objectSize) throw new ClassFailure(EINVAL);
  writeKey(ctx, 'stripe_unit', (e) => e.u64b(unit));
  writeKey(ctx, 'stripe_count', (e) => e.u64b(count));
}

const asTime = (d: Decoder): UTime => d.utime();

const getTime =
  (key: string) =>
  (ctx: ClassContext): Uint8Array => {
    const time = readKey(ctx, key, asTime) ?? utimeZero;
    return encoded((e) => e.utime(time));
  };

const setTime =
  (key: string) =>
  (ctx: ClassContext): void => {
    mustExist(ctx);
    writeKey(ctx, key, (e) => e.utime(ctx.now()));
  };

function getFlags(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const snap = new Reader(input).u64b();
  return u64Bytes(snap === SNAP_HEAD ? (readKey(ctx, 'flags', asU64) ?? 0n) : snapshotOf(ctx, snap).flags);
}

function setFlags(ctx: ClassContext, input: Uint8Array): void {
  const d = new Reader(input);
  const flags = d.u64b();
  const mask = d.u64b();
  const snap = d.remaining > 0 ? d.u64b() : SNAP_HEAD;
  const next = (before: bigint): bigint => (before & ~mask) | (flags & mask);
  if (snap === SNAP_HEAD) {
    const before = readKey(ctx, 'flags', asU64) ?? 0n;
    writeKey(ctx, 'flags', (e) => e.u64b(next(before)));
    return;
  }
  const record = snapshotOf(ctx, snap);
  writeSnapshot(ctx, { ...record, flags: next(record.flags) });
}

function opFeaturesSet(ctx: ClassContext, input: Uint8Array): void {
  const d = new Reader(input);
  const features = d.u64b();
  const mask = d.u64b();
  if ((mask & ~OP_FEATURES_ALL) !== 0n) throw new ClassFailure(EINVAL);
  setOpFeatures(ctx, features, mask);
}

/** A value copied as it is stored, or a default. */
const copyKey =
  (key: string, decode: (d: Decoder) => unknown, fallback?: (e: Encoder) => void) =>
  (ctx: ClassContext): Uint8Array => {
    const bytes = ctx.omapValue(key);
    if (bytes === undefined) {
      if (fallback === undefined) throw new ClassFailure(ENOENT);
      return encoded(fallback);
    }
    readKey(ctx, key, decode);
    return bytes;
  };

const metadataPrefix = 'metadata_';

function metadataList(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Reader(input);
  const after = d.string();
  const asked = d.u64b();
  const limit = asked === 0n ? 64 : Number(asked);
  const found = new Map<string, Uint8Array>();
  for (const [key, value] of entriesWith(ctx, metadataPrefix, metadataPrefix + after)) {
    if (found.size >= limit) break;
    found.set(key.slice(metadataPrefix.length), value);
  }
  return encoded((e) => e.stringMap(found, (x, v) => x.blob(v)));
}

function metadataSet(ctx: ClassContext, input: Uint8Array): void {
  const values = new Map<string, Uint8Array>();
  for (const [key, value] of new Reader(input).stringMap((d) => d.blob())) values.set(metadataPrefix + key, value);
  ctx.setOmap(values);
}

function metadataRemove(ctx: ClassContext, input: Uint8Array): void {
  ctx.removeOmap([metadataPrefix + new Reader(input).string()]);
}

function metadataGet(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const value = ctx.omapValue(metadataPrefix + new Reader(input).string());
  if (value === undefined) throw new ClassFailure(ENOENT);
  return encoded((e) => e.blob(value));
}

/** Methods on `rbd_header.ID`: size, features, striping, flags, times, metadata. */
export const rbdHeaderMethods: ClassMethods = {
  create: writeMethod(create),
  get_features: readMethod(getFeatures),
  set_features: writeMethod(setFeatures),
  get_size: readMethod(getSize),
  set_size: writeMethod(setSize),
  get_object_prefix: readMethod(copyKey('object_prefix', asString)),
  get_data_pool: readMethod(copyKey('data_pool_id', asS64, (e) => e.s64(-1))),
  get_all_features: readMethod(() => u64Bytes(FEATURES_ALL)),
  get_stripe_unit_count: readMethod(getStripe),
  set_stripe_unit_count: writeMethod(setStripe),
  get_create_timestamp: readMethod(getTime('create_timestamp')),
  get_access_timestamp: readMethod(getTime('access_timestamp')),
  get_modify_timestamp: readMethod(getTime('modify_timestamp')),
  set_access_timestamp: writeMethod(setTime('access_timestamp')),
  set_modify_timestamp: writeMethod(setTime('modify_timestamp')),
  get_flags: readMethod(getFlags),
  set_flags: writeMethod(setFlags),
  op_features_get: readMethod((ctx) => u64Bytes(readKey(ctx, 'op_features', asU64) ?? 0n)),
  op_features_set: writeMethod(opFeaturesSet),
  metadata_list: readMethod(metadataList),
  metadata_set: writeMethod(metadataSet),
  metadata_remove: writeMethod(metadataRemove),
  metadata_get: readMethod(metadataGet),
};
