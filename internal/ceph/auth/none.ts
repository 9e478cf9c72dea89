import { DecodeError, emptyBytes } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import { Decoder, encoded } from '../wire/encoding.ts';
import {
  AUTH_NONE,
  type AuthSecrets,
  type ClientAuth,
  CON_MODE_CRC,
  type ServerAuth,
  type ServerAuthStep,
} from '../wire/messenger.ts';
import { decodeEntityName, type EntityName, encodeEntityName, entityNameText } from '../wire/types.ts';
import type { RotatingSecret } from './api.ts';
import { AUTH_MODE_MON } from './cephx.ts';
import type { ClientTickets } from './client-auth.ts';

/**
 * Authentication `none` (`src/auth/none`): everybody is whom it says it is, and may do everything; there is no key, so that frames are not encrypted either. A service
 * answers to this method or to cephx, never to both: nobody can choose the weaker one.
 */

const EPERM = -1;
/** First byte of the payload for a service, its version (`AuthNoneAuthorizer`). */
const authorizerVersion = 1;
const modes = [CON_MODE_CRC];
const noSecrets: AuthSecrets = { sessionKey: undefined, connectionSecret: emptyBytes };

function payloadOf(first: number, name: EntityName, globalId: bigint): Uint8Array {
  return encoded((e) => {
    e.u8(first);
    encodeEntityName(e, name);
    e.u64b(globalId);
  });
}

/** At a mon, which numbers who comes without a global id by `nextGlobalId`, and at other services without it. */
export function createNoneAuth(nextGlobalId?: () => bigint): ServerAuth {
  const expected = nextGlobalId === undefined ? authorizerVersion : AUTH_MODE_MON;
  return {
    methods: [AUTH_NONE],
    modes: () => modes,
    session: (method) =>
      method !== AUTH_NONE
        ? undefined
        : {
            begin: (payload): ServerAuthStep => {
              const d = new Decoder(payload);
              const first = d.u8();
              if (first !== expected)
                return {
                  kind: 'refused',
                  result: EPERM,
                  reason: `authentication none: mode ${first}, not ${expected}`,
                };
              const name = decodeEntityName(d);
              const given = d.u64b();
              const globalId = given === 0n && nextGlobalId !== undefined ? nextGlobalId() : given;
              return {
                kind: 'done',
                payload: emptyBytes,
                secrets: noSecrets,
                identity: { name, globalId, caps: '', allowAll: true },
              };
            },
            more: () => {
              throw new DecodeError('authentication none has one round');
            },
          },
  };
}

/** A client's part: its global id. */
export class NoneClient implements ClientTickets {
  readonly name: EntityName;
  globalId = 0n;
  readonly rotating: readonly RotatingSecret[] = [];

  constructor(name: EntityName) {
    this.name = name;
  }

  reset(): void {
    this.globalId = 0n;
  }
  monAuth(): ClientAuth {
    return this.#auth(AUTH_MODE_MON, 'the mon', (globalId) => {
      this.globalId = globalId;
    });
  }
  hasTicket(): boolean {
    return true;
  }
  serviceAuth(): ClientAuth {
    return this.#auth(authorizerVersion, 'the service', () => undefined);
  }
  renewalRequest(): undefined {
    return undefined;
  }
  /** There are no secrets. */
  rotatingRequest(): undefined {
    return undefined;
  }
  handleReply(): void {
    throw new DecodeError('an answer of cephx, which was not asked');
  }

  #auth(first: number, who: string, done: (globalId: bigint) => void): ClientAuth {
    return {
      method: AUTH_NONE,
      modes,
      begin: () => payloadOf(first, this.name, this.globalId),
      more: () => {
        throw new DecodeError('authentication none has one round');
      },
      done: (_payload, globalId) => {
        done(globalId);
        return noSecrets;
      },
      refused: (result, methods) => {
        throw new AppError(
          'AUTH_REFUSED',
          `${who} refused ${entityNameText(this.name)} without authentication (error ${result}, methods allowed ${methods.join(', ')})`,
          { hint: 'storage.auth and `auth client required` in ceph.conf must be the same on all nodes' },
        );
      },
    };
  }
}
