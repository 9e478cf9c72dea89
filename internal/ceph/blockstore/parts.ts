import { knownBlockCrcs, rawCrc32c } from '../../base/crc32c.ts';
import type { Run } from './allocator.ts';
import { blockBytes } from './api.ts';
import type { Compressed, Compressor } from './compress.ts';
import { PieceReader } from './datafile.ts';

/** Checksums of whole blocks. */
export function blockCrcs(pieces: readonly Uint8Array[], count: number): Uint32Array {
  const known = pieces.length === 1 ? knownBlockCrcs(pieces[0]!) : undefined;
  if (known !== undefined) return known;
  const reader = new PieceReader(pieces);
  const crcs = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    let crc = 0xffffffff;
    for (const piece of reader.take(blockBytes)) crc = rawCrc32c(crc, piece);
    crcs[i] = crc;
  }
  return crcs;
}

/** Blocks of a write that are compressed together, or that are not. */
export interface Part {
  block: number;
  blocks: number;
  raw: Uint8Array[];
  made: Compressed | undefined;
}

/** Neighbours that are not worth compressing are one part. */
export function compressParts(
  first: number,
  count: number,
  pieces: readonly Uint8Array[],
  compressor: Compressor,
): Part[] {
  const reader = new PieceReader(pieces);
  const end = first + count;
  const parts: Part[] = [];
  for (let block = first; block < end; ) {
    const blocks = compressor.pieceAt(block, end);
    const raw = reader.take(blocks * blockBytes);
    const made = compressor.compress(raw, blocks);
    const last = parts.at(-1);
    if (made === undefined && last !== undefined && last.made === undefined) {
      last.blocks += blocks;
      last.raw.push(...raw);
    } else parts.push({ block, blocks, raw, made });
    block += blocks;
  }
  return parts;
}

/** Gives out allocated blocks in order. */
export class PlaceReader {
  readonly #runs: Run[];

  constructor(runs: readonly Run[]) {
    this.#runs = runs.map((run) => ({ ...run }));
  }

  take(count: number): Run[] {
    const out: Run[] = [];
    while (count > 0) {
      const run = this.#runs[0]!;
      const part = Math.min(count, run.count);
      out.push({ start: run.start, count: part });
      run.start += part;
      run.count -= part;
      if (run.count === 0) this.#runs.shift();
      count -= part;
    }
    return out;
  }
}
