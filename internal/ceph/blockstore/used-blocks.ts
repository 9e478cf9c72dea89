import { mapChunkBlocks, type Run } from './allocator.ts';
import type { CountedRun } from './share.ts';

const chunkWords = mapChunkBlocks / 32;

/** Which blocks objects use, counted from their tables: what the map of used blocks and the shares should say. */
export class UsedBlocks {
  readonly totalBlocks: number;
  readonly #chunks = new Map<number, Uint32Array>();
  /** Start and count of every use, by share. */
  readonly #shareUses = new Map<number, number[]>();
  /** Runs of blocks that are used by more than they can have. */
  readonly twice: Run[] = [];

  constructor(totalBlocks: number) {
    this.totalBlocks = totalBlocks;
  }

  /** A run of an object's table. */
  add(run: Run, share: number): void {
    if (share === 0) this.#mark(run);
    else {
      const uses = this.#shareUses.get(share);
      if (uses === undefined) this.#shareUses.set(share, [run.start, run.count]);
      else uses.push(run.start, run.count);
    }
  }

  #mark(run: Run): void {
    for (let block = run.start; block < run.start + run.count; block++) {
      const index = Math.floor(block / mapChunkBlocks);
      let chunk = this.#chunks.get(index);
      if (chunk === undefined) {
        chunk = new Uint32Array(chunkWords);
        this.#chunks.set(index, chunk);
      }
      const at = block % mapChunkBlocks;
      const bit = 1 << (at & 31);
      if ((chunk[at >>> 5]! & bit) === 0) chunk[at >>> 5]! |= bit;
      else {
        const last = this.twice.at(-1);
        if (last !== undefined && last.start + last.count === block) last.count++;
        else this.twice.push({ start: block, count: 1 });
      }
    }
  }

  /** When every object was added: what each share should hold. Its blocks count as used from then on. */
  shares(): Map<number, CountedRun[]> {
    const out = new Map<number, CountedRun[]>();
    for (const [share, uses] of this.#shareUses) {
      const runs = countUses(uses);
      for (const run of runs) this.#mark(run);
      out.set(share, runs);
    }
    return out;
  }

  /** A chunk of the map as the index should have it; undefined when nothing in it is used. */
  chunk(index: number): Uint8Array | undefined {
    const chunk = this.#chunks.get(index);
    return chunk && new Uint8Array(chunk.buffer);
  }

  /** Chunks with used blocks. */
  chunks(): number[] {
    return [...this.#chunks.keys()];
  }
}

/** How often each block occurs in a list of start and count: runs, ascending, as a `Share` has them. */
export function countUses(uses: readonly number[]): CountedRun[] {
  const edges: { at: number; change: number }[] = [];
  for (let i = 0; i < uses.length; i += 2)
    edges.push({ at: uses[i]!, change: 1 }, { at: uses[i]! + uses[i + 1]!, change: -1 });
  edges.sort((a, b) => a.at - b.at);
  const runs: CountedRun[] = [];
  let refs = 0;
  let from = 0;
  for (const { at, change } of edges) {
    if (at > from && refs > 0) {
      const last = runs.at(-1);
      if (last !== undefined && last.start + last.count === from && last.refs === refs) last.count += at - from;
      else runs.push({ start: from, count: at - from, refs });
    }
    from = at;
    refs += change;
  }
  return runs;
}
