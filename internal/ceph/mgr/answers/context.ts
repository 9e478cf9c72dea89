import type { ServiceMap } from '../../maps/servicemap.ts';
import type { Arguments } from '../../mon/commands/signature.ts';
import { type CommandAnswer, wantsJson } from '../../mon/commands/table.ts';
import { type JsonObject, jsonText, type OutputFormat } from '../../mon/format/json.ts';
import type { PgId } from '../../wire/types.ts';
import type { ClusterStats } from '../cluster-stats.ts';
import type { Balancer } from '../balancer.ts';
import type { Crashes } from '../crashes.ts';
import type { Devices } from '../devices.ts';
import type { HealthHistory } from '../health-history.ts';
import type { HealthOptions } from '../health.ts';
import type { ModuleOptions, MonCommand } from '../module-options.ts';
import type { ProgressTracker } from '../progress.ts';

/** What the commands of the mgr work on. */
export interface MgrView {
  readonly stats: ClusterStats;
  readonly options: HealthOptions;
  readonly services: ServiceMap;
  readonly progress: ProgressTracker;
  readonly balancer: Balancer;
  readonly crashes: Crashes;
  readonly devices: Devices;
  readonly history: HealthHistory;
  readonly modules: ModuleOptions;
  /** What the mons' central configuration says for this mgr. */
  readonly config: ReadonlyMap<string, string>;
  /** What came with the command (`-i`). */
  readonly input: Uint8Array;
  readonly time: { now(): number; monotonic(): number };
  /** Every OSD that is up has reported. */
  readonly ready: boolean;
  readonly version: string;
  /** Where every mgr serves its metrics. */
  readonly metricsPort: number;
  nowMs(): number;
  /** Tells the OSD to scrub PGs that it leads. False: it is not connected. */
  scrub(osd: number, pgs: readonly PgId[], how: { deep: boolean; repair: boolean }): boolean;
  /** Tells the OSD which of the PGs that it leads are to be recovered before others, or no more. False: it is not connected. */
  forceRecovery(osd: number, pgs: readonly PgId[], what: 'recovery' | 'backfill', wanted: boolean): boolean;
  /** A command to the mon in our name. */
  readonly mon: MonCommand;
}

export type MgrHandler = (
  view: MgrView,
  args: Arguments,
  format: OutputFormat,
) => CommandAnswer | Promise<CommandAnswer>;

const notReady = 'Warning: due to ceph-mgr restart, some PG states may not be up to date\n';

/**
 * What upstream wraps into `pg_ready`: JSON in an object, text behind a warning until all OSDs have reported. `broken`: with upstream's newline
 * before the last brace.
 */
export function wrapped(
  view: MgrView,
  format: OutputFormat,
  parts: { json: () => JsonObject; text: () => string; broken?: boolean },
): CommandAnswer {
  if (!wantsJson(format)) return { output: (view.ready ? '' : notReady) + parts.text() };
  const pretty = format === 'json-pretty';
  const text = jsonText({ pg_ready: view.ready, ...parts.json() }, pretty);
  const body = parts.broken === true ? `${text.slice(0, -1)}\n}` : text;
  return { output: pretty ? `${body}\n` : body };
}
