import type { Database } from './database-system.ts';
import type { Batch, RowWriter } from './rows.ts';

/** Pages of WAL that a batch costs are estimated from its rows for the count of bytes written. */
const rowOverheadBytes = 64;

/** Writes on the caller's thread: for tests, tools and very small machines. Only checkpoints wait for the disk. */
export class InlineWriter implements RowWriter {
  readonly #database: Database;
  #bytesWritten = 0;

  constructor(database: Database) {
    this.#database = database;
  }

  async write(batch: Batch): Promise<void> {
    this.#database.write(batch);
    this.#bytesWritten += batchBytes(batch);
  }

  async checkpoint(): Promise<number> {
    return this.#database.checkpoint();
  }

  async compact(revision: number): Promise<void> {
    while (this.#database.compactStep(revision)) await new Promise((resolve) => setImmediate(resolve));
  }

  status(): { databaseBytes: number; bytesWritten: number } {
    const { database, wal } = this.#database.bytes();
    return { databaseBytes: database + wal, bytesWritten: this.#bytesWritten };
  }

  async close(): Promise<void> {}
}

export function batchBytes(batch: Batch): number {
  let bytes = 0;
  for (const { key, kv } of batch.versions) bytes += rowOverheadBytes + 2 * key.length + kv.value.length;
  return bytes + rowOverheadBytes * batch.leases.length;
}
