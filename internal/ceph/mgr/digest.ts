import { utimeFromMs } from '../wire/encoding.ts';
import type {
  HealthCheckDigest,
  MMonMgrReportValue,
  OsdDigest,
  ProgressDigest,
  SpaceDigest,
} from '../wire/messages/mgr_mon.ts';
import { addObjectSums, hasPgState, PG_ACTIVE, zeroObjectSums } from '../wire/messages/osd_mgr.ts';
import type { ClusterStats } from './cluster-stats.ts';
import { type HealthOptions, healthChecks } from './health.ts';
import { addSpace, poolDigests } from './sums.ts';
import { zeroSpace } from '../wire/messages/mgr_mon.ts';

/** Counts of PGs: by state, ascending by the state's bits. */
export function pgsByState(stats: ClusterStats): Map<number, number> {
  const counts = new Map<number, number>();
  for (const [, stat] of stats.pgs.entries()) counts.set(stat.state, (counts.get(stat.state) ?? 0) + 1);
  return new Map([...counts].sort((a, b) => a[0] - b[0]));
}

/** What the mon is told. */
export function makeReport(
  stats: ClusterStats,
  who: { fsid: string; gid: bigint },
  nowMs: number,
  options: HealthOptions,
  extra: {
    progress: readonly ProgressDigest[];
    serviceMap: Uint8Array;
    /** Beside those that statistics give. */
    checks?: readonly HealthCheckDigest[];
  },
): MMonMgrReportValue {
  const { map } = stats;
  const pools = poolDigests(stats);
  const sums = zeroObjectSums();
  for (const pool of pools.values()) addObjectSums(sums, pool.sums);
  const states = pgsByState(stats);
  let pgs = 0;
  let pgsActive = 0;
  for (const [state, count] of states) {
    pgs += count;
    if (hasPgState(state, PG_ACTIVE)) pgsActive += count;
  }
  const space = zeroSpace();
  const spaceByClass = new Map<string, SpaceDigest>();
  const osds = new Map<number, OsdDigest>();
  const counts = stats.pgsByOsd();
  for (const [osd, stat] of stats.spaceOf()) {
    addSpace(space, stat);
    const cls = map.crush.itemClass(osd) ?? '';
    const ofClass = spaceByClass.get(cls) ?? zeroSpace();
    spaceByClass.set(cls, ofClass);
    addSpace(ofClass, stat);
  }
  for (const [osd, report] of stats.osds) {
    const { stat } = report;
    osds.set(osd, {
      totalBytes: stat.totalBytes,
      availableBytes: stat.availableBytes,
      dataBytes: stat.dataBytes,
      allocatedBytes: stat.allocatedBytes,
      omapBytes: stat.omapBytes,
      metaBytes: stat.metaBytes,
      pgs: counts.get(osd)?.acting ?? 0,
      primaryPgs: counts.get(osd)?.primary ?? 0,
      commitLatencyMs: stat.commitLatencyMs,
      applyLatencyMs: stat.applyLatencyMs,
      statSeq: statSeq(report),
    });
  }
  return {
    fsid: who.fsid,
    gid: who.gid,
    version: stats.version,
    stamp: utimeFromMs(nowMs),
    osdmapEpoch: map.epoch,
    pools,
    osds,
    space,
    spaceByClass,
    pgsByState: states,
    pgs,
    pgsActive,
    pgsUnknown: states.get(0) ?? 0,
    sums,
    rates: stats.rates.rates(),
    checks: [...healthChecks(stats, nowMs, options), ...(extra.checks ?? [])],
    progress: extra.progress,
    serviceMap: extra.serviceMap,
  };
}

/** `osd last-stat-seq`: the incarnation in the upper half. */
export function statSeq(report: { upFrom: number; seq: number }): bigint {
  return (BigInt(report.upFrom) << 32n) | BigInt(report.seq & 0xffffffff);
}
