import { ruleTakes, ruleWeights } from '../crush/rules.ts';
import { autoscaleModeNames, type PgPool, POOL_BULK, poolOptionNames, rawUsedRate } from '../maps/pool.ts';
import { poolNumbers } from '../mon/format/df.ts';
import type { HealthCheckDigest, PoolDigest } from '../wire/messages/mgr_mon.ts';
import type { ClusterStats } from './cluster-stats.ts';
import { fixedWidth } from './format/osd-status.ts';
import { pyRepr } from './format/python.ts';
import { poolDigests } from './sums.ts';

/** pg_num of pools that say nothing else (`PG_NUM_MIN` of upstream's module). */
const pgNumMin = 32;

export interface AutoscaleOptions {
  /** `mon_target_pg_per_osd`. */
  targetPgsPerOsd: number;
  /** By which factor pg_num must be off before it is changed; 1 or more. */
  threshold: number;
}

export function autoscaleOptions(config: ReadonlyMap<string, string>): AutoscaleOptions {
  const value = Number(config.get('mon_target_pg_per_osd') ?? Number.NaN);
  return { targetPgsPerOsd: Number.isFinite(value) ? value : 100, threshold: 3 };
}

/** What the autoscaler thinks of one pool; the names are those of upstream's JSON. */
export interface PoolScale {
  id: number;
  name: string;
  root: number;
  mode: string;
  pgNumTarget: number;
  targetBytes: number;
  rawUsedRate: number;
  capacity: number;
  /** Bytes that clients stored, and what copies and shards make of them. */
  logicalUsed: number;
  actualRawUsed: number;
  rawUsed: number;
  actualRatio: number;
  capacityRatio: number;
  targetRatio: number;
  effectiveTargetRatio: number;
  ideal: number;
  final: number;
  wouldAdjust: boolean;
  bias: number;
  bulk: boolean;
}

/** OSDs on which some pools share the room. */
interface Subtree {
  osds: Set<number>;
  pgsLeft: number;
  capacity: number;
  pools: string[];
  /** Pools whose PGs are given out. */
  served: number;
  targetRatio: number;
  targetBytes: number;
}

export interface AutoscaleStatus {
  pools: PoolScale[];
  /** By the root of the CRUSH rule. */
  subtrees: ReadonlyMap<number, Pick<Subtree, 'capacity' | 'pools'>>;
}

const optionIds: ReadonlyMap<string, number> = new Map([...poolOptionNames].map(([id, name]) => [name, id]));

/** 0: not set. */
function poolOption(pool: PgPool, name: string): number {
  const option = pool.options.get(optionIds.get(name)!);
  return option === undefined || option.type === 0 ? 0 : Number(option.value);
}

/** The power of two next to `n`; 0 for less than 1. */
export function nearestPowerOfTwo(n: number): number {
  const whole = Math.trunc(n);
  if (whole <= 0) return 0;
  const high = 2 ** Math.ceil(Math.log2(whole));
  const low = high / 2;
  return high - n > n - low ? Math.floor(low) : high;
}

/** The share that a pool's operator expects, of what all such shares and sizes leave (`effective_target_ratio`). */
function effectiveRatio(ratio: number, tree: Subtree): number {
  let share = tree.targetRatio > 0 ? ratio / tree.targetRatio : ratio;
  if (tree.targetBytes > 0 && tree.capacity > 0) share *= 1 - Math.min(1, tree.targetBytes / tree.capacity);
  return share;
}

function rootOf(stats: ClusterStats, pool: PgPool): number | undefined {
  const rule = stats.map.crush.rules[pool.crushRule];
  return rule === undefined ? undefined : ruleTakes(rule)[0];
}

/** The subtrees of all pools; roots that share OSDs with others are left out of scaling. */
function subtreesOf(
  stats: ClusterStats,
  options: AutoscaleOptions,
): { byRoot: Map<number, Subtree>; overlapped: Set<number> } {
  const byRoot = new Map<number, Subtree>();
  const overlapped = new Set<number>();
  for (const [id, pool] of stats.map.pools) {
    const root = rootOf(stats, pool);
    if (root === undefined) continue;
    const osds = new Set(ruleWeights(stats.map.crush, pool.crushRule).keys());
    let tree: Subtree | undefined;
    for (const [other, known] of byRoot) {
      if (![...osds].some((osd) => known.osds.has(osd))) continue;
      tree = known;
      if (other !== root) overlapped.add(other).add(root);
      break;
    }
    tree ??= { osds: new Set(), pgsLeft: 0, capacity: 0, pools: [], served: 0, targetRatio: 0, targetBytes: 0 };
    byRoot.set(root, tree);
    for (const osd of osds) tree.osds.add(osd);
    tree.pools.push(stats.map.poolNames.get(id) ?? '');
    const ratio = poolOption(pool, 'target_size_ratio');
    if (ratio > 0) tree.targetRatio += ratio;
    else tree.targetBytes += poolOption(pool, 'target_size_bytes') * rawUsedRate(stats.map, pool);
  }
  for (const tree of new Set(byRoot.values())) {
    tree.pgsLeft = tree.osds.size * options.targetPgsPerOsd;
    // Physical room: what weights make of it at the moment does not matter.
    for (const osd of tree.osds) tree.capacity += stats.osds.get(osd)?.stat.totalBytes ?? 0;
  }
  return { byRoot, overlapped };
}

interface Candidate {
  id: number;
  pool: PgPool;
  tree: Subtree;
  root: number;
  scale: Omit<PoolScale, 'ideal' | 'final' | 'wouldAdjust'>;
}

function candidate(stats: ClusterStats, id: number, pool: PgPool, root: number, tree: Subtree, digest: PoolDigest) {
  const targetRatio = poolOption(pool, 'target_size_ratio');
  // The ratio counts where both are set.
  const targetBytes = targetRatio === 0 ? poolOption(pool, 'target_size_bytes') : 0;
  const rate = rawUsedRate(stats.map, pool);
  const logicalUsed = poolNumbers(stats.map, pool, digest).stored;
  const actualRawUsed = logicalUsed * rate;
  const rawUsed = Math.max(logicalUsed, targetBytes) * rate;
  const effectiveTargetRatio = effectiveRatio(targetRatio, tree);
  const scale: Candidate['scale'] = {
    id,
    name: stats.map.poolNames.get(id) ?? '',
    root,
    mode: autoscaleModeNames[pool.autoscaleMode] ?? 'unknown',
    pgNumTarget: pool.pgNumTarget,
    targetBytes,
    rawUsedRate: rate,
    capacity: tree.capacity,
    logicalUsed,
    actualRawUsed,
    rawUsed,
    actualRatio: actualRawUsed / tree.capacity,
    capacityRatio: Math.max(rawUsed / tree.capacity, effectiveTargetRatio),
    targetRatio,
    effectiveTargetRatio,
    bias: poolOption(pool, 'pg_autoscale_bias') || 1,
    bulk: (pool.flags & POOL_BULK) !== 0,
  };
  return { id, pool, tree, root, scale };
}

/**
 * What pg_num the pools should have (`pg_autoscaler/module.py` of 16.2.15): pools get PGs by the room that they take or are expected to take; `bulk` pools
 * share what the others leave evenly, those that take more than an even share first.
 */
export function autoscaleStatus(stats: ClusterStats, options: AutoscaleOptions): AutoscaleStatus {
  const { byRoot, overlapped } = subtreesOf(stats, options);
  const digests = poolDigests(stats);
  const pools: PoolScale[] = [];
  const give = ({ pool, scale }: Candidate, ratio: number, pgs: number): void => {
    const ideal = (pgs / pool.size) * scale.bias;
    const least = poolOption(pool, 'pg_num_min') || pgNumMin;
    const most = poolOption(pool, 'pg_num_max');
    let final = Math.max(least, nearestPowerOfTwo(ideal));
    if (most > 0 && most < final) final = most;
    const off = final > pool.pgNumTarget * options.threshold || final < pool.pgNumTarget / options.threshold;
    const wouldAdjust = off && ratio >= 0 && ratio <= 1 && scale.mode === 'on';
    pools.push({ ...scale, ideal: Math.trunc(ideal), final, wouldAdjust });
  };
  const take = (each: Candidate, ratio: number): void => {
    const used = ratio * each.tree.pgsLeft;
    each.tree.pgsLeft -= Math.trunc(used);
    each.tree.served++;
    give(each, ratio, used);
  };
  const evenShare = ({ tree }: Candidate): number => 1 / (tree.pools.length - tree.served);

  const bulk: Candidate[] = [];
  for (const [id, pool] of stats.map.pools) {
    const root = rootOf(stats, pool);
    const tree = root === undefined ? undefined : byRoot.get(root);
    const digest = digests.get(id);
    if (root === undefined || tree === undefined || digest === undefined) continue;
    if (overlapped.has(root) || tree.capacity === 0) continue;
    const each = candidate(stats, id, pool, root, tree, digest);
    if (each.scale.bulk) bulk.push(each);
    else take(each, each.scale.capacityRatio);
  }
  const even: Candidate[] = [];
  for (const each of bulk) {
    if (each.scale.capacityRatio > evenShare(each)) take(each, each.scale.capacityRatio);
    else even.push(each);
  }
  for (const each of even) give(each, evenShare(each), evenShare(each) * each.tree.pgsLeft);
  return { pools, subtrees: byRoot };
}

/** What the autoscaler has to say to the operator. */
export function autoscaleChecks(stats: ClusterStats, options: AutoscaleOptions): HealthCheckDigest[] {
  const wanted = ['target_size_bytes', 'target_size_ratio'];
  const asked = ({ autoscaleMode }: PgPool): boolean => autoscaleModeNames[autoscaleMode] === 'warn';
  const all = [...stats.map.pools.values()];
  if (!all.some((pool) => asked(pool) || wanted.some((name) => poolOption(pool, name) > 0))) return [];
  const status = autoscaleStatus(stats, options);
  const out: HealthCheckDigest[] = [];
  const add = (code: string, what: string, detail: string[]): void => {
    const summary = `${detail.length} ${what}`;
    if (detail.length > 0) out.push({ code, severity: 'HEALTH_WARN', summary, count: detail.length, detail });
  };
  const warned = status.pools.filter(({ mode }) => mode === 'warn');
  const should = ({ name, pgNumTarget, final }: PoolScale): string =>
    `Pool ${name} has ${pgNumTarget} placement groups, should have ${final}`;
  const few = warned.filter(({ final, pgNumTarget }) => final > pgNumTarget).map(should);
  const many = warned.filter(({ final, pgNumTarget }) => final < pgNumTarget).map(should);
  add('POOL_TOO_FEW_PGS', 'pools have too few placement groups', few);
  add('POOL_TOO_MANY_PGS', 'pools have too many placement groups', many);

  const overcommitted: string[] = [];
  for (const [root, { capacity, pools }] of status.subtrees) {
    const mine = status.pools.filter((pool) => pool.root === root);
    const sized = mine.filter(({ targetBytes }) => targetBytes > 0);
    const target = Math.trunc(sized.reduce((sum, p) => sum + p.targetBytes * p.rawUsedRate, 0));
    const total = mine.reduce((sum, p) => sum + Math.max(p.actualRawUsed, p.targetBytes * p.rawUsedRate), 0);
    if (capacity === 0 || target === 0 || total <= capacity) continue;
    const names = pyRepr(sized.map(({ name }) => name));
    overcommitted.push(
      `Pools ${pyRepr(pools)} overcommit available storage by ${(total / capacity).toFixed(3)}x due to target_size_bytes ${fixedWidth(target, 5, 1024)} on pools ${names}`,
    );
  }
  add('POOL_TARGET_SIZE_BYTES_OVERCOMMITTED', 'subtrees have overcommitted pool target_size_bytes', overcommitted);
  const both = status.pools
    .filter(({ id }) => wanted.every((name) => poolOption(stats.map.pools.get(id)!, name) > 0))
    .map(({ name }) => `Pool ${name} has target_size_bytes and target_size_ratio set`);
  add('POOL_HAS_TARGET_SIZE_BYTES_AND_RATIO', 'pools have both target_size_bytes and target_size_ratio set', both);
  return out;
}
