import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { AuthMethod, CryptoKey } from '../auth/api.ts';
import type { ClientAuth, Connection, Dispatcher, Messenger } from '../wire/messenger.ts';
import type { Message, MessageCodec } from '../wire/message.ts';
import type { EntityAddrVec, EntityName } from '../wire/types.ts';
import type { RotatingSecret } from '../auth/api.ts';

export interface MonClientOptions {
  /** `client.admin`, `osd.2`, `mgr.a`. */
  entity: EntityName;
  key: CryptoKey;
  /** What the cluster asks for, and nothing else is tried; default cephx. */
  auth?: AuthMethod;
  /** From `mon host`; the MonMap replaces them once it is known. */
  monAddrs: readonly EntityAddrVec[];
  clock: Clock;
  random: Random;
  log: Logger;
  /** Services to have tickets for, as entity type bits; default mon, osd, mgr, mds. */
  wantKeys?: number;
  /** For daemons: their own service (`ENTITY_OSD`); its rotating secrets are fetched and kept fresh for `rotating()`. */
  rotatingService?: number;
  /** Connection modes to the mon, best first; default secure, crc. */
  monModes?: readonly number[];
  /** Connection modes to other daemons; default crc, secure. */
  modes?: readonly number[];
  /** Gets what happens on connections of `messenger` that do not lead to a mon (those that RadosClient or a daemon dials through it). */
  dispatcher?: Dispatcher;
}

export interface CommandResult {
  /** 0 or negative errno. */
  code: number;
  /** What `ceph` prints on stderr. */
  status: string;
  output: Uint8Array;
}

/**
 * A session with the monitors, for clients and daemons. Survives the loss of a mon: it hunts, authenticates again, renews subscriptions from where they
 * were (`got`) and sends unanswered requests again.
 */
export interface MonClient {
  readonly fsid: string;
  readonly globalId: bigint;
  readonly messenger: Messenger;
  /** The current mon connection, if a session is up. */
  readonly connection: Connection | undefined;
  /** Resolves when the first session is up and MonMap and MConfig have arrived; rejects when authentication is refused or after `timeoutMs`. */
  start(timeoutMs?: number): Promise<void>;
  /** Configuration that the mon gave us (MConfig). */
  readonly config: ReadonlyMap<string, string>;
  /** Wants `what` (`osdmap`, `mgrmap`, `config`, ...) from version `start` on; `once` ends after one answer. Sent now and after each reconnect. */
  subscribe(what: string, start: number, once?: boolean): void;
  /** Tells that everything up to `version` of `what` is here: a renewal asks from `version + 1`. */
  got(what: string, version: number): void;
  unsubscribe(what: string): void;
  /** Handler of a message type that mons send and MonClient does not consume itself (MOSDMap, MMgrMap, ...). */
  on<T>(codec: MessageCodec<T>, handler: (value: T, message: Message) => void): void;
  /** Called after each (re)connect, e.g. to send a boot message or beacon again. */
  onSession(fn: () => void): void;
  /** To the current mon; queued while there is none. For messages that may be lost with the mon. */
  send<T>(codec: MessageCodec<T>, value: T): void;
  /** A request with a tid and its answer (rejects after `timeoutMs`, default 60 s); sent again to another mon when this one is lost (mon requests are idempotent). */
  request<A, B>(codec: MessageCodec<A>, value: A, reply: MessageCodec<B>, timeoutMs?: number): Promise<B>;
  command(command: Record<string, unknown>, input?: Uint8Array, timeoutMs?: number): Promise<CommandResult>;
  /** Newest committed version of a map (`osdmap`, `mgrmap`, ...). */
  version(what: string): Promise<{ newest: number; oldest: number }>;
  /** Authentication for a connection to an OSD, MGR or MDS: give it to the messenger as `clientAuth`. */
  clientAuth(peerType: number): ClientAuth;
  /** Secrets of our own service, for `createServiceAuth`. */
  rotating(): readonly RotatingSecret[];
  close(): Promise<void>;
}
