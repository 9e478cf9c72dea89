import { ruleWeights } from '../crush/rules.ts';
import { rawUsedRate } from '../maps/pool.ts';
import type { PoolDigest, SpaceDigest } from '../wire/messages/mgr_mon.ts';
import { emptyPoolDigest, zeroRates } from '../wire/messages/mgr_mon.ts';
import { addCompressed, addObjectSums, type OsdStat } from '../wire/messages/osd_mgr.ts';
import type { ClusterStats } from './cluster-stats.ts';

export function addSpace(to: SpaceDigest, stat: OsdStat): void {
  to.totalBytes += stat.totalBytes;
  to.availableBytes += stat.availableBytes;
  to.dataBytes += stat.dataBytes;
  to.allocatedBytes += stat.allocatedBytes;
  to.omapBytes += stat.omapBytes;
  to.metaBytes += stat.metaBytes;
}

/** Raw bytes that a rule can still place before its first OSD is full; 0 when nothing is known (`PGMap::get_rule_avail`). */
export function ruleAvailable(stats: ClusterStats, rule: number): number {
  const { map, osds } = stats;
  let least = -1;
  for (const [osd, share] of ruleWeights(map.crush, rule)) {
    const stat = osds.get(osd)?.stat;
    if (stat === undefined || stat.totalBytes === 0 || share === 0 || !map.isIn(osd)) continue;
    const unusable = stat.totalBytes * (1 - map.fullRatio);
    const projected = Math.trunc(Math.max(0, stat.availableBytes - unusable) / share);
    if (least < 0 || projected < least) least = projected;
  }
  return Math.max(0, least);
}

/** Sums of all pools, also of those without a PG reported. */
export function poolDigests(stats: ClusterStats): Map<number, PoolDigest> {
  const { map } = stats;
  const out = new Map<number, PoolDigest>();
  const available = new Map<number, number>();
  for (const [id, pool] of [...map.pools].sort((a, b) => a[0] - b[0])) {
    const digest = emptyPoolDigest();
    const raw = available.get(pool.crushRule) ?? ruleAvailable(stats, pool.crushRule);
    available.set(pool.crushRule, raw);
    digest.maxAvailBytes = Math.trunc(raw / rawUsedRate(map, pool));
    digest.rates = stats.poolRates.get(id)?.rates() ?? zeroRates;
    out.set(id, digest);
  }
  for (const [{ pool }, stat] of stats.pgs.entries()) {
    const digest = out.get(pool);
    if (digest === undefined) continue;
    addObjectSums(digest.sums, stat.sums);
    digest.logSize += stat.logSize;
    digest.ondiskLogSize += stat.ondiskLogSize;
    digest.up += stat.up.length;
    digest.acting += stat.acting.length;
    digest.pgs++;
  }
  for (const report of stats.osds.values()) {
    for (const [pool, usage] of report.pools) {
      const digest = out.get(pool);
      if (digest === undefined) continue;
      digest.dataBytes += usage.dataBytes;
      digest.allocatedBytes += usage.allocatedBytes;
      digest.omapBytes += usage.omapBytes;
      addCompressed(digest.compressed, usage.compressed);
      digest.storeReports++;
    }
  }
  return out;
}
