import { serveCsi } from '../../csi/grpc-server.ts';
import { identityService, rbdDriverName } from '../../csi/identity.ts';
import { RbdNode } from '../../csi/rbd-node-system.ts';
import { keepIdentity } from '../../join/keep-identity-client.ts';
import { start as startKubelet } from '../../kube/kubelet/role.ts';
import { applianceId } from '../../kube/kubelet/node/identity.ts';
import { RoleCgroups, volumesGroup } from '../cgroup-system.ts';
import { findServers } from '../find-servers-client.ts';
import type { RoleContext, RoleHandle } from '../role.ts';
import { isRemoved } from './server-waiting-system.ts';

/** Where the node side of the rbd driver keeps what it has staged. */
export function csiStateDir(agentDir: string): string {
  return `${agentDir}/csi/${rbdDriverName}`;
}

/** The node agent: the kubelet, and the node side of our CSI driver on its socket, as a driver's pod would serve it. */
export async function start(context: RoleContext): Promise<RoleHandle> {
  const { config, paths, log } = context;
  const node = new RbdNode({
    nodeId: config.node.name,
    stateDir: csiStateDir(paths.agent),
    cephConf: paths.cephConf,
    cgroupProcs: new RoleCgroups(applianceId(config), log).ensure(volumesGroup, undefined, true),
    log: log.with({ component: 'csi-rbd' }),
  });
  const driver = await serveCsi(
    `${paths.plugins}/${rbdDriverName}/csi.sock`,
    { Identity: identityService({ name: rbdDriverName, version: '1', controller: false }), Node: node.service() },
    log,
  );
  const kubelet = await startKubelet(context, () =>
    isRemoved(paths) ? 'the other servers have removed this one: it registers no node' : undefined,
  );
  const stopping = new AbortController();
  const kept = keepIdentity(context, {
    renewed: () => kubelet.renew(),
    discover: () => findServers(paths, context.clock),
    stopping: stopping.signal,
  });
  return {
    health: () => kubelet.health(),
    stop: async () => {
      stopping.abort();
      await kept;
      await kubelet.stop();
      await driver.close();
    },
  };
}
