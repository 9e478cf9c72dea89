import { assert } from '../base/errors.ts';
import { limitEntries } from './log.ts';
import { emptyConfiguration } from './membership.ts';
import type { Entry, HardState, RaftStorage, SnapshotMeta } from './types.ts';

/**
 * The newest part of a log in memory: what a leader sends to followers, and what is not applied yet. Older entries are let go (`compact`); a
 * follower that needs them gets a snapshot.
 */
export class MemoryStorage implements RaftStorage {
  hardState: HardState = { term: 0, vote: 0, commit: 0 };
  snapshot: SnapshotMeta = { index: 0, term: 0, configuration: emptyConfiguration };
  #entries: Entry[] = [];
  /** Index and term of the entry before the first one held. */
  #before = { index: 0, term: 0 };
  bytes = 0;

  initialState(): { hardState: HardState; snapshot: SnapshotMeta } {
    return { hardState: this.hardState, snapshot: this.snapshot };
  }

  get firstIndex(): number {
    return this.#before.index + 1;
  }

  get lastIndex(): number {
    return this.#before.index + this.#entries.length;
  }

  term(index: number): number | undefined {
    if (index === this.#before.index) return this.#before.term;
    return this.#entries[index - this.#before.index - 1]?.term;
  }

  entries(from: number, before: number, maxBytes: number): Entry[] {
    assert(from >= this.firstIndex && before <= this.lastIndex + 1, `entries ${from} to ${before} are not held`);
    const start = from - this.firstIndex;
    // Copy no more of a long log than can be sent.
    let end = start;
    for (let bytes = 0; end < before - this.firstIndex && (end === start || bytes < maxBytes); end++)
      bytes += this.#entries[end]!.bytes;
    return limitEntries(this.#entries.slice(start, end), maxBytes);
  }

  /** Replaces what conflicts. */
  append(entries: readonly Entry[]): void {
    const first = entries[0];
    if (first === undefined) return;
    assert(first.index >= this.firstIndex && first.index <= this.lastIndex + 1, `entry ${first.index} leaves a gap`);
    if (first.index <= this.lastIndex)
      for (const gone of this.#entries.splice(first.index - this.firstIndex)) this.bytes -= gone.bytes;
    for (const entry of entries) {
      this.#entries.push(entry);
      this.bytes += entry.bytes;
    }
  }

  /** Begins anew behind an index. */
  reset(index: number, term: number): void {
    this.#entries = [];
    this.bytes = 0;
    this.#before = { index, term };
  }

  /** Lets go of entries up to and with `index`. */
  compact(index: number): void {
    if (index < this.firstIndex) return;
    const term = this.term(index);
    assert(term !== undefined, `compaction to entry ${index}, which is not held`);
    const gone = this.#entries.splice(0, index - this.#before.index);
    for (const entry of gone) this.bytes -= entry.bytes;
    this.#before = { index, term };
  }

  /** The newest index up to which entries can go so that at most `maxBytes` remain. */
  indexToKeep(maxBytes: number): number {
    let index = this.#before.index;
    let { bytes } = this;
    for (let i = 0; bytes > maxBytes && i < this.#entries.length; i++) {
      bytes -= this.#entries[i]!.bytes;
      index++;
    }
    return index;
  }
}
