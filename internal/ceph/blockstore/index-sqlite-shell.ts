import { Database, type Statement } from 'bun:sqlite';
import type { Disk, DiskFile } from '../../base/disk.ts';
import { AppError, errorText } from '../../base/errors.ts';
import { type Index, type IndexChange, type IndexTable, indexTables } from './index-api.ts';

const schemaVersion = 1;
/** The WAL is cut to this size when it is begun anew. */
const walKeptBytes = 8 * 1024 * 1024;
/** The event loop is given back after this many milliseconds of a batch. */
const sliceMs = 2;
/** Rows of a range that are removed between two looks at the clock. */
const removedAtOnce = 500;

/**
 * The index as a sqlite file in WAL mode. sqlite itself never syncs (`synchronous=OFF`): that would stop the event loop. The same order is kept
 * from outside: the WAL is synced before a batch counts and before pages are copied from it, the file before the WAL is begun anew.
 * `locking_mode=EXCLUSIVE` keeps a second process out, and the WAL's index in this process's memory: no `-shm` file, no mmap.
 */
export async function openSqliteIndex(disk: Disk, dir: string, cacheBytes = 1024 * 1024): Promise<Index> {
  const path = `${dir}/index.sqlite`;
  let db: Database;
  try {
    db = new Database(path, { create: true, readwrite: true, strict: true });
    db.run('PRAGMA locking_mode=EXCLUSIVE');
    db.run('PRAGMA journal_mode=WAL');
    db.run('PRAGMA synchronous=OFF');
    db.run('PRAGMA wal_autocheckpoint=0');
    db.run(`PRAGMA journal_size_limit=${walKeptBytes}`);
    db.run(`PRAGMA cache_size=-${Math.floor(cacheBytes / 1024)}`);
    db.run('PRAGMA temp_store=MEMORY');
    // Takes the lock now, not at the first write.
    db.run('BEGIN IMMEDIATE');
    db.run('COMMIT');
  } catch (error) {
    throw new AppError('INDEX', `${path} cannot be opened: ${errorText(error)}`, {
      cause: error,
      hint: 'Is another process using this store?',
    });
  }
  const version = number(db, 'PRAGMA user_version');
  if (version > schemaVersion) {
    db.close();
    throw new AppError('VERSION', `${path} has format version ${version}; this program knows version ${schemaVersion}`);
  }
  if (version === 0) {
    db.run('BEGIN');
    for (const table of indexTables) {
      // Small rows live in the tree of their keys; large ones would make that tree deep.
      const wide = table === 'objects' || table === 'space';
      db.run(
        wide
          ? `CREATE TABLE ${table} (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, value BLOB NOT NULL)`
          : `CREATE TABLE ${table} (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID`,
      );
    }
    db.run('CREATE TABLE counted (name TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID');
    db.run(`PRAGMA user_version=${schemaVersion}`);
    db.run('COMMIT');
  }
  const index = new SqliteIndex(db, await disk.open(path), await disk.open(`${path}-wal`, { create: true }));
  await index.settle();
  await disk.syncDirectory(dir);
  return index;
}

type Blob = Uint8Array;
interface Statements {
  get: Statement<{ value: Blob }, [Blob]>;
  range: Statement<{ key: Blob; value: Blob }, [Blob, Blob, number]>;
  keys: Statement<{ key: Blob }, [Blob, Blob, number]>;
  count: Statement<{ count: number }, [Blob, Blob]>;
  put: Statement<unknown, [Blob, Blob]>;
  remove: Statement<unknown, [Blob]>;
  rowBytes: Statement<{ bytes: number }, [Blob]>;
}

class SqliteIndex implements Index {
  readonly #db: Database;
  readonly #file: DiskFile;
  readonly #wal: DiskFile;
  readonly #statements: Record<IndexTable, Statements>;
  #omapBytes: number;
  #fileBytes = 0;

  constructor(db: Database, file: DiskFile, wal: DiskFile) {
    this.#db = db;
    this.#file = file;
    this.#wal = wal;
    const of = (table: IndexTable): Statements => ({
      get: db.prepare(`SELECT value FROM ${table} WHERE key = ?`),
      range: db.prepare(`SELECT key, value FROM ${table} WHERE key >= ? AND key < ? ORDER BY key LIMIT ?`),
      keys: db.prepare(`SELECT key FROM ${table} WHERE key >= ? AND key < ? ORDER BY key LIMIT ?`),
      count: db.prepare(`SELECT count(*) AS count FROM ${table} WHERE key >= ? AND key < ?`),
      put: db.prepare(
        `INSERT INTO ${table} (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
      ),
      remove: db.prepare(`DELETE FROM ${table} WHERE key = ?`),
      rowBytes: db.prepare(`SELECT length(key) + length(value) AS bytes FROM ${table} WHERE key = ?`),
    });
    this.#statements = {
      meta: of('meta'),
      objects: of('objects'),
      omap: of('omap'),
      shares: of('shares'),
      space: of('space'),
    };
    this.#omapBytes = number(db, "SELECT bytes FROM counted WHERE name = 'omap'");
  }

  get(table: IndexTable, key: Uint8Array): Uint8Array | undefined {
    return this.#statements[table].get.get(key)?.value;
  }

  range(table: IndexTable, from: Uint8Array, to: Uint8Array, limit: number): [Uint8Array, Uint8Array][] {
    return this.#statements[table].range.all(from, to, limit).map((row) => [row.key, row.value]);
  }

  keys(table: IndexTable, from: Uint8Array, to: Uint8Array, limit: number): Uint8Array[] {
    return this.#statements[table].keys.all(from, to, limit).map((row) => row.key);
  }

  count(table: IndexTable, from: Uint8Array, to: Uint8Array): number {
    return this.#statements[table].count.get(from, to)!.count;
  }

  async write(changes: Iterable<IndexChange>): Promise<void> {
    const db = this.#db;
    db.run('BEGIN IMMEDIATE');
    try {
      let sliceEnd = performance.now() + sliceMs;
      const pause = async (): Promise<void> => {
        if (performance.now() < sliceEnd) return;
        await new Promise((resolve) => setImmediate(resolve));
        sliceEnd = performance.now() + sliceMs;
      };
      for (const change of changes) {
        const statements = this.#statements[change.table];
        if ('from' in change) {
          for (;;) {
            const keys = statements.keys.all(change.from, change.to, removedAtOnce);
            for (const { key } of keys) this.#change(change.table, statements, key, undefined);
            await pause();
            if (keys.length < removedAtOnce) break;
          }
        } else this.#change(change.table, statements, change.key, change.value);
        await pause();
      }
      db.run("INSERT OR REPLACE INTO counted (name, bytes) VALUES ('omap', ?)", [this.#omapBytes]);
      db.run('COMMIT');
    } catch (error) {
      if (db.inTransaction) db.run('ROLLBACK');
      throw error;
    }
    await this.settle();
  }

  #change(table: IndexTable, statements: Statements, key: Uint8Array, value: Uint8Array | undefined): void {
    if (table === 'omap') {
      this.#omapBytes -= statements.rowBytes.get(key)?.bytes ?? 0;
      if (value !== undefined) this.#omapBytes += key.length + value.length;
    }
    if (value === undefined) statements.remove.run(key);
    else statements.put.run(key, value);
  }

  /** Makes what is committed durable, then copies it from the WAL into the file and makes that durable. */
  async settle(): Promise<void> {
    await this.#wal.datasync();
    this.#db.run('PRAGMA wal_checkpoint(PASSIVE)');
    await this.#file.datasync();
    this.#fileBytes = (await this.#file.size()) + (await this.#wal.size());
  }

  bytes(): number {
    return this.#fileBytes;
  }

  omapBytes(): number {
    return this.#omapBytes;
  }

  check(): string[] {
    const statement = this.#db.prepare<Record<string, string>, []>('PRAGMA integrity_check(50)');
    const rows = statement.all().map((row) => Object.values(row)[0]!);
    statement.finalize();
    return rows.length === 1 && rows[0] === 'ok' ? [] : rows;
  }

  async close(): Promise<void> {
    // A statement that is left keeps the file open, and locked.
    for (const table of indexTables)
      for (const statement of Object.values(this.#statements[table]) as Statement[]) statement.finalize();
    this.#db.close(true);
    await this.#file.datasync();
    await this.#file.close();
    await this.#wal.close();
  }
}

/** The only value of the only row, 0 when there is none. */
function number(db: Database, sql: string): number {
  const statement = db.prepare<Record<string, number>, []>(sql);
  const row = statement.get();
  statement.finalize();
  return (row && Object.values(row)[0]) ?? 0;
}
