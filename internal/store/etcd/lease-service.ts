import { errorCode } from '../../base/errors.ts';
import { GrpcError, grpcCode } from '../grpc/status.ts';
import type { Method, ServerStream } from '../grpc/service.ts';
import { longBits, safeNumber, signedBigint } from '../mvccpb.ts';
import type { FaceContext } from './context.ts';
import { toEtcdError } from './errors.ts';
import { codec, type Wide } from './messages.ts';

const grant = { request: codec<{ TTL: Wide; ID: Wide }>('LeaseGrantRequest'), response: codec('LeaseGrantResponse') };
const revoke = { request: codec<{ ID: Wide }>('LeaseRevokeRequest'), response: codec('LeaseRevokeResponse') };
const timeToLive = {
  request: codec<{ ID: Wide; keys: boolean }>('LeaseTimeToLiveRequest'),
  response: codec('LeaseTimeToLiveResponse'),
};
const list = codec('LeaseLeasesResponse');
const keepAlive = { request: codec<{ ID: Wide }>('LeaseKeepAliveRequest'), response: codec('LeaseKeepAliveResponse') };

/** Renewals of one stream that are on their way at most: then its client waits. */
const maxRenewals = 1000;

/** `etcdserverpb.Lease`. */
export function leaseService(context: FaceContext): Map<string, Method> {
  const { store, unary, headerFields } = context;
  return new Map<string, Method>([
    [
      'LeaseGrant',
      unary(async (bytes) => {
        const { TTL, ID } = grant.request.decode(bytes);
        const lease = await store.leaseGrant(safeNumber(TTL), signedBigint(ID));
        return grant.response.encode({ header: headerFields(), ID: longBits(lease.id), TTL: lease.ttlSeconds });
      }),
    ],
    [
      'LeaseRevoke',
      unary(async (bytes) => {
        await store.leaseRevoke(signedBigint(revoke.request.decode(bytes).ID));
        return revoke.response.encode({ header: headerFields() });
      }),
    ],
    [
      'LeaseTimeToLive',
      unary(async (bytes) => {
        const { ID, keys } = timeToLive.request.decode(bytes);
        const id = signedBigint(ID);
        try {
          const lease = await store.leaseTimeToLive(id, { keys });
          return timeToLive.response.encode({
            header: headerFields(),
            ID: longBits(id),
            TTL: lease.ttlSeconds,
            grantedTTL: lease.grantedTtlSeconds,
            keys: lease.keys,
          });
        } catch (error) {
          if (errorCode(error) !== 'LEASE_NOT_FOUND') throw error;
          return timeToLive.response.encode({ header: headerFields(), ID: longBits(id), TTL: -1 });
        }
      }),
    ],
    [
      'LeaseLeases',
      unary(async () => {
        const leases = (await store.leases()).map((id) => ({ ID: longBits(id) }));
        return list.encode({ header: headerFields(), leases });
      }),
    ],
    ['LeaseKeepAlive', { kind: 'stream', open: (stream) => renewals(context, stream) }],
  ]);
}

/** Answers each renewal in order; a lease that does not exist has a time to live of 0. */
function renewals({ store, headerFields }: FaceContext, stream: ServerStream): void {
  let last = Promise.resolve();
  let waiting = 0;
  /** The client does not read its answers. */
  let blocked = false;
  let halfClosed = false;
  const takeMore = (): void => {
    if (!blocked && waiting < maxRenewals) stream.resume();
  };
  stream.onDrain(() => {
    blocked = false;
    takeMore();
  });
  const fail = (error: unknown): void => {
    const told = toEtcdError(error);
    stream.end(told instanceof GrpcError ? told : new GrpcError(grpcCode.internal, String(told)));
  };
  stream.onMessage((bytes) => {
    let id: bigint;
    try {
      id = signedBigint(keepAlive.request.decode(bytes).ID);
    } catch (error) {
      fail(error);
      return;
    }
    if (++waiting >= maxRenewals) stream.pause();
    // The header is of before the renewal: a client that sees it knows that the lease was there at that revision.
    const header = headerFields();
    const renewed = store.leaseKeepAlive(id).then(
      ({ ttlSeconds }) => ttlSeconds,
      (error: unknown) => {
        if (errorCode(error) === 'LEASE_NOT_FOUND') return 0;
        throw error;
      },
    );
    renewed.catch(() => undefined);
    last = last.then(async () => {
      const TTL = await renewed;
      waiting--;
      if (!stream.send([keepAlive.response.encode({ header, ID: longBits(id), TTL })])) {
        blocked = true;
        stream.pause();
      } else takeMore();
      if (halfClosed && waiting === 0) stream.end();
    });
    last.catch(fail);
  });
  stream.onHalfClose(() => {
    halfClosed = true;
    if (waiting === 0) stream.end();
  });
}
