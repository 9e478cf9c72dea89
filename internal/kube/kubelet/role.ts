import type { RoleContext, RoleHandle } from '../../node/role.ts';
import { nftTable } from '../network/nft-render.ts';
import { setUpNetwork } from '../network/network-shell.ts';
import { ServiceProxy } from '../network/service-proxy-shell.ts';
import { apiClient } from './api-client.ts';
import { startKubelet } from './kubelet-main.ts';
import { applianceId } from './node/identity.ts';
import { hostPorts } from './pod/host-ports.ts';
import { KubeletServer } from './server/kubelet-server.ts';

/** The node agent: pods over containerd, their network, services, and the kubelet's HTTPS server. */
export async function start(context: RoleContext): Promise<RoleHandle> {
  const { clock, config, log, paths, random } = context;
  const client = apiClient(config, paths, 'kubelet', 'kubelet/v1.36.0');
  const network = await setUpNetwork(config, log);
  const stop = new AbortController();
  const proxy = new ServiceProxy({
    // Services and endpoints are read as `edge`, which may; a node's own identity may not list endpoints.
    client: apiClient(config, paths, 'edge', 'appliance-proxy'),
    settings: {
      table: nftTable(applianceId(config)),
      bridge: network.bridge,
      nodePodCIDR: network.podCIDR,
      clusterPodCIDR: config.cluster.podCIDR,
      serviceCIDR: config.cluster.serviceCIDR,
      masqueradeLocal: network.masqueradeLocal,
    },
    nodeName: config.node.name,
    hostPorts: () => hostPorts(kubelet.pods.pods()),
    clock,
    log: log.with({ component: 'proxy' }),
  });
  const kubelet = await startKubelet({
    config,
    paths,
    client,
    clock,
    random,
    log,
    podCIDR: network.podCIDR,
    networkProblem: () => undefined,
    podsChanged: () => proxy.changed(),
  });
  const rules = proxy.run(stop.signal);
  const server = new KubeletServer({ config, paths, kubelet, clock, log });
  await server.start();
  return {
    health: () => {
      const own = kubelet.health();
      if (!own.ok) return own;
      return { ok: true, detail: proxy.problem ? `${own.detail}; ${proxy.problem}` : own.detail };
    },
    stop: async () => {
      stop.abort();
      await server.stop();
      await Promise.all([kubelet.stop(), rules]);
    },
  };
}
