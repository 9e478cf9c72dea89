import type { Decoder, Encoder } from '../encoding.ts';
import { frontCodec } from '../message.ts';
import { decodePaxosHead, encodePaxosHead } from './mon.ts';

/** `df` of the cluster or of one pool. */
export const MStatfs = frontCodec<{ fsid: string; pool: number | undefined }>(
  { type: 13, name: 'MStatfs', version: 2, compat: 1 },
  (e, m) => {
    encodePaxosHead(e);
    e.uuid(m.fsid).optional(m.pool, (x, p) => x.s64(p));
  },
  (d, version) => {
    decodePaxosHead(d);
    return { fsid: d.uuid(), pool: version >= 2 ? d.optional((x) => x.s64()) : undefined };
  },
);

export interface MStatfsReplyValue {
  fsid: string;
  version: number;
  kb: number;
  kbUsed: number;
  kbAvail: number;
  objects: number;
}
export const MStatfsReply = frontCodec<MStatfsReplyValue>(
  { type: 14, name: 'MStatfsReply', version: 1, compat: 1 },
  (e, m) => e.uuid(m.fsid).u64(m.version).u64(m.kb).u64(m.kbUsed).u64(m.kbAvail).u64(m.objects),
  (d) => ({ fsid: d.uuid(), version: d.u64(), kb: d.u64(), kbUsed: d.u64(), kbAvail: d.u64(), objects: d.u64() }),
);

/** `POOL_OP_*` (`src/include/rados.h`). */
export const POOL_OP_CREATE = 0x01;
export const POOL_OP_DELETE = 0x02;
export const POOL_OP_AUID_CHANGE = 0x03;
export const POOL_OP_CREATE_SNAP = 0x11;
export const POOL_OP_DELETE_SNAP = 0x12;
export const POOL_OP_CREATE_UNMANAGED_SNAP = 0x21;
export const POOL_OP_DELETE_UNMANAGED_SNAP = 0x22;

export interface MPoolOpValue {
  /** Newest OSDMap epoch of the sender. */
  version: number;
  fsid: string;
  pool: number;
  op: number;
  snapId: bigint;
  name: string;
  crushRule: number;
}
export const MPoolOp = frontCodec<MPoolOpValue>(
  { type: 49, name: 'MPoolOp', version: 4, compat: 2 },
  (e, m) => {
    encodePaxosHead(e, m.version);
    e.uuid(m.fsid).u32(m.pool).u32(m.op).u64(0).u64b(m.snapId).string(m.name).u8(0).s16(m.crushRule);
  },
  (d, v) => {
    const version = decodePaxosHead(d);
    const fsid = d.uuid();
    const pool = d.u32();
    const op = d.u32();
    d.skip(8);
    const snapId = d.u64b();
    const name = d.string();
    const pad = v >= 3 ? d.u8() : 0;
    return { version, fsid, pool, op, snapId, name, crushRule: v >= 4 ? d.s16() : pad };
  },
);

export interface MPoolOpReplyValue {
  version: number;
  fsid: string;
  /** 0 or negative errno. */
  code: number;
  /** OSDMap epoch that has the change. */
  epoch: number;
  /** For CREATE_UNMANAGED_SNAP: the u64 snap id. */
  data: Uint8Array | undefined;
}
export const MPoolOpReply = frontCodec<MPoolOpReplyValue>(
  { type: 48, name: 'MPoolOpReply', version: 1, compat: 1 },
  (e, m) => {
    encodePaxosHead(e, m.version);
    e.uuid(m.fsid)
      .s32(m.code)
      .u32(m.epoch)
      .optional(m.data, (x, b) => x.blob(b));
  },
  (d) => ({
    version: decodePaxosHead(d),
    fsid: d.uuid(),
    code: d.s32(),
    epoch: d.u32(),
    data: d.optional((x) => x.blob()),
  }),
);

/** `object_stat_sum_t` v20, in the order of the wire; the names are upstream's without `num_`, as those of `objectSumFields`. */
export const objectStatFields = [
  'bytes',
  'objects',
  'objectClones',
  'objectCopies',
  'objectsMissingOnPrimary',
  'objectsDegraded',
  'objectsUnfound',
  'read',
  'readKb',
  'write',
  'writeKb',
  'scrubErrors',
  'objectsRecovered',
  'bytesRecovered',
  'keysRecovered',
  'shallowScrubErrors',
  'deepScrubErrors',
  'objectsDirty',
  'whiteouts',
  'objectsOmap',
  'objectsHitSetArchive',
  'objectsMisplaced',
  'bytesHitSetArchive',
  'flushes',
  'flushKb',
  'evicts',
  'evictKb',
  'promotes',
  'flushModeHigh',
  'flushModeLow',
  'evictModeSome',
  'evictModeFull',
  'objectsPinned',
  'objectsMissing',
  'legacySnapsets',
  'largeOmapObjects',
  'objectsManifest',
  'omapBytes',
  'omapKeys',
  'objectsRepaired',
] as const;
export type ObjectStatSum = Record<(typeof objectStatFields)[number], number>;

const narrowStatFields = new Set(['flushModeHigh', 'flushModeLow', 'evictModeSome', 'evictModeFull']);

export function zeroObjectStatSum(): ObjectStatSum {
  return Object.fromEntries(objectStatFields.map((name) => [name, 0])) as ObjectStatSum;
}

function encodeObjectStatSum(e: Encoder, s: ObjectStatSum): void {
  const at = e.open(20, 14);
  for (const name of objectStatFields) {
    if (narrowStatFields.has(name)) e.s32(s[name]);
    else e.s64(s[name]);
  }
  e.close(at);
}
function decodeObjectStatSum(d: Decoder): ObjectStatSum {
  const opened = d.open('object_stat_sum_t', 20);
  const s = zeroObjectStatSum();
  for (const name of objectStatFields) {
    if (d.remaining === 0) break;
    s[name] = narrowStatFields.has(name) ? d.s32() : d.s64();
  }
  d.close(opened);
  return s;
}

/** `store_statfs_t` v1, in the order of the wire. */
export const storeStatfsFields = [
  'total',
  'available',
  'internallyReserved',
  'allocated',
  'dataStored',
  'dataCompressed',
  'dataCompressedAllocated',
  'dataCompressedOriginal',
  'omapAllocated',
  'internalMetadata',
] as const;
export type StoreStatfsSum = Record<(typeof storeStatfsFields)[number], number>;

/** `pool_stat_t` v7. */
export interface PoolStat {
  sum: ObjectStatSum;
  store: StoreStatfsSum;
  logSize: number;
  ondiskLogSize: number;
  up: number;
  acting: number;
  /** OSDs that report `store`. */
  stores: number;
}

export function encodePoolStat(e: Encoder, p: PoolStat): void {
  const at = e.open(7, 5);
  const collection = e.open(2, 2);
  encodeObjectStatSum(e, p.sum);
  e.u32(0).close(collection);
  e.s64(p.logSize).s64(p.ondiskLogSize).s32(p.up).s32(p.acting);
  const store = e.open(1, 1);
  for (const name of storeStatfsFields) e.s64(p.store[name]);
  e.close(store).s32(p.stores).close(at);
}
export function decodePoolStat(d: Decoder): PoolStat {
  const opened = d.open('pool_stat_t', 7);
  const collection = d.open('object_stat_collection_t', 2);
  const sum = decodeObjectStatSum(d);
  d.close(collection);
  const value: PoolStat = {
    sum,
    logSize: d.s64(),
    ondiskLogSize: d.s64(),
    up: d.s32(),
    acting: d.s32(),
    store: Object.fromEntries(storeStatfsFields.map((name) => [name, 0])) as StoreStatfsSum,
    stores: 0,
  };
  if (opened.version >= 7) {
    const store = d.open('store_statfs_t', 1);
    for (const name of storeStatfsFields) value.store[name] = d.s64();
    d.close(store);
    value.stores = d.s32();
  }
  d.close(opened);
  return value;
}

export const MGetPoolStats = frontCodec<{ fsid: string; pools: readonly string[] }>(
  { type: 58, name: 'MGetPoolStats', version: 1, compat: 1 },
  (e, m) => {
    encodePaxosHead(e);
    e.uuid(m.fsid).list(m.pools, (x, p) => x.string(p));
  },
  (d) => {
    decodePaxosHead(d);
    return { fsid: d.uuid(), pools: d.stringList() };
  },
);

export const MGetPoolStatsReply = frontCodec<{
  version: number;
  fsid: string;
  pools: ReadonlyMap<string, PoolStat>;
  perPool: boolean;
}>(
  { type: 59, name: 'MGetPoolStatsReply', version: 2, compat: 1 },
  (e, m) => {
    encodePaxosHead(e, m.version);
    e.uuid(m.fsid).stringMap(m.pools, encodePoolStat).bool(m.perPool);
  },
  (d, version) => ({
    version: decodePaxosHead(d),
    fsid: d.uuid(),
    pools: d.stringMap(decodePoolStat),
    perPool: version >= 2 ? d.bool() : false,
  }),
);
