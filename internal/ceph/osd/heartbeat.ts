import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { FailureKind } from '../wire/messages/osd_mon.ts';
import { utimeFromMs } from '../wire/encoding.ts';
import type { MOSDPing } from '../wire/messages/osd_ping.ts';
import { type EntityAddrVec, sameAddrs } from '../wire/types.ts';
import type { ClockDeltas } from './clock-deltas.ts';
import type { MapView } from './map-view.ts';

/** `osd_heartbeat_interval` is 6 s upstream; a failed process is found by its connection, this is for those that hang. */
const intervalMs = 2000;
/** `osd_heartbeat_grace`. */
export const graceMs = 20_000;
/** A loop that stood still for this long does not believe the silence it measured meanwhile. */
const stallMs = 6000;
const refusedAgainMs = 1000;

export interface HeartbeatHost {
  readonly whoami: number;
  readonly fsid: string;
  readonly clock: Clock;
  readonly log: Logger;
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

interface Peer {
  addrs: EntityAddrVec;
  /** `clock.monotonic` of the first ping that was not answered yet; 0: none. */
  unansweredMs: number;
  lastReplyMs: number;
  reported: boolean;
  /** When nobody listening there was last reported. */
  refusedMs: number;
  roundTripMs: number;
}

/** Pings the OSDs that share PGs with this one, and tells the mon of those that do not answer. */
export class Heartbeats {
  readonly #host: HeartbeatHost;
  readonly #peers = new Map<number, Peer>();
  #lastTickMs = 0;

  constructor(host: HeartbeatHost) {
    this.#host = host;
  }

  static readonly intervalMs = intervalMs;

  get peers(): number[] {
    return [...this.#peers.keys()].sort((a, b) => a - b);
  }

  /** Every `intervalMs`. */
  tick(): void {
    const host = this.#host;
    const map = host.map();
    const nowMs = host.clock.monotonic();
    const stalled = this.#lastTickMs > 0 && nowMs - this.#lastTickMs > stallMs;
    this.#lastTickMs = nowMs;
    if (map === undefined || !map.isUp(host.whoami)) {
      // What was not answered while we were down says nothing.
      for (const osd of this.#peers.keys()) host.forget(osd);
      this.#peers.clear();
      return;
    }
    this.#choose(map);
    for (const [osd, peer] of this.#peers) {
      if (stalled && peer.unansweredMs > 0) peer.unansweredMs = nowMs;
      host.sendPing(osd, peer.addrs, {
        ...this.#body('ping', osd, nowMs),
        pingStamp: utimeFromMs(host.clock.now()),
        monoPingStampMs: nowMs,
      });
      if (peer.unansweredMs === 0) {
        peer.unansweredMs = nowMs;
        continue;
      }
      const silentMs = nowMs - peer.unansweredMs;
      if (silentMs > graceMs) {
        host.log.warn('no heartbeat', { osd, silentMs: Math.round(silentMs) });
        peer.reported = true;
        host.reportFailure(osd, 'failed', silentMs);
      }
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
    for (const [osd, peer] of this.#peers)
      if (!wanted.has(osd) || !map.isUp(osd) || !sameAddrs(peer.addrs, map.heartbeatAddrs(osd))) {
        this.#peers.delete(osd);
        host.forget(osd);
      }
    for (const osd of wanted) {
      if (this.#peers.has(osd) || !map.isUp(osd)) continue;
      const addrs = map.heartbeatAddrs(osd);
      if (addrs.length > 0)
        this.#peers.set(osd, {
          addrs,
          unansweredMs: 0,
          lastReplyMs: 0,
          reported: false,
          refusedMs: Number.NEGATIVE_INFINITY,
          roundTripMs: 0,
        });
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
    if (peer === undefined || !sameAddrs(peer.addrs, addrs)) return;
    const nowMs = this.#host.clock.monotonic();
    this.#host.clockDeltas().heard(from, ping, nowMs);
    peer.unansweredMs = 0;
    peer.lastReplyMs = nowMs;
    peer.roundTripMs = nowMs - ping.monoPingStampMs;
    if (!peer.reported) return;
    peer.reported = false;
    this.#host.reportFailure(from, 'alive', 0);
  }

  /** Nobody listens at the peer's address any more: its process is gone. Repeated while that lasts: a report may be lost. */
  refused(osd: number): void {
    const peer = this.#peers.get(osd);
    const nowMs = this.#host.clock.monotonic();
    if (peer === undefined || nowMs < peer.refusedMs + refusedAgainMs) return;
    this.#host.log.info('connection refused: the OSD is gone', { osd });
    peer.refusedMs = nowMs;
    peer.reported = true;
    this.#host.reportFailure(osd, 'immediate', 0);
  }
}
