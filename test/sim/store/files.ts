import type { Disk } from '../../../internal/base/disk.ts';
import { concatBytes } from '../../../internal/base/bytes.ts';
import { AppError } from '../../../internal/base/errors.ts';
import type { Random } from '../../../internal/base/random.ts';
import type { SnapshotMeta } from '../../../internal/raft/types.ts';
import { Database } from '../../../internal/store/database-system.ts';
import type { Batch, DatabaseSize, Meta, Rows, RowWriter } from '../../../internal/store/rows.ts';
import type { SavedState, StateCopy, StateFiles } from '../../../internal/store/state-files.ts';
import { restoreDump } from '../../../internal/store/restore.ts';
import { revisionSkip } from '../../../internal/store/revisions.ts';
import { readDump, writeDump } from '../../../internal/store/snapshot-format.ts';
import { savedState } from '../../../internal/store/state-files-system.ts';

/** A change of the database that a power loss may undo: some number of the newest ones, never one before another that stays. */
type Change = { batch: Batch } | { compact: number };

/** The database files of one member as its disk has them: what the last checkpoint synced, and what was written since. */
export class PlatterFiles {
  image: Uint8Array | undefined;
  changes: Change[] = [];
  received: Uint8Array | undefined;

  /** What is left after a power loss. */
  survive(random: Random): void {
    this.changes = this.changes.slice(0, random.uint32() % (this.changes.length + 1));
  }

  /** Of a snapshot's file, as `restoreStore` does it on a machine; the revision of the new store. */
  restore(snapshot: Uint8Array): number {
    const database = new Database(':memory:', { cacheBytes: 1 << 20 });
    const revision = restoreDump(
      readDump((position, length) => snapshot.subarray(position, position + length)),
      database,
      revisionSkip,
    );
    this.image = database.serialize().slice();
    database.close();
    return revision;
  }

  open(): Database {
    const database = new Database(':memory:', { cacheBytes: 1 << 20, ...(this.image && { image: this.image }) });
    for (const change of this.changes) {
      if ('batch' in change) database.write(change.batch);
      else while (database.compactStep(change.compact));
    }
    return database;
  }
}

/** The state of one life of a member, in a real sqlite database in memory. `wait` is how long the disk takes. */
export class SimulatedFiles implements StateFiles {
  readonly checkpointed = 0;
  readonly #platter: PlatterFiles;
  readonly #disk: Disk;
  readonly #wait: () => Promise<void>;
  #database: Database;
  #bytesWritten = 0;
  #chain: Promise<unknown> = Promise.resolve();

  constructor(platter: PlatterFiles, disk: Disk, wait: () => Promise<void>) {
    this.#platter = platter;
    this.#disk = disk;
    this.#wait = wait;
    this.#database = platter.open();
  }

  get rows(): Rows {
    return this.#database;
  }

  saved(): SavedState {
    return savedState(this.#database);
  }

  async begin(membership: Uint8Array, meta: Meta): Promise<void> {
    await this.writer.write({ meta, versions: [], leases: [], membership });
    await this.writer.checkpoint();
  }

  /** One after another, as the thread does it. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#chain.then(work);
    this.#chain = result.catch(() => undefined);
    return result;
  }

  readonly writer: RowWriter = {
    write: (batch) =>
      this.#inTurn(async () => {
        await this.#wait();
        this.#database.write(batch);
        this.#platter.changes.push({ batch });
        this.#bytesWritten += 100 + batch.versions.reduce((sum, { kv }) => sum + 64 + kv.value.length, 0);
      }),
    checkpoint: () =>
      this.#inTurn(async () => {
        const applied = this.#database.meta().appliedIndex;
        await this.#wait();
        this.#platter.image = this.#database.serialize().slice();
        this.#platter.changes = [];
        return applied;
      }),
    compact: (revision) =>
      this.#inTurn(async () => {
        await this.#wait();
        while (this.#database.compactStep(revision));
        this.#platter.changes.push({ compact: revision });
      }),
    hash: (revision) => this.#inTurn(async () => this.#database.hash(revision)),
    snapshot: (path) =>
      this.#inTurn(async () => {
        const pieces: Uint8Array[] = [];
        const { head, revision } = this.#database.dump((dump) => ({
          head: writeDump(dump, (bytes) => void pieces.push(bytes.slice())),
          revision: dump.meta.revision,
        }));
        await this.#wait();
        const content = concatBytes([head, ...pieces]);
        const file = await this.#disk.open(path, { create: true });
        await file.write([content], 0);
        await file.close();
        return { revision, bytes: content.length };
      }),
    copy: () => Promise.reject(new AppError('UNSUPPORTED', 'copies are made of the state')),
    vacuum: async () => undefined,
    status: (): DatabaseSize & { bytesWritten: number } => ({
      databaseBytes: 0,
      databaseBytesInUse: 0,
      bytesWritten: this.#bytesWritten,
    }),
    close: async () => undefined,
  };

  copy(): Promise<StateCopy> {
    return this.#inTurn(async () => {
      await this.#wait();
      const bytes = this.#database.serialize().slice();
      const saved = this.saved();
      return {
        saved,
        bytes: bytes.length,
        pieces: async function* () {
          for (let at = 0; at < bytes.length; at += 65536) yield bytes.subarray(at, at + 65536);
        },
        release: async () => undefined,
      };
    });
  }

  async receive(meta: SnapshotMeta, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const all: Uint8Array[] = [];
    for await (const piece of pieces) all.push(piece);
    await this.#wait();
    const image = concatBytes(all).slice();
    const database = new Database(':memory:', { cacheBytes: 0, image });
    const found = database.meta();
    database.close();
    if (found.appliedIndex !== meta.index || found.appliedTerm !== meta.term)
      throw new AppError('DAMAGED', `the state received is of entry ${found.appliedIndex}, not ${meta.index}`);
    this.#platter.received = image;
  }

  async received(): Promise<SavedState | undefined> {
    const image = this.#platter.received;
    if (image === undefined) return undefined;
    const database = new Database(':memory:', { cacheBytes: 0, image });
    try {
      return savedState(database);
    } finally {
      database.close();
    }
  }

  async install(): Promise<void> {
    await this.#chain;
    this.#database.close();
    await this.#wait();
    this.#platter.image = undefined;
    this.#platter.changes = [];
    await this.#wait();
    this.#platter.image = this.#platter.received;
    this.#platter.received = undefined;
    this.#database = this.#platter.open();
  }

  async discard(): Promise<void> {
    await this.#wait();
    this.#platter.received = undefined;
  }

  async close(): Promise<void> {
    await this.#chain;
    this.#database.close();
  }
}
