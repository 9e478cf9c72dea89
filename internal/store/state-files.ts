import type { SnapshotMeta } from '../raft/types.ts';
import type { Alarm } from './api.ts';
import type { LeaseRow, Meta, Rows, RowWriter } from './rows.ts';

/** What the database says beside keys. */
export interface SavedState {
  readonly meta: Meta;
  readonly leases: readonly LeaseRow[];
  readonly alarms: readonly Alarm[];
  /** `raft/membership.ts`; undefined in a store that was never opened. */
  readonly membership: Uint8Array | undefined;
}

/** The whole state of one moment in a file of its own. */
export interface StateCopy {
  readonly saved: SavedState;
  readonly bytes: number;
  pieces(): AsyncIterable<Uint8Array>;
  release(): Promise<void>;
}

/** Where the state of a store is kept: its database, and a whole one from another member that is to take its place. */
export interface StateFiles {
  /** For reading; another one after `install`. */
  readonly rows: Rows;
  readonly writer: RowWriter;
  /** The newest entry that was known to be on disk in the database when it was opened; 0: not known. */
  readonly checkpointed: number;
  saved(): SavedState;
  /** Writes who keeps the store, and where its log begins, into a new database; on disk when it resolves. */
  begin(membership: Uint8Array, meta: Meta): Promise<void>;
  /** Everything that is written. */
  copy(): Promise<StateCopy>;
  /** Takes a copy from another member; whole, checked and on disk when it resolves. Throws when it is not what `meta` says, and leaves nothing. */
  receive(meta: SnapshotMeta, pieces: AsyncIterable<Uint8Array>): Promise<void>;
  /** What was received and is still there. */
  received(): Promise<SavedState | undefined>;
  /** What was received takes the place of the database. A crash leaves either both or only the new one. */
  install(): Promise<void>;
  /** Forgets what was received. */
  discard(): Promise<void>;
  close(): Promise<void>;
}
