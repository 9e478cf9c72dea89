import { ByteReader, DecodeError, utf8, utf8Text } from '../../base/bytes.ts';
import { rawCrc32c } from '../../base/crc32c.ts';
import { assert } from '../../base/errors.ts';
import { blockBytes } from './api.ts';
import type { DamagedEntryError } from './errors.ts';
import { BlockTable } from './blocktable.ts';
import { decodeGaps, encodeGaps, type Gaps, gapBytes, noGaps } from './gaps.ts';
import type { BlockImage } from './image.ts';
import type { Layout } from './layout.ts';
import { keyBytes } from './order.ts';
import type { RecordWriter } from './record-writer.ts';

/** A crc32c of the object's key and of what follows stands behind the version. */
const checkedVersion = 2;
/** As 2, with an allocation hint and compressed blobs at the end; only for objects that have them, so that older programs read all others. */
const compressedVersion = 3;
/** As 3, with gaps at the end; likewise. */
const onodeVersion = 4;
const headBytes = 5;
const noBytes = new Uint8Array(0);

function rowCrc(name: string, row: Uint8Array): number {
  return rawCrc32c(rawCrc32c(0xffffffff, keyBytes(name)), row, headBytes) >>> 0;
}

export interface Collection {
  /** Stands for the name in the index, unless `layout` says otherwise. */
  readonly id: number;
  readonly layout: Layout;
  readonly cid: string;
  /** Number of the pool, -1 for a collection of none. */
  readonly pool: number;
  objects: number;
  /** Those in memory; a removed one stays until the index knows. */
  readonly onodes: Map<string, Onode>;
  /** Names that were looked for lately and are not there: who makes an object asks several times whether it exists. */
  readonly absent: Set<string>;
}

/** Everything about one object except its data and omap. */
export class Onode {
  /** Changes when a range of names moves. */
  collection: Collection;
  /** The key, one character a byte. */
  readonly name: string;
  /** The number under which the index has its row. */
  readonly place: number;
  /** Generation of the catalog in which it may be changed in place; an older one belongs to a checkpoint. */
  generation: number;
  exists = true;
  size = 0;
  table = new BlockTable();
  /** What nobody wrote of the blocks that are there. */
  gaps: Gaps = noGaps;
  xattrs = new Map<string, Uint8Array>();
  /** 0 when it has none. */
  omapId = 0;
  omapHeader: Uint8Array = noBytes;
  /**
   * Its row in the index was damaged: what it was is not known, and whatever is changed of it is changed of that. It stays damaged, also on disk, and so
   * are its clones, until it is removed.
   */
  damaged: DamagedEntryError | undefined;
  /** `CEPH_OSD_ALLOC_HINT_FLAG_*`, as the last `set-alloc-hint` left them. */
  allocHint = 0;
  /** Blocks whose checksum is not known yet, because what they are merged with is being read. */
  unresolved: Map<number, BlockImage> | undefined;
  /** Counts changes, so that a reader sees whether what it looked up still holds. */
  version = 0;
  /** What the cache counts for it, in bytes. */
  countedBytes = 0;
  /** Neighbours in the cache's order of use. */
  newer: Onode | undefined;
  older: Onode | undefined;

  constructor(collection: Collection, name: string, place: number, generation: number) {
    this.collection = collection;
    this.name = name;
    this.place = place;
    this.generation = generation;
  }

  get memoryBytes(): number {
    let bytes = 400 + this.name.length + this.table.memoryBytes + this.omapHeader.length + 8 * this.gaps.length;
    for (const [name, value] of this.xattrs) bytes += 100 + name.length + value.length;
    return bytes;
  }

  /** Bytes of data that a client stored: what is mapped, cut at the size, without gaps. */
  get storedBytes(): number {
    const tail = this.size % blockBytes;
    const cut = tail !== 0 && this.table.physical(Math.floor(this.size / blockBytes)) !== 0 ? blockBytes - tail : 0;
    return this.table.mapped * blockBytes - cut - gapBytes(this.gaps);
  }

  copy(generation: number, name = this.name, place = this.place): Onode {
    const out = new Onode(this.collection, name, place, generation);
    out.exists = this.exists;
    out.size = this.size;
    out.table = this.table.copy();
    out.gaps = this.gaps;
    out.xattrs = new Map(this.xattrs);
    out.omapId = this.omapId;
    out.omapHeader = this.omapHeader;
    out.allocHint = this.allocHint;
    out.version = this.version;
    out.damaged = this.damaged;
    if (this.unresolved !== undefined && this.unresolved.size > 0) {
      out.unresolved = new Map(this.unresolved);
      for (const image of this.unresolved.values()) image.holders.push(out);
    }
    return out;
  }

  encode(writer: RecordWriter): Uint8Array {
    assert(!this.unresolved || this.unresolved.size === 0, `object with unknown checksums in a checkpoint`);
    writer.begin();
    const plain = !this.table.compressed && this.allocHint === 0 && this.gaps.length === 0;
    writer
      .u8(plain ? checkedVersion : this.gaps.length === 0 ? compressedVersion : onodeVersion)
      .u32(0)
      .u64(this.size)
      .u64(this.omapId);
    writer.u32(this.omapHeader.length).bytes(this.omapHeader);
    writer.u16(this.xattrs.size);
    for (const [name, value] of this.xattrs) {
      const text = utf8(name);
      writer.u16(text.length).bytes(text).u32(value.length).bytes(value);
    }
    this.table.encode(writer);
    if (!plain) {
      writer.u32(this.allocHint);
      this.table.encodeBlobs(writer);
      if (this.gaps.length > 0) encodeGaps(writer, this.gaps);
    }
    const row = writer.end();
    const crc = rowCrc(this.name, row);
    new DataView(row.buffer, row.byteOffset).setUint32(1, this.damaged === undefined ? crc : ~crc, true);
    return row;
  }

  static decode(collection: Collection, name: string, place: number, generation: number, row: Uint8Array): Onode {
    const reader = new ByteReader(row);
    const version = reader.u8();
    if (version < 1 || version > onodeVersion) throw new DecodeError(`an object's row has format version ${version}`);
    if (version >= checkedVersion && reader.u32() !== rowCrc(name, row))
      throw new DecodeError("an object's row has a wrong checksum");
    const out = new Onode(collection, name, place, generation);
    out.size = reader.u64();
    out.omapId = reader.u64();
    out.omapHeader = new Uint8Array(reader.bytes(reader.u32()));
    for (let n = reader.u16(); n > 0; n--) {
      const name = utf8Text(reader.bytes(reader.u16()));
      out.xattrs.set(name, new Uint8Array(reader.bytes(reader.u32())));
    }
    out.table = BlockTable.decode(reader);
    if (version < compressedVersion) return out;
    out.allocHint = reader.u32();
    out.table.decodeBlobs(reader);
    if (version === onodeVersion) out.gaps = decodeGaps(reader);
    return out;
  }
}
