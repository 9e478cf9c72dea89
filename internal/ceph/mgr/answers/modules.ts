import { utf8Text } from '../../../base/bytes.ts';
import { AppError } from '../../../base/errors.ts';
import { EINVAL, Refusal } from '../../mon/errno.ts';
import { structured, wantsJson } from '../../mon/commands/table.ts';
import { jsonText } from '../../mon/format/json.ts';
import { cephRelease } from '../../mon/version.ts';
import { autoscaleStatus } from '../autoscale.ts';
import { autoscaleJson, autoscaleText } from '../format/autoscale.ts';
import { pyJson } from '../format/python.ts';
import { serviceMapJson } from '../services.ts';
import type { ModuleOptions } from '../module-options.ts';
import { balancerAnswers } from './balancer.ts';
import type { MgrHandler, MgrView } from './context.ts';
import { configAnswers } from './config.ts';
import { crashAnswers } from './crash.ts';
import { deviceAnswers } from './devices.ts';
import { orchAnswers } from './orch.ts';
import { monitoringAnswers } from './monitoring.ts';
import { reweightAnswers } from './reweight.ts';
import { telemetryAnswers } from './telemetry.ts';

/** Whether recovery is shown as progress. */
export function progressOn(modules: ModuleOptions): boolean {
  return modules.flag('progress', 'enabled', true);
}

export function noautoscale(modules: ModuleOptions): boolean {
  return modules.flag('pg_autoscaler', 'noautoscale', false);
}

/** The autoscaler for all pools, and those that come. Errors: MON. */
async function scaleAll({ modules, mon, stats }: MgrView, on: boolean): Promise<void> {
  const value = on ? 'on' : 'off';
  await modules.set('pg_autoscaler', 'noautoscale', String(!on));
  const commands = [
    { prefix: 'config set', who: 'global', name: 'osd_pool_default_pg_autoscale_mode', value },
    ...[...stats.map.poolNames.values()].map((pool) => ({
      prefix: 'osd pool set',
      pool,
      var: 'pg_autoscale_mode',
      val: value,
    })),
  ];
  for (const command of commands) {
    const { code, status } = await mon(command);
    if (code < 0) throw new AppError('MON', status);
  }
}

/** What upstream has in modules of the mgr. */
export const moduleAnswers: Readonly<Record<string, MgrHandler>> = {
  ...balancerAnswers,
  ...configAnswers,
  ...deviceAnswers,
  ...orchAnswers,
  ...monitoringAnswers,
  ...reweightAnswers,
  ...crashAnswers,
  ...telemetryAnswers,
  'osd pool get noautoscale': ({ modules }) => ({ status: `noautoscale is ${noautoscale(modules) ? 'on' : 'off'}` }),
  'osd pool set noautoscale': async (view) => {
    if (noautoscale(view.modules)) return { status: 'noautoscale is already set!' };
    await scaleAll(view, false);
    return { status: 'noautoscale is set, all pools now have autoscale off' };
  },
  'osd pool unset noautoscale': async (view) => {
    if (!noautoscale(view.modules)) return { status: 'noautoscale is already unset!' };
    await scaleAll(view, true);
    return { status: 'noautoscale is unset, all pools now have autoscale on' };
  },
  'service dump': (view, _args, format) =>
    wantsJson(format)
      ? structured(serviceMapJson(view.services), format)
      : { output: `${jsonText(serviceMapJson(view.services), true)}\n` },
  'service status': (_view, _args, format) => ({ output: wantsJson(format) ? '{}' : '{}\n' }),
  'osd pool autoscale-status': ({ stats, options }, _args, format) => {
    const { pools } = autoscaleStatus(stats, options.autoscale);
    return { output: wantsJson(format) ? autoscaleJson(pools) : autoscaleText(pools) };
  },
  progress: ({ progress, nowMs }) => {
    const text = progress.text(nowMs());
    return text === '' ? { status: 'Nothing in progress' } : { output: text };
  },
  'progress clear': ({ progress }) => {
    progress.clear();
    return {};
  },
  'progress on': async ({ modules }) => {
    if (progressOn(modules)) return { status: 'progress already enabled!' };
    await modules.set('progress', 'enabled', 'true');
    return { status: 'progress enabled' };
  },
  'progress off': async ({ modules, progress }) => {
    if (!progressOn(modules)) return { status: 'progress already disabled!' };
    await modules.set('progress', 'enabled', 'false');
    progress.clear();
    return { status: 'progress disabled' };
  },
  // There are no file systems.
  'fs status': (_view, args, format) => {
    const fs = args.optional('fs');
    if (fs !== undefined) return { code: EINVAL, status: `Invalid filesystem: ${fs}` };
    return { output: wantsJson(format) ? '{}\n' : '' };
  },
  'fs volume ls': async ({ mon }) => {
    const { code, output, status } = await mon({ prefix: 'fs ls', format: 'json' });
    if (code < 0) throw new Refusal(-code, status);
    const all = JSON.parse(utf8Text(output)) as { name: string }[];
    return { output: `${pyJson(all.map(({ name }) => ({ name })))}\n` };
  },
  'progress json': ({ progress, nowMs }) => ({ output: `${pyJson(progress.json(nowMs()))}\n` }),
  version: ({ version }, _args, format) =>
    structured(
      { version: version.replace(/^ceph version (\S+).*$/, '$1'), release: cephRelease, release_type: 'stable' },
      format,
    ),
};
