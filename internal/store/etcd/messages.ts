import protobuf from 'protobufjs';
import { errorText } from '../../base/errors.ts';
import { maxTxnDepth } from '../command.ts';
import { GrpcError, grpcCode } from '../grpc/status.ts';
import { etcdError } from './errors.ts';
import rpcText from './rpc.proto' with { type: 'text' };

/** `etcdserverpb` as protobufjs reads it: field names in camel case, 64-bit numbers as objects (`safeNumber`, `signedBigint`), bytes as views. */
const root = protobuf.parse(rpcText, { keepCase: false }).root;

/**
 * A transaction is two messages deep, its comparisons and operations one or two more; etcd takes at most 129 in one another, because each counts as an
 * operation of its parent. Deeper ones are refused unread: what they would cost is stack.
 */
protobuf.Reader.recursionLimit = 2 * (maxTxnDepth + 1) + 3;

export interface Codec<T> {
  /** Absent fields have their default, absent messages are null. GrpcError when the bytes are not the message; unknown fields are skipped. */
  decode(bytes: Uint8Array): T;
  encode(message: object): Uint8Array;
}

/** The codec of a message of `etcdserverpb`. */
export function codec<T>(name: string): Codec<T> {
  const type = root.lookupType(`etcdserverpb.${name}`);
  return {
    decode: (bytes) => {
      try {
        return type.decode(bytes) as unknown as T;
      } catch (error) {
        // No other message holds itself.
        if (name === 'TxnRequest' && /nesting depth/.test(errorText(error))) throw etcdError('TOO_MANY_OPS');
        throw new GrpcError(grpcCode.internal, `grpc: error unmarshalling request: ${errorText(error)}`);
      }
    },
    encode: (message) => type.encode(message as never).finish(),
  };
}

/** A 64-bit number as protobufjs decodes it. */
export type Wide = number | { low: number; high: number; unsigned: boolean };

export interface RangeRequestMessage {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  limit: Wide;
  revision: Wide;
  sortOrder: number;
  sortTarget: number;
  serializable: boolean;
  keysOnly: boolean;
  countOnly: boolean;
  minModRevision: Wide;
  maxModRevision: Wide;
  minCreateRevision: Wide;
  maxCreateRevision: Wide;
}
export interface PutRequestMessage {
  key: Uint8Array;
  value: Uint8Array;
  lease: Wide;
  prevKv: boolean;
  ignoreValue: boolean;
  ignoreLease: boolean;
}
export interface DeleteRangeRequestMessage {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  prevKv: boolean;
}
export interface RequestOpMessage {
  requestRange?: RangeRequestMessage | null;
  requestPut?: PutRequestMessage | null;
  requestDeleteRange?: DeleteRangeRequestMessage | null;
  requestTxn?: TxnRequestMessage | null;
}
export interface CompareMessage {
  result: number;
  target: number;
  key: Uint8Array;
  version?: Wide | null;
  createRevision?: Wide | null;
  modRevision?: Wide | null;
  value?: Uint8Array | null;
  lease?: Wide | null;
  rangeEnd: Uint8Array;
}
export interface TxnRequestMessage {
  compare: CompareMessage[];
  success: RequestOpMessage[];
  failure: RequestOpMessage[];
}
export interface WatchRequestMessage {
  createRequest?: {
    key: Uint8Array;
    rangeEnd: Uint8Array;
    startRevision: Wide;
    progressNotify: boolean;
    filters: number[];
    prevKv: boolean;
    watchId: Wide;
    fragment: boolean;
  } | null;
  cancelRequest?: { watchId: Wide } | null;
  progressRequest?: object | null;
}

/** Header of every answer. */
export interface HeaderMessage {
  clusterId: Wide;
  memberId: Wide;
  revision: Wide;
  raftTerm: Wide;
}
