import type { BufferPool } from '../../base/buffer-pool.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { Message, MessageCodec } from './message.ts';
import type { EntityAddr, EntityAddrVec, EntityName, EntityNum } from './types.ts';

/** Message priorities (`src/include/msgr.h`). */
export const PRIO_LOW = 64;
export const PRIO_DEFAULT = 127;
export const PRIO_HIGH = 196;
export const PRIO_HIGHEST = 255;

/** Ways to protect a connection. */
export const CON_MODE_CRC = 1;
export const CON_MODE_SECURE = 2;

/** Authentication methods (`src/include/ceph_fs.h`). */
export const AUTH_NONE = 1;
export const AUTH_CEPHX = 2;

/**
 * How a connection lives.
 * - `lossy-client`: dials; gone when the transport fails (the user of it dials anew).
 * - `stateless-server`: accepts; gone when the transport fails.
 * - `lossless-peer`: dials and reconnects; what was sent and not acknowledged is sent again, each message is delivered once and in order. The
 *   accepting side keeps the session for the same time. Two daemons that dial each other have two sessions, one per direction of dialling.
 */
export type ConnectionPolicy = 'lossy-client' | 'stateless-server' | 'lossless-peer';

/** What the peer proved. */
export interface PeerIdentity {
  /** `client.admin`. */
  readonly name: EntityName;
  readonly globalId: bigint;
  /**
   * Capabilities for our service as text (`allow rwx pool=rbd`), from the ticket, or from the mon's key server. Empty: none. Daemons of the
   * cluster with all capabilities have `allowAll`.
   */
  readonly caps: string;
  readonly allowAll: boolean;
  /** Mon only: answers a later request of the authentication protocol on this session (payload of MAuth). `result` is 0 or negative errno. */
  readonly renew?: (payload: Uint8Array) => { result: number; payload: Uint8Array };
}

export interface SendOptions {
  tid?: number;
  priority?: number;
  /**
   * Called when its data is not read any more: the kernel has taken all of it or, on a lossless connection, the peer has acknowledged it. May never be
   * called.
   */
  sent?: () => void;
}

/** One session with a peer. */
export interface Connection {
  /** For maps and logs; unique in the process. */
  readonly id: number;
  readonly policy: ConnectionPolicy;
  /** True when the peer dialled us. */
  readonly accepted: boolean;
  /** `osd.2`, `client.4123`; num is -1 before the handshake is done. */
  readonly peer: EntityNum;
  /** Undefined on connections that we dialled (there the peer proved that it has the service's key). */
  readonly identity: PeerIdentity | undefined;
  /** As the peer published itself. For a client: its address and nonce, unique per client instance (what is blocklisted). */
  readonly peerAddrs: EntityAddrVec;
  /** Where its bytes come from, by the socket: what the peer cannot choose; what `network` in capabilities is about. Empty before the connection is up. */
  readonly remoteIp: string;
  /** Our address as the peer saw it. */
  readonly localAddr: EntityAddr;
  /** Negotiated: decides encodings. */
  readonly features: bigint;
  readonly mode: number;
  readonly open: boolean;
  /** Bytes queued and not yet taken by the kernel. */
  readonly outstandingBytes: number;
  /** `clock.monotonic` of the last byte received. */
  readonly lastReceivedMs: number;
  /** Anything the role wants to hang on it (its session); not touched here. */
  session: unknown;
  /** Queues a message; messages leave in order. Dropped silently when the connection is closed. */
  send<T>(codec: MessageCodec<T>, value: T, options?: SendOptions): void;
  /** The same with segments already encoded (type, version and compat given). */
  sendRaw(message: RawMessage): void;
  /** Resolves when outstandingBytes is below the low-water mark, or the connection is closed. */
  drained(): Promise<void>;
  /** Sends KEEPALIVE2; the answer shows in lastReceivedMs. */
  keepalive(): void;
  /** Ends it (a lossless session too): no handler is called after that. */
  close(): void;
}

export interface RawMessage {
  type: number;
  version: number;
  compat: number;
  front: Uint8Array;
  middle?: Uint8Array;
  data?: readonly Uint8Array[];
  tid?: number;
  priority?: number;
  /** As in SendOptions. */
  sent?: () => void;
}

/** Why a connection ended, for logs and for `onClose`. */
export interface CloseReason {
  /** `refused`: the peer did not accept us (authentication, address); `reset`: transport or protocol error; `session-reset`: a lossless peer forgot us. */
  kind: 'closed' | 'refused' | 'reset' | 'session-reset';
  message: string;
}

/** What a role does with connections. Handlers must not throw; what they throw closes that connection. */
export interface Dispatcher {
  /** A session is ready: handshake done, both directions. */
  onReady?(connection: Connection): void;
  /**
   * Messages come in order, one call each, without waiting for the promise of the one before. A message's bytes count against the receive budget
   * until the call returns or its promise settles.
   */
  onMessage(connection: Connection, message: Message): void | Promise<void>;
  /** The session is over (not called after `close()` by us). A lossless session ends only by `session-reset` or `refused`. */
  onClose?(connection: Connection, reason: CloseReason): void;
  /** Dialling found that nobody listens at the peer's address (ECONNREFUSED): its process is gone. A lossless session is dialled again all the same. */
  onNobodyListens?(connection: Connection): void;
}

/** The dialling side of authentication, one object a connection. Each step throws AppError when the peer is not to be trusted. */
export interface ClientAuth {
  readonly method: number;
  /** Connection modes we accept, best first. */
  readonly modes: readonly number[];
  /** Payload of AUTH_REQUEST. */
  begin(): Uint8Array;
  /** AUTH_REPLY_MORE to AUTH_REQUEST_MORE. */
  more(payload: Uint8Array): Uint8Array;
  /** AUTH_DONE. */
  done(payload: Uint8Array, globalId: bigint, mode: number): AuthSecrets;
  /** AUTH_BAD_METHOD: what the peer allows; gives the error to report. */
  refused?(result: number, methods: readonly number[], modes: readonly number[]): void;
}

export interface AuthSecrets {
  /** Key of the signatures; undefined without authentication. */
  sessionKey: Uint8Array | undefined;
  /** 64 bytes for secure mode; empty in crc mode. */
  connectionSecret: Uint8Array;
}

/** What the accepting side of authentication answers. */
export type ServerAuthStep =
  | { kind: 'more'; payload: Uint8Array }
  | { kind: 'done'; payload: Uint8Array; secrets: AuthSecrets; identity: PeerIdentity }
  /** Negative errno, e.g. -13 EACCES, -95 EOPNOTSUPP. */
  | { kind: 'refused'; result: number; reason: string };

/** The accepting side, one object a connection. */
export interface ServerAuthSession {
  begin(payload: Uint8Array): ServerAuthStep;
  more(payload: Uint8Array): ServerAuthStep;
}

export interface ServerAuth {
  readonly methods: readonly number[];
  /** Connection modes allowed to a peer of the type, best first. */
  modes(peerType: number): readonly number[];
  /** `mode` is the one chosen; undefined when the method is not allowed. */
  session(method: number, peerType: number, mode: number): ServerAuthSession | undefined;
}

export interface MessengerOptions {
  /** Our name: `osd.2`. For a client num is 0 until `setNum` gives the global id. */
  entity: EntityNum;
  clock: Clock;
  random: Random;
  log: Logger;
  dispatcher: Dispatcher;
  /** Needed to listen. */
  serverAuth?: ServerAuth;
  /** Needed to dial: called for each attempt. */
  clientAuth?: (peerType: number, addrs: EntityAddrVec) => ClientAuth;
  /** Policy for accepted connections of a peer type; default `stateless-server`. */
  acceptPolicy?: (peerType: number) => ConnectionPolicy;
  limits?: Partial<MessengerLimits>;
  /** Where received data segments lie. Without it they are memory of their own. */
  buffers?: BufferPool;
}

/** Bounds; the defaults suit a daemon on a small machine. */
export interface MessengerLimits {
  /** Front and middle segment. */
  maxFrontBytes: number;
  maxDataBytes: number;
  /** Received and not yet handled, per connection: above it the socket is not read. */
  receiveBytes: number;
  /** The same over all connections but lossless ones: what a peer answers must get in while clients that wait for it fill their share. */
  totalReceiveBytes: number;
  /** Queue of one connection that makes `drained()` wait. */
  sendHighWaterBytes: number;
  /**
   * What one lossless peer has not acknowledged that makes us read no more from those who dialled us with a lossy policy (clients), until it is half of that:
   * what they have us send on would pile up as well. What they have sent before that (`totalReceiveBytes`, or the largest message if that is more) may still be sent
   * on; a lossless peer is given up only when more than both, and `sendHighWaterBytes` of our own, piles up.
   */
  sendHoldBytes: number;
  /** A lossy peer that lets so much pile up is disconnected. */
  sendMaxBytes: number;
  maxConnections: number;
  /** Accepted connections in the handshake, of one address and of all: what a peer without a key can hold, for `handshakeMs`. */
  maxHandshakesPerAddress: number;
  maxHandshakes: number;
  handshakeMs: number;
  /** A connection silent for so long is dropped (lossy ones). */
  idleMs: number;
}

export interface Messenger {
  readonly entity: EntityNum;
  /** Addresses that we publish; empty before `listen`. Nonce included: maps must carry exactly these. */
  readonly addrs: EntityAddrVec;
  readonly limits: MessengerLimits;
  readonly connections: Iterable<Connection>;
  /** Port 0 takes the first free one of the 769 from `firstPort` (6800) on. Gives the address published (with our nonce; mons use nonce 0). */
  listen(addr: { ip: string; port: number; firstPort?: number; nonce?: number }): Promise<EntityAddr>;
  /**
   * A connection to a daemon, dialling at once in the background; messages sent before it is ready are queued. `lossless-peer` gives the
   * existing one for the same addresses.
   */
  connect(peerType: number, addrs: EntityAddrVec, policy: 'lossy-client' | 'lossless-peer'): Connection;
  setNum(num: number): void;
  close(): Promise<void>;
}
