import { assert } from '../../base/errors.ts';
import type { LogEntry, LogSegment } from '../wire/messages/osd_pg.ts';
import {
  compareEVersion,
  compareHObject,
  type EVersion,
  eversionText,
  eversionZero,
  type HObject,
  type RequestId,
} from '../wire/types.ts';
import type { TransactionOp } from '../blockstore/api.ts';
import type { MissingSet } from './missing.ts';
import type { Rollback } from './rollback.ts';
import { objectId } from './object-key.ts';

/** A request's identity as a map key. */
export function requestKey(id: RequestId): string {
  return `${id.name.type}.${id.name.num}.${id.inc}:${id.tid}`;
}

/**
 * The log of a PG in memory: what is newer than `tail`, by version, by object and by request. Versions grow by one or more with each entry; two
 * copies of a log that hold the same (epoch, version) hold the same entries up to it.
 */
export class PgLog {
  #entries: LogEntry[] = [];
  /** Entries before this index are trimmed; the array is cut when half of it is. */
  #start = 0;
  #tail: EVersion = eversionZero;
  #head: EVersion = eversionZero;
  /** Both are made when somebody first looks something up, and kept from then on: replicas of a PG that is clean never do. */
  readonly #byObject = new Map<string, LogEntry>();
  readonly #byRequest = new Map<string, LogEntry>();
  #indexed = false;

  get head(): EVersion {
    return this.#head;
  }
  get tail(): EVersion {
    return this.#tail;
  }
  get length(): number {
    return this.#entries.length - this.#start;
  }

  /** Takes the entries of some objects out. Tail and head stay: they speak of the PG as a whole. */
  takeOut(inside: (oid: HObject) => boolean): LogEntry[] {
    const all = this.all();
    const taken = all.filter(({ oid }) => inside(oid));
    this.reset({ tail: this.#tail, head: this.#head, entries: all.filter(({ oid }) => !inside(oid)) });
    return taken;
  }

  /** Everything up to `to` is in this log though the newest of it is of objects that split off. */
  raiseHead(to: EVersion): void {
    if (compareEVersion(to, this.#head) > 0) this.#head = to;
  }

  /** Takes over a stretch of log as the whole log. */
  reset(segment: { tail: EVersion; head: EVersion; entries: readonly LogEntry[] }): void {
    this.#entries = [];
    this.#start = 0;
    this.#byObject.clear();
    this.#byRequest.clear();
    this.#indexed = false;
    this.#tail = segment.tail;
    this.#head = segment.tail;
    for (const entry of segment.entries) this.append(entry);
    this.#head = segment.head;
  }

  append(entry: LogEntry): void {
    assert(
      entry.version.version > this.#head.version,
      () => `log entry ${eversionText(entry.version)} after head ${eversionText(this.#head)}`,
    );
    this.#entries.push(entry);
    this.#head = entry.version;
    if (this.#indexed) this.#index(entry);
  }

  #makeIndex(): void {
    if (this.#indexed) return;
    this.#indexed = true;
    for (let i = this.#start; i < this.#entries.length; i++) this.#index(this.#entries[i]!);
  }

  #index(entry: LogEntry): void {
    if (entry.op !== 'error') this.#byObject.set(objectId(entry.oid), entry);
    if (entry.reqid !== undefined) this.#byRequest.set(requestKey(entry.reqid), entry);
  }

  #unindex(entry: LogEntry): void {
    if (entry.op !== 'error') {
      const id = objectId(entry.oid);
      if (this.#byObject.get(id) === entry) this.#byObject.delete(id);
    }
    if (entry.reqid !== undefined) {
      const key = requestKey(entry.reqid);
      if (this.#byRequest.get(key) === entry) this.#byRequest.delete(key);
    }
  }

  /** Forgets entries up to `to` inclusive; gives those forgotten. */
  trim(to: EVersion): LogEntry[] {
    let at = this.#start;
    while (at < this.#entries.length && compareEVersion(this.#entries[at]!.version, to) <= 0) {
      if (this.#indexed) this.#unindex(this.#entries[at]!);
      at++;
    }
    if (at === this.#start) return [];
    const gone = this.#entries.slice(this.#start, at);
    this.#start = at;
    this.#tail = gone[gone.length - 1]!.version;
    if (this.#start > 64 && this.#start * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#start);
      this.#start = 0;
    }
    return gone;
  }

  /** The version at which `keep` entries are left when the log is trimmed to it; undefined when it is no longer than that. */
  trimPoint(keep: number): EVersion | undefined {
    const excess = this.length - keep;
    return excess <= 0 ? undefined : this.#entries[this.#start + excess - 1]!.version;
  }

  /** Takes the newest entries back, down to `to` exclusive; oldest first. */
  rewind(to: EVersion): LogEntry[] {
    const gone: LogEntry[] = [];
    while (this.#entries.length > this.#start) {
      const last = this.#entries[this.#entries.length - 1]!;
      if (compareEVersion(last.version, to) <= 0) break;
      this.#entries.pop();
      gone.push(last);
    }
    this.#head = to;
    if (gone.length > 0 && this.#indexed) {
      for (const entry of gone) this.#unindex(entry);
      // An older entry of the same object or request may have been hidden.
      for (const entry of gone) this.#reindexObject(entry.oid);
    }
    return gone.reverse();
  }

  #reindexObject(oid: HObject): void {
    const id = objectId(oid);
    for (let i = this.#entries.length - 1; i >= this.#start; i--) {
      const entry = this.#entries[i]!;
      if (entry.op !== 'error' && objectId(entry.oid) === id) {
        this.#byObject.set(id, entry);
        return;
      }
    }
  }

  request(key: string): LogEntry | undefined {
    this.#makeIndex();
    return this.#byRequest.get(key);
  }

  /** Newest entry of an object. */
  latest(oid: HObject): LogEntry | undefined {
    this.#makeIndex();
    return this.#byObject.get(objectId(oid));
  }

  /** Index of the first entry newer than `version`. */
  #indexAfter(version: EVersion): number {
    let low = this.#start;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareEVersion(this.#entries[middle]!.version, version) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Entries newer than `version`. */
  after(version: EVersion): LogEntry[] {
    return this.#entries.slice(this.#indexAfter(version));
  }

  all(): LogEntry[] {
    return this.#entries.slice(this.#start);
  }

  /** What is newer than `since`. Its tail is a version that this log really holds: the newest not newer than `since`, else our tail. */
  segment(since: EVersion = this.#tail): LogSegment {
    const from = this.#indexAfter(since);
    const tail = from > this.#start ? this.#entries[from - 1]!.version : this.#tail;
    return { tail, head: this.#head, entries: this.#entries.slice(from), dups: [] };
  }

  /** Whether this log holds exactly this version: as an entry, its tail, or its head, whose entry may have gone to a PG that split off. */
  holds(version: EVersion): boolean {
    if (compareEVersion(version, this.#tail) === 0 || compareEVersion(version, this.#head) === 0) return true;
    let low = this.#start;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#entries[middle]!.version.version < version.version) low = middle + 1;
      else high = middle;
    }
    const found = this.#entries[low];
    return found !== undefined && compareEVersion(found.version, version) === 0;
  }
}

/** The newest version that both a log and a segment of another copy hold; the newer of their tails when they share no entry. */
export function commonVersion(
  log: PgLog,
  other: { tail: EVersion; head: EVersion; entries: readonly LogEntry[] },
): EVersion {
  if (log.holds(other.head)) return other.head;
  for (let i = other.entries.length - 1; i >= 0; i--) {
    const version = other.entries[i]!.version;
    if (log.holds(version)) return version;
    if (compareEVersion(version, log.tail) <= 0) break;
  }
  return compareEVersion(log.tail, other.tail) > 0 ? log.tail : other.tail;
}

/** What taking a log over asks of the store. */
export interface MergeResult {
  /** Operations that take entries back, to be done first. */
  undo: TransactionOp[];
  /** Objects to remove: deleted by new entries, or changed by entries that the cluster never acknowledged. */
  remove: HObject[];
  added: LogEntry[];
  /** Everything newer than this was taken back before `added` came. */
  rewoundTo: EVersion | undefined;
}

/** What can take entries back: a shard's records, or what is known of them. */
export interface Undo {
  can(version: EVersion): boolean;
  /** All entries of one object, oldest first. */
  undo(entries: readonly LogEntry[]): void;
}

/**
 * Entries that only this copy has: works out, object by object, what is missing now (PGLog's "merge divergent entries"). Replicated pools cannot undo a
 * change, so a changed object is removed and fetched in the version that the authoritative log has. Shards take their changes back where they can.
 */
export function mergeDivergent(
  divergent: readonly LogEntry[],
  /** Objects that were missing before anything was merged. */
  lacked: ReadonlySet<string>,
  log: { latest(oid: HObject): LogEntry | undefined },
  missing: MissingSet,
  lastBackfill: HObject,
  remove: (oid: HObject) => void,
  undo?: Undo,
): void {
  const byObject = new Map<string, LogEntry[]>();
  for (const entry of divergent) {
    if (entry.op === 'error') continue;
    const id = objectId(entry.oid);
    const list = byObject.get(id);
    if (list === undefined) byObject.set(id, [entry]);
    else list.push(entry);
  }
  for (const list of byObject.values()) {
    const first = list[0]!;
    const { oid, prior } = first;
    if (compareHObject(oid, lastBackfill) > 0) {
      missing.delete(oid);
      continue;
    }
    const latest = log.latest(oid);
    // An object that is missing only because of what the authoritative log says lies here as the first entry left it.
    const lies = !lacked.has(objectId(oid));
    if (undo !== undefined && lies && list.every((entry) => undo.can(entry.version))) {
      undo.undo(list);
      continue;
    }
    const item = missing.get(oid);
    if (latest !== undefined && compareEVersion(latest.version, first.version) >= 0) {
      // The authoritative log changed it too: its version counts, and what is here is of no use.
      remove(oid);
      if (item !== undefined) missing.set(oid, item.need, eversionZero);
      continue;
    }
    if (first.op === 'clone' || prior.version === 0) {
      missing.delete(oid);
      remove(oid);
      continue;
    }
    if (item !== undefined) {
      if (compareEVersion(item.have, prior) === 0) missing.delete(oid);
      else missing.set(oid, prior, item.have);
      continue;
    }
    remove(oid);
    missing.set(oid, prior, eversionZero);
  }
}

/**
 * Takes an authoritative stretch of log over into `log`, whose copy is complete up to `lastBackfill`. The stretch must meet the log: its tail is not
 * newer than our head.
 */
export function mergeLog(
  log: PgLog,
  missing: MissingSet,
  other: LogSegment,
  lastBackfill: HObject,
  rollback?: Rollback,
): MergeResult {
  assert(
    compareEVersion(other.tail, log.head) <= 0,
    `log from ${eversionText(other.tail)} does not meet ours up to ${eversionText(log.head)}`,
  );
  const common = commonVersion(log, other);
  const result: MergeResult = { undo: [], remove: [], added: [], rewoundTo: undefined };
  const lacked = new Set(missing.items.keys());
  let divergent: LogEntry[] = [];
  if (compareEVersion(common, log.head) < 0) {
    divergent = log.rewind(common);
    result.rewoundTo = common;
  }
  const remove = (oid: HObject): void => void result.remove.push(oid);
  for (const entry of other.entries) {
    if (compareEVersion(entry.version, common) <= 0) continue;
    log.append(entry);
    result.added.push(entry);
    if (entry.op === 'error' || compareHObject(entry.oid, lastBackfill) > 0) continue;
    missing.addNext(entry);
    if (entry.op === 'delete') remove(entry.oid);
  }
  log.raiseHead(other.head);
  const undo: Undo | undefined =
    rollback === undefined
      ? undefined
      : {
          can: (version) => rollback.can(version),
          undo: (entries) => void result.undo.push(...rollback.undo(entries)),
        };
  mergeDivergent(divergent, lacked, log, missing, lastBackfill, remove, undo);
  if (rollback !== undefined && result.rewoundTo !== undefined) result.undo.push(...rollback.rewound(result.rewoundTo));
  return result;
}

/**
 * What a replica will lack once it has taken our log over: its own missing set, corrected for entries that only it has. Gives the version up to which its
 * log agrees with ours.
 */
export function judgeReplica(
  log: PgLog,
  other: LogSegment,
  missing: MissingSet,
  lastBackfill: HObject,
  undoable?: ReadonlySet<number>,
): EVersion {
  const common = commonVersion(log, other);
  const agreed = other.entries.filter((entry) => compareEVersion(entry.version, common) <= 0);
  const divergent = other.entries.filter((entry) => compareEVersion(entry.version, common) > 0);
  if (divergent.length > 0) {
    const theirs = new PgLog();
    theirs.reset({ tail: other.tail, head: common, entries: agreed });
    const undo =
      undoable === undefined
        ? undefined
        : { can: (version: EVersion) => undoable.has(version.version), undo: () => undefined };
    const lacked = new Set(missing.items.keys());
    mergeDivergent(divergent, lacked, theirs, missing, lastBackfill, () => undefined, undo);
  }
  return common;
}
