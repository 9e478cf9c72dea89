import type { Clock } from '../../base/clock.ts';
import { AppError, assert, errorCode, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Timer } from '../../base/clock.ts';
import { DecodeError } from '../../base/bytes.ts';
import { encoded, Decoder } from './encoding.ts';
import { FEATURES_PACIFIC } from './features.ts';
import {
  type ClientIdent,
  decodeClientIdent,
  decodeServerIdent,
  decodeSessionReconnect,
  encodeClientIdent,
  encodeServerIdent,
  encodeSessionReconnect,
  type Frame,
  IDENT_LOSSY,
  TAG_CLIENT_IDENT,
  TAG_IDENT_MISSING_FEATURES,
  TAG_SERVER_IDENT,
  TAG_SESSION_RECONNECT,
  TAG_SESSION_RECONNECT_OK,
  TAG_SESSION_RESET,
  TAG_SESSION_RETRY,
  TAG_SESSION_RETRY_GLOBAL,
  TAG_WAIT,
} from './frame-format.ts';
import { segmentOf } from './frame-writer.ts';
import { Link, type LinkHandlers } from './link.ts';
import type {
  Connection,
  ConnectionPolicy,
  Dispatcher,
  Messenger,
  MessengerLimits,
  MessengerOptions,
  PeerIdentity,
} from './messenger.ts';
import { acceptedKey, acceptedPeer } from './peer-name.ts';
import { Session, type SessionOwner } from './session.ts';
import type { Network, Transport } from './transport.ts';
import {
  ADDR_MSGR2,
  addrText,
  addrV2,
  addrVecText,
  type EntityAddr,
  type EntityAddrVec,
  type EntityNum,
} from './types.ts';

export const defaultLimits: MessengerLimits = {
  maxFrontBytes: 64 << 20,
  maxDataBytes: 100 << 20,
  receiveBytes: 64 << 20,
  totalReceiveBytes: 256 << 20,
  sendHighWaterBytes: 16 << 20,
  sendHoldBytes: 80 << 20,
  sendMaxBytes: 160 << 20,
  maxConnections: 4096,
  maxHandshakesPerAddress: 128,
  maxHandshakes: 1024,
  handshakeMs: 15_000,
  idleMs: 900_000,
};

const sweepMs = 2_000;
/** Upstream's `ms bind port min` to `max`. */
const firstDaemonPort = 6800;
const daemonPorts = 769;
const reconnectMinMs = 50;
const reconnectMaxMs = 5_000;

/** Messenger over any network: see `Messenger` for what it does, `createMessenger` for the one over TCP. */
export class MessengerCore implements Messenger, SessionOwner {
  readonly #o: MessengerOptions;
  readonly #network: Network;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: MessengerLimits;
  readonly dispatcher: Dispatcher;
  entity: EntityNum;
  heldBytes = 0;
  readonly #nonce: number;
  #addrs: EntityAddr[] = [];
  #listener: { close(): void } | undefined;
  /** Links without a session yet, with the time by which they must have one. */
  readonly #handshakes = new Map<Link, number>();
  readonly #sessions = new Set<Session>();
  readonly #byLink = new Map<Link, Session>();
  /** Lossless sessions: dialled by `type|addrs`, accepted by `acceptedKey`. */
  readonly #lossless = new Map<string, Session>();
  readonly #retries = new Map<Session, { timer: Timer | undefined; delayMs: number }>();
  #globalSeq = 0n;
  #sweeper: Timer | undefined;
  /** Refused for being too many, since the last sweep. */
  #refusedConnections = 0;
  #closed = false;
  #releasing = false;
  /** Sessions whose links wait for budget. */
  readonly #stalled = new Set<Session>();
  /** Lossless sessions whose peers are behind by `sendHoldBytes`. */
  readonly #behind = new Set<Session>();

  constructor(options: MessengerOptions, network: Network) {
    this.#o = options;
    this.#network = network;
    this.clock = options.clock;
    this.log = options.log;
    this.dispatcher = options.dispatcher;
    this.entity = options.entity;
    this.limits = { ...defaultLimits, ...options.limits };
    this.#nonce = options.random.uint32() >>> 1 || 1;
    this.#sweep();
  }

  get addrs(): EntityAddrVec {
    return this.#addrs;
  }
  get connections(): Iterable<Connection> {
    return this.#sessions;
  }
  setNum(num: number): void {
    this.entity = { type: this.entity.type, num };
  }

  async listen(addr: { ip: string; port: number; firstPort?: number; nonce?: number }): Promise<EntityAddr> {
    const accept = (transport: Transport) => this.#accept(transport);
    if (addr.port !== 0) {
      this.#listener = await this.#network.listen(addr.ip, addr.port, accept);
      return this.#published(addr.ip, addr.port, addr.nonce);
    }
    let last: unknown;
    const first = addr.firstPort ?? firstDaemonPort;
    for (let port = first; port < first + daemonPorts; port++) {
      try {
        this.#listener = await this.#network.listen(addr.ip, port, accept);
        return this.#published(addr.ip, port, addr.nonce);
      } catch (error) {
        last = error;
      }
    }
    throw new AppError('LISTEN', `no free port from ${first} to ${first + daemonPorts - 1} on ${addr.ip}`, {
      cause: last,
    });
  }

  #published(ip: string, port: number, nonce: number | undefined): EntityAddr {
    const addr = addrV2(ip, port, nonce ?? this.#nonce);
    this.#addrs = [addr];
    return addr;
  }

  connect(peerType: number, addrs: EntityAddrVec, policy: 'lossy-client' | 'lossless-peer'): Connection {
    const key = `${peerType}|${addrVecText(addrs)}`;
    const existing = policy === 'lossless-peer' ? this.#lossless.get(key) : undefined;
    if (existing !== undefined) return existing;
    const session = new Session(this, policy, false, { type: peerType, num: -1 }, addrs);
    session.features = FEATURES_PACIFIC;
    this.#sessions.add(session);
    if (policy === 'lossless-peer') this.#lossless.set(key, session);
    this.#dial(session);
    return session;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#sweeper?.cancel();
    this.#listener?.close();
    for (const session of [...this.#sessions]) session.close();
    for (const link of [...this.#handshakes.keys()]) link.close();
    this.#handshakes.clear();
  }

  // --- links ---------------------------------------------------------------------------------------------------------------------

  readonly #linkHandlers: LinkHandlers = {
    onUp: (link) => this.#onUp(link),
    onFrame: (link, frame) => {
      const session = this.#byLink.get(link);
      if (session?.ready === true && session.link === link) session.onFrame(frame);
      else this.#onIdent(link, session, frame);
    },
    admit: (link, bytes) => {
      const session = this.#byLink.get(link);
      if (session?.ready) return session.admit(link, bytes);
      if (bytes > 64 * 1024) throw new DecodeError(`ident frame of ${bytes} bytes`);
      return true;
    },
    onDrained: (link) => this.#byLink.get(link)?.onDrained(),
    onClose: (link, refused, message) => this.#linkLost(link, refused, message),
  };

  #accept(transport: Transport): Link {
    const link = new Link({
      transport,
      entityType: this.entity.type,
      limits: this.limits,
      ...(this.#o.buffers === undefined ? {} : { buffers: this.#o.buffers }),
      handlers: this.#linkHandlers,
      ...(this.#o.serverAuth === undefined ? undefined : { serverAuth: this.#o.serverAuth }),
    });
    const refused = this.#closed ? 'the messenger is closed' : this.#full(transport.remoteIp);
    if (refused !== undefined) {
      this.#warnFull(refused, transport.remoteIp);
      link.close();
      return link;
    }
    this.#handshakes.set(link, this.clock.monotonic() + this.limits.handshakeMs);
    link.start();
    return link;
  }

  /** Why no further connection from there is taken. */
  #full(ip: string): string | undefined {
    if (this.#handshakes.size + this.#sessions.size >= this.limits.maxConnections) return 'too many connections';
    let all = 0;
    let same = 0;
    for (const link of this.#handshakes.keys()) {
      if (!link.accepted) continue;
      all++;
      if (link.transport.remoteIp === ip) same++;
    }
    if (all >= this.limits.maxHandshakes) return 'too many handshakes';
    return same >= this.limits.maxHandshakesPerAddress ? 'too many handshakes of one address' : undefined;
  }

  /** Once in a sweep: whoever floods the port does not flood the log as well. */
  #warnFull(reason: string, ip: string): void {
    this.#refusedConnections++;
    if (this.#refusedConnections > 1) return;
    this.log.warn('a connection is refused', { from: ip, reason });
  }

  #dial(session: Session): void {
    if (session.ended || this.#closed) return;
    const target = session.peerAddrs.find((a) => a.type === ADDR_MSGR2) ?? session.peerAddrs[0];
    if (target === undefined || target.ip === '') {
      queueMicrotask(() =>
        session.fail({ kind: 'refused', message: `no address to dial in ${addrVecText(session.peerAddrs)}` }),
      );
      return;
    }
    let opened = false;
    const open = (transport: Transport): Link => {
      opened = true;
      const link = new Link({
        transport,
        entityType: this.entity.type,
        limits: this.limits,
        ...(this.#o.buffers === undefined ? {} : { buffers: this.#o.buffers }),
        handlers: this.#linkHandlers,
        dialled: { peerType: session.peer.type, addr: target, auth },
      });
      if (session.ended) {
        link.close();
        return link;
      }
      session.link = link;
      this.#byLink.set(link, session);
      this.#handshakes.set(link, this.clock.monotonic() + this.limits.handshakeMs);
      link.start();
      return link;
    };
    let auth: ReturnType<NonNullable<MessengerOptions['clientAuth']>>;
    try {
      if (this.#o.clientAuth === undefined)
        throw new AppError('NO_AUTH', 'this messenger cannot dial: it has no clientAuth');
      auth = this.#o.clientAuth(session.peer.type, session.peerAddrs);
    } catch (error) {
      queueMicrotask(() => this.lost(session, !session.lossless, errorText(error)));
      return;
    }
    this.#network.dial(target.ip, target.port, open).catch((error: unknown) => {
      if (opened) return;
      const code = errorCode(error);
      if (code === 'ECONNREFUSED' && !session.ended) this.dispatcher.onNobodyListens?.(session);
      this.lost(session, false, `cannot reach ${addrText(target)}: ${errorText(error)} (${code ?? 'no code'})`);
    });
  }

  /** Both sides are authenticated. The dialling one says who it is. */
  #onUp(link: Link): void {
    if (link.accepted) return;
    const session = this.#byLink.get(link)!;
    if (session.lossless && session.serverCookie !== 0n) {
      session.connectSeq++;
      link.sendFrame(
        TAG_SESSION_RECONNECT,
        segmentOf(
          encodeSessionReconnect({
            addrs: this.#identAddrs(link),
            clientCookie: session.clientCookie,
            serverCookie: session.serverCookie,
            globalSeq: ++this.#globalSeq,
            connectSeq: session.connectSeq,
            messageSeq: session.inSeq,
          }),
        ),
      );
    } else this.#sendClientIdent(link, session);
  }

  #identAddrs(link: Link): EntityAddrVec {
    if (this.#addrs.length > 0) return this.#addrs;
    return [{ ...link.localAddr, port: 0, nonce: this.#nonce }];
  }

  #sendClientIdent(link: Link, session: Session): void {
    if (session.lossless) session.clientCookie = this.#cookie();
    const target = session.peerAddrs.find((a) => a.type === ADDR_MSGR2) ?? session.peerAddrs[0]!;
    const ident: ClientIdent = {
      addrs: this.#identAddrs(link),
      target,
      num: this.entity.num,
      globalSeq: ++this.#globalSeq,
      supported: FEATURES_PACIFIC,
      required: 0n,
      flags: session.lossless ? 0n : IDENT_LOSSY,
      cookie: session.clientCookie,
    };
    link.sendFrame(TAG_CLIENT_IDENT, segmentOf(encodeClientIdent(ident)));
  }

  #cookie(): bigint {
    return (BigInt(this.#o.random.uint32()) << 32n) | BigInt(this.#o.random.uint32()) | 1n;
  }

  #onIdent(link: Link, session: Session | undefined, frame: Frame): void {
    const body = frame.segments[0];
    switch (frame.tag) {
      case TAG_CLIENT_IDENT:
        if (!link.accepted || session !== undefined) break;
        this.#onClientIdent(link, decodeClientIdent(body));
        return;
      case TAG_SESSION_RECONNECT:
        if (!link.accepted || session !== undefined) break;
        this.#onReconnect(link, body);
        return;
      case TAG_SERVER_IDENT: {
        if (link.accepted || session === undefined) break;
        const ident = decodeServerIdent(body);
        session.peer = { type: session.peer.type, num: ident.num };
        session.serverCookie = ident.cookie;
        session.features = ident.supported & FEATURES_PACIFIC;
        this.#established(link, session);
        session.attach(link, session.everReady ? 0 : undefined);
        return;
      }
      case TAG_SESSION_RECONNECT_OK:
        if (link.accepted || session === undefined) break;
        this.#established(link, session);
        session.attach(link, new Decoder(body).u64());
        return;
      case TAG_SESSION_RESET:
        if (link.accepted || session === undefined) break;
        session.fail({ kind: 'session-reset', message: 'the peer does not know the session any more' });
        return;
      case TAG_SESSION_RETRY:
        if (link.accepted || session === undefined) break;
        session.connectSeq = new Decoder(body).u64b();
        this.#onUp(link);
        return;
      case TAG_SESSION_RETRY_GLOBAL: {
        if (link.accepted || session === undefined) break;
        const seq = new Decoder(body).u64b();
        if (seq > this.#globalSeq) this.#globalSeq = seq;
        this.#onUp(link);
        return;
      }
      case TAG_IDENT_MISSING_FEATURES:
        if (link.accepted) break;
        link.fail(`the peer requires features 0x${new Decoder(body).u64b().toString(16)}`, true);
        return;
      case TAG_WAIT:
        if (link.accepted) break;
        link.fail('the peer prefers its own connection to us');
        return;
    }
    throw new DecodeError(`frame of tag ${frame.tag} before the session is set up`);
  }

  #established(link: Link, session: Session): void {
    this.#handshakes.delete(link);
    this.#byLink.set(link, session);
    this.#retries.delete(session);
  }

  #onClientIdent(link: Link, ident: ClientIdent): void {
    if (ident.addrs.length === 0) throw new DecodeError('CLIENT_IDENT without addresses');
    if (!this.#isOurs(ident.target))
      throw new DecodeError(`CLIENT_IDENT for ${addrText(ident.target)}, which is not us`);
    const missing = ident.required & ~FEATURES_PACIFIC;
    if (missing !== 0n) {
      link.sendFrame(TAG_IDENT_MISSING_FEATURES, segmentOf(encoded((e) => e.u64b(missing))));
      return;
    }
    const identity = identityOf(link);
    const peer = acceptedPeer({ type: link.peerType, num: ident.num }, identity);
    let policy: ConnectionPolicy = this.#o.acceptPolicy?.(peer.type) ?? 'stateless-server';
    if ((ident.flags & IDENT_LOSSY) !== 0n) policy = 'stateless-server';
    const session = new Session(this, policy, true, peer, ident.addrs);
    session.identity = identity;
    session.features = ident.supported & FEATURES_PACIFIC;
    if (policy === 'lossless-peer') {
      session.clientCookie = ident.cookie;
      session.serverCookie = this.#cookie();
      const key = acceptedKey(identity, ident.addrs);
      this.#lossless.get(key)?.fail({ kind: 'session-reset', message: 'the peer began a new session' });
      this.#lossless.set(key, session);
    }
    this.#sessions.add(session);
    this.#established(link, session);
    link.sendFrame(
      TAG_SERVER_IDENT,
      segmentOf(
        encodeServerIdent({
          addrs: this.#addrs,
          num: this.entity.num,
          globalSeq: ++this.#globalSeq,
          supported: FEATURES_PACIFIC,
          required: 0n,
          flags: policy === 'lossless-peer' ? 0n : IDENT_LOSSY,
          cookie: session.serverCookie,
        }),
      ),
    );
    session.attach(link);
  }

  #isOurs(target: EntityAddr): boolean {
    return this.#addrs.some((a) => a.ip === target.ip && a.port === target.port && a.nonce === target.nonce);
  }

  #onReconnect(link: Link, body: Uint8Array): void {
    const r = decodeSessionReconnect(body);
    const identity = identityOf(link);
    const session = this.#lossless.get(acceptedKey(identity, r.addrs));
    if (session === undefined || session.clientCookie !== r.clientCookie || session.serverCookie !== r.serverCookie) {
      link.sendFrame(TAG_SESSION_RESET, segmentOf(encoded((e) => e.bool(true))));
      return;
    }
    if (session.connectSeq >= r.connectSeq) {
      link.sendFrame(TAG_SESSION_RETRY, segmentOf(encoded((e) => e.u64b(session.connectSeq))));
      return;
    }
    const old = session.link;
    if (old !== undefined) {
      this.#byLink.delete(old);
      if (old.charged > 0) session.release(old.charged);
      session.detach();
      old.close();
    }
    session.connectSeq = r.connectSeq;
    session.identity = identity;
    this.#established(link, session);
    link.sendFrame(TAG_SESSION_RECONNECT_OK, segmentOf(encoded((e) => e.u64(session.inSeq))));
    session.attach(link, r.messageSeq);
  }

  #linkLost(link: Link, refused: boolean, message: string): void {
    this.#handshakes.delete(link);
    const session = this.#byLink.get(link);
    this.#byLink.delete(link);
    if (session === undefined) {
      this.log[refused ? 'warn' : 'debug']('handshake failed', { from: link.transport.remoteIp, reason: message });
      return;
    }
    if (session.link !== link) return;
    if (link.charged > 0) {
      session.release(link.charged);
      link.charged = 0;
    }
    session.detach();
    this.lost(session, refused, message);
  }

  // --- sessions ------------------------------------------------------------------------------------------------------------------

  lost(session: Session, refused: boolean, message: string): void {
    if (session.ended) return;
    if (!session.lossless || this.#closed) {
      session.fail({ kind: refused ? 'refused' : 'reset', message });
      return;
    }
    if (session.accepted) return;
    const retry = this.#retries.get(session) ?? { timer: undefined, delayMs: reconnectMinMs };
    retry.timer?.cancel();
    const delay = retry.delayMs;
    retry.delayMs = Math.min(delay * 2, reconnectMaxMs);
    retry.timer = this.clock.after(delay, () => this.#dial(session));
    this.#retries.set(session, retry);
    this.log.debug('session lost its connection', {
      peer: addrVecText(session.peerAddrs),
      reason: message,
      retryInMs: delay,
    });
  }

  removed(session: Session): void {
    this.#sessions.delete(session);
    this.#stalled.delete(session);
    if (this.#behind.delete(session)) this.released();
    this.#retries.get(session)?.timer?.cancel();
    this.#retries.delete(session);
    for (const [link, owner] of this.#byLink)
      if (owner === session) {
        this.#byLink.delete(link);
        this.#handshakes.delete(link);
      }
    for (const [key, owner] of this.#lossless) if (owner === session) this.#lossless.delete(key);
  }

  get holdsBack(): boolean {
    return this.#behind.size > 0;
  }

  backlog(session: Session, bytes: number): void {
    if (bytes > this.limits.sendHoldBytes) this.#behind.add(session);
    else if (bytes <= this.limits.sendHoldBytes / 2 && this.#behind.delete(session)) this.released();
  }

  stalled(session: Session): void {
    this.#stalled.add(session);
  }

  released(): void {
    if (this.#releasing || this.#stalled.size === 0) return;
    this.#releasing = true;
    queueMicrotask(() => {
      this.#releasing = false;
      const waiting = [...this.#stalled];
      this.#stalled.clear();
      for (const session of waiting) session.link?.resume();
    });
  }

  #sweep(): void {
    this.#sweeper = this.clock.after(sweepMs, () => {
      const now = this.clock.monotonic();
      if (this.#refusedConnections > 1)
        this.log.warn('connections were refused: too many', { count: this.#refusedConnections });
      this.#refusedConnections = 0;
      for (const [link, deadline] of this.#handshakes) if (deadline < now) link.fail('the handshake takes too long');
      for (const session of this.#sessions)
        if (session.ready && !session.lossless && session.accepted && now - session.lastReceivedMs > this.limits.idleMs)
          session.fail({ kind: 'reset', message: 'idle for too long' });
        else if (
          session.lossless &&
          session.accepted &&
          !session.ready &&
          now - session.lastReceivedMs > this.limits.idleMs
        )
          session.fail({ kind: 'session-reset', message: 'the peer did not come back' });
      if (!this.#closed) this.#sweep();
    });
  }
}

/** Of an accepted link behind its handshake, which no server ends without one. */
function identityOf(link: Link): PeerIdentity {
  assert(link.identity !== undefined, 'a session of a peer without an identity');
  return link.identity;
}
