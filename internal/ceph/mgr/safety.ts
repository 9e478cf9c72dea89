import { leavesOf, parentOf } from '../crush/build.ts';
import { ITEM_NONE } from '../crush/map.ts';
import { EAGAIN, EBUSY, Refusal } from '../mon/errno.ts';
import type { JsonObject } from '../mon/format/json.ts';
import {
  hasPgState,
  PG_ACTIVE,
  PG_CLEAN,
  PG_DEGRADED,
  PG_RECOVERING,
  PG_RECOVERY_WAIT,
  PG_UNDERSIZED,
  type PgStat,
} from '../wire/messages/osd_mgr.ts';
import { pgText } from '../wire/types.ts';
import type { ClusterStats } from './cluster-stats.ts';

/** What stopping some OSDs does to PGs (`offline_pg_report`). */
export interface StopReport {
  osds: readonly number[];
  ok: number;
  notOk: number;
  unknown: string[];
  badNoPool: string[];
  badAlreadyInactive: string[];
  badBecomeInactive: string[];
  okBecomeDegraded: string[];
  okBecomeMoreDegraded: string[];
}

/**
 * Members of the acting set that would stay, and whether any would go. An OSD does not tell which members of a PG still lack objects: while one
 * recovers, one of those that stay counts as incomplete.
 */
function remaining(stat: PgStat, stopped: ReadonlySet<number>): { left: number; touched: boolean } {
  let left = 0;
  let touched = false;
  for (const osd of stat.acting) {
    if (stopped.has(osd)) touched = true;
    else if (osd !== ITEM_NONE) left++;
  }
  const degraded = hasPgState(stat.state, PG_DEGRADED);
  const recovers = hasPgState(stat.state, PG_RECOVERING) || hasPgState(stat.state, PG_RECOVERY_WAIT);
  if (degraded && (recovers || !hasPgState(stat.state, PG_UNDERSIZED))) left = Math.max(0, left - 1);
  return { left, touched };
}

/** Looks at every PG as if these OSDs were stopped. */
export function stopReport(stats: ClusterStats, osds: readonly number[]): StopReport {
  const stopped = new Set(osds);
  const report: StopReport = {
    osds: [...stopped].sort((a, b) => a - b),
    ok: 0,
    notOk: 0,
    unknown: [],
    badNoPool: [],
    badAlreadyInactive: [],
    badBecomeInactive: [],
    okBecomeDegraded: [],
    okBecomeMoreDegraded: [],
  };
  for (const [pg, stat] of stats.pgs.entries()) {
    const name = pgText(pg);
    if (stat.state === 0) {
      report.unknown.push(name);
      continue;
    }
    const { left, touched } = remaining(stat, stopped);
    if (!touched) continue;
    const pool = stats.map.pools.get(pg.pool);
    const bad = [
      ...(pool === undefined ? [report.badNoPool] : []),
      ...(hasPgState(stat.state, PG_ACTIVE) ? [] : [report.badAlreadyInactive]),
      ...(pool !== undefined && left < pool.minSize ? [report.badBecomeInactive] : []),
    ];
    for (const list of bad) list.push(name);
    if (bad.length > 0) report.notOk++;
    else {
      report.ok++;
      (hasPgState(stat.state, PG_DEGRADED) ? report.okBecomeMoreDegraded : report.okBecomeDegraded).push(name);
    }
  }
  return report;
}

function isOk(report: StopReport): boolean {
  return report.notOk === 0 && report.unknown.length === 0;
}

/** Adds OSDs near the first one, bucket by bucket upwards, as long as all can stop together. */
export function largestStop(stats: ClusterStats, osds: readonly number[], max: number): StopReport {
  let best = stopReport(stats, osds);
  const { map } = stats;
  const first = best.osds[0];
  if (!isOk(best) || best.osds.length >= max || first === undefined) return best;
  for (let parent = parentOf(map.crush, first); parent !== undefined; parent = parentOf(map.crush, parent.id)) {
    let failed = false;
    for (const osd of leavesOf(map.crush, parent.id).sort((a, b) => a - b)) {
      if (!map.isUp(osd) || best.osds.includes(osd)) continue;
      const report = stopReport(stats, [...best.osds, osd]);
      if (!isOk(report)) {
        failed = true;
        continue;
      }
      best = report;
      if (best.osds.length >= max) return best;
    }
    if (failed) return best;
  }
  return best;
}

export function stopReportJson(report: StopReport): JsonObject {
  const list = (names: readonly string[]): readonly string[] | undefined => (names.length > 0 ? names : undefined);
  return {
    ok_to_stop: isOk(report),
    osds: report.osds,
    num_ok_pgs: report.ok,
    num_not_ok_pgs: report.notOk,
    unknown_pgs: list(report.unknown),
    bad_no_pool_pgs: list(report.badNoPool),
    bad_already_inactive: list(report.badAlreadyInactive),
    bad_become_inactive: list(report.badBecomeInactive),
    ok_become_degraded: list(report.okBecomeDegraded),
    ok_become_more_degraded: list(report.okBecomeMoreDegraded),
  };
}

/** Undefined when the OSDs may stop. */
export function stopRefusal(report: StopReport, output: string): Refusal | undefined {
  if (report.unknown.length > 0) return unknownPgs(report.unknown.length, output);
  if (report.notOk === 0) return undefined;
  return new Refusal(
    EBUSY,
    `unsafe to stop osd(s) at this time (${report.notOk} PGs are or would become offline)`,
    output,
  );
}

function unknownPgs(count: number, output = ''): Refusal {
  return new Refusal(EAGAIN, `${count} pgs have unknown state; cannot draw any conclusions`, output);
}

/** Whether OSDs are still needed. */
export interface DestroyReport {
  safe: number[];
  /** PGs are mapped to them: `pgs` in all. */
  active: number[];
  pgs: number;
  missingStats: number[];
  storedPgs: number[];
}

/** Errors: EAGAIN while PGs are unknown. */
export function destroyReport(stats: ClusterStats, osds: readonly number[]): DestroyReport {
  let unknown = 0;
  let clean = 0;
  const mapped = new Map<number, number>();
  for (const [, stat] of stats.pgs.entries()) {
    if (stat.state === 0) unknown++;
    if (hasPgState(stat.state, PG_ACTIVE) && hasPgState(stat.state, PG_CLEAN)) clean++;
    for (const osd of new Set([...stat.acting, ...stat.up])) mapped.set(osd, (mapped.get(osd) ?? 0) + 1);
  }
  if (unknown > 0) throw unknownPgs(unknown);
  const report: DestroyReport = { safe: [], active: [], pgs: 0, missingStats: [], storedPgs: [] };
  for (const osd of [...new Set(osds)].sort((a, b) => a - b)) {
    const pgs = mapped.get(osd) ?? 0;
    const stat = stats.osds.get(osd)?.stat;
    if (!stats.map.exists(osd)) report.safe.push(osd);
    else if (pgs > 0) {
      report.active.push(osd);
      report.pgs += pgs;
    } else if (clean === stats.pgs.size) report.safe.push(osd);
    else if (stat === undefined || !stats.map.isUp(osd)) report.missingStats.push(osd);
    else if (stat.pgs > 0) report.storedPgs.push(osd);
    else report.safe.push(osd);
  }
  return report;
}

export function destroyReportJson(report: DestroyReport): JsonObject {
  return {
    safe_to_destroy: report.safe,
    active: report.active,
    missing_stats: report.missingStats,
    stored_pgs: report.storedPgs,
  };
}

/** Undefined when all may go. */
export function destroyRefusal(report: DestroyReport): Refusal | undefined {
  const { safe, active, missingStats, storedPgs } = report;
  if (active.length + missingStats.length + storedPgs.length === 0) return undefined;
  const parts = [
    safe.length > 0 ? `OSD(s) ${safe} are safe to destroy without reducing data durability. ` : '',
    active.length > 0 ? `OSD(s) ${active} have ${report.pgs} pgs currently mapped to them. ` : '',
    missingStats.length > 0
      ? `OSD(s) ${missingStats} have no reported stats, and not all PGs are active+clean; we cannot draw any conclusions. `
      : '',
    storedPgs.length > 0
      ? `OSD(s) ${storedPgs} last reported they still store some PG data, and not all PGs are active+clean; we cannot be sure they aren't still needed.`
      : '',
  ];
  return new Refusal(active.length + storedPgs.length > 0 ? EBUSY : EAGAIN, parts.join(''));
}

export function destroyFine(osds: readonly number[]): string {
  return `OSD(s) ${osds} are safe to destroy without reducing data durability.`;
}
