import { Database as Sqlite, type Statement } from 'bun:sqlite';
import * as fs from 'node:fs';
import { errorCode } from '../base/errors.ts';
import type { Alarm, AlarmType, KeyValue } from './api.ts';
import { CompactedError, FutureRevisionError, StoreDamagedError } from './errors.ts';
import { VersionHash } from './hash.ts';
import { inRange, type KeyRange, type KeyText, keyBytes, keyText } from './keys.ts';
import type { Batch, ChangedKey, LeaseRow, Meta, Rows, Version } from './rows.ts';
import { formatVersion, maxSub, schema, subBits, upgrades } from './schema.ts';

/** Higher than any revision: 2^43 - 1 still fits a signed 64-bit `seq`. */
const anyRevision = 2 ** 42;

/** Rows read in one go where all are read. */
const readChunkRows = 1000;

/** Keys looked at in one step of a compaction. */
const compactStepKeys = 500;

type Cell = Uint8Array | number | string | null;
type Row = Cell[];

/** The engine makes objects of rows cheaper than anything can that is done with them here. */
const fields = (table: string, keysOnly = false): string =>
  `${table}.key, ${keysOnly ? "x'' AS value" : 'value'}, create_rev AS createRevision, ${table}.seq >> ${subBits} AS modRevision, version, lease`;

const columns = `key, seq >> ${subBits}, seq & ${maxSub}, create_rev, version, lease, value`;
const newest = (within: string): string =>
  `SELECT max(seq) AS s FROM kv WHERE ${within} AND seq < ((?3 + 1) << ${subBits}) GROUP BY key`;

/**
 * The state on disk: one sqlite file in WAL mode. Commits are not synced (the log is the truth); a checkpoint syncs the WAL before it copies
 * and the database after it, and sqlite syncs the WAL's header before it is used again (synchronous=NORMAL), so a power loss leaves a state
 * that some batch wrote, never a mixture.
 */
export class Database implements Rows {
  readonly #path: string;
  readonly #db: Sqlite;
  readonly #get: Statement;
  readonly #live: { readonly whole: RangeStatement; readonly keys: RangeStatement };
  readonly #count: RangeStatement;
  readonly #liveAt: { readonly whole: RangeStatement; readonly keys: RangeStatement };
  readonly #countAt: RangeStatement;
  readonly #changed: Statement;
  readonly #revision: Statement;
  readonly #history: Statement;
  readonly #leaseKeys: Statement;
  readonly #syncFile: (path: string) => void;
  #writer: Writer | undefined;

  /** `cacheBytes` bounds sqlite's page cache; `image`: what `serialize` gave, held in memory instead of a file; `syncFile` is the system's. */
  constructor(path: string, options: { cacheBytes: number; image?: Uint8Array; syncFile?: (path: string) => void }) {
    this.#path = path;
    this.#syncFile = options.syncFile ?? syncFile;
    this.#db = options.image ? Sqlite.deserialize(options.image) : new Sqlite(path, { create: true, readwrite: true });
    const db = this.#db;
    db.run('PRAGMA busy_timeout = 10000');
    db.run('PRAGMA journal_mode = WAL');
    db.run('PRAGMA wal_autocheckpoint = 0');
    db.run('PRAGMA synchronous = NORMAL');
    db.run(`PRAGMA cache_size = -${Math.max(256, Math.floor(options.cacheBytes / 1024))}`);
    const format = this.#prepareSchema();
    if (format !== formatVersion)
      throw new StoreDamagedError(
        path,
        `it has format ${format}, this version reads ${formatVersion}`,
        'Start the version that wrote it, or a newer one.',
      );
    this.#get = db.prepare(
      `SELECT ${columns} FROM kv WHERE key = ?1 AND seq < ((?2 + 1) << ${subBits}) ORDER BY seq DESC LIMIT 1`,
    );
    // CROSS JOIN: `live` is walked, in the order of its keys.
    // The value is the last column: a row without it is read without the pages that a large one fills.
    const live = (keysOnly: boolean): RangeStatement =>
      new RangeStatement(
        db,
        'live.key',
        (within) =>
          `SELECT ${fields('kv', keysOnly)} FROM live CROSS JOIN kv ON kv.seq = live.seq WHERE ${within} ORDER BY live.key LIMIT ?3`,
      );
    this.#live = { whole: live(false), keys: live(true) };
    this.#count = new RangeStatement(db, 'key', (within) => `SELECT count(*) FROM live WHERE ${within}`);
    const liveAt = (keysOnly: boolean): RangeStatement =>
      new RangeStatement(
        db,
        'key',
        (within) =>
          `SELECT ${fields('kv', keysOnly)} FROM (${newest(within)}) JOIN kv ON kv.seq = s WHERE version > 0 ORDER BY key LIMIT ?4`,
      );
    this.#liveAt = { whole: liveAt(false), keys: liveAt(true) };
    this.#countAt = new RangeStatement(
      db,
      'key',
      (within) => `SELECT count(*) FROM (${newest(within).replace('AS s', ', version AS v')} HAVING v > 0)`,
    );
    this.#changed = db.prepare(
      `SELECT key, version FROM kv WHERE seq >= ((?1 + 1) << ${subBits}) ORDER BY seq LIMIT ?2`,
    );
    this.#revision = db.prepare("SELECT value FROM meta WHERE name = 'revision'");
    this.#history = db.prepare(
      `SELECT ${columns} FROM kv WHERE seq >= (?1 << ${subBits}) AND seq < (?2 << ${subBits}) ORDER BY seq LIMIT ?3`,
    );
    this.#leaseKeys = db.prepare('SELECT DISTINCT key FROM kv WHERE lease = ?1');
  }

  #prepareSchema(): number {
    const known = this.#db.prepare("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").values() as Row[];
    if (known[0]![0] === 0) {
      this.#db.run('BEGIN IMMEDIATE');
      this.#db.run(schema);
      this.#db.run(`INSERT OR IGNORE INTO meta VALUES ('format', ${formatVersion})`);
      this.#db.run('COMMIT');
    }
    const rows = this.#db.prepare("SELECT value FROM meta WHERE name = 'format'").values() as Row[];
    let format = (rows[0]?.[0] as number | undefined) ?? 0;
    for (; format > 0 && format < formatVersion; format++) {
      this.#db.run('BEGIN IMMEDIATE');
      this.#db.run(upgrades[format + 1]!);
      this.#db.run(`UPDATE meta SET value = ${format + 1} WHERE name = 'format'`);
      this.#db.run('COMMIT');
    }
    return format;
  }

  meta(): Meta {
    const rows = this.#db.prepare('SELECT name, value FROM meta').values() as Row[];
    const all = new Map(rows.map(([name, value]) => [name as string, value as number]));
    return {
      appliedIndex: all.get('applied') ?? 0,
      appliedTerm: all.get('term') ?? 0,
      revision: all.get('revision') ?? 1,
      compactRevision: all.get('compact') ?? 0,
      reserved: all.get('reserved') ?? 0,
    };
  }

  leases(): LeaseRow[] {
    const rows = this.#db.prepare('SELECT id, ttl, remaining FROM lease').values() as Row[];
    return rows.map(([id, ttl, remaining]) => ({
      id: BigInt(id as string),
      ttlSeconds: ttl as number,
      remainingSeconds: remaining as number,
    }));
  }

  alarms(): Alarm[] {
    const rows = this.#db.prepare('SELECT member, type FROM alarm ORDER BY member, type').values() as Row[];
    return rows.map(([member, type]) => ({ memberId: BigInt(member as string), type: type as AlarmType }));
  }

  get(key: KeyText, atRevision: number): Version | undefined {
    const rows = this.#get.values(keyBytes(key), Math.min(atRevision, anyRevision)) as Row[];
    return rows.length === 0 ? undefined : version(rows[0]!);
  }

  moment<T>(read: (revision: number) => T): T {
    this.#db.run('BEGIN');
    try {
      const rows = this.#revision.values() as Row[];
      return read((rows[0]?.[0] as number | undefined) ?? 1);
    } finally {
      this.#db.run('COMMIT');
    }
  }

  live(range: KeyRange, limit: number, keysOnly = false): KeyValue[] {
    const statement = this.#live[keysOnly ? 'keys' : 'whole'];
    return keyValues(statement.of(range).all(...bounds(range), limit || -1));
  }

  count(range: KeyRange): number {
    return (this.#count.of(range).values(...bounds(range)) as Row[])[0]![0] as number;
  }

  changed(range: KeyRange, afterRevision: number, most: number): ChangedKey[] | undefined {
    const rows = this.#changed.values(Math.min(afterRevision, anyRevision), most + 1) as Row[];
    if (rows.length > most) return undefined;
    const live = new Map(rows.map(([key, version]) => [keyText(key as Uint8Array), (version as number) > 0]));
    return [...live]
      .filter(([key]) => inRange(range, key))
      .map(([key, live]) => ({ key, live }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  liveAt(range: KeyRange, atRevision: number, limit: number, keysOnly = false): KeyValue[] {
    const statement = this.#liveAt[keysOnly ? 'keys' : 'whole'];
    return keyValues(statement.of(range).all(...bounds(range), Math.min(atRevision, anyRevision), limit || -1));
  }

  countAt(range: KeyRange, atRevision: number): number {
    const rows = this.#countAt.of(range).values(...bounds(range), Math.min(atRevision, anyRevision)) as Row[];
    return rows[0]![0] as number;
  }

  history(fromRevision: number, beforeRevision: number, limit: number): Version[] {
    const before = Math.min(beforeRevision, anyRevision);
    return (this.#history.values(Math.min(fromRevision, before), before, limit) as Row[]).map(version);
  }

  leaseKeys(lease: bigint): KeyText[] {
    return (this.#leaseKeys.values(lease.toString()) as Row[]).map((row) => keyText(row[0] as Uint8Array));
  }

  write(batch: Batch): void {
    this.#writer ??= new Writer(this.#db);
    this.#writer.write(batch);
  }

  /** One step of removing what no read at `revision` or later can see; false when nothing is left to do. */
  compactStep(revision: number): boolean {
    this.#writer ??= new Writer(this.#db);
    return this.#writer.compactStep(revision);
  }

  /**
   * Everything written is on disk when it returns: the applied index that the database contains. sqlite itself syncs the WAL only when it can copy
   * something of it, which a reader that began when all was copied prevents, without a word of it in the answer: so it is synced here.
   */
  checkpoint(): number {
    return this.#checkpoint('PASSIVE');
  }

  /** A checkpoint that leaves no WAL behind. Only while nobody else has the database open. */
  checkpointWhole(): number {
    return this.#checkpoint('TRUNCATE');
  }

  #checkpoint(mode: 'PASSIVE' | 'TRUNCATE'): number {
    const applied = this.meta().appliedIndex;
    this.#syncFile(`${this.#path}-wal`);
    this.#db.prepare(`PRAGMA wal_checkpoint(${mode})`).values();
    return applied;
  }

  /**
   * etcd's HashKV over the versions that can be read at `revision` (0: the newest written): of those up to the compacted revision only what is
   * still live at `revision` counts, whether or not the rest has been swept yet.
   */
  hash(revision: number): { hash: number; revision: number; compactRevision: number } {
    const meta = this.meta();
    if (revision > meta.revision) throw new FutureRevisionError(revision, meta.revision);
    if (revision > 0 && revision <= meta.compactRevision) throw new CompactedError(revision, meta.compactRevision);
    const at = revision > 0 ? revision : meta.revision;
    const hash = new VersionHash();
    const end = `((?1 + 1) << ${subBits})`;
    const rows = this.#db.prepare(
      `SELECT ${columns} FROM kv WHERE seq > ?4 AND seq < ${end} AND (seq >= ((?2 + 1) << ${subBits}) OR (version > 0 AND
        seq = (SELECT max(seq) FROM kv AS other WHERE other.key = kv.key AND other.seq < ${end}))) ORDER BY seq LIMIT ?3`,
    );
    let after = -1n;
    for (;;) {
      const chunk = rows.values(at, meta.compactRevision, readChunkRows, after) as Row[];
      for (const row of chunk) hash.add(version(row));
      if (chunk.length < readChunkRows) break;
      const last = chunk.at(-1)!;
      after = (BigInt(last[1] as number) << BigInt(subBits)) | BigInt(last[2] as number);
    }
    return { hash: hash.value(), revision: meta.revision, compactRevision: meta.compactRevision };
  }

  /** Every version that is kept, in order of revisions, and the rest of the state: all of one moment. */
  dump<T>(
    use: (state: { meta: Meta; leases: LeaseRow[]; alarms: Alarm[]; versions: () => Generator<Version> }) => T,
  ): T {
    this.#db.run('BEGIN');
    try {
      return use({
        meta: this.meta(),
        leases: this.leases(),
        alarms: this.alarms(),
        versions: () => this.#allVersions(),
      });
    } finally {
      this.#db.run('COMMIT');
    }
  }

  *#allVersions(): Generator<Version> {
    let from = 0;
    let limit = readChunkRows;
    for (;;) {
      const rows = this.history(from, anyRevision, limit);
      // The last revision may go on behind the limit: it is read again with the next chunk.
      const last = rows.length < limit ? undefined : rows.at(-1)!.kv.modRevision;
      if (last !== undefined && rows[0]!.kv.modRevision === last) {
        limit *= 4;
        continue;
      }
      for (const row of rows) if (row.kv.modRevision !== last) yield row;
      if (last === undefined) return;
      from = last;
      limit = readChunkRows;
    }
  }

  /** Who keeps the store; undefined in a store that was never opened. */
  membership(): Uint8Array | undefined {
    const rows = this.#db.prepare("SELECT value FROM raft WHERE name = 'membership'").values() as Row[];
    return rows[0]?.[0] as Uint8Array | undefined;
  }

  /** Everything written, as a database of its own that needs no file beside it. */
  copy(path: string): void {
    this.#db.run('VACUUM INTO ?1', [path]);
  }

  /** The whole database in memory. */
  serialize(): Uint8Array {
    return this.#db.serialize();
  }

  /** Gives unused pages back to the file system. */
  vacuum(): void {
    this.#db.run('VACUUM');
    this.#db.run('PRAGMA wal_checkpoint(TRUNCATE)');
  }

  /** `pages`: as large as the file is once everything is checkpointed; `inUse`: without free pages. */
  bytes(): { database: number; wal: number; pages: number; inUse: number } {
    const size = (path: string): number => fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    const pragma = (name: string): number => (this.#db.prepare(`PRAGMA ${name}`).values() as Row[])[0]![0] as number;
    const page = pragma('page_size');
    const pages = pragma('page_count');
    return {
      database: size(this.#path),
      wal: size(`${this.#path}-wal`),
      pages: pages * page,
      inUse: (pages - pragma('freelist_count')) * page,
    };
  }

  close(): void {
    this.#db.close();
  }
}

/**
 * A statement over keys from `?1` on: one that ends before `?2`, where sqlite then stops, and one for ranges without an end (`?2` is null). One for both looks at
 * every key that is behind the range.
 */
class RangeStatement {
  readonly #ends: Statement;
  readonly #endless: Statement;

  constructor(db: Sqlite, key: string, sql: (within: string) => string) {
    this.#ends = db.prepare(sql(`${key} >= ?1 AND ${key} < ?2`));
    this.#endless = db.prepare(sql(`${key} >= ?1 AND ?2 IS NULL`));
  }

  of({ end }: KeyRange): Statement {
    return end === undefined ? this.#endless : this.#ends;
  }
}

/** What is in a file is on disk when it returns; one that is not there has nothing to sync. */
function syncFile(path: string): void {
  let fd: number;
  try {
    fd = fs.openSync(path, 'r+');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  try {
    fs.fdatasyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** The statements that change something; only the writing connection has them. */
class Writer {
  readonly #db: Sqlite;
  readonly #insert: Statement;
  readonly #setLive: Statement;
  readonly #dropLive: Statement;
  readonly #setMeta: Statement;
  readonly #setLease: Statement;
  readonly #dropLease: Statement;
  readonly #changedKeys: Statement;
  readonly #dropOld: Statement;
  readonly #dropDeleted: Statement;

  constructor(db: Sqlite) {
    this.#db = db;
    this.#insert = db.prepare(`INSERT OR REPLACE INTO kv VALUES ((?1 << ${subBits}) | ?2, ?3, ?4, ?5, ?6, ?7)`);
    this.#setLive = db.prepare(`INSERT OR REPLACE INTO live VALUES (?1, (?2 << ${subBits}) | ?3)`);
    this.#dropLive = db.prepare('DELETE FROM live WHERE key = ?1');
    this.#setMeta = db.prepare('INSERT OR REPLACE INTO meta VALUES (?1, ?2)');
    this.#setLease = db.prepare('INSERT OR REPLACE INTO lease VALUES (?1, ?2, ?3)');
    this.#dropLease = db.prepare('DELETE FROM lease WHERE id = ?1');
    this.#changedKeys = db.prepare(
      `SELECT seq >> ${subBits}, key FROM kv WHERE seq >= (?1 << ${subBits}) AND seq < ((?2 + 1) << ${subBits}) ORDER BY seq LIMIT ?3`,
    );
    const newestOf = `(SELECT max(seq) FROM kv WHERE key = ?1 AND seq < ((?2 + 1) << ${subBits}))`;
    this.#dropOld = db.prepare(`DELETE FROM kv WHERE key = ?1 AND seq < ${newestOf}`);
    // A delete at the compacted revision itself is kept: a watch may begin there.
    this.#dropDeleted = db.prepare(
      `DELETE FROM kv WHERE seq = ${newestOf} AND version = 0 AND seq < (?2 << ${subBits})`,
    );
  }

  #transaction(work: () => void): void {
    this.#db.run('BEGIN IMMEDIATE');
    try {
      work();
      this.#db.run('COMMIT');
    } catch (error) {
      this.#db.run('ROLLBACK');
      throw error;
    }
  }

  write(batch: Batch): void {
    this.#transaction(() => {
      // A key that changes more than once in a batch changes once among the live ones.
      const newest = new Map<KeyText, Version>();
      for (const version of batch.versions) {
        const { key, kv, sub } = version;
        const lease = kv.lease === 0n ? null : kv.lease.toString();
        this.#insert.run(kv.modRevision, sub, keyBytes(key), kv.createRevision, kv.version, lease, kv.value);
        newest.set(key, version);
      }
      for (const { key, kv, sub } of newest.values()) {
        if (kv.version > 0) this.#setLive.run(keyBytes(key), kv.modRevision, sub);
        else this.#dropLive.run(keyBytes(key));
      }
      for (const { id, ttlSeconds, remainingSeconds } of batch.leases) {
        if (ttlSeconds > 0) this.#setLease.run(id.toString(), ttlSeconds, remainingSeconds);
        else this.#dropLease.run(id.toString());
      }
      if (batch.alarms !== undefined) {
        this.#db.run('DELETE FROM alarm');
        for (const { memberId, type } of batch.alarms)
          this.#db.run('INSERT INTO alarm VALUES (?1, ?2)', [memberId.toString(), type]);
      }
      if (batch.membership !== undefined)
        this.#db.run("INSERT OR REPLACE INTO raft VALUES ('membership', ?1)", [batch.membership]);
      this.#setMeta.run('applied', batch.meta.appliedIndex);
      this.#setMeta.run('term', batch.meta.appliedTerm);
      this.#setMeta.run('revision', batch.meta.revision);
      this.#setMeta.run('compact', batch.meta.compactRevision);
      this.#setMeta.run('reserved', batch.meta.reserved);
    });
  }

  compactStep(revision: number): boolean {
    const done = this.#db.prepare("SELECT value FROM meta WHERE name = 'swept'").values() as Row[];
    // The last swept revision again: a delete kept there may go now.
    const from = (done[0]?.[0] as number | undefined) ?? 0;
    if (from >= revision) return false;
    const rows = this.#changedKeys.values(from, revision, compactStepKeys) as Row[];
    let last = rows.length < compactStepKeys ? revision : (rows.at(-1)![0] as number);
    // A revision with more changes than one step takes is swept whole.
    const changed = last > from ? rows : (this.#changedKeys.values(from, from, maxSub + 1) as Row[]);
    if (last === from && last < revision) last = from + 1;
    this.#transaction(() => {
      for (const row of changed) {
        this.#dropOld.run(row[1] as Uint8Array, revision);
        this.#dropDeleted.run(row[1] as Uint8Array, revision);
      }
      this.#setMeta.run('swept', last);
    });
    return last < revision;
  }
}

function bounds(range: KeyRange): [Uint8Array, Uint8Array | null] {
  return [keyBytes(range.first), range.end === undefined ? null : keyBytes(range.end)];
}

/** Rows with `fields` as they are: their leases, which few have, are made numbers in place. */
function keyValues(rows: unknown[]): KeyValue[] {
  for (const row of rows as { lease: string | null | bigint }[]) row.lease = leaseId(row.lease as string | null);
  return rows as KeyValue[];
}

function leaseId(lease: string | null): bigint {
  return lease === null ? 0n : BigInt(lease);
}

function version(row: Row): Version {
  const bytes = row[0] as Uint8Array;
  return {
    key: keyText(bytes),
    sub: row[2] as number,
    kv: {
      key: bytes,
      value: row[6] as Uint8Array,
      createRevision: row[3] as number,
      modRevision: row[1] as number,
      version: row[4] as number,
      lease: leaseId(row[5] as string | null),
    },
  };
}
