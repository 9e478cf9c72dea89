import { OSD_BACKFILLFULL, OSD_FULL, OSD_NEARFULL } from '../maps/constants.ts';
import { bytesText, timespanText, utimeText } from '../mon/format/units.ts';
import { type UTime, utimeToMs } from '../wire/encoding.ts';
import type { HealthCheckDigest } from '../wire/messages/mgr_mon.ts';
import {
  hasPgState,
  PG_ACTIVE,
  PG_BACKFILL_TOOFULL,
  PG_BACKFILL_UNFOUND,
  PG_DEGRADED,
  PG_DOWN,
  PG_INCOMPLETE,
  PG_INCONSISTENT,
  PG_PEERING,
  PG_RECOVERY_TOOFULL,
  PG_RECOVERY_UNFOUND,
  PG_STALE,
  PG_UNDERSIZED,
  type PgStat,
  pgStateText,
} from '../wire/messages/osd_mgr.ts';
import { pgText } from '../wire/types.ts';
import { type AutoscaleOptions, autoscaleChecks, autoscaleOptions } from './autoscale.ts';
import type { ClusterStats } from './cluster-stats.ts';
import { addObjectSums, zeroObjectSums } from '../wire/messages/osd_mgr.ts';
import { type SlowLimits, slowLimits, slowOps, slowPings } from './slow-checks.ts';
import { poolDigests } from './sums.ts';

const PG_SNAPTRIM_ERROR = 2 ** 29;

/** Options of upstream that change what is reported; the mon sends them. Defaults are upstream's. */
export interface HealthOptions {
  /** `mon_pg_stuck_threshold`, seconds. */
  stuckSec: number;
  /** `mon_health_max_detail`. */
  maxDetail: number;
  /** `mon_max_pg_per_osd`. */
  maxPgsPerOsd: number;
  /** `osd_pool_default_size`. */
  poolDefaultSize: number;
  /** `mon_pool_quota_warn_threshold` and `mon_pool_quota_crit_threshold`, percent; 0: off. */
  quotaWarnPercent: number;
  quotaCriticalPercent: number;
  /** `mon_pg_warn_min_objects`, `mon_pg_warn_min_pool_objects`, `mon_pg_warn_max_object_skew`. */
  skewMinObjects: number;
  skewMinPoolObjects: number;
  skewMax: number;
  /** `osd_scrub_max_interval` and `osd_deep_scrub_interval`, seconds, where the pool has none of its own. */
  scrubMaxSec: number;
  deepScrubSec: number;
  /** `mon_warn_pg_not_scrubbed_ratio` and `mon_warn_pg_not_deep_scrubbed_ratio`: share of the interval beyond it; 0: no warning. */
  scrubLateRatio: number;
  deepScrubLateRatio: number;
  /** `mon_warn_on_misplaced`. */
  warnOnMisplaced: boolean;
  /** `mon_osd_warn_num_repaired`: repairs of an OSD beyond which its disk is suspected. */
  warnRepaired: number;
  autoscale: AutoscaleOptions;
  slow: SlowLimits;
}

export const defaultHealthOptions: HealthOptions = {
  stuckSec: 60,
  maxDetail: 50,
  maxPgsPerOsd: 250,
  poolDefaultSize: 3,
  quotaWarnPercent: 0,
  quotaCriticalPercent: 0,
  skewMinObjects: 10000,
  skewMinPoolObjects: 1000,
  skewMax: 10,
  scrubMaxSec: 7 * 86400,
  deepScrubSec: 7 * 86400,
  scrubLateRatio: 0.5,
  deepScrubLateRatio: 0.75,
  warnOnMisplaced: false,
  warnRepaired: 10,
  autoscale: autoscaleOptions(new Map()),
  slow: slowLimits((_name, otherwise) => otherwise),
};

/** From the configuration that the mon gives us. */
export function healthOptions(config: ReadonlyMap<string, string>, poolDefaultSize: number): HealthOptions {
  const number = (name: string, fallback: number): number => {
    const text = config.get(name);
    const value = text === undefined ? Number.NaN : Number(text);
    return Number.isFinite(value) ? value : fallback;
  };
  const d = defaultHealthOptions;
  return {
    ...d,
    stuckSec: number('mon_pg_stuck_threshold', d.stuckSec),
    maxDetail: number('mon_health_max_detail', d.maxDetail),
    maxPgsPerOsd: number('mon_max_pg_per_osd', d.maxPgsPerOsd),
    poolDefaultSize: number('osd_pool_default_size', poolDefaultSize),
    quotaWarnPercent: number('mon_pool_quota_warn_threshold', d.quotaWarnPercent),
    quotaCriticalPercent: number('mon_pool_quota_crit_threshold', d.quotaCriticalPercent),
    scrubMaxSec: number('osd_scrub_max_interval', d.scrubMaxSec),
    deepScrubSec: number('osd_deep_scrub_interval', d.deepScrubSec),
    scrubLateRatio: number('mon_warn_pg_not_scrubbed_ratio', d.scrubLateRatio),
    deepScrubLateRatio: number('mon_warn_pg_not_deep_scrubbed_ratio', d.deepScrubLateRatio),
    warnOnMisplaced: config.get('mon_warn_on_misplaced') === 'true',
    warnRepaired: number('mon_osd_warn_num_repaired', d.warnRepaired),
    autoscale: autoscaleOptions(config),
    slow: slowLimits(number),
  };
}

/** How a state of a PG is reported: at once, or (`since`) only when it has lasted. `inverted`: the state is missing. */
interface Response {
  bit: number;
  code: string;
  name: string;
  since?: (stat: PgStat) => UTime;
  inverted?: boolean;
}

/** In the order of the bits, which is the order in which counts are written. */
const responses: readonly Response[] = [
  { bit: PG_ACTIVE, code: 'PG_AVAILABILITY', name: 'inactive', since: (s) => s.lastActive, inverted: true },
  { bit: PG_DOWN, code: 'PG_AVAILABILITY', name: 'down' },
  { bit: PG_RECOVERY_UNFOUND, code: 'PG_DAMAGED', name: 'recovery_unfound' },
  { bit: PG_BACKFILL_UNFOUND, code: 'PG_DAMAGED', name: 'backfill_unfound' },
  { bit: PG_DEGRADED, code: 'PG_DEGRADED', name: 'degraded' },
  { bit: PG_INCONSISTENT, code: 'PG_DAMAGED', name: 'inconsistent' },
  { bit: PG_PEERING, code: 'PG_AVAILABILITY', name: 'peering', since: (s) => s.lastPeered },
  { bit: PG_INCOMPLETE, code: 'PG_AVAILABILITY', name: 'incomplete' },
  { bit: PG_STALE, code: 'PG_AVAILABILITY', name: 'stale', since: (s) => s.lastUnstale },
  { bit: PG_BACKFILL_TOOFULL, code: 'PG_BACKFILL_FULL', name: 'backfill_toofull' },
  { bit: PG_UNDERSIZED, code: 'PG_DEGRADED', name: 'undersized', since: (s) => s.lastFullsized },
  { bit: PG_RECOVERY_TOOFULL, code: 'PG_RECOVERY_FULL', name: 'recovery_toofull' },
  { bit: PG_SNAPTRIM_ERROR, code: 'PG_DAMAGED', name: 'snaptrim_error' },
];

/** In the order in which upstream reports them. */
const consequences: readonly { code: string; severity: HealthCheckDigest['severity']; text: string }[] = [
  { code: 'PG_AVAILABILITY', severity: 'HEALTH_WARN', text: 'Reduced data availability: ' },
  { code: 'PG_DEGRADED', severity: 'HEALTH_WARN', text: 'Degraded data redundancy: ' },
  {
    code: 'PG_BACKFILL_FULL',
    severity: 'HEALTH_WARN',
    text: "Low space hindering backfill (add storage if this doesn't resolve itself): ",
  },
  { code: 'PG_DAMAGED', severity: 'HEALTH_ERR', text: 'Possible data damage: ' },
  { code: 'PG_RECOVERY_FULL', severity: 'HEALTH_ERR', text: 'Full OSDs blocking recovery: ' },
];

function isZeroTime(t: UTime): boolean {
  return t.sec === 0 && t.nsec === 0;
}

/** `279/795 objects degraded (35.094%)`. */
export function shareText(part: number, whole: number, what: string): string {
  return `${part}/${whole} objects ${what} (${((part / whole) * 100).toFixed(3)}%)`;
}

/** The checks that the mgr raises (`PGMap::get_health_checks`), in upstream's order. */
export function healthChecks(stats: ClusterStats, nowMs: number, options: HealthOptions): HealthCheckDigest[] {
  const sums = zeroObjectSums();
  const pools = poolDigests(stats);
  for (const pool of pools.values()) addObjectSums(sums, pool.sums);
  const out: HealthCheckDigest[] = [...pgChecks(stats, nowMs, options, sums)];
  const add = (
    code: string,
    severity: HealthCheckDigest['severity'],
    summary: string,
    count: number,
    detail: string[] = [],
  ): void => {
    out.push({ code, severity, summary, count, detail });
  };
  if (sums.scrubErrors > 0) add('OSD_SCRUB_ERRORS', 'HEALTH_ERR', `${sums.scrubErrors} scrub errors`, sums.scrubErrors);
  const repaired = [...stats.osds]
    .filter(([, { stat }]) => stat.shardsRepaired > options.warnRepaired)
    .sort(([a], [b]) => a - b)
    .map(([osd, { stat }]) => `osd.${osd} had ${stat.shardsRepaired} reads repaired`);
  if (repaired.length > 0)
    add(
      'OSD_TOO_MANY_REPAIRS',
      'HEALTH_WARN',
      `Too many repaired reads on ${repaired.length} OSDs`,
      repaired.length,
      repaired,
    );
  if (sums.largeOmapObjects > 0)
    add(
      'LARGE_OMAP_OBJECTS',
      'HEALTH_WARN',
      `${sums.largeOmapObjects} large omap objects`,
      sums.largeOmapObjects,
      largeOmapDetail(stats, pools),
    );
  const { map } = stats;
  const inOsds = map.countIn();
  let upPlaces = 0;
  for (const pool of pools.values()) upPlaces += pool.up;
  const perOsd = inOsds === 0 ? 0 : Math.floor(Math.max(upPlaces, stats.pgs.size) / inOsds);
  if (options.maxPgsPerOsd > 0 && perOsd > options.maxPgsPerOsd)
    add(
      'TOO_MANY_PGS',
      'HEALTH_WARN',
      `too many PGs per OSD (${perOsd} > max ${options.maxPgsPerOsd})`,
      perOsd - options.maxPgsPerOsd,
    );
  const osdCount = map.osds().length;
  if (osdCount < options.poolDefaultSize)
    add(
      'TOO_FEW_OSDS',
      'HEALTH_WARN',
      `OSD count ${osdCount} < osd_pool_default_size ${options.poolDefaultSize}`,
      options.poolDefaultSize - osdCount,
    );
  out.push(...poolShapeChecks(stats, options, sums.objects), ...quotaChecks(stats, options));
  if (options.warnOnMisplaced && sums.objectsMisplaced > 0 && sums.objectCopies > 0)
    add(
      'OBJECT_MISPLACED',
      'HEALTH_WARN',
      shareText(sums.objectsMisplaced, sums.objectCopies, 'misplaced'),
      sums.objectsMisplaced,
    );
  if (sums.objectsUnfound > 0 && sums.objects > 0)
    add(
      'OBJECT_UNFOUND',
      'HEALTH_WARN',
      shareText(sums.objectsUnfound, sums.objects, 'unfound'),
      sums.objectsUnfound,
      unfoundDetail(stats, options.maxDetail),
    );
  out.push(...scrubChecks(stats, nowMs, options), ...fullChecks(stats));
  out.push(...slowPings(stats, nowMs, options.slow), ...slowOps(stats));
  out.push(...autoscaleChecks(stats, options.autoscale));
  return out;
}

function largeOmapDetail(stats: ClusterStats, pools: ReturnType<typeof poolDigests>): string[] {
  const detail: string[] = [];
  for (const [id, { sums }] of pools)
    if (sums.largeOmapObjects > 0)
      detail.push(`${sums.largeOmapObjects} large objects found in pool '${stats.map.poolNames.get(id) ?? ''}'`);
  return [...detail, "Search the cluster log for 'Large omap object found' for more details."];
}

function* pgChecks(
  stats: ClusterStats,
  nowMs: number,
  options: HealthOptions,
  sums: { objectsDegraded: number; objectCopies: number },
): Generator<HealthCheckDigest> {
  const cutoff = nowMs - options.stuckSec * 1000;
  const counts = new Map<string, Map<string, number>>();
  const details = new Map<string, Map<string, string>>();
  for (const [, stat] of stats.pgs.entries()) {
    for (const response of responses) {
      if (hasPgState(stat.state, response.bit) === (response.inverted === true)) continue;
      const since = response.since?.(stat);
      if (since !== undefined) {
        if (isZeroTime(since) ? utimeToMs(stat.lastChange) >= cutoff : utimeToMs(since) >= cutoff) continue;
      }
      const byName = counts.get(response.code) ?? new Map<string, number>();
      counts.set(response.code, byName);
      byName.set(response.name, (byName.get(response.name) ?? 0) + 1);
      const messages = details.get(response.code) ?? new Map<string, string>();
      details.set(response.code, messages);
      if (messages.size <= options.maxDetail)
        messages.set(pgText(stat.pg), pgDetail(stats, stat, response, since, nowMs));
    }
  }
  for (const { code, severity, text } of consequences) {
    const byName = counts.get(code);
    if (byName === undefined) continue;
    let count = 0;
    const parts: string[] = [];
    for (const { name } of responses) {
      const n = byName.get(name);
      if (n === undefined) continue;
      count += n;
      parts.push(`${n} ${n > 1 ? 'pgs' : 'pg'} ${name}`);
    }
    const objects =
      code === 'PG_DEGRADED' && sums.objectsDegraded > 0 && sums.objectCopies > 0
        ? `${shareText(sums.objectsDegraded, sums.objectCopies, 'degraded')}, `
        : '';
    yield {
      code,
      severity,
      summary: text + objects + parts.join(', '),
      count,
      detail: [...details.get(code)!.values()],
    };
  }
}

function pgDetail(
  stats: ClusterStats,
  stat: PgStat,
  response: Response,
  since: UTime | undefined,
  nowMs: number,
): string {
  const id = pgText(stat.pg);
  const state = pgStateText(stat.state);
  const acting = `[${stat.acting.join(',')}]`;
  let text: string;
  if (since === undefined) {
    text = `pg ${id} is ${state}, acting ${acting}`;
    if (stat.sums.objectsUnfound > 0) text += `, ${stat.sums.objectsUnfound} unfound`;
  } else {
    const how = isZeroTime(since) ? 'since forever' : `for ${timespanText((nowMs - utimeToMs(since)) / 1000)}`;
    text = `pg ${id} is stuck ${response.name} ${how}, current state ${state}, last acting ${acting}`;
  }
  const pool = stats.map.pools.get(stat.pg.pool);
  if (hasPgState(stat.state, PG_INCOMPLETE) && pool !== undefined && pool.minSize > 1) {
    const name = stats.map.poolNames.get(stat.pg.pool) ?? '';
    text += ` (reducing pool ${name} min_size from ${pool.minSize} may help; search ceph.com/docs for 'incomplete')`;
  }
  return text;
}

function unfoundDetail(stats: ClusterStats, max: number): string[] {
  const detail: string[] = [];
  for (const [pg, stat] of stats.pgs.entries()) {
    if (stat.sums.objectsUnfound === 0) continue;
    detail.push(`pg ${pgText(pg)} has ${stat.sums.objectsUnfound} unfound objects`);
    if (detail.length > max) {
      detail.push('(additional pgs left out for brevity)');
      break;
    }
  }
  return detail;
}

/** SMALLER_PGP_NUM and MANY_OBJECTS_PER_PG. */
function* poolShapeChecks(stats: ClusterStats, options: HealthOptions, objects: number): Generator<HealthCheckDigest> {
  const { map } = stats;
  const smaller: string[] = [];
  const many: string[] = [];
  const average = stats.pgs.size === 0 ? 0 : Math.floor(objects / stats.pgs.size);
  for (const [id, digest] of poolDigests(stats)) {
    const pool = map.pools.get(id)!;
    const name = map.poolNames.get(id) ?? '';
    if (pool.pgNumTarget > pool.pgpNumTarget)
      smaller.push(`pool ${name} pg_num ${pool.pgNumTarget} > pgp_num ${pool.pgpNumTarget}`);
    if (average === 0 || objects < options.skewMinObjects || digest.sums.objects < options.skewMinPoolObjects) continue;
    const perPg = Math.floor(digest.sums.objects / pool.pgNumTarget);
    const ratio = Math.fround(perPg / average);
    if (options.skewMax > 0 && ratio > options.skewMax && pool.autoscaleMode !== 2)
      many.push(
        `pool ${name} objects per pg (${perPg}) is more than ${Number(ratio.toPrecision(6))} times cluster average (${average})`,
      );
  }
  if (smaller.length > 0)
    yield {
      code: 'SMALLER_PGP_NUM',
      severity: 'HEALTH_WARN',
      summary: `${smaller.length} pools have pg_num > pgp_num`,
      count: smaller.length,
      detail: smaller,
    };
  if (many.length > 0)
    yield {
      code: 'MANY_OBJECTS_PER_PG',
      severity: 'HEALTH_WARN',
      summary: `${many.length} pools have many more objects per pg than average`,
      count: many.length,
      detail: many,
    };
}

/** POOL_FULL and POOL_NEAR_FULL: pools that come near their quota. One that has reached it is the mon's. */
function* quotaChecks(stats: ClusterStats, options: HealthOptions): Generator<HealthCheckDigest> {
  const full: string[] = [];
  const near: string[] = [];
  let fullPools = 0;
  let nearPools = 0;
  for (const [id, { sums }] of poolDigests(stats)) {
    const pool = stats.map.pools.get(id)!;
    const name = stats.map.poolNames.get(id) ?? '';
    let isFull = false;
    let isNear = false;
    const look = (have: number, max: number, text: string): void => {
      if (max === 0 || have >= max) return;
      if (options.quotaCriticalPercent > 0 && have >= (max * options.quotaCriticalPercent) / 100) {
        full.push(text);
        isFull = true;
      } else if (options.quotaWarnPercent > 0 && have >= (max * options.quotaWarnPercent) / 100) {
        near.push(text);
        isNear = true;
      }
    };
    look(
      sums.objects,
      pool.quotaMaxObjects,
      `pool '${name}' has ${sums.objects} objects (max ${pool.quotaMaxObjects})`,
    );
    look(
      sums.bytes,
      pool.quotaMaxBytes,
      `pool '${name}' has ${bytesText(sums.bytes)} (max ${bytesText(pool.quotaMaxBytes)})`,
    );
    if (isFull) fullPools++;
    if (isNear) nearPools++;
  }
  if (fullPools > 0)
    yield {
      code: 'POOL_FULL',
      severity: 'HEALTH_ERR',
      summary: `${fullPools} pools full`,
      count: fullPools,
      detail: full,
    };
  if (nearPools > 0)
    yield {
      code: 'POOL_NEAR_FULL',
      severity: 'HEALTH_WARN',
      summary: `${nearPools} pools nearfull`,
      count: nearPools,
      detail: near,
    };
}

/** Numbers of the pool options `scrub_max_interval` and `deep_scrub_interval`. */
const scrubMaxOption = 1;
const deepScrubOption = 2;

function* scrubChecks(stats: ClusterStats, nowMs: number, options: HealthOptions): Generator<HealthCheckDigest> {
  const kinds = [
    {
      code: 'PG_NOT_SCRUBBED',
      word: 'scrubbed',
      sec: options.scrubMaxSec,
      option: scrubMaxOption,
      ratio: options.scrubLateRatio,
      at: (s: PgStat) => s.lastScrubStamp,
    },
    {
      code: 'PG_NOT_DEEP_SCRUBBED',
      word: 'deep-scrubbed',
      sec: options.deepScrubSec,
      option: deepScrubOption,
      ratio: options.deepScrubLateRatio,
      at: (s: PgStat) => s.lastDeepScrubStamp,
    },
  ];
  for (const { code, word, sec, option, ratio, at } of kinds) {
    if (ratio === 0) continue;
    const detail: string[] = [];
    let count = 0;
    for (const [pg, stat] of stats.pgs.entries()) {
      const stamp = at(stat);
      const own = stats.map.pools.get(pg.pool)?.options.get(option);
      const late = (own?.type === 2 && own.value > 0 ? own.value : sec) * (1 + ratio);
      if (isZeroTime(stamp) || (nowMs - utimeToMs(stamp)) / 1000 <= late) continue;
      count++;
      if (count <= options.maxDetail) detail.push(`pg ${pgText(pg)} not ${word} since ${utimeText(stamp)}`);
    }
    if (count === 0) continue;
    if (count > options.maxDetail) detail.push(`${count - options.maxDetail} more pgs... `);
    yield { code, severity: 'HEALTH_WARN', summary: `${count} pgs not ${word} in time`, count, detail };
  }
}

/** OSDs that are getting full and that the OSDMap does not say so of yet (then the mon reports them). */
function* fullChecks(stats: ClusterStats): Generator<HealthCheckDigest> {
  const { map } = stats;
  const levels = [
    { code: 'OSD_FULL', bit: OSD_FULL, ratio: map.fullRatio, word: 'full', is: 'is full' },
    {
      code: 'OSD_BACKFILLFULL',
      bit: OSD_BACKFILLFULL,
      ratio: map.backfillfullRatio,
      word: 'backfillfull',
      is: 'is backfill full',
    },
    { code: 'OSD_NEARFULL', bit: OSD_NEARFULL, ratio: map.nearfullRatio, word: 'nearfull', is: 'is near full' },
  ];
  const found = new Map<string, string[]>();
  for (const [osd, stat] of stats.spaceOf()) {
    if (stat.totalBytes === 0) continue;
    const used = 1 - stat.availableBytes / stat.totalBytes;
    const state = map.osdState[osd] ?? 0;
    if (state & (OSD_FULL | OSD_BACKFILLFULL | OSD_NEARFULL)) continue;
    const level = levels.find(({ ratio }) => used >= ratio);
    if (level !== undefined) found.set(level.code, [...(found.get(level.code) ?? []), `osd.${osd} ${level.is}`]);
  }
  for (const { code, word } of levels) {
    const detail = found.get(code);
    if (detail === undefined) continue;
    yield {
      code,
      severity: code === 'OSD_FULL' ? 'HEALTH_ERR' : 'HEALTH_WARN',
      summary: `${detail.length} ${word} osd(s)`,
      count: detail.length,
      detail,
    };
  }
}
