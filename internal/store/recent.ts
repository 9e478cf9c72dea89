import type { WatchEvent } from './api.ts';

/** All events of one revision. */
export interface RevisionEvents {
  readonly revision: number;
  readonly events: readonly WatchEvent[];
}

interface Slot extends RevisionEvents {
  readonly bytes: number;
}

const eventOverheadBytes = 200;

const trimmed: Slot = { revision: 0, events: [], bytes: 0 };

/**
 * The events of the newest revisions in memory. What watches read from here; older ones come from the database. Trimmed by bytes, but never
 * beyond what the database has (`keepFrom`).
 */
export class RecentEvents {
  #slots: Slot[] = [];
  #head = 0;
  #bytes = 0;
  readonly #maxBytes: number;
  /** Every revision >= this one that has events is here. */
  first: number;

  constructor(first: number, maxBytes: number) {
    this.first = first;
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(revision: number, events: readonly WatchEvent[]): void {
    let bytes = 0;
    for (const { kv, prevKv } of events)
      bytes += eventOverheadBytes + kv.key.length + kv.value.length + (prevKv === undefined ? 0 : prevKv.value.length);
    this.#slots.push({ revision, events, bytes });
    this.#bytes += bytes;
  }

  /** Drops the oldest while there are more bytes than allowed and the revision is < `keepFrom`. */
  trim(keepFrom: number): void {
    while (this.#bytes > this.#maxBytes && this.#head < this.#slots.length) {
      const slot = this.#slots[this.#head]!;
      if (slot.revision >= keepFrom) break;
      this.#bytes -= slot.bytes;
      this.first = slot.revision + 1;
      // Its place goes later, with many others; what it held goes now.
      this.#slots[this.#head++] = trimmed;
    }
    if (this.#head > 1024 && this.#head * 2 > this.#slots.length) {
      this.#slots = this.#slots.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Forgets everything: what comes next has this revision or a later one. */
  reset(first: number): void {
    this.#slots = [];
    this.#head = 0;
    this.#bytes = 0;
    this.first = first;
  }

  /** The slots with revision >= `from`, oldest first; `from` must not be older than `first`. */
  *since(from: number): Generator<RevisionEvents> {
    let low = this.#head;
    let high = this.#slots.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#slots[middle]!.revision < from) low = middle + 1;
      else high = middle;
    }
    for (let i = low; i < this.#slots.length; i++) yield this.#slots[i]!;
  }
}
