import { structured, wantsJson } from '../../mon/commands/table.ts';
import { jsonText } from '../../mon/format/json.ts';
import { autoscaleStatus } from '../autoscale.ts';
import { autoscaleJson, autoscaleText } from '../format/autoscale.ts';
import { serviceMapJson } from '../services.ts';
import type { MgrHandler } from './context.ts';

/** As upstream's modules in Python print JSON. */
function pythonJson(value: unknown): string {
  return `${JSON.stringify(value, null, 4)}\n`;
}

/** What upstream has in modules of the mgr. */
export const moduleAnswers: Readonly<Record<string, MgrHandler>> = {
  'service dump': (view, _args, format) =>
    wantsJson(format)
      ? structured(serviceMapJson(view.services), format)
      : { output: `${jsonText(serviceMapJson(view.services), true)}\n` },
  'service status': (_view, _args, format) => ({ output: wantsJson(format) ? '{}' : '{}\n' }),
  // PGs are placed by CRUSH alone: there is no plan to show.
  'balancer status': () => ({
    output: pythonJson({
      active: false,
      last_optimize_duration: '',
      last_optimize_started: '',
      mode: 'none',
      no_optimization_needed: false,
      optimize_result: '',
      plans: [],
    }),
  }),
  'osd pool autoscale-status': ({ stats, options }, _args, format) => {
    const { pools } = autoscaleStatus(stats, options.autoscale);
    return { output: wantsJson(format) ? autoscaleJson(pools) : autoscaleText(pools) };
  },
  progress: ({ progress, nowMs }) => {
    const text = progress.text(nowMs());
    return text === '' ? { status: 'Nothing in progress' } : { output: text };
  },
  'progress json': ({ progress, nowMs }) => ({ output: pythonJson(progress.json(nowMs())) }),
  version: ({ version }, _args, format) =>
    wantsJson(format)
      ? structured(
          { version: version.replace(/^ceph version (\S+).*$/, '$1'), release: 'pacific', release_type: 'stable' },
          format,
        )
      : { output: version },
};
