import { cidrContains, isIPv4, parseCidr } from '../config/cidr.ts';

/**
 * Which names and addresses a node may be certified for. The authority of nodes' serving certificates signs those of API servers too, and clients check an
 * API server by its name or address alone: a certificate for one of them would pass for it.
 */

/** What a node says of itself. */
export interface NodeClaim {
  /** In lower case. */
  readonly name: string;
  readonly addresses: readonly string[];
}

export interface TakenIdentities {
  /** The node of the server that signs: its name is kept by its password, its addresses are its own. */
  readonly server: { readonly node: string; readonly addresses: readonly string[] };
  /** Names and addresses in the server's certificates. */
  readonly serverSans: readonly string[];
  /** Every API server, `host:port`. */
  readonly servers: readonly string[];
  readonly cluster: { readonly domain: string; readonly podCIDR: string; readonly serviceCIDR: string };
  readonly nodes: readonly NodeClaim[];
}

/** Why a claim is refused; `by` is the node that has what it claims. */
export interface ClaimRefusal {
  readonly why: string;
  readonly by?: string;
}

/** Addresses of no machine (RFC 6890, RFC 5771): this host, loopback, multicast, reserved and broadcast. */
const noMachines = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3'].map(parseCidr);

/** Undefined: the node may have all that it claims. */
export function claimRefusal(claim: NodeClaim, taken: TakenIdentities): ClaimRefusal | undefined {
  const { name } = claim;
  const own = name === taken.server.node;
  const ofServers = new Set(
    [...taken.serverSans, ...taken.servers.map((server) => server.replace(/:\d+$/, ''))].map((one) =>
      one.toLowerCase(),
    ),
  );
  if (!own && (ofServers.has(name) || ofCluster(name, taken.cluster.domain)))
    return { why: `no node may be called ${name}: API servers or services are` };
  // A name in the form of an address is one to clients that compare texts.
  for (const address of [...claim.addresses, ...(isIPv4(name) ? [name] : [])]) {
    if (own && taken.server.addresses.includes(address)) continue;
    if (noMachines.some((network) => cidrContains(network, address)))
      return { why: `${address} is no address that other machines reach node ${name} by` };
    if (ofServers.has(address)) return { why: `${address} is an address of the server, not of node ${name}` };
    for (const key of ['podCIDR', 'serviceCIDR'] as const)
      if (cidrContains(parseCidr(taken.cluster[key]), address))
        return { why: `${address} is inside the cluster's ${key} ${taken.cluster[key]}: it is no address of a node` };
    const other = taken.nodes.find((node) => node.name !== name && node.addresses.includes(address));
    if (other)
      return {
        why: `${address} is the address of node ${other.name}, not of node ${name}; if that node is gone for good, \`kubectl delete node ${other.name}\` frees it`,
        by: other.name,
      };
  }
  return undefined;
}

/** True for names that the cluster's DNS gives: of the domain, of services and pods; and for names of loopback. */
function ofCluster(name: string, domain: string): boolean {
  return [domain.toLowerCase(), 'svc', 'localhost'].some((zone) => name === zone || name.endsWith(`.${zone}`));
}
