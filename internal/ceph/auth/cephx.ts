import { DecodeError } from '../../base/bytes.ts';
import { Decoder, type Encoder, encoded, type UTime } from '../wire/encoding.ts';
import { decodeEntityName, type EntityName, encodeEntityName } from '../wire/types.ts';
import type { CryptoKey, RotatingSecret } from './api.ts';
import { decodeCryptoKey, encodeCryptoKey, openValue, sealValue } from './crypto.ts';

/** cephx structures (`src/auth/cephx/CephxProtocol.h`); most have one version byte and no length. */

export const CEPHX_GET_AUTH_SESSION_KEY = 0x0100;
export const CEPHX_GET_PRINCIPAL_SESSION_KEY = 0x0200;
export const CEPHX_GET_ROTATING_KEY = 0x0400;

/** First byte of an AUTH_REQUEST payload. */
export const AUTH_MODE_AUTHORIZER = 1;
export const AUTH_MODE_MON = 10;

function version(d: Decoder, name: string): number {
  const v = d.u8();
  if (v === 0) throw new DecodeError(`${name}: version 0`);
  return v;
}

/** A ticket as its holder sees it: an opaque blob and the number of the rotating secret that opens it. */
export interface TicketBlob {
  secretId: number;
  blob: Uint8Array;
}

export function encodeTicketBlob(e: Encoder, t: TicketBlob): void {
  e.u8(1).u64(t.secretId).blob(t.blob);
}
export function decodeTicketBlob(d: Decoder): TicketBlob {
  version(d, 'CephXTicketBlob');
  return { secretId: d.u64(), blob: d.blob() };
}

export interface AuthTicket {
  name: EntityName;
  globalId: bigint;
  created: UTime;
  expires: UTime;
  allowAll: boolean;
  caps: string;
  flags: number;
}

export function encodeAuthTicket(e: Encoder, t: AuthTicket): void {
  e.u8(2);
  encodeEntityName(e, t.name);
  e.u64b(t.globalId).u64b(-1n).utime(t.created).utime(t.expires);
  e.u8(1).bool(t.allowAll);
  if (t.caps === '') e.u32(0);
  else e.blob(encoded((x) => x.string(t.caps)));
  e.u32(t.flags);
}
export function decodeAuthTicket(d: Decoder): AuthTicket {
  const v = version(d, 'AuthTicket');
  const name = decodeEntityName(d);
  const globalId = d.u64b();
  if (v >= 2) d.u64b();
  const created = d.utime();
  const expires = d.utime();
  version(d, 'AuthCapsInfo');
  const allowAll = d.bool();
  const capsBytes = d.blob();
  const caps = capsBytes.length === 0 ? '' : new Decoder(capsBytes).string();
  return { name, globalId, created, expires, allowAll, caps, flags: d.u32() };
}

/** What a ticket's blob holds, for the service. */
export interface ServiceTicketInfo {
  ticket: AuthTicket;
  sessionKey: CryptoKey;
}

export function sealTicket(secret: RotatingSecret, info: ServiceTicketInfo): TicketBlob {
  const blob = sealValue(secret.key.secret, (e) => {
    e.u8(1);
    encodeAuthTicket(e, info.ticket);
    encodeCryptoKey(e, info.sessionKey);
  });
  return { secretId: secret.id, blob };
}
export function openTicket(secrets: readonly RotatingSecret[], blob: TicketBlob): ServiceTicketInfo {
  const secret = secrets.find((s) => s.id === blob.secretId);
  if (secret === undefined) throw new DecodeError(`cephx: no rotating secret ${blob.secretId} for this ticket`);
  return openValue(secret.key.secret, blob.blob, (d) => {
    version(d, 'CephXServiceTicketInfo');
    return { ticket: decodeAuthTicket(d), sessionKey: decodeCryptoKey(d) };
  });
}

/** A ticket on its way to its holder. */
export interface GrantedTicket {
  service: number;
  sessionKey: CryptoKey;
  validity: UTime;
  blob: TicketBlob;
}

/** The list of tickets in a reply (`cephx_build_service_ticket_reply`); the blob too is encrypted when `blobKey` is given. */
export function encodeTickets(
  e: Encoder,
  secret: Uint8Array,
  tickets: readonly GrantedTicket[],
  blobKey?: Uint8Array,
): void {
  e.u8(1).u32(tickets.length);
  for (const t of tickets) {
    e.u32(t.service).u8(1);
    e.blob(
      sealValue(secret, (x) => {
        x.u8(1);
        encodeCryptoKey(x, t.sessionKey);
        x.utime(t.validity);
      }),
    );
    const blob = encoded((x) => encodeTicketBlob(x, t.blob));
    if (blobKey === undefined) e.u8(0).blob(blob);
    else e.u8(1).blob(sealValue(blobKey, (x) => x.blob(blob)));
  }
}
/** `blobKey` gives the present session key of a service. */
export function decodeTickets(
  d: Decoder,
  secret: Uint8Array,
  blobKey: (service: number) => Uint8Array | undefined,
): GrantedTicket[] {
  version(d, 'ticket reply');
  return d.list((x) => {
    const service = x.u32();
    version(x, 'service ticket');
    const { sessionKey, validity } = openValue(secret, x.blob(), (p) => {
      version(p, 'CephXServiceTicket');
      return { sessionKey: decodeCryptoKey(p), validity: p.utime() };
    });
    const encrypted = x.bool();
    let blob = x.blob();
    if (encrypted) {
      const key = blobKey(service);
      if (key === undefined) throw new DecodeError('cephx: a ticket is encrypted with a key that is not here');
      blob = openValue(key, blob, (p) => p.blob());
    }
    return { service, sessionKey, validity, blob: decodeTicketBlob(new Decoder(blob)) };
  }, 14);
}

export interface Authenticate {
  version: number;
  clientChallenge: bigint;
  key: bigint;
  oldTicket: TicketBlob;
  otherKeys: number;
}
export function encodeAuthenticate(e: Encoder, a: Omit<Authenticate, 'version'>): void {
  e.u8(3).u64b(a.clientChallenge).u64b(a.key);
  encodeTicketBlob(e, a.oldTicket);
  e.u32(a.otherKeys);
}
export function decodeAuthenticate(d: Decoder): Authenticate {
  const v = version(d, 'CephXAuthenticate');
  return {
    version: v,
    clientChallenge: d.u64b(),
    key: d.u64b(),
    oldTicket: decodeTicketBlob(d),
    otherKeys: v >= 2 && d.remaining >= 4 ? d.u32() : 0,
  };
}

/** The proof that the client knows the secret: all 64-bit words of the encrypted challenges, XORed. */
export function challengeKey(secret: Uint8Array, serverChallenge: bigint, clientChallenge: bigint): bigint {
  const sealed = sealValue(secret, (e) => e.u64b(serverChallenge).u64b(clientChallenge));
  const bytes = encoded((e) => e.blob(sealed));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let key = 0n;
  for (let at = 0; at + 8 <= bytes.length; at += 8) key ^= view.getBigUint64(at, true);
  return key;
}

/** What a client shows to a service. */
export interface Authorizer {
  globalId: bigint;
  service: number;
  ticket: TicketBlob;
  /** Authorize, encrypted with the ticket's session key. */
  sealed: Uint8Array;
}
export function encodeAuthorizer(
  e: Encoder,
  a: {
    globalId: bigint;
    service: number;
    ticket: TicketBlob;
    sessionKey: Uint8Array;
    nonce: bigint;
    challenge?: bigint;
  },
): void {
  e.u8(1).u64b(a.globalId).u32(a.service);
  encodeTicketBlob(e, a.ticket);
  e.blob(
    sealValue(a.sessionKey, (x) => {
      x.u8(2).u64b(a.nonce);
      x.bool(a.challenge !== undefined).u64b(a.challenge === undefined ? 0n : a.challenge + 1n);
    }),
  );
}
export function decodeAuthorizer(d: Decoder): Authorizer {
  version(d, 'CephXAuthorizer');
  return { globalId: d.u64b(), service: d.u32(), ticket: decodeTicketBlob(d), sealed: d.blob() };
}
export function openAuthorize(
  sessionKey: Uint8Array,
  sealed: Uint8Array,
): { nonce: bigint; challengePlusOne: bigint | undefined } {
  return openValue(sessionKey, sealed, (d) => {
    const v = version(d, 'CephXAuthorize');
    const nonce = d.u64b();
    if (v < 2) return { nonce, challengePlusOne: undefined };
    const have = d.bool();
    const challenge = d.u64b();
    return { nonce, challengePlusOne: have ? challenge : undefined };
  });
}

export function encodeRotating(e: Encoder, secrets: readonly RotatingSecret[]): void {
  e.u8(1).u32(secrets.length);
  for (const s of secrets) {
    e.u64(s.id).u8(1);
    encodeCryptoKey(e, s.key);
    e.utime({ sec: Math.floor(s.expiresMs / 1000), nsec: Math.floor(s.expiresMs % 1000) * 1_000_000 });
  }
  e.u64(secrets.reduce((max, s) => Math.max(max, s.id), 0));
}
export function decodeRotating(d: Decoder): RotatingSecret[] {
  version(d, 'RotatingSecrets');
  const secrets = d.list((x): RotatingSecret => {
    const id = x.u64();
    version(x, 'ExpiringCryptoKey');
    const key = decodeCryptoKey(x);
    const expires = x.utime();
    return { id, key, expiresMs: expires.sec * 1000 + Math.floor(expires.nsec / 1e6) };
  }, 37);
  d.u64();
  return secrets.sort((a, b) => a.id - b.id);
}

export function randomU64(bytes: Uint8Array): bigint {
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
}
