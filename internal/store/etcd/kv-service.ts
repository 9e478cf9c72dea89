import type { Store } from '../api.ts';
import type { Method } from '../grpc/service.ts';
import { safeNumber } from '../mvccpb.ts';
import type { FaceContext } from './context.ts';
import { etcdError } from './errors.ts';
import {
  codec,
  type DeleteRangeRequestMessage,
  type PutRequestMessage,
  type RangeRequestMessage,
  type TxnRequestMessage,
  type Wide,
} from './messages.ts';
import { deleteRequest, putRequest, rangeRequest, txnRequest } from './requests.ts';
import { deleteResponse, putResponse, rangeResponse, txnResponse } from './responses.ts';

const messages = {
  range: codec<RangeRequestMessage>('RangeRequest'),
  put: codec<PutRequestMessage>('PutRequest'),
  delete: codec<DeleteRangeRequestMessage>('DeleteRangeRequest'),
  txn: codec<TxnRequestMessage>('TxnRequest'),
  compact: codec<{ revision: Wide; physical: boolean }>('CompactionRequest'),
};

/** `etcdserverpb.KV`. */
export function kvService({ store, header, limits, unary }: FaceContext): Map<string, Method> {
  /** What would be written to the log is bounded, as etcd's --max-request-bytes. */
  const write = <T>(
    decode: (bytes: Uint8Array) => T,
    handle: (request: T, store: Store) => Promise<Uint8Array>,
  ): Method =>
    unary((bytes) => {
      if (bytes.length > limits.requestBytes) throw etcdError('REQUEST_TOO_LARGE');
      return handle(decode(bytes), store);
    });
  return new Map<string, Method>([
    [
      'Range',
      unary(async (bytes) => rangeResponse(header, await store.range(rangeRequest(messages.range.decode(bytes))))),
    ],
    ['Put', write(messages.put.decode, async (message) => putResponse(header, await store.put(putRequest(message))))],
    [
      'DeleteRange',
      write(messages.delete.decode, async (message) =>
        deleteResponse(header, await store.delete(deleteRequest(message))),
      ),
    ],
    [
      'Txn',
      write(messages.txn.decode, async (message) =>
        txnResponse(header, await store.txn(txnRequest(message, limits.txnOps))),
      ),
    ],
    [
      'Compact',
      write(messages.compact.decode, async ({ revision, physical }) => {
        await store.compact(safeNumber(revision), { physical });
        return putResponse(header, { revision: store.revision });
      }),
    ],
  ]);
}
