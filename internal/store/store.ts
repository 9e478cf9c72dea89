import type { Clock } from '../base/clock.ts';
import { type Disk, makeDurableDirectory } from '../base/disk.ts';
import { assert, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import { openJournal } from '../journal/journal.ts';
import type { Store } from './api.ts';
import { decodeCommand } from './command.ts';
import { Database } from './database-system.ts';
import { StoreDamagedError } from './errors.ts';
import { defaultCheckpointBytes } from './flusher.ts';
import { type Log, journalLog } from './log.ts';
import { loadIdentity } from './identity.ts';
import { MemberStore, snapshotPrefix } from './member.ts';
import type { RowWriter } from './rows.ts';
import { State } from './state.ts';
import { singleCluster } from './single-cluster.ts';
import { WorkerWriter } from './worker-system.ts';
import { InlineWriter } from './writer-system.ts';

export interface StoreOptions {
  /** A directory of its own: `journal/` and `state.db` in it. Made when missing. */
  dir: string;
  disk: Disk;
  clock: Clock;
  random: Random;
  log: Logger;
  /** Newest values kept in memory; default 8 MiB. */
  cacheBytes?: number;
  /** Events kept in memory for watches; default 4 MiB. */
  recentBytes?: number;
  /** Write to the database in a thread of its own (default) or inline. */
  writer?: 'worker' | 'inline';
  /** Size of one journal file; default 16 MiB. */
  segmentBytes?: number;
  /** Oldest change that is only in the journal and in memory; default 10 min. */
  flushAfterMs?: number;
  /** A checkpoint follows when this much was written since the last one; default 8 MiB. */
  checkpointBytes?: number;
  /** Puts are refused (alarm NOSPACE) when the database is this large; default 2 GiB, as etcd's --quota-backend-bytes. */
  quotaBytes?: number;
  /** How this member is called in member lists. */
  member?: { name: string; peerUrls: readonly string[]; clientUrls: readonly string[] };
}

const defaultCacheBytes = 8 << 20;
const defaultQuotaBytes = 2 ** 31;

/** Opens or makes the store in `dir`, replays what the journal has beyond the database, and takes it into service. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { dir, disk, clock, log } = options;
  await makeDurableDirectory(disk, dir);
  const database = new Database(`${dir}/state.db`, { cacheBytes: options.cacheBytes ?? defaultCacheBytes });
  let entries: Log | undefined;
  try {
    await disk.syncDirectory(dir);
    if (database.meta().appliedIndex > 0 && (await disk.stat(`${dir}/journal`)) === undefined)
      throw new StoreDamagedError(dir, 'there is a database but no journal');
    const journal = await openJournal({
      disk,
      dir: `${dir}/journal`,
      clock,
      log,
      ...(options.segmentBytes !== undefined && { segmentBytes: options.segmentBytes }),
      firstIndex: database.meta().appliedIndex + 1,
    });
    entries = journalLog(journal);
    await removeUnsentSnapshots(disk, dir);
    const quotaBytes = options.quotaBytes ?? defaultQuotaBytes;
    const state = await recover(dir, database, entries, {
      cacheBytes: options.cacheBytes ?? defaultCacheBytes,
      quotaBytes,
    });
    const writer = await startWriter(options, database);
    return await MemberStore.start({
      dir,
      disk,
      clock,
      random: options.random,
      log,
      entries,
      state,
      database,
      writer,
      recentBytes: options.recentBytes ?? 4 << 20,
      flushAfterMs: options.flushAfterMs ?? 600_000,
      checkpointBytes: options.checkpointBytes ?? defaultCheckpointBytes,
      quotaBytes,
      cluster: singleCluster(
        await loadIdentity(disk, dir, options.random),
        options.member ?? { name: 'default', peerUrls: [], clientUrls: [] },
        () => entries!.lastIndex,
      ),
    });
  } catch (error) {
    await entries?.close().catch(() => undefined);
    database.close();
    throw error;
  }
}

async function removeUnsentSnapshots(disk: Disk, dir: string): Promise<void> {
  for (const name of await disk.list(dir)) if (name.startsWith(snapshotPrefix)) await disk.remove(`${dir}/${name}`);
}

async function startWriter(options: StoreOptions, database: Database): Promise<RowWriter> {
  if (options.writer === 'inline') return new InlineWriter(database);
  try {
    return await WorkerWriter.start(`${options.dir}/state.db`);
  } catch (error) {
    options.log.warn('store: no thread for the database; it is written inline', { error: errorText(error) });
    return new InlineWriter(database);
  }
}

/** The state of the database with the log's later entries applied. */
async function recover(
  dir: string,
  database: Database,
  entries: Log,
  options: { cacheBytes: number; quotaBytes: number },
): Promise<State> {
  const meta = database.meta();
  if (entries.firstIndex > meta.appliedIndex + 1)
    throw new StoreDamagedError(
      dir,
      `the database ends at entry ${meta.appliedIndex} and the journal begins at ${entries.firstIndex}`,
    );
  if (entries.lastIndex < meta.appliedIndex)
    throw new StoreDamagedError(
      dir,
      `the database contains entry ${meta.appliedIndex}, the journal ends at ${entries.lastIndex}`,
    );
  const state = new State(database, { meta, leases: database.leases(), alarms: database.alarms() }, options);
  await entries.replay(meta.appliedIndex + 1, (index, entry) => {
    const command = decodeCommand(entry);
    try {
      state.apply(index, command);
    } catch (error) {
      // The proposer was told this same refusal; anything else is a defect.
      if (!isRefusal(error)) throw error;
    }
    if (state.unwrittenBytes > replayBatchBytes) flush(database, state);
  });
  assert(state.appliedIndex === entries.lastIndex, `replay ended at ${state.appliedIndex} of ${entries.lastIndex}`);
  if (state.pendingRows > 0) flush(database, state);
  return state;
}

const replayBatchBytes = 4 << 20;

function flush(database: Database, state: State): void {
  const batch = state.takeBatch();
  database.write(batch);
  state.written(batch);
}

function isRefusal(error: unknown): boolean {
  return error instanceof Error && error.name === 'AppError';
}
