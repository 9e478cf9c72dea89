import { cidrAddress, cidrContains, parseCidr } from '../config/cidr.ts';
import type { Config } from '../config/config.ts';
import type { LeafRequest } from './certificates.ts';

/** The cluster's authorities, by what they answer for: serving certificates, clients, aggregation, and the store's members and their clients. */
export const authorityNames = [
  'server-ca',
  'client-ca',
  'request-header-ca',
  'etcd-server-ca',
  'etcd-peer-ca',
] as const;
export type AuthorityName = (typeof authorityNames)[number];

/** A certificate that a node holds, and the authority that signs it. */
export interface Leaf {
  readonly authority: AuthorityName;
  readonly request: LeafRequest;
}

/** The identity that the API server shows to kubelets. */
export const apiserverKubeletClientName = 'system:kube-apiserver';
/** The identity of the edge role (cluster DNS) and the service proxy. */
export const edgeUserName = 'system:appliance:edge';
/** The name that every API server's certificate has, whatever its addresses are: who joined checks this one. */
export const apiserverName = 'kubernetes';

const client = (commonName: string, ...organizations: string[]): Leaf => ({
  authority: 'client-ca',
  request: { commonName, organizations, usage: 'client' },
});

/** The DNS names by which an API server is reached. */
function apiserverDnsNames(domain: string): string[] {
  return [
    apiserverName,
    'kubernetes.default',
    'kubernetes.default.svc',
    `kubernetes.default.svc.${domain}`,
    'localhost',
  ];
}

/**
 * What a server's addresses give for its certificates: the machine's own, without loopback, link-local, and those of pods and services, which come and go.
 */
export function certificateAddresses(config: Config, machine: readonly string[]): string[] {
  const inside = [config.cluster.podCIDR, config.cluster.serviceCIDR].map(parseCidr);
  const own = machine.filter(
    (address) =>
      !address.startsWith('127.') &&
      !address.startsWith('169.254.') &&
      !inside.some((cidr) => cidrContains(cidr, address)),
  );
  return [...new Set([config.node.ip, ...own])].sort();
}

/** The certificates of a server. `addresses` as `certificateAddresses` gives them. */
export function serverLeaves(config: Config, addresses: readonly string[]): Record<string, Leaf> {
  const { name } = config.node;
  const apiserviceIp = cidrAddress(parseCidr(config.cluster.serviceCIDR), 1);
  const extra = config.tlsSans ?? [];
  const isAddress = (san: string): boolean => /^\d+(\.\d+){3}$/.test(san);
  const ipAddresses = [...new Set(['127.0.0.1', ...addresses, apiserviceIp, ...extra.filter(isAddress)])];
  const dnsNames = [
    ...new Set([...apiserverDnsNames(config.cluster.domain), name, ...extra.filter((san) => !isAddress(san))]),
  ];
  const member = (authority: AuthorityName): Leaf => ({
    authority,
    request: {
      commonName: `etcd-${name}`,
      usage: 'peer',
      dnsNames: [...new Set(['localhost', name])],
      ipAddresses: [...new Set(['127.0.0.1', ...addresses])],
    },
  });
  return {
    apiserver: {
      authority: 'server-ca',
      request: { commonName: 'kube-apiserver', usage: 'server', dnsNames, ipAddresses },
    },
    'apiserver-kubelet-client': client(apiserverKubeletClientName),
    admin: client('system:admin', 'system:masters'),
    'request-header-client': {
      authority: 'request-header-ca',
      request: { commonName: 'system:auth-proxy', usage: 'client' },
    },
    'etcd-server': member('etcd-server-ca'),
    'etcd-peer': member('etcd-peer-ca'),
    'etcd-client': { authority: 'etcd-server-ca', request: { commonName: 'etcd-client', usage: 'client' } },
  };
}

/** Every name and address in a server's certificates: a serving certificate of another machine for one of them would pass for the server's. */
export function serverSans(config: Config, addresses: readonly string[]): string[] {
  const requests = Object.values(serverLeaves(config, addresses)).map(({ request }) => request);
  return [...new Set(requests.flatMap(({ dnsNames, ipAddresses }) => [...(dnsNames ?? []), ...(ipAddresses ?? [])]))];
}

/** The certificates of a node, by the names of their files. */
export const nodeLeafNames = ['kubelet', 'kubelet-serving', 'edge'] as const;
export type NodeLeafName = (typeof nodeLeafNames)[number];

/** What a node is: the same for the server that signs and the node that checks. */
export function nodeLeaf(leaf: NodeLeafName, node: string, addresses: readonly string[]): Leaf {
  if (leaf === 'edge') return client(edgeUserName);
  if (leaf === 'kubelet') return client(`system:node:${node}`, 'system:nodes');
  return {
    authority: 'server-ca',
    request: {
      commonName: `system:node:${node}`,
      organizations: ['system:nodes'],
      usage: 'server',
      dnsNames: [...new Set([node, 'localhost'])],
      ipAddresses: [...new Set(['127.0.0.1', ...addresses])],
    },
  };
}
