import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { systemLogger } from '../../internal/base/system.ts';
import { configChanges } from '../../internal/config/changes.ts';
import type { Config } from '../../internal/config/config.ts';
import { ConfigError, type ConfigProblem } from '../../internal/config/load.ts';
import { type ConfigArguments, configSources, evaluateHere, loadConfig } from '../../internal/config/machine-system.ts';
import { nodeName } from '../../internal/config/keys.ts';
import { effectiveConfigFile } from '../../internal/config/paths.ts';
import { applianceId } from '../../internal/kube/kubelet/node/identity.ts';
import { whileIdle } from '../../internal/node/node-lock-system.ts';
import { prepareNode } from '../../internal/node/prepare-system.ts';
import type { PreparedNode } from '../../internal/node/prepared-process.ts';
import { joinAsConfigured } from './join.ts';
import { type CommandModule, configArguments } from './command.ts';
import { withKeyFlags } from './key-flags.ts';

export const command: CommandModule = {
  define(command) {
    withKeyFlags(command)
      .option('--start', 'for a node that is about to start, so none may run')
      .option('--running <run directory>', 'for the node that runs there')
      .action(({ start, running }: { start?: true; running?: string }) =>
        prepare(configArguments(command), start === true, running),
      );
  },
};

/** Reads the configuration, makes what a node needs before it starts, and prints the effective configuration. */
async function prepare(from: ConfigArguments, start: boolean, running: string | undefined): Promise<void> {
  const before = running === undefined ? undefined : runningNode(from, running);
  const work = async (): Promise<void> => {
    await joinAsConfigured(from);
    const config = await prepareNode(() => loadConfig(from));
    const called = nodeName(hostname());
    if (evaluateHere(configSources(from)).origins.get('node.name')?.from === 'default' && called !== config.node.name)
      systemLogger({ value: 'warn' }).warn('the host name is another one; the node keeps the name of its first start', {
        node: config.node.name,
        hostName: called,
      });
    const node: PreparedNode = {
      config,
      applianceId: applianceId(config),
      ...(before === undefined ? {} : { changes: configChanges(before, config) }),
    };
    await Bun.write(Bun.stdout, JSON.stringify(node));
  };
  // While a node runs, its supervisor has the data directory. Who is not root is told that by the preparation.
  if (!start || process.getuid?.() !== 0) return work();
  // Of two starts at once one prepares; its supervisor takes the data directory after that.
  await whileIdle(evaluateHere(configSources(from)).config, work);
}

/** What the node with this run directory runs with. ConfigError when its directories are to be others: a new node would be made there, beside the one that runs. */
function runningNode(from: ConfigArguments, runDir: string): Config {
  const running = JSON.parse(readFileSync(effectiveConfigFile(runDir), 'utf8')) as Config;
  const { config, origins } = evaluateHere(configSources(from));
  const problems = (['dataDir', 'runDir'] as const)
    .filter((path) => config[path] !== running[path])
    .map(
      (path): ConfigProblem => ({
        origin: origins.get(path) ?? { from: 'default' },
        path,
        message: `expected ${running[path]}, which the running node has; with another one a new, empty node would start. \`appliance down\` comes before such a change`,
      }),
    );
  if (problems.length > 0) throw new ConfigError(problems);
  return running;
}
