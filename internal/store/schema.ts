import { plainTerm } from '../raft/journal-storage.ts';

/**
 * What the database looks like. Written to `meta` as `format`; a database of a higher one is refused. 2 adds `lease.remaining` and `alarm`, 3 the term
 * and the members, 4 the table of live keys.
 */
export const formatVersion = 4;

/** `seq` of a row is revision * 2^20 + sub: computed in SQL, because it may pass 2^53. */
export const subBits = 20;
export const maxSub = 2 ** subBits - 1;

/**
 * `kv` has every version that is kept, `live` the newest of each key that is not deleted: a range of now is one walk along `live`, and a count reads
 * nothing else.
 */
export const schema = `
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kv(
  seq INTEGER PRIMARY KEY,
  key BLOB NOT NULL,
  create_rev INTEGER NOT NULL,
  version INTEGER NOT NULL,
  lease TEXT,
  value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS kv_key ON kv(key, seq, version);
CREATE INDEX IF NOT EXISTS kv_lease ON kv(lease, key) WHERE lease IS NOT NULL;
CREATE TABLE IF NOT EXISTS live(key BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lease(id TEXT PRIMARY KEY, ttl INTEGER NOT NULL, remaining INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alarm(member TEXT, type TEXT, PRIMARY KEY(member, type)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS raft(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
`;

/** What brings a database of the format before to each one. */
export const upgrades: Record<number, string> = {
  2: `ALTER TABLE lease ADD COLUMN remaining INTEGER NOT NULL DEFAULT 0;
CREATE TABLE alarm(member TEXT, type TEXT, PRIMARY KEY(member, type)) WITHOUT ROWID;`,
  // Before there were groups every entry had this term (raft/journal-storage.ts).
  3: `CREATE TABLE raft(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO meta SELECT 'term', ${plainTerm} WHERE EXISTS (SELECT 1 FROM meta WHERE name = 'applied' AND value > 0);`,
  // Bare columns beside a lone max() come from the row of the maximum (sqlite.org/lang_select.html#bareagg).
  4: `CREATE TABLE live(key BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO live SELECT key, newest FROM (SELECT key, max(seq) AS newest, version FROM kv GROUP BY key) WHERE version > 0;`,
};
