import { parseOsd } from '../../mon/commands/lookup.ts';
import type { Arguments } from '../../mon/commands/signature.ts';
import { EAGAIN, EINVAL, ENOENT, Refusal } from '../../mon/errno.ts';
import { utimeToMs } from '../../wire/encoding.ts';
import {
  hasPgState,
  PG_ACTIVE,
  PG_CLEAN,
  PG_DEGRADED,
  PG_STALE,
  PG_UNDERSIZED,
  type PgStat,
  pgStateNames,
} from '../../wire/messages/osd_mgr.ts';
import { dumpView, pgDumpJson, pgDumpText, pgListText, pgsBriefText, poolsJson } from '../format/pg-dump.ts';
import { pgJson } from '../format/stat-json.ts';
import { pgStatJson, pgStatText } from '../format/summary.ts';
import { type MgrHandler, type MgrView, wrapped } from './context.ts';

/** True for PGs in one of the states; no states: every PG. Errors: EINVAL. */
function stateFilter(states: readonly string[]): (stat: PgStat) => boolean {
  if (states.length === 0 || states.includes('all')) return () => true;
  const wanted = states.map((name) => {
    if (name === 'unknown') return 0;
    const bit = pgStateNames.find(([, known]) => known === name)?.[0];
    if (bit === undefined) {
      const choices = pgStateNames.filter(([b]) => b < 2 ** 32).map(([, n]) => n);
      throw new Refusal(EINVAL, `'${name}' is not a valid pg state, available choices: ${choices.join('+')}`);
    }
    return bit;
  });
  return ({ state }) => wanted.some((bit) => (bit === 0 ? state === 0 : hasPgState(state, bit)));
}

function list(view: MgrView, filter: (stat: PgStat) => boolean): PgStat[] {
  return [...view.stats.pgs.entries()].map(([, stat]) => stat).filter(filter);
}

/** The listing commands differ in how they pick PGs. */
function lister(pick: (view: MgrView, args: Arguments) => (stat: PgStat) => boolean): MgrHandler {
  return (view, args, format) => {
    const states = stateFilter(args.list('states'));
    const picks = pick(view, args);
    const pgs = list(view, (stat) => picks(stat) && states(stat));
    return wrapped(view, format, {
      json: () => ({ pg_stats: pgs.map(pgJson) }),
      text: () => pgListText(pgs, view.nowMs()),
    });
  };
}

/** PGs of the pool that the arguments name by number, if they do. Errors: ENOENT. */
function inPool(view: MgrView, args: Arguments): (stat: PgStat) => boolean {
  const pool = args.optionalNumber('pool');
  if (pool === undefined) return () => true;
  if (!view.stats.map.pools.has(pool)) throw new Refusal(ENOENT, `pool ${pool} does not exist`);
  return ({ pg }) => pg.pool === pool;
}

function upOsd(view: MgrView, args: Arguments): number {
  const osd = parseOsd(args.text('osd'));
  if (!view.stats.map.isUp(osd)) throw new Refusal(EAGAIN, `osd ${osd} is not up`);
  return osd;
}

const dump: MgrHandler = (view, args, format) => {
  const words = [...new Set(args.list('dumpcontents'))].sort();
  if (words.length === 0) words.push('all');
  const what = new Set(words.map((word) => (word === 'summary' ? 'sum' : word)));
  const dumped = dumpView(view.stats);
  const answer = wrapped(view, format, {
    json: () => pgDumpJson(dumped, what),
    text: () => pgDumpText(dumped, what),
  });
  return { ...answer, status: `dumped ${words.join(',')}` };
};

type Stuck = 'inactive' | 'unclean' | 'stale' | 'undersized' | 'degraded';

function isStuck(stat: PgStat, how: Stuck, cutoffMs: number): boolean {
  const has = (bit: number): boolean => hasPgState(stat.state, bit);
  switch (how) {
    case 'inactive':
      return !has(PG_ACTIVE) && utimeToMs(stat.lastActive) < cutoffMs;
    case 'unclean':
      return !has(PG_CLEAN) && utimeToMs(stat.lastClean) < cutoffMs;
    case 'degraded':
      return has(PG_DEGRADED) && utimeToMs(stat.lastUndegraded) < cutoffMs;
    case 'undersized':
      return has(PG_UNDERSIZED) && utimeToMs(stat.lastFullsized) < cutoffMs;
    case 'stale':
      return has(PG_STALE) && utimeToMs(stat.lastUnstale) < cutoffMs;
  }
}

const dumpStuck: MgrHandler = (view, args, format) => {
  const kinds = args.list('stuckops') as Stuck[];
  if (kinds.length === 0) kinds.push('unclean');
  const cutoffMs = view.nowMs() - (args.optionalNumber('threshold') ?? view.options.stuckSec) * 1000;
  const pgs = list(view, (stat) => kinds.some((kind) => isStuck(stat, kind, cutoffMs)));
  const answer = wrapped(view, format, {
    json: () => ({ stuck_pg_stats: pgs.map(pgJson) }),
    text: () => (pgs.length === 0 ? '' : pgsBriefText(pgs)),
    broken: true,
  });
  return { ...answer, status: 'ok' };
};

const debug: MgrHandler = (view, args, format) => {
  const unfound = args.text('debugop') === 'unfound_objects_exist';
  const found = list(view, ({ sums }) => (unfound ? sums.objectsUnfound : sums.objectsDegraded) > 0).length > 0;
  const word = found ? 'TRUE\n' : 'FALSE\n';
  const { output = '' } = wrapped(view, format, { json: () => ({}), text: () => '' });
  return { output: word + String(output) };
};

/** What `ceph pg ...` asks the mgr. */
export const pgAnswers: Readonly<Record<string, MgrHandler>> = {
  'pg stat': (view, _args, format) => {
    const dumped = dumpView(view.stats);
    return wrapped(view, format, {
      json: () => ({ pg_summary: pgStatJson(dumped) }),
      text: () => `${pgStatText(dumped)}\n`,
      broken: true,
    });
  },
  'pg dump': dump,
  'pg dump_json': (view, args, format) => dump(view, args, format === 'plain' ? 'json' : format),
  'pg dump_pools_json': (view, _args, format) => ({
    ...wrapped(view, format === 'plain' ? 'json' : format, {
      json: () => ({ pool_stats: poolsJson(dumpView(view.stats)) }),
      text: () => '',
    }),
    status: 'dumped pools',
  }),
  'pg ls': lister(inPool),
  'pg ls-by-pool': lister((view, args) => {
    const name = args.text('poolstr');
    const pool = view.stats.map.poolId(name);
    if (pool === undefined) throw new Refusal(ENOENT, `pool ${name} does not exist`);
    return ({ pg }) => pg.pool === pool;
  }),
  'pg ls-by-osd': lister((view, args) => {
    const osd = upOsd(view, args);
    const pool = inPool(view, args);
    return (stat) => pool(stat) && stat.acting.includes(osd);
  }),
  'pg ls-by-primary': lister((view, args) => {
    const osd = upOsd(view, args);
    const pool = inPool(view, args);
    return (stat) => pool(stat) && stat.actingPrimary === osd;
  }),
  'pg dump_stuck': dumpStuck,
  'pg debug': debug,
};
