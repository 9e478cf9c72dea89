import { hostname } from 'node:os';
import { readFileIfThere } from '../../internal/base/files-system.ts';
import { systemLogger } from '../../internal/base/system.ts';
import { configChanges } from '../../internal/config/changes.ts';
import type { Config } from '../../internal/config/config.ts';
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
      .action(({ start }: { start?: true }) => prepare(configArguments(command), start === true));
  },
};

/** Reads the configuration, makes what a node needs before it starts, and prints the effective configuration. */
async function prepare(from: ConfigArguments, start: boolean): Promise<void> {
  const work = async (): Promise<void> => {
    await joinAsConfigured(from);
    const config = await prepareNode(() => loadConfig(from));
    const called = nodeName(hostname());
    if (evaluateHere(configSources(from)).origins.get('node.name')?.from === 'default' && called !== config.node.name)
      systemLogger({ value: 'warn' }).warn('the host name is another one; the node keeps the name of its first start', {
        node: config.node.name,
        hostName: called,
      });
    const running = readFileIfThere(effectiveConfigFile(config.runDir));
    const node: PreparedNode = {
      config,
      applianceId: applianceId(config),
      ...(running === undefined ? {} : { changes: configChanges(JSON.parse(running) as Config, config) }),
    };
    await Bun.write(Bun.stdout, JSON.stringify(node));
  };
  // While a node runs, its supervisor has the data directory. Who is not root is told that by the preparation.
  if (!start || process.getuid?.() !== 0) return work();
  // Of two starts at once one prepares; its supervisor takes the data directory after that.
  await whileIdle(evaluateHere(configSources(from)).config, work);
}
