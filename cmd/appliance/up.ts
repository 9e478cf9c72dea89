import { resolve } from 'node:path';
import { createLogger, type LogLevel } from '../../internal/base/log.ts';
import type { Config, StorageEngine } from '../../internal/config/config.ts';
import { preparedAgain, preparedNode } from '../../internal/node/prepared-process.ts';
import { selfCommand } from '../../internal/node/self-system.ts';
import { reloadText } from '../../internal/node/status.ts';
import { Supervisor } from '../../internal/node/supervisor-system.ts';
import { stopAll } from '../../internal/node/teardown-system.ts';
import { hangupMeaning } from './hangup.ts';
import { createProgress } from './progress.ts';
import type { StatusReport } from './status.ts';
import type { ConfigArguments } from '../../internal/config/machine-system.ts';
import { buildVersion } from './build-version.ts';
import { type CommandModule, configArguments, withExamples } from './command.ts';
import { withKeyFlags } from './key-flags.ts';
import { upScreen } from './up-screen.ts';
import { UpSteps } from './up-steps.ts';

export const command: CommandModule = {
  define(command) {
    withKeyFlags(command);
    withExamples(command, [
      ['appliance up', 'one node with every role; needs root'],
      ['appliance -c my.yaml up', 'another configuration'],
      ['appliance up --node-name pi-1 --tls-san cluster.example.com', 'keys of the configuration as flags'],
    ]).action(() => up(configArguments(command)));
  },
};

/** After this long the screen is shown with what is not ready yet; the node goes on. */
const patienceMs: Readonly<Record<StorageEngine, number>> = { embedded: 180_000, ceph: 360_000, external: 180_000 };

/** Starts the node in the foreground and tells of it in `progress`; returns when it has been stopped and cleaned up. */
export async function up(from: ConfigArguments, progress = createProgress(process.stdout)): Promise<void> {
  const began = performance.now();
  const node = await preparedNode(from);
  const { config } = node;
  progress.line(
    `appliance ${buildVersion()}: starting node ${config.node.name} (${config.node.ip}), roles ${config.roles.join(', ')}`,
  );
  progress.done('certificates, keys and directories');

  const level: { value: LogLevel } = { value: 'warn' };
  const log = createLogger({ write: (line) => progress.line(line.trimEnd()), now: () => Date.now(), level });
  const steps = new UpSteps(progress);
  const supervisor = new Supervisor({
    node,
    log,
    version: buildVersion(),
    startedMs: began,
    onChange: (status) => steps.onChange(status),
    onReload: (phase) => {
      // What was refused is logged.
      const { reload } = supervisor.status();
      if (phase === 'end' && reload !== undefined && reload.error === undefined)
        progress.line(`the configuration was read again: ${reloadText(reload)}`);
    },
    prepareAgain: (stopping) => preparedAgain(from, node.config.runDir, stopping),
  });
  const stopAsked = Promise.withResolvers<void>();
  process.on('SIGTERM', () => stopAsked.resolve());
  process.on('SIGINT', () => stopAsked.resolve());
  const hangup = hangupMeaning();
  process.on('SIGHUP', () => {
    const meaning = hangup();
    if (meaning === 'stop') stopAsked.resolve();
    else if (meaning === 'reload') void supervisor.reload();
  });
  await supervisor.start(() => stopAsked.resolve());

  const stopping = stopAsked.promise.then(() => 'stop' as const);
  const ready = await Promise.race([stopping, untilReady(config, supervisor, (text) => steps.wait(text))]);
  if (ready !== 'stop') {
    progress.clear();
    // What a user can type: the executable may not be on PATH.
    const program = Bun.which('appliance') ? 'appliance' : selfCommand().join(' ');
    const file = from.file === undefined || from.flags['run-dir'] ? undefined : resolve(from.file);
    const seconds = (performance.now() - began) / 1000;
    progress.line(upScreen({ config, program, file, report: ready, seconds, width: process.stdout.columns }));
    await stopping;
  }

  steps.end();
  progress.line('stopping: pods first, then Kubernetes, then storage');
  await stopAll(supervisor, config, progress);
  progress.done(`stopped; the data stays in ${config.dataDir}`);
  process.exit(0);
}

async function untilReady(
  config: Config,
  supervisor: Supervisor,
  wait: (text: string) => void,
): Promise<StatusReport | undefined> {
  const deadline = performance.now() + patienceMs[config.storage.engine];
  let report: StatusReport | undefined;
  while (performance.now() < deadline) {
    await Bun.sleep(supervisor.allReady ? 300 : 500);
    if (!supervisor.allReady) {
      const sick = supervisor.status().instances.find(({ phase, healthy }) => phase === 'running' && !healthy);
      if (sick) wait(`${sick.name} runs but is not healthy: ${sick.detail}`);
      continue;
    }
    report = await readStatus(config);
    if (report?.ready) return report;
    if (report) wait(report.problems[0] ?? `waiting for ${config.node.name}`);
  }
  return report;
}

/** Asks a process of its own, so that this one stays small: it lives as long as the node. */
async function readStatus(config: Config): Promise<StatusReport | undefined> {
  const child = Bun.spawn([...selfCommand(), 'status', '--run-dir', config.runDir, '-o', 'json'], {
    stdout: 'pipe',
    stderr: 'ignore',
    timeout: 20_000,
  });
  const text = await new Response(child.stdout).text();
  try {
    return JSON.parse(text) as StatusReport;
  } catch {
    return undefined;
  }
}
