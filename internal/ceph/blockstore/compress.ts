import { unfilledBytes } from '../../base/bytes.ts';
import { type CompressionPolicy, blockBytes, hintCompressible, hintIncompressible } from './api.ts';
import { maxBlobBlocks } from './blob.ts';
import { type Codec, codecOfName } from './codecs/codec.ts';

/** Whether data of an object is to be compressed (`BlueStore::_choose_write_options`). */
export function wantsCompression(policy: CompressionPolicy, allocHint: number): boolean {
  if (policy.mode === 'force') return true;
  if (policy.mode === 'aggressive') return (allocHint & hintIncompressible) === 0;
  return (allocHint & hintCompressible) !== 0;
}

/** What one try to compress made. */
export interface Compressed {
  readonly codec: number;
  /** Whole blocks: what compression made, and zeros. */
  readonly bytes: Uint8Array;
  /** Of it, what compression made. */
  readonly length: number;
}

/** How often compressing was worth it; names as in Ceph's counters. */
export interface CompressionCounts {
  compress_success_count: number;
  compress_rejected_count: number;
}

/** Used from call to call: nothing else happens between. */
const rawScratch = unfilledBytes(maxBlobBlocks * blockBytes);
const madeScratch = unfilledBytes(maxBlobBlocks * blockBytes);

/** Compresses data of one pool, piece by piece. */
export class Compressor {
  readonly #policy: CompressionPolicy;
  readonly #codec: Codec;
  readonly #counts: CompressionCounts;
  /** Blocks of one piece. */
  readonly pieceBlocks: number;
  /** Fewer blocks are not compressed. */
  readonly leastBlocks: number;

  constructor(policy: CompressionPolicy, counts: CompressionCounts) {
    const codec = codecOfName(policy.algorithm);
    if (codec === undefined) throw new RangeError(`compression algorithm ${policy.algorithm}`);
    this.#policy = policy;
    this.#codec = codec;
    this.#counts = counts;
    // At least two blocks: one cannot get fewer.
    this.pieceBlocks = Math.min(maxBlobBlocks, Math.max(2, Math.floor(policy.maxBlobBytes / blockBytes)));
    this.leastBlocks = Math.min(this.pieceBlocks, Math.max(2, Math.ceil(policy.minBlobBytes / blockBytes)));
  }

  wants(allocHint: number): boolean {
    return wantsCompression(this.#policy, allocHint);
  }

  /** Blocks of the piece that begins at `block`, when data goes on up to `end`: pieces end at multiples of their size, so that the same are written anew. */
  pieceAt(block: number, end: number): number {
    return Math.min(end - block, this.pieceBlocks - (block % this.pieceBlocks));
  }

  /** Compresses whole blocks; undefined when it is not worth it (`BlueStore::_do_alloc_write`). The result is the caller's. */
  compress(pieces: readonly Uint8Array[], blocks: number): Compressed | undefined {
    if (blocks < this.leastBlocks) return undefined;
    const most = Math.min(Math.ceil(blocks * this.#policy.requiredRatio), blocks - 1);
    let src = pieces[0]!;
    if (pieces.length > 1) {
      src = rawScratch.subarray(0, blocks * blockBytes);
      let at = 0;
      for (const piece of pieces) {
        src.set(piece, at);
        at += piece.length;
      }
    }
    const length = most === 0 ? -1 : this.#codec.compress(src, madeScratch.subarray(0, most * blockBytes));
    if (length <= 0) {
      this.#counts.compress_rejected_count++;
      return undefined;
    }
    this.#counts.compress_success_count++;
    const bytes = unfilledBytes(Math.ceil(length / blockBytes) * blockBytes);
    bytes.set(madeScratch.subarray(0, length));
    bytes.fill(0, length);
    return { codec: this.#codec.id, bytes, length };
  }
}
