/**
 * What a PG knows of itself: info, history, log entries, missing objects, past intervals. The words are upstream's (`src/osd/osd_types.h`), the
 * encodings our own: they go between our OSDs and onto our disks, each with a version.
 */
import { DecodeError } from '../../../base/bytes.ts';
import { type Decoder, type Encoder, type UTime, utimeZero } from '../encoding.ts';
import {
  decodeEVersion,
  decodeHObject,
  type EVersion,
  encodeEVersion,
  encodeHObject,
  eversionZero,
  type HObject,
  hobjectMax,
  type RequestId,
  SNAP_HEAD,
} from '../types.ts';
import { decodeSpan, encodeSpan } from './osd_lease.ts';
import { decodeObjectSums, encodeObjectSums, type ObjectSums, zeroObjectSums } from './osd_mgr.ts';

/** `pg_history_t`: facts about a PG on which all its members agree once they met. */
export interface PgHistory {
  epochCreated: number;
  /** Newest epoch of which it is known that the PG was active with all its acting set's logs committed. */
  lastEpochStarted: number;
  lastIntervalStarted: number;
  lastEpochClean: number;
  lastIntervalClean: number;
  /** When the PG last split from another, or another from it: what clients sent before that may be of another PG now. */
  lastEpochSplit: number;
  sameUpSince: number;
  /** First epoch of the present interval. */
  sameIntervalSince: number;
  samePrimarySince: number;
  /** The PG's version when it was last scrubbed and last scrubbed deeply, and when that was. */
  lastScrub: EVersion;
  lastScrubStamp: UTime;
  lastDeepScrub: EVersion;
  lastDeepScrubStamp: UTime;
  /** When a scrub last found nothing wrong. */
  lastCleanScrubStamp: UTime;
  /**
   * Newest epoch at which no OSD of an earlier interval could be readable any more (`osd/lease.ts`). Upstream takes `lastEpochStarted` for that, which a PG
   * reaches that still waits for leases of the interval before.
   */
  lastEpochReadable: number;
  /** In messages: for how long from now OSDs of earlier intervals may be readable, at most (`prior_readable_until_ub`); in a PG's own info 0. */
  priorReadableMs: number;
}

export function emptyPgHistory(): PgHistory {
  return {
    epochCreated: 0,
    lastEpochStarted: 0,
    lastIntervalStarted: 0,
    lastEpochClean: 0,
    lastIntervalClean: 0,
    lastEpochSplit: 0,
    sameUpSince: 0,
    sameIntervalSince: 0,
    samePrimarySince: 0,
    lastScrub: eversionZero,
    lastScrubStamp: utimeZero,
    lastDeepScrub: eversionZero,
    lastDeepScrubStamp: utimeZero,
    lastCleanScrubStamp: utimeZero,
    lastEpochReadable: 0,
    priorReadableMs: 0,
  };
}

export function encodePgHistory(e: Encoder, h: PgHistory): void {
  e.struct(4, 1, () => {
    e.u32(h.epochCreated).u32(h.lastEpochStarted).u32(h.lastIntervalStarted).u32(h.lastEpochClean);
    e.u32(h.lastIntervalClean).u32(h.sameUpSince).u32(h.sameIntervalSince).u32(h.samePrimarySince);
    encodeEVersion(e, h.lastScrub);
    encodeEVersion(e, h.lastDeepScrub);
    e.utime(h.lastScrubStamp).utime(h.lastDeepScrubStamp).utime(h.lastCleanScrubStamp).u32(h.lastEpochSplit);
    e.u32(h.lastEpochReadable);
    encodeSpan(e, h.priorReadableMs);
  });
}

export function decodePgHistory(d: Decoder): PgHistory {
  return d.struct('pg_history', 1, (_, version) => {
    const history: PgHistory = {
      ...emptyPgHistory(),
      epochCreated: d.u32(),
      lastEpochStarted: d.u32(),
      lastIntervalStarted: d.u32(),
      lastEpochClean: d.u32(),
      lastIntervalClean: d.u32(),
      sameUpSince: d.u32(),
      sameIntervalSince: d.u32(),
      samePrimarySince: d.u32(),
    };
    if (version < 2) return history;
    history.lastScrub = decodeEVersion(d);
    history.lastDeepScrub = decodeEVersion(d);
    history.lastScrubStamp = d.utime();
    history.lastDeepScrubStamp = d.utime();
    history.lastCleanScrubStamp = d.utime();
    if (version >= 3) history.lastEpochSplit = d.u32();
    // Written before there were leases: then none of an earlier interval was left.
    history.lastEpochReadable = version >= 4 ? d.u32() : history.lastEpochStarted;
    if (version >= 4) history.priorReadableMs = decodeSpan(d);
    return history;
  });
}

/** `pg_info_t`: what one OSD's copy of a PG holds. */
export interface PgInfo {
  /** Newest log entry. */
  lastUpdate: EVersion;
  /** Everything up to here is applied and no object with an older version is missing. */
  lastComplete: EVersion;
  /** The log holds what is newer than this. */
  logTail: EVersion;
  lastUserVersion: number;
  /** Objects up to here are backfilled; `hobjectMax` when the copy is complete. */
  lastBackfill: HObject;
  lastEpochStarted: number;
  lastIntervalStarted: number;
  history: PgHistory;
  sums: ObjectSums;
  /** The sums are an estimate since a split; the next scrub counts. */
  sumsEstimated: boolean;
}

export function emptyPgInfo(): PgInfo {
  return {
    lastUpdate: eversionZero,
    lastComplete: eversionZero,
    logTail: eversionZero,
    lastUserVersion: 0,
    lastBackfill: hobjectMax,
    lastEpochStarted: 0,
    lastIntervalStarted: 0,
    history: emptyPgHistory(),
    sums: zeroObjectSums(),
    sumsEstimated: false,
  };
}

/** Deep enough that neither side sees the other's changes: versions and objects are never changed in place. */
export function copyPgInfo(info: PgInfo): PgInfo {
  return { ...info, history: { ...info.history }, sums: { ...info.sums } };
}

export function encodePgInfo(e: Encoder, i: PgInfo): void {
  e.struct(2, 1, () => {
    encodeEVersion(e, i.lastUpdate);
    encodeEVersion(e, i.lastComplete);
    encodeEVersion(e, i.logTail);
    e.u64(i.lastUserVersion);
    encodeHObject(e, i.lastBackfill);
    e.u32(i.lastEpochStarted).u32(i.lastIntervalStarted);
    encodePgHistory(e, i.history);
    encodeObjectSums(e, i.sums);
    e.bool(i.sumsEstimated);
  });
}

export function decodePgInfo(d: Decoder): PgInfo {
  return d.struct('pg_info', 1, (_, version) => ({
    lastUpdate: decodeEVersion(d),
    lastComplete: decodeEVersion(d),
    logTail: decodeEVersion(d),
    lastUserVersion: d.u64(),
    lastBackfill: decodeHObject(d),
    lastEpochStarted: d.u32(),
    lastIntervalStarted: d.u32(),
    history: decodePgHistory(d),
    sums: decodeObjectSums(d),
    sumsEstimated: version >= 2 && d.bool(),
  }));
}

/** One past interval: a range of epochs with the same up and acting sets. */
export interface PastInterval {
  first: number;
  last: number;
  up: number[];
  acting: number[];
  upPrimary: number;
  primary: number;
  /** False only when the interval certainly took no writes (too few OSDs, no primary, or its primary never got its up_thru). */
  maybeWentRw: boolean;
}

function osds(e: Encoder, list: readonly number[]): void {
  e.list(list, (x, osd) => x.s32(osd));
}
function readOsds(d: Decoder): number[] {
  return d.list((x) => x.s32(), 4);
}

export function encodePastIntervals(e: Encoder, list: readonly PastInterval[]): void {
  e.struct(1, 1, () =>
    e.list(list, (_, i) => {
      e.u32(i.first).u32(i.last);
      osds(e, i.up);
      osds(e, i.acting);
      e.s32(i.upPrimary).s32(i.primary).bool(i.maybeWentRw);
    }),
  );
}

export function decodePastIntervals(d: Decoder): PastInterval[] {
  return d.struct('past_intervals', 1, () =>
    d.list(
      () => ({
        first: d.u32(),
        last: d.u32(),
        up: readOsds(d),
        acting: readOsds(d),
        upPrimary: d.s32(),
        primary: d.s32(),
        maybeWentRw: d.bool(),
      }),
      25,
    ),
  );
}

/** What a log entry did. `error`: nothing; it remembers the result of a failed write for duplicates of it. */
export type LogOp = 'modify' | 'clone' | 'delete' | 'error';
const logOps: readonly LogOp[] = ['modify', 'clone', 'delete', 'error'];

/** `pg_log_entry_t`. */
export interface LogEntry {
  op: LogOp;
  oid: HObject;
  version: EVersion;
  /** The object's version before; zero when the entry made it. */
  prior: EVersion;
  userVersion: number;
  /** Undefined on entries that no client asked for by itself (a clone beside a write, snapshot trimming). */
  reqid: RequestId | undefined;
  mtime: UTime;
  /** The result that the client got. */
  returnCode: number;
  /** Results and output per op where the client asked for them (RETURNVEC). */
  returns: readonly OpReturn[] | undefined;
}

export interface OpReturn {
  rval: number;
  data: Uint8Array;
}

const FLAG_REQID = 1;
const FLAG_RETURNS = 2;
const FLAG_HEAD = 4;
const FLAG_KEY = 8;

/** Version 1; the object's pool is not written: it is the PG's. */
export function encodeLogEntry(e: Encoder, entry: LogEntry): void {
  const { oid, reqid, returns } = entry;
  const flags =
    (reqid === undefined ? 0 : FLAG_REQID) |
    (returns === undefined ? 0 : FLAG_RETURNS) |
    (oid.snap === SNAP_HEAD ? FLAG_HEAD : 0) |
    (oid.key === '' ? 0 : FLAG_KEY);
  e.u8(1).u8(logOps.indexOf(entry.op)).u8(flags);
  e.string(oid.name).string(oid.nspace).u32(oid.hash);
  if (flags & FLAG_KEY) e.string(oid.key);
  if (!(flags & FLAG_HEAD)) e.u64b(oid.snap);
  encodeEVersion(e, entry.version);
  encodeEVersion(e, entry.prior);
  e.u64(entry.userVersion).utime(entry.mtime).s32(entry.returnCode);
  if (reqid !== undefined) e.u8(reqid.name.type).s64(reqid.name.num).u64(reqid.tid).s32(reqid.inc);
  if (returns !== undefined) e.list(returns, (_, r) => e.s32(r.rval).blob(r.data));
}

export function decodeLogEntry(d: Decoder, pool: number): LogEntry {
  const format = d.u8();
  if (format !== 1) throw new DecodeError(`log entry: version ${format}, this one knows 1`);
  const op = logOps[d.u8()];
  if (op === undefined) throw new DecodeError('log entry: unknown op');
  const flags = d.u8();
  const name = d.string();
  const nspace = d.string();
  const hash = d.u32();
  const key = flags & FLAG_KEY ? d.string() : '';
  const snap = flags & FLAG_HEAD ? SNAP_HEAD : d.u64b();
  return {
    op,
    oid: { key, name, snap, hash, max: false, nspace, pool },
    version: decodeEVersion(d),
    prior: decodeEVersion(d),
    userVersion: d.u64(),
    mtime: d.utime(),
    returnCode: d.s32(),
    reqid: flags & FLAG_REQID ? { name: { type: d.u8(), num: d.s64() }, tid: d.u64(), inc: d.s32() } : undefined,
    returns: flags & FLAG_RETURNS ? d.list(() => readReturn(d), 8) : undefined,
  };
}

/** A copy: entries are kept for long, and must not keep the message that they came in. */
function readReturn(d: Decoder): OpReturn {
  return { rval: d.s32(), data: d.blob().slice() };
}

/** The least bytes an encoded entry takes, to bound counts. */
const entryMinBytes = 59;

/** A stretch of log: what is newer than `tail` up to `head`. `dups` are older entries kept only to recognise repeated requests. */
export interface LogSegment {
  tail: EVersion;
  head: EVersion;
  entries: LogEntry[];
  dups: LogEntry[];
}

export function encodeLogSegment(e: Encoder, log: LogSegment): void {
  e.struct(1, 1, () => {
    encodeEVersion(e, log.tail);
    encodeEVersion(e, log.head);
    e.list(log.entries, encodeLogEntry);
    e.list(log.dups, encodeLogEntry);
  });
}

export function decodeLogSegment(d: Decoder, pool: number): LogSegment {
  return d.struct('log', 1, () => ({
    tail: decodeEVersion(d),
    head: decodeEVersion(d),
    entries: d.list((x) => decodeLogEntry(x, pool), entryMinBytes),
    dups: d.list((x) => decodeLogEntry(x, pool), entryMinBytes),
  }));
}

/** An object that a copy of the PG lacks in version `need`; it holds `have` (zero: nothing). */
export interface MissingItem {
  oid: HObject;
  need: EVersion;
  have: EVersion;
}

export function encodeMissing(e: Encoder, items: readonly MissingItem[]): void {
  e.struct(1, 1, () =>
    e.list(items, (_, item) => {
      encodeHObject(e, item.oid);
      encodeEVersion(e, item.need);
      encodeEVersion(e, item.have);
    }),
  );
}

export function decodeMissing(d: Decoder): MissingItem[] {
  return d.struct('missing', 1, () =>
    d.list(() => ({ oid: decodeHObject(d), need: decodeEVersion(d), have: decodeEVersion(d) }), 60),
  );
}
