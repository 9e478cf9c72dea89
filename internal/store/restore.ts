import { type Disk, makeDurableDirectory } from '../base/disk.ts';
import { Database } from './database-system.ts';
import { StoreDamagedError } from './errors.ts';
import { revisionSkip } from './revisions.ts';
import type { Dump } from './snapshot-format.ts';
import { readSnapshot } from './snapshot-system.ts';
import type { Version } from './rows.ts';

const batchVersions = 1000;

/**
 * Makes a store in `dir` (empty or missing) of a snapshot, ours or etcd's. What keys hold, leases and alarms are kept; leases get their time again, and
 * the store gets ids of its own at its first start, so that it cannot be taken for a member of the cluster it came from. Its revision is `skip` beyond
 * the snapshot's, and history ends there: who watched the old store is told to read anew. A snapshot that cannot be used is a SnapshotError and leaves
 * nothing.
 */
export async function restoreStore(options: {
  from: string;
  dir: string;
  disk: Disk;
  /** Default `revisionSkip`; 0: revisions and history go on as they are in the snapshot, for whoever compares. */
  skip?: number;
}): Promise<{ revision: number; keys: number }> {
  const { from, dir, disk, skip = revisionSkip } = options;
  if ((await disk.stat(dir)) !== undefined && (await disk.list(dir)).length > 0)
    throw new StoreDamagedError(
      dir,
      'it is not empty',
      'A snapshot is restored into a new directory; move the old one away first.',
    );
  await makeDurableDirectory(disk, dir);
  const path = `${dir}/restoring.db`;
  try {
    const result = readSnapshot(from, (dump) => {
      const database = new Database(path, { cacheBytes: 8 << 20 });
      try {
        const revision = restoreDump(dump, database, skip);
        const everything = { first: '', end: undefined, single: false };
        const keys = database.count(everything);
        // Into one file, on disk, without a log beside it.
        database.vacuum();
        return { revision, keys };
      } finally {
        database.close();
      }
    });
    await disk.rename(path, `${dir}/state.db`);
    return result;
  } finally {
    for (const name of ['', '-wal', '-shm']) await disk.remove(`${path}${name}`);
    await disk.syncDirectory(dir);
  }
}

/** Writes what a snapshot holds into an empty database, as the state of a store that goes on `skip` revisions later; its revision then. */
export function restoreDump(dump: Dump, database: Database, skip: number): number {
  let revision = dump.meta.revision;
  let versions: Version[] = [];
  const flush = (): void => {
    database.write({ meta: { ...dump.meta, revision }, versions, leases: dump.leases, alarms: dump.alarms });
    versions = [];
  };
  for (const version of dump.versions()) {
    versions.push(version);
    revision = Math.max(revision, version.kv.modRevision);
    if (versions.length >= batchVersions) flush();
  }
  flush();
  if (skip > 0) {
    revision += skip;
    const meta = { ...dump.meta, revision, compactRevision: revision };
    database.write({ meta, versions: [], leases: [] });
  }
  return revision;
}
