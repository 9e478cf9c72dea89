import { ITEM_NONE, WEIGHT_ONE } from '../crush/map.ts';
import { ruleTakes } from '../crush/rules.ts';
import { pyRepr } from './format/python.ts';
import type { ClusterStats } from './cluster-stats.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import type { Placement } from '../maps/placement.ts';

/** What is spread over OSDs. */
const kinds = ['pgs', 'objects', 'bytes'] as const;
type Kind = (typeof kinds)[number];
type ByOsd = Map<number, number>;
type Spread = Record<Kind, ByOsd>;
type Totals = Record<Kind, number>;

interface KindStats {
  max: number;
  min: number;
  avg: number;
  stddev: number;
  sum_weight: number;
  score: number;
}

/** How evenly PGs, objects and bytes lie on OSDs (`Eval` of upstream's module balancer); the names are those of its verbose output. */
export interface BalanceScore {
  target_by_root: Map<string, ByOsd>;
  actual_by_pool: Map<string, Spread>;
  actual_by_root: Map<string, Spread>;
  count_by_pool: Map<string, Spread>;
  count_by_root: Map<string, Spread>;
  total_by_pool: Map<string, Totals>;
  total_by_root: Map<string, Totals>;
  stats_by_root: Map<string, Record<Kind, KindStats>>;
  /** Always empty. */
  score_by_pool: Map<string, unknown>;
  score_by_root: Map<string, Record<Kind, number>>;
  /** 0: perfectly even; below 1. */
  score: number;
}

const spread = (): Spread => ({ pgs: new Map(), objects: new Map(), bytes: new Map() });
const totals = (): Totals => ({ pgs: 0, objects: 0, bytes: 0 });
const each = <T>(of: (kind: Kind) => T): Record<Kind, T> => ({
  pgs: of('pgs'),
  objects: of('objects'),
  bytes: of('bytes'),
});

function add(to: ByOsd, osd: number, value: number): void {
  to.set(osd, (to.get(osd) ?? 0) + value);
}

/** Weights below a bucket, as shares of all (`get_take_weight_osd_map`). */
function sharesBelow({ crush }: OsdMap, root: number): ByOsd {
  const out: ByOsd = new Map();
  const visit = (id: number): void => {
    const bucket = crush.bucket(id);
    bucket?.items.forEach((item, at) => {
      if (item < 0) visit(item);
      else out.set(item, bucket.weights[at] ?? 0);
    });
  };
  visit(root);
  const sum = [...out.values()].reduce((a, b) => a + b, 0);
  return new Map([...out].sort(([a], [b]) => a - b).map(([osd, weight]) => [osd, sum === 0 ? 0 : weight / sum]));
}

/** The error function, to the precision of a double: a series near 0, a continued fraction far from it. */
export function erf(x: number): number {
  if (x < 0) return -erf(-x);
  if (x > 6) return 1;
  if (x < 2.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum) && n < 200; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 120; n > 0; n--) fraction = n / 2 / (x + fraction);
  return 1 - Math.exp(-x * x) / (Math.sqrt(Math.PI) * (x + fraction));
}

function statsOf(count: Spread, target: ByOsd, total: Totals): Record<Kind, KindStats> {
  const num = Math.max(target.size, 1);
  return each((kind) => {
    if (total[kind] === 0) return { max: 0, min: 0, avg: 0, stddev: 0, sum_weight: 0, score: 0 };
    const avg = total[kind] / num;
    let dev = 0;
    let score = 0;
    let weights = 0;
    for (const [osd, value] of count[kind]) {
      const share = target.get(osd) ?? 0;
      const adjusted = share === 0 ? 0 : value / share / num;
      // Only what is too full makes it worse.
      if (adjusted > avg) {
        score += share * erf((adjusted - avg) / avg / Math.sqrt(2));
        weights += share;
      }
      dev += (avg - adjusted) ** 2;
    }
    const values = [...count[kind].values()];
    return {
      max: Math.max(...values),
      min: Math.min(...values),
      avg,
      stddev: Math.sqrt(dev / Math.max(num - 1, 1)),
      sum_weight: weights,
      score: score / Math.max(weights, 1),
    };
  });
}

/** Of these pools, all when there are none named; `placement`: of the map to be looked at. */
export function balanceScore(stats: ClusterStats, placement: Placement, poolNames: readonly string[]): BalanceScore {
  const { map } = placement;
  const { crush } = map;
  const out: BalanceScore = {
    target_by_root: new Map(),
    actual_by_pool: new Map(),
    actual_by_root: new Map(),
    count_by_pool: new Map(),
    count_by_root: new Map(),
    total_by_pool: new Map(),
    total_by_root: new Map(),
    stats_by_root: new Map(),
    score_by_pool: new Map(),
    score_by_root: new Map(),
    score: 0,
  };
  const nameOf = (id: number): string => map.poolNames.get(id) ?? '';
  const pools = [...map.pools].filter(([id]) => poolNames.length === 0 || poolNames.includes(nameOf(id)));
  if (pools.length === 0) return out;
  const takes = new Set(crush.rules.flatMap((rule) => (rule === undefined ? [] : ruleTakes(rule))));
  const rootsOf = new Map<number, string[]>(pools.map(([id]) => [id, []]));
  const counts = new Map<string, Spread>();
  for (const take of [...takes].sort((a, b) => a - b)) {
    const mine = pools.filter(([, { crushRule }]) => {
      const rule = crush.rules[crushRule];
      return rule !== undefined && ruleTakes(rule).includes(take);
    });
    if (mine.length === 0) continue;
    const root = crush.nameOf(take) ?? '';
    for (const [id] of mine) rootsOf.get(id)!.push(root);
    const weights = new Map(
      [...sharesBelow(map, take)]
        .map(([osd, share]): [number, number] => [osd, (share * (map.osdWeight[osd] ?? 0)) / WEIGHT_ONE])
        .filter(([, weight]) => weight > 0),
    );
    const sum = [...weights.values()].reduce((a, b) => a + b, 0);
    const target = new Map([...weights].map(([osd, weight]) => [osd, weight / sum]));
    out.target_by_root.set(root, target);
    const none = spread();
    for (const osd of target.keys()) for (const kind of kinds) none[kind].set(osd, 0);
    counts.set(root, none);
    out.total_by_root.set(root, totals());
  }
  for (const [id, pool] of pools) {
    const mine = spread();
    const total = totals();
    for (let seed = 0; seed < pool.pgNum; seed++) {
      const sums = stats.pgs.get(id, seed)?.sums;
      const of: Totals = { pgs: 1, objects: sums?.objects ?? 0, bytes: sums?.bytes ?? 0 };
      for (const osd of placement.mapPg(id, seed).up) {
        if (osd === ITEM_NONE) continue;
        for (const kind of kinds) add(mine[kind], osd, of[kind]);
        const root = rootsOf.get(id)!.find((name) => out.target_by_root.get(name)!.has(osd));
        if (root === undefined) continue;
        for (const kind of kinds) {
          add(counts.get(root)![kind], osd, of[kind]);
          total[kind] += of[kind];
          out.total_by_root.get(root)![kind] += of[kind];
        }
      }
    }
    const name = nameOf(id);
    out.count_by_pool.set(name, mine);
    out.actual_by_pool.set(name, shares(mine, total));
    out.total_by_pool.set(name, total);
  }
  for (const [root, total] of out.total_by_root) {
    const count = counts.get(root)!;
    const stat = statsOf(count, out.target_by_root.get(root)!, total);
    out.count_by_root.set(root, count);
    out.actual_by_root.set(root, shares(count, total));
    out.stats_by_root.set(root, stat);
    out.score_by_root.set(
      root,
      each((kind) => stat[kind].score),
    );
    for (const kind of kinds) out.score += stat[kind].score;
  }
  out.score /= kinds.length * Math.max(1, out.total_by_root.size);
  return out;
}

function shares(count: Spread, total: Totals): Spread {
  return each((kind) => new Map([...count[kind]].map(([osd, n]) => [osd, n / Math.max(total[kind], 1)])));
}

/** Members that upstream has as floating-point numbers, whole or not. */
const floats: ReadonlySet<keyof BalanceScore> = new Set([
  'target_by_root',
  'actual_by_pool',
  'actual_by_root',
  'count_by_root',
  'score_by_root',
]);

/** As `balancer eval` prints it. */
export function scoreText(score: BalanceScore, what: string, verbose: boolean): string {
  const last = `score ${score.score.toFixed(6)} (lower is better)\n`;
  if (!verbose) return `${what} ${last}`;
  const names = [
    'target_by_root',
    'actual_by_pool',
    'actual_by_root',
    'count_by_pool',
    'count_by_root',
    'total_by_pool',
    'total_by_root',
    'stats_by_root',
    'score_by_pool',
    'score_by_root',
  ] as const;
  return `${what}\n${names.map((name) => `${name} ${pyRepr(score[name], floats.has(name))}\n`).join('')}${last}`;
}
