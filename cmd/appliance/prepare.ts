import type { Config } from '../../internal/config/config.ts';
import { loadConfig } from '../../internal/config/machine-system.ts';
import { prepareNode } from '../../internal/node/prepare-system.ts';

/** Reads the configuration, makes what a node needs before it starts, and prints the effective configuration. */
export async function prepare(configPath: string | undefined): Promise<void> {
  const config: Config = loadConfig(configPath);
  await prepareNode(config);
  await Bun.write(Bun.stdout, JSON.stringify(config));
}
