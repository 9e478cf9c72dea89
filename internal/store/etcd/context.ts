import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { Store } from '../api.ts';
import type { Method, UnaryHandler } from '../grpc/service.ts';
import { toEtcdError } from './errors.ts';
import type { HeaderWriter } from './responses.ts';

/** etcd's --max-request-bytes, --max-txn-ops and --experimental-watch-progress-notify-interval. */
export interface FaceLimits {
  readonly requestBytes: number;
  readonly txnOps: number;
  readonly progressNotifyMs: number;
  /** Bytes of one watch stream that wait for its client; what comes later is read from the store again. */
  readonly watchBytes: number;
}

export const defaultFaceLimits: FaceLimits = {
  requestBytes: 1.5 * 2 ** 20,
  txnOps: 128,
  progressNotifyMs: 10 * 60_000,
  watchBytes: 1 << 20,
};

/** What every service of the face has. */
export interface FaceContext {
  readonly store: Store;
  readonly header: HeaderWriter;
  /** The header of an answer that protobufjs encodes. */
  headerFields(): object;
  readonly limits: FaceLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** A method with one answer whose errors become etcd's. */
  unary(handle: UnaryHandler): Method;
}

export function unaryMethod(handle: UnaryHandler): Method {
  return {
    kind: 'unary',
    handle: async (message, info) => {
      try {
        return await handle(message, info);
      } catch (error) {
        throw toEtcdError(error);
      }
    },
  };
}
