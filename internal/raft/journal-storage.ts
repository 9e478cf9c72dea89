import { ByteReader, ByteWriter } from '../base/bytes.ts';
import type { Durability, Journal } from '../journal/api.ts';
import { RaftStorageError } from './errors.ts';
import { MemoryStorage } from './memory-storage.ts';
import type { Entry, EntryType, HardState, RaftStorage, Ready, SnapshotMeta } from './types.ts';

/**
 * The log of one member in a journal. The journal only grows: an entry with an index that was there takes the place of that entry and of all behind
 * it. Records, each beginning with `formatVersion`:
 *
 * | type | |
 * |---|---|
 * | 1 | an entry of the time before there were groups: index and journal index are the same, the term is 1, the payload is the command |
 * | 2 | an entry: kind (u8), index, term, commit index when it was written (u64 each), the command |
 * | 3 | hard state: term, vote, commit, index and term of the newest entry (u64 each) |
 * | 4 | a snapshot took the place of the log: index, term (u64 each) |
 */
const recordTypes = { plainEntry: 1, entry: 2, hardState: 3, snapshot: 4 } as const;
const formatVersion = 1;
const entryKinds: readonly EntryType[] = ['command', 'empty', 'membership'];
/** The term of entries of type 1. */
export const plainTerm = 1;

/** Where the state machine is: the log before is not needed. */
export interface AppliedState extends SnapshotMeta {}

export interface JournalStorageOptions {
  journal: Journal;
  /** For messages. */
  dir: string;
  applied: AppliedState;
  /** A whole snapshot that was received and may have been about to take the place of the state when this member ended. */
  received?: AppliedState;
}

export class JournalStorage implements RaftStorage {
  readonly #journal: Journal;
  readonly #memory = new MemoryStorage();
  readonly #dir: string;
  #hardState: HardState = { term: 0, vote: 0, commit: 0 };
  /** The journal's index of the newest hard state: it must not be reclaimed. */
  #hardStateRecord = 0;
  /** Where entries are in the journal: the first of each run, in which both indexes rise together. */
  #runs: { index: number; record: number }[] = [];
  #lastWrite: Promise<void> | undefined;
  /** Bytes handed to the journal. */
  bytesWritten = 0;
  /** After opening: the received snapshot must take the place of the state; the log begins behind it already. */
  installReceived = false;

  private constructor(options: JournalStorageOptions) {
    this.#journal = options.journal;
    this.#dir = options.dir;
    const { applied } = options;
    this.#memory.snapshot = applied;
    this.#memory.reset(applied.index, applied.term);
  }

  /** Reads the journal. Throws RaftStorageError when it does not reach what the state machine contains, or has a gap. */
  static async open(options: JournalStorageOptions): Promise<JournalStorage> {
    const storage = new JournalStorage(options);
    await storage.#load(options.applied, options.received);
    return storage;
  }

  async #load(applied: AppliedState, received: AppliedState | undefined): Promise<void> {
    /** Newest entry the journal says there is; undefined while it said nothing. */
    let end: { index: number; term: number } | undefined;
    const take = (entry: Entry, record: number): void => {
      if (end !== undefined && entry.index > end.index + 1)
        throw new RaftStorageError(this.#dir, `entry ${entry.index} follows ${end.index}`);
      if (end === undefined && entry.index > applied.index + 1)
        throw new RaftStorageError(
          this.#dir,
          `the state ends at entry ${applied.index} and the journal begins at ${entry.index}`,
        );
      end = entry;
      this.#note(entry.index, record);
      // Whatever was read behind it is replaced, also when the entry itself is in the state already.
      if (entry.index <= applied.index) this.#memory.reset(applied.index, applied.term);
      else this.#memory.append([entry]);
    };
    let commit = 0;
    await this.#journal.replay(0, ({ index: record, type, payload }) => {
      if (type === recordTypes.plainEntry) {
        const data = payload.slice();
        take({ index: record, term: plainTerm, type: 'command', data: [data], bytes: data.length }, record);
        this.#hardState = { ...this.#hardState, term: Math.max(this.#hardState.term, plainTerm) };
        // One member: what is in the journal is committed.
        commit = record;
        return;
      }
      const r = new ByteReader(payload);
      const version = r.u8();
      if (version !== formatVersion)
        throw new RaftStorageError(this.#dir, `a record of format ${version}, this version reads ${formatVersion}`);
      if (type === recordTypes.entry) {
        const kind = entryKinds[r.u8()];
        if (kind === undefined) throw new RaftStorageError(this.#dir, 'an entry of unknown kind');
        const index = r.u64();
        const term = r.u64();
        commit = Math.max(commit, r.u64());
        const data = r.rest().slice();
        take({ index, term, type: kind, data: data.length > 0 ? [data] : [], bytes: data.length }, record);
      } else if (type === recordTypes.hardState) {
        this.#hardState = { term: r.u64(), vote: r.u64(), commit: 0 };
        this.#hardStateRecord = record;
        commit = Math.max(commit, r.u64());
        // Entries before this record may be gone; behind it they follow what it names.
        end = { index: r.u64(), term: r.u64() };
      } else if (type === recordTypes.snapshot) {
        end = { index: r.u64(), term: r.u64() };
        if (end.index > applied.index) {
          if (received?.index !== end.index)
            throw new RaftStorageError(this.#dir, `the snapshot of entry ${end.index} is missing`);
          this.installReceived = true;
          applied = received;
        }
        this.#memory.reset(applied.index, applied.term);
        this.#runs = [];
      } else throw new RaftStorageError(this.#dir, `a record of unknown type ${type}`);
    });
    if (end !== undefined && end.index < applied.index)
      throw new RaftStorageError(
        this.#dir,
        `the state contains entry ${applied.index}, the journal ends at ${end.index}`,
      );
    const replaces = received !== undefined && received.index > applied.index;
    if (replaces && this.#memory.term(received.index) !== received.term) {
      // What the core would have decided (`Raft`, snapshot): this log leads elsewhere.
      applied = received;
      this.installReceived = true;
      this.#memory.reset(applied.index, applied.term);
      await this.write({ snapshot: applied, hardState: undefined, entries: [], commit: applied.index }, false);
    }
    this.#memory.snapshot = applied;
    // A tail that was cut takes with it what it said of others; what is left is what was committed, up to there.
    const last = this.#memory.lastIndex;
    const term = Math.max(this.#hardState.term, this.#memory.term(last)!);
    const vote = term === this.#hardState.term ? this.#hardState.vote : 0;
    this.#hardState = { term, vote, commit: Math.max(applied.index, Math.min(commit, last)) };
    this.#memory.hardState = this.#hardState;
  }

  #note(index: number, record: number): void {
    const runs = this.#runs;
    while (runs.length > 0 && runs.at(-1)!.index >= index) runs.pop();
    const run = runs.at(-1);
    if (run === undefined || record - run.record !== index - run.index) runs.push({ index, record });
  }

  // --- RaftStorage

  initialState(): { hardState: HardState; snapshot: SnapshotMeta } {
    return this.#memory.initialState();
  }

  get firstIndex(): number {
    return this.#memory.firstIndex;
  }

  get lastIndex(): number {
    return this.#memory.lastIndex;
  }

  term(index: number): number | undefined {
    return this.#memory.term(index);
  }

  entries(from: number, before: number, maxBytes: number): Entry[] {
    return this.#memory.entries(from, before, maxBytes);
  }

  // --- writing

  /**
   * Appends what a Ready asks to store. Resolves when it is on disk, with everything written before; undefined when there is nothing to wait for.
   * With `alone`, entries that may be acknowledged earlier are.
   */
  write(
    ready: Pick<Ready, 'hardState' | 'entries' | 'snapshot' | 'commit'>,
    alone: boolean,
  ): Promise<void> | undefined {
    const { snapshot, hardState, entries } = ready;
    if (snapshot !== undefined) {
      this.#memory.reset(snapshot.index, snapshot.term);
      this.#runs = [];
      const out = new ByteWriter(17);
      this.#append(recordTypes.snapshot, [out.u8(formatVersion).u64(snapshot.index).u64(snapshot.term).finish()]);
      // The journal's end is now the snapshot's.
      this.#hardState = { ...this.#hardState, commit: ready.commit };
    }
    if (hardState !== undefined) {
      this.#hardState = hardState;
      this.#writeHardState();
    }
    for (const entry of entries) {
      const head = new ByteWriter(26);
      head.u8(formatVersion).u8(entryKinds.indexOf(entry.type)).u64(entry.index).u64(entry.term).u64(ready.commit);
      const durability = alone ? (entry.durability ?? 'durable') : 'durable';
      this.#note(entry.index, this.#append(recordTypes.entry, [head.finish(), ...entry.data], durability));
    }
    this.#memory.append(entries);
    return this.#lastWrite;
  }

  #writeHardState(): void {
    const { term, vote, commit } = this.#hardState;
    const last = this.#memory.lastIndex;
    const out = new ByteWriter(41).u8(formatVersion).u64(term).u64(vote).u64(commit);
    out.u64(last).u64(this.#memory.term(last)!);
    this.#hardStateRecord = this.#append(recordTypes.hardState, [out.finish()]);
  }

  #append(type: number, pieces: Uint8Array[], durability: Durability = 'durable'): number {
    for (const piece of pieces) this.bytesWritten += piece.length;
    const { index, done } = this.#journal.append(type, pieces, durability);
    // Done at once, and so not a sign that what was written before is.
    if (durability === 'deferred') return index;
    this.#lastWrite = done;
    const forget = (): void => {
      if (this.#lastWrite === done) this.#lastWrite = undefined;
    };
    done.then(forget, forget);
    return index;
  }

  /** Everything written is on disk, volatile entries too. */
  sync(): Promise<void> {
    return this.#journal.sync();
  }

  // --- letting go

  /** Lets go of entries in memory up to `applied`, except the newest `keepBytes`. */
  compact(applied: number, keepBytes: number): void {
    this.#memory.compact(Math.min(applied, this.#memory.indexToKeep(keepBytes)));
  }

  /** Bytes of entries in memory. */
  get memoryBytes(): number {
    return this.#memory.bytes;
  }

  /** What entries up to `applied` say is on disk elsewhere: their part of the journal may be used again. */
  async reclaim(applied: number): Promise<void> {
    const runs = this.#runs;
    let at = runs.findLastIndex(({ index }) => index <= applied + 1);
    if (at < 0) return;
    const run = runs[at]!;
    // The first entry that is still needed, or the place where it would be.
    const record = run.record + (applied + 1 - run.index);
    while (at-- > 0) runs.shift();
    const needed = Math.min(record, this.#runs[1]?.record ?? record);
    if (this.#hardStateRecord < needed) {
      this.#writeHardState();
      await this.#lastWrite;
    }
    this.#journal.reclaim(Math.min(needed, this.#hardStateRecord));
  }
}
