import { WEIGHT_ONE } from '../../crush/map.ts';
import type { Arguments } from '../../mon/commands/signature.ts';
import { structured, wantsJson } from '../../mon/commands/table.ts';
import { ENOENT, Refusal } from '../../mon/errno.ts';
import { type Reweights, type ReweightOptions, reweights } from '../reweight.ts';
import type { MgrHandler, MgrView } from './context.ts';

function optionsOf({ config, stats: { map } }: MgrView, args: Arguments, byPg: boolean): ReweightOptions {
  const pools = args.list('pools').map((name) => {
    for (const [id, known] of map.poolNames) if (known === name) return id;
    throw new Refusal(ENOENT, `pool '${name}' does not exist`);
  });
  return {
    overload: args.optionalNumber('oload') ?? 120,
    maxChange: args.optionalNumber('max_change') ?? Number(config.get('mon_reweight_max_change') ?? 0.05),
    maxOsds: args.optionalNumber('max_osds') ?? Number(config.get('mon_reweight_max_osds') ?? 4),
    byPg: byPg ? pools : undefined,
    noIncreasing: args.has('no_increasing'),
  };
}

/** As a C++ stream prints a number. */
const general = (value: number): string => String(Number(value.toPrecision(6)));
const weightOf = (fixed: number): number => fixed / WEIGHT_ONE;

function text(
  { averageUtilization, mapping: m, overloadUtilization, weights }: Reweights,
  options: ReweightOptions,
): string {
  const share = m.total === 0 ? 0 : (m.moved * 100) / m.total;
  let out = `moved ${m.moved} / ${m.total} (${general(share)}%)\navg ${general(m.average)}\n`;
  out += `stddev ${general(m.stddev)} -> ${general(m.newStddev)} (expected baseline ${general(m.expected)})\n`;
  for (const [word, one] of [
    ['min', m.least],
    ['max', m.most],
  ] as const)
    if (one !== undefined) {
      const of = (pgs: number): string => general(pgs / m.average);
      out += `${word} osd.${one.osd} with ${one.pgs} -> ${one.newPgs} pgs (${of(one.pgs)} -> ${of(one.newPgs)} * mean)\n`;
    }
  out += `\noload ${options.overload}\nmax_change ${general(options.maxChange)}\nmax_change_osds ${options.maxOsds}\n`;
  out += `average_utilization ${averageUtilization.toFixed(4)}\noverload_utilization ${overloadUtilization.toFixed(4)}\n`;
  for (const { newWeight, osd, weight } of weights)
    out += `osd.${osd} weight ${weightOf(weight).toFixed(4)} -> ${weightOf(newWeight).toFixed(4)}\n`;
  return out;
}

function json({ averageUtilization, mapping: m, overloadUtilization, weights }: Reweights, options: ReweightOptions) {
  return {
    overload_min: options.overload,
    max_change: options.maxChange,
    max_change_osds: options.maxOsds,
    average_utilization: averageUtilization,
    overload_utilization: overloadUtilization,
    reweights: weights.map(({ newWeight, osd, weight }) => ({
      osd,
      weight: weightOf(weight),
      new_weight: weightOf(newWeight),
    })),
    utilization: {
      moved_pgs: m.moved,
      total_pgs: m.total,
      avg_pgs: m.average,
      std_dev: m.stddev,
      expected_baseline_std_dev: m.expected,
      new_std_dev: m.newStddev,
      ...(m.least && { min_osd: m.least.osd, min_osd_pgs: m.least.pgs, new_min_osd_pgs: m.least.newPgs }),
      ...(m.most && { max_osd: m.most.osd, max_osd_pgs: m.most.pgs, new_max_osd_pgs: m.most.newPgs }),
    },
  };
}

const reweight =
  (how: { byPg: boolean; dry: boolean }): MgrHandler =>
  async (view, args, format) => {
    const options = optionsOf(view, args, how.byPg);
    const found = reweights(view.stats, options);
    const output = wantsJson(format) ? structured(json(found, options), format).output! : text(found, options);
    if (found.weights.length === 0) return { output, status: 'no change' };
    if (how.dry) return { output };
    const weights = JSON.stringify(
      Object.fromEntries(found.weights.map(({ newWeight, osd }) => [String(osd), String(newWeight)])),
    );
    const { code, status } = await view.mon({ prefix: 'osd reweightn', weights });
    if (code < 0) throw new Refusal(-code, status);
    return { output };
  };

/** `osd reweight-by-…`: weights against OSDs that are too full. */
export const reweightAnswers: Readonly<Record<string, MgrHandler>> = {
  'osd reweight-by-utilization': reweight({ byPg: false, dry: false }),
  'osd test-reweight-by-utilization': reweight({ byPg: false, dry: true }),
  'osd reweight-by-pg': reweight({ byPg: true, dry: false }),
  'osd test-reweight-by-pg': reweight({ byPg: true, dry: true }),
};
