import type { ErasureCode } from '../erasure/code.ts';
import type { StripeLayout } from '../erasure/layout.ts';
import type { UTime } from '../wire/encoding.ts';
import type { EntityAddr, EntityAddrVec, IntervalSet, PgId, SnapContext } from '../wire/types.ts';
import type { PoolCompression } from './compression.ts';
import type { MergeVersions } from './pg-split.ts';

/** Where a PG lives in one epoch. */
export interface Placement {
  up: readonly number[];
  upPrimary: number;
  acting: readonly number[];
  /** -1: none. */
  actingPrimary: number;
}

/** How an erasure-coded pool cuts objects into shards. */
export interface PoolCode {
  code: ErasureCode;
  layout: StripeLayout;
}

/** What an OSD needs to know of a pool. */
export interface PoolView {
  readonly id: number;
  readonly size: number;
  readonly minSize: number;
  readonly pgNum: number;
  readonly pgpNum: number;
  /** Below `pgNum` while its last PG is to merge. */
  readonly pgNumPending: number;
  /** Of the last merge. */
  readonly lastMerge: MergeVersions;
  readonly erasure: boolean;
  /** Of an erasure-coded pool; undefined there: its profile cannot be understood. */
  readonly code: PoolCode | undefined;
  /** Objects of an erasure-coded pool may be changed in place (`allow_ec_overwrites`). */
  readonly overwrites: boolean;
  /** Epoch from which clients must send their operations again. */
  readonly lastForceOpResend: number;
  /** Full: by quota or because its OSDs are. */
  readonly full: boolean;
  readonly fullQuota: boolean;
  /** Its operator had all operations fail (`eio`). */
  readonly eio: boolean;
  /** Its operator wants no scrubs, or no deep ones. */
  readonly noScrub: boolean;
  readonly noDeepScrub: boolean;
  /** Its own intervals between scrubs, in seconds; 0: those of all pools. */
  readonly scrubMinSec: number;
  readonly scrubMaxSec: number;
  readonly deepScrubSec: number;
  readonly compression: PoolCompression;
  /** How long its read leases last, in seconds (`read_lease_interval`); 0: as those of all pools. */
  readonly readLeaseSec: number;
  /** How much sooner than other pools it recovers, -10..10 (`recovery_priority`). */
  readonly recoveryPriority: number;
  /** Snapshots that the pool itself takes; undefined when clients manage snapshots or there are none. */
  readonly poolSnaps: SnapContext | undefined;
  readonly hasSelfManagedSnaps: boolean;
  readonly applications: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly name: string;
}

/** One OSDMap as PGs see it. Answers for one epoch; never changes. */
export interface MapView {
  readonly epoch: number;
  pool(id: number): PoolView | undefined;
  pools(): Iterable<number>;
  place(pg: PgId): Placement;
  /** False when the pool's PGs certainly are where they were in the epoch before, with the same incarnations of OSDs. */
  changesPlacement(pool: number): boolean;
  /** The hash by which an object (or its locator key, if it has one) is placed; undefined when the pool does not exist. */
  hashOf(pool: number, name: string, key: string, nspace: string): number | undefined;
  /** The PG that holds a name hash. */
  pgOfHash(pool: number, hash: number): PgId;
  exists(osd: number): boolean;
  isUp(osd: number): boolean;
  upFrom(osd: number): number;
  upThru(osd: number): number;
  downAt(osd: number): number;
  lostAt(osd: number): number;
  /** It is down and knows it, or its process is gone: it answers nobody any more (`OSDMap::is_dead`). */
  isDead(osd: number): boolean;
  /** Of the store that the mon knows as this OSD; undefined when it takes any: the OSD is new, not there, or destroyed. */
  storeUuid(osd: number): string | undefined;
  clientAddrs(osd: number): EntityAddrVec;
  clusterAddrs(osd: number): EntityAddrVec;
  /** On the network between OSDs, and on that of clients. */
  heartbeatAddrs(osd: number): EntityAddrVec;
  heartbeatFrontAddrs(osd: number): EntityAddrVec;
  osds(): Iterable<number>;
  hasFlag(flag: number): boolean;
  isBlocklisted(addr: EntityAddr): boolean;
  blocklist(): { addr: EntityAddr; until: UTime }[];
  isSnapRemoved(pool: number, snap: bigint): boolean;
  /** Snapshots of a pool that were removed and whose clones may still be there. */
  removedSnaps(pool: number): IntervalSet;
  /** How full the mon knows the disk of an OSD to be: one of `FULLNESS_*`. */
  fullness(osd: number): number;
  readonly fullRatio: number;
  readonly backfillfullRatio: number;
  readonly nearfullRatio: number;
  /** `require_osd_release` and `require_min_compat_client`. */
  readonly releases: { osd: number; minCompatClient: number };
}

/** How full a disk is, in steps. */
export const FULLNESS_NONE = 0;
export const FULLNESS_NEARFULL = 1;
export const FULLNESS_BACKFILLFULL = 2;
export const FULLNESS_FULL = 3;

/** Map flags (`CEPH_OSDMAP_*`). */
export const MAP_NEARFULL = 1;
export const MAP_FULL = 2;
export const MAP_PAUSERD = 4;
export const MAP_PAUSEWR = 8;
export const MAP_NODOWN = 64;
export const MAP_NOUP = 32;
export const MAP_NOBACKFILL = 512;
export const MAP_NORECOVER = 1024;
export const MAP_NOSCRUB = 2048;
export const MAP_NODEEP_SCRUB = 4096;
export const MAP_NOREBALANCE = 16384;
export const MAP_NOSNAPTRIM = 1 << 21;
