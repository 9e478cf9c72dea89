import type { Histogram } from '../base/prometheus.ts';
import type { Clock } from '../base/clock.ts';
import type { Disk } from '../base/disk.ts';
import type { Logger } from '../base/log.ts';

/**
 * An append-only log of typed records: one for the store (and later raft), one for each OSD. `openJournal` is in `journal.ts`, the format on
 * disk in `format.ts`.
 */
export interface Journal {
  /** Index of the oldest record that is still held; `lastIndex + 1` when there is none. */
  readonly firstIndex: number;
  /** Index of the newest record, 0 before the first one ever. Indexes count from 1 without gaps. */
  readonly lastIndex: number;
  /**
   * Adds a record behind all others. The index is given at once; records become durable in order. The pieces are views: they must not change
   * until `done` resolves. `type` is the caller's, 0..65535. Throws JournalFailedError after a failed write, RangeError when the record is
   * longer than `maxRecordBytes`.
   */
  append(type: number, pieces: readonly Uint8Array[], durability?: Durability): Appended;
  /**
   * Calls `fn` for every record with index >= `from` (held ones only), in order, one at a time. Used after opening; also allowed while
   * appending (it ends at the last record that was written when it began). The payload is a view that is valid during the call only.
   */
  replay(from: number, fn: (record: JournalRecord) => void | Promise<void>): Promise<void>;
  /** Resolves when everything appended so far is on disk. */
  sync(): Promise<void>;
  /**
   * Says that records with index < `beforeIndex` are not needed any more: whole segments behind it are recycled, in the background. Call it only after what the
   * records say is durable elsewhere.
   */
  reclaim(beforeIndex: number): void;
  /** Bytes of the files, recycled ones included. */
  readonly diskBytes: number;
  /** For people and metrics: it sorts the samples of `syncMs`. */
  status(): JournalStatus;
  /** Syncs and closes. */
  close(): Promise<void>;
}

/**
 * `durable`: `done` resolves when the record is on disk. `volatile`: `done` resolves when the operating system has it (it survives the end
 * of this process, not a power loss); it is on disk within `volatileSyncMs`, or with the next durable record. `deferred`: `done` resolves at once; the record
 * stays in memory until the next record of another kind takes it along, for `deferredMs` at most, and is lost when the process is killed before. For what is
 * soon overwritten: each write to a disk costs some blocks of it, however small the record.
 */
export type Durability = 'durable' | 'volatile' | 'deferred';

export interface Appended {
  readonly index: number;
  /** Rejects with JournalFailedError when the disk failed; a rejection that nobody awaits is not reported as unhandled. */
  readonly done: Promise<void>;
}

export interface JournalRecord {
  readonly index: number;
  readonly type: number;
  readonly payload: Uint8Array;
}

export interface JournalOptions {
  disk: Disk;
  /** A directory of its own; made when missing. */
  dir: string;
  clock: Clock;
  log: Logger;
  /** Size of one preallocated file; default 16 MiB. A larger record gets a segment of its own size. */
  segmentBytes?: number;
  /** Default 64 MiB. */
  maxRecordBytes?: number;
  /** Default 5000. */
  volatileSyncMs?: number;
  /** Default 60,000. */
  deferredMs?: number;
  /** Index of the first record of a new journal; default 1. */
  firstIndex?: number;
}

export interface JournalStatus {
  firstIndex: number;
  lastIndex: number;
  /** Newest index that is on disk. */
  durableIndex: number;
  segments: number;
  /** Bytes of the files, recycled ones included. */
  diskBytes: number;
  /** Bytes appended and not yet written: callers that see this grow should wait. */
  pendingBytes: number;
  /** What the open found behind the last whole record and cut; 0 after a clean stop. */
  tornBytes: number;
  /** Of the last 1,024 syncs, milliseconds. */
  syncMs: { p50: number; p99: number; count: number };
  /** Of all since the open, seconds. */
  syncSeconds: Histogram;
  /** Set after a failed write: the journal takes no more records; reopen it. */
  failed: string | undefined;
}

export type OpenJournal = (options: JournalOptions) => Promise<Journal>;
