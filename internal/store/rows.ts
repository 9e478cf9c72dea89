import type { Alarm, KeyValue } from './api.ts';
import type { KeyRange, KeyText } from './keys.ts';

/** One key at one revision, as history keeps it. `kv.version` 0: the key was deleted at `kv.modRevision`. */
export interface Version {
  readonly key: KeyText;
  readonly kv: KeyValue;
  /** Place among the changes of the same revision. */
  readonly sub: number;
}

/** A key that changed, and whether its newest version is live. */
export interface ChangedKey {
  readonly key: KeyText;
  readonly live: boolean;
}

export interface LeaseRow {
  readonly id: bigint;
  /** 0 in a batch: the lease is gone. */
  readonly ttlSeconds: number;
  /** What was left at the last checkpoint; 0: the whole time. */
  readonly remainingSeconds: number;
}

/** The scalars of the state; written in the same transaction as the rows they belong to. */
export interface Meta {
  /** Index and term of the newest log entry that is contained. */
  appliedIndex: number;
  appliedTerm: number;
  revision: number;
  compactRevision: number;
  /** Highest revision that may have been handed out before it was on disk. */
  reserved: number;
}

/** Changes in the order they were applied, written in one transaction. */
export interface Batch {
  readonly meta: Meta;
  readonly versions: readonly Version[];
  readonly leases: readonly LeaseRow[];
  /** All of them, when they changed. */
  readonly alarms?: readonly Alarm[];
  /** Who keeps the store (`raft/membership.ts`), when that changed. */
  readonly membership?: Uint8Array;
}

/**
 * Reads of what has been written to the database. `atRevision` limits to versions with modRevision <= it. What has been compacted may be
 * missing.
 */
export interface Rows {
  get(key: KeyText, atRevision: number): Version | undefined;
  /** Calls `read` with the newest revision that is written; what it reads is of that moment, whatever is written meanwhile. */
  moment<T>(read: (revision: number) => T): T;
  /** Keys in the range that are live now, in key order, at most `limit` (0: all). `keysOnly`: values are left on the disk, and are empty here. */
  live(range: KeyRange, limit: number, keysOnly?: boolean): KeyValue[];
  /** How many keys in the range are live now. */
  count(range: KeyRange): number;
  /** Keys in the range that changed after a revision, in key order; undefined when more than `most` changes of any key came after it. */
  changed(range: KeyRange, afterRevision: number, most: number): ChangedKey[] | undefined;
  /** As `live` and `count` for a revision of the past: a walk along all versions of the range. */
  liveAt(range: KeyRange, atRevision: number, limit: number, keysOnly?: boolean): KeyValue[];
  countAt(range: KeyRange, atRevision: number): number;
  /** Changes of [fromRevision, beforeRevision) in order, at most `limit`. */
  history(fromRevision: number, beforeRevision: number, limit: number): Version[];
  /** Keys that had this lease in some version. */
  leaseKeys(lease: bigint): KeyText[];
}

export interface DatabaseSize {
  databaseBytes: number;
  databaseBytesInUse: number;
}

/** Writes, off the event loop where the implementation can. Calls are carried out in the order they are made. */
export interface RowWriter {
  write(batch: Batch): Promise<void>;
  /** Everything written before is on disk when it resolves: the applied index of the newest batch contained. */
  checkpoint(): Promise<number>;
  /** Removes what no read at `revision` or later can see. */
  compact(revision: number): Promise<void>;
  /** HashKV over what is written (`Store.hashKv`). */
  hash(revision: number): Promise<{ hash: number; revision: number; compactRevision: number }>;
  /** Writes what is written to a snapshot file (`snapshot-system.ts`); it is on disk when it resolves. */
  snapshot(path: string): Promise<{ revision: number; bytes: number }>;
  /** Writes what is written to a database of its own at `path`, for another member. */
  copy(path: string): Promise<void>;
  /** Gives unused space back. */
  vacuum(): Promise<void>;
  /** Sizes are those after the last write. */
  status(): DatabaseSize & { bytesWritten: number };
  close(): Promise<void>;
}
