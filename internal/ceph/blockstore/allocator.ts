import { assert } from '../../base/errors.ts';

/** A range of blocks of the data file. */
export interface Run {
  start: number;
  count: number;
}

/** Blocks of one chunk of the map: 128 MiB. */
export const mapChunkBlocks = 32768;
const chunkWords = mapChunkBlocks / 32;
/** Large allocations look for runs of this many blocks first. */
const goodRunBlocks = 64;

/**
 * Which blocks of the data file are free. A freed block is held until `release`: the transaction that freed it must be on disk before another
 * may write there. What is persisted is the state as of the last applied transaction, in which held blocks are free.
 */
export class Allocator {
  readonly totalBlocks: number;
  /** Bits of blocks in use or held; a chunk that is not there is free. */
  readonly #chunks = new Map<number, { bits: Uint32Array; free: number }>();
  readonly #held = new Map<number, number>();
  #heldBlocks = 0;
  #freeBlocks: number;
  #dirty = new Set<number>();
  /** Where the last search for a few blocks, and for many, ended. */
  #cursorSmall: number;
  #cursorLarge: number;

  /** Block 0 is never given out: it marks a hole. */
  constructor(totalBlocks: number) {
    this.totalBlocks = totalBlocks;
    this.#freeBlocks = totalBlocks;
    this.#mark({ start: 0, count: 1 });
    this.#cursorSmall = 1;
    // Apart from small writes, so that large ones find long runs.
    this.#cursorLarge = 1 + Math.floor(totalBlocks / 8);
  }

  /** Blocks that can be given out now. */
  get freeBlocks(): number {
    return this.#freeBlocks;
  }

  /** Blocks freed by transactions that are not on disk yet. */
  get heldBlocks(): number {
    return this.#heldBlocks;
  }

  /** Blocks that objects use. */
  get usedBlocks(): number {
    return this.totalBlocks - 1 - this.#freeBlocks - this.#heldBlocks;
  }

  get memoryBytes(): number {
    return this.#chunks.size * (chunkWords * 4 + 200);
  }

  /** Takes `count` blocks, near each other and behind `hint` when that is free. The caller has checked `freeBlocks`. */
  allocate(count: number, hint = 0): Run[] {
    assert(count <= this.#freeBlocks, () => `${count} blocks wanted, ${this.#freeBlocks} free`);
    const out: Run[] = [];
    let left = count;
    const take = (run: Run): void => {
      this.#mark(run);
      const last = out.at(-1);
      if (last && last.start + last.count === run.start) last.count += run.count;
      else out.push(run);
      left -= run.count;
    };
    if (hint > 0) {
      const run = this.#freeRunAt(hint, left);
      if (run > 0) take({ start: hint, count: run });
    }
    const large = count >= goodRunBlocks;
    for (const least of large ? [Math.min(left, goodRunBlocks), 1] : [1]) {
      let from = large ? this.#cursorLarge : this.#cursorSmall;
      const stop = from;
      let wrapped = false;
      while (left > 0) {
        const run = this.#nextFree(from, wrapped ? stop : this.totalBlocks, Math.min(least, left), left);
        if (run === undefined) {
          if (wrapped) break;
          wrapped = true;
          from = 1;
          continue;
        }
        take(run);
        from = run.start + run.count;
      }
      if (large) this.#cursorLarge = from;
      else this.#cursorSmall = from;
    }
    assert(left === 0, () => `${left} of ${count} free blocks not found`);
    return out;
  }

  /** Takes exactly these blocks: replay of the journal, or of what an index holds. */
  take(run: Run): void {
    this.#mark(run);
  }

  /** No object uses these blocks any more; they are held until `release`. */
  free(run: Run): void {
    this.#touch(run);
    this.#held.set(run.start, run.count);
    this.#heldBlocks += run.count;
  }

  /** A run that was freed may be used again. */
  release(run: Run): void {
    const held = this.#held.get(run.start);
    assert(held === run.count, () => `release of ${run.count} blocks at ${run.start}, ${held} are held`);
    this.#held.delete(run.start);
    this.#heldBlocks -= run.count;
    for (let block = run.start; block < run.start + run.count; block++) {
      const chunk = this.#chunk(Math.floor(block / mapChunkBlocks));
      const at = block % mapChunkBlocks;
      const bit = 1 << (at & 31);
      assert((chunk.bits[at >>> 5]! & bit) !== 0, () => `block ${block} freed twice`);
      chunk.bits[at >>> 5]! &= ~bit;
      chunk.free++;
    }
    this.#freeBlocks += run.count;
    for (let index = Math.floor(run.start / mapChunkBlocks); index * mapChunkBlocks < run.start + run.count; index++)
      if (this.#chunks.get(index)?.free === mapChunkBlocks) this.#chunks.delete(index);
  }

  /** Whether nobody uses or holds any of these blocks. */
  isFree(run: Run): boolean {
    return this.#freeRunAt(run.start, run.count) === run.count;
  }

  /** The chunks changed since the last call, as of the last applied transaction; undefined for one without used blocks. */
  takeDirty(): Map<number, Uint8Array | undefined> {
    const out = new Map<number, Uint8Array | undefined>();
    for (const index of this.#dirty) {
      const chunk = this.#chunks.get(index);
      out.set(index, chunk && new Uint8Array(chunk.bits.slice().buffer));
    }
    for (const [start, count] of this.#held)
      for (let block = start; block < start + count; block++) {
        const bits = out.get(Math.floor(block / mapChunkBlocks));
        const at = block % mapChunkBlocks;
        if (bits) bits[at >>> 3]! &= ~(1 << (at & 7));
      }
    for (const [index, bits] of out) if (bits?.every((byte) => byte === 0)) out.set(index, undefined);
    this.#dirty = new Set();
    return out;
  }

  /** Takes over a chunk that `takeDirty` gave; before anything else is allocated. */
  load(index: number, bytes: Uint8Array): void {
    const bits = new Uint32Array(chunkWords);
    new Uint8Array(bits.buffer).set(bytes.subarray(0, chunkWords * 4));
    // The mark of block 0 is there before and is not part of what objects use.
    if (index === 0) bits[0]! |= 1;
    let used = 0;
    for (const word of bits) used += ones(word);
    const before = this.#chunks.get(index);
    this.#freeBlocks -= used - (before === undefined ? 0 : mapChunkBlocks - before.free);
    this.#chunks.set(index, { bits, free: mapChunkBlocks - used });
  }

  #chunk(index: number): { bits: Uint32Array; free: number } {
    let chunk = this.#chunks.get(index);
    if (chunk === undefined) {
      chunk = { bits: new Uint32Array(chunkWords), free: mapChunkBlocks };
      this.#chunks.set(index, chunk);
    }
    return chunk;
  }

  #touch(run: Run): void {
    for (let index = Math.floor(run.start / mapChunkBlocks); index * mapChunkBlocks < run.start + run.count; index++)
      this.#dirty.add(index);
  }

  #mark(run: Run): void {
    assert(run.start + run.count <= this.totalBlocks, () => `blocks ${run.start}+${run.count} of ${this.totalBlocks}`);
    this.#touch(run);
    for (let block = run.start; block < run.start + run.count; block++) {
      const chunk = this.#chunk(Math.floor(block / mapChunkBlocks));
      const at = block % mapChunkBlocks;
      const bit = 1 << (at & 31);
      assert((chunk.bits[at >>> 5]! & bit) === 0, () => `block ${block} given out twice`);
      chunk.bits[at >>> 5]! |= bit;
      chunk.free--;
    }
    this.#freeBlocks -= run.count;
  }

  #isFree(block: number): boolean {
    const chunk = this.#chunks.get(Math.floor(block / mapChunkBlocks));
    const at = block % mapChunkBlocks;
    return chunk === undefined || (chunk.bits[at >>> 5]! & (1 << (at & 31))) === 0;
  }

  /** Free blocks from `start` on, at most `most`. */
  #freeRunAt(start: number, most: number): number {
    let count = 0;
    while (count < most && start + count < this.totalBlocks && this.#isFree(start + count)) count++;
    return count;
  }

  /** The next free run of at least `least` blocks in [from, end), cut at `most`. */
  #nextFree(from: number, end: number, least: number, most: number): Run | undefined {
    let at = from;
    while (at < end) {
      const index = Math.floor(at / mapChunkBlocks);
      const chunk = this.#chunks.get(index);
      if (chunk !== undefined) {
        if (chunk.free < least) {
          at = (index + 1) * mapChunkBlocks;
          continue;
        }
        const word = chunk.bits[(at % mapChunkBlocks) >>> 5]!;
        if (word === 0xffffffff) {
          at = (Math.floor(at / 32) + 1) * 32;
          continue;
        }
        if (word & (1 << (at & 31))) {
          at++;
          continue;
        }
      }
      const count = Math.min(this.#freeRunAt(at, most), end - at);
      if (count >= least) return { start: at, count };
      at += Math.max(1, count);
    }
    return undefined;
  }
}

/** Bits set in a 32-bit word. */
function ones(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
