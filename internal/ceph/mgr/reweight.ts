import { itemWeight, weightFromFixed } from '../crush/build.ts';
import { ITEM_NONE, WEIGHT_ONE } from '../crush/map.ts';
import { applyIncremental } from '../maps/apply.ts';
import { OsdMapIncremental } from '../maps/incremental.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { Placement } from '../maps/placement.ts';
import { isErasure } from '../maps/pool.ts';
import { EINVAL, Refusal } from '../mon/errno.ts';
import type { ClusterStats } from './cluster-stats.ts';
import { EDOM } from '../mon/errno.ts';

export interface ReweightOptions {
  /** Percent of the average from which an OSD is too full. */
  overload: number;
  /** By how much a weight may change. */
  maxChange: number;
  /** OSDs that may change. */
  maxOsds: number;
  /** Count PGs (of these pools, all when there are none) instead of bytes. */
  byPg: readonly number[] | undefined;
  noIncreasing: boolean;
}

/** How many PGs OSDs have, before and with other weights (`OSDMap::summarize_mapping_stats`). */
export interface MappingStats {
  moved: number;
  total: number;
  average: number;
  stddev: number;
  newStddev: number;
  expected: number;
  /** The OSD with the fewest and the one with the most. */
  least: { osd: number; pgs: number; newPgs: number } | undefined;
  most: { osd: number; pgs: number; newPgs: number } | undefined;
}

export interface Reweights {
  averageUtilization: number;
  overloadUtilization: number;
  /** 16.16. */
  weights: { osd: number; weight: number; newWeight: number }[];
  mapping: MappingStats;
}

/** `mon_reweight_min_pgs_per_osd` and `mon_reweight_min_bytes_per_osd`. */
const minPgsPerOsd = 10;
const minBytesPerOsd = 100 * 2 ** 20;

/** Utilization of each OSD that counts, and of all together. Errors: EDOM when there is too little to judge by. */
function byBytes(stats: ClusterStats): { average: number; osds: [number, number][] } {
  const all = [...stats.osds].map(([osd, { stat }]) => ({
    osd,
    total: stat.totalBytes,
    used: stat.totalBytes - stat.availableBytes,
  }));
  const sum = (of: 'total' | 'used'): number => all.reduce((bytes, one) => bytes + one[of], 0);
  const osds = Math.max(1, all.length);
  for (const [of, what] of [
    ['total', 'kb across'],
    ['used', 'kb used across'],
  ] as const)
    if (sum(of) / osds < minBytesPerOsd)
      throw new Refusal(EDOM, `Refusing to reweight: we only have ${Math.floor(sum(of) / 1024)} ${what} all osds!\n`);
  return {
    average: sum('used') / sum('total'),
    osds: all.filter(({ total }) => total > 0).map(({ osd, total, used }): [number, number] => [osd, used / total]),
  };
}

function byPgs(stats: ClusterStats, pools: readonly number[]): { average: number; osds: [number, number][] } {
  const { crush } = stats.map;
  const weightOf = (osd: number): number => weightFromFixed(itemWeight(crush, osd) ?? 0);
  const pgs = new Map<number, number>();
  for (const [{ pool }, { acting }] of stats.pgs.entries()) {
    if (pools.length > 0 && !pools.includes(pool)) continue;
    for (const osd of acting) if (stats.map.exists(osd) && weightOf(osd) > 0) pgs.set(osd, (pgs.get(osd) ?? 0) + 1);
  }
  const copies = [...pgs.values()].reduce((a, b) => a + b, 0);
  if (pgs.size === 0 || Math.floor(copies / pgs.size) < minPgsPerOsd)
    throw new Refusal(EDOM, `Refusing to reweight: we only have ${copies} PGs across ${pgs.size} osds!\n`);
  const weights = [...pgs.keys()].reduce((sum, osd) => sum + weightOf(osd), 0);
  return { average: copies / weights, osds: [...pgs].map(([osd, n]): [number, number] => [osd, n / weightOf(osd)]) };
}

/** Weights (`osd reweight`) that take load from the fullest OSDs, a little at a time (`reweight::by_utilization`). Errors: EINVAL, EDOM. */
export function reweights(stats: ClusterStats, options: ReweightOptions): Reweights {
  const { byPg, maxOsds, noIncreasing, overload } = options;
  if (overload <= 100)
    throw new Refusal(
      EINVAL,
      'You must give a percentage higher than 100. The reweighting threshold will be calculated as <average-utilization> times <input-percentage>. For example, an argument of 200 would reweight OSDs which are twice as utilized as the average OSD.\n',
    );
  const { average, osds } = byPg === undefined ? byBytes(stats) : byPgs(stats, byPg);
  const overloadUtilization = (average * overload) / 100;
  const maxChange = Math.trunc(options.maxChange * WEIGHT_ONE);
  const weights: Reweights['weights'] = [];
  const farthest = [...osds].sort((a, b) => Math.abs(b[1] - average) - Math.abs(a[1] - average) || a[0] - b[0]);
  for (const [osd, utilization] of farthest) {
    if (weights.length >= maxOsds) break;
    const weight = stats.map.osdWeight[osd] ?? 0;
    if (weight === 0) continue;
    const wanted = utilization === 0 ? WEIGHT_ONE : Math.trunc((average / utilization) * weight);
    if (utilization >= overloadUtilization) {
      weights.push({ osd, weight, newWeight: weight > maxChange ? Math.max(wanted, weight - maxChange) : wanted });
    } else if (!noIncreasing && utilization <= average) {
      const newWeight = Math.min(wanted, weight + maxChange, WEIGHT_ONE);
      if (newWeight > weight) weights.push({ osd, weight, newWeight });
    }
  }
  const inc = new OsdMapIncremental(stats.map.epoch + 1);
  inc.fsid = stats.map.fsid;
  for (const { newWeight, osd } of weights) inc.newWeight.set(osd, newWeight);
  const next = applyIncremental(stats.map, inc);
  const pools = byPg === undefined || byPg.length === 0 ? [...stats.map.pools.keys()] : byPg;
  return { averageUtilization: average, overloadUtilization, weights, mapping: mappingStats(stats.map, next, pools) };
}

function mappingStats(map: OsdMap, next: OsdMap, pools: readonly number[]): MappingStats {
  const before = new Placement(map);
  const after = new Placement(next);
  const counts = new Map<number, { pgs: number; newPgs: number }>();
  for (const osd of map.osds()) if (map.isUp(osd) && map.isIn(osd)) counts.set(osd, { pgs: 0, newPgs: 0 });
  let total = 0;
  let moved = 0;
  for (const id of pools) {
    const pool = map.pools.get(id);
    if (pool === undefined) continue;
    for (let seed = 0; seed < pool.pgNum; seed++) {
      total += pool.size;
      const { up } = before.mapPg(id, seed);
      const { up: now } = after.mapPg(id, seed);
      for (const [at, osd] of up.entries()) {
        if (osd !== ITEM_NONE && counts.has(osd)) counts.get(osd)!.pgs++;
        if (isErasure(pool) ? osd !== now[at] : !now.includes(osd)) moved++;
      }
      for (const osd of now) if (osd !== ITEM_NONE && counts.has(osd)) counts.get(osd)!.newPgs++;
    }
  }
  if (counts.size === 0) throw new Refusal(EINVAL, '');
  const average = total / counts.size;
  const deviation = (of: 'pgs' | 'newPgs'): number =>
    Math.sqrt([...counts.values()].reduce((sum, count) => sum + (count[of] - average) ** 2, 0) / counts.size);
  const all = [...counts].map(([osd, count]) => ({ osd, ...count }));
  const first = (better: (a: number, b: number) => boolean): MappingStats['least'] =>
    all.reduce((best, one) => (better(one.pgs, best.pgs) ? one : best));
  return {
    moved,
    total,
    average,
    stddev: deviation('pgs'),
    newStddev: deviation('newPgs'),
    expected: Math.sqrt(average * (1 - 1 / counts.size)),
    least: first((a, b) => a < b),
    most: first((a, b) => a > b),
  };
}
