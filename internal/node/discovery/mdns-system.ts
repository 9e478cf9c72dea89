import dgram from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { encode, type Packet } from 'dns-packet';
import { type Clock, sleep } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import {
  type Announcement,
  announcementPacket,
  claimsHost,
  type DiscoveredServer,
  decodeMessage,
  hostName,
  type LinkAddress,
  linkOf,
  linksToSpeakOn,
  mdnsGroup,
  mdnsPort,
  probePacket,
  queryPacket,
  replyTo,
  serversIn,
} from './mdns.ts';

/** Interfaces come and go: a cable, an address by DHCP. */
const linksEveryMs = 10_000;
/** RFC 6762 8.1: three probes, so far apart. */
const probeMs = 250;
/** How often anybody is answered: a burst, then as many a second. */
const replyBurst = 50;
const repliesPerSecond = 10;
/** How long others are waited for once one has answered. */
const graceMs = 300;
const askEveryMs = 1_000;
const maxServers = 256;

type MessageHandler = (bytes: Buffer, from: dgram.RemoteInfo) => void;

/** The machine's IPv4 addresses in this network namespace that mDNS is spoken on. */
function machineLinks(clusterNetworks: readonly string[]): LinkAddress[] {
  const all = Object.entries(networkInterfaces()).flatMap(([name, list]) =>
    (list ?? [])
      .filter((one) => one.family === 'IPv4' && !one.internal)
      .map(({ address, netmask }) => ({ name, address, netmask })),
  );
  return linksToSpeakOn(all, clusterNetworks);
}

/** A bound socket; a rejection where it cannot be (the port belongs to somebody who does not share). */
function bound(port: number, address: string, onMessage: MessageHandler): Promise<dgram.Socket> {
  const socket = dgram.createSocket({ type: 'udp4', reuseAddr: true });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ port, address, exclusive: false }, () => {
      socket.off('error', reject);
      socket.on('error', () => undefined);
      socket.on('message', onMessage);
      socket.setMulticastTTL(255);
      resolve(socket);
    });
  });
}

/** Follows the group on a link; false when the interface is gone again or takes no multicast. */
function joined(socket: dgram.Socket, { address }: LinkAddress): boolean {
  try {
    socket.addMembership(mdnsGroup, address);
    return true;
  } catch {
    return false;
  }
}

/** Sends on one link. An error means that the link is down: whoever asks again is answered when it is up. */
function sendOn(socket: dgram.Socket, { address }: LinkAddress, packet: Packet, to = mdnsGroup, port = mdnsPort): void {
  try {
    if (to === mdnsGroup) socket.setMulticastInterface(address);
    socket.send(encode(packet), port, to, () => undefined);
  } catch {
    // The address went away between the look and the call.
  }
}

export interface AnnouncerOptions {
  readonly announcement: Announcement;
  /** Networks that are inside the cluster: nobody is answered there. */
  readonly clusterNetworks: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Tells the local network that this node is a server of its cluster, until `close`, which says good-bye. It never fails: a machine without multicast is a machine that
 * is joined by address.
 */
export function startAnnouncer(options: AnnouncerOptions): { close(): Promise<void> } {
  const { announcement, clock, clusterNetworks, log } = options;
  const stop = new AbortController();
  const members = new Map<string, LinkAddress>();
  let socket: dgram.Socket | undefined;
  let taken = false;
  let tokens = replyBurst;
  let tokensAtMs = clock.monotonic();

  const mayReply = (): boolean => {
    const now = clock.monotonic();
    tokens = Math.min(replyBurst, tokens + ((now - tokensAtMs) / 1000) * repliesPerSecond);
    tokensAtMs = now;
    if (tokens < 1) return false;
    tokens--;
    return true;
  };
  const onMessage: MessageHandler = (bytes, from) => {
    const link = linkOf([...members.values()], from.address);
    const packet = link && decodeMessage(bytes);
    if (!link || !packet || !socket) return;
    if (!taken && claimsHost(packet, hostName(announcement, false), new Set(members.keys()))) {
      taken = true;
      log.warn('another machine has this name in .local', {
        name: hostName(announcement, false),
        instead: hostName(announcement, true),
        from: from.address,
      });
    }
    const reply = replyTo(packet, from.port, announcement, hostName(announcement, taken), link.address);
    if (!reply || !mayReply()) return;
    if (reply.unicast) sendOn(socket, link, reply.packet, from.address, from.port);
    else sendOn(socket, link, reply.packet);
  };

  /** Joins the group on what is new; tells what is. */
  const look = (current: dgram.Socket): LinkAddress[] => {
    const now = machineLinks(clusterNetworks);
    for (const [address] of members) if (!now.some((link) => link.address === address)) members.delete(address);
    const added = now.filter(
      (link) => !members.has(link.address) && (joined(current, link) || known.has(link.address)),
    );
    for (const link of added) {
      members.set(link.address, link);
      known.add(link.address);
    }
    return added;
  };
  /** Addresses that the kernel may still hold a membership for: joining twice is an error. */
  const known = new Set<string>();

  const run = async (): Promise<void> => {
    let told = false;
    while (!stop.signal.aborted) {
      try {
        socket ??= await bound(mdnsPort, '0.0.0.0', onMessage);
        const added = look(socket);
        if (added.length > 0) {
          for (let i = 0; i < 3 && !taken && !stop.signal.aborted; i++) {
            for (const link of added) sendOn(socket, link, probePacket(hostName(announcement, false)));
            await sleep(clock, probeMs, stop.signal);
          }
          if (stop.signal.aborted) break;
          for (const link of added)
            sendOn(socket, link, announcementPacket(announcement, hostName(announcement, taken), link.address));
        }
      } catch (error) {
        if (!told) log.warn('this server cannot be found by mDNS', { error: errorText(error) });
        told = true;
      }
      await sleep(clock, linksEveryMs, stop.signal);
    }
  };
  const running = run();
  return {
    close: async () => {
      stop.abort();
      await running;
      if (!socket) return;
      for (const link of members.values())
        sendOn(socket, link, announcementPacket(announcement, hostName(announcement, taken), link.address, 0));
      // The datagrams are in the kernel when the last call back has come; a turn of the loop is enough for a local send.
      await new Promise<void>((resolve) => setImmediate(resolve));
      socket.close();
    },
  };
}

export interface DiscoveryResult {
  /** Servers of the wanted cluster, the first that answered first. */
  readonly servers: readonly DiscoveredServer[];
  /** Servers of other clusters that answered meanwhile: for the message when there is none of ours. */
  readonly others: readonly DiscoveredServer[];
}

/**
 * Looks for the servers of the cluster whose CA has the hash `caHash` (SHA-256 in hexadecimal, as in a token) on every link of this machine. Resolves shortly after
 * the first answer, or after `timeoutMs` with none. Asks from port 5353 (answers come to everybody, which firewalls let through) and from one of its own (answers come to
 * it alone, where the port is taken).
 */
export async function discoverServers(
  caHash: string,
  options: { timeoutMs: number; clock: Clock; signal?: AbortSignal },
): Promise<DiscoveryResult> {
  const { clock, timeoutMs } = options;
  const wanted = caHash.toLowerCase();
  const servers = new Map<string, DiscoveredServer>();
  const others = new Map<string, DiscoveredServer>();
  const done = new AbortController();
  options.signal?.addEventListener('abort', () => done.abort(), { once: true });
  let links: LinkAddress[] = [];
  const onMessage: MessageHandler = (bytes, from) => {
    const packet = linkOf(links, from.address) && decodeMessage(bytes);
    for (const server of packet ? serversIn(packet, from.address) : []) {
      const found = server.caHash === wanted ? servers : others;
      const key = `${server.address}:${server.port}`;
      if (found.size < maxServers && !found.has(key)) found.set(key, server);
      if (found === servers) clock.after(graceMs, () => done.abort());
    }
  };
  const sockets = new Map<string, dgram.Socket>();
  const open = async (key: string, port: number, address: string): Promise<void> => {
    if (sockets.has(key)) return;
    const socket = await bound(port, address, onMessage).catch(() => undefined);
    if (socket) sockets.set(key, socket);
  };
  const deadline = clock.monotonic() + timeoutMs;
  const timer = clock.after(timeoutMs, () => done.abort());
  const member = new Set<string>();
  try {
    while (!done.signal.aborted && clock.monotonic() < deadline) {
      links = machineLinks([]);
      await open('shared', mdnsPort, '0.0.0.0');
      const shared = sockets.get('shared');
      for (const link of links) {
        await open(link.address, 0, link.address);
        const own = sockets.get(link.address);
        if (shared && (member.has(link.address) || joined(shared, link))) {
          member.add(link.address);
          sendOn(shared, link, queryPacket());
        }
        if (own) sendOn(own, link, queryPacket());
      }
      await sleep(clock, askEveryMs, done.signal);
    }
  } finally {
    timer.cancel();
    for (const socket of sockets.values()) socket.close();
  }
  return { servers: [...servers.values()], others: [...others.values()] };
}
