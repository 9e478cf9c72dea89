import { DecodeError } from '../../base/bytes.ts';
import { crushHash2 } from '../crush/hash.ts';
import { type Decoder, type Encoder, encoded, type UTime, utimeZero } from '../wire/encoding.ts';
import {
  decodeEVersion,
  decodeIntervalSet,
  decodePg,
  type EVersion,
  encodeEVersion,
  encodeIntervalSet,
  encodePg,
  eversionZero,
  type IntervalSet,
  type PgId,
} from '../wire/types.ts';
import { stableMod } from './object-hash.ts';

export const POOL_TYPE_REPLICATED = 1;
export const POOL_TYPE_ERASURE = 3;

export const POOL_HASHPSPOOL = 1;
export const POOL_FULL = 2;
export const POOL_EC_OVERWRITES = 4;
export const POOL_INCOMPLETE_CLONES = 8;
export const POOL_NODELETE = 1 << 4;
export const POOL_NOPGCHANGE = 1 << 5;
export const POOL_NOSIZECHANGE = 1 << 6;
export const POOL_WRITE_FADVISE_DONTNEED = 1 << 7;
export const POOL_NOSCRUB = 1 << 8;
export const POOL_NODEEP_SCRUB = 1 << 9;
export const POOL_FULL_QUOTA = 1 << 10;
export const POOL_NEARFULL = 1 << 11;
export const POOL_BACKFILLFULL = 1 << 12;
export const POOL_SELFMANAGED_SNAPS = 1 << 13;
export const POOL_POOL_SNAPS = 1 << 14;
export const POOL_CREATING = 1 << 15;
export const POOL_EIO = 1 << 16;
export const POOL_BULK = 1 << 17;

export const poolFlagNames: readonly (readonly [number, string])[] = [
  [POOL_HASHPSPOOL, 'hashpspool'],
  [POOL_FULL, 'full'],
  [POOL_EC_OVERWRITES, 'ec_overwrites'],
  [POOL_INCOMPLETE_CLONES, 'incomplete_clones'],
  [POOL_NODELETE, 'nodelete'],
  [POOL_NOPGCHANGE, 'nopgchange'],
  [POOL_NOSIZECHANGE, 'nosizechange'],
  [POOL_WRITE_FADVISE_DONTNEED, 'write_fadvise_dontneed'],
  [POOL_NOSCRUB, 'noscrub'],
  [POOL_NODEEP_SCRUB, 'nodeep-scrub'],
  [POOL_FULL_QUOTA, 'full_quota'],
  [POOL_NEARFULL, 'nearfull'],
  [POOL_BACKFILLFULL, 'backfillfull'],
  [POOL_SELFMANAGED_SNAPS, 'selfmanaged_snaps'],
  [POOL_POOL_SNAPS, 'pool_snaps'],
  [POOL_CREATING, 'creating'],
  [POOL_EIO, 'eio'],
  [POOL_BULK, 'bulk'],
];

export const autoscaleModeNames: readonly string[] = ['off', 'warn', 'on'];

export const cacheModeNames: readonly string[] = [
  'none',
  'writeback',
  'forward',
  'readonly',
  'readforward',
  'readproxy',
  'proxy',
];

export interface PoolSnap {
  id: bigint;
  stamp: UTime;
  name: string;
}

/** Value of a pool option (`pool_opts_t`): text, 64-bit integer or double. */
export type PoolOption = { type: 0; value: string } | { type: 1; value: bigint } | { type: 2; value: number };

/** Options by number, with their names in dumps. */
export const poolOptionNames: ReadonlyMap<number, string> = new Map([
  [0, 'scrub_min_interval'],
  [1, 'scrub_max_interval'],
  [2, 'deep_scrub_interval'],
  [3, 'recovery_priority'],
  [4, 'recovery_op_priority'],
  [5, 'scrub_priority'],
  [6, 'compression_mode'],
  [7, 'compression_algorithm'],
  [8, 'compression_required_ratio'],
  [9, 'compression_max_blob_size'],
  [10, 'compression_min_blob_size'],
  [11, 'csum_type'],
  [12, 'csum_max_block'],
  [13, 'csum_min_block'],
  [14, 'fingerprint_algorithm'],
  [15, 'pg_num_min'],
  [16, 'target_size_bytes'],
  [17, 'target_size_ratio'],
  [18, 'pg_autoscale_bias'],
  [19, 'read_lease_interval'],
  [20, 'dedup_tier'],
  [21, 'dedup_chunk_algorithm'],
  [22, 'dedup_cdc_chunk_size'],
  [23, 'pg_num_max'],
]);

export interface PgMergeMeta {
  sourcePg: PgId;
  readyEpoch: number;
  lastEpochStarted: number;
  lastEpochClean: number;
  sourceVersion: EVersion;
  targetVersion: EVersion;
}

/** `pg_pool_t`. Never changed in place once it is in a map: `{...pool, size: 2}`. */
export interface PgPool {
  type: number;
  size: number;
  minSize: number;
  crushRule: number;
  objectHash: number;
  pgNum: number;
  pgpNum: number;
  lastChange: number;
  snapSeq: bigint;
  snapEpoch: number;
  snaps: ReadonlyMap<bigint, PoolSnap>;
  removedSnaps: IntervalSet;
  auid: bigint;
  flags: number;
  quotaMaxBytes: number;
  quotaMaxObjects: number;
  tiers: readonly bigint[];
  tierOf: number;
  cacheMode: number;
  readTier: number;
  writeTier: number;
  properties: ReadonlyMap<string, string>;
  /** Encoded `HitSet::Params`, kept as it came. */
  hitSetParams: Uint8Array;
  hitSetPeriod: number;
  hitSetCount: number;
  stripeWidth: number;
  targetMaxBytes: number;
  targetMaxObjects: number;
  cacheTargetDirtyRatioMicro: number;
  cacheTargetFullRatioMicro: number;
  cacheMinFlushAge: number;
  cacheMinEvictAge: number;
  erasureCodeProfile: string;
  lastForceOpResendPreluminous: number;
  minReadRecency: number;
  expectedNumObjects: number;
  cacheTargetDirtyHighRatioMicro: number;
  minWriteRecency: number;
  useGmtHitset: boolean;
  fastRead: boolean;
  hitSetGradeDecayRate: number;
  hitSetSearchLastN: number;
  options: ReadonlyMap<number, PoolOption>;
  lastForceOpResendPrenautilus: number;
  applications: ReadonlyMap<string, ReadonlyMap<string, string>>;
  createTime: UTime;
  pgNumTarget: number;
  pgpNumTarget: number;
  pgNumPending: number;
  lastForceOpResend: number;
  autoscaleMode: number;
  mergeMeta: PgMergeMeta;
  /** struct_v as it was read, and what it has beyond the fields above (stretch mode). */
  structVersion: number;
  tail: Uint8Array;
}

const noHitSet = Uint8Array.of(1, 1, 1, 0, 0, 0, 0);

/** A pool as `ceph osd pool create` makes it before its own settings. */
export function newPool(fields: Partial<PgPool>): PgPool {
  return {
    type: POOL_TYPE_REPLICATED,
    size: 3,
    minSize: 2,
    crushRule: 0,
    objectHash: 2,
    pgNum: 8,
    pgpNum: 8,
    lastChange: 0,
    snapSeq: 0n,
    snapEpoch: 0,
    snaps: new Map(),
    removedSnaps: [],
    auid: 0n,
    flags: POOL_HASHPSPOOL,
    quotaMaxBytes: 0,
    quotaMaxObjects: 0,
    tiers: [],
    tierOf: -1,
    cacheMode: 0,
    readTier: -1,
    writeTier: -1,
    properties: new Map(),
    hitSetParams: noHitSet,
    hitSetPeriod: 0,
    hitSetCount: 0,
    stripeWidth: 0,
    targetMaxBytes: 0,
    targetMaxObjects: 0,
    cacheTargetDirtyRatioMicro: 400000,
    cacheTargetFullRatioMicro: 800000,
    cacheMinFlushAge: 0,
    cacheMinEvictAge: 0,
    erasureCodeProfile: '',
    lastForceOpResendPreluminous: 0,
    minReadRecency: 0,
    expectedNumObjects: 0,
    cacheTargetDirtyHighRatioMicro: 600000,
    minWriteRecency: 0,
    useGmtHitset: true,
    fastRead: false,
    hitSetGradeDecayRate: 0,
    hitSetSearchLastN: 0,
    options: new Map(),
    lastForceOpResendPrenautilus: 0,
    applications: new Map(),
    createTime: utimeZero,
    pgNumTarget: fields.pgNum ?? 8,
    pgpNumTarget: fields.pgpNum ?? fields.pgNum ?? 8,
    pgNumPending: fields.pgNum ?? 8,
    lastForceOpResend: 0,
    autoscaleMode: 0,
    mergeMeta: {
      sourcePg: { pool: 0, seed: 0 },
      readyEpoch: 0,
      lastEpochStarted: 0,
      lastEpochClean: 0,
      sourceVersion: eversionZero,
      targetVersion: eversionZero,
    },
    structVersion: 29,
    tail: new Uint8Array(0),
    ...fields,
  };
}

/** Replicated pools close ranks when an OSD is missing; in erasure-coded ones each place is a shard. */
export function canShiftOsds(pool: PgPool): boolean {
  return pool.type === POOL_TYPE_REPLICATED;
}

export function isErasure(pool: PgPool): boolean {
  return pool.type === POOL_TYPE_ERASURE;
}

/** Input of CRUSH for a placement seed (`pg_pool_t::raw_pg_to_pps`). */
export function placementSeed(pool: PgPool, poolId: number, seed: number): number {
  const ps = stableMod(seed, pool.pgpNum);
  if (pool.flags & POOL_HASHPSPOOL) return crushHash2(ps, poolId);
  return (ps + poolId) >>> 0;
}

/** Names of applications enabled on the pool. */
export function poolApplications(pool: PgPool): string[] {
  return [...pool.applications.keys()];
}

export function encodePool(e: Encoder, p: PgPool): void {
  const at = e.open(p.structVersion, 5);
  e.u8(p.type).u8(p.size).u8(p.crushRule).u8(p.objectHash).u32(p.pgNum).u32(p.pgpNum).u32(0).u32(0);
  e.u32(p.lastChange).u64b(p.snapSeq).u32(p.snapEpoch);
  e.map(
    p.snaps,
    (x, k) => x.u64b(k),
    (x, s) => x.struct(2, 2, (y) => y.u64b(s.id).utime(s.stamp).string(s.name)),
  );
  encodeIntervalSet(e, p.removedSnaps);
  e.u64b(p.auid).u64(p.flags).u32(0).u8(p.minSize).u64(p.quotaMaxBytes).u64(p.quotaMaxObjects);
  e.list(p.tiers, (x, t) => x.u64b(t));
  e.s64(p.tierOf).u8(p.cacheMode).s64(p.readTier).s64(p.writeTier).stringStringMap(p.properties);
  e.bytes(p.hitSetParams).u32(p.hitSetPeriod).u32(p.hitSetCount).u32(p.stripeWidth);
  e.u64(p.targetMaxBytes).u64(p.targetMaxObjects);
  e.u32(p.cacheTargetDirtyRatioMicro).u32(p.cacheTargetFullRatioMicro).u32(p.cacheMinFlushAge).u32(p.cacheMinEvictAge);
  e.string(p.erasureCodeProfile).u32(p.lastForceOpResendPreluminous).u32(p.minReadRecency).u64(p.expectedNumObjects);
  e.u32(p.cacheTargetDirtyHighRatioMicro).u32(p.minWriteRecency).bool(p.useGmtHitset).bool(p.fastRead);
  e.s32(p.hitSetGradeDecayRate).u32(p.hitSetSearchLastN);
  encodeOptions(e, p.options);
  e.u32(p.lastForceOpResendPrenautilus);
  e.stringMap(p.applications, (x, v) => x.stringStringMap(v));
  e.utime(p.createTime);
  e.u32(p.pgNumTarget).u32(p.pgpNumTarget).u32(p.pgNumPending).u32(0).u32(0).u32(p.lastForceOpResend);
  e.u8(p.autoscaleMode);
  const m = p.mergeMeta;
  e.struct(1, 1, (x) => {
    encodePg(x, m.sourcePg);
    x.u32(m.readyEpoch).u32(m.lastEpochStarted).u32(m.lastEpochClean);
    encodeEVersion(x, m.sourceVersion);
    encodeEVersion(x, m.targetVersion);
  });
  e.bytes(p.tail);
  e.close(at);
}

function encodeOptions(e: Encoder, options: ReadonlyMap<number, PoolOption>): void {
  e.struct(2, 1, (x) =>
    x.numberMap(
      options,
      (y, k) => y.s32(k),
      (y, o) => {
        y.s32(o.type);
        if (o.type === 0) y.string(o.value);
        else if (o.type === 1) y.u64b(o.value);
        else y.f64(o.value);
      },
    ),
  );
}

/** The oldest pg_pool_t that is read: Nautilus'. */
const oldestVersion = 29;

export function decodePool(d: Decoder): PgPool {
  const opened = d.open('pg_pool_t', 9);
  if (opened.version < oldestVersion) throw poolTooOld(opened.version);
  const p = newPool({ structVersion: opened.version });
  p.type = d.u8();
  p.size = d.u8();
  p.crushRule = d.u8();
  p.objectHash = d.u8();
  p.pgNum = d.u32();
  p.pgpNum = d.u32();
  d.skip(8);
  p.lastChange = d.u32();
  p.snapSeq = d.u64b();
  p.snapEpoch = d.u32();
  p.snaps = d.map(
    (x) => x.u64b(),
    (x) => x.struct('pool_snap_info_t', 2, (y) => ({ id: y.u64b(), stamp: y.utime(), name: y.string() })),
    8,
  );
  p.removedSnaps = decodeIntervalSet(d);
  p.auid = d.u64b();
  p.flags = d.u64();
  d.skip(4);
  p.minSize = d.u8();
  p.quotaMaxBytes = d.u64();
  p.quotaMaxObjects = d.u64();
  p.tiers = d.list((x) => x.u64b(), 8);
  p.tierOf = d.s64();
  p.cacheMode = d.u8();
  p.readTier = d.s64();
  p.writeTier = d.s64();
  p.properties = d.stringStringMap();
  const hitSetAt = d.at;
  d.close(d.open('HitSet::Params', 1));
  p.hitSetParams = d.source.slice(hitSetAt, d.at);
  p.hitSetPeriod = d.u32();
  p.hitSetCount = d.u32();
  p.stripeWidth = d.u32();
  p.targetMaxBytes = d.u64();
  p.targetMaxObjects = d.u64();
  p.cacheTargetDirtyRatioMicro = d.u32();
  p.cacheTargetFullRatioMicro = d.u32();
  p.cacheMinFlushAge = d.u32();
  p.cacheMinEvictAge = d.u32();
  p.erasureCodeProfile = d.string();
  p.lastForceOpResendPreluminous = d.u32();
  p.minReadRecency = d.u32();
  p.expectedNumObjects = d.u64();
  p.cacheTargetDirtyHighRatioMicro = d.u32();
  p.minWriteRecency = d.u32();
  p.useGmtHitset = d.bool();
  p.fastRead = d.bool();
  p.hitSetGradeDecayRate = d.s32();
  p.hitSetSearchLastN = d.u32();
  p.options = d.struct('pool_opts_t', 2, (x) =>
    x.map(
      (y) => y.s32(),
      (y): PoolOption => {
        const type = y.s32();
        if (type === 0) return { type, value: y.string() };
        if (type === 1) return { type, value: y.s64b() };
        if (type === 2) return { type, value: y.f64() };
        throw new DecodeError(`pool_opts_t: value type ${type}`);
      },
      8,
    ),
  );
  p.lastForceOpResendPrenautilus = d.u32();
  p.applications = d.stringMap((x) => x.stringStringMap());
  p.createTime = d.utime();
  p.pgNumTarget = d.u32();
  p.pgpNumTarget = d.u32();
  p.pgNumPending = d.u32();
  d.skip(8);
  p.lastForceOpResend = d.u32();
  p.autoscaleMode = d.u8();
  p.mergeMeta = d.struct('pg_merge_meta_t', 1, (x) => ({
    sourcePg: decodePg(x),
    readyEpoch: x.u32(),
    lastEpochStarted: x.u32(),
    lastEpochClean: x.u32(),
    sourceVersion: decodeEVersion(x),
    targetVersion: decodeEVersion(x),
  }));
  p.tail = d.rest().slice();
  if (p.pgNum === 0 || p.pgpNum === 0) throw new DecodeError('pg_pool_t: no placement groups');
  d.close(opened);
  return p;
}

function poolTooOld(version: number): DecodeError {
  return new DecodeError(`pg_pool_t: version ${version} is older than ${oldestVersion}`);
}

/** Bytes of one pool, as in a map. */
export function poolBytes(pool: PgPool): Uint8Array {
  return encoded((e) => encodePool(e, pool), 512);
}

/** Raw bytes that a byte in the pool takes. */
export function rawUsedRate(
  { erasureCodeProfiles }: { readonly erasureCodeProfiles: ReadonlyMap<string, ReadonlyMap<string, string>> },
  pool: PgPool,
): number {
  if (!isErasure(pool)) return pool.size;
  const k = Number(erasureCodeProfiles.get(pool.erasureCodeProfile)?.get('k') ?? 0);
  return k > 0 ? pool.size / k : 1;
}
