import { existingPool, osdList } from '../../mon/commands/lookup.ts';
import type { Arguments } from '../../mon/commands/signature.ts';
import { type CommandAnswer, structured, wantsJson } from '../../mon/commands/table.ts';
import { EINVAL, EIO, ENOENT, Refusal } from '../../mon/errno.ts';
import { jsonText } from '../../mon/format/json.ts';
import { column, tableText } from '../../mon/format/table.ts';
import type { OsdStat } from '../../wire/messages/osd_mgr.ts';
import { leavesOf } from '../../crush/build.ts';
import type { ClusterStats } from '../cluster-stats.ts';
import { osdDf, osdDfJson, osdDfText } from '../format/osd-df.ts';
import { osdStatusText } from '../format/osd-status.ts';
import { dumpView } from '../format/pg-dump.ts';
import { perfJson } from '../format/stat-json.ts';
import { poolStatsJson, poolStatsText } from '../format/summary.ts';
import {
  destroyFine,
  destroyRefusal,
  destroyReport,
  destroyReportJson,
  largestStop,
  stopRefusal,
  stopReportJson,
} from '../safety.ts';
import { type MgrHandler, type MgrView, wrapped } from './context.ts';

/** Which OSDs `osd df` shows. Errors: EINVAL. */
function dfFilter({ map }: ClusterStats, by: string | undefined, filter: string | undefined): (osd: number) => boolean {
  if (by === undefined) return () => true;
  if (filter === undefined) throw new Refusal(EINVAL, "'osd df' needs what to filter by");
  if (by === 'class') {
    if (map.crush.classOfName(filter) === undefined)
      throw new Refusal(EINVAL, `specified class '${filter}' does not exist`);
    return (osd) => map.crush.itemClass(osd) === filter;
  }
  const item = map.crush.idOfName(filter);
  if (item === undefined) throw new Refusal(EINVAL, `specified name '${filter}' does not exist`);
  const osds = new Set(leavesOf(map.crush, item));
  return (osd) => osds.has(osd);
}

const df: MgrHandler = ({ stats }, args, format) => {
  const tree = args.optional('output_method') === 'tree';
  const shown = osdDf(stats, dfFilter(stats, args.optional('filter_by'), args.optional('filter')));
  return wantsJson(format)
    ? structured(osdDfJson(stats, shown, tree), format, 'json')
    : { output: osdDfText(stats, shown, tree) };
};

const perf: MgrHandler = (view, _args, format) => {
  const osds = [...view.stats.osds.keys()]
    .sort((a, b) => b - a)
    .map((osd): [number, OsdStat] => [osd, view.stats.shownStat(osd)!]);
  const columns = [
    column('osd', 'right', 'right'),
    column('commit_latency(ms)', 'right', 'right'),
    column('apply_latency(ms)', 'right', 'right'),
  ];
  return wrapped(view, format, {
    json: () => ({ osdstats: { osd_perf_infos: osds.map(([osd, stat]) => perfJson(osd, stat)) } }),
    text: () =>
      tableText(
        columns,
        osds.map(([osd, stat]) => [osd, stat.commitLatencyMs, stat.applyLatencyMs].map((n) => String(Math.round(n)))),
      ),
    broken: true,
  });
};

const blockedBy: MgrHandler = (view, _args, format) => {
  const counts = new Map<number, number>();
  for (const [, stat] of view.stats.pgs.entries())
    for (const osd of stat.blockedBy) counts.set(osd, (counts.get(osd) ?? 0) + 1);
  const rows = [...counts].sort((a, b) => a[0] - b[0]);
  return wrapped(view, format, {
    json: () => ({
      osd_blocked_by: { osd_blocked_by_infos: rows.map(([osd, blocked]) => ({ id: osd, num_blocked: blocked })) },
    }),
    text: () =>
      tableText(
        [column('osd', 'left', 'right'), column('num_blocked', 'left', 'right')],
        rows.map((row) => row.map(String)),
      ),
    broken: true,
  });
};

const poolStats: MgrHandler = (view, args, format) => {
  const { map } = view.stats;
  const name = args.optional('pool_name');
  const ids = name === undefined ? [...map.pools.keys()].sort((a, b) => a - b) : [existingPool(map, name)];
  const dumped = dumpView(view.stats);
  return wantsJson(format) ? structured(poolStatsJson(dumped, ids), format) : { output: poolStatsText(dumped, ids) };
};

/** OSDs of a list in which one that cannot be read is named as upstream does. Errors: EINVAL. */
function osds(view: MgrView, ids: readonly string[]): number[] {
  try {
    return osdList(view.stats.map, ids);
  } catch (error) {
    const bad = ids.find((id) => !/^(?:osd\.)?\d{1,9}$/.test(id));
    if (!(error instanceof Refusal) || bad === undefined) throw error;
    throw new Refusal(EINVAL, `Expected option value to be integer, got '${bad}'invalid osd id '${bad}'`);
  }
}

const okToStop: MgrHandler = (view, args) => {
  const ids = osds(view, args.list('ids'));
  if (ids.length === 0) throw new Refusal(EINVAL, 'must specify one or more OSDs');
  const max = Math.max(args.optionalNumber('max') ?? 1, ids.length);
  const report = largestStop(view.stats, ids, max);
  const output = `${jsonText(stopReportJson(report))}\n`;
  const refusal = stopRefusal(report, output);
  if (refusal !== undefined) throw refusal;
  return { output };
};

const safeToDestroy: MgrHandler = (view, args, format) => {
  const ids = osds(view, args.list('ids'));
  const report = destroyReport(view.stats, ids);
  if (wantsJson(format)) return structured(destroyReportJson(report), format);
  const refusal = destroyRefusal(report);
  if (refusal !== undefined) throw refusal;
  return { status: destroyFine(ids) };
};

/** `osd destroy` and `osd purge`: the mgr looks whether data would be lost, the mon does it. */
function remover(actual: string): MgrHandler {
  return async (view, args): Promise<CommandAnswer> => {
    const [id] = osds(view, [args.text('id')]);
    const forced = args.flag('force') || args.flag('yes_i_really_mean_it');
    if (!forced) checkRemoval(view, id!);
    const { code, status, output } = await view.mon({ prefix: actual, id, yes_i_really_mean_it: true });
    if (code < 0) throw new Refusal(-code, status);
    return { status, output };
  };
}

const warning =
  '\nYou can proceed by passing --force, but be warned that this will likely mean real, permanent data loss.';

function checkRemoval(view: MgrView, osd: number): void {
  let refusal: Refusal | undefined;
  try {
    refusal = destroyRefusal(destroyReport(view.stats, [osd]));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    refusal = error;
  }
  if (refusal !== undefined) throw new Refusal(refusal.errno, refusal.message + warning);
}

/** Hosts of OSDs, as they told the mon when they started. */
async function hostsOf(view: MgrView): Promise<Map<number, string>> {
  const { code, status, output } = await view.mon({ prefix: 'osd metadata', format: 'json' });
  if (code < 0) throw new Refusal(-code, status);
  const hosts = new Map<number, string>();
  let list: unknown;
  try {
    list = JSON.parse(Buffer.from(output).toString('utf8'));
  } catch {
    throw new Refusal(EIO, 'the mon gave no readable metadata of OSDs');
  }
  for (const entry of Array.isArray(list) ? list : [])
    if (typeof entry?.id === 'number') hosts.set(entry.id, String(entry.hostname ?? ''));
  return hosts;
}

function statusOsds(view: MgrView, args: Arguments): number[] {
  const { map } = view.stats;
  const bucket = args.optional('bucket');
  if (bucket === undefined) return map.osds();
  const item = map.crush.idOfName(bucket);
  if (item === undefined) throw new Refusal(ENOENT, `Bucket '${bucket}' not found`);
  const under = new Set(leavesOf(map.crush, item));
  return map.osds().filter((osd) => under.has(osd));
}

const status: MgrHandler = async (view, args) => ({
  output: `${osdStatusText(view.stats, statusOsds(view, args), await hostsOf(view))}\n`,
});

/** What `ceph osd ...` asks the mgr. */
export const osdAnswers: Readonly<Record<string, MgrHandler>> = {
  'osd df': df,
  'osd perf': perf,
  'osd blocked-by': blockedBy,
  'osd pool stats': poolStats,
  'osd ok-to-stop': okToStop,
  'osd safe-to-destroy': safeToDestroy,
  'osd destroy': remover('osd destroy-actual'),
  'osd purge': remover('osd purge-actual'),
  'osd status': status,
};
