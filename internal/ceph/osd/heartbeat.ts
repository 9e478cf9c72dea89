import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { FailureKind } from '../wire/messages/osd_mon.ts';
import { utimeFromMs } from '../wire/encoding.ts';
import type { PeerPingTimes } from '../wire/messages/osd_mgr.ts';
import type { MOSDPing } from '../wire/messages/osd_ping.ts';
import { type EntityAddrVec, sameAddrs } from '../wire/types.ts';
import type { ClockDeltas } from './clock-deltas.ts';
import type { MapView } from './map-view.ts';
import type { OsdOptions } from './osd-options.ts';
import { PingStatistics } from './ping-times.ts';

/** A loop that is later than this does not believe the silence it measured meanwhile. */
const stallMs = 4000;
const refusedAgainMs = 1000;

export interface HeartbeatHost {
  readonly whoami: number;
  readonly fsid: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: Random;
  options(): OsdOptions;
  map(): MapView | undefined;
  /** Of our present life; 0 while no map shows it. */
  upFrom(): number;
  clockDeltas(): ClockDeltas;
  /** OSDs that share PGs with us. */
  peers(): Set<number>;
  sendPing(osd: number, addrs: EntityAddrVec, body: MOSDPing): void;
  /** Closes the connection to an address that is not wanted any more. */
  forget(osd: number): void;
  reportFailure(osd: number, kind: FailureKind, failedForMs: number): void;
}

/** The way to a peer over one network: `back` is that between OSDs, `front` that of clients. */
interface Link {
  readonly network: Network;
  readonly addrs: EntityAddrVec;
  /** `clock.monotonic` of the first ping that was not answered yet; 0: none. */
  unansweredMs: number;
  readonly times: PingStatistics;
}

type Network = 'back' | 'front';

interface Peer {
  /** The front one only where it is another address. */
  links: Link[];
  reported: boolean;
  /** When nobody listening there was last reported. */
  refusedMs: number;
}

/** Pings the OSDs that share PGs with this one, and tells the mon of those that do not answer. */
export class Heartbeats {
  readonly #host: HeartbeatHost;
  readonly #peers = new Map<number, Peer>();
  /** When the next tick should come. */
  #dueMs = Number.POSITIVE_INFINITY;

  constructor(host: HeartbeatHost) {
    this.#host = host;
  }

  get peers(): number[] {
    return [...this.#peers.keys()].sort((a, b) => a - b);
  }

  /** How long pings to each peer took, as far as it is known. */
  pings(): PeerPingTimes[] {
    return this.peers.map((osd) => {
      const { links } = this.#peers.get(osd)!;
      return { osd, back: links[0]!.times.times, front: links[1]?.times.times };
    });
  }

  /** At random moments, so that OSDs do not all ping at once: milliseconds until the next `tick`. */
  nextTickMs(): number {
    const { random, options, clock } = this.#host;
    const delayMs = 500 + (Math.floor(random.float() * 10) / 10) * options().heartbeatInterval * 1000;
    this.#dueMs = clock.monotonic() + delayMs;
    return delayMs;
  }

  tick(): void {
    const host = this.#host;
    const map = host.map();
    const nowMs = host.clock.monotonic();
    const stalled = nowMs - this.#dueMs > stallMs;
    if (map === undefined || !map.isUp(host.whoami)) {
      // What was not answered while we were down says nothing.
      for (const osd of this.#peers.keys()) host.forget(osd);
      this.#peers.clear();
      return;
    }
    this.#choose(map);
    const graceMs = host.options().heartbeatGrace * 1000;
    for (const [osd, peer] of this.#peers) {
      let silentMs = 0;
      for (const link of peer.links) {
        if (stalled && link.unansweredMs > 0) link.unansweredMs = nowMs;
        host.sendPing(osd, link.addrs, {
          ...this.#body('ping', osd, nowMs),
          pingStamp: utimeFromMs(host.clock.now()),
          monoPingStampMs: nowMs,
        });
        if (link.unansweredMs === 0) link.unansweredMs = nowMs;
        const since = nowMs - link.unansweredMs;
        if (since > graceMs) host.log.warn('no heartbeat', { osd, network: link.network, silentMs: Math.round(since) });
        silentMs = Math.max(silentMs, since);
      }
      if (silentMs <= graceMs) continue;
      peer.reported = true;
      host.reportFailure(osd, 'failed', silentMs);
    }
  }

  #body(op: MOSDPing['op'], to: number, nowMs: number): Omit<MOSDPing, 'pingStamp' | 'monoPingStampMs'> {
    const host = this.#host;
    return {
      fsid: host.fsid,
      op,
      epoch: host.map()?.epoch ?? 0,
      upFrom: host.upFrom(),
      monoSendStampMs: nowMs,
      deltaUbMs: host.clockDeltas().ourUb(to),
    };
  }

  /** Those that share PGs, and our neighbours by number: somebody watches everybody (`maybe_update_heartbeat_peers`). */
  #choose(map: MapView): void {
    const host = this.#host;
    const wanted = host.peers();
    const up = [...map.osds()].filter((osd) => map.isUp(osd) && osd !== host.whoami).sort((a, b) => a - b);
    const next = up.find((osd) => osd > host.whoami) ?? up[0];
    const previous = up.filter((osd) => osd < host.whoami).at(-1) ?? up.at(-1);
    if (next !== undefined) wanted.add(next);
    if (previous !== undefined) wanted.add(previous);
    wanted.delete(host.whoami);
    const least = host.options().heartbeatMinPeers;
    for (const osd of [...up.filter((osd) => osd > host.whoami), ...up]) {
      if (wanted.size >= least) break;
      wanted.add(osd);
    }
    for (const [osd, peer] of this.#peers)
      if (!wanted.has(osd) || !map.isUp(osd) || !sameWays(peer.links, waysTo(map, osd))) {
        this.#peers.delete(osd);
        host.forget(osd);
      }
    for (const osd of wanted) {
      if (this.#peers.has(osd) || !map.isUp(osd)) continue;
      const ways = waysTo(map, osd);
      if (ways.length === 0) continue;
      const link = ({ network, addrs }: Way): Link => ({
        network,
        addrs,
        unansweredMs: 0,
        times: new PingStatistics(),
      });
      this.#peers.set(osd, { links: ways.map(link), reported: false, refusedMs: Number.NEGATIVE_INFINITY });
    }
  }

  /** A ping of the OSD `from` came: gives the answer. */
  answer(from: number, ping: MOSDPing): MOSDPing {
    const map = this.#host.map();
    const died = map !== undefined && map.epoch > ping.epoch && !map.isUp(from);
    const nowMs = this.#host.clock.monotonic();
    this.#host.clockDeltas().heard(from, ping, nowMs);
    const { pingStamp, monoPingStampMs } = ping;
    return { ...this.#body(died ? 'you-died' : 'reply', from, nowMs), pingStamp, monoPingStampMs };
  }

  /** The OSD `from`, on a connection to `addrs`, has answered. */
  onReply(from: number, addrs: EntityAddrVec, ping: MOSDPing): void {
    const peer = this.#peers.get(from);
    const link = peer?.links.find((each) => sameAddrs(each.addrs, addrs));
    if (peer === undefined || link === undefined) return;
    const { clock } = this.#host;
    const nowMs = clock.monotonic();
    this.#host.clockDeltas().heard(from, ping, nowMs);
    link.unansweredMs = 0;
    link.times.add(nowMs - ping.monoPingStampMs, clock.now());
    const graceMs = this.#host.options().heartbeatGrace * 1000;
    const silent = peer.links.some((each) => each.unansweredMs > 0 && nowMs - each.unansweredMs > graceMs);
    if (!peer.reported || silent) return;
    peer.reported = false;
    this.#host.reportFailure(from, 'alive', 0);
  }

  /** Nobody listens at the peer's address any more: its process is gone. Repeated while that lasts: a report may be lost. */
  refused(osd: number): void {
    const peer = this.#peers.get(osd);
    const nowMs = this.#host.clock.monotonic();
    if (peer === undefined || nowMs < peer.refusedMs + refusedAgainMs) return;
    if (!this.#host.options().fastFailOnConnectionRefused) return;
    this.#host.log.info('connection refused: the OSD is gone', { osd });
    peer.refusedMs = nowMs;
    peer.reported = true;
    this.#host.reportFailure(osd, 'immediate', 0);
  }
}

interface Way {
  network: Network;
  addrs: EntityAddrVec;
}

function waysTo(map: MapView, osd: number): Way[] {
  const back = map.heartbeatAddrs(osd);
  const front = map.heartbeatFrontAddrs(osd);
  if (back.length === 0) return [];
  const ways: Way[] = [{ network: 'back', addrs: back }];
  if (front.length > 0 && !sameAddrs(back, front)) ways.push({ network: 'front', addrs: front });
  return ways;
}

function sameWays(a: readonly Way[], b: readonly Way[]): boolean {
  return a.length === b.length && a.every(({ addrs }, i) => sameAddrs(addrs, b[i]!.addrs));
}
