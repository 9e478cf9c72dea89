import { assert } from '../base/errors.ts';
import type { Entry, RaftStorage, SnapshotMeta } from './types.ts';

/** Entries whose bytes are counted in messages cost this much more. */
export const entryOverheadBytes = 32;

/** As many entries from the start of `entries` as fit, at least one. */
export function limitEntries(entries: Entry[], maxBytes: number): Entry[] {
  let bytes = 0;
  for (const [i, entry] of entries.entries()) {
    bytes += entry.bytes + entryOverheadBytes;
    if (bytes > maxBytes && i > 0) return entries.slice(0, i);
  }
  return entries;
}

/**
 * The log as the core sees it: what the shell has stored, and behind it what is not known to be on disk yet. A conflicting suffix is replaced in
 * `unstable` first; storage follows when the shell writes it.
 */
export class RaftLog {
  readonly #storage: RaftStorage;
  /** Entries not known to be on disk; the first has index `#offset`. */
  #unstable: Entry[] = [];
  #offset: number;
  /** Entries before this index were given out in a Ready. */
  #givenOut: number;
  /** A snapshot that takes the place of the log and was not stored yet. */
  #snapshot: SnapshotMeta | undefined;
  #snapshotGivenOut = false;
  committed: number;
  applied: number;

  constructor(storage: RaftStorage, commit: number, applied: number) {
    this.#storage = storage;
    this.#offset = storage.lastIndex + 1;
    this.#givenOut = this.#offset;
    this.committed = Math.max(applied, Math.min(commit, storage.lastIndex));
    this.applied = applied;
  }

  get firstIndex(): number {
    return this.#snapshot === undefined ? this.#storage.firstIndex : this.#snapshot.index + 1;
  }

  get lastIndex(): number {
    return this.#offset + this.#unstable.length - 1;
  }

  get lastTerm(): number {
    return this.term(this.lastIndex)!;
  }

  /** Everything up to here is on this member's disk. */
  get stableIndex(): number {
    return this.#offset - 1;
  }

  /** Undefined for what is not held any more, or not yet. */
  term(index: number): number | undefined {
    if (index >= this.#offset) return this.#unstable[index - this.#offset]?.term;
    if (this.#snapshot !== undefined) return index === this.#snapshot.index ? this.#snapshot.term : undefined;
    return this.#storage.term(index);
  }

  matches(index: number, term: number): boolean {
    return this.term(index) === term;
  }

  isUpToDate(lastIndex: number, lastTerm: number): boolean {
    const own = this.lastTerm;
    return lastTerm > own || (lastTerm === own && lastIndex >= this.lastIndex);
  }

  /** Entries of [from, before), at least one, as many as fit `maxBytes`; undefined when `from` is not held any more. */
  entries(from: number, before: number, maxBytes: number): Entry[] | undefined {
    if (from >= before) return [];
    if (from < this.firstIndex) return undefined;
    const stored = from < this.#offset ? this.#storage.entries(from, Math.min(before, this.#offset), maxBytes) : [];
    const next = from + stored.length;
    if (next < this.#offset || next >= before) return limitEntries(stored, maxBytes);
    const rest = this.#unstable.slice(next - this.#offset, before - this.#offset);
    return limitEntries(stored.length === 0 ? rest : [...stored, ...rest], maxBytes);
  }

  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index > this.committed, `entry ${first.index} would replace a committed one (${this.committed})`);
    assert(first.index <= this.lastIndex + 1, `entry ${first.index} would leave a gap behind ${this.lastIndex}`);
    if (first.index <= this.lastIndex) {
      if (first.index < this.#offset) {
        this.#offset = first.index;
        this.#unstable = [];
      } else this.#unstable.length = first.index - this.#offset;
      this.#givenOut = Math.min(this.#givenOut, first.index);
    }
    for (const entry of entries) this.#unstable.push(entry);
  }

  /**
   * A leader's entries behind `prevIndex`. The index of the first one that was new (undefined: none was), or `'mismatch'` when the entry before them
   * is another one here.
   */
  appendAfter(prevIndex: number, prevTerm: number, entries: readonly Entry[]): 'mismatch' | number | undefined {
    if (!this.matches(prevIndex, prevTerm)) return 'mismatch';
    const conflict = entries.findIndex((entry) => !this.matches(entry.index, entry.term));
    if (conflict < 0) return undefined;
    this.append(entries.slice(conflict));
    return entries[conflict]!.index;
  }

  /**
   * The newest index <= `index` whose term is <= `term`: nothing behind it can be the same as in a log that has `term` at `index`. Skips a whole
   * term at a time (5.3 of the paper, last paragraph). `term` is undefined where the log does not reach back.
   */
  lastWithTermAtMost(index: number, term: number): { index: number; term: number | undefined } {
    for (; index > 0; index--) {
      const own = this.term(index);
      if (own === undefined || own <= term) return { index, term: own };
    }
    return { index: 0, term: 0 };
  }

  commitTo(index: number): boolean {
    if (index <= this.committed) return false;
    assert(index <= this.lastIndex, `commit of entry ${index}, the log ends at ${this.lastIndex}`);
    this.committed = index;
    return true;
  }

  /** Takes the place of the whole log. */
  restore(meta: SnapshotMeta): void {
    this.#snapshot = meta;
    this.#snapshotGivenOut = false;
    this.#unstable = [];
    this.#offset = meta.index + 1;
    this.#givenOut = this.#offset;
    this.committed = meta.index;
  }

  // --- between the core and the shell

  get hasUnsaved(): boolean {
    return this.#givenOut <= this.lastIndex || (this.#snapshot !== undefined && !this.#snapshotGivenOut);
  }

  /** What the shell has to write and was not given before. */
  takeUnsaved(): { snapshot: SnapshotMeta | undefined; entries: Entry[] } {
    const snapshot = this.#snapshotGivenOut ? undefined : this.#snapshot;
    this.#snapshotGivenOut = this.#snapshot !== undefined;
    const entries = this.#unstable.slice(this.#givenOut - this.#offset);
    this.#givenOut = this.lastIndex + 1;
    return { snapshot, entries };
  }

  /** The entry is on disk, with all before it. False when it was replaced meanwhile. */
  stableTo(index: number, term: number): boolean {
    if (index < this.#offset) return this.term(index) === term;
    if (this.term(index) !== term || this.#snapshot !== undefined) return false;
    this.#unstable.splice(0, index + 1 - this.#offset);
    this.#offset = index + 1;
    return true;
  }

  /** The snapshot is in storage, which now begins behind it. */
  snapshotStored(meta: SnapshotMeta): void {
    if (this.#snapshot?.index !== meta.index) return;
    this.#snapshot = undefined;
    this.applied = Math.max(this.applied, meta.index);
  }

  get hasCommitted(): boolean {
    return this.#snapshot === undefined && this.applied < Math.min(this.committed, this.stableIndex);
  }

  /** What may be applied: committed, on this disk, and not applied. */
  nextCommitted(maxBytes: number): Entry[] {
    if (!this.hasCommitted) return [];
    const before = Math.min(this.committed, this.stableIndex) + 1;
    const entries = this.entries(this.applied + 1, before, maxBytes);
    assert(entries !== undefined, `entry ${this.applied + 1} is committed, not applied and not held`);
    return entries;
  }

  appliedTo(index: number): void {
    assert(index >= this.applied && index <= this.committed, `applied ${index}: ${this.applied}..${this.committed}`);
    this.applied = index;
  }
}
