import { z } from 'zod';
import { ipv4Text, isIPv4, parseCidr } from '../config/cidr.ts';
import { type Config, storageEngines } from '../config/config.ts';
import type { EndpointSlice } from '../kube/api/types.ts';

/** What the nodes of a cluster must agree on. */
export interface ClusterFacts {
  /** The node that answers. */
  readonly node: string;
  readonly cluster: Config['cluster'];
  readonly ports: { readonly api: number; readonly dns: number };
  /** Formats and protocols between our own programs; nodes of another level are told so. */
  readonly featureLevel: number;
}

/** The level of this executable. */
export const featureLevel = 1;

/** The answer of `/v1-appliance/cluster`. */
export interface ClusterInfo extends ClusterFacts {
  readonly format: 1;
  /** Addresses of API servers, `host:port`. */
  readonly servers: readonly string[];
  /** The server's clock. */
  readonly nowMs: number;
}

export function clusterFacts(config: Config): ClusterFacts {
  return {
    node: config.node.name,
    cluster: config.cluster,
    ports: { api: config.ports.api, dns: config.ports.dns },
    featureLevel,
  };
}

const cidr = z.string().regex(/^\d+\.\d+\.\d+\.\d+\/\d{1,2}$/);
const port = z.int().min(1).max(65535);
export const serverAddress = z.string().regex(/^[A-Za-z0-9][-A-Za-z0-9.]{0,252}:\d{1,5}$/);

/** What a joining node reads; everything a server of this version sends fits. */
export const clusterInfoSchema = z.object({
  format: z.literal(1),
  node: z.string().max(253),
  cluster: z.object({
    podCIDR: cidr,
    serviceCIDR: cidr,
    dnsIP: z.string().refine(isIPv4),
    domain: z.string().max(253),
    serviceNodePortRange: z.tuple([port, port]),
    networkBackend: z.enum(['vxlan', 'host-gw', 'auto', 'none']),
  }),
  ports: z.object({ api: port, dns: port }),
  featureLevel: z.int().min(1),
  servers: z.array(serverAddress).max(64),
  nowMs: z.number(),
});

export const cephKey = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9+/]+=*$/);

/** What of `/v1-appliance/ceph` is read. */
export const cephAccessSchema = z.object({
  fsid: z.uuid(),
  monHosts: z
    .array(
      z
        .string()
        .max(200)
        .regex(/^[\w[\]:.,/-]+$/),
    )
    .min(1)
    .max(32),
  /** Absent: `embedded`. */
  engine: z.enum(storageEngines).optional(),
  /** Absent: `cephx`. */
  auth: z.literal('none').optional(),
  /** Absent where no OSD of another node can be part of the storage. */
  bootstrapOsdKey: cephKey.optional(),
});

/** Where API servers are, `host:port` each, as a slice of the Service `kubernetes` has it. */
export function serverAddresses({ endpoints, ports }: EndpointSlice): string[] {
  const port = ports?.find((one) => one.name === 'https' || one.name === undefined)?.port ?? 6443;
  return (endpoints ?? []).flatMap((endpoint) => endpoint.addresses.map((address) => `${address}:${port}`));
}

/** Go's JSON of a net.IPNet. */
function goNetwork(text: string): { IP: string; Mask: string } {
  const { base, prefix } = parseCidr(text);
  const mask = Buffer.alloc(4);
  mask.writeUInt32BE(prefix === 0 ? 0 : (0xffff_ffff << (32 - prefix)) >>> 0);
  return { IP: ipv4Text(base), Mask: mask.toString('base64') };
}

/** `/v1-k3s/config`: what K3s' agents read of a server's `config.Control` (`pkg/daemons/config/types.go`). */
export function k3sConfig(facts: ClusterFacts): Record<string, unknown> {
  const { cluster, ports } = facts;
  const [low, high] = cluster.serviceNodePortRange;
  return {
    APIServerPort: ports.api,
    HTTPSPort: ports.api,
    SupervisorPort: ports.api,
    AdvertisePort: ports.api,
    ClusterIPRange: goNetwork(cluster.podCIDR),
    ClusterIPRanges: [goNetwork(cluster.podCIDR)],
    ServiceIPRange: goNetwork(cluster.serviceCIDR),
    ServiceIPRanges: [goNetwork(cluster.serviceCIDR)],
    ServiceNodePortRange: { Base: low, Size: high - low + 1 },
    ClusterDNS: cluster.dnsIP,
    ClusterDNSs: [cluster.dnsIP],
    ClusterDomain: cluster.domain,
    FlannelBackend: 'vxlan',
    DisableKubeProxy: false,
    DisableNPC: false,
  };
}
