import { seedAt } from '../maps/pg-num.ts';
import type { PgPool } from '../maps/pool.ts';
import {
  addObjectSums,
  hasPgState,
  PG_ACTIVE,
  PG_CLEAN,
  PG_CREATING,
  PG_PEERED,
  zeroObjectSums,
} from '../wire/messages/osd_mgr.ts';
import type { PgId } from '../wire/types.ts';
import type { ClusterStats } from './cluster-stats.ts';

export interface AdjustOptions {
  /** `mon_osd_max_creating_pgs`. */
  maxCreating: number;
  /** `target_max_misplaced_ratio`. */
  maxMisplaced: number;
  /** `mgr_debug_aggressive_pg_num_changes`: without regard to the load. */
  aggressive: boolean;
}

export function adjustOptions(config: ReadonlyMap<string, string>): AdjustOptions {
  const number = (name: string, fallback: number): number => {
    const value = Number(config.get(name) ?? Number.NaN);
    return Number.isFinite(value) ? value : fallback;
  };
  return {
    maxCreating: Math.max(1, number('mon_osd_max_creating_pgs', 1024)),
    maxMisplaced: number('target_max_misplaced_ratio', 0.05),
    aggressive: config.get('mgr_debug_aggressive_pg_num_changes') === 'true',
  };
}

/** Next steps towards the wanted numbers of PGs: pool -> `pg_num_actual`, `pgp_num_actual`. */
export interface Adjustments {
  pgNum: Map<number, number>;
  pgpNum: Map<number, number>;
  /** Upmaps of PGs that are to merge stand in the way. */
  clearUpmaps: PgId[];
}

/** Of pools whose PGs are to be scaled: pool -> the pg_num that it should have. */
export type Wishes = ReadonlyMap<number, number>;

/** While PGs may be placed elsewhere, pgp_num goes ahead of merges by no more than this many PGs, or `maxMisplaced` of all. */
const outpaceMerges = 8;

/** `DaemonServer::adjust_pgs`: splits come in one step, places and merges as the load allows. */
export function adjustPgs(stats: ClusterStats, options: AdjustOptions): Adjustments {
  const out: Adjustments = { pgNum: new Map(), pgpNum: new Map(), clearUpmaps: [] };
  const load = loadOf(stats);
  let left = options.maxCreating - load.creating;
  if (left <= 0) return out;
  for (const [id, pool] of stats.map.pools) {
    if (pool.pgNumTarget < pool.pgNum) {
      if (mayMerge(stats, id, pool, out.clearUpmaps)) {
        out.pgNum.set(id, pool.pgNum - 1);
        continue;
      }
    } else if (pool.pgNumTarget > pool.pgNum && allServe(stats, id, pool)) {
      const add = Math.min(left, pool.pgNumTarget - pool.pgNum);
      left -= add;
      out.pgNum.set(id, pool.pgNum + add);
    }
    const next = nextPlaces(pool, load, options, objectsOf(stats, id, pool));
    if (next !== undefined) out.pgpNum.set(id, next);
    if (left === 0) break;
  }
  return out;
}

interface Load {
  creating: number;
  misplaced: number;
  /** PGs are inactive or unknown, or objects are degraded. */
  troubled: boolean;
}

function loadOf(stats: ClusterStats): Load {
  const sums = zeroObjectSums();
  let creating = 0;
  let inactive = 0;
  for (const [, stat] of stats.pgs.entries()) {
    addObjectSums(sums, stat.sums);
    if (stat.state === 0 || hasPgState(stat.state, PG_CREATING)) creating++;
    if (!hasPgState(stat.state, PG_ACTIVE)) inactive++;
  }
  const copies = Math.max(1, sums.objectCopies);
  return { creating, misplaced: sums.objectsMisplaced / copies, troubled: inactive > 0 || sums.objectsDegraded > 0 };
}

function objectsOf(stats: ClusterStats, id: number, pool: PgPool): number {
  let objects = 0;
  for (let seed = 0; seed < pool.pgNum; seed++) objects += stats.pgs.get(id, seed)?.sums.objects ?? 0;
  return objects;
}

/** Whether the last PG can go into the one it came from now: both clean, on the same OSDs, where CRUSH puts them. */
function mayMerge(stats: ClusterStats, id: number, pool: PgPool, clearUpmaps: PgId[]): boolean {
  let may = pool.pgNum === pool.pgNumPending && pool.pgNum !== pool.pgpNum;
  const source = pool.pgNum - 1;
  const seeds = [source, seedAt(source, source)];
  for (const seed of seeds) {
    if (stats.map.pgUpmapItems.get(id, seed) !== undefined) {
      clearUpmaps.push({ pool: id, seed });
      may = false;
    }
    const state = stats.pgs.get(id, seed)?.state ?? 0;
    if (!hasPgState(state, PG_ACTIVE) || !hasPgState(state, PG_CLEAN)) may = false;
  }
  const [a, b] = seeds.map((seed) => stats.pgs.get(id, seed)?.acting.join() ?? '');
  return may && a === b;
}

function allServe(stats: ClusterStats, id: number, pool: PgPool): boolean {
  for (let seed = 0; seed < pool.pgNum; seed++) {
    const state = stats.pgs.get(id, seed)?.state ?? 0;
    if (!hasPgState(state, PG_ACTIVE) && !hasPgState(state, PG_PEERED)) return false;
  }
  return true;
}

function nextPlaces(pool: PgPool, load: Load, options: AdjustOptions, objects: number): number | undefined {
  const { pgNum, pgpNum, pgpNumTarget } = pool;
  const target = Math.min(pool.pgNumPending, pgpNumTarget);
  if (target === pgpNum || (target > pgpNum && pgpNum === pgNum)) return undefined;
  if (options.aggressive) return target;
  if (load.troubled || load.misplaced > options.maxMisplaced) return undefined;
  // Next to nothing has to move.
  if (pgpNumTarget > pgpNum && objects <= pgpNumTarget) return target;
  // Objects are taken to be the same in all PGs; half of what may be out of place is enough at a time.
  const room = Math.min(options.maxMisplaced - load.misplaced, options.maxMisplaced / 2);
  const step = Math.max(1, Math.floor(pgNum * room));
  const next = Math.min(Math.max(target, pgpNum - step), pgpNum + step);
  if (pgpNumTarget !== pool.pgNumTarget || pgpNumTarget >= pgNum) return next;
  const ahead = Math.max(outpaceMerges, Math.floor(pgNum * options.maxMisplaced));
  return Math.max(next, pgNum - ahead);
}
