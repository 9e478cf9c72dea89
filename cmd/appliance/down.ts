import { existsSync } from 'node:fs';
import { AppError } from '../../internal/base/errors.ts';
import { type ConfigArguments, runningConfig } from '../../internal/config/machine-system.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import { controlRequest } from '../../internal/node/control-system.ts';
import type { NodeStatus } from '../../internal/node/supervisor-system.ts';
import { teardownLeftovers, teardownRest } from '../../internal/node/teardown-system.ts';
import { type CommandModule, configArguments, withExamples } from './command.ts';
import { createProgress } from './progress.ts';

const patienceMs = 120_000;

export const command: CommandModule = {
  define(command) {
    withExamples(command, [
      ['appliance down', 'also after a crash, and when only parts of the node are left'],
      ['appliance -c my.yaml down', 'the node of another configuration'],
    ]).action(() => down(configArguments(command)));
  },
};

/** Stops a running node over its control socket, then removes what is left of it: also after the supervisor was killed. */
async function down(from: ConfigArguments): Promise<void> {
  const config = runningConfig(from);
  const paths = nodePaths(config.dataDir, config.runDir);
  const progress = createProgress(process.stdout);
  const running = await controlRequest<NodeStatus>(paths.controlSocket, 'GET', '/status');
  if (running && (await controlRequest(paths.controlSocket, 'POST', '/stop'))) {
    const deadline = performance.now() + patienceMs;
    progress.wait('stopping the node');
    while (existsSync(`/proc/${running.pid}`)) {
      if (performance.now() > deadline)
        throw new AppError('DOWN', `the node did not stop within ${patienceMs / 1000} s`, {
          hint: `its log is ${paths.logs}; kill it and call \`appliance down\` again: it removes what is left`,
        });
      await Bun.sleep(200);
    }
    progress.done('the node stopped');
  } else progress.line('no supervisor answers; removing what may be left');
  // A node that stopped in order has removed its run directory last.
  if (existsSync(config.runDir)) {
    await teardownLeftovers(config, progress.wait);
    await teardownRest(config);
  }
  progress.done(`nothing of ${config.node.name} runs; the data stays in ${config.dataDir}`);
  process.exit(0);
}
