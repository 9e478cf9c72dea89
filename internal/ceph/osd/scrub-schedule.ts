import { utimeToMs } from '../wire/encoding.ts';
import type { PgHistory } from '../wire/messages/osd_pg.ts';
import { MAP_NODEEP_SCRUB, MAP_NOSCRUB, type MapView, type PoolView } from './map-view.ts';

/** Upstream's options of the same names in snake case, with `osd_` before them; times in seconds. */
export interface ScrubOptions {
  maxScrubs: number;
  scrubBeginHour: number;
  scrubEndHour: number;
  scrubBeginWeekDay: number;
  scrubEndWeekDay: number;
  scrubLoadThreshold: number;
  scrubMinInterval: number;
  scrubMaxInterval: number;
  scrubIntervalRandomizeRatio: number;
  scrubBackoffRatio: number;
  deepScrubInterval: number;
  deepScrubRandomizeRatio: number;
  scrubDuringRecovery: boolean;
  scrubChunkMin: number;
  scrubChunkMax: number;
  scrubSleep: number;
  scrubMaxPreemptions: number;
  scrubAutoRepair: boolean;
  scrubAutoRepairNumErrors: number;
  deepScrubLargeOmapObjectKeyThreshold: number;
  deepScrubLargeOmapObjectValueSumThreshold: number;
  /** An object's digests are noted by a scrub when it is older than this. */
  deepScrubUpdateDigestMinAge: number;
}

export const defaultScrubOptions: ScrubOptions = {
  maxScrubs: 1,
  scrubBeginHour: 0,
  scrubEndHour: 0,
  scrubBeginWeekDay: 0,
  scrubEndWeekDay: 0,
  scrubLoadThreshold: 0.5,
  scrubMinInterval: 86_400,
  scrubMaxInterval: 604_800,
  scrubIntervalRandomizeRatio: 0.5,
  scrubBackoffRatio: 0.66,
  deepScrubInterval: 604_800,
  deepScrubRandomizeRatio: 0.15,
  scrubDuringRecovery: false,
  scrubChunkMin: 5,
  scrubChunkMax: 25,
  scrubSleep: 0,
  scrubMaxPreemptions: 5,
  scrubAutoRepair: false,
  scrubAutoRepairNumErrors: 5,
  deepScrubLargeOmapObjectKeyThreshold: 200_000,
  deepScrubLargeOmapObjectValueSumThreshold: 2 ** 30,
  deepScrubUpdateDigestMinAge: 7200,
};

/** The hour (0..23) and the day (0: Sunday) where the OSD runs. */
export interface LocalTime {
  hour: number;
  weekDay: number;
}

/** Of a moment in milliseconds of wall time. */
export function localTimeOf(ms: number): LocalTime {
  const date = new Date(ms);
  return { hour: date.getHours(), weekDay: date.getDay() };
}

function inCycle(begin: number, end: number, at: number): boolean {
  if (begin === end) return true;
  return begin < end ? at >= begin && at < end : at >= begin || at < end;
}

/** Whether scrubs that are not overdue may begin now (`OSD::scrub_time_permit`). */
export function timePermits(options: ScrubOptions, { hour, weekDay }: LocalTime): boolean {
  return (
    inCycle(options.scrubBeginWeekDay % 7, options.scrubEndWeekDay % 7, weekDay) &&
    inCycle(options.scrubBeginHour % 24, options.scrubEndHour % 24, hour)
  );
}

/** Load over the last 1 and 15 minutes, and how many processors share it. */
export interface SystemLoad {
  oneMinute: number;
  fifteenMinutes: number;
  processors: number;
}

/** Whether the machine has little to do, or less than it had (`OSD::scrub_load_below_threshold`). */
export function loadPermits(options: ScrubOptions, load: SystemLoad): boolean {
  if (load.oneMinute / Math.max(1, load.processors) < options.scrubLoadThreshold) return true;
  return load.oneMinute < load.fifteenMinutes;
}

/** When the next scrub of a PG is due, and from when on nothing may put it off; milliseconds of wall time. */
export interface ScrubDue {
  atMs: number;
  deadlineMs: number;
}

/** `draw`: in [0, 1), drawn anew after each scrub, so that PGs do not all come at once. */
export function scrubDue(options: ScrubOptions, pool: PoolView, history: PgHistory, draw: number): ScrubDue {
  const min = pool.scrubMinSec > 0 ? pool.scrubMinSec : options.scrubMinInterval;
  const max = pool.scrubMaxSec > 0 ? pool.scrubMaxSec : options.scrubMaxInterval;
  const last = utimeToMs(history.lastScrubStamp);
  return {
    atMs: last + min * (1 + options.scrubIntervalRandomizeRatio * draw) * 1000,
    deadlineMs: max > 0 ? last + max * 1000 : Number.POSITIVE_INFINITY,
  };
}

/** Which scrub of a PG flags and times allow now; undefined: none. `draw`: in [0, 1), for deep scrubs before their time. */
export function scrubKind(
  options: ScrubOptions,
  map: MapView,
  pool: PoolView,
  history: PgHistory,
  deepErrors: number,
  nowMs: number,
  draw: number,
): 'shallow' | 'deep' | undefined {
  const noScrub = map.hasFlag(MAP_NOSCRUB) || pool.noScrub;
  const noDeep = map.hasFlag(MAP_NODEEP_SCRUB) || pool.noDeepScrub;
  const interval = pool.deepScrubSec > 0 ? pool.deepScrubSec : options.deepScrubInterval;
  const deepDue = nowMs >= utimeToMs(history.lastDeepScrubStamp) + interval * 1000;
  // A shallow scrub would make the errors of the last deep one look mended.
  const wantsDeep = deepDue || deepErrors > 0 || draw < options.deepScrubRandomizeRatio;
  if (wantsDeep && !noDeep && (!noScrub || deepDue)) return 'deep';
  if (deepErrors > 0 && noDeep) return undefined;
  return noScrub ? undefined : 'shallow';
}
