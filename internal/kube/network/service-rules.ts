import { createHash } from 'node:crypto';
import { cidrContains, isIPv4, parseCidr } from '../../config/cidr.ts';
import type { EndpointSlice, Service } from '../api/types.ts';

export interface Backend {
  readonly ip: string;
  readonly port: number;
}

/** One port of one service, as the node forwards it. */
export interface ServicePortRule {
  /** Stable, fits a name in the kernel: `dns-3f2a…`. */
  readonly id: string;
  /** `namespace/name:port`, for people. */
  readonly title: string;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly port: number;
  readonly clusterIPs: readonly string[];
  /** External and load-balancer addresses. */
  readonly externalIPs: readonly string[];
  readonly nodePort: number;
  /** Seconds of ClientIP affinity, 0 for none. */
  readonly affinitySeconds: number;
  /** For the cluster IP. */
  readonly backends: readonly Backend[];
  /** For what comes from outside; the same list unless externalTrafficPolicy is Local. */
  readonly externalBackends: readonly Backend[];
  /** Where what comes from outside keeps its source address. */
  readonly externalLocal: boolean;
}

/** A container's port on the node's addresses. */
export interface HostPort {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** '' for every address of the node. */
  readonly hostIP: string;
  readonly hostPort: number;
  readonly podIP: string;
  readonly containerPort: number;
}

export const serviceNameLabel = 'kubernetes.io/service-name';

interface Candidate extends Backend {
  readonly ready: boolean;
  readonly serving: boolean;
  readonly local: boolean;
  /** Nodes that should prefer it, as the EndpointSlice hints; undefined for no hint. */
  readonly forNodes: readonly string[] | undefined;
}

function candidates(
  slices: readonly EndpointSlice[],
  portName: string,
  protocol: string,
  nodeName: string,
): Candidate[] {
  const out = new Map<string, Candidate>();
  for (const slice of slices) {
    if (slice.addressType !== 'IPv4') continue;
    for (const port of slice.ports ?? []) {
      if ((port.name ?? '') !== portName || (port.protocol ?? 'TCP') !== protocol || !port.port) continue;
      for (const endpoint of slice.endpoints ?? []) {
        const ready = endpoint.conditions?.ready !== false;
        const serving = endpoint.conditions?.serving ?? ready;
        for (const ip of endpoint.addresses.slice(0, 1)) {
          if (!isIPv4(ip)) continue;
          const key = `${ip}:${port.port}`;
          const before = out.get(key);
          out.set(key, {
            ip,
            port: port.port,
            ready: ready || before?.ready === true,
            serving: serving || before?.serving === true,
            local: endpoint.nodeName === nodeName || before?.local === true,
            forNodes: endpoint.hints?.forNodes?.map(({ name }) => name),
          });
        }
      }
    }
  }
  return [...out.values()].sort((a, b) => a.ip.localeCompare(b.ip) || a.port - b.port);
}

/** Ready backends; while there are none, those that end but still serve (KEP-1669). `onlyLocal`: the policy Local, which hints do not soften. */
function usable(list: readonly Candidate[], nodeName: string, onlyLocal: boolean): Backend[] {
  const near = onlyLocal ? list.filter((c) => c.local) : list;
  const all = near.filter((c) => c.ready);
  // Hints count when every ready endpoint has one and this node is named (KEP-3015).
  const hinted =
    onlyLocal || all.some((c) => c.forNodes === undefined) ? [] : all.filter((c) => c.forNodes?.includes(nodeName));
  const ready = hinted.length > 0 ? hinted : all;
  return (ready.length > 0 ? ready : near.filter((c) => c.serving)).map(({ ip, port }) => ({ ip, port }));
}

/** What the node forwards for `services`; IPv4 only. */
export function servicePortRules(
  services: readonly Service[],
  slices: readonly EndpointSlice[],
  nodeName: string,
): ServicePortRule[] {
  const byService = new Map<string, EndpointSlice[]>();
  for (const slice of slices) {
    const name = slice.metadata.labels?.[serviceNameLabel];
    if (!name) continue;
    const key = `${slice.metadata.namespace ?? ''}/${name}`;
    const list = byService.get(key);
    if (list) list.push(slice);
    else byService.set(key, [slice]);
  }
  const out: ServicePortRule[] = [];
  for (const service of services) {
    const { spec } = service;
    if (!spec || spec.type === 'ExternalName' || !spec.clusterIP || spec.clusterIP === 'None') continue;
    const key = `${service.metadata.namespace ?? ''}/${service.metadata.name ?? ''}`;
    const own = byService.get(key) ?? [];
    const clusterIPs = (spec.clusterIPs ?? [spec.clusterIP]).filter(isIPv4);
    const ingress = (service.status?.loadBalancer?.ingress ?? []).flatMap((i) => (i.ip && isIPv4(i.ip) ? [i.ip] : []));
    for (const port of spec.ports ?? []) {
      const protocol = port.protocol ?? 'TCP';
      const list = candidates(own, port.name ?? '', protocol, nodeName);
      const externalLocal = spec.externalTrafficPolicy === 'Local';
      const title = `${key}:${port.name ?? port.port}/${protocol.toLowerCase()}`;
      out.push({
        id: createHash('sha256').update(title).digest('hex').slice(0, 12),
        title,
        protocol: protocol.toLowerCase() as ServicePortRule['protocol'],
        port: port.port,
        clusterIPs,
        externalIPs: [...new Set([...(spec.externalIPs ?? []).filter(isIPv4), ...ingress])],
        nodePort: port.nodePort ?? 0,
        affinitySeconds:
          spec.sessionAffinity === 'ClientIP' ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800) : 0,
        backends: usable(list, nodeName, spec.internalTrafficPolicy === 'Local'),
        externalBackends: usable(list, nodeName, externalLocal),
        externalLocal,
      });
    }
  }
  return out.sort((a, b) => a.title.localeCompare(b.title));
}

/** True for addresses of this node's pods. */
export function inNetwork(cidr: string, ip: string): boolean {
  return cidrContains(parseCidr(cidr), ip);
}
