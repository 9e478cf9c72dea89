import { readFileSync } from 'node:fs';
import type { RoleContext, RoleHandle } from '../../node/role.ts';
import type { EndpointSlice, Service } from '../api/types.ts';
import type { KubeObject, ObjectMeta } from '../client/api.ts';
import { Informer } from '../client/informer.ts';
import { endpointSlicesRef, servicesRef } from '../client/resources.ts';
import { apiClient } from '../kubelet/api-client.ts';
import { parseResolvConf } from '../kubelet/pod/sandbox-config.ts';
import { DnsServer } from './dns/dns-server.ts';
import { Forwarder } from './dns/forwarder-client.ts';
import { buildZone, type Zone } from './dns/zone.ts';

type ApiService = Service & KubeObject & { metadata: ObjectMeta };
type ApiSlice = EndpointSlice & KubeObject & { metadata: ObjectMeta };

/** Changes of one moment are taken together. */
const gatherMs = 50;

/** Role `edge`: the cluster's DNS, on the node's address; pods reach it through the Service kube-dns. */
export async function start(context: RoleContext): Promise<RoleHandle> {
  const { clock, config, log, paths, random } = context;
  const client = apiClient(config, paths, 'edge', 'appliance-edge');
  const services = new Informer<ApiService>({ client, resource: servicesRef, clock, log });
  const slices = new Informer<ApiSlice>({ client, resource: endpointSlicesRef, clock, log });
  let current: { zone: Zone; serial: number } | undefined;
  let scheduled = false;
  const rebuild = (): void => {
    if (scheduled) return;
    scheduled = true;
    clock.after(gatherMs, () => {
      scheduled = false;
      if (!services.hasSynced || !slices.hasSynced) return;
      const zone = buildZone(services.list(), slices.list(), config.cluster.domain);
      current = { zone, serial: Math.floor(clock.now() / 1000) };
    });
  };
  const changed = { onAdd: rebuild, onUpdate: rebuild, onDelete: rebuild };
  services.handle(changed);
  slices.handle(changed);
  void Promise.all([services.synced, slices.synced]).then(rebuild);
  const stop = new AbortController();
  const informers = [services.run(stop.signal), slices.run(stop.signal)];
  // Asking ourselves would go round for ever.
  const own = new Set([config.cluster.dnsIP, ...(config.ports.dns === 53 ? [config.node.ip] : [])]);
  const servers = hostServers().filter((server) => !own.has(server));
  const server = new DnsServer({
    address: config.node.ip,
    port: config.ports.dns,
    domain: config.cluster.domain,
    zone: () => current,
    forwarder: new Forwarder({ servers, clock, random }),
    clock,
    log,
  });
  await server.start();
  return {
    health: () => ({
      ok: true,
      detail: current ? `${current.zone.size} names, ${server.answered} questions` : 'waits for the API server',
    }),
    stop: async () => {
      stop.abort();
      await server.stop();
      await Promise.all(informers);
    },
  };
}

function hostServers(): string[] {
  try {
    return parseResolvConf(readFileSync('/etc/resolv.conf', 'utf8')).servers;
  } catch {
    return [];
  }
}
