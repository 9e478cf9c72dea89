import { utf8Text } from '../../../base/bytes.ts';
import { errorText } from '../../../base/errors.ts';
import { EINVAL, Refusal } from '../../mon/errno.ts';
import { wantsJson } from '../../mon/commands/table.ts';
import { type CrashReport, crashTime, parseCrash } from '../crashes.ts';
import { column, tableText } from '../../mon/format/table.ts';
import { pyJson } from '../format/python.ts';
import type { MgrHandler } from './context.ts';

const dayMs = 86_400_000;

/** `str(datetime.utcnow())`. */
function archivedAt(ms: number): string {
  return `${new Date(ms).toISOString().replace('T', ' ').replace('Z', '')}000`;
}

const list =
  (isListed: (report: CrashReport) => boolean): MgrHandler =>
  async ({ crashes }, _args, format) => {
    const reports = [...(await crashes.all()).values()]
      .filter(isListed)
      .sort((a, b) => (a.crash_id < b.crash_id ? -1 : 1));
    if (wantsJson(format)) return { output: `${pyJson(reports)}\n` };
    if (reports.length === 0) return {};
    const rows = reports.map(({ archived, crash_id, entity_name: entity }) => [
      crash_id,
      entity ?? 'unknown',
      archived === undefined ? ' * ' : '   ',
    ]);
    const columns = ['ID', 'ENTITY', 'NEW'].map((name) => column(name));
    return { output: tableText(columns, rows).replaceAll('\n', '  \n') };
  };

/** `crash …`: reports of daemons that ended by a fault. Numbers of errors are positive, as upstream's module returns them: the tool counts that as done. */
export const crashAnswers: Readonly<Record<string, MgrHandler>> = {
  'crash ls': list(() => true),
  'crash ls-new': list(({ archived }) => archived === undefined),
  'crash info': async ({ crashes }, args) => {
    const id = args.text('id');
    const report = (await crashes.all()).get(id);
    if (report === undefined) return { code: EINVAL, status: `crash info: ${id} not found` };
    return { output: `${pyJson(report)}\n` };
  },
  'crash post': async ({ crashes, input }) => {
    let report: CrashReport;
    try {
      report = parseCrash(utf8Text(input));
    } catch (error) {
      return { code: EINVAL, status: `malformed crash metadata: ${errorText(error)}` };
    }
    if (!(await crashes.all()).has(report.crash_id)) await crashes.keep(report);
    return {};
  },
  'crash rm': async ({ crashes }, args) => {
    await crashes.remove(args.text('id'));
    return {};
  },
  'crash prune': async ({ crashes, nowMs }, args) => {
    const days = Number(args.text('keep'));
    if (!Number.isInteger(days)) return { code: EINVAL, status: 'keep argument must be integer' };
    await crashes.prune(nowMs() - days * dayMs);
    return {};
  },
  'crash archive': async ({ crashes, nowMs }, args) => {
    const id = args.text('id');
    const report = (await crashes.all()).get(id);
    if (report === undefined) return { code: EINVAL, status: `crash info: ${id} not found` };
    if (report.archived === undefined) await crashes.keep({ ...report, archived: archivedAt(nowMs()) });
    return {};
  },
  'crash archive-all': async ({ crashes, nowMs }) => {
    for (const report of [...(await crashes.all()).values()])
      if (report.archived === undefined) await crashes.keep({ ...report, archived: archivedAt(nowMs()) });
    return {};
  },
  'crash stat': async ({ crashes, nowMs }) => {
    const all = [...(await crashes.all())];
    const lines = [`${all.length} crashes recorded`];
    for (const days of [1, 3, 7]) {
      const old = all.filter(([, { timestamp }]) => crashTime(timestamp) <= nowMs() - days * dayMs).map(([id]) => id);
      if (old.length > 0) lines.push(`${old.length} older than ${days} days old:`, ...old);
    }
    return { output: `${lines.join('\n')}\n` };
  },
  'crash json_report': async ({ crashes }, args) => {
    if (!/^-?\d+$/.test(args.text('hours'))) throw new Refusal(EINVAL, '<hours> argument must be integer');
    const counts = new Map<string, number>();
    for (const { process_name: name } of (await crashes.all()).values())
      counts.set(name || 'unknown', (counts.get(name || 'unknown') ?? 0) + 1);
    const sorted = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
    return { status: `{${sorted.map(([name, n]) => `${JSON.stringify(name)}: ${n}`).join(', ')}}` };
  },
};
