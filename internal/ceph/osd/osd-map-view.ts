import { MAP_FULL, OSD_BACKFILLFULL, OSD_FULL, OSD_NEARFULL } from '../maps/constants.ts';
import { intervalContains } from '../maps/intervals.ts';
import { type OsdMap, zeroUuid } from '../maps/osdmap.ts';
import { Placement } from '../maps/placement.ts';
import {
  isErasure,
  type PgPool,
  POOL_EC_OVERWRITES,
  POOL_EIO,
  POOL_FULL,
  POOL_FULL_QUOTA,
  POOL_NODEEP_SCRUB,
  POOL_NOSCRUB,
  POOL_POOL_SNAPS,
  POOL_SELFMANAGED_SNAPS,
  poolOptionNames,
} from '../maps/pool.ts';
import type { UTime } from '../wire/encoding.ts';
import type { EntityAddr, EntityAddrVec, IntervalSet, PgId, SnapContext } from '../wire/types.ts';
import type { ErasureCode } from '../erasure/code.ts';
import { codeOf, type Profile } from '../erasure/profile.ts';
import {
  FULLNESS_BACKFILLFULL,
  FULLNESS_FULL,
  FULLNESS_NEARFULL,
  FULLNESS_NONE,
  type MapView,
  type Placement as PgPlacement,
  type PoolCode,
  type PoolView,
} from './map-view.ts';

const optionIds: ReadonlyMap<string, number> = new Map([...poolOptionNames].map(([id, name]) => [name, id]));

/** A pool option that is a time; 0: not set. */
function poolSeconds(pool: PgPool, name: string): number {
  const option = pool.options.get(optionIds.get(name)!);
  return option?.type === 2 ? option.value : 0;
}

function poolNumber(pool: PgPool, name: string): number | undefined {
  const option = pool.options.get(optionIds.get(name)!);
  return option === undefined || option.type === 0 ? undefined : Number(option.value);
}

function poolText(pool: PgPool, name: string): string | undefined {
  const option = pool.options.get(optionIds.get(name)!);
  return option?.type === 0 ? option.value : undefined;
}

/** By profile: maps share what did not change. */
const codes = new WeakMap<Profile, ErasureCode>();

function poolCode(pool: PgPool, map: OsdMap): PoolCode | undefined {
  const profile = map.erasureCodeProfiles.get(pool.erasureCodeProfile);
  if (profile === undefined) return undefined;
  let code = codes.get(profile);
  if (code === undefined) {
    try {
      code = codeOf(profile);
    } catch {
      return undefined;
    }
    codes.set(profile, code);
  }
  const { k } = code;
  if (pool.stripeWidth === 0 || pool.stripeWidth % k !== 0 || pool.size !== code.chunks) return undefined;
  return { code, layout: { k, chunkBytes: pool.stripeWidth / k } };
}

function poolView(id: number, pool: PgPool, map: OsdMap): PoolView {
  const poolSnaps: SnapContext | undefined =
    pool.flags & POOL_POOL_SNAPS && pool.snaps.size > 0
      ? { seq: pool.snapSeq, snaps: [...pool.snaps.keys()].sort((a, b) => (a < b ? 1 : -1)) }
      : pool.flags & POOL_POOL_SNAPS
        ? { seq: pool.snapSeq, snaps: [] }
        : undefined;
  return {
    id,
    size: pool.size,
    minSize: pool.minSize,
    pgNum: pool.pgNum,
    pgpNum: pool.pgpNum,
    pgNumPending: pool.pgNumPending,
    lastMerge: {
      sourceSeed: pool.mergeMeta.sourcePg.seed,
      sourceVersion: pool.mergeMeta.sourceVersion,
      targetVersion: pool.mergeMeta.targetVersion,
    },
    erasure: isErasure(pool),
    code: isErasure(pool) ? poolCode(pool, map) : undefined,
    overwrites: (pool.flags & POOL_EC_OVERWRITES) !== 0,
    lastForceOpResend: pool.lastForceOpResend,
    full: (pool.flags & (POOL_FULL | POOL_FULL_QUOTA)) !== 0 || map.hasFlag(MAP_FULL),
    fullQuota: (pool.flags & POOL_FULL_QUOTA) !== 0,
    eio: (pool.flags & POOL_EIO) !== 0,
    noScrub: (pool.flags & POOL_NOSCRUB) !== 0,
    noDeepScrub: (pool.flags & POOL_NODEEP_SCRUB) !== 0,
    scrubMinSec: poolSeconds(pool, 'scrub_min_interval'),
    scrubMaxSec: poolSeconds(pool, 'scrub_max_interval'),
    deepScrubSec: poolSeconds(pool, 'deep_scrub_interval'),
    compression: {
      mode: poolText(pool, 'compression_mode'),
      algorithm: poolText(pool, 'compression_algorithm'),
      requiredRatio: poolNumber(pool, 'compression_required_ratio'),
      minBlobBytes: poolNumber(pool, 'compression_min_blob_size'),
      maxBlobBytes: poolNumber(pool, 'compression_max_blob_size'),
    },
    readLeaseSec: poolSeconds(pool, 'read_lease_interval'),
    recoveryPriority: poolNumber(pool, 'recovery_priority') ?? 0,
    poolSnaps,
    hasSelfManagedSnaps: (pool.flags & POOL_SELFMANAGED_SNAPS) !== 0,
    applications: pool.applications,
    name: map.poolNames.get(id) ?? '',
  };
}

/** Maps share what did not change: most epochs move nothing. */
function unmovedPools(before: OsdMap | undefined, map: OsdMap): ReadonlySet<number> {
  const same = new Set<number>();
  if (
    before?.epoch !== map.epoch - 1 ||
    before.crush !== map.crush ||
    before.osdState !== map.osdState ||
    before.osdWeight !== map.osdWeight ||
    before.primaryAffinity !== map.primaryAffinity ||
    before.pgTemp !== map.pgTemp ||
    before.primaryTemp !== map.primaryTemp ||
    before.pgUpmap !== map.pgUpmap ||
    before.pgUpmapItems !== map.pgUpmapItems
  )
    return same;
  if (before.osdInfo !== map.osdInfo)
    for (const osd of map.osds()) if (before.infoOf(osd).upFrom !== map.infoOf(osd).upFrom) return same;
  for (const [id, pool] of map.pools) if (before.pools.get(id) === pool) same.add(id);
  return same;
}

/** The cluster's OSD map as PGs see it. */
export class OsdMapView implements MapView {
  readonly map: OsdMap;
  readonly placement: Placement;
  readonly #pools = new Map<number, PoolView>();
  /** Pools that are the same as in the epoch before, where nothing else that placement depends on changed. */
  readonly #unmoved: ReadonlySet<number>;

  constructor(map: OsdMap, previous?: OsdMapView) {
    this.map = map;
    this.placement = new Placement(map, previous?.placement);
    this.#unmoved = unmovedPools(previous?.map, map);
  }

  changesPlacement(pool: number): boolean {
    return !this.#unmoved.has(pool);
  }

  get epoch(): number {
    return this.map.epoch;
  }

  pool(id: number): PoolView | undefined {
    let view = this.#pools.get(id);
    if (view !== undefined) return view;
    const pool = this.map.pools.get(id);
    if (pool === undefined) return undefined;
    view = poolView(id, pool, this.map);
    this.#pools.set(id, view);
    return view;
  }

  pools(): Iterable<number> {
    return this.map.pools.keys();
  }
  place(pg: PgId): PgPlacement {
    return this.placement.mapPg(pg.pool, pg.seed);
  }
  hashOf(pool: number, name: string, key: string, nspace: string): number | undefined {
    return this.map.pools.has(pool) ? this.placement.hashOf(pool, name, key, nspace) : undefined;
  }
  pgOfHash(pool: number, hash: number): PgId {
    return { pool, seed: this.placement.seedOf(pool, hash) };
  }
  exists(osd: number): boolean {
    return this.map.exists(osd);
  }
  isUp(osd: number): boolean {
    return this.map.isUp(osd);
  }
  upFrom(osd: number): number {
    return this.map.infoOf(osd).upFrom;
  }
  upThru(osd: number): number {
    return this.map.infoOf(osd).upThru;
  }
  downAt(osd: number): number {
    return this.map.infoOf(osd).downAt;
  }
  lostAt(osd: number): number {
    return this.map.infoOf(osd).lostAt;
  }
  isDead(osd: number): boolean {
    return this.map.exists(osd) && this.map.xinfoOf(osd).deadEpoch > this.map.infoOf(osd).upFrom;
  }
  storeUuid(osd: number): string | undefined {
    const uuid = this.map.exists(osd) && !this.map.isDestroyed(osd) ? this.map.osdUuid[osd] : undefined;
    return uuid === zeroUuid ? undefined : uuid;
  }
  clientAddrs(osd: number): EntityAddrVec {
    return this.map.clientAddrsOf(osd);
  }
  clusterAddrs(osd: number): EntityAddrVec {
    return this.map.clusterAddrsOf(osd);
  }
  heartbeatAddrs(osd: number): EntityAddrVec {
    return this.map.hbBackAddrs[osd] ?? [];
  }
  heartbeatFrontAddrs(osd: number): EntityAddrVec {
    return this.map.hbFrontAddrs[osd] ?? [];
  }
  osds(): Iterable<number> {
    return this.map.osds();
  }
  hasFlag(flag: number): boolean {
    return this.map.hasFlag(flag);
  }
  isBlocklisted(addr: EntityAddr): boolean {
    return this.map.isBlocklisted(addr);
  }
  blocklist(): { addr: EntityAddr; until: UTime }[] {
    return [...this.map.blocklist];
  }
  isSnapRemoved(pool: number, snap: bigint): boolean {
    const queue = this.map.removedSnapsQueue.get(pool);
    return queue !== undefined && intervalContains(queue, snap);
  }
  removedSnaps(pool: number): IntervalSet {
    return this.map.removedSnapsQueue.get(pool) ?? [];
  }
  fullness(osd: number): number {
    const state = this.map.osdState[osd] ?? 0;
    if ((state & OSD_FULL) !== 0) return FULLNESS_FULL;
    if ((state & OSD_BACKFILLFULL) !== 0) return FULLNESS_BACKFILLFULL;
    return (state & OSD_NEARFULL) !== 0 ? FULLNESS_NEARFULL : FULLNESS_NONE;
  }
  get backfillfullRatio(): number {
    return this.map.backfillfullRatio;
  }
  get nearfullRatio(): number {
    return this.map.nearfullRatio;
  }
  get fullRatio(): number {
    return this.map.fullRatio;
  }
  get releases(): { osd: number; minCompatClient: number } {
    return { osd: this.map.requireOsdRelease, minCompatClient: this.map.requireMinCompatClient };
  }
}
