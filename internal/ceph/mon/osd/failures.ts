import { parentOf } from '../../crush/build.ts';
import { MAP_NODOWN, OSD_NODOWN } from '../../maps/constants.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import type { MOSDFailure } from '../../wire/messages/osd_mon.ts';
import { sameAddrs } from '../../wire/types.ts';
import { osdFlags } from './daemons.ts';

export interface FailureLimits {
  /** Reports from so many different subtrees are believed (fewer where fewer are left to report). */
  minReporters: number;
  /** Type of those subtrees, e.g. `host`. */
  reporterLevel: string;
  graceMs: number;
  /** OSDs that must stay up, as a share of all: below it nobody is marked down by reports. */
  minUpRatio: number;
}

interface Report {
  failedSinceMs: number;
}

export interface FoundFailure {
  osd: number;
  /** For the cluster log. */
  reason: string;
  /** Its process is gone; else it may only be out of reach. */
  dead: boolean;
}

/** What OSDs say about each other (`OSDMonitor::check_failure`). Times are of the mon's own monotonic clock. */
export class FailureReports {
  readonly #byTarget = new Map<number, Map<number, Report>>();

  /** Takes a report; gives the target back when it is to be marked down. */
  report(map: OsdMap, report: MOSDFailure, nowMs: number, limits: FailureLimits): FoundFailure | undefined {
    const { target, reporter } = report;
    if (!map.isUp(target) || !map.isUp(reporter) || target === reporter) return undefined;
    if (!sameAddrs(map.clientAddrsOf(target), report.targetAddrs)) return undefined;
    if (report.kind === 'alive') {
      const reports = this.#byTarget.get(target);
      reports?.delete(reporter);
      if (reports?.size === 0) this.#byTarget.delete(target);
      return undefined;
    }
    if (!canMarkDown(map, target, limits)) return undefined;
    if (report.kind === 'immediate') {
      this.forget(target);
      return { osd: target, reason: `osd.${target} reported immediately failed by osd.${reporter}`, dead: true };
    }
    const reports = this.#byTarget.get(target) ?? new Map<number, Report>();
    this.#byTarget.set(target, reports);
    const since = nowMs - report.failedForMs;
    const old = reports.get(reporter);
    if (old === undefined || since < old.failedSinceMs) reports.set(reporter, { failedSinceMs: since });
    return this.#judge(map, target, nowMs, limits);
  }

  /** Looks at all targets again: time has passed. */
  check(map: OsdMap, nowMs: number, limits: FailureLimits): FoundFailure[] {
    const found: FoundFailure[] = [];
    for (const [target, reports] of this.#byTarget) {
      for (const reporter of reports.keys()) if (!map.isUp(reporter)) reports.delete(reporter);
      if (!map.isUp(target) || reports.size === 0) {
        this.#byTarget.delete(target);
        continue;
      }
      const failure = canMarkDown(map, target, limits) ? this.#judge(map, target, nowMs, limits) : undefined;
      if (failure !== undefined) found.push(failure);
    }
    return found;
  }

  #judge(map: OsdMap, target: number, nowMs: number, limits: FailureLimits): FoundFailure | undefined {
    const reports = this.#byTarget.get(target);
    if (reports === undefined) return undefined;
    const subtrees = new Set<number>();
    let since = Number.NEGATIVE_INFINITY;
    for (const [reporter, report] of reports) {
      subtrees.add(subtreeOf(map, reporter, limits.reporterLevel));
      since = Math.max(since, report.failedSinceMs);
    }
    const others = new Set<number>();
    for (const osd of map.osds())
      if (osd !== target && map.isUp(osd)) others.add(subtreeOf(map, osd, limits.reporterLevel));
    const needed = Math.max(1, Math.min(limits.minReporters, others.size));
    const failedMs = nowMs - since;
    if (subtrees.size < needed || failedMs < limits.graceMs) return undefined;
    this.forget(target);
    const seconds = (ms: number): string => (ms / 1000).toFixed(6);
    return {
      osd: target,
      reason:
        `osd.${target} failed (${subtrees.size} reporters from different ${limits.reporterLevel} ` +
        `after ${seconds(failedMs)} >= grace ${seconds(limits.graceMs)})`,
      dead: false,
    };
  }

  /** The OSD is down, or up again under other addresses. */
  forget(target: number): void {
    this.#byTarget.delete(target);
  }

  clear(): void {
    this.#byTarget.clear();
  }

  /** This process stood still for `ms`: what seemed to fail meanwhile gets the time back. */
  forgive(ms: number): void {
    for (const reports of this.#byTarget.values()) for (const report of reports.values()) report.failedSinceMs += ms;
  }
}

/** Whether `nodown` or the share of OSDs that must stay up forbid it. */
export function canMarkDown(map: OsdMap, osd: number, limits: Pick<FailureLimits, 'minUpRatio'>): boolean {
  if (map.hasFlag(MAP_NODOWN) || (osdFlags(map, osd) & OSD_NODOWN) !== 0) return false;
  const all = map.osds().length;
  return all > 0 && map.countUp() / all >= limits.minUpRatio;
}

/** The bucket of a type above the OSD; the OSD itself where there is none, or the level is `osd`. */
function subtreeOf(map: OsdMap, osd: number, level: string): number {
  for (let at = parentOf(map.crush, osd); at !== undefined; at = parentOf(map.crush, at.id))
    if (map.crush.typeNames.get(at.type) === level) return at.id;
  return osd;
}
