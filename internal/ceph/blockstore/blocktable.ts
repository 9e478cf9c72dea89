import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { DecodeError } from '../../base/bytes.ts';
import { assert } from '../../base/errors.ts';
import { CompressedBlob } from './blob.ts';

/** Blocks of one chunk: 4 MiB of an object. */
const chunkBlocks = 1024;
/** Blocks an object may have: 4 TiB; a bound for damaged or hostile input. */
export const maxObjectBlocks = 2 ** 30;

interface Chunk {
  /**
   * Physical block and checksum of block i at 2i and 2i+1; physical 0 is a hole. Of a block in a compressed blob: the blob's key, and the checksum of
   * what it is when it is not compressed.
   */
  cells: Uint32Array;
  /** Share of block i, 0 for none; made when needed. */
  shares: Uint32Array | undefined;
}

/** A run of blocks that lie behind each other in the object and in the data file, with one share; or in one compressed blob. */
export interface BlockRun {
  logical: number;
  /** Of a blob: its key, for all of them. */
  physical: number;
  count: number;
  share: number;
  /** They are in this. */
  blob: CompressedBlob | undefined;
}

/**
 * Where the blocks of one object are: for each 4 KiB block its place in the data file, its crc32c and, when a clone may use it too, the share
 * that counts its users. Dense inside chunks, so that a random overwrite is one store. Blocks that were compressed name their blob instead of a
 * place.
 */
export class BlockTable {
  readonly #chunks = new Map<number, Chunk>();
  #mapped = 0;
  /** By key; undefined as long as nothing is compressed. */
  #blobs: Map<number, CompressedBlob> | undefined;

  /** Blocks that are not holes. */
  get mapped(): number {
    return this.#mapped;
  }

  /** Memory it takes, in bytes, about. */
  get memoryBytes(): number {
    let bytes = 64;
    for (const chunk of this.#chunks.values()) bytes += 160 + chunk.cells.length * (chunk.shares ? 6 : 4);
    for (const blob of this.blobs()) bytes += blob.memoryBytes;
    return bytes;
  }

  get compressed(): boolean {
    return this.#blobs !== undefined;
  }

  blobs(): Iterable<CompressedBlob> {
    return this.#blobs?.values() ?? [];
  }

  /** The compressed blob that a block is in. */
  blobAt(block: number): CompressedBlob | undefined {
    return this.#blobs?.get(this.physical(block));
  }

  blobOf(key: number): CompressedBlob | undefined {
    return this.#blobs?.get(key);
  }

  /** A blob that this table has not; blocks enter it with `setCompressed`. */
  addBlob(blob: CompressedBlob): void {
    assert(blob.live === 0 && this.blobOf(blob.key) === undefined, () => `blob ${blob.key} is there`);
    this.#blobs ??= new Map();
    this.#blobs.set(blob.key, blob);
  }

  /** A hole becomes a block of a blob. */
  setCompressed(block: number, blob: CompressedBlob, crc: number): void {
    this.set(block, blob.key, crc, 0);
    blob.live++;
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
    return this.blobAt(block)?.share ?? chunk?.shares?.[block % chunkBlocks] ?? 0;
  }

  /** `physical` is a place; a block in a blob must be cleared before. */
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
    const blob = this.#blobs?.get(chunk.cells[2 * at]!);
    if (blob !== undefined && --blob.live === 0) this.#dropBlob(blob);
    chunk.cells[2 * at] = 0;
    chunk.cells[2 * at + 1] = 0;
    if (chunk.shares) chunk.shares[at] = 0;
    this.#mapped--;
  }

  #dropBlob(blob: CompressedBlob): void {
    this.#blobs!.delete(blob.key);
    if (this.#blobs!.size === 0) this.#blobs = undefined;
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
    for (const blob of this.blobs()) {
      const copy = blob.empty();
      copy.live = blob.live;
      out.#blobs ??= new Map();
      out.#blobs.set(copy.key, copy);
    }
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
        const blob = this.#blobs?.get(physical);
        const share = blob?.share ?? chunk.shares?.[at] ?? 0;
        const logical = base + at;
        if (
          run !== undefined &&
          run.logical + run.count === logical &&
          (blob === undefined ? run.physical + run.count === physical : true) &&
          run.share === share &&
          run.blob === blob
        ) {
          run.count++;
        } else {
          if (run !== undefined) fn(run);
          run = { logical, physical, count: 1, share, blob };
        }
      }
    }
    if (run !== undefined) fn(run);
  }

  encode(writer: ByteWriter): void {
    const runs: BlockRun[] = [];
    this.forEachRun(0, maxObjectBlocks, (run) => {
      if (run.blob === undefined) runs.push(run);
    });
    writer.u32(runs.length);
    for (const run of runs) {
      writer.u32(run.logical).u32(run.physical).u32(run.count).u32(run.share);
      for (let i = 0; i < run.count; i++) writer.u32(this.crc(run.logical + i));
    }
  }

  /** What `encode` leaves out. */
  encodeBlobs(writer: ByteWriter): void {
    const blobs = [...this.blobs()].sort((a, b) => a.first - b.first || a.key - b.key);
    writer.u32(blobs.length);
    for (const blob of blobs) {
      blob.encode(writer);
      writer.u32(blob.share);
      let live = 0;
      for (let i = 0; i < blob.blocks; i++) if (this.physical(blob.first + i) === blob.key) live |= 1 << i;
      writer.u32(live);
      for (let i = 0; i < blob.blocks; i++) if ((live >>> i) & 1) writer.u32(this.crc(blob.first + i));
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

  /** Takes in what `encodeBlobs` wrote. */
  decodeBlobs(reader: ByteReader): void {
    for (let n = reader.u32(); n > 0; n--) {
      const blob = CompressedBlob.decode(reader);
      blob.share = reader.u32();
      const live = reader.u32();
      if (live === 0 || live >= 2 ** blob.blocks || blob.first + blob.blocks > maxObjectBlocks)
        throw new DecodeError(`compressed blocks ${live.toString(2)} at ${blob.first}`);
      if (this.blobOf(blob.key) !== undefined) throw new DecodeError(`compressed data in block ${blob.key} twice`);
      this.addBlob(blob);
      for (let i = 0; i < blob.blocks; i++) {
        if (((live >>> i) & 1) === 0) continue;
        if (this.physical(blob.first + i) !== 0) throw new DecodeError(`block ${blob.first + i} is there twice`);
        this.setCompressed(blob.first + i, blob, reader.u32());
      }
    }
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
