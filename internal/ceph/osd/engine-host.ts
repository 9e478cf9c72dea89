import type { TransactionOp } from '../blockstore/api.ts';
import type { LogEntry } from '../wire/messages/osd_pg.ts';
import type { EVersion, HObject } from '../wire/types.ts';
import type { ObjectInfo, SnapSet } from './object-info.ts';
import type { SumsSeen } from './scrub-sums.ts';

/** A change of an object with its log entries, and the object as it is then. */
export interface InternalWrite {
  entries: LogEntry[];
  ops: TransactionOp[];
  after: { info: ObjectInfo; inStore: boolean; snapset: SnapSet };
}

/** What the engine asks of recovery. */
export interface RecoveryGate {
  /** Calls `ready` once the object may be read here (true: it may now). */
  readable(oid: HObject, ready: () => void): boolean;
  /** Calls `ready` once the object may be written, which all members must be able to follow (true: it may now). */
  writable(oid: HObject, ready: () => void): boolean;
  /**
   * Our copy of the object in this version (undefined: the log says in which) is damaged: fetches it from another OSD. False: there is no other, or the
   * version is not known.
   */
  repair(oid: HObject, version: EVersion | undefined): boolean;
  /** A write to the object changed what the PG's objects sum up to. */
  sumsChanged(oid: HObject, delta: SumsSeen): void;
  /** Answers SCRUBLS. */
  listInconsistent(input: Uint8Array): { rval: number; out: Uint8Array };
}

/** Whether the OSD's disk can take more. */
export interface FullState {
  full(): boolean;
}
