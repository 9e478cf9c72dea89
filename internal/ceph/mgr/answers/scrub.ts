import { parseOsd } from '../../mon/commands/lookup.ts';
import { EAGAIN, EINVAL, ENOENT, Refusal } from '../../mon/errno.ts';
import { parsePg, type PgId, pgText } from '../../wire/types.ts';
import type { MgrHandler, MgrView } from './context.ts';

const words = ['scrub', 'deep-scrub', 'repair'] as const;
type Word = (typeof words)[number];

function how(word: Word): { deep: boolean; repair: boolean } {
  return { deep: word !== 'scrub', repair: word === 'repair' };
}

function leaderOf(view: MgrView, { pool, seed }: PgId): number {
  return view.stats.placement.mapPg(pool, seed).actingPrimary;
}

/** One PG. Errors: EINVAL, ENOENT, EAGAIN. */
function scrubPg(word: Word): MgrHandler {
  return (view, args) => {
    const text = args.text('pgid');
    const pg = parsePg(text);
    if (pg === undefined) throw new Refusal(EINVAL, `invalid pgid '${text}'`);
    const pool = view.stats.map.pools.get(pg.pool);
    if (pool === undefined || pg.seed >= pool.pgNum) throw new Refusal(ENOENT, `pg ${text} does not exist`);
    const osd = leaderOf(view, pg);
    if (osd < 0) throw new Refusal(EAGAIN, `pg ${pgText(pg)} has no primary osd`);
    if (!view.scrub(osd, [pg], how(word)))
      throw new Refusal(EAGAIN, `pg ${pgText(pg)} primary osd.${osd} is not currently connected`);
    return { status: `instructing pg ${pgText(pg)} on osd.${osd} to ${word}` };
  };
}

/** All that an OSD leads, or every OSD. Errors: EINVAL, EAGAIN. */
function scrubOsd(word: Word): MgrHandler {
  return (view, args) => {
    const who = args.text('who');
    const { map } = view.stats;
    let osds: number[];
    if (who === '*' || who === 'all' || who === 'any') osds = map.osds().filter((osd) => map.isUp(osd));
    else {
      const osd = parseOsd(who);
      if (!map.isUp(osd)) throw new Refusal(EAGAIN, `osd.${osd} is not up`);
      osds = [osd];
    }
    const led = ledBy(view, [...map.pools.keys()]);
    const told: number[] = [];
    const failed: number[] = [];
    for (const osd of osds) (view.scrub(osd, led.get(osd) ?? [], how(word)) ? told : failed).push(osd);
    if (told.length === 0)
      throw new Refusal(EAGAIN, `failed to instruct osd(s) ${failed.join(',')} to ${word} (not connected)`);
    const rest = failed.length === 0 ? '' : `; osd(s) ${failed.join(',')} were not connected`;
    return { status: `instructed osd(s) ${told.join(',')} to ${word}${rest}` };
  };
}

/** PGs of pools by the OSD that leads them. */
function ledBy(view: MgrView, pools: readonly number[]): Map<number, PgId[]> {
  const led = new Map<number, PgId[]>();
  for (const pool of pools)
    for (let seed = 0; seed < view.stats.map.pools.get(pool)!.pgNum; seed++) {
      const pg = { pool, seed };
      const osd = leaderOf(view, pg);
      if (osd < 0) continue;
      const list = led.get(osd);
      if (list === undefined) led.set(osd, [pg]);
      else list.push(pg);
    }
  return led;
}

/** All PGs of pools. Errors: ENOENT, EAGAIN. */
function scrubPools(word: Word): MgrHandler {
  return (view, args) => {
    const pools = args.list('who').map((name) => {
      const pool = view.stats.map.poolId(name);
      if (pool === undefined) throw new Refusal(ENOENT, `unrecognized pool '${name}'`);
      return pool;
    });
    for (const [osd, pgs] of ledBy(view, pools))
      if (!view.scrub(osd, pgs, how(word))) throw new Refusal(EAGAIN, `osd.${osd} is not currently connected`);
    return {};
  };
}

/** Commands that make OSDs scrub. */
export const scrubAnswers: Readonly<Record<string, MgrHandler>> = Object.fromEntries(
  words.flatMap((word) => [
    [`pg ${word}`, scrubPg(word)],
    [`osd ${word}`, scrubOsd(word)],
    [`osd pool ${word}`, scrubPools(word)],
  ]),
);
