import { DecodeError } from '../../base/bytes.ts';
import type { CollectionId, ObjectStore, TransactionOp } from '../blockstore/api.ts';
import { bytesFromText, Decoder, Encoder } from '../wire/encoding.ts';
import { addObjectSums, decodeObjectSums, encodeObjectSums } from '../wire/messages/osd_mgr.ts';
import {
  copyPgInfo,
  decodeLogEntry,
  decodePastIntervals,
  decodePgInfo,
  emptyPgInfo,
  encodeLogEntry,
  encodePastIntervals,
  encodePgInfo,
  type LogEntry,
  type MissingItem,
  type PastInterval,
  type PgInfo,
} from '../wire/messages/osd_pg.ts';
import {
  compareEVersion,
  decodeEVersion,
  decodeHObject,
  type EVersion,
  encodeEVersion,
  encodeHObject,
  eversionZero,
  type HObject,
  type PgId,
  pgText,
} from '../wire/types.ts';
import { MissingSet } from './missing.ts';
import { metaKey } from './object-key.ts';
import { PgLog, requestKey } from './pg-log.ts';
import { Rollback } from './rollback.ts';

/**
 * What an OSD keeps about a PG beside its objects, and how it lies on disk: omap rows of the PG's own object, changed in the same transaction as the
 * objects they speak of.
 *   i  info    f  the part of info that changes with every write    p  past intervals    e  map epoch of the last interval check
 *   q  removed snapshots whose clones are gone
 *   r<version>  how a shard of an erasure-coded PG takes the entry back (`rollback.ts`)
 *   l<version>  log entries; those up to the log's tail only serve to recognise repeated requests    m<object>  missing objects
 *   k<version>-<epoch>-<n>  entries of other PGs, or of another copy's past, for the same purpose, taken over at that version and epoch
 */
const ROW_INFO = 'i';
const ROW_FAST = 'f';
const ROW_PAST = 'p';
const ROW_EPOCH = 'e';
const ROW_PURGED = 'q';
const KEPT_PREFIX = 'k';
const LOG_PREFIX = 'l';
const LOG_END = 'm';
const MISSING_PREFIX = 'm';
const MISSING_END = 'n';

/** Older entries kept on disk to recognise repeated requests. */
export const dupEntries = 3000;
/** Rows are removed in batches of at least this many. */
const dupTrimBatch = 250;

function logRow(version: number): string {
  return LOG_PREFIX + version.toString().padStart(15, '0');
}

function keptRow(version: number, epoch = 0, n = 0): string {
  return `${KEPT_PREFIX}${version.toString().padStart(15, '0')}-${epoch.toString().padStart(10, '0')}-${n.toString().padStart(6, '0')}`;
}

export class PgMeta {
  readonly pg: PgId;
  readonly cid: CollectionId;
  info: PgInfo = emptyPgInfo();
  past: PastInterval[] = [];
  /** Newest map that this PG has been taken through. */
  epoch = 0;
  /** `epoch` as it is on disk: maps from there on are needed when the PG is loaded. */
  writtenEpoch = 0;
  /** Removed snapshots whose clones this PG no longer has. */
  readonly purgedSnaps = new Set<bigint>();
  readonly log = new PgLog();
  readonly missing = new MissingSet();
  /** Of a shard of an erasure-coded PG. */
  readonly rollback: Rollback;

  #dirtyInfo = false;
  #dirtyFast = false;
  #dirtyPast = false;
  #dirtyPurged = false;
  #dirtyMissing = new Set<string>();
  #addedRows: LogEntry[] = [];
  /** To be written as kept ones. */
  #keptRows: LogEntry[] = [];
  /** Entries whose rows are to be removed. */
  #takenRows: LogEntry[] = [];
  /** Rows newer than this are to be removed before new ones are written. */
  #rewindRows: EVersion | undefined;
  #clearRows = false;
  /** Rows up to this version number are gone. */
  #rowsGone = 0;
  #dups: Map<string, LogEntry> | undefined;

  constructor(pg: PgId) {
    this.pg = pg;
    this.cid = pgText(pg);
    this.rollback = new Rollback(this.cid);
    this.missing.onChange = (id) => this.#dirtyMissing.add(id);
  }

  touchInfo(): void {
    this.#dirtyInfo = true;
  }
  touchFast(): void {
    this.#dirtyFast = true;
  }
  touchPurged(): void {
    this.#dirtyPurged = true;
  }
  touchPast(): void {
    this.#dirtyPast = true;
  }

  /** A new entry at the head. The caller sets `info.lastUpdate` and the rest of info. */
  append(entry: LogEntry): void {
    this.log.append(entry);
    this.#addedRows.push(entry);
    this.#dirtyFast = true;
  }

  /** Notes what `mergeLog` did to the log. */
  merged(rewoundTo: EVersion | undefined, added: readonly LogEntry[]): void {
    if (rewoundTo !== undefined) this.#rewindRows = rewoundTo;
    this.#addedRows.push(...added);
    this.#dirtyInfo = true;
    this.#dups = undefined;
  }

  /** Takes over a whole log (start of backfill). Gives operations for the transaction. */
  replaceLog(log: {
    tail: EVersion;
    head: EVersion;
    entries: readonly LogEntry[];
    dups: readonly LogEntry[];
  }): TransactionOp[] {
    this.log.reset(log);
    this.missing.clear();
    this.#clearRows = true;
    this.#rewindRows = undefined;
    this.#addedRows = [...log.entries];
    this.#keptRows = [...log.dups];
    this.#takenRows = [];
    this.#rowsGone = 0;
    this.#dups = undefined;
    this.#dirtyInfo = true;
    return this.pg.shard === undefined ? [] : this.rollback.clear();
  }

  /** Forgets entries up to `to` in memory; on disk they stay for a while to recognise repeated requests. */
  trim(to: EVersion): void {
    if (compareEVersion(to, this.log.tail) <= 0) return;
    const gone = this.log.trim(to);
    if (gone.length === 0) return;
    this.info.logTail = this.log.tail;
    this.#dirtyFast = true;
    if (this.#dups !== undefined)
      for (const e of gone) if (e.reqid !== undefined) this.#dups.set(requestKey(e.reqid), e);
    if (this.#dups !== undefined && this.#dups.size > 2 * dupEntries) this.#dups = undefined;
  }

  /** The entry of a request that is in the log, or was until not long ago. The older part is read from disk and kept. */
  findRequest(key: string, store: ObjectStore, alsoOld: boolean): LogEntry | undefined {
    const recent = this.log.request(key);
    if (recent !== undefined || !alsoOld) return recent;
    if (this.#dups === undefined) {
      this.#dups = new Map();
      for (const entry of this.oldEntries(store))
        if (entry.reqid !== undefined) this.#dups.set(requestKey(entry.reqid), entry);
    }
    return this.#dups.get(key);
  }

  /** Gives the memory of `findRequest` back. */
  dropDupCache(): void {
    this.#dups = undefined;
  }

  /**
   * Takes out what is of a PG that splits off: its log entries, missing objects and what else it needs to know. The sums stay; `writeOps` of both belong
   * into one transaction, with `moves` once the part's collection is there: what a shard keeps to take those entries back.
   */
  splitOff(pg: PgId, inside: (oid: HObject) => boolean, store: ObjectStore): { part: PgMeta; moves: TransactionOp[] } {
    const part = new PgMeta(pg);
    part.info = copyPgInfo(this.info);
    part.past = [...this.past];
    part.epoch = this.epoch;
    for (const snap of this.purgedSnaps) part.purgedSnaps.add(snap);
    part.#dirtyPurged = part.purgedSnaps.size > 0;
    const old = this.oldEntries(store).filter(({ oid }) => inside(oid));
    const taken = this.log.takeOut(inside);
    part.log.reset({ tail: this.log.tail, head: this.log.head, entries: taken });
    part.#addedRows = taken;
    part.#keptRows = old;
    part.#rowsGone = this.#rowsGone;
    this.#takenRows.push(...taken);
    this.#addedRows = this.#addedRows.filter(({ oid }) => !inside(oid));
    this.#dups = undefined;
    for (const item of this.missing.list()) {
      if (!inside(item.oid)) continue;
      part.missing.set(item.oid, item.need, item.have);
      this.missing.delete(item.oid);
    }
    for (const meta of [this, part])
      meta.info.lastComplete = completeUpTo(meta.log, meta.missing, meta.info.lastUpdate);
    const moves = this.rollback.splitOff(new Set(taken.map(({ version }) => version.version)), part.rollback);
    return { part, moves };
  }

  /**
   * Takes in what merges into this PG at map `epoch`: the log begins anew at the newest version of all, requests are still recognised, nothing of before is
   * taken back. Gives operations for the transaction.
   */
  mergeFrom(sources: readonly PgMeta[], epoch: number, store: ObjectStore): TransactionOp[] {
    const { info } = this;
    for (const meta of [this, ...sources]) {
      const known = [...meta.oldEntries(store), ...meta.log.all()].filter(({ reqid }) => reqid !== undefined);
      this.#keptRows.push(...known.slice(-dupEntries));
      if (meta === this) continue;
      addObjectSums(info.sums, meta.info.sums);
      info.sumsEstimated ||= meta.info.sumsEstimated;
      info.lastUserVersion = Math.max(info.lastUserVersion, meta.info.lastUserVersion);
      if (compareEVersion(meta.info.lastUpdate, info.lastUpdate) > 0) info.lastUpdate = meta.info.lastUpdate;
      if (this.past.length === 0) this.past = [...meta.past];
    }
    info.lastComplete = info.lastUpdate;
    info.logTail = info.lastUpdate;
    this.epoch = epoch;
    this.missing.clear();
    this.#addedRows = [];
    this.#takenRows = [];
    this.log.reset({ tail: info.lastUpdate, head: info.lastUpdate, entries: [] });
    this.#clearRows = true;
    this.#rewindRows = undefined;
    this.#rowsGone = Math.max(0, info.lastUpdate.version - dupEntries);
    this.#dups = undefined;
    this.#dirtyInfo = true;
    this.#dirtyPast = true;
    return this.pg.shard === undefined ? [] : this.rollback.clear();
  }

  /** Entries up to the log's tail that are still on disk. */
  oldEntries(store: ObjectStore): LogEntry[] {
    const out: LogEntry[] = [];
    for (const [, value] of rows(store, this.cid, KEPT_PREFIX))
      out.push(decodeLogEntry(new Decoder(value), this.pg.pool));
    for (const [, value] of rows(store, this.cid, LOG_PREFIX)) {
      const entry = decodeLogEntry(new Decoder(value), this.pg.pool);
      if (compareEVersion(entry.version, this.log.tail) > 0) break;
      out.push(entry);
    }
    return out;
  }

  /** Creates the collection with its rows. */
  createOps(): TransactionOp[] {
    this.#dirtyInfo = true;
    this.#dirtyPast = true;
    return [{ op: 'create-collection', cid: this.cid }, ...this.writeOps()];
  }

  /** Store operations for everything that changed since the last call: they belong into the transaction of the change. */
  writeOps(): TransactionOp[] {
    const { cid } = this;
    const ops: TransactionOp[] = [];
    const set = new Map<string, Uint8Array>();
    if (this.#clearRows) {
      ops.push({ op: 'omap-remove-range', cid, key: metaKey, first: KEPT_PREFIX, last: MISSING_END });
      this.#clearRows = false;
    } else if (this.#rewindRows !== undefined) {
      const first = logRow(this.#rewindRows.version + 1);
      ops.push({ op: 'omap-remove-range', cid, key: metaKey, first, last: LOG_END });
    }
    this.#rewindRows = undefined;
    for (const entry of this.#addedRows) {
      const e = new Encoder(160);
      encodeLogEntry(e, entry);
      set.set(logRow(entry.version.version), e.finish());
    }
    this.#addedRows = [];
    this.#keptRows.forEach((entry, n) => {
      const e = new Encoder(160);
      encodeLogEntry(e, entry);
      set.set(keptRow(this.log.head.version, this.epoch, n), e.finish());
    });
    this.#keptRows = [];
    if (this.#takenRows.length > 0) {
      const keys = this.#takenRows.map(({ version }) => logRow(version.version));
      ops.push({ op: 'omap-remove', cid, key: metaKey, keys });
      this.#takenRows = [];
    }
    const keepFrom = this.log.tail.version - dupEntries;
    if (keepFrom - this.#rowsGone > dupTrimBatch) {
      ops.push({ op: 'omap-remove-range', cid, key: metaKey, first: KEPT_PREFIX, last: keptRow(keepFrom) });
      ops.push({ op: 'omap-remove-range', cid, key: metaKey, first: LOG_PREFIX, last: logRow(keepFrom) });
      this.#rowsGone = keepFrom;
    }
    if (this.#dirtyMissing.size > 0) {
      const remove: string[] = [];
      for (const id of this.#dirtyMissing) {
        const item = this.missing.items.get(id);
        if (item === undefined) remove.push(missingRow(id));
        else set.set(missingRow(id), encodeMissingItem(item));
      }
      if (remove.length > 0) ops.push({ op: 'omap-remove', cid, key: metaKey, keys: remove });
      this.#dirtyMissing.clear();
    }
    if (this.#dirtyInfo) {
      const e = new Encoder(512);
      encodePgInfo(e, this.info);
      set.set(ROW_INFO, e.finish());
      set.set(ROW_EPOCH, new Encoder(4).u32(this.epoch).finish());
      this.writtenEpoch = this.epoch;
      this.#dirtyFast = true;
    }
    if (this.#dirtyPast) {
      const e = new Encoder(64);
      encodePastIntervals(e, this.past);
      set.set(ROW_PAST, e.finish());
    }
    if (this.#dirtyPurged) {
      const e = new Encoder(64);
      e.u8(1).list([...this.purgedSnaps], (_, snap) => e.u64b(snap));
      set.set(ROW_PURGED, e.finish());
      this.#dirtyPurged = false;
    }
    if (this.#dirtyFast) set.set(ROW_FAST, encodeFast(this.info));
    this.#dirtyInfo = false;
    this.#dirtyFast = false;
    this.#dirtyPast = false;
    ops.push(...this.rollback.writeOps(set));
    if (set.size > 0) ops.push({ op: 'omap-set', cid, key: metaKey, entries: set });
    return ops;
  }

  /** Reads a PG as it was left. Undefined when its rows are not there (its creation did not reach the disk). */
  static load(store: ObjectStore, pg: PgId): PgMeta | undefined {
    const meta = new PgMeta(pg);
    const fixed = store.omapGet(meta.cid, metaKey, [ROW_INFO, ROW_FAST, ROW_PAST, ROW_EPOCH, ROW_PURGED]);
    const info = fixed.get(ROW_INFO);
    if (info === undefined) return undefined;
    meta.info = decodePgInfo(new Decoder(info));
    const fast = fixed.get(ROW_FAST);
    if (fast !== undefined) decodeFast(fast, meta.info);
    const past = fixed.get(ROW_PAST);
    if (past !== undefined) meta.past = decodePastIntervals(new Decoder(past));
    const purged = fixed.get(ROW_PURGED);
    if (purged !== undefined)
      for (const snap of new Decoder(purged.subarray(1)).list((d) => d.u64b(), 8)) meta.purgedSnaps.add(snap);
    meta.epoch = new Decoder(fixed.get(ROW_EPOCH)!).u32();
    meta.writtenEpoch = meta.epoch;
    const entries: LogEntry[] = [];
    for (const [, value] of rows(store, meta.cid, LOG_PREFIX)) {
      const entry = decodeLogEntry(new Decoder(value), pg.pool);
      if (compareEVersion(entry.version, meta.info.logTail) > 0) entries.push(entry);
    }
    meta.log.reset({ tail: meta.info.logTail, head: meta.info.lastUpdate, entries });
    meta.#rowsGone = Math.max(0, meta.info.logTail.version - dupEntries - dupTrimBatch);
    for (const [, value] of rows(store, meta.cid, MISSING_PREFIX)) {
      const item = decodeMissingItem(value);
      meta.missing.items.set(missingId(item), item);
    }
    meta.rollback.load(rows(store, meta.cid, Rollback.rowPrefix));
    return meta;
  }

  /** True for a copy that has never held anything. */
  get empty(): boolean {
    return this.info.lastUpdate.version === 0;
  }
}

/** Hex: object names may hold zero bytes and worse. */
function missingRow(id: string): string {
  return MISSING_PREFIX + Buffer.from(bytesFromText(id)).toString('hex');
}

function missingId(item: MissingItem): string {
  return MissingSet.of([item]).items.keys().next().value!;
}

function* rows(store: ObjectStore, cid: CollectionId, prefix: string): Generator<[string, Uint8Array]> {
  let after: string | undefined;
  for (;;) {
    const page = store.omapList(cid, metaKey, { prefix, limit: 512, ...(after === undefined ? {} : { after }) });
    yield* page.entries;
    if (!page.more || page.entries.length === 0) return;
    after = page.entries[page.entries.length - 1]![0];
  }
}

function encodeFast(info: PgInfo): Uint8Array {
  const e = new Encoder(160);
  e.u8(1);
  encodeEVersion(e, info.lastUpdate);
  encodeEVersion(e, info.lastComplete);
  encodeEVersion(e, info.logTail);
  e.u64(info.lastUserVersion);
  encodeObjectSums(e, info.sums);
  return e.finish();
}

function decodeFast(bytes: Uint8Array, info: PgInfo): void {
  const d = new Decoder(bytes);
  if (d.u8() !== 1) throw new DecodeError('PG info of an unknown version');
  info.lastUpdate = decodeEVersion(d);
  info.lastComplete = decodeEVersion(d);
  info.logTail = decodeEVersion(d);
  info.lastUserVersion = d.u64();
  info.sums = decodeObjectSums(d);
}

function encodeMissingItem(item: MissingItem): Uint8Array {
  const e = new Encoder(128);
  e.u8(1);
  encodeHObject(e, item.oid);
  encodeEVersion(e, item.need);
  encodeEVersion(e, item.have);
  return e.finish();
}

function decodeMissingItem(bytes: Uint8Array): MissingItem {
  const d = new Decoder(bytes);
  if (d.u8() !== 1) throw new DecodeError('missing object of an unknown version');
  return { oid: decodeHObject(d), need: decodeEVersion(d), have: decodeEVersion(d) };
}

/** Where a copy's completeness stands: everything up to this version is here. */
export function completeUpTo(log: PgLog, missing: MissingSet, lastUpdate: EVersion): EVersion {
  const oldest = missing.oldestNeed();
  if (oldest === undefined) return lastUpdate;
  let complete = eversionZero;
  for (const entry of log.all()) {
    if (compareEVersion(entry.version, oldest) >= 0) break;
    complete = entry.version;
  }
  return complete;
}
