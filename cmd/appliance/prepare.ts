import { type ConfigArguments, loadConfig } from '../../internal/config/machine-system.ts';
import { applianceId } from '../../internal/kube/kubelet/node/identity.ts';
import { prepareNode } from '../../internal/node/prepare-system.ts';
import type { PreparedNode } from '../../internal/node/prepared-process.ts';
import { type CommandModule, configArguments } from './command.ts';
import { withKeyFlags } from './key-flags.ts';

export const command: CommandModule = {
  define(command) {
    withKeyFlags(command).action(() => prepare(configArguments(command)));
  },
};

/** Reads the configuration, makes what a node needs before it starts, and prints the effective configuration. */
async function prepare(from: ConfigArguments): Promise<void> {
  const config = await prepareNode(loadConfig(from));
  const node: PreparedNode = { config, applianceId: applianceId(config) };
  await Bun.write(Bun.stdout, JSON.stringify(node));
}
