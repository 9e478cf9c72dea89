import { DecodeError, emptyBytes } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import { AppError } from '../../base/errors.ts';
import type { Random } from '../../base/random.ts';
import { Decoder, Encoder, encoded, utimeToMs } from '../wire/encoding.ts';
import { AUTH_CEPHX, type AuthSecrets, type ClientAuth, CON_MODE_CRC, CON_MODE_SECURE } from '../wire/messenger.ts';
import { ENTITY_AUTH, type EntityName, encodeEntityName, entityNameText, entityTypeName } from '../wire/types.ts';
import type { CryptoKey, RotatingSecret } from './api.ts';
import {
  AUTH_MODE_MON,
  CEPHX_GET_AUTH_SESSION_KEY,
  CEPHX_GET_PRINCIPAL_SESSION_KEY,
  CEPHX_GET_ROTATING_KEY,
  challengeKey,
  decodeRotating,
  decodeTickets,
  encodeAuthenticate,
  encodeAuthorizer,
  type GrantedTicket,
  randomU64,
  type TicketBlob,
} from './cephx.ts';
import { openValue } from './crypto.ts';

interface HeldTicket {
  sessionKey: Uint8Array;
  blob: TicketBlob;
  renewAtMs: number;
  expiresMs: number;
}

const askAgainMs = 30_000;

const noTicket: TicketBlob = { secretId: 0, blob: emptyBytes };

/** What one client has by which it is let in, for all its connections. */
export interface ClientTickets {
  globalId: bigint;
  /** Secrets of its own service, of a daemon; cephx only. */
  readonly rotating: readonly RotatingSecret[];
  /** Forgets what it has: after a mon refused to give us our global id again. */
  reset(): void;
  monAuth(modes: readonly number[]): ClientAuth;
  hasTicket(service: number): boolean;
  /** Throws AppError when there is no ticket for that service. */
  serviceAuth(service: number, modes?: readonly number[]): ClientAuth;
  /** Payloads of MAuth; undefined when nothing is to be asked. */
  renewalRequest(): Uint8Array | undefined;
  rotatingRequest(): Uint8Array | undefined;
  handleReply(payload: Uint8Array): void;
}

/** The cephx state of one client: its secret, global id and tickets. Shared by all its connections. */
export class CephxClient implements ClientTickets {
  readonly name: EntityName;
  readonly #key: CryptoKey;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #want: number;
  readonly #tickets = new Map<number, HeldTicket>();
  globalId = 0n;
  #serverChallenge = 0n;
  #askedAtMs = 0;
  rotating: readonly RotatingSecret[] = [];

  constructor(options: { name: EntityName; key: CryptoKey; clock: Clock; random: Random; want: number }) {
    this.name = options.name;
    this.#key = options.key;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#want = options.want;
  }

  /** Forgets the tickets: after a mon refused to give us our global id again. */
  reset(): void {
    this.#tickets.clear();
    this.globalId = 0n;
  }

  #take(tickets: readonly GrantedTicket[]): void {
    const now = this.#clock.now();
    this.#askedAtMs = now;
    for (const t of tickets) {
      const validity = utimeToMs(t.validity);
      this.#tickets.set(t.service, {
        sessionKey: t.sessionKey.secret,
        blob: t.blob,
        renewAtMs: now + validity * 0.75,
        expiresMs: now + validity,
      });
    }
  }

  #authenticate(e: Encoder): void {
    const clientChallenge = randomU64(this.#random.bytes(8));
    e.u16(CEPHX_GET_AUTH_SESSION_KEY);
    encodeAuthenticate(e, {
      clientChallenge,
      key: challengeKey(this.#key.secret, this.#serverChallenge, clientChallenge),
      oldTicket: this.#tickets.get(ENTITY_AUTH)?.blob ?? noTicket,
      otherKeys: this.#want & ~ENTITY_AUTH,
    });
  }

  /** Reads an answer to GET_AUTH_SESSION_KEY behind its header; gives the connection secret. */
  #authenticated(d: Decoder): Uint8Array {
    this.#take(decodeTickets(d, this.#key.secret, (service) => this.#tickets.get(service)?.sessionKey));
    const auth = this.#tickets.get(ENTITY_AUTH);
    if (auth === undefined) throw new DecodeError('cephx: the mon gave no ticket of the auth service');
    let secret = emptyBytes;
    if (d.remaining > 0) {
      const sealed = d.blob();
      if (sealed.length > 0)
        secret = openValue(auth.sessionKey, new Decoder(sealed).blob(), (x) => x.blob().slice()) as typeof secret;
      const extra = d.blob();
      if (extra.length > 0) this.#take(decodeTickets(new Decoder(extra), auth.sessionKey, () => undefined));
    }
    return secret;
  }

  /** For a connection to a mon. */
  monAuth(modes: readonly number[]): ClientAuth {
    return {
      method: AUTH_CEPHX,
      modes,
      begin: () => {
        const e = new Encoder();
        e.u8(AUTH_MODE_MON);
        encodeEntityName(e, this.name);
        return e.u64b(this.#tickets.has(ENTITY_AUTH) ? this.globalId : 0n).finish();
      },
      more: (payload) => {
        const d = new Decoder(payload);
        d.u8();
        this.#serverChallenge = d.u64b();
        if (!this.#tickets.has(ENTITY_AUTH)) this.globalId = 0n;
        const e = new Encoder();
        this.#authenticate(e);
        return e.finish();
      },
      done: (payload, globalId, mode): AuthSecrets => {
        const d = new Decoder(payload);
        const type = d.u16();
        const status = d.s32();
        if (type !== CEPHX_GET_AUTH_SESSION_KEY || status !== 0)
          throw new DecodeError(`cephx: the mon answered request 0x${type.toString(16)} with ${status}`);
        this.globalId = globalId;
        const connectionSecret = this.#authenticated(d);
        if (mode === CON_MODE_SECURE && connectionSecret.length === 0)
          throw new DecodeError('cephx: secure mode without a connection secret');
        return { sessionKey: this.#tickets.get(ENTITY_AUTH)!.sessionKey, connectionSecret };
      },
      refused: (result, methods) => {
        throw refusedError(entityNameText(this.name), 'the mon', result, methods);
      },
    };
  }

  hasTicket(service: number): boolean {
    const ticket = this.#tickets.get(service);
    return ticket !== undefined && ticket.expiresMs > this.#clock.now();
  }

  /** For a connection to an OSD, MGR or MDS. Throws AppError when there is no ticket for that service. */
  serviceAuth(service: number, modes: readonly number[] = [CON_MODE_CRC, CON_MODE_SECURE]): ClientAuth {
    const ticket = this.#tickets.get(service);
    if (ticket === undefined)
      throw new AppError(
        'NO_TICKET',
        `${entityNameText(this.name)} has no ticket for service ${entityTypeName(service)}`,
      );
    const nonce = randomU64(this.#random.bytes(8));
    const authorizer = (challenge?: bigint): Uint8Array =>
      encoded((e) =>
        encodeAuthorizer(e, {
          globalId: this.globalId,
          service,
          ticket: ticket.blob,
          sessionKey: ticket.sessionKey,
          nonce,
          ...(challenge === undefined ? {} : { challenge }),
        }),
      );
    return {
      method: AUTH_CEPHX,
      modes,
      begin: () => authorizer(),
      more: (payload) =>
        authorizer(
          openValue(ticket.sessionKey, payload, (d) => {
            d.u8();
            return d.u64b();
          }),
        ),
      done: (payload, _globalId, mode): AuthSecrets =>
        openValue(ticket.sessionKey, new Decoder(payload).blob(), (d) => {
          const v = d.u8();
          if (d.u64b() !== BigInt.asUintN(64, nonce + 1n))
            throw new DecodeError('cephx: the service did not prove itself');
          const connectionSecret = v >= 2 ? d.blob().slice() : emptyBytes;
          if (mode === CON_MODE_SECURE && connectionSecret.length === 0)
            throw new DecodeError('cephx: secure mode without a connection secret');
          return { sessionKey: ticket.sessionKey, connectionSecret };
        }),
      refused: (result, methods) => {
        throw refusedError(entityNameText(this.name), entityTypeName(service), result, methods);
      },
    };
  }

  /** When the next renewal is due, in `clock.now` milliseconds. */
  nextRenewalMs(): number {
    let due = Number.POSITIVE_INFINITY;
    for (const ticket of this.#tickets.values()) due = Math.min(due, ticket.renewAtMs);
    return due;
  }

  /** Payload of an MAuth that renews what is due; undefined when nothing is. */
  renewalRequest(): Uint8Array | undefined {
    const now = this.#clock.now();
    const auth = this.#tickets.get(ENTITY_AUTH);
    if (auth === undefined) return undefined;
    const e = new Encoder();
    if (auth.renewAtMs <= now) {
      this.#authenticate(e);
      return e.finish();
    }
    let due = 0;
    for (let service = 1; service <= this.#want; service <<= 1) {
      if ((this.#want & service & ~ENTITY_AUTH) === 0) continue;
      const ticket = this.#tickets.get(service);
      // A ticket that the mon did not give (it has no secret of that service yet) is asked for again now and then.
      if (ticket === undefined ? this.#askedAtMs + askAgainMs <= now : ticket.renewAtMs <= now) due |= service;
    }
    if (due === 0) return undefined;
    this.#askedAtMs = now;
    e.u16(CEPHX_GET_PRINCIPAL_SESSION_KEY);
    encodeAuthorizer(e, {
      globalId: this.globalId,
      service: ENTITY_AUTH,
      ticket: auth.blob,
      sessionKey: auth.sessionKey,
      nonce: randomU64(this.#random.bytes(8)),
    });
    e.u8(1).u32(due);
    return e.finish();
  }

  /** Payload of an MAuth that fetches the rotating secrets of our own service. */
  rotatingRequest(): Uint8Array {
    return encoded((e) => e.u16(CEPHX_GET_ROTATING_KEY));
  }

  /** Takes the answer to either. */
  handleReply(payload: Uint8Array): void {
    const d = new Decoder(payload);
    const type = d.u16();
    const status = d.s32();
    if (status !== 0) throw new DecodeError(`cephx: the mon answered request 0x${type.toString(16)} with ${status}`);
    if (type === CEPHX_GET_AUTH_SESSION_KEY) this.#authenticated(d);
    else if (type === CEPHX_GET_PRINCIPAL_SESSION_KEY) {
      const auth = this.#tickets.get(ENTITY_AUTH);
      if (auth !== undefined) this.#take(decodeTickets(d, auth.sessionKey, (s) => this.#tickets.get(s)?.sessionKey));
    } else if (type === CEPHX_GET_ROTATING_KEY) this.rotating = openValue(this.#key.secret, d.blob(), decodeRotating);
    else throw new DecodeError(`cephx: answer of type 0x${type.toString(16)}`);
  }
}

function refusedError(name: string, who: string, result: number, methods: readonly number[]): AppError {
  return new AppError(
    'AUTH_REFUSED',
    `${who} refused ${name} (error ${result}, methods allowed ${methods.join(', ')})`,
    {
      hint: `check that the key of ${name} is the one the cluster knows (ceph auth get ${name})`,
    },
  );
}
