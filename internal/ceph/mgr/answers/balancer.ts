import { releaseName } from '../../maps/constants.ts';
import { Placement } from '../../maps/placement.ts';
import { parsePg } from '../../wire/types.ts';
import { EINVAL, ENOENT, EPERM, Refusal } from '../../mon/errno.ts';
import { type BalancePlan, executePlan, isPlan } from '../balancer.ts';
import { balanceScore, scoreText } from '../balance-score.ts';
import { pyJson, pyRepr } from '../format/python.ts';
import { adjustOptions } from '../pg-adjust.ts';
import type { MgrHandler, MgrView } from './context.ts';

function planNamed({ balancer }: MgrView, name: string): BalancePlan {
  const plan = balancer.plans.get(name);
  if (plan === undefined) throw new Refusal(ENOENT, `plan ${name} not found`);
  return plan;
}

function checkPools({ stats: { map } }: MgrView, names: readonly string[], word: string): void {
  const known = new Set(map.poolNames.values());
  const missing = names.filter((name) => !known.has(name));
  if (missing.length > 0) throw new Refusal(EINVAL, `${word} ${pyRepr(missing)} not found`);
}

function idOf({ stats: { map } }: MgrView, name: string): number | undefined {
  for (const [id, known] of map.poolNames) if (known === name) return id;
  return undefined;
}

/** The cluster, a pool of it, or what it would be after a plan. */
function evaluation(
  view: MgrView,
  option: string | undefined,
): { what: string; pools: string[]; placement: Placement } {
  const { placement } = view.stats;
  if (option === undefined) return { what: 'current cluster', pools: [], placement };
  const plan = view.balancer.plans.get(option);
  // Upstream looks at the map that the plan began with.
  if (plan !== undefined)
    return { what: `plan "${option}"`, pools: [...plan.pools], placement: new Placement(plan.map) };
  if (idOf(view, option) === undefined) throw new Refusal(EINVAL, `option "${option}" not a plan or a pool`);
  return { what: `pool "${option}"`, pools: [option], placement };
}

const evaluate =
  (verbose: boolean): MgrHandler =>
  (view, args) => {
    const { placement, pools, what } = evaluation(view, args.optional('option'));
    return { output: `${scoreText(balanceScore(view.stats, placement, pools), what, verbose)}` };
  };

/** Plans by hand are refused while it works of itself. */
function checkIdle({ balancer }: MgrView, what: string): void {
  if (balancer.active) throw new Refusal(EINVAL, `Balancer enabled, disable to ${what}`);
}

function showPlan({ changes, map, mode }: BalancePlan): string {
  const gone = [...changes].filter(([, items]) => items === undefined);
  const made = [...changes].filter(([, items]) => items !== undefined);
  return [
    `# starting osdmap epoch ${map.epoch}`,
    `# starting crush version ${map.crushVersion}`,
    `# mode ${mode}`,
    ...gone.map(([pgid]) => `ceph osd rm-pg-upmap-items ${pgid}`),
    ...made.map(([pgid, items]) => `ceph osd pg-upmap-items ${pgid} ${items!.flat().join(' ')}`),
  ].join('\n');
}

/** What the plan changes, as an increment of the OSDMap shows it. */
function dumpPlan({ changes, map }: BalancePlan): string {
  const byPg = [...changes].sort(([a], [b]) => {
    const [x, y] = [parsePg(a)!, parsePg(b)!];
    return x.pool - y.pool || x.seed - y.seed;
  });
  return pyJson({
    epoch: map.epoch + 1,
    new_pg_upmap: [],
    old_pg_upmap: [],
    new_pg_upmap_items: byPg.flatMap(([pgid, items]) =>
      items === undefined ? [] : [{ pgid, mappings: items.map(([from, to]) => ({ from, to })) }],
    ),
    old_pg_upmap_items: byPg.flatMap(([pgid, items]) => (items === undefined ? [pgid] : [])),
  });
}

async function setPools({ balancer }: MgrView, ids: ReadonlySet<number>): Promise<object> {
  await balancer.set('pool_ids', [...ids].join(','));
  return {};
}

/** `balancer …`: evens out how many PGs OSDs have. */
export const balancerAnswers: Readonly<Record<string, MgrHandler>> = {
  'balancer status': ({ balancer }) => ({ output: `${pyJson(balancer.status())}\n` }),
  'balancer mode': async (view, args) => {
    const mode = args.text('mode');
    const compat = releaseName(view.stats.map.requireMinCompatClient);
    if (mode === 'upmap' && compat < 'luminous')
      throw new Refusal(
        EPERM,
        `min_compat_client "${compat}" < "luminous", which is required for pg-upmap. Try "ceph osd set-require-min-compat-client luminous" before enabling this mode`,
      );
    await view.balancer.set('mode', mode);
    return {};
  },
  'balancer on': async ({ balancer }) => {
    if (!balancer.active) await balancer.set('active', 'true');
    return {};
  },
  'balancer off': async ({ balancer }) => {
    if (balancer.active) await balancer.set('active', 'false');
    return {};
  },
  'balancer pool ls': (view) => {
    if (view.balancer.poolIds.length === 0) return {};
    return { output: `${pyJson(view.balancer.poolNames(view.stats.map).sort())}\n` };
  },
  'balancer pool add': (view, args) => {
    const names = args.list('pools');
    checkPools(view, names, 'pool(s)');
    return setPools(view, new Set([...names.map((name) => idOf(view, name)!), ...view.balancer.poolIds]));
  },
  'balancer pool rm': (view, args) => {
    const gone = new Set(args.list('pools').map((name) => idOf(view, name)));
    const { map } = view.stats;
    return setPools(view, new Set(view.balancer.poolIds.filter((id) => map.pools.has(id) && !gone.has(id))));
  },
  'balancer eval': evaluate(false),
  'balancer eval-verbose': evaluate(true),
  'balancer optimize': (view, args) => {
    checkIdle(view, 'optimize manually');
    const name = args.text('plan');
    const pools = args.list('pools');
    checkPools(view, pools, 'pools');
    const { maxMisplaced } = adjustOptions(view.config);
    const found = view.balancer.optimize(name, view.stats, pools, maxMisplaced, view.time);
    if (!isPlan(found)) throw new Refusal(found.errno, found.why);
    view.balancer.plans.set(name, found);
    return {};
  },
  'balancer show': (view, args) => ({ output: `${showPlan(planNamed(view, args.text('plan')))}\n` }),
  'balancer dump': (view, args) => ({ output: `${dumpPlan(planNamed(view, args.text('plan')))}\n` }),
  'balancer ls': ({ balancer }) => ({ output: `${pyJson([...balancer.plans.keys()])}\n` }),
  'balancer rm': ({ balancer }, args) => {
    balancer.plans.delete(args.text('plan'));
    return {};
  },
  'balancer reset': ({ balancer }) => {
    balancer.plans.clear();
    return {};
  },
  'balancer execute': async (view, args) => {
    checkIdle(view, 'execute a plan');
    const plan = planNamed(view, args.text('plan'));
    await executePlan(plan, view.mon);
    view.balancer.plans.delete(plan.name);
    return {};
  },
};
