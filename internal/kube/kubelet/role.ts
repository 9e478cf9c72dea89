import type { RoleContext, RoleHandle } from '../../node/role.ts';
import { nftTable } from '../network/nft-render.ts';
import { PodNetwork } from '../network/pod-network-shell.ts';
import { ServiceProxy } from '../network/service-proxy-shell.ts';
import { apiClient } from './api-client.ts';
import { type Kubelet, startKubelet } from './kubelet-main.ts';
import { applianceId } from './node/identity.ts';
import { hostPorts } from './pod/host-ports.ts';
import { KubeletServer } from './server/kubelet-server.ts';

export interface KubeletHandle extends RoleHandle {
  /** The node's certificates were renewed. */
  renew(): void;
}

/** The node agent: pods over containerd, their network, services, and the kubelet's HTTPS server. `unwanted`: why the node is not to register itself. */
export async function start(
  context: RoleContext,
  unwanted: () => string | undefined = () => undefined,
): Promise<KubeletHandle> {
  const { clock, config, log, paths, random } = context;
  const client = apiClient(config, paths, 'kubelet', 'kubelet/v1.36.0');
  const edge = apiClient(config, paths, 'edge', 'appliance-proxy');
  const network = new PodNetwork({
    config,
    paths,
    client,
    // All nodes are read as `edge`, which may; a node's own identity reads its own Node alone.
    reader: edge,
    clock,
    log: log.with({ component: 'network' }),
    changed: () => {
      proxy.changed();
      kubelet?.node.kick();
    },
  });
  const stop = new AbortController();
  const proxy = new ServiceProxy({
    // Services and endpoints are read as `edge`, which may; a node's own identity may not list endpoints.
    client: edge,
    settings: () =>
      network.facts && {
        table: nftTable(applianceId(config)),
        bridge: network.facts.bridge,
        nodePodCIDR: network.facts.podCIDR,
        clusterPodCIDR: config.cluster.podCIDR,
        serviceCIDR: config.cluster.serviceCIDR,
        masqueradeLocal: network.facts.masqueradeLocal,
      },
    nodeName: config.node.name,
    hostPorts: () => hostPorts(kubelet?.pods.pods() ?? []),
    clock,
    log: log.with({ component: 'proxy' }),
  });
  let kubelet: Kubelet | undefined;
  // Each waits for the other's news: the network for the Node that the kubelet makes, the kubelet's readiness for the network.
  const loops = [network.run(stop.signal), proxy.run(stop.signal)];
  const started = await startKubelet({
    config,
    paths,
    client,
    clock,
    random,
    log,
    networkProblem: () => network.problem,
    podsChanged: () => proxy.changed(),
    unwanted,
  });
  kubelet = started;
  const server = new KubeletServer({ config, paths, kubelet: started, clock, log });
  await server.start();
  return {
    health: () => {
      const own = started.health();
      if (!own.ok) return own;
      return {
        ok: true,
        detail: [own.detail, unwanted(), network.trouble, proxy.problem]
          .filter((part) => part !== undefined)
          .join('; '),
      };
    },
    renew: () => server.renew(),
    stop: async () => {
      stop.abort();
      await server.stop();
      await Promise.all([started.stop(), ...loops]);
    },
  };
}
