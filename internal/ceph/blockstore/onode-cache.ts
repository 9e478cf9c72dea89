import type { Onode } from './onode.ts';

/** Objects looked at in one search for something to let go. */
const evictLooks = 64;

/**
 * Objects in memory, in the order of their use. One that a checkpoint has still to write, or is writing, cannot be read back from the index
 * yet and stays.
 */
export class OnodeCache {
  readonly #limitBytes: number;
  #bytes = 0;
  #newest: Onode | undefined;
  #oldest: Onode | undefined;
  /** Objects changed in later generations stay. */
  #writtenGeneration = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add(onode: Onode): void {
    onode.collection.onodes.set(onode.name, onode);
    onode.countedBytes = onode.memoryBytes;
    this.#bytes += onode.countedBytes;
    this.#link(onode);
    if (this.#bytes > this.#limitBytes) this.#evict();
  }

  use(onode: Onode): void {
    if (onode === this.#newest) return;
    this.#unlink(onode);
    this.#link(onode);
  }

  remove(onode: Onode): void {
    onode.collection.onodes.delete(onode.name);
    this.#bytes -= onode.countedBytes;
    this.#unlink(onode);
  }

  /** The index holds what was changed up to this generation. */
  unpin(generation: number): void {
    this.#writtenGeneration = generation;
    while (this.#bytes > this.#limitBytes) if (!this.#evict()) return;
  }

  /** Returns whether something was let go. */
  #evict(): boolean {
    const before = this.#bytes;
    let onode = this.#oldest;
    for (let looks = evictLooks; looks > 0 && onode !== undefined && this.#bytes > this.#limitBytes; looks--) {
      const next: Onode | undefined = onode.newer;
      if (onode.generation <= this.#writtenGeneration) this.remove(onode);
      // Out of the way of the next search.
      else this.use(onode);
      onode = next;
    }
    return this.#bytes < before;
  }

  #link(onode: Onode): void {
    onode.older = this.#newest;
    onode.newer = undefined;
    if (this.#newest !== undefined) this.#newest.newer = onode;
    this.#newest = onode;
    this.#oldest ??= onode;
  }

  #unlink(onode: Onode): void {
    if (onode.older !== undefined) onode.older.newer = onode.newer;
    if (onode.newer !== undefined) onode.newer.older = onode.older;
    if (this.#newest === onode) this.#newest = onode.older;
    if (this.#oldest === onode) this.#oldest = onode.newer;
    onode.older = undefined;
    onode.newer = undefined;
  }
}
