import { type Disk, makeDurableDirectory } from '../base/disk.ts';
import { Database } from './database-system.ts';
import { StoreDamagedError } from './errors.ts';
import { readSnapshot } from './snapshot-system.ts';
import type { Version } from './rows.ts';

const batchVersions = 1000;

/**
 * Makes a store in `dir` (empty or missing) of a snapshot, ours or etcd's. Revisions, leases and alarms are kept; leases get their time again, and the
 * store gets ids of its own at its first start, so that it cannot be taken for a member of the cluster it came from. A snapshot that cannot be used
 * is a SnapshotError and leaves nothing.
 */
export async function restoreStore(options: {
  from: string;
  dir: string;
  disk: Disk;
}): Promise<{ revision: number; keys: number }> {
  const { from, dir, disk } = options;
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
        const everything = { first: '', end: undefined, single: false };
        const keys = database.count(everything, revision);
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
