import type { CollectionId, ObjectKey } from './api.ts';

/** What is wrong with a store, of which kind. The names are for programs and never change their meaning. */
export type FaultKind =
  /** The index cannot be read. */
  | 'index'
  /** The journal cannot be read, or does not follow from the index. */
  | 'journal'
  /** A collection's row, or the sums over the store. */
  | 'sums'
  /** The row of an object cannot be read, or cannot be true. */
  | 'object'
  /** A row of an object that is in no collection. */
  | 'stray-object'
  /** Blocks whose content has another checksum than when it was written. */
  | 'checksum'
  /** Blocks of which two objects believe that they are theirs alone. */
  | 'block-twice'
  /** Blocks that objects use and that count as free. */
  | 'block-free'
  /** Blocks that count as used and that no object has. */
  | 'block-lost'
  /** Counts of how many objects use a block. */
  | 'share'
  /** Key-value rows. */
  | 'omap'
  /** What the OSD itself keeps: its maps, what it knows of itself. */
  | 'osd'
  /** Info, log or missing objects of a PG. */
  | 'pg'
  /** What the OSD keeps with an object, beside what clients stored. */
  | 'object-info';

/**
 * What repair does about a fault. `rebuilt`: it is put right from what the objects say. `removed`: it is of no use to anybody and goes. `fetched`: the object is
 * marked as missing, so that the OSD gets it from another copy. `none`: nothing can be done here without inventing data.
 */
export type Mend = 'rebuilt' | 'removed' | 'fetched' | 'none';

export interface Fault {
  readonly kind: FaultKind;
  /** In words, with what it is about. */
  readonly text: string;
  readonly mend: Mend;
  readonly cid?: CollectionId;
  readonly key?: ObjectKey;
}

/** Takes faults one by one; remembers so many of them, and counts the rest. */
export class FaultList {
  readonly faults: Fault[] = [];
  readonly #most: number;
  count = 0;

  constructor(most = 10_000) {
    this.#most = most;
  }

  add(fault: Fault): void {
    this.count++;
    if (this.faults.length < this.#most) this.faults.push(fault);
  }
}
