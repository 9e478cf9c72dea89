import type { Json, JsonObject } from '../../mon/format/json.ts';
import { utimeText } from '../../mon/format/units.ts';
import {
  type CompressedUsage,
  noCompressed,
  type ObjectSums,
  type OsdStat,
  type PgStat,
  pgStateText,
} from '../../wire/messages/osd_mgr.ts';
import { eversionText, pgText } from '../../wire/types.ts';
import { statSeq } from '../digest.ts';
import type { OsdReport } from '../cluster-stats.ts';

/** `object_stat_sum_t::dump`. What we do not count (cache tiers, manifests) is 0. */
export function sumsJson(s: Readonly<ObjectSums>): JsonObject {
  return {
    num_bytes: s.bytes,
    num_objects: s.objects,
    num_object_clones: s.objectClones,
    num_object_copies: s.objectCopies,
    num_objects_missing_on_primary: s.objectsMissingOnPrimary,
    num_objects_missing: s.objectsMissing,
    num_objects_degraded: s.objectsDegraded,
    num_objects_misplaced: s.objectsMisplaced,
    num_objects_unfound: s.objectsUnfound,
    num_objects_dirty: s.objectsDirty,
    num_whiteouts: s.whiteouts,
    num_read: s.read,
    num_read_kb: s.readKb,
    num_write: s.write,
    num_write_kb: s.writeKb,
    num_scrub_errors: s.scrubErrors,
    num_shallow_scrub_errors: s.shallowScrubErrors,
    num_deep_scrub_errors: s.deepScrubErrors,
    num_objects_recovered: s.objectsRecovered,
    num_bytes_recovered: s.bytesRecovered,
    num_keys_recovered: s.keysRecovered,
    num_objects_omap: s.objectsOmap,
    num_objects_hit_set_archive: 0,
    num_bytes_hit_set_archive: 0,
    num_flush: 0,
    num_flush_kb: 0,
    num_evict: 0,
    num_evict_kb: 0,
    num_promote: 0,
    num_flush_mode_high: 0,
    num_flush_mode_low: 0,
    num_evict_mode_some: 0,
    num_evict_mode_full: 0,
    num_objects_pinned: 0,
    num_legacy_snapsets: 0,
    num_large_omap_objects: s.largeOmapObjects,
    num_objects_manifest: 0,
    num_omap_bytes: s.omapBytes,
    num_omap_keys: s.omapKeys,
    num_objects_repaired: s.objectsRepaired,
  };
}

/** `store_statfs_t`. */
export interface StoreNumbers {
  total: number;
  available: number;
  allocated: number;
  stored: number;
  omap: number;
  meta: number;
  compressed: Readonly<CompressedUsage>;
}

export const noStore: StoreNumbers = Object.freeze({
  total: 0,
  available: 0,
  allocated: 0,
  stored: 0,
  omap: 0,
  meta: 0,
  compressed: noCompressed,
});

export function storeJson(s: StoreNumbers): JsonObject {
  return {
    total: s.total,
    available: s.available,
    internally_reserved: 0,
    allocated: s.allocated,
    data_stored: s.stored,
    data_compressed: s.compressed.stored,
    data_compressed_allocated: s.compressed.allocated,
    data_compressed_original: s.compressed.original,
    omap_allocated: s.omap,
    internal_metadata: s.meta,
  };
}

export function storeOf(stat: OsdStat): StoreNumbers {
  return {
    total: stat.totalBytes,
    available: stat.availableBytes,
    allocated: stat.allocatedBytes,
    stored: stat.dataBytes,
    omap: stat.omapBytes,
    meta: stat.metaBytes,
    compressed: stat.compressed,
  };
}

/** `pg_stat_t::dump`. */
export function pgJson(stat: PgStat): JsonObject {
  return {
    pgid: pgText(stat.pg),
    version: eversionText(stat.version),
    reported_seq: stat.reportedSeq,
    reported_epoch: stat.reportedEpoch,
    state: pgStateText(stat.state),
    last_fresh: utimeText(stat.lastFresh),
    last_change: utimeText(stat.lastChange),
    last_active: utimeText(stat.lastActive),
    last_peered: utimeText(stat.lastPeered),
    last_clean: utimeText(stat.lastClean),
    last_became_active: utimeText(stat.lastBecameActive),
    last_became_peered: utimeText(stat.lastBecamePeered),
    last_unstale: utimeText(stat.lastUnstale),
    last_undegraded: utimeText(stat.lastUndegraded),
    last_fullsized: utimeText(stat.lastFullsized),
    mapping_epoch: stat.mappingEpoch,
    log_start: eversionText(stat.logStart),
    ondisk_log_start: eversionText(stat.ondiskLogStart),
    created: stat.createdEpoch,
    last_epoch_clean: stat.lastEpochClean,
    parent: '0.0',
    parent_split_bits: 0,
    last_scrub: eversionText(stat.lastScrub),
    last_scrub_stamp: utimeText(stat.lastScrubStamp),
    last_deep_scrub: eversionText(stat.lastDeepScrub),
    last_deep_scrub_stamp: utimeText(stat.lastDeepScrubStamp),
    last_clean_scrub_stamp: utimeText(stat.lastCleanScrubStamp),
    log_size: stat.logSize,
    ondisk_log_size: stat.ondiskLogSize,
    stats_invalid: false,
    dirty_stats_invalid: false,
    omap_stats_invalid: false,
    hitset_stats_invalid: false,
    hitset_bytes_stats_invalid: false,
    pin_stats_invalid: false,
    manifest_stats_invalid: false,
    snaptrimq_len: stat.snaptrimqLen,
    stat_sum: sumsJson(stat.sums),
    up: stat.up,
    acting: stat.acting,
    avail_no_missing: [],
    object_location_counts: [],
    blocked_by: stat.blockedBy,
    up_primary: stat.upPrimary,
    acting_primary: stat.actingPrimary,
    purged_snaps: [],
  };
}

export function pgBriefJson(stat: PgStat): JsonObject {
  return {
    pgid: pgText(stat.pg),
    state: pgStateText(stat.state),
    up: stat.up,
    acting: stat.acting,
    up_primary: stat.upPrimary,
    acting_primary: stat.actingPrimary,
  };
}

/** `pool_stat_t::dump` without the pool's id. */
export function poolStatJson(
  sums: Readonly<ObjectSums>,
  store: StoreNumbers,
  log: { size: number; ondisk: number },
  sets: { up: number; acting: number },
  storeReports: number,
): JsonObject {
  return {
    stat_sum: sumsJson(sums),
    store_stats: storeJson(store),
    log_size: log.size,
    ondisk_log_size: log.ondisk,
    up: sets.up,
    acting: sets.acting,
    num_store_stats: storeReports,
  };
}

/** Whole kibibytes. */
export function kib(bytes: number): number {
  return Math.floor(bytes / 1024);
}

function latencyJson(stat: { commitLatencyMs: number; applyLatencyMs: number }): JsonObject {
  return {
    commit_latency_ms: Math.round(stat.commitLatencyMs),
    apply_latency_ms: Math.round(stat.applyLatencyMs),
    commit_latency_ns: Math.round(stat.commitLatencyMs * 1e6),
    apply_latency_ns: Math.round(stat.applyLatencyMs * 1e6),
  };
}

/** `osd_perf_info`. */
export function perfJson(osd: number, stat: OsdStat): Json {
  return { id: osd, perf_stats: latencyJson(stat) };
}

/** `osd_stat_t::dump`. */
export function osdStatJson(osd: number, { stat, upFrom, seq }: OsdReport, isOut: boolean): JsonObject {
  if (isOut) return { osd, ...statJson(noStore, [], { upFrom: 0, seq: statSeq({ upFrom, seq }), hbPeers: [] }) };
  return { osd, ...statJson(storeOf(stat), [stat], { upFrom, seq: statSeq({ upFrom, seq }), hbPeers: stat.hbPeers }) };
}

/** The sum over OSDs in the same shape. */
export function osdSumJson(store: StoreNumbers, stats: readonly OsdStat[]): JsonObject {
  return statJson(store, stats, { upFrom: 0, seq: 0n, hbPeers: [] });
}

function statJson(
  store: StoreNumbers,
  stats: readonly OsdStat[],
  of: { upFrom: number; seq: bigint; hbPeers: readonly number[] },
): JsonObject {
  const sum = (field: 'pgs' | 'snapTrimQueueLen' | 'shardsRepaired' | 'commitLatencyMs' | 'applyLatencyMs'): number =>
    stats.reduce((total, stat) => total + stat[field], 0);
  return {
    up_from: of.upFrom,
    seq: of.seq,
    num_pgs: sum('pgs'),
    num_osds: stats.length,
    num_per_pool_osds: stats.length,
    num_per_pool_omap_osds: stats.length,
    kb: kib(store.total),
    kb_used: kib(store.total - store.available),
    kb_used_data: kib(store.allocated),
    kb_used_omap: kib(store.omap),
    kb_used_meta: kib(store.meta),
    kb_avail: kib(store.available),
    statfs: storeJson(store),
    hb_peers: of.hbPeers,
    snap_trim_queue_len: sum('snapTrimQueueLen'),
    num_snap_trimming: 0,
    num_shards_repaired: sum('shardsRepaired'),
    op_queue_age_hist: { histogram: [], upper_bound: 1 },
    perf_stat: latencyJson({ commitLatencyMs: sum('commitLatencyMs'), applyLatencyMs: sum('applyLatencyMs') }),
    alerts: [],
    network_ping_times: [],
  };
}
