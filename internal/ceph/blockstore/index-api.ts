import type { Disk } from '../../base/disk.ts';

/**
 * The ordered tables under the catalog: sqlite in production (`index-sqlite-shell.ts`), a log on the injected disk in simulations (`index-log.ts`).
 * Reads are immediate; a batch is atomic, and durable when `write` resolves. While a batch is being written reads may show its rows or the
 * ones before: the catalog holds everything in the batch in memory until then.
 */
export interface Index {
  get(table: IndexTable, key: Uint8Array): Uint8Array | undefined;
  /** Rows with from <= key < to in byte order, at most `limit`. */
  range(table: IndexTable, from: Uint8Array, to: Uint8Array, limit: number): [Uint8Array, Uint8Array][];
  keys(table: IndexTable, from: Uint8Array, to: Uint8Array, limit: number): Uint8Array[];
  /** Rows with from <= key < to. */
  count(table: IndexTable, from: Uint8Array, to: Uint8Array): number;
  /** One batch at a time. `changes` is drawn lazily, in slices, so that the event loop stays free. */
  write(changes: Iterable<IndexChange>): Promise<void>;
  /** Size on disk, in bytes. */
  bytes(): number;
  /** Keys and values of the table `omap`, in bytes. */
  omapBytes(): number;
  /** What is wrong with the tables themselves, in the words of whatever keeps them; empty when nothing is. Reads all of them, and blocks meanwhile. */
  check(): string[];
  close(): Promise<void>;
}

/** `objects` and `space` have rows of some KiB, the others small ones. */
export type IndexTable = 'meta' | 'objects' | 'omap' | 'shares' | 'space';
export const indexTables: readonly IndexTable[] = ['meta', 'objects', 'omap', 'shares', 'space'];

export type IndexChange =
  | { table: IndexTable; key: Uint8Array; value: Uint8Array | undefined }
  /** Removes from <= key < to. */
  | { table: IndexTable; from: Uint8Array; to: Uint8Array };

export type OpenIndex = (disk: Disk, dir: string, cacheBytes: number) => Promise<Index>;
