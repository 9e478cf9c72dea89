import { createHash } from 'node:crypto';
import { cidrAddress, cidrContains, cidrsOverlap, isIPv4, parseCidr } from '../../config/cidr.ts';
import type { Node } from '../api/types.ts';

/**
 * How pods of other nodes are reached, as flannel does it and with its names (flannel's `pkg/subnet/kube/annotations.go`, `pkg/backend/vxlan`), so that tools which
 * know K3s find what they expect. Every node says in annotations of its Node object how it is reached; from all Nodes follows what the kernel must hold.
 */

const prefix = 'flannel.alpha.coreos.com/';
export const annotation = {
  backendData: `${prefix}backend-data`,
  backendType: `${prefix}backend-type`,
  publicIP: `${prefix}public-ip`,
  publicIPOverwrite: `${prefix}public-ip-overwrite`,
  kubeSubnetManager: `${prefix}kube-subnet-manager`,
} as const;

export const vxlanId = 1;
export const vxlanPort = 8472;
/** Outer Ethernet, IPv4, UDP and VXLAN headers. */
export const vxlanOverhead = 50;
/** Marks our routes among all others (`rt_protos`; the number is ours, unknown to iproute2's table). */
export const routeProtocol = 142;

/** How this node sends to others. `vxlan`: in a tunnel; `host-gw`: by plain routes; `auto`: by plain routes where the other is on the same link, else in a tunnel. */
export type OverlayBackend = 'vxlan' | 'host-gw' | 'auto';

/** A locally administered address that follows from the node's name: it stays the same over restarts, so that others' entries stay right. */
export function vtepMac(nodeName: string): string {
  const bytes = createHash('sha256').update(nodeName).digest().subarray(0, 6);
  bytes[0] = (bytes[0]! & 0xfe) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** What this node says of itself. Without a tunnel device `mac` is undefined. */
export function ownAnnotations(ip: string, mac: string | undefined): Record<string, string> {
  return {
    [annotation.backendData]: mac === undefined ? 'null' : JSON.stringify({ VNI: vxlanId, VtepMAC: mac }),
    [annotation.backendType]: mac === undefined ? 'host-gw' : 'vxlan',
    [annotation.kubeSubnetManager]: 'true',
    [annotation.publicIP]: ip,
  };
}

/** Another node as its Node object tells. */
export interface Peer {
  readonly name: string;
  readonly podCIDR: string;
  readonly ip: string;
  /** Of its tunnel device; undefined where it has none. */
  readonly mac: string | undefined;
}

/** A node that cannot be reached, with the reason in words. */
export interface Unreachable {
  readonly node: string;
  readonly why: string;
}

/** The node's own part of what is needed to reach others. */
export interface OverlaySelf {
  readonly nodeName: string;
  readonly ip: string;
  readonly podCIDR: string;
  readonly clusterPodCIDR: string;
  readonly backend: OverlayBackend;
  /** The tunnel device; undefined where there is none. */
  readonly device: string | undefined;
  /** The interface that has `ip`, and the networks that are on its link. */
  readonly link: string;
  readonly linkNetworks: readonly string[];
}

export interface OverlayRoute {
  readonly via: string;
  readonly dev: string;
  /** The gateway counts as reachable though no address of the device says so. */
  readonly onlink: boolean;
}

/** What the kernel must hold. */
export interface Overlay {
  /** Pod network -> next hop. */
  readonly routes: ReadonlyMap<string, OverlayRoute>;
  /** Next hop in the tunnel -> MAC address. */
  readonly neighbours: ReadonlyMap<string, string>;
  /** MAC address -> the node's address outside the tunnel. */
  readonly forwarding: ReadonlyMap<string, string>;
}

const macPattern = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/;

/** A network as the kernel writes it; undefined for what is none. */
export function canonicalCidr(text: string): string | undefined {
  const [address, bits, more] = text.split('/');
  if (more !== undefined || !isIPv4(address ?? '') || !/^\d{1,2}$/.test(bits ?? '') || Number(bits) > 32)
    return undefined;
  const cidr = parseCidr(text);
  return `${cidrAddress(cidr, 0)}/${cidr.prefix}`;
}

function macOf(data: string | undefined): string | undefined {
  try {
    const value = JSON.parse(data ?? 'null') as { VNI?: unknown; VtepMAC?: unknown } | null;
    const mac = typeof value?.VtepMAC === 'string' ? value.VtepMAC.toLowerCase() : '';
    return value?.VNI === vxlanId && macPattern.test(mac) ? mac : undefined;
  } catch {
    return undefined;
  }
}

/** The other nodes that can be reached by what they say, and those that cannot. A node that has not said anything yet is neither. */
export function peersOf(nodes: readonly Node[], self: OverlaySelf): { peers: Peer[]; unreachable: Unreachable[] } {
  const peers: Peer[] = [];
  const unreachable: Unreachable[] = [];
  const cluster = parseCidr(self.clusterPodCIDR);
  const taken: { name: string; cidr: string }[] = [{ name: self.nodeName, cidr: self.podCIDR }];
  const byName = (a: Node, b: Node): number => ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1);
  for (const node of [...nodes].sort(byName)) {
    const name = node.metadata.name ?? '';
    if (name === self.nodeName) continue;
    const notes = node.metadata.annotations ?? {};
    const written = node.spec?.podCIDR;
    const ip = notes[annotation.publicIPOverwrite] ?? notes[annotation.publicIP];
    if (!written || ip === undefined) continue;
    const podCIDR = canonicalCidr(written);
    const bad = (why: string): void => void unreachable.push({ node: name, why });
    if (podCIDR === undefined || !cidrContains(cluster, podCIDR.split('/')[0]!))
      bad(`its pod network ${written} is not inside the cluster's, ${self.clusterPodCIDR}`);
    else if (!isIPv4(ip)) bad(`its address ${ip} is not an IPv4 address`);
    else if (ip === self.ip) bad(`it says that its address is ${ip}, which is this node's`);
    else {
      const other = taken.find(({ cidr }) => cidrsOverlap(parseCidr(cidr), parseCidr(podCIDR)));
      if (other) bad(`its pod network ${podCIDR} overlaps the one of ${other.name}, ${other.cidr}`);
      else {
        taken.push({ name, cidr: podCIDR });
        peers.push({ name, podCIDR, ip, mac: macOf(notes[annotation.backendData]) });
      }
    }
  }
  return { peers, unreachable };
}

/** What the kernel must hold so that this node reaches the pods of `nodes`, and which nodes it cannot reach. */
export function desiredOverlay(
  nodes: readonly Node[],
  self: OverlaySelf,
): { overlay: Overlay; unreachable: Unreachable[] } {
  const { peers, unreachable } = peersOf(nodes, self);
  const routes = new Map<string, OverlayRoute>();
  const neighbours = new Map<string, string>();
  const forwarding = new Map<string, string>();
  const { device } = self;
  for (const { ip, mac, name, podCIDR } of peers) {
    const near = self.linkNetworks.some((network) => cidrContains(parseCidr(network), ip));
    const tunnel = device !== undefined && mac !== undefined;
    // Who has no tunnel is reached by a plain route also by those that have one.
    if (near && (self.backend !== 'vxlan' || !tunnel)) routes.set(podCIDR, { via: ip, dev: self.link, onlink: false });
    else if (tunnel) {
      const inner = cidrAddress(parseCidr(podCIDR), 0);
      routes.set(podCIDR, { via: inner, dev: device, onlink: true });
      neighbours.set(inner, mac);
      forwarding.set(mac, ip);
    } else
      unreachable.push({
        node: name,
        why: `its address ${ip} is not on the link of this node (${self.linkNetworks.join(', ') || self.ip}), and ${
          device === undefined ? 'this node' : 'it'
        } has no vxlan tunnel`,
      });
  }
  return { overlay: { routes, neighbours, forwarding }, unreachable };
}

/** Lines for `ip -batch` and `bridge -batch` (ip(8), bridge(8)). */
export interface OverlayChanges {
  readonly ip: readonly string[];
  readonly bridge: readonly string[];
}

/** What turns `actual` into `wanted`. Ways are made before what leads to them, and taken away after it. */
export function overlayChanges(actual: Overlay, wanted: Overlay, device: string | undefined): OverlayChanges {
  const before: string[] = [];
  const ip: string[] = [];
  const bridge: string[] = [];
  for (const [cidr, route] of actual.routes)
    if (!wanted.routes.has(cidr)) before.push(`route del ${cidr} dev ${route.dev} proto ${routeProtocol}`);
  if (device !== undefined) {
    for (const [mac, to] of actual.forwarding)
      if (wanted.forwarding.get(mac) !== to) bridge.push(`fdb del ${mac} dev ${device} dst ${to} self`);
    for (const [mac, to] of wanted.forwarding)
      if (actual.forwarding.get(mac) !== to) bridge.push(`fdb append ${mac} dev ${device} dst ${to} self permanent`);
    for (const address of actual.neighbours.keys())
      if (!wanted.neighbours.has(address)) before.push(`neigh del ${address} dev ${device}`);
    for (const [address, mac] of wanted.neighbours)
      if (actual.neighbours.get(address) !== mac)
        ip.push(`neigh replace ${address} lladdr ${mac} dev ${device} nud permanent`);
  }
  for (const [cidr, { dev, onlink, via }] of wanted.routes) {
    const is = actual.routes.get(cidr);
    if (is && is.via === via && is.dev === dev) continue;
    ip.push(`route replace ${cidr} via ${via} dev ${dev}${onlink ? ' onlink' : ''} proto ${routeProtocol}`);
  }
  return { ip: [...before, ...ip], bridge };
}

/** What iproute2 shows of our routes, of the tunnel's neighbours and of its forwarding entries (`-j`). */
export interface Shown {
  readonly routes: readonly { dst: string; gateway?: string; dev?: string }[];
  readonly neighbours: readonly { dst: string; lladdr?: string; state?: readonly string[] }[];
  readonly forwarding: readonly { mac: string; dst?: string }[];
}

/** What the kernel holds. */
export function actualOverlay({ forwarding, neighbours, routes }: Shown): Overlay {
  return {
    routes: new Map(
      routes.map(({ dev, dst, gateway }) => [
        dst.includes('/') ? dst : `${dst}/32`,
        { via: gateway ?? '', dev: dev ?? '', onlink: false },
      ]),
    ),
    neighbours: new Map(
      neighbours.flatMap(({ dst, lladdr, state }) =>
        lladdr && isIPv4(dst) && state?.includes('PERMANENT') ? [[dst, lladdr.toLowerCase()] as const] : [],
      ),
    ),
    forwarding: new Map(
      forwarding.flatMap(({ dst, mac }) => (dst && mac !== '00:00:00:00:00:00' ? [[mac.toLowerCase(), dst]] : [])),
    ),
  };
}
