import { EINVAL, ENOENT, Refusal } from '../../mon/errno.ts';
import {
  hasPgState,
  PG_BACKFILL_WAIT,
  PG_BACKFILLING,
  PG_DEGRADED,
  PG_FORCED_BACKFILL,
  PG_FORCED_RECOVERY,
  PG_RECOVERING,
  PG_RECOVERY_WAIT,
} from '../../wire/messages/osd_mgr.ts';
import { parsePg, type PgId, pgText } from '../../wire/types.ts';
import type { MgrHandler, MgrView } from './context.ts';

type What = 'recovery' | 'backfill';

const words: Readonly<Record<What, { need: string; forced: number; due: readonly number[] }>> = {
  recovery: { need: 'recovery', forced: PG_FORCED_RECOVERY, due: [PG_DEGRADED, PG_RECOVERY_WAIT, PG_RECOVERING] },
  backfill: { need: 'backfilling', forced: PG_FORCED_BACKFILL, due: [PG_DEGRADED, PG_BACKFILL_WAIT, PG_BACKFILLING] },
};

/** Why the PG is left out, as upstream words it (`DaemonServer::_handle_command`); undefined: it is not. `wrong`: that is an error of whoever asked. */
function leftOut(view: MgrView, pg: PgId, what: What, wanted: boolean): { why: string; wrong: number } | undefined {
  const { need, forced, due } = words[what];
  const state = view.stats.pgs.get(pg.pool, pg.seed)?.state;
  if (state === undefined) return { why: 'does not exist', wrong: ENOENT };
  const is = hasPgState(state, forced);
  if (!wanted) return is ? undefined : { why: `${what} not forced`, wrong: 0 };
  if (!due.some((bit) => hasPgState(state, bit))) return { why: `doesn't require ${need}`, wrong: 0 };
  return is ? { why: `${what} already forced`, wrong: EINVAL } : undefined;
}

function force(view: MgrView, pgs: readonly PgId[], what: What, wanted: boolean): string {
  let said = '';
  let errno = 0;
  const byOsd = new Map<number, PgId[]>();
  for (const pg of pgs) {
    const out = leftOut(view, pg, what, wanted);
    if (out !== undefined) {
      said += `pg ${pgText(pg)} ${out.why}; `;
      errno = out.wrong || errno;
      continue;
    }
    const osd = view.stats.placement.mapPg(pg.pool, pg.seed).actingPrimary;
    if (osd < 0) said += `pg ${pgText(pg)} has no primary osd; `;
    else byOsd.set(osd, [...(byOsd.get(osd) ?? []), pg]);
  }
  for (const [osd, led] of byOsd) {
    const list = `[${led.map(pgText).join(',')}]`;
    said += view.forceRecovery(osd, led, what, wanted)
      ? `instructing pg(s) ${list} on osd.${osd} to ${wanted ? 'force' : 'cancel-force'}-${what}; `
      : `pg(s) ${list} on osd.${osd}, which is not currently connected; `;
  }
  if (errno !== 0) throw new Refusal(errno, said);
  return said;
}

/** PGs by their ids. Errors: EINVAL, ENOENT. */
function pgsOf(ids: readonly string[]): PgId[] {
  const seen = new Map<string, PgId>();
  for (const text of ids) {
    const pg = parsePg(text);
    if (pg === undefined) throw new Refusal(EINVAL, `invalid pgid '${text}'; `);
    seen.set(pgText(pg), pg);
  }
  return [...seen.values()];
}

/** All PGs of pools. Errors: ENOENT. */
function pgsOfPools(view: MgrView, names: readonly string[]): PgId[] {
  return names.flatMap((name) => {
    const pool = view.stats.map.poolId(name);
    if (pool === undefined) throw new Refusal(ENOENT, `unrecognized pool '${name}'`);
    return Array.from({ length: view.stats.map.pools.get(pool)!.pgNum }, (_, seed) => ({ pool, seed }));
  });
}

/** `pg force-recovery` and its kin. */
export const recoveryAnswers: Readonly<Record<string, MgrHandler>> = Object.fromEntries(
  (['recovery', 'backfill'] as const).flatMap((what) =>
    [true, false].flatMap((wanted): [string, MgrHandler][] => {
      const command = `${wanted ? '' : 'cancel-'}force-${what}`;
      return [
        [`pg ${command}`, (view, args) => ({ status: force(view, pgsOf(args.list('pgid')), what, wanted) })],
        [
          `osd pool ${command}`,
          (view, args) => ({ status: force(view, pgsOfPools(view, args.list('who')), what, wanted) }),
        ],
      ];
    }),
  ),
);
