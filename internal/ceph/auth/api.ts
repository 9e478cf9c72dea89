import type { UTime } from '../wire/encoding.ts';

/** `CryptoKey`: type 1 is AES-128; base64 of its encoding is the `key =` of a keyring. */
export interface CryptoKey {
  readonly type: number;
  readonly created: UTime;
  /** 16 bytes. */
  readonly secret: Uint8Array;
}

/** An entity of the auth database: `client.admin` with its key and capabilities per service (`mon`, `osd`, `mgr`, `mds`). */
export interface AuthEntry {
  readonly key: CryptoKey;
  readonly caps: Readonly<Record<string, string>>;
}

/** One of the (usually three) secrets of a service: previous, current, next. */
export interface RotatingSecret {
  readonly id: number;
  readonly key: CryptoKey;
  /** Milliseconds since the epoch. Tickets are made with the first secret that is not expired, and read with any. */
  readonly expiresMs: number;
}

/** How peers of a cluster prove who they are: cephx, or not at all. */
export type AuthMethod = 'cephx' | 'none';

/**
 * What the mon's auth state gives to the cephx server. All of it synchronous, from memory: the mon answers a handshake only when its state is
 * readable.
 */
export interface KeyServer {
  /** Undefined when there is no such entity. `name` is `client.admin`, `mon.`. */
  entity(name: string): AuthEntry | undefined;
  /** Secrets of a service by its bit (`ENTITY_AUTH`, `ENTITY_OSD`, `ENTITY_MGR`, `ENTITY_MDS`, `ENTITY_MON`), ascending ids. */
  rotating(service: number): readonly RotatingSecret[];
  /** A global id never given before (durably reserved in blocks by the mon). */
  nextGlobalId(): bigint;
  /** Seconds a ticket for the mon (72 h) or another service (1 h) is valid. */
  readonly monTicketTtlSec: number;
  readonly serviceTicketTtlSec: number;
}
