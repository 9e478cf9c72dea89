import { DecodeError, emptyBytes } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import { Decoder, Encoder, encoded, type UTime, utimeFromMs } from '../wire/encoding.ts';
import {
  AUTH_CEPHX,
  CON_MODE_CRC,
  CON_MODE_SECURE,
  type PeerIdentity,
  type ServerAuth,
  type ServerAuthSession,
  type ServerAuthStep,
} from '../wire/messenger.ts';
import {
  decodeEntityName,
  ENTITY_AUTH,
  ENTITY_MON,
  type EntityName,
  entityNameText,
  entityTypeName,
} from '../wire/types.ts';
import type { CryptoKey, KeyServer, RotatingSecret } from './api.ts';
import {
  AUTH_MODE_MON,
  type Authenticate,
  type AuthTicket,
  CEPHX_GET_AUTH_SESSION_KEY,
  CEPHX_GET_PRINCIPAL_SESSION_KEY,
  CEPHX_GET_ROTATING_KEY,
  challengeKey,
  decodeAuthenticate,
  decodeAuthorizer,
  encodeRotating,
  encodeTickets,
  type GrantedTicket,
  openAuthorize,
  openTicket,
  randomU64,
  type ServiceTicketInfo,
  sealTicket,
} from './cephx.ts';
import { newCryptoKey, sealValue } from './crypto.ts';

const EINVAL = -22;
const EACCES = -13;
const EPERM = -1;
/** Service bits that a ticket may be asked for. */
const grantable = 0x01 | 0x02 | 0x04 | 0x10;

export interface MonAuthOptions {
  keys: KeyServer;
  clock: Clock;
  random: Random;
  log: Logger;
  /** Connection modes allowed, best first; default secure, crc. */
  modes?: readonly number[];
}

/** The cephx server of a mon (`src/auth/cephx/CephxServiceHandler.cc`): give it to the messenger as `serverAuth`. */
export function createMonAuth(options: MonAuthOptions): ServerAuth {
  const modes = options.modes ?? [CON_MODE_SECURE, CON_MODE_CRC];
  return {
    methods: [AUTH_CEPHX],
    modes: () => modes,
    session: (method, _peerType, mode) => (method === AUTH_CEPHX ? new MonAuthSession(options, mode) : undefined),
  };
}

class MonAuthSession implements ServerAuthSession {
  readonly #o: MonAuthOptions;
  readonly #mode: number;
  #name: EntityName = { type: 0, id: '' };
  /** What the peer says it has, else 0 until it has shown its key: a stranger must not use up global ids. */
  #globalId = 0n;
  /** The peer said that it had this global id before: it must show a ticket for it. */
  #reclaims = false;
  #challenge = 0n;

  constructor(options: MonAuthOptions, mode: number) {
    this.#o = options;
    this.#mode = mode;
  }

  begin(payload: Uint8Array): ServerAuthStep {
    const d = new Decoder(payload);
    const mode = d.u8();
    if (mode !== AUTH_MODE_MON) return refused(EPERM, `authentication mode ${mode} at a mon`);
    this.#name = decodeEntityName(d);
    const id = d.u64b();
    this.#reclaims = id !== 0n;
    this.#globalId = id;
    do this.#challenge = randomU64(this.#o.random.bytes(8));
    while (this.#challenge === 0n);
    return { kind: 'more', payload: encoded((e) => e.u8(1).u64b(this.#challenge)) };
  }

  more(payload: Uint8Array): ServerAuthStep {
    const d = new Decoder(payload);
    const type = d.u16();
    if (type !== CEPHX_GET_AUTH_SESSION_KEY)
      return refused(EINVAL, `cephx request 0x${type.toString(16)} in the handshake`);
    const request = decodeAuthenticate(d);
    const checked = this.#check(request);
    if (typeof checked === 'string') return refused(EACCES, checked);
    const { entrySecret, old } = checked;
    if (this.#reclaims && old === undefined)
      return refused(
        EACCES,
        `${entityNameText(this.#name)} reclaims global id ${this.#globalId} without a ticket for it`,
      );
    if (!this.#reclaims && request.oldTicket.blob.length > 0)
      return refused(EINVAL, `${entityNameText(this.#name)} shows an old ticket for a new global id`);

    if (!this.#reclaims) this.#globalId = this.#o.keys.nextGlobalId();
    const granted = this.#authTicket();
    if (granted === undefined) return refused(EACCES, 'there is no secret of the auth service');
    const sessionKey = granted.sessionKey.secret;
    const connectionSecret = this.#mode === CON_MODE_SECURE ? this.#o.random.bytes(64) : emptyBytes;
    const e = new Encoder(512);
    e.u16(CEPHX_GET_AUTH_SESSION_KEY).s32(0);
    encodeTickets(e, entrySecret, [granted], old?.sessionKey.secret);
    if (request.otherKeys !== 0) {
      e.blob(encoded((x) => x.blob(sealValue(sessionKey, (y) => y.blob(connectionSecret)))));
      const tickets = this.#tickets(request.otherKeys & ~ENTITY_AUTH);
      e.blob(tickets.length === 0 ? emptyBytes : encoded((x) => encodeTickets(x, sessionKey, tickets)));
    }
    const identity: PeerIdentity = {
      name: this.#name,
      globalId: this.#globalId,
      caps: this.#o.keys.entity(entityNameText(this.#name))?.caps.mon ?? '',
      allowAll: this.#name.type === ENTITY_MON,
      renew: (bytes) => this.#renew(bytes),
    };
    return { kind: 'done', payload: e.finish(), secrets: { sessionKey, connectionSecret }, identity };
  }

  /** The entity's secret and the old ticket when a good one was shown; a reason when the proof is wrong. */
  #check(request: Authenticate): { entrySecret: Uint8Array; old: ServiceTicketInfo | undefined } | string {
    const name = entityNameText(this.#name);
    const entry = this.#o.keys.entity(name);
    if (entry === undefined) return `no such entity ${name}`;
    const expected = challengeKey(entry.key.secret, this.#challenge, request.clientChallenge);
    if (expected !== request.key) return `${name} does not have the right key`;
    if (request.oldTicket.blob.length === 0) return { entrySecret: entry.key.secret, old: undefined };
    try {
      const old = openTicket(this.#o.keys.rotating(ENTITY_AUTH), request.oldTicket);
      if (old.ticket.globalId !== this.#globalId || entityNameText(old.ticket.name) !== name)
        return `${name} shows a ticket of ${entityNameText(old.ticket.name)} with global id ${old.ticket.globalId}`;
      return { entrySecret: entry.key.secret, old };
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      return { entrySecret: entry.key.secret, old: undefined };
    }
  }

  #validity(ttlSec: number): { created: UTime; expires: UTime; validity: UTime } {
    const now = this.#o.clock.now();
    return { created: utimeFromMs(now), expires: utimeFromMs(now + ttlSec * 1000), validity: { sec: ttlSec, nsec: 0 } };
  }

  #grant(service: number, secret: RotatingSecret, ttlSec: number, caps: string): GrantedTicket {
    const sessionKey: CryptoKey = newCryptoKey(this.#o.clock.now(), this.#o.random);
    const { created, expires, validity } = this.#validity(ttlSec);
    const ticket: AuthTicket = {
      name: this.#name,
      globalId: this.#globalId,
      created,
      expires,
      allowAll: false,
      caps,
      flags: 0,
    };
    return { service, sessionKey, validity, blob: sealTicket(secret, { ticket, sessionKey }) };
  }

  #authTicket(): GrantedTicket | undefined {
    const secret = currentSecret(this.#o.keys.rotating(ENTITY_AUTH), this.#o.clock.now());
    return secret === undefined ? undefined : this.#grant(ENTITY_AUTH, secret, this.#o.keys.monTicketTtlSec, '');
  }

  #tickets(services: number): GrantedTicket[] {
    const caps = this.#o.keys.entity(entityNameText(this.#name))?.caps ?? {};
    const out: GrantedTicket[] = [];
    for (let service = 1; service <= services; service <<= 1) {
      if ((services & grantable & service) === 0) continue;
      const secret = currentSecret(this.#o.keys.rotating(service), this.#o.clock.now());
      if (secret === undefined) continue;
      const text = caps[entityTypeName(service)] ?? '';
      out.push(this.#grant(service, secret, this.#o.keys.serviceTicketTtlSec, text));
    }
    return out;
  }

  /** MAuth on the running session: new tickets, the auth ticket again, or the rotating secrets of a daemon's service. */
  #renew(payload: Uint8Array): { result: number; payload: Uint8Array } {
    try {
      return this.#answer(new Decoder(payload));
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#o.log.warn('cephx: bad request', { entity: entityNameText(this.#name), error });
      return { result: EINVAL, payload: emptyBytes };
    }
  }

  #answer(d: Decoder): { result: number; payload: Uint8Array } {
    const type = d.u16();
    const name = entityNameText(this.#name);
    const entry = this.#o.keys.entity(name);
    const denied = { result: EACCES, payload: emptyBytes };
    if (entry === undefined) return denied;
    const e = new Encoder(512);
    e.u16(type).s32(0);
    switch (type) {
      case CEPHX_GET_AUTH_SESSION_KEY: {
        const request = decodeAuthenticate(d);
        const checked = this.#check(request);
        if (typeof checked === 'string') return denied;
        const granted = this.#authTicket();
        if (granted === undefined) return denied;
        encodeTickets(e, checked.entrySecret, [granted], checked.old?.sessionKey.secret);
        if (request.otherKeys !== 0) {
          const sessionKey = granted.sessionKey.secret;
          e.blob(emptyBytes);
          const tickets = this.#tickets(request.otherKeys & ~ENTITY_AUTH);
          e.blob(tickets.length === 0 ? emptyBytes : encoded((x) => encodeTickets(x, sessionKey, tickets)));
        }
        return { result: 0, payload: e.finish() };
      }
      case CEPHX_GET_PRINCIPAL_SESSION_KEY: {
        const authorizer = decodeAuthorizer(d);
        const info = openTicket(this.#o.keys.rotating(ENTITY_AUTH), authorizer.ticket);
        if (info.ticket.globalId !== this.#globalId || entityNameText(info.ticket.name) !== name) return denied;
        openAuthorize(info.sessionKey.secret, authorizer.sealed);
        d.u8();
        encodeTickets(e, info.sessionKey.secret, this.#tickets(d.u32() & ~ENTITY_AUTH));
        return { result: 0, payload: e.finish() };
      }
      case CEPHX_GET_ROTATING_KEY: {
        const secrets = this.#o.keys.rotating(this.#name.type);
        if (secrets.length === 0) return denied;
        e.blob(sealValue(entry.key.secret, (x) => encodeRotating(x, secrets)));
        return { result: 0, payload: e.finish() };
      }
      default:
        return { result: EINVAL, payload: emptyBytes };
    }
  }
}

function refused(result: number, reason: string): ServerAuthStep {
  return { kind: 'refused', result, reason };
}

/** The secret to make tickets with: the second oldest (the oldest still opens old tickets, the newest is spread in advance), unless it is expired. */
export function currentSecret(secrets: readonly RotatingSecret[], nowMs: number): RotatingSecret | undefined {
  const candidates = secrets.length > 1 ? secrets.slice(1) : secrets;
  return candidates.find((s) => s.expiresMs > nowMs) ?? candidates.at(-1);
}
