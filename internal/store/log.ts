import type { Durability, Journal } from '../journal/api.ts';

/**
 * The ordered log under the store. Now a journal of this one member; later raft, for which `append` means propose and `done` means committed.
 */
export interface Log {
  /** Index of the oldest entry that is held. */
  readonly firstIndex: number;
  readonly lastIndex: number;
  /**
   * Adds an entry; `done` resolves when it may be applied: it is on disk, or for `volatile` handed to the operating system, or at once for `deferred`. Entries are applied
   * in order of their indexes, each when it and all before it are done. The pieces must not change until then.
   */
  append(pieces: readonly Uint8Array[], durability: Durability): { index: number; done: Promise<void> };
  /** Calls `fn` for every entry with index >= `from`; the bytes are valid during the call only. */
  replay(from: number, fn: (index: number, entry: Uint8Array) => void): Promise<void>;
  /** Resolves when everything appended so far is on disk. */
  sync(): Promise<void>;
  /** Entries with index < `beforeIndex` are not needed any more: their effect is on disk elsewhere. */
  truncatePrefix(beforeIndex: number): void;
  status(): { diskBytes: number; pendingBytes: number; bytesWritten: number };
  close(): Promise<void>;
}

/** The record type of store entries in a journal. */
const entryType = 1;

/** A log of one member over its journal. */
export function journalLog(journal: Journal): Log {
  let bytesWritten = 0;
  return {
    get firstIndex() {
      return journal.firstIndex;
    },
    get lastIndex() {
      return journal.lastIndex;
    },
    append: (pieces, durability) => {
      for (const piece of pieces) bytesWritten += piece.length;
      return journal.append(entryType, pieces, durability);
    },
    replay: (from, fn) =>
      journal.replay(from, (record) => {
        if (record.type === entryType) fn(record.index, record.payload);
      }),
    sync: () => journal.sync(),
    truncatePrefix: (beforeIndex) => journal.reclaim(beforeIndex),
    status: () => {
      const { diskBytes, pendingBytes } = journal.status();
      return { diskBytes, pendingBytes, bytesWritten };
    },
    close: () => journal.close(),
  };
}
