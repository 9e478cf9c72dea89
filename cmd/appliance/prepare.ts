import type { Config } from '../../internal/config/config.ts';
import { type ConfigArguments, loadConfig } from '../../internal/config/machine-system.ts';
import { prepareNode } from '../../internal/node/prepare-system.ts';
import { type CommandModule, configArguments } from './command.ts';
import { withKeyFlags } from './key-flags.ts';

export const command: CommandModule = {
  define(command) {
    withKeyFlags(command).action(() => prepare(configArguments(command)));
  },
};

/** Reads the configuration, makes what a node needs before it starts, and prints the effective configuration. */
async function prepare(from: ConfigArguments): Promise<void> {
  const config: Config = loadConfig(from);
  await prepareNode(config);
  await Bun.write(Bun.stdout, JSON.stringify(config));
}
