import type { Answer, DecodedPacket, Packet, Question } from 'dns-packet';
import { decodeDnsMessage } from '../../base/dns-message.ts';
import { cidrContains, ipv4Number, ipv4Text, isIPv4, parseCidr } from '../../config/cidr.ts';

/**
 * What a server says of itself by multicast DNS (RFC 6762) in the form of DNS-SD (RFC 6763), and how one is found. Nothing here is trusted: a machine that joins
 * proves the server by the hash in its token.
 */

export const mdnsPort = 5353;
export const mdnsGroup = '224.0.0.251';
export const serviceType = '_appliance._tcp.local';
const serviceTypes = '_services._dns-sd._udp.local';

/** RFC 6762 17: longer messages are not multicast DNS. */
const maxMessageBytes = 9000;
const maxQuestions = 32;
/** RFC 6762 10: of records that hold a host's name or address, and of all others. */
const hostTtl = 120;
const serviceTtl = 4500;
/** RFC 6762 6.7: what a plain resolver keeps no longer. */
const legacyTtl = 10;
/** The bit of a class that asks for a unicast answer, or says that a record is the only one (RFC 6762 18.12, 18.13). */
const topBit = 0x8000;

/** What a server announces. */
export interface Announcement {
  /** The node's name, a DNS label. */
  readonly node: string;
  /** Of the Kubernetes API. */
  readonly port: number;
  /** SHA-256 of the cluster's CA certificate as in a token, in hexadecimal. */
  readonly caHash: string;
  readonly roles: readonly string[];
}

/** A server that answered. */
export interface DiscoveredServer {
  readonly node: string;
  readonly address: string;
  readonly port: number;
  readonly caHash: string;
  readonly roles: readonly string[];
}

/** A name of one label: dots would make it several. */
const label = (text: string): string => text.replaceAll('.', '-').slice(0, 63);

/** `<node>.local`; where another machine has that name, one that only this cluster's node has. */
export function hostName({ caHash, node }: Announcement, taken: boolean): string {
  return `${taken ? `${label(node).slice(0, 50)}-${caHash.slice(0, 8)}` : label(node)}.local`;
}

const instanceName = (announcement: Announcement): string => `${label(announcement.node)}.${serviceType}`;

interface Records {
  readonly types: Answer;
  readonly pointer: Answer;
  readonly service: Answer;
  readonly text: Answer;
  readonly address: Answer;
}

function records(announcement: Announcement, host: string, address: string, ttl?: number): Records {
  const { caHash, node, port, roles } = announcement;
  const instance = instanceName(announcement);
  const short = ttl ?? hostTtl;
  const long = ttl ?? serviceTtl;
  return {
    types: { type: 'PTR', name: serviceTypes, ttl: long, data: serviceType },
    pointer: { type: 'PTR', name: serviceType, ttl: long, data: instance },
    service: { type: 'SRV', name: instance, ttl: short, data: { priority: 0, weight: 0, port, target: host } },
    text: {
      type: 'TXT',
      name: instance,
      ttl: long,
      data: ['txtvers=1', `ca=${caHash}`, `node=${node}`, `roles=${roles.join(',')}`],
    },
    address: { type: 'A', name: host, ttl: short, data: address },
  };
}

const response = { type: 'response', id: 0, flags: 0x0400 } as const;

/** What a server says unasked on the interface with `address`; with `ttl` 0 that it goes. */
export function announcementPacket(announcement: Announcement, host: string, address: string, ttl?: number): Packet {
  const all = records(announcement, host, address, ttl);
  // A host's address outlives the service: others may still ask for it.
  const answers = [all.pointer, all.service, all.text, ...(ttl === 0 ? [] : [all.address])];
  return { ...response, answers };
}

export interface MdnsReply {
  readonly packet: Packet;
  /** To the asker alone instead of everybody. */
  readonly unicast: boolean;
}

const sameName = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

/**
 * The reply to a message that came in, undefined when there is nothing to say. `fromPort` tells a plain resolver (any port but 5353), which gets a plain DNS answer.
 */
export function replyTo(
  query: DecodedPacket,
  fromPort: number,
  announcement: Announcement,
  host: string,
  address: string,
): MdnsReply | undefined {
  if (query.type !== 'query' || ((query.flags ?? 0) >>> 11) & 0xf) return undefined;
  const legacy = fromPort !== mdnsPort;
  const all = records(announcement, host, address, legacy ? legacyTtl : undefined);
  const questions = (query.questions ?? []).slice(0, maxQuestions);
  const answers = new Set<Answer>();
  const additionals = new Set<Answer>();
  let unicast = legacy;
  for (const question of questions) {
    const found = answersFor(question, all);
    if (found.length > 0 && wantsUnicast(question)) unicast = true;
    for (const one of found) answers.add(one);
  }
  // What the asker knows for at least half of its life need not be said again (RFC 6762 7.1).
  for (const known of query.answers ?? [])
    if (
      known.type === 'PTR' &&
      sameName(known.name, serviceType) &&
      sameName(known.data, instanceName(announcement)) &&
      (known.ttl ?? 0) >= serviceTtl / 2
    )
      answers.delete(all.pointer);
  if (answers.size === 0) return undefined;
  if (answers.has(all.pointer)) for (const one of [all.service, all.text, all.address]) additionals.add(one);
  if (answers.has(all.service)) additionals.add(all.address);
  for (const one of answers) additionals.delete(one);
  return {
    packet: {
      ...response,
      ...(legacy ? { id: query.id ?? 0, questions } : {}),
      answers: [...answers],
      additionals: [...additionals],
    },
    unicast,
  };
}

function answersFor({ name, type }: Question, all: Records): Answer[] {
  return Object.values(all).filter(
    (one: Answer) => sameName(one.name, name) && ((type as string) === 'ANY' || one.type === type),
  );
}

/** dns-packet leaves a class that it does not know as `UNKNOWN_<number>`. */
function wantsUnicast(question: Question): boolean {
  const match = /^UNKNOWN_(\d+)$/.exec(String(question.class ?? ''));
  return match !== null && (Number(match[1]) & topBit) !== 0;
}

/** True when a message says that another machine has the name `host`. */
export function claimsHost(packet: DecodedPacket, host: string, ownAddresses: ReadonlySet<string>): boolean {
  return (
    packet.type === 'response' &&
    [...(packet.answers ?? []), ...(packet.additionals ?? [])].some(
      (one) => one.type === 'A' && sameName(one.name, host) && (one.ttl ?? 0) > 0 && !ownAddresses.has(one.data),
    )
  );
}

/** Asks who is a server. */
export function queryPacket(): Packet {
  return { type: 'query', id: 0, questions: [{ type: 'PTR', name: serviceType }] };
}

/** Asks who has the name `host`. */
export function probePacket(host: string): Packet {
  return { type: 'query', id: 0, questions: [{ type: 'A', name: host }] };
}

/** The message in a datagram; undefined for what is none or is too large. */
export function decodeMessage(bytes: Uint8Array): DecodedPacket | undefined {
  return bytes.length > maxMessageBytes ? undefined : decodeDnsMessage(bytes);
}

/** The servers that a message names whole: with their port and the hash of their CA. `from` is who sent it. */
export function serversIn(packet: DecodedPacket, from: string): DiscoveredServer[] {
  if (packet.type !== 'response') return [];
  const all = [...(packet.answers ?? []), ...(packet.additionals ?? [])];
  const out: DiscoveredServer[] = [];
  for (const one of all) {
    if (one.type !== 'SRV' || !one.name.toLowerCase().endsWith(`.${serviceType}`) || one.ttl === 0) continue;
    const text = all.find((other) => other.type === 'TXT' && sameName(other.name, one.name));
    if (text?.type !== 'TXT') continue;
    const fields = textFields(text.data);
    const caHash = fields.get('ca')?.toLowerCase();
    const { port, target } = one.data;
    if (!caHash || !/^[0-9a-f]{64}$/.test(caHash) || port < 1) continue;
    const address = all.find((other) => other.type === 'A' && sameName(other.name, target));
    out.push({
      node: fields.get('node') ?? one.name.slice(0, one.name.indexOf('.')),
      address: address?.type === 'A' && isIPv4(address.data) ? address.data : from,
      port,
      caHash,
      roles: (fields.get('roles') ?? '').split(',').filter((role) => role !== ''),
    });
  }
  return out;
}

function textFields(data: string | Buffer | (string | Buffer)[]): Map<string, string> {
  const fields = new Map<string, string>();
  for (const one of Array.isArray(data) ? data : [data]) {
    const text = String(one);
    const at = text.indexOf('=');
    const key = text.slice(0, Math.max(0, at)).toLowerCase();
    // The first of a key counts (RFC 6763 6.4).
    if (key !== '' && !fields.has(key)) fields.set(key, text.slice(at + 1));
  }
  return fields;
}

/** An interface's address with its network. */
export interface LinkAddress {
  readonly name: string;
  readonly address: string;
  readonly netmask: string;
}

/** The interfaces to speak on: those that other machines may be behind, not the pods' and not another container engine's. */
export function linksToSpeakOn(links: readonly LinkAddress[], clusterNetworks: readonly string[]): LinkAddress[] {
  const networks = clusterNetworks.map(parseCidr);
  return links.filter(
    ({ name, address }) =>
      isIPv4(address) &&
      !address.startsWith('127.') &&
      !/^(lo|cni|docker|br-[0-9a-f]{12}$|veth|virbr|flannel|cali|podman)/.test(name) &&
      !networks.some((network) => cidrContains(network, address)),
  );
}

/** The link that a sender is on; undefined for one from elsewhere, whom nobody answers (RFC 6762 11). */
export function linkOf(links: readonly LinkAddress[], sender: string): LinkAddress | undefined {
  if (!isIPv4(sender)) return undefined;
  return links.find(({ address, netmask }) => {
    const mask = ipv4Number(netmask);
    const network = (value: string): string => ipv4Text((ipv4Number(value) & mask) >>> 0);
    return network(address) === network(sender);
  });
}
