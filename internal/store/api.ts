/**
 * The key-value interface of the control plane: etcd v3 semantics (etcd.io/docs/v3.5/learning/api). The API server, the mon and the etcd face are
 * written against it; our own store and a real etcd (`external/external-client.ts`) implement it.
 */

import type { Histogram } from '../base/prometheus.ts';

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
  /** Absent: by key, ascending. Sorting looks at the whole range before `limit` cuts. */
  sort?: { by: SortTarget; descending?: boolean };
  /** Inclusive bounds; 0 or absent: none. They leave `count` as it is. */
  minModRevision?: number;
  maxModRevision?: number;
  minCreateRevision?: number;
  maxCreateRevision?: number;
  /** True: what this member has, perhaps behind the others. Otherwise everything acknowledged before the call is seen. */
  serializable?: boolean;
}

export const sortTargets = ['key', 'version', 'create', 'mod', 'value'] as const;
export type SortTarget = (typeof sortTargets)[number];

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
  /** Keeps the key's value (`value` must be empty); KeyNotFoundError when there is no such key. */
  ignoreValue?: boolean;
  /** Keeps the key's lease (`lease` must be 0); KeyNotFoundError when there is no such key. */
  ignoreLease?: boolean;
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
  /** Leaves out puts, or deletes. */
  noPut?: boolean;
  noDelete?: boolean;
}

/** Called with every event of one revision in one batch, revisions in order; never called again after `close` or `onEnd`. */
export interface WatchHandler {
  onEvents(events: WatchEvent[], revision: number): void;
  /** The watch ended by itself: compacted (CompactedError), the consumer fell too far behind, or the store closed. */
  onEnd(error: Error): void;
}

export interface Watch {
  /** Every event of a revision up to this one was told. */
  progress(): number;
  close(): void;
}

export const alarmTypes = ['nospace', 'corrupt'] as const;
/** `nospace`: puts and new leases are refused until it is disarmed; `corrupt`: every write is. */
export type AlarmType = (typeof alarmTypes)[number];
export interface Alarm {
  memberId: bigint;
  type: AlarmType;
}

/** One member of the store's cluster. */
export interface Member {
  id: bigint;
  /** Empty until it has started. */
  name: string;
  peerUrls: readonly string[];
  clientUrls: readonly string[];
  learner: boolean;
  /** The node that it is on; undefined where nobody said so, and of a real etcd. */
  node?: string;
}

/** Who keeps this store, as this member knows it. */
export interface Cluster {
  readonly clusterId: bigint;
  /** This member. */
  readonly memberId: bigint;
  /** 0n: none is known. */
  readonly leaderId: bigint;
  readonly term: number;
  /** Index of the newest entry known to be committed. */
  readonly commitIndex: number;
  members(): readonly Member[];
  /** ClusterError says why not. `node`: the one that it will be on. */
  addMember(peerUrls: readonly string[], learner: boolean, node?: string): Promise<Member>;
  removeMember(id: bigint): Promise<void>;
  updateMember(id: bigint, peerUrls: readonly string[]): Promise<void>;
  promoteMember(id: bigint): Promise<void>;
  /** Who had better lead when this member, which leads, goes: a voter that it hears. Undefined: it does not lead, or there is none. */
  successor(): Member | undefined;
  /** Only the leader can; resolves when `to` leads. */
  moveLeader(to: bigint): Promise<void>;
}

/**
 * How an entry must be on disk before it is acknowledged; the two others with one member only. `volatile` (Events) is acknowledged after the
 * append and synced within 5 s or with the next durable write. `deferred` (Leases of nodes, renewed every 10 s) is acknowledged at once and written
 * within 60 s or with the next write of another kind: a killed process loses it, which looks like a renewal that came late.
 */
export type Durability = 'durable' | 'volatile' | 'deferred';

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
  /** Forgets history before `revision`; resolves when it can no longer be read, with `physical` when it is gone from the database too. */
  compact(revision: number, options?: { physical?: boolean }): Promise<void>;
  leaseGrant(ttlSeconds: number, id?: bigint): Promise<{ id: bigint; ttlSeconds: number }>;
  leaseRevoke(id: bigint): Promise<void>;
  leaseKeepAlive(id: bigint): Promise<{ ttlSeconds: number }>;
  /** `keys` is empty unless asked for. */
  leaseTimeToLive(
    id: bigint,
    options?: { keys?: boolean },
  ): Promise<{ ttlSeconds: number; grantedTtlSeconds: number; keys: Uint8Array[] }>;
  leases(): Promise<bigint[]>;
  alarms(): Promise<Alarm[]>;
  raiseAlarm(alarm: Alarm): Promise<void>;
  /** Takes it back; the alarms that were there and fit (`memberId` 0n: any member). */
  disarmAlarm(alarm: Alarm): Promise<Alarm[]>;
  /**
   * CRC-32C over every version that can be read at `revision` (0 or absent: the newest), the same on every member and, for the same history, the
   * same as etcd's HashKV.
   */
  hashKv(revision?: number): Promise<{ hash: number; revision: number; compactRevision: number }>;
  /** Gives back the space that deleted and compacted data had. */
  defragment(): Promise<void>;
  /** A copy of the whole state at one moment, as a file (`snapshot.ts`). The iteration must be ended (`return`) when it is given up. */
  snapshot(): Promise<StoreSnapshot>;
  readonly cluster: Cluster;
  /** Bytes and counts for status and metrics. */
  status(): StoreStatus;
  /** Writes out what is in memory, syncs, and lets go of the files. */
  close(): Promise<void>;
}

/** The pieces of a snapshot's file in order. */
export interface StoreSnapshot {
  readonly revision: number;
  readonly bytes: number;
  pieces(): AsyncIterable<Uint8Array>;
}

export interface StoreStatus {
  revision: number;
  compactRevision: number;
  appliedIndex: number;
  journalBytes: number;
  /** Size of the database, and how much of it holds data. */
  databaseBytes: number;
  databaseBytesInUse: number;
  /** Writes are refused beyond this size of the database. */
  quotaBytes: number;
  keys: number;
  bytesWritten: number;
  /** Undefined for a store that is kept elsewhere. */
  counters?: StoreCounters;
}

/** What this member did since it was opened. */
export interface StoreCounters {
  /** Times that somebody else led than before. */
  leaderChanges: number;
  proposalsPending: number;
  /** Requests that got no place in the log, or of which nobody knows. */
  proposalsFailed: number;
  puts: number;
  deletes: number;
  ranges: number;
  txns: number;
  watches: number;
  leases: number;
  /** Syncs of the log, and writes of batches to the database. */
  logSyncSeconds: Histogram;
  databaseWriteSeconds: Histogram;
}
