import { writeFileSync } from 'node:fs';
import { runCommand } from '../base/command-system.ts';
import { errorText } from '../base/errors.ts';
import { lastTime, noteTime } from '../base/last-time-system.ts';
import type { Config } from '../config/config.ts';
import { type Check, type CheckReport, examine, refusal, type Remedy } from './check.ts';
import { checks, preflightChecks } from './checks/index.ts';
import { collectFacts, type CollectOptions, sysctlFile } from './facts-system.ts';

async function examined(asked: readonly Check[], options: CollectOptions): Promise<CheckReport[]> {
  const relevant = asked.filter((check) => check.concerns?.(options.config) ?? true);
  const facts = await collectFacts(new Set(relevant.flatMap(({ needs }) => needs)), options);
  return examine(relevant, facts, options.config);
}

/** Every check on this machine. */
export function examineMachine(options: CollectOptions): Promise<CheckReport[]> {
  return examined(checks, options);
}

/** What `up` and `run` ask first: AppError ROOT or PREFLIGHT with everything that stops this node from starting. */
export async function preflight(config: Config): Promise<void> {
  const refused = refusal(await examined(preflightChecks, { config, builtMs: undefined }));
  if (refused) throw refused;
}

/** How each remedy is carried out. */
const remedies: { readonly [D in Remedy['do']]: (remedy: Extract<Remedy, { do: D }>) => Promise<string> } = {
  modprobe: async ({ module }) => {
    await runCommand(['modprobe', module]);
    return `loaded the module ${module}`;
  },
  sysctl: async ({ name, value }) => {
    writeFileSync(sysctlFile(name), value);
    return `set ${name} to ${value} until the next boot`;
  },
  'note-time': async ({ dataDir }) => {
    const before = lastTime(dataDir);
    noteTime(dataDir);
    return `noted the time of now in ${dataDir}/last-time instead of ${before === undefined ? 'none' : new Date(before).toISOString()}; it holds from the next start of the node on`;
  },
};

export interface Repair {
  readonly check: string;
  readonly done: string | undefined;
  readonly error: string | undefined;
}

/** Does what is safe of what the reports propose; tells each thing that it did or could not do. */
export async function repair(reports: readonly CheckReport[]): Promise<Repair[]> {
  const out: Repair[] = [];
  for (const { findings, id } of reports)
    for (const { remedy } of findings) {
      if (!remedy) continue;
      const carryOut = remedies[remedy.do] as (remedy: Remedy) => Promise<string>;
      try {
        out.push({ check: id, done: await carryOut(remedy), error: undefined });
      } catch (error) {
        out.push({ check: id, done: undefined, error: errorText(error) });
      }
    }
  return out;
}
