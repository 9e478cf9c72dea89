import { readFileSync } from 'node:fs';
import { errorText } from '../../internal/base/errors.ts';
import { systemLogger } from '../../internal/base/system.ts';
import type { Config } from '../../internal/config/config.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import { RbdNode } from '../../internal/csi/rbd-node-system.ts';
import { cleanupNetwork } from '../../internal/kube/network/teardown-system.ts';
import { applianceId } from '../../internal/kube/kubelet/node/identity.ts';
import { stopAllPods } from '../../internal/kube/kubelet/teardown-system.ts';
import { RoleCgroups } from '../../internal/node/cgroup-system.ts';
import { csiStateDir } from '../../internal/node/roles/agent.ts';
import type { TeardownPart } from '../../internal/node/teardown-system.ts';
import type { CommandModule } from './command.ts';

export const command: CommandModule = {
  define(command) {
    command.argument('<part>').argument('<file>').action(teardown);
  },
};

/** One part of taking a node down; see `internal/node/teardown-system.ts`. */
async function teardown(part: TeardownPart, configFile: string): Promise<never> {
  const config = JSON.parse(readFileSync(configFile, 'utf8')) as Config;
  const paths = nodePaths(config.dataDir, config.runDir);
  const log = systemLogger({ value: 'warn' });
  if (part === 'network') {
    await cleanupNetwork(config, paths);
    new RoleCgroups(applianceId(config), log).tearDown();
  }
  if (part === 'pods') {
    const failures: string[] = [];
    // A container that does not stop keeps no volume from being unmounted that nobody uses.
    await stopAllPods(config, paths).catch((error: unknown) => failures.push(errorText(error)));
    const volumes = new RbdNode({
      nodeId: config.node.name,
      stateDir: csiStateDir(paths.agent),
      cephConf: paths.cephConf,
      cgroupProcs: undefined,
      log,
    });
    failures.push(...(await volumes.unstageAll()));
    if (failures.length > 0) {
      console.error(failures.join('\n'));
      process.exit(1);
    }
  }
  process.exit(0);
}
