import { type ByteReader, type ByteWriter, DecodeError } from '../../base/bytes.ts';
import type { Run } from './allocator.ts';
import { blockBytes } from './api.ts';

/** The most blocks that are compressed together: 64 KiB. */
export const maxBlobBlocks = 16;

/**
 * Blocks of an object that were compressed together, as one object's table has them: what they were made into lies in fewer blocks of the data
 * file, and nothing of it is ever changed. Blocks that are written anew leave it; when the last one has, its place is free.
 */
export class CompressedBlob {
  /** Block of the object with which it began. */
  readonly first: number;
  /** Blocks that it began with. */
  readonly blocks: number;
  /** `Codec.id`. */
  readonly codec: number;
  /** Bytes that compression made; behind them the last block is zeros. */
  readonly length: number;
  /** The blocks of the data file, in order. */
  readonly places: Uint32Array;
  /** The crc32c of each, as it is stored. */
  readonly crcs: Uint32Array;
  /** Counts the objects that use it; 0: this one only. */
  share: number;
  /** Blocks of this object that are still in it. */
  live = 0;

  constructor(fields: Pick<CompressedBlob, 'first' | 'blocks' | 'codec' | 'length' | 'places' | 'crcs'>, share = 0) {
    this.first = fields.first;
    this.blocks = fields.blocks;
    this.codec = fields.codec;
    this.length = fields.length;
    this.places = fields.places;
    this.crcs = fields.crcs;
    this.share = share;
  }

  /** Stands for it in tables and caches: no two have the same first block. */
  get key(): number {
    return this.places[0]!;
  }

  get rawBytes(): number {
    return this.blocks * blockBytes;
  }

  get memoryBytes(): number {
    return 300 + 8 * this.places.length;
  }

  /** For another table, or another version of it; nothing is in it yet. */
  empty(): CompressedBlob {
    return new CompressedBlob(this, this.share);
  }

  /** Its blocks of the data file. */
  runs(): Run[] {
    const out: Run[] = [];
    for (const place of this.places) {
      const last = out.at(-1);
      if (last !== undefined && last.start + last.count === place) last.count++;
      else out.push({ start: place, count: 1 });
    }
    return out;
  }

  /** All but what a table says of it. */
  encode(writer: ByteWriter): void {
    writer.u32(this.first).u8(this.blocks).u8(this.codec).u32(this.length).u8(this.places.length);
    for (let i = 0; i < this.places.length; i++) writer.u32(this.places[i]!).u32(this.crcs[i]!);
  }

  static decode(reader: ByteReader): CompressedBlob {
    const [first, blocks, codec, length] = [reader.u32(), reader.u8(), reader.u8(), reader.u32()];
    const count = reader.u8();
    if (blocks === 0 || blocks > maxBlobBlocks || count === 0 || count >= blocks)
      throw new DecodeError(`${blocks} blocks compressed into ${count}`);
    if (length <= (count - 1) * blockBytes || length > count * blockBytes)
      throw new DecodeError(`${length} compressed bytes in ${count} blocks`);
    const places = new Uint32Array(count);
    const crcs = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      places[i] = reader.u32();
      crcs[i] = reader.u32();
      if (places[i] === 0) throw new DecodeError('compressed data in block 0');
    }
    return new CompressedBlob({ first, blocks, codec, length, places, crcs });
  }
}
