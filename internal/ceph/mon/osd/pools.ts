import { removeWeightSet } from '../../crush/classes.ts';
import { addSimpleRule } from '../../crush/rules.ts';
import type { OsdMapIncremental } from '../../maps/incremental.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import {
  newPool,
  type PgPool,
  POOL_FULL,
  POOL_FULL_QUOTA,
  POOL_HASHPSPOOL,
  POOL_POOL_SNAPS,
  POOL_SELFMANAGED_SNAPS,
  POOL_TYPE_ERASURE,
  POOL_TYPE_REPLICATED,
  type PoolOption,
  type PoolSnap,
} from '../../maps/pool.ts';
import type { MOSDPGReadyToMerge } from '../../wire/messages/osd_mon.ts';
import type { UTime } from '../../wire/encoding.ts';
import { EINVAL, ENOENT, ERANGE, Refusal } from '../errno.ts';
import { changeCrush } from './daemons.ts';
import type { ErasureShape } from './erasure-profiles.ts';

/** What `osd pool create` is given, defaults filled in from the configuration. */
export interface PoolRequest {
  name: string;
  pgNum: number;
  pgpNum: number;
  size: number;
  minSize: number;
  /** Name; empty: the default rule. */
  rule: string;
  expectedObjects: number;
  autoscaleMode: number;
  options: ReadonlyMap<number, PoolOption>;
  /** Of an erasure-coded pool: it gives `size` and `minSize`, and `rule` must be there. */
  erasure?: ErasureShape & { profile: string };
}

export interface PoolLimits {
  maxPgNum: number;
  maxPgsPerOsd: number;
}

/** Copies that must be there for I/O of a pool with `size`, when it is made and when its size is changed; `wanted` is `osd_pool_default_min_size`, 0 for none. */
export function minSizeOf(size: number, wanted: number): number {
  return wanted > 0 ? Math.min(wanted, size) : size - Math.floor(size / 2);
}

/** Adds a pool; the caller has looked whether the name is free. Returns its id. Errors: ENOENT, EINVAL, ERANGE. */
export function createPool(
  inc: OsdMapIncremental,
  map: OsdMap,
  request: PoolRequest,
  limits: PoolLimits,
  now: UTime,
): number {
  const { name, pgNum, pgpNum, erasure } = request;
  const size = erasure?.size ?? request.size;
  const type = erasure === undefined ? POOL_TYPE_REPLICATED : POOL_TYPE_ERASURE;
  if (name === '') throw new Refusal(EINVAL, 'pool name is empty');
  if (pgpNum > pgNum)
    throw new Refusal(
      EINVAL,
      `'pgp_num' must be greater than 0 and lower or equal than 'pg_num', which in this case is ${pgNum}`,
    );
  const rule = ruleOf(map, request.rule);
  const ruleInfo = map.crush.rules[rule]!;
  if (erasure === undefined && (size < 1 || size > 10)) throw new Refusal(EINVAL, 'pool size must be between 1 and 10');
  if (ruleInfo.type !== type) throw new Refusal(EINVAL, `crush rule ${request.rule} type does not match pool`);
  if (size < ruleInfo.minSize || size > ruleInfo.maxSize)
    throw new Refusal(
      EINVAL,
      `pool size ${size} is not within what the crush rule takes (${ruleInfo.minSize} to ${ruleInfo.maxSize})`,
    );
  checkPgNum(map, undefined, pgNum, size, limits);
  const id = map.poolMax + 1;
  inc.newPoolMax = id;
  inc.newPoolNames.set(id, name);
  inc.newPools.set(
    id,
    newPool({
      type,
      size,
      minSize: erasure?.minSize ?? minSizeOf(size, request.minSize),
      ...(erasure === undefined ? {} : { erasureCodeProfile: erasure.profile, stripeWidth: erasure.stripeWidth }),
      crushRule: rule,
      pgNum,
      pgpNum,
      flags: POOL_HASHPSPOOL,
      lastChange: inc.epoch,
      lastForceOpResend: 0,
      expectedNumObjects: request.expectedObjects,
      autoscaleMode: request.autoscaleMode,
      options: request.options,
      createTime: now,
    }),
  );
  return id;
}

/** Id of a rule by name; with an empty name the first replicated one. */
export function ruleOf(map: OsdMap, name: string): number {
  if (name !== '') {
    const rule = map.crush.ruleOfName(name);
    if (rule === undefined) throw new Refusal(ENOENT, `specified rule ${name} doesn't exist`);
    return rule;
  }
  const first = map.crush.rules.findIndex((rule) => rule?.type === POOL_TYPE_REPLICATED);
  if (first < 0)
    throw new Refusal(ENOENT, "No suitable CRUSH rule exists, check 'osd pool default crush *' config options");
  return first;
}

/** Bounds of pg_num and of the PGs that an OSD would get (`OSDMonitor::check_pg_num`). */
export function checkPgNum(
  map: OsdMap,
  pool: number | undefined,
  pgNum: number,
  size: number,
  limits: PoolLimits,
): void {
  if (pgNum < 1 || pgNum > limits.maxPgNum)
    throw new Refusal(
      ERANGE,
      `'pg_num' must be greater than 0 and less than or equal to ${limits.maxPgNum} (you may adjust 'mon max pool pg num' for higher values)`,
    );
  let projected = pgNum * size;
  for (const [id, other] of map.pools) if (id !== pool) projected += other.pgNumTarget * other.size;
  const osds = Math.max(3, map.countIn());
  const perOsd = Math.floor(projected / osds);
  if (perOsd > limits.maxPgsPerOsd)
    throw new Refusal(
      ERANGE,
      ` pg_num ${pgNum} size ${size} would mean ${projected} total pgs, which exceeds max ${limits.maxPgsPerOsd * osds} (mon_max_pg_per_osd ${limits.maxPgsPerOsd} * num_in_osds ${osds})`,
    );
}

/** A changed copy of a pool, on top of what the increment says of it already. */
export function changePool(inc: OsdMapIncremental, map: OsdMap, id: number, change: (pool: PgPool) => PgPool): PgPool {
  const pool = change(inc.newPools.get(id) ?? map.pools.get(id)!);
  inc.newPools.set(id, { ...pool, lastChange: inc.epoch });
  return pool;
}

/**
 * The leader of a PG that is to merge says that it can be now, or that it cannot (`OSDMonitor::prepare_pg_ready_to_merge`): the pool has one PG less, or
 * stays as it is. Undefined: it is not this PG's turn.
 */
export function mergedPool(pool: PgPool, m: MOSDPGReadyToMerge, epoch: number): PgPool | undefined {
  const { source, sourceVersion, targetVersion, lastEpochStarted, lastEpochClean } = m;
  if (pool.pgNum !== source.seed + 1 || pool.pgNumPending > source.seed) return undefined;
  const lastForceOpResendPrenautilus = epoch;
  if (!m.ready) return { ...pool, pgNumPending: pool.pgNum, lastForceOpResendPrenautilus };
  return {
    ...pool,
    pgNum: pool.pgNum - 1,
    lastForceOpResendPrenautilus,
    mergeMeta: { sourcePg: source, readyEpoch: epoch, lastEpochStarted, lastEpochClean, sourceVersion, targetVersion },
  };
}

export function deletePool(inc: OsdMapIncremental, map: OsdMap, id: number): void {
  inc.oldPools.add(id);
  // Its weight-set goes with it.
  if (map.crush.chooseArgs.has(id)) changeCrush(inc, map, (crush) => removeWeightSet(crush, id));
}

export function isPoolSnaps(pool: PgPool): boolean {
  return (pool.flags & POOL_POOL_SNAPS) !== 0;
}
export function isSelfManagedSnaps(pool: PgPool): boolean {
  return (pool.flags & POOL_SELFMANAGED_SNAPS) !== 0;
}

/** `pg_pool_t::add_snap`. Errors: EINVAL when clients manage the pool's snapshots. */
export function addPoolSnap(pool: PgPool, name: string, stamp: UTime, epoch: number): PgPool {
  if (isSelfManagedSnaps(pool)) throw new Refusal(EINVAL, 'pool is in selfmanaged snaps mode');
  const id = pool.snapSeq + 1n;
  const snaps = new Map<bigint, PoolSnap>(pool.snaps).set(id, { id, stamp, name });
  return { ...pool, snaps, snapSeq: id, snapEpoch: epoch, flags: pool.flags | POOL_POOL_SNAPS };
}

/** `pg_pool_t::remove_snap`; the removed id is given to the OSDs for trimming by the increment. */
export function removePoolSnap(inc: OsdMapIncremental, poolId: number, pool: PgPool, id: bigint): PgPool {
  const snaps = new Map(pool.snaps);
  snaps.delete(id);
  inc.newRemovedSnaps.set(poolId, [[id, 1n]]);
  return { ...pool, snaps, snapSeq: pool.snapSeq + 1n, snapEpoch: inc.epoch };
}

/** `pg_pool_t::add_unmanaged_snap`: the pool's `snapSeq` is the new id. */
export function addUnmanagedSnap(pool: PgPool, epoch: number): PgPool {
  if (isPoolSnaps(pool)) throw new Refusal(EINVAL, 'pool has pool snapshots');
  const seq = pool.snapSeq === 0n ? 1n : pool.snapSeq;
  return { ...pool, snapSeq: seq + 1n, snapEpoch: epoch, flags: pool.flags | POOL_SELFMANAGED_SNAPS };
}

export function removeUnmanagedSnap(inc: OsdMapIncremental, poolId: number, pool: PgPool, id: bigint): PgPool {
  inc.newRemovedSnaps.set(poolId, [[id, 1n]]);
  return { ...pool, snapSeq: pool.snapSeq + 1n, snapEpoch: inc.epoch };
}

/** Pools whose quota is reached are marked full, and freed when it is not any more (`OSDMonitor::update_pool_flags`, quota part). */
export function quotaFlags(pool: PgPool, stored: { bytes: number; objects: number }): number {
  const over =
    (pool.quotaMaxBytes > 0 && stored.bytes >= pool.quotaMaxBytes) ||
    (pool.quotaMaxObjects > 0 && stored.objects >= pool.quotaMaxObjects);
  if (over) return pool.flags | POOL_FULL | POOL_FULL_QUOTA;
  // What is full because of its disks stays so.
  return (pool.flags & POOL_FULL_QUOTA) === 0 ? pool.flags : pool.flags & ~(POOL_FULL | POOL_FULL_QUOTA);
}

/** `osd crush rule create-replicated`. */
export function createReplicatedRule(
  inc: OsdMapIncremental,
  map: OsdMap,
  rule: { name: string; root: string; failureDomain: string; deviceClass: string; mode?: 'firstn' | 'indep' },
): void {
  changeCrush(inc, map, (crush) => {
    addSimpleRule(crush, { mode: 'firstn', ...rule, type: POOL_TYPE_REPLICATED });
  });
}
