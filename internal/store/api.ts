/**
 * The key-value interface of the control plane: etcd v3 semantics (etcd.io/docs/v3.5/learning/api). The API server and the mon are written
 * against it; one member now, raft slides under `propose` later without a change here.
 */

/** A stored key at one revision. Keys and values are opaque bytes; do not change them. */
export interface KeyValue {
  key: Uint8Array;
  value: Uint8Array;
  createRevision: number;
  modRevision: number;
  /** 1 when created, rising by one with each put. */
  version: number;
  /** 0 when no lease is attached. */
  lease: bigint;
}

export interface RangeRequest {
  key: Uint8Array;
  /** Exclusive end; absent: the one key; a single zero byte: every key from `key` on. */
  rangeEnd?: Uint8Array;
  /** 0 or absent: no limit. */
  limit?: number;
  /** Read at this revision; 0 or absent: the newest. CompactedError and FutureRevisionError tell when it cannot be. */
  revision?: number;
  keysOnly?: boolean;
  countOnly?: boolean;
}

export interface RangeResponse {
  /** The store's revision when the range was answered. */
  revision: number;
  kvs: KeyValue[];
  /** All keys in the range, also those beyond `limit`. */
  count: number;
  more: boolean;
}

export interface PutRequest {
  key: Uint8Array;
  value: Uint8Array;
  lease?: bigint;
  prevKv?: boolean;
}

export interface DeleteRequest {
  key: Uint8Array;
  rangeEnd?: Uint8Array;
  prevKv?: boolean;
}

export type Compare = {
  key: Uint8Array;
  rangeEnd?: Uint8Array;
  result: 'equal' | 'greater' | 'less' | 'not-equal';
} & (
  | { target: 'version' | 'create' | 'mod'; value: number }
  | { target: 'lease'; value: bigint }
  | { target: 'value'; value: Uint8Array }
);

export type RequestOp =
  | { op: 'range'; request: RangeRequest }
  | { op: 'put'; request: PutRequest }
  | { op: 'delete'; request: DeleteRequest }
  | { op: 'txn'; request: TxnRequest };

export interface TxnRequest {
  compare: Compare[];
  success: RequestOp[];
  failure: RequestOp[];
}

export type ResponseOp =
  | { op: 'range'; response: RangeResponse }
  | { op: 'put'; response: { revision: number; prevKv?: KeyValue } }
  | { op: 'delete'; response: { revision: number; deleted: number; prevKvs: KeyValue[] } }
  | { op: 'txn'; response: TxnResponse };

export interface TxnResponse {
  revision: number;
  succeeded: boolean;
  responses: ResponseOp[];
}

export interface WatchEvent {
  type: 'put' | 'delete';
  /** For a delete: the key with the revision of the delete as modRevision and an empty value. */
  kv: KeyValue;
  prevKv?: KeyValue;
}

export interface WatchRequest {
  key: Uint8Array;
  rangeEnd?: Uint8Array;
  /** First revision to tell of; 0 or absent: from now on. */
  startRevision?: number;
  prevKv?: boolean;
}

/** Called with every event of one revision in one batch, revisions in order; never called again after `close` or `onEnd`. */
export interface WatchHandler {
  onEvents(events: WatchEvent[], revision: number): void;
  /** The watch ended by itself: compacted (CompactedError), the consumer fell too far behind, or the store closed. */
  onEnd(error: Error): void;
}

export interface Watch {
  close(): void;
}

/**
 * How an entry must be on disk before it is acknowledged. `volatile` (node Leases and Events, one member only) is acknowledged after the
 * append and synced within 5 s or with the next durable write.
 */
export type Durability = 'durable' | 'volatile';

export interface Store {
  /** The newest applied revision. */
  readonly revision: number;
  readonly compactRevision: number;
  range(request: RangeRequest): Promise<RangeResponse>;
  put(request: PutRequest, durability?: Durability): Promise<{ revision: number; prevKv?: KeyValue }>;
  delete(
    request: DeleteRequest,
    durability?: Durability,
  ): Promise<{ revision: number; deleted: number; prevKvs: KeyValue[] }>;
  /** Resolves when the transaction is applied and, if it wrote, on disk. */
  txn(request: TxnRequest, durability?: Durability): Promise<TxnResponse>;
  watch(request: WatchRequest, handler: WatchHandler): Watch;
  /** Forgets history before `revision`; resolves when it can no longer be read. */
  compact(revision: number): Promise<void>;
  leaseGrant(ttlSeconds: number, id?: bigint): Promise<{ id: bigint; ttlSeconds: number }>;
  leaseRevoke(id: bigint): Promise<void>;
  leaseKeepAlive(id: bigint): Promise<{ ttlSeconds: number }>;
  leaseTimeToLive(id: bigint): Promise<{ ttlSeconds: number; grantedTtlSeconds: number; keys: Uint8Array[] }>;
  leases(): Promise<bigint[]>;
  /** Bytes and counts for status and metrics. */
  status(): StoreStatus;
  /** Writes out what is in memory, syncs, and lets go of the files. */
  close(): Promise<void>;
}

export interface StoreStatus {
  revision: number;
  compactRevision: number;
  appliedIndex: number;
  journalBytes: number;
  databaseBytes: number;
  keys: number;
  bytesWritten: number;
}
