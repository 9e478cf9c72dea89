import { existsSync } from 'node:fs';
import { AppError, errorCode, errorText } from '../../internal/base/errors.ts';
import { createLogger } from '../../internal/base/log.ts';
import type { Config } from '../../internal/config/config.ts';
import { runningConfig } from '../../internal/config/machine-system.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import { controlRequest } from '../../internal/node/control-system.ts';
import { refuseRunning, whileIdle } from '../../internal/node/node-lock-system.ts';
import type { NodeStatus } from '../../internal/node/status.ts';
import { applianceId } from '../../internal/kube/kubelet/node/identity.ts';
import { runDirectoryState } from '../../internal/node/run-directory-system.ts';
import {
  fullStopMsMax,
  stopPodsWithStorage,
  teardownLeftovers,
  teardownRest,
} from '../../internal/node/teardown-system.ts';
import { type CommandModule, configArguments, type OutputFormat, withExamples, withOutput } from './command.ts';
import { exitCodes } from './exit-codes.ts';
import { print, stepsOf } from './output.ts';
import type { Progress } from './progress.ts';

export const command: CommandModule = {
  define(command) {
    withExamples(withOutput(command), [
      ['appliance down', 'also after a crash, and when only parts of the node are left'],
      ['appliance -c my.yaml down', 'the node of another configuration'],
    ]).action(({ output }: { output: OutputFormat }) => down(runningConfig(configArguments(command)), output));
  },
};

async function down(config: Config, output: OutputFormat): Promise<void> {
  const progress = stepsOf(output);
  const ran = await stopNode(config, progress);
  progress.done(`nothing of ${config.node.name} runs; the data stays in ${config.dataDir}`);
  print(output, { node: config.node.name, ran, dataDir: config.dataDir });
  process.exit(exitCodes.ok.code);
}

/** Stops a running node over its control socket, then removes what is left of it: also after the supervisor was killed. True when one ran. */
export async function stopNode(config: Config, progress: Progress): Promise<boolean> {
  const paths = nodePaths(config.dataDir, config.runDir);
  const running = await controlRequest<NodeStatus>(paths.controlSocket, 'GET', '/status');
  if (running && (await controlRequest(paths.controlSocket, 'POST', '/stop'))) {
    const deadline = performance.now() + fullStopMsMax;
    const stopped = new Set<string>();
    const names = running.instances.map(({ name }) => name);
    while (existsSync(`/proc/${running.pid}`)) {
      // It closes its socket shortly before it ends.
      const status = await controlRequest<NodeStatus>(paths.controlSocket, 'GET', '/status').catch(() => undefined);
      const left = status?.instances.filter(({ phase }) => phase !== 'stopped').map(({ name }) => name) ?? [];
      for (const name of status === undefined ? [] : names)
        if (!left.includes(name) && !stopped.has(name)) {
          stopped.add(name);
          progress.done(`${name} stopped`);
        }
      const step = status?.step ?? (left.length > 0 ? `stopping ${left.join(', ')}` : 'removing what is left');
      progress.wait(step);
      if (performance.now() > deadline)
        throw new AppError('DOWN', `the node did not stop within ${fullStopMsMax / 1000} s; it is at: ${step}`, {
          hint: `its log is ${paths.logs}; \`kill -9 ${running.pid}\` ends it, and \`appliance down\` once more removes what is left`,
        });
      await Bun.sleep(200);
    }
    progress.done('the node stopped');
  } else {
    await refuseStarting(config);
    progress.line('no supervisor answers; removing what may be left');
  }
  // A node that stopped in order has removed its run directory last.
  const state = runDirectoryState(config.runDir);
  if (state === 'foreign') progress.line(`${config.runDir} is left alone: no node made it`);
  else if (state !== 'missing') {
    const log = createLogger({
      write: (line) => progress.line(line.trimEnd()),
      now: () => Date.now(),
      level: { value: 'warn' },
    });
    try {
      await stopPodsWithStorage(config, applianceId(config), log, progress.wait);
    } catch (error) {
      // What is left is removed all the same; what pods had not synced is lost then.
      progress.line(`volumes could not be written out: ${errorText(error)}`);
    }
    // Nobody starts the node between the parts.
    await whileIdle(config, async () => {
      await teardownLeftovers(config, progress.wait);
      await teardownRest(config);
    });
  }
  return running !== undefined;
}

/** A start that is being prepared has no control socket yet, and what it makes must not be removed under it. */
async function refuseStarting(config: Config): Promise<void> {
  try {
    await refuseRunning(config);
  } catch (error) {
    if (errorCode(error) !== 'RUNNING') throw error;
    throw new AppError('RUNNING', errorText(error), {
      hint: 'it does not answer yet: call `appliance down` again when it has started, or end that process first (Ctrl-C, or `kill`); nothing was changed',
    });
  }
}
