import { emptyBytes } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import { Decoder, encoded, utimeToMs } from '../wire/encoding.ts';
import {
  AUTH_CEPHX,
  CON_MODE_CRC,
  CON_MODE_SECURE,
  type ServerAuth,
  type ServerAuthSession,
  type ServerAuthStep,
} from '../wire/messenger.ts';
import type { RotatingSecret } from './api.ts';
import { decodeAuthorizer, openAuthorize, openTicket, randomU64, type ServiceTicketInfo } from './cephx.ts';
import { sealValue } from './crypto.ts';

const EACCES = -13;

export interface ServiceAuthOptions {
  /** Our service's bit: ENTITY_OSD, ENTITY_MGR, ENTITY_MDS. */
  service: number;
  rotating: () => readonly RotatingSecret[];
  clock: Clock;
  random: Random;
  /** Connection modes allowed, best first; default crc, secure. */
  modes?: readonly number[];
}

/** How an OSD, MGR or MDS checks who dials it: authorizer, challenge, caps from the ticket (`cephx_verify_authorizer`). */
export function createServiceAuth(options: ServiceAuthOptions): ServerAuth {
  const modes = options.modes ?? [CON_MODE_CRC, CON_MODE_SECURE];
  return {
    methods: [AUTH_CEPHX],
    modes: () => modes,
    session: (method, _peerType, mode) => (method === AUTH_CEPHX ? new ServiceAuthSession(options, mode) : undefined),
  };
}

class ServiceAuthSession implements ServerAuthSession {
  readonly #o: ServiceAuthOptions;
  readonly #mode: number;
  #challenge: bigint | undefined;

  constructor(options: ServiceAuthOptions, mode: number) {
    this.#o = options;
    this.#mode = mode;
  }

  begin(payload: Uint8Array): ServerAuthStep {
    return this.#step(payload);
  }
  more(payload: Uint8Array): ServerAuthStep {
    return this.#step(payload);
  }

  #step(payload: Uint8Array): ServerAuthStep {
    const authorizer = decodeAuthorizer(new Decoder(payload));
    if (authorizer.service !== this.#o.service) return refuse(`authorizer for service ${authorizer.service}`);
    const secrets = this.#o.rotating();
    if (!secrets.some((s) => s.id === authorizer.ticket.secretId))
      return refuse(`ticket made with secret ${authorizer.ticket.secretId}, which is not here`);
    const info: ServiceTicketInfo = openTicket(secrets, authorizer.ticket);
    if (info.ticket.globalId !== authorizer.globalId)
      return refuse('global id of the authorizer is not that of its ticket');
    if (utimeToMs(info.ticket.expires) < this.#o.clock.now()) return refuse('ticket is expired');
    const sessionKey = info.sessionKey.secret;
    const { nonce, challengePlusOne } = openAuthorize(sessionKey, authorizer.sealed);
    if (this.#challenge === undefined) {
      const challenge = randomU64(this.#o.random.bytes(8));
      this.#challenge = challenge;
      return { kind: 'more', payload: sealValue(sessionKey, (e) => e.u8(1).u64b(challenge)) };
    }
    if (challengePlusOne !== BigInt.asUintN(64, this.#challenge + 1n)) return refuse('wrong answer to the challenge');
    const connectionSecret = this.#mode === CON_MODE_SECURE ? this.#o.random.bytes(64) : emptyBytes;
    const sealed = sealValue(sessionKey, (e) => {
      e.u8(connectionSecret.length > 0 ? 2 : 1).u64b(nonce + 1n);
      if (connectionSecret.length > 0) e.blob(connectionSecret);
    });
    const { name, globalId, caps, allowAll } = info.ticket;
    return {
      kind: 'done',
      payload: encoded((e) => e.blob(sealed)),
      secrets: { sessionKey, connectionSecret },
      identity: { name, globalId, caps, allowAll },
    };
  }
}

function refuse(reason: string): ServerAuthStep {
  return { kind: 'refused', result: EACCES, reason };
}
