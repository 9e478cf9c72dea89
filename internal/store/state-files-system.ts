import * as fs from 'node:fs';
import type { Disk } from '../base/disk.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { SnapshotMeta } from '../raft/types.ts';
import { Database } from './database-system.ts';
import { StoreDamagedError } from './errors.ts';
import type { Meta, RowWriter } from './rows.ts';
import { openSnapshot } from './snapshot-file.ts';
import type { SavedState, StateCopy, StateFiles } from './state-files.ts';
import { WorkerWriter } from './worker-system.ts';
import { InlineWriter } from './writer-system.ts';

export interface StateFilesOptions {
  dir: string;
  disk: Disk;
  random: Random;
  log: Logger;
  cacheBytes: number;
  writer: 'worker' | 'inline';
  /** A log of the database that is larger when it is opened is brought to its end first. */
  checkpointBytes: number;
}

/** Names of files while they are sent or received; what a crash left of them is removed at the next start. */
const copyPrefix = 'copy-';
const partName = 'received.part';
const receivedName = 'received.db';
const sides = ['', '-wal', '-shm'];

/** The state in sqlite files: `state.db`, and `received.db` that will take its place. */
export async function openStateFiles(options: StateFilesOptions): Promise<StateFiles> {
  const { dir, disk } = options;
  for (const name of await disk.list(dir))
    if (name.startsWith(copyPrefix) || name.startsWith(partName)) await disk.remove(`${dir}/${name}`);
  const database = new Database(`${dir}/state.db`, options);
  try {
    // Lives that were too short for a checkpoint add to it, and to the journal, without end.
    const checkpointed = database.bytes().wal >= options.checkpointBytes ? database.checkpointWhole() : 0;
    return new SystemStateFiles(options, database, await startWriter(options, database), checkpointed);
  } catch (error) {
    database.close();
    throw error;
  }
}

async function startWriter({ dir, writer, log }: StateFilesOptions, database: Database): Promise<RowWriter> {
  if (writer === 'inline') return new InlineWriter(database);
  try {
    return await WorkerWriter.start(`${dir}/state.db`);
  } catch (error) {
    log.warn('store: no thread for the database; it is written inline', { error: errorText(error) });
    return new InlineWriter(database);
  }
}

export function savedState(database: Database): SavedState {
  return {
    meta: database.meta(),
    leases: database.leases(),
    alarms: database.alarms(),
    membership: database.membership(),
  };
}

class SystemStateFiles implements StateFiles {
  readonly #options: StateFilesOptions;
  #database: Database;
  #writer: RowWriter;
  readonly checkpointed: number;

  constructor(options: StateFilesOptions, database: Database, writer: RowWriter, checkpointed: number) {
    this.#options = options;
    this.checkpointed = checkpointed;
    this.#database = database;
    this.#writer = writer;
  }

  get rows(): Database {
    return this.#database;
  }

  get writer(): RowWriter {
    return this.#writer;
  }

  saved(): SavedState {
    return savedState(this.#database);
  }

  async begin(membership: Uint8Array, meta: Meta): Promise<void> {
    await this.#writer.write({ meta, versions: [], leases: [], membership });
    await this.#writer.checkpoint();
  }

  async copy(): Promise<StateCopy> {
    const { dir, disk, random } = this.#options;
    const path = `${dir}/${copyPrefix}${random.uint32().toString(16)}`;
    const release = async (): Promise<void> => {
      for (const side of sides) await disk.remove(`${path}${side}`);
    };
    try {
      await this.#writer.copy(path);
      fs.chmodSync(path, 0o600);
      const bytes = fs.statSync(path).size;
      return { saved: readSaved(path), bytes, pieces: () => openSnapshot(disk, path, bytes), release };
    } catch (error) {
      await release().catch(() => undefined);
      throw error;
    }
  }

  async receive(meta: SnapshotMeta, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const { dir, disk } = this.#options;
    const part = `${dir}/${partName}`;
    try {
      const file = await disk.open(part, { create: true });
      try {
        await file.truncate(0);
        let at = 0;
        for await (const piece of pieces) {
          await file.write([piece], at);
          at += piece.length;
        }
        await file.datasync();
      } finally {
        await file.close();
      }
      const { meta: found } = readSaved(part);
      if (found.appliedIndex !== meta.index || found.appliedTerm !== meta.term)
        throw new StoreDamagedError(
          dir,
          `the state received is of entry ${found.appliedIndex}/${found.appliedTerm}, not ${meta.index}/${meta.term}`,
        );
      await disk.rename(part, `${dir}/${receivedName}`);
      await disk.syncDirectory(dir);
    } catch (error) {
      for (const side of sides) await disk.remove(`${part}${side}`).catch(() => undefined);
      throw error;
    }
  }

  async received(): Promise<SavedState | undefined> {
    const { dir, disk } = this.#options;
    const path = `${dir}/${receivedName}`;
    return (await disk.stat(path)) === undefined ? undefined : readSaved(path);
  }

  async install(): Promise<void> {
    const { dir, disk } = this.#options;
    await this.#writer.close();
    this.#database.close();
    // What is beside the old database must not be taken for a part of the new one.
    for (const side of [...sides].reverse()) await disk.remove(`${dir}/state.db${side}`);
    await disk.syncDirectory(dir);
    await disk.rename(`${dir}/${receivedName}`, `${dir}/state.db`);
    await disk.syncDirectory(dir);
    this.#database = new Database(`${dir}/state.db`, this.#options);
    this.#writer = await startWriter(this.#options, this.#database);
  }

  async discard(): Promise<void> {
    const { dir, disk } = this.#options;
    await disk.remove(`${dir}/${receivedName}`);
    await disk.syncDirectory(dir);
  }

  async close(): Promise<void> {
    await this.#writer.close();
    this.#database.close();
  }
}

/** Opening makes files beside the database; they are gone when it is closed. */
function readSaved(path: string): SavedState {
  const database = new Database(path, { cacheBytes: 0 });
  try {
    return savedState(database);
  } finally {
    database.close();
  }
}
