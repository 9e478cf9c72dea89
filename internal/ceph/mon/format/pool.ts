import { flagText } from '../../maps/constants.ts';
import { intervalText } from '../../maps/intervals.ts';
import {
  autoscaleModeNames,
  cacheModeNames,
  type PgPool,
  POOL_POOL_SNAPS,
  POOL_TYPE_ERASURE,
  poolFlagNames,
  type PoolOption,
  poolOptionNames,
} from '../../maps/pool.ts';
import { eversionText, pgText } from '../../wire/types.ts';
import { generalText, type Json } from './json.ts';
import { utimeText } from './units.ts';

export function poolTypeName(pool: PgPool): string {
  return pool.type === POOL_TYPE_ERASURE ? 'erasure' : 'replicated';
}

export function poolFlagText(pool: PgPool): string {
  return flagText(pool.flags, poolFlagNames);
}

/** Options by name. */
export function poolOptions(pool: PgPool): [string, PoolOption][] {
  return [...pool.options]
    .map(([id, option]): [string, PoolOption] => [poolOptionNames.get(id) ?? `option${id}`, option])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

function optionJson(option: PoolOption): Json {
  return option.value;
}

export function optionText(option: PoolOption): string {
  return option.type === 2 ? generalText(option.value, 6) : String(option.value);
}

/** Members of `pg_pool_t::dump`. */
export function poolJson(pool: PgPool): { [name: string]: Json } {
  return {
    create_time: utimeText(pool.createTime),
    flags: pool.flags,
    flags_names: poolFlagText(pool),
    type: pool.type,
    size: pool.size,
    min_size: pool.minSize,
    crush_rule: pool.crushRule,
    peering_crush_bucket_count: 0,
    peering_crush_bucket_target: 0,
    peering_crush_bucket_barrier: 0,
    peering_crush_bucket_mandatory_member: 2147483647,
    object_hash: pool.objectHash,
    pg_autoscale_mode: autoscaleModeNames[pool.autoscaleMode] ?? 'unknown',
    pg_num: pool.pgNum,
    pg_placement_num: pool.pgpNum,
    pg_placement_num_target: pool.pgpNumTarget,
    pg_num_target: pool.pgNumTarget,
    pg_num_pending: pool.pgNumPending,
    last_pg_merge_meta: {
      source_pgid: pgText(pool.mergeMeta.sourcePg),
      ready_epoch: pool.mergeMeta.readyEpoch,
      last_epoch_started: pool.mergeMeta.lastEpochStarted,
      last_epoch_clean: pool.mergeMeta.lastEpochClean,
      source_version: eversionText(pool.mergeMeta.sourceVersion),
      target_version: eversionText(pool.mergeMeta.targetVersion),
    },
    last_change: String(pool.lastChange),
    last_force_op_resend: String(pool.lastForceOpResend),
    last_force_op_resend_prenautilus: String(pool.lastForceOpResendPrenautilus),
    last_force_op_resend_preluminous: String(pool.lastForceOpResendPreluminous),
    auid: pool.auid,
    snap_mode: (pool.flags & POOL_POOL_SNAPS) !== 0 ? 'pool' : 'selfmanaged',
    snap_seq: pool.snapSeq,
    snap_epoch: pool.snapEpoch,
    pool_snaps: [...pool.snaps.values()].map((snap) => ({
      snapid: snap.id,
      stamp: utimeText(snap.stamp),
      name: snap.name,
    })),
    removed_snaps: intervalText(pool.removedSnaps),
    quota_max_bytes: pool.quotaMaxBytes,
    quota_max_objects: pool.quotaMaxObjects,
    tiers: [...pool.tiers],
    tier_of: pool.tierOf,
    read_tier: pool.readTier,
    write_tier: pool.writeTier,
    cache_mode: cacheModeNames[pool.cacheMode] ?? 'unknown',
    target_max_bytes: pool.targetMaxBytes,
    target_max_objects: pool.targetMaxObjects,
    cache_target_dirty_ratio_micro: pool.cacheTargetDirtyRatioMicro,
    cache_target_dirty_high_ratio_micro: pool.cacheTargetDirtyHighRatioMicro,
    cache_target_full_ratio_micro: pool.cacheTargetFullRatioMicro,
    cache_min_flush_age: pool.cacheMinFlushAge,
    cache_min_evict_age: pool.cacheMinEvictAge,
    erasure_code_profile: pool.erasureCodeProfile,
    hit_set_params: { type: 'none' },
    hit_set_period: pool.hitSetPeriod,
    hit_set_count: pool.hitSetCount,
    use_gmt_hitset: pool.useGmtHitset,
    min_read_recency_for_promote: pool.minReadRecency,
    min_write_recency_for_promote: pool.minWriteRecency,
    hit_set_grade_decay_rate: pool.hitSetGradeDecayRate,
    hit_set_search_last_n: pool.hitSetSearchLastN,
    grade_table: [],
    stripe_width: pool.stripeWidth,
    expected_num_objects: pool.expectedNumObjects,
    fast_read: pool.fastRead,
    options: new Map(poolOptions(pool).map(([name, option]) => [name, optionJson(option)])),
    application_metadata: new Map([...pool.applications].map(([name, data]) => [name, new Map<string, Json>(data)])),
  };
}

/** A pool's line in `osd dump` and `osd pool ls detail`, with a line for each snapshot. */
export function poolText(id: number, name: string, pool: PgPool): string {
  let out = `pool ${id} '${name}' ${poolTypeName(pool)}`;
  if (pool.type === POOL_TYPE_ERASURE) out += ` profile ${pool.erasureCodeProfile}`;
  out += ` size ${pool.size} min_size ${pool.minSize} crush_rule ${pool.crushRule}`;
  out += ` object_hash ${pool.objectHash === 2 ? 'rjenkins' : 'linux'} pg_num ${pool.pgNum} pgp_num ${pool.pgpNum}`;
  if (pool.pgNumTarget !== pool.pgNum) out += ` pg_num_target ${pool.pgNumTarget}`;
  if (pool.pgpNumTarget !== pool.pgpNum) out += ` pgp_num_target ${pool.pgpNumTarget}`;
  if (pool.pgNumPending !== pool.pgNum) out += ` pg_num_pending ${pool.pgNumPending}`;
  out += ` autoscale_mode ${autoscaleModeNames[pool.autoscaleMode] ?? 'unknown'} last_change ${pool.lastChange}`;
  const resend = [pool.lastForceOpResend, pool.lastForceOpResendPrenautilus, pool.lastForceOpResendPreluminous];
  if (resend.some((epoch) => epoch > 0)) out += ` lfor ${resend.join('/')}`;
  if (pool.flags !== 0) out += ` flags ${poolFlagText(pool)}`;
  if (pool.quotaMaxBytes > 0) out += ` max_bytes ${pool.quotaMaxBytes}`;
  if (pool.quotaMaxObjects > 0) out += ` max_objects ${pool.quotaMaxObjects}`;
  if (pool.tiers.length > 0) out += ` tiers ${pool.tiers.join(',')}`;
  if (pool.tierOf >= 0) out += ` tier_of ${pool.tierOf}`;
  if (pool.readTier >= 0) out += ` read_tier ${pool.readTier}`;
  if (pool.writeTier >= 0) out += ` write_tier ${pool.writeTier}`;
  if (pool.cacheMode !== 0) out += ` cache_mode ${cacheModeNames[pool.cacheMode]}`;
  if (pool.targetMaxBytes > 0) out += ` target_bytes ${pool.targetMaxBytes}`;
  if (pool.targetMaxObjects > 0) out += ` target_objects ${pool.targetMaxObjects}`;
  out += ` stripe_width ${pool.stripeWidth}`;
  if (pool.expectedNumObjects > 0) out += ` expected_num_objects ${pool.expectedNumObjects}`;
  if (pool.fastRead) out += ' fast_read 1';
  for (const [option, value] of poolOptions(pool)) out += ` ${option} ${optionText(value)}`;
  if (pool.applications.size > 0) out += ` application ${[...pool.applications.keys()].join(',')}`;
  out += '\n';
  for (const snap of pool.snaps.values()) out += `\tsnap ${snap.id} '${snap.name}' ${utimeText(snap.stamp)}\n`;
  if (pool.removedSnaps.length > 0) out += `\tremoved_snaps ${intervalText(pool.removedSnaps)}\n`;
  return out;
}
