import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { DecodeError } from '../../base/bytes.ts';

/** Blocks of one chunk: 4 MiB of an object. */
const chunkBlocks = 1024;
/** Blocks an object may have: 4 TiB; a bound for damaged or hostile input. */
export const maxObjectBlocks = 2 ** 30;

interface Chunk {
  /** Physical block and checksum of block i at 2i and 2i+1; physical 0 is a hole. */
  cells: Uint32Array;
  /** Share of block i, 0 for none; made when needed. */
  shares: Uint32Array | undefined;
}

/** A run of blocks that lie behind each other in the object and in the data file, with one share. */
export interface BlockRun {
  logical: number;
  physical: number;
  count: number;
  share: number;
}

/**
 * Where the blocks of one object are: for each 4 KiB block its place in the data file, its crc32c and, when a clone may use it too, the share
 * that counts its users. Dense inside chunks, so that a random overwrite is one store.
 */
export class BlockTable {
  readonly #chunks = new Map<number, Chunk>();
  #mapped = 0;

  /** Blocks that are not holes. */
  get mapped(): number {
    return this.#mapped;
  }

  /** Memory it takes, in bytes, about. */
  get memoryBytes(): number {
    let bytes = 64;
    for (const chunk of this.#chunks.values()) bytes += 160 + chunk.cells.length * (chunk.shares ? 6 : 4);
    return bytes;
  }

  /** Place of a block in the data file, 0 for a hole. */
  physical(block: number): number {
    const chunk = this.#chunks.get(Math.floor(block / chunkBlocks));
    return chunk?.cells[2 * (block % chunkBlocks)] ?? 0;
  }

  crc(block: number): number {
    const chunk = this.#chunks.get(Math.floor(block / chunkBlocks));
    return chunk?.cells[2 * (block % chunkBlocks) + 1] ?? 0;
  }

  share(block: number): number {
    const chunk = this.#chunks.get(Math.floor(block / chunkBlocks));
    return chunk?.shares?.[block % chunkBlocks] ?? 0;
  }

  set(block: number, physical: number, crc: number, share: number): void {
    const chunk = this.#room(block);
    const at = block % chunkBlocks;
    if (chunk.cells[2 * at] === 0) this.#mapped++;
    chunk.cells[2 * at] = physical;
    chunk.cells[2 * at + 1] = crc;
    if (share !== 0) chunk.shares ??= new Uint32Array(chunk.cells.length / 2);
    if (chunk.shares) chunk.shares[at] = share;
  }

  setCrc(block: number, crc: number): void {
    this.#room(block).cells[2 * (block % chunkBlocks) + 1] = crc;
  }

  clear(block: number): void {
    const index = Math.floor(block / chunkBlocks);
    const chunk = this.#chunks.get(index);
    const at = block % chunkBlocks;
    if (chunk === undefined || !chunk.cells[2 * at]) return;
    chunk.cells[2 * at] = 0;
    chunk.cells[2 * at + 1] = 0;
    if (chunk.shares) chunk.shares[at] = 0;
    this.#mapped--;
  }

  /** Gives back chunks that hold nothing behind `end` blocks. */
  shrink(end: number): void {
    for (const index of [...this.#chunks.keys()]) if (index * chunkBlocks >= end) this.#chunks.delete(index);
  }

  copy(): BlockTable {
    const out = new BlockTable();
    out.#mapped = this.#mapped;
    for (const [index, chunk] of this.#chunks)
      out.#chunks.set(index, { cells: chunk.cells.slice(), shares: chunk.shares?.slice() });
    return out;
  }

  /** Calls `fn` for the mapped runs inside [first, end), ascending. */
  forEachRun(first: number, end: number, fn: (run: BlockRun) => void): void {
    let run: BlockRun | undefined;
    for (const index of [...this.#chunks.keys()].sort((a, b) => a - b)) {
      const base = index * chunkBlocks;
      const chunk = this.#chunks.get(index)!;
      const to = Math.min(chunk.cells.length / 2, end - base);
      for (let at = Math.max(0, first - base); at < to; at++) {
        const physical = chunk.cells[2 * at]!;
        if (physical === 0) continue;
        const share = chunk.shares?.[at] ?? 0;
        const logical = base + at;
        if (
          run !== undefined &&
          run.logical + run.count === logical &&
          run.physical + run.count === physical &&
          run.share === share
        ) {
          run.count++;
        } else {
          if (run !== undefined) fn(run);
          run = { logical, physical, count: 1, share };
        }
      }
    }
    if (run !== undefined) fn(run);
  }

  encode(writer: ByteWriter): void {
    const runs: BlockRun[] = [];
    this.forEachRun(0, maxObjectBlocks, (run) => runs.push({ ...run }));
    writer.u32(runs.length);
    for (const run of runs) {
      writer.u32(run.logical).u32(run.physical).u32(run.count).u32(run.share);
      for (let i = 0; i < run.count; i++) writer.u32(this.crc(run.logical + i));
    }
  }

  static decode(reader: ByteReader): BlockTable {
    const out = new BlockTable();
    const runs = reader.u32();
    for (let r = 0; r < runs; r++) {
      const logical = reader.u32();
      const physical = reader.u32();
      const count = reader.u32();
      const share = reader.u32();
      if (logical + count > maxObjectBlocks || physical === 0 || count * 4 > reader.remaining)
        throw new DecodeError(`a run of ${count} blocks at ${logical}`);
      for (let i = 0; i < count; i++) out.set(logical + i, physical + i, reader.u32(), share);
    }
    return out;
  }

  #room(block: number): Chunk {
    const index = Math.floor(block / chunkBlocks);
    const need = (block % chunkBlocks) + 1;
    let chunk = this.#chunks.get(index);
    if (chunk === undefined) {
      chunk = { cells: new Uint32Array(2 * roundUp(need)), shares: undefined };
      this.#chunks.set(index, chunk);
    } else if (chunk.cells.length < 2 * need) {
      const cells = new Uint32Array(2 * roundUp(need));
      cells.set(chunk.cells);
      chunk.cells = cells;
      if (chunk.shares) {
        const shares = new Uint32Array(cells.length / 2);
        shares.set(chunk.shares);
        chunk.shares = shares;
      }
    }
    return chunk;
  }
}

/** Capacity for `need` blocks: few steps, little waste. */
function roundUp(need: number): number {
  let size = 1;
  while (size < need) size *= 2;
  return Math.min(size, chunkBlocks);
}
