import { autoscaleModeNames, type PgPool, POOL_NODELETE, type PoolOption } from '../../maps/pool.ts';
import type { Draft } from '../draft.ts';
import { EPERM, Refusal } from '../errno.ts';
import type { Mon } from '../mon.ts';
import { createErasureRule, type ErasureShape, shapeOf } from './erasure-profiles.ts';
import { createPool, deletePool, type PoolLimits } from './pools.ts';

export function poolLimits(mon: Mon): PoolLimits {
  return {
    maxPgNum: mon.options.number('mon_max_pool_pg_num'),
    maxPgsPerOsd: mon.options.number('mon_max_pg_per_osd'),
  };
}

export interface PoolSettings {
  pgNum?: number | undefined;
  pgpNum?: number | undefined;
  size?: number | undefined;
  rule?: string | undefined;
  expectedObjects?: number | undefined;
  autoscaleMode?: string | undefined;
  options?: ReadonlyMap<number, PoolOption>;
  /** Name of the profile of an erasure-coded pool. */
  profile?: string;
}

/** Makes a pool, what is not given from the configuration. Returns its id. */
export function createPoolByName(mon: Mon, draft: Draft, name: string, given: PoolSettings = {}): number {
  const { options } = mon;
  const pgNum = given.pgNum || options.number('osd_pool_default_pg_num');
  const pgpNum = given.pgpNum || options.number('osd_pool_default_pgp_num') || pgNum;
  const size = given.size || options.number('osd_pool_default_size');
  const mode = autoscaleModeNames.indexOf(given.autoscaleMode ?? options.text('osd_pool_default_pg_autoscale_mode'));
  const erasure = given.profile === undefined ? undefined : erasureRequest(draft, name, given.profile, given.rule);
  let id = 0;
  draft.osdmap((inc, map) => {
    id = createPool(
      inc,
      map,
      {
        name,
        pgNum,
        pgpNum: Math.min(pgpNum, given.pgpNum ? pgpNum : pgNum),
        size,
        minSize: options.number('osd_pool_default_min_size'),
        rule: erasure?.rule ?? given.rule ?? '',
        ...(erasure === undefined ? {} : { erasure }),
        expectedObjects: given.expectedObjects ?? 0,
        autoscaleMode: Math.max(0, mode),
        options: given.options ?? new Map(),
      },
      poolLimits(mon),
      draft.now,
    );
  });
  return id;
}

/** What a profile makes of a pool; the rule is made where it is not there: it is named after the pool, or is that of all pools of the default profile. */
function erasureRequest(
  draft: Draft,
  pool: string,
  profile: string,
  ruleName: string | undefined,
): ErasureShape & { profile: string; rule: string } {
  const shape = shapeOf(draft.state.osdmap, profile);
  const rule = ruleName ?? (profile === 'default' ? 'erasure-code' : pool);
  if (draft.state.osdmap.crush.ruleOfName(rule) === undefined)
    draft.osdmap((inc, map) => {
      createErasureRule(inc, map, rule, profile);
    });
  return { ...shape, profile, rule };
}

/** Why a pool must not be deleted; undefined when it may. */
export function whyNotDelete(mon: Mon, pool: PgPool): string | undefined {
  if (!mon.options.flag('mon_allow_pool_delete'))
    return 'pool deletion is disabled; you must first set the mon_allow_pool_delete config option to true before you can destroy a pool';
  if ((pool.flags & POOL_NODELETE) !== 0)
    return 'pool deletion is disabled; you must unset nodelete flag for the pool first';
  return undefined;
}

export function deletePoolChecked(mon: Mon, draft: Draft, id: number): void {
  const why = whyNotDelete(mon, draft.state.osdmap.pools.get(id)!);
  if (why !== undefined) throw new Refusal(EPERM, why);
  draft.osdmap((inc, map) => deletePool(inc, map, id));
}
