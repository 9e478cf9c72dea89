import type { Database } from './database-system.ts';
import type { Batch, DatabaseSize, RowWriter } from './rows.ts';
import { writeSnapshot } from './snapshot-system.ts';

/** Pages of WAL that a batch costs are estimated from its rows for the count of bytes written. */
const rowOverheadBytes = 64;

/** Writes on the caller's thread: for tests, tools and very small machines. Only checkpoints wait for the disk. */
export class InlineWriter implements RowWriter {
  readonly #database: Database;
  #bytesWritten = 0;
  /** Undefined after a change, until somebody asks: sqlite takes its time to say it. */
  #size: DatabaseSize | undefined;

  constructor(database: Database) {
    this.#database = database;
  }

  async write(batch: Batch): Promise<void> {
    this.#size = undefined;
    this.#database.write(batch);
    this.#bytesWritten += batchBytes(batch);
  }

  async checkpoint(): Promise<number> {
    return this.#database.checkpoint();
  }

  async compact(revision: number): Promise<void> {
    for (let more = true; more; ) {
      this.#size = undefined;
      more = this.#database.compactStep(revision);
      if (more) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async hash(revision: number): Promise<{ hash: number; revision: number; compactRevision: number }> {
    return this.#database.hash(revision);
  }

  async snapshot(path: string): Promise<{ revision: number; bytes: number }> {
    return writeSnapshot(this.#database, path);
  }

  async copy(path: string): Promise<void> {
    this.#database.copy(path);
  }

  async vacuum(): Promise<void> {
    this.#size = undefined;
    this.#database.vacuum();
  }

  status(): DatabaseSize & { bytesWritten: number } {
    this.#size ??= databaseSize(this.#database);
    return { ...this.#size, bytesWritten: this.#bytesWritten };
  }

  async close(): Promise<void> {}
}

export function databaseSize(database: Database): DatabaseSize {
  const { pages, inUse } = database.bytes();
  return { databaseBytes: pages, databaseBytesInUse: inUse };
}

export function batchBytes(batch: Batch): number {
  let bytes = 0;
  for (const { key, kv } of batch.versions) bytes += rowOverheadBytes + 2 * key.length + kv.value.length;
  return bytes + rowOverheadBytes * batch.leases.length;
}
