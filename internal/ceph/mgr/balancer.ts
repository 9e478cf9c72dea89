import { AppError } from '../../base/errors.ts';
import type { Random } from '../../base/random.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { addObjectSums, hasPgState, PG_ACTIVE, pgStateText, zeroObjectSums } from '../wire/messages/osd_mgr.ts';
import { pgText } from '../wire/types.ts';
import type { ClusterStats } from './cluster-stats.ts';
import { pyAsctime, pyDuration } from './format/python.ts';
import type { ModuleOptions, MonCommand } from './module-options.ts';
import { calcPgUpmaps, type UpmapItem } from './upmap.ts';
import { EAGAIN, EALREADY, ENOENT, ENOEXEC, ENOTSUP } from '../mon/errno.ts';

/** Places of PGs to be changed, and the map that they were found for. */
export interface BalancePlan {
  readonly name: string;
  readonly mode: string;
  readonly map: OsdMap;
  /** Names of pools; empty: all. */
  readonly pools: readonly string[];
  /** By PG: its exceptions, undefined when it is to have none any more. */
  readonly changes: ReadonlyMap<string, readonly UpmapItem[] | undefined>;
}

/** Why there is no plan: upstream's number and words. */
export interface NoPlan {
  readonly errno: number;
  readonly why: string;
}

const active = 'active+clean';
const created = 'Optimization plan created successfully';

export function isPlan(result: BalancePlan | NoPlan): result is BalancePlan {
  return 'changes' in result;
}

/** Nothing is moved while something is wrong, or much is moving already. */
function trouble(stats: ClusterStats, maxMisplaced: number): NoPlan | undefined {
  const sums = zeroObjectSums();
  let pgs = 0;
  let unknown = 0;
  let inactive = 0;
  for (const [, stat] of stats.pgs.entries()) {
    pgs++;
    addObjectSums(sums, stat.sums);
    if (stat.state === 0) unknown++;
    else if (!hasPgState(stat.state, PG_ACTIVE)) inactive++;
  }
  const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);
  const misplaced = share(sums.objectsMisplaced, sums.objectCopies);
  const no = (why: string): NoPlan => ({ errno: EAGAIN, why: `${why}; try again later` });
  if (unknown > 0) return no(`Some PGs (${share(unknown, pgs).toFixed(6)}) are unknown`);
  if (sums.objectsDegraded > 0)
    return no(`Some objects (${share(sums.objectsDegraded, sums.objectCopies).toFixed(6)}) are degraded`);
  if (inactive > 0) return no(`Some PGs (${share(inactive, pgs).toFixed(6)}) are inactive`);
  if (misplaced >= maxMisplaced)
    return no(`Too many objects (${misplaced.toFixed(6)} > ${maxMisplaced.toFixed(6)}) are misplaced`);
  return undefined;
}

function shuffled<T>(list: readonly T[], random: Random): T[] {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random.float() * (i + 1));
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

/** What of upstream's module balancer works by exceptions for single PGs (mode `upmap`). */
export class Balancer {
  readonly #options: ModuleOptions;
  readonly #random: Random;
  readonly plans = new Map<string, BalancePlan>();
  #started = '';
  #duration = '';
  #result = '';
  #needless = false;

  constructor(options: ModuleOptions, random: Random) {
    this.#options = options;
    this.#random = random;
  }

  get active(): boolean {
    return this.#options.flag('balancer', 'active', true);
  }
  get mode(): string {
    return this.#options.text('balancer', 'mode', 'upmap');
  }
  /** Pools that it works on of itself; empty: all. */
  get poolIds(): number[] {
    const text = this.#options.text('balancer', 'pool_ids', '');
    return text === '' ? [] : text.split(',').map(Number);
  }
  /** Their names, of those that are there. */
  poolNames({ poolNames }: OsdMap): string[] {
    return this.poolIds.flatMap((id) => poolNames.get(id) ?? []);
  }
  get sleepMs(): number {
    return this.#options.number('balancer', 'sleep_interval', 60) * 1000;
  }

  set(name: string, value: string): Promise<void> {
    return this.#options.set('balancer', name, value);
  }

  /** Whether it may work now: `begin_time`, `end_time` (HHMM) and the days of the week, by the clock of UTC. */
  permitted(nowMs: number): boolean {
    const date = new Date(nowMs);
    const two = (n: number): string => String(n).padStart(2, '0');
    const time = `${two(date.getUTCHours())}${two(date.getUTCMinutes())}`;
    const within = <T>(now: T, begin: T, end: T): boolean =>
      begin <= end ? begin <= now && now < end : now >= begin || now < end;
    const begin = this.#options.text('balancer', 'begin_time', '0000');
    const end = this.#options.text('balancer', 'end_time', '2400');
    const first = this.#options.number('balancer', 'begin_weekday', 0);
    const last = this.#options.number('balancer', 'end_weekday', 7);
    return within(time, begin, end) && within(date.getUTCDay(), first, last);
  }

  status(): Record<string, unknown> {
    return {
      active: this.active,
      last_optimize_duration: this.#duration,
      last_optimize_started: this.#started,
      mode: this.mode,
      no_optimization_needed: this.#needless,
      optimize_result: this.#result,
      plans: [...this.plans.keys()],
    };
  }

  /** Looks for what would make it more even, in these pools or in all; says how it went in `status`. */
  optimize(
    name: string,
    stats: ClusterStats,
    pools: readonly string[],
    maxMisplaced: number,
    time: { now(): number; monotonic(): number },
  ): BalancePlan | NoPlan {
    this.#started = pyAsctime(time.now());
    const begun = time.monotonic();
    const found = this.#search(name, stats, pools, maxMisplaced);
    this.#duration = pyDuration(time.monotonic() - begun);
    this.#result = isPlan(found) ? created : found.why;
    return found;
  }

  #search(name: string, stats: ClusterStats, pools: readonly string[], maxMisplaced: number): BalancePlan | NoPlan {
    const wrong = trouble(stats, maxMisplaced);
    if (wrong !== undefined) return wrong;
    const { mode } = this;
    if (mode === 'none') return { errno: ENOEXEC, why: 'Please do "ceph balancer mode" to choose a valid mode first' };
    if (mode !== 'upmap')
      return { errno: ENOTSUP, why: `the mode ${mode} is not in this version: "ceph balancer mode upmap"` };
    const { map } = stats;
    if (map.pools.size === 0) return { errno: ENOENT, why: 'No pools available' };
    const maxDeviation = this.#options.number('balancer', 'upmap_max_deviation', 5);
    let left = this.#options.number('balancer', 'upmap_max_optimizations', 10);
    const changes = new Map<string, readonly UpmapItem[] | undefined>();
    const chosen = [...map.pools].filter(
      // Pools whose PGs are about to merge are left alone.
      ([id, pool]) =>
        pool.pgNum <= pool.pgNumTarget && (pools.length === 0 || pools.includes(map.poolNames.get(id) ?? '')),
    );
    for (const [id, pool] of shuffled(chosen, this.#random)) {
      if (left <= 0) break;
      // Scrubbing ones are not disturbed.
      let idle = 0;
      for (let seed = 0; seed < pool.pgNum; seed++)
        if (pgStateText(stats.pgs.get(id, seed)?.state ?? 0) === active) idle++;
      const found = calcPgUpmaps(map, id, { maxDeviation, max: Math.min(left, idle) });
      left -= found.size;
      for (const [seed, items] of found) changes.set(pgText({ pool: id, seed }), items);
    }
    if (changes.size > 0) return { name, mode, map, pools, changes };
    this.#needless = true;
    return {
      errno: EALREADY,
      why: 'Unable to find further optimization, or pool(s) pg_num is decreasing, or distribution is already perfect',
    };
  }
}

/** Has the mon make the changes of a plan. Errors: MON, with what it said. */
export async function executePlan(plan: BalancePlan, mon: MonCommand): Promise<void> {
  for (const [pgid, items] of plan.changes) {
    const command =
      items === undefined
        ? { prefix: 'osd rm-pg-upmap-items', pgid }
        : { prefix: 'osd pg-upmap-items', pgid, id: items.flat().map(String) };
    const { code, status } = await mon(command);
    if (code < 0) throw new AppError('MON', status);
  }
}
