/**
 * What OSDs report to the mgr: MPGStats, upstream's type number with our own body. Field names follow `pg_stat_t`, `object_stat_sum_t`
 * and `osd_stat_t` (`src/osd/osd_types.h`), so that `pg dump` and `osd df` can show all of them.
 */
import { type Decoder, type Encoder, type UTime, utimeZero } from '../encoding.ts';
import { frontCodec } from '../message.ts';
import {
  decodeEVersion,
  decodePg,
  type EVersion,
  encodeEVersion,
  encodePg,
  eversionZero,
  type PgId,
} from '../types.ts';

export const MSG_PGSTATS = 87;

/** State bits of a PG (`PG_STATE_*`), in the order in which their names are joined by `+`. Bits above 31 make it a double. */
export const pgStateNames: readonly (readonly [bit: number, name: string])[] = [
  [2 ** 17, 'stale'],
  [2 ** 0, 'creating'],
  [2 ** 1, 'active'],
  [2 ** 24, 'activating'],
  [2 ** 2, 'clean'],
  [2 ** 22, 'recovery_wait'],
  [2 ** 28, 'recovery_toofull'],
  [2 ** 14, 'recovering'],
  [2 ** 30, 'forced_recovery'],
  [2 ** 4, 'down'],
  [2 ** 5, 'recovery_unfound'],
  [2 ** 6, 'backfill_unfound'],
  [2 ** 23, 'undersized'],
  [2 ** 10, 'degraded'],
  [2 ** 18, 'remapped'],
  [2 ** 7, 'premerge'],
  [2 ** 8, 'scrubbing'],
  [2 ** 19, 'deep'],
  [2 ** 11, 'inconsistent'],
  [2 ** 12, 'peering'],
  [2 ** 13, 'repair'],
  [2 ** 15, 'backfill_wait'],
  [2 ** 20, 'backfilling'],
  [2 ** 31, 'forced_backfill'],
  [2 ** 21, 'backfill_toofull'],
  [2 ** 16, 'incomplete'],
  [2 ** 25, 'peered'],
  [2 ** 26, 'snaptrim'],
  [2 ** 27, 'snaptrim_wait'],
  [2 ** 29, 'snaptrim_error'],
  [2 ** 32, 'failed_repair'],
  [2 ** 33, 'laggy'],
  [2 ** 34, 'wait'],
];

export const PG_CREATING = 2 ** 0;
export const PG_ACTIVE = 2 ** 1;
export const PG_CLEAN = 2 ** 2;
export const PG_DOWN = 2 ** 4;
export const PG_RECOVERY_UNFOUND = 2 ** 5;
export const PG_BACKFILL_UNFOUND = 2 ** 6;
export const PG_PREMERGE = 2 ** 7;
export const PG_SCRUBBING = 2 ** 8;
export const PG_DEGRADED = 2 ** 10;
export const PG_INCONSISTENT = 2 ** 11;
export const PG_PEERING = 2 ** 12;
export const PG_REPAIR = 2 ** 13;
export const PG_RECOVERING = 2 ** 14;
export const PG_BACKFILL_WAIT = 2 ** 15;
export const PG_INCOMPLETE = 2 ** 16;
export const PG_STALE = 2 ** 17;
export const PG_REMAPPED = 2 ** 18;
export const PG_DEEP_SCRUB = 2 ** 19;
export const PG_BACKFILLING = 2 ** 20;
export const PG_BACKFILL_TOOFULL = 2 ** 21;
export const PG_RECOVERY_WAIT = 2 ** 22;
export const PG_UNDERSIZED = 2 ** 23;
export const PG_ACTIVATING = 2 ** 24;
export const PG_PEERED = 2 ** 25;
export const PG_SNAPTRIM = 2 ** 26;
export const PG_RECOVERY_TOOFULL = 2 ** 28;
export const PG_FORCED_RECOVERY = 2 ** 30;
export const PG_FORCED_BACKFILL = 2 ** 31;
export const PG_FAILED_REPAIR = 2 ** 32;
export const PG_LAGGY = 2 ** 33;
export const PG_WAIT = 2 ** 34;

/** Whether `bit` (a power of two, also above 2^31) is set in `state`. */
export function hasPgState(state: number, bit: number): boolean {
  return Math.floor(state / bit) % 2 === 1;
}

/** `active+clean`; `unknown` for 0 (`pg_state_string`). */
export function pgStateText(state: number): string {
  const names: string[] = [];
  for (const [bit, name] of pgStateNames) if (hasPgState(state, bit)) names.push(name);
  return names.length === 0 ? 'unknown' : names.join('+');
}

/** The sums of `object_stat_sum_t` that we keep; the names are upstream's without `num_`. */
export const objectSumFields = [
  'bytes',
  'objects',
  'objectClones',
  'objectCopies',
  'objectsMissingOnPrimary',
  'objectsMissing',
  'objectsDegraded',
  'objectsMisplaced',
  'objectsUnfound',
  'objectsDirty',
  'whiteouts',
  'read',
  'readKb',
  'write',
  'writeKb',
  'scrubErrors',
  'shallowScrubErrors',
  'deepScrubErrors',
  'objectsRecovered',
  'bytesRecovered',
  'keysRecovered',
  'objectsOmap',
  'largeOmapObjects',
  'omapBytes',
  'omapKeys',
  'objectsRepaired',
] as const;

export type ObjectSums = { [K in (typeof objectSumFields)[number]]: number };

export function zeroObjectSums(): ObjectSums {
  const sums = {} as ObjectSums;
  for (const field of objectSumFields) sums[field] = 0;
  return sums;
}

/** Adds `b` to `a`. */
export function addObjectSums(a: ObjectSums, b: Readonly<ObjectSums>): void {
  for (const field of objectSumFields) a[field] += b[field];
}

/** Divides sums among the parts of a PG that splits, as evenly as it goes (`object_stat_sum_t::split`); the first part is what stays. */
export function splitObjectSums(sums: Readonly<ObjectSums>, parts: number): ObjectSums[] {
  return Array.from({ length: parts }, (_, part) => {
    const out = zeroObjectSums();
    for (const field of objectSumFields) {
      const rest = sums[field] - Math.floor(sums[field] / parts) * parts;
      out[field] = Math.floor(sums[field] / parts) + (part < rest ? 1 : 0);
    }
    return out;
  });
}

/** A bit set of the fields that are not zero, then those: most are zero and every write carries the sums. */
export function encodeObjectSums(e: Encoder, sums: Readonly<ObjectSums>): void {
  let present = 0;
  for (let i = 0; i < objectSumFields.length; i++) if (sums[objectSumFields[i]!] !== 0) present |= 1 << i;
  e.u32(present >>> 0);
  for (const field of objectSumFields) if (sums[field] !== 0) e.s64(sums[field]);
}

export function decodeObjectSums(d: Decoder): ObjectSums {
  const sums = zeroObjectSums();
  const present = d.u32();
  for (let i = 0; i < 32; i++) {
    if ((present & (1 << i)) === 0) continue;
    const value = d.s64();
    const field = objectSumFields[i];
    if (field !== undefined) sums[field] = value;
  }
  return sums;
}

/** Times and epochs kept per PG by its primary; the names are those of `pg_stat_t`. */
export const pgStampFields = [
  'lastFresh',
  'lastChange',
  'lastActive',
  'lastPeered',
  'lastClean',
  'lastBecameActive',
  'lastBecamePeered',
  'lastUnstale',
  'lastUndegraded',
  'lastFullsized',
  'lastScrubStamp',
  'lastDeepScrubStamp',
  'lastCleanScrubStamp',
] as const;

export type PgStamps = { [K in (typeof pgStampFields)[number]]: UTime };

export function zeroPgStamps(): PgStamps {
  const stamps = {} as PgStamps;
  for (const field of pgStampFields) stamps[field] = utimeZero;
  return stamps;
}

/** `pg_stat_t`: reported by the primary only. */
export interface PgStat extends PgStamps {
  pg: PgId;
  /** Bits of `pgStateNames`. */
  state: number;
  up: number[];
  acting: number[];
  upPrimary: number;
  actingPrimary: number;
  reportedEpoch: number;
  /** Grows with every report of one epoch; a report not newer by (epoch, seq) is dropped. */
  reportedSeq: number;
  version: EVersion;
  logStart: EVersion;
  ondiskLogStart: EVersion;
  logSize: number;
  ondiskLogSize: number;
  createdEpoch: number;
  lastEpochClean: number;
  mappingEpoch: number;
  lastScrub: EVersion;
  lastDeepScrub: EVersion;
  snaptrimqLen: number;
  /** OSDs that peering waits for. */
  blockedBy: number[];
  sums: ObjectSums;
}

export function emptyPgStat(pg: PgId): PgStat {
  return {
    ...zeroPgStamps(),
    pg,
    state: 0,
    up: [],
    acting: [],
    upPrimary: -1,
    actingPrimary: -1,
    reportedEpoch: 0,
    reportedSeq: 0,
    version: eversionZero,
    logStart: eversionZero,
    ondiskLogStart: eversionZero,
    logSize: 0,
    ondiskLogSize: 0,
    createdEpoch: 0,
    lastEpochClean: 0,
    mappingEpoch: 0,
    lastScrub: eversionZero,
    lastDeepScrub: eversionZero,
    snaptrimqLen: 0,
    blockedBy: [],
    sums: zeroObjectSums(),
  };
}

function osdList(e: Encoder, osds: readonly number[]): void {
  e.list(osds, (x, osd) => x.s32(osd));
}
function readOsdList(d: Decoder): number[] {
  return d.list((x) => x.s32(), 4);
}

export function encodePgStat(e: Encoder, s: PgStat): void {
  e.struct(1, 1, () => {
    encodePg(e, s.pg);
    e.u64(s.state);
    osdList(e, s.up);
    osdList(e, s.acting);
    e.s32(s.upPrimary).s32(s.actingPrimary).u32(s.reportedEpoch).u64(s.reportedSeq);
    encodeEVersion(e, s.version);
    encodeEVersion(e, s.logStart);
    encodeEVersion(e, s.ondiskLogStart);
    e.u64(s.logSize).u64(s.ondiskLogSize).u32(s.createdEpoch).u32(s.lastEpochClean).u32(s.mappingEpoch);
    encodeEVersion(e, s.lastScrub);
    encodeEVersion(e, s.lastDeepScrub);
    e.u32(s.snaptrimqLen);
    osdList(e, s.blockedBy);
    for (const field of pgStampFields) e.utime(s[field]);
    encodeObjectSums(e, s.sums);
  });
}

export function decodePgStat(d: Decoder): PgStat {
  return d.struct('pg_stat', 1, () => {
    const s = emptyPgStat(decodePg(d));
    s.state = d.u64();
    s.up = readOsdList(d);
    s.acting = readOsdList(d);
    s.upPrimary = d.s32();
    s.actingPrimary = d.s32();
    s.reportedEpoch = d.u32();
    s.reportedSeq = d.u64();
    s.version = decodeEVersion(d);
    s.logStart = decodeEVersion(d);
    s.ondiskLogStart = decodeEVersion(d);
    s.logSize = d.u64();
    s.ondiskLogSize = d.u64();
    s.createdEpoch = d.u32();
    s.lastEpochClean = d.u32();
    s.mappingEpoch = d.u32();
    s.lastScrub = decodeEVersion(d);
    s.lastDeepScrub = decodeEVersion(d);
    s.snaptrimqLen = d.u32();
    s.blockedBy = readOsdList(d);
    for (const field of pgStampFields) s[field] = d.utime();
    s.sums = decodeObjectSums(d);
    return s;
  });
}

/** What is compressed, in bytes; names and meaning as in `store_statfs_t`. */
export interface CompressedUsage {
  /** What compression made (`data_compressed`). */
  stored: number;
  /** Allocated for it (`data_compressed_allocated`). */
  allocated: number;
  /** Bytes of objects that are in it (`data_compressed_original`). */
  original: number;
}

export const noCompressed: Readonly<CompressedUsage> = Object.freeze({ stored: 0, allocated: 0, original: 0 });

export function addCompressed(to: CompressedUsage, more: Readonly<CompressedUsage>): void {
  to.stored += more.stored;
  to.allocated += more.allocated;
  to.original += more.original;
}

export function encodeCompressed(e: Encoder, c: Readonly<CompressedUsage>): void {
  e.u64(c.stored).u64(c.allocated).u64(c.original);
}
export function decodeCompressed(d: Decoder): CompressedUsage {
  return { stored: d.u64(), allocated: d.u64(), original: d.u64() };
}

/** Those of a map that have something compressed, as older programs skip it at the end of a message. */
export function encodeCompressedOf(
  e: Encoder,
  pools: ReadonlyMap<number, { readonly compressed: Readonly<CompressedUsage> }>,
): void {
  e.numberMap(
    new Map([...pools].filter(([, { compressed }]) => compressed.original > 0 || compressed.allocated > 0)),
    (x, pool) => x.s64(pool),
    (x, { compressed }) => encodeCompressed(x, compressed),
  );
}
export function decodeCompressedInto(d: Decoder, pools: ReadonlyMap<number, { compressed: CompressedUsage }>): void {
  for (const [pool, compressed] of d.map((x) => x.s64(), decodeCompressed, 32)) {
    const of = pools.get(pool);
    if (of !== undefined) of.compressed = compressed;
  }
}

/** Counters of an OSD since it started, in the order of the wire: requests of clients, bytes that came and went with them, and seconds until they were answered. */
export const osdCounterFields = [
  'op',
  'opInBytes',
  'opOutBytes',
  'opSeconds',
  'opR',
  'opROutBytes',
  'opRSeconds',
  'opW',
  'opWInBytes',
  'opWSeconds',
  'opRw',
  'opRwInBytes',
  'opRwOutBytes',
  'opRwSeconds',
  'recoveryOps',
  'recoveryBytes',
] as const;

export type OsdCounters = { [K in (typeof osdCounterFields)[number]]: number };

export function zeroOsdCounters(): OsdCounters {
  return Object.fromEntries(osdCounterFields.map((name) => [name, 0])) as OsdCounters;
}

/** How long pings took, in microseconds: over the last 1, 5 and 15 minutes (`osd_stat_t::Interfaces`). 0: not known yet. */
export interface PingTimes {
  /** Seconds since 1970; 0: never. */
  updatedSec: number;
  average: readonly [number, number, number];
  least: readonly [number, number, number];
  most: readonly [number, number, number];
  last: number;
}

/** Pings to one peer, over the network between OSDs and, where it is another one, that of clients. */
export interface PeerPingTimes {
  osd: number;
  back: PingTimes;
  front: PingTimes | undefined;
}

/** Requests that have not been answered for long. */
export interface SlowOps {
  count: number;
  /** Age of the oldest, in seconds. */
  oldestSec: number;
}

function encodePingTimes(e: Encoder, t: PingTimes): void {
  e.u32(t.updatedSec);
  for (const three of [t.average, t.least, t.most]) for (const micros of three) e.u32(micros);
  e.u32(t.last);
}

function decodePingTimes(d: Decoder): PingTimes {
  const three = (): [number, number, number] => [d.u32(), d.u32(), d.u32()];
  return { updatedSec: d.u32(), average: three(), least: three(), most: three(), last: d.u32() };
}

function encodePeerPings(e: Encoder, p: PeerPingTimes): void {
  e.s32(p.osd);
  encodePingTimes(e, p.back);
  e.bool(p.front !== undefined);
  if (p.front !== undefined) encodePingTimes(e, p.front);
}

function decodePeerPings(d: Decoder): PeerPingTimes {
  const osd = d.s32();
  const back = decodePingTimes(d);
  return { osd, back, front: d.bool() ? decodePingTimes(d) : undefined };
}

/** `osd_stat_t`. Sizes in bytes. */
export interface OsdStat {
  totalBytes: number;
  availableBytes: number;
  /** Bytes of data that clients stored on this disk, replicas included. */
  dataBytes: number;
  /** Bytes allocated for them. */
  allocatedBytes: number;
  omapBytes: number;
  metaBytes: number;
  compressed: CompressedUsage;
  /** PGs of which this OSD holds a copy. */
  pgs: number;
  /** PGs that it leads. */
  primaryPgs: number;
  commitLatencyMs: number;
  applyLatencyMs: number;
  hbPeers: number[];
  snapTrimQueueLen: number;
  /** Copies on this disk that were wrong or lost and were replaced, since the OSD started. */
  shardsRepaired: number;
  counters: Readonly<OsdCounters>;
  pings: readonly PeerPingTimes[];
  slowOps: SlowOps;
}

export const emptyOsdStat: Readonly<OsdStat> = Object.freeze({
  totalBytes: 0,
  availableBytes: 0,
  dataBytes: 0,
  allocatedBytes: 0,
  omapBytes: 0,
  metaBytes: 0,
  compressed: noCompressed,
  pgs: 0,
  primaryPgs: 0,
  commitLatencyMs: 0,
  applyLatencyMs: 0,
  hbPeers: [],
  snapTrimQueueLen: 0,
  shardsRepaired: 0,
  counters: zeroOsdCounters(),
  pings: [],
  slowOps: { count: 0, oldestSec: 0 },
});

/** What one OSD's copies of a pool take on its disk. */
export interface PoolUsage {
  dataBytes: number;
  allocatedBytes: number;
  omapBytes: number;
  compressed: CompressedUsage;
}

export interface MPGStats {
  fsid: string;
  osdId: number;
  /** The sender's map. */
  epoch: number;
  /** `up_from` of this incarnation: with `seq` it orders reports. */
  upFrom: number;
  seq: number;
  osd: OsdStat;
  pools: Map<number, PoolUsage>;
  /** PGs whose statistics changed (all of them after connecting). */
  pgs: PgStat[];
}

export function encodeMPGStats(e: Encoder, m: MPGStats): void {
  e.struct(4, 1, () => {
    e.uuid(m.fsid).s32(m.osdId).u32(m.epoch).u32(m.upFrom).u64(m.seq);
    const o = m.osd;
    e.struct(2, 1, () => {
      e.u64(o.totalBytes).u64(o.availableBytes).u64(o.dataBytes).u64(o.allocatedBytes);
      e.u64(o.omapBytes).u64(o.metaBytes).u32(o.pgs).u32(o.primaryPgs);
      e.f64(o.commitLatencyMs).f64(o.applyLatencyMs);
      osdList(e, o.hbPeers);
      e.u32(o.snapTrimQueueLen).u32(o.shardsRepaired);
    });
    e.numberMap(
      m.pools,
      (x, pool) => x.s64(pool),
      (x, u) => x.u64(u.dataBytes).u64(u.allocatedBytes).u64(u.omapBytes),
    );
    e.list(m.pgs, encodePgStat);
    encodeCompressed(e, o.compressed);
    encodeCompressedOf(e, m.pools);
    e.list(osdCounterFields, (x, name) => x.f64(o.counters[name]));
    e.list(o.pings, encodePeerPings);
    e.u32(o.slowOps.count).u32(o.slowOps.oldestSec);
  });
}

export function decodeMPGStats(d: Decoder): MPGStats {
  return d.struct('MPGStats', 1, (_, format) => {
    const m = decodeStats(d);
    if (format < 2) return m;
    m.osd.compressed = decodeCompressed(d);
    decodeCompressedInto(d, m.pools);
    if (format >= 3) m.osd.counters = decodeCounters(d);
    if (format < 4) return m;
    m.osd.pings = d.list(decodePeerPings, 49);
    m.osd.slowOps = { count: d.u32(), oldestSec: d.u32() };
    return m;
  });
}

/** Those of a sender that has fewer are 0; those that only it has are left out. */
function decodeCounters(d: Decoder): OsdCounters {
  const counters = zeroOsdCounters();
  const values = d.list((x) => x.f64(), 8);
  osdCounterFields.forEach((name, i) => {
    const value = values[i] ?? 0;
    if (Number.isFinite(value)) counters[name] = value;
  });
  return counters;
}

/** What all formats have. */
function decodeStats(d: Decoder): MPGStats {
  return {
    fsid: d.uuid(),
    osdId: d.s32(),
    epoch: d.u32(),
    upFrom: d.u32(),
    seq: d.u64(),
    osd: d.struct('osd_stat', 1, (_, version) => ({
      totalBytes: d.u64(),
      availableBytes: d.u64(),
      dataBytes: d.u64(),
      allocatedBytes: d.u64(),
      omapBytes: d.u64(),
      metaBytes: d.u64(),
      compressed: { ...noCompressed },
      pgs: d.u32(),
      primaryPgs: d.u32(),
      commitLatencyMs: d.f64(),
      applyLatencyMs: d.f64(),
      hbPeers: readOsdList(d),
      snapTrimQueueLen: d.u32(),
      shardsRepaired: version >= 2 ? d.u32() : 0,
      counters: zeroOsdCounters(),
      pings: [],
      slowOps: { count: 0, oldestSec: 0 },
    })),
    pools: d.map(
      (x) => x.s64(),
      (x): PoolUsage => ({
        dataBytes: x.u64(),
        allocatedBytes: x.u64(),
        omapBytes: x.u64(),
        compressed: { ...noCompressed },
      }),
      32,
    ),
    pgs: d.list(decodePgStat, 190),
  };
}

export const MPGStats = frontCodec<MPGStats>(
  { type: MSG_PGSTATS, name: 'MPGStats', version: 1, compat: 1 },
  encodeMPGStats,
  decodeMPGStats,
);
