import { unfilledBytes } from '../../base/bytes.ts';
import { noteCrc32c, rawCrc32c, wholeCrc32c } from '../../base/crc32c.ts';
import type { Run } from './allocator.ts';
import { blockBytes, type Transaction, type TransactionOp } from './api.ts';
import { CompressedBlob, maxBlobBlocks } from './blob.ts';
import type { Catalog } from './catalog.ts';
import type { Compressed, Compressor } from './compress.ts';
import { type DataFile, PieceReader } from './datafile.ts';
import { Effects } from './effects.ts';
import { gapBehind, gapsAround, gapsIn, isGap } from './gaps.ts';
import { BlockImage, type BlockSource } from './image.ts';
import type { Onode } from './onode.ts';
import { keyString } from './order.ts';
import { blockCrcs, compressParts, type Part, PlaceReader } from './parts.ts';
import type { RecordWriter } from './record-writer.ts';

/** Data that is written straight to new blocks. */
export interface DirectWrite {
  runs: Run[];
  pieces: readonly Uint8Array[];
}

/** A block made of an older one and new bytes. */
export interface Merge {
  image: BlockImage;
  base: BlockSource | undefined;
  patch: Patch;
  /** To be called when the image has its bytes. */
  settle: () => void;
}

export type Patch =
  | { from: number; to: number; bytes: readonly Uint8Array[] }
  /** The same bytes of another block; zeros when there is none. */
  | { from: number; to: number; source: BlockSource | undefined };

/** A transaction that is applied in memory, with what is left to do before its record can be written. */
export interface Translated {
  effects: Effects;
  direct: DirectWrite[];
  merges: Merge[];
}

export interface TranslateContext {
  catalog: Catalog;
  data: DataFile;
  writer: RecordWriter;
  /** Journal index that the record will have. */
  index: number;
  deferredMaxBytes: number;
  /** How data of each pool is compressed; a pool that is left out: it is not. */
  compressors: ReadonlyMap<number, Compressor>;
}

/** Blocks that one transaction takes out of compressed blobs of which it left little, at most. */
export const rewrittenBlocks = 2 * maxBlobBlocks;

export function blockCrc(bytes: Uint8Array): number {
  return rawCrc32c(0xffffffff, bytes);
}

/** Applies a validated transaction to the catalog: decides where data goes and does each step's effects at once. */
export function translate(transaction: Transaction, context: TranslateContext): Translated {
  const translator = new Translator(context);
  for (const op of transaction.ops) translator.apply(op);
  translator.effects.finish();
  return translator;
}

class Translator implements Translated {
  readonly effects: Effects;
  readonly direct: DirectWrite[] = [];
  readonly merges: Merge[] = [];
  readonly #catalog: Catalog;
  readonly #data: DataFile;
  readonly #index: number;
  readonly #deferredMaxBytes: number;
  readonly #compressors: TranslateContext['compressors'];
  /** Keys of blobs that this transaction made. */
  readonly #made = new Set<number>();
  #mayRewrite = rewrittenBlocks;
  #key: Uint8Array | undefined;
  #name = '';

  constructor(context: TranslateContext) {
    this.#catalog = context.catalog;
    this.#data = context.data;
    this.#index = context.index;
    this.#deferredMaxBytes = context.deferredMaxBytes;
    this.#compressors = context.compressors;
    this.effects = new Effects(context.catalog, context.writer);
  }

  apply(op: TransactionOp): void {
    const { effects } = this;
    if (op.op === 'create-collection') {
      effects.createCollection(op.cid);
      return;
    }
    if (op.op === 'remove-collection') {
      effects.removeCollection(op.cid);
      return;
    }
    if (op.op === 'move-range') {
      effects.moveRange(op.cid, op.to, keyString(op.first), keyString(op.end));
      return;
    }
    const key = op.op === 'clone' ? op.from : op.op === 'clone-range' ? op.to : op.key;
    if (key !== this.#key) {
      this.#key = key;
      this.#name = keyString(key);
    }
    effects.select(op.cid, this.#name);
    switch (op.op) {
      case 'touch':
        effects.touch();
        break;
      case 'set-alloc-hint':
        if (effects.current()?.allocHint !== op.flags) effects.allocHint(op.flags);
        break;
      case 'write':
        this.#write(op.offset, op.data);
        break;
      case 'zero':
        this.#zero(op.offset, op.length);
        break;
      case 'truncate':
        this.#truncate(op.size);
        break;
      case 'remove':
        effects.remove();
        break;
      case 'clone':
        effects.clone(keyString(op.to));
        break;
      case 'clone-range':
        this.#cloneRange(keyString(op.from), op.offset, op.length);
        break;
      case 'set-xattrs':
        effects.setXattrs(op.xattrs);
        break;
      case 'remove-xattr':
        effects.removeXattr(op.name);
        break;
      case 'clear-xattrs':
        effects.clearXattrs();
        break;
      case 'omap-set':
        effects.omapSet(op.entries);
        break;
      case 'omap-remove':
        effects.omapRemove(op.keys);
        break;
      case 'omap-remove-range':
        effects.omapRemoveRange(op.first, op.last);
        break;
      case 'omap-clear':
        effects.omapClear();
        break;
      case 'omap-set-header':
        effects.omapHeader(op.header);
        break;
    }
  }

  #write(offset: number, data: readonly Uint8Array[]): void {
    const { effects } = this;
    let length = 0;
    for (const piece of data) length += piece.length;
    const onode = effects.current();
    const before = onode?.size ?? 0;
    const end = offset + length;
    const blobs = onode?.table.compressed ? blobsIn(onode, offset, end) : undefined;
    const gaps = length > 0 ? this.#gapsAround(offset, end, before) : [];
    if (end > before && length > 0) effects.size(end);
    else effects.touch();

    if (length === 0) return;
    for (const gap of gaps) effects.gap(...gap);
    effects.noGap(offset, end);
    this.#writeData(offset, data, end, before);
    if (blobs !== undefined) this.#rewriteThin(blobs);
  }

  /** What data in [offset, end) leaves around it in blocks where nothing was. */
  #gapsAround(offset: number, end: number, before: number): [from: number, end: number][] {
    const table = this.effects.current()?.table;
    return gapsAround(offset, end, before, (block) => table !== undefined && table.physical(block) !== 0);
  }

  /** An object that is about to become larger, from `before` to `size`, has nothing there. */
  #gapBehind(before: number, size: number): void {
    const [from, end] = gapBehind(before, size);
    if (from < end && this.effects.current()?.table.physical(Math.floor(before / blockBytes)))
      this.effects.gap(from, end);
  }

  /** `before`: the object's size until now. */
  #writeData(offset: number, data: readonly Uint8Array[], end: number, before: number): void {
    const length = end - offset;
    const reader = new PieceReader(data);
    let block = Math.floor(offset / blockBytes);
    if (offset % blockBytes !== 0) {
      const from = offset % blockBytes;
      const to = Math.min(blockBytes, from + length);
      this.#patchBlock(block, before, { from, to, bytes: reader.take(to - from) });
      block++;
    }
    const whole = Math.max(0, Math.floor(end / blockBytes) - block);
    const compressor = this.#compressor();
    if (compressor !== undefined) {
      // The last block goes with the others when nothing of an older one is left behind the data: what is there are zeros.
      const rest = end - (block + whole) * blockBytes;
      const padded = rest > 0 && end >= before ? 1 : 0;
      if (whole + padded >= compressor.leastBlocks) {
        const pieces = reader.take(whole * blockBytes + padded * rest);
        if (padded > 0) pieces.push(new Uint8Array(blockBytes - rest));
        this.#writeCompressed(block, whole + padded, pieces, compressor);
        block += whole + padded;
      }
    }
    if (block * blockBytes >= end) return;
    this.#writePlain(block, before, end, reader);
  }

  #writePlain(block: number, before: number, end: number, reader: PieceReader): void {
    const whole = Math.max(0, Math.floor(end / blockBytes) - block);
    if (whole * blockBytes > this.#deferredMaxBytes) {
      this.#writeDirect(block, whole, reader.take(whole * blockBytes));
      block += whole;
    } else {
      const last = block + whole;
      while (block < last) block += this.#writeImages(block, last, reader);
    }
    if (block * blockBytes < end)
      this.#patchBlock(block, before, {
        from: 0,
        to: end - block * blockBytes,
        bytes: reader.take(end - block * blockBytes),
      });
  }

  /** How the selected object's data is compressed; undefined: it is not. */
  #compressor(): Compressor | undefined {
    if (this.#compressors.size === 0) return undefined;
    const onode = this.effects.current()!;
    const compressor = this.#compressors.get(onode.collection.pool);
    return compressor?.wants(onode.allocHint) ? compressor : undefined;
  }

  /** Whole blocks, compressed where that is worth it, to new places. */
  #writeCompressed(first: number, count: number, pieces: readonly Uint8Array[], compressor: Compressor): void {
    const parts = compressParts(first, count, pieces, compressor);
    if (count * blockBytes > this.#deferredMaxBytes) {
      if (parts.length === 1 && parts[0]!.made === undefined) this.#writeDirect(first, count, pieces);
      else this.#writePartsDirect(first, parts);
      return;
    }
    for (const { block, blocks, raw, made } of parts) {
      if (made !== undefined) {
        const places = new PlaceReader(this.#allocate(block, made.bytes.length / blockBytes));
        const blob = this.#blob(block, blocks, made, places);
        const images = Array.from(blob.places, (place, i) => {
          const image = new BlockImage(place, this.#index);
          image.resolve(made.bytes.slice(i * blockBytes, (i + 1) * blockBytes), blob.crcs[i]!);
          this.#data.add(image);
          return image;
        });
        this.effects.mapCompressed(blob, blockCrcs(raw, blocks), images);
        continue;
      }
      const reader = new PieceReader(raw);
      for (let at = block; at < block + blocks; ) at += this.#writeImages(at, block + blocks, reader);
    }
  }

  /** All parts of a large write to new places, without the journal. */
  #writePartsDirect(first: number, parts: readonly Part[]): void {
    let stored = 0;
    for (const { blocks, made } of parts) stored += made === undefined ? blocks : made.bytes.length / blockBytes;
    const runs = this.#allocate(first, stored);
    const places = new PlaceReader(runs);
    const pieces: Uint8Array[] = [];
    for (const { block, blocks, raw, made } of parts) {
      const crcs = blockCrcs(raw, blocks);
      if (made !== undefined) {
        this.effects.mapCompressed(this.#blob(block, blocks, made, places), crcs);
        pieces.push(made.bytes);
        continue;
      }
      let at = 0;
      for (const run of places.take(blocks)) {
        this.effects.map(block + at, run, crcs.subarray(at, at + run.count));
        at += run.count;
      }
      pieces.push(...raw);
    }
    this.direct.push({ runs, pieces });
  }

  #blob(first: number, blocks: number, made: Compressed, from: PlaceReader): CompressedBlob {
    const count = made.bytes.length / blockBytes;
    const places = new Uint32Array(count);
    let at = 0;
    for (const run of from.take(count)) for (let i = 0; i < run.count; i++) places[at++] = run.start + i;
    const { codec, length } = made;
    this.#made.add(places[0]!);
    return new CompressedBlob({ first, blocks, codec, length, places, crcs: blockCrcs([made.bytes], count) });
  }

  /**
   * Blocks of blobs that take more room than what is still in them goes out of them, so that an object never takes more than it would without
   * compression. Not out of those that clones have, too, nor of new ones.
   */
  #rewriteThin(keys: ReadonlySet<number>): void {
    for (const key of keys) {
      const onode = this.effects.current()!;
      const blob = onode.table.blobOf(key);
      if (blob === undefined || blob.share !== 0 || blob.live >= blob.places.length) continue;
      if (blob.live > this.#mayRewrite || this.#made.has(key)) continue;
      this.#mayRewrite -= blob.live;
      const { first, blocks } = blob;
      for (let block = first; block < first + blocks; block++)
        if (this.effects.current()!.table.physical(block) === key)
          this.#patchBlock(block, onode.size, { from: 0, to: 0, bytes: [] });
    }
  }

  /** Whole blocks to new places, without the journal. */
  #writeDirect(first: number, count: number, pieces: readonly Uint8Array[]): void {
    const runs = this.#allocate(first, count);
    const crcs = blockCrcs(pieces, count);
    let at = 0;
    for (const run of runs) {
      this.effects.map(first + at, run, crcs.subarray(at, at + run.count));
      at += run.count;
    }
    this.direct.push({ runs, pieces });
  }

  /** A few whole blocks by way of the journal: those from `first` on that go the same way; returns how many. */
  #writeImages(first: number, end: number, reader: PieceReader): number {
    const stays = this.#staysInPlace(first);
    let count = 1;
    while (first + count < end && this.#staysInPlace(first + count) === stays) count++;
    const runs = stays ? this.#places(first, count) : this.#allocate(first, count);
    let block = first;
    for (const run of runs) {
      const images: BlockImage[] = [];
      const crcs: number[] = [];
      for (let i = 0; i < run.count; i++) {
        const image = new BlockImage(run.start + i, this.#index);
        const bytes = unfilledBytes(blockBytes);
        let at = 0;
        const pieces = reader.take(blockBytes);
        for (const piece of pieces) {
          bytes.set(piece, at);
          at += piece.length;
        }
        const crc = wholeCrc32c(pieces.length === 1 ? pieces[0]! : bytes);
        noteCrc32c(bytes, crc);
        image.resolve(bytes, crc);
        images.push(image);
        crcs.push(image.crc);
      }
      this.#put(block, run, stays, images, crcs);
      block += run.count;
    }
    return count;
  }

  /** Changes part of a block; `before` is the object's size without this change. */
  #patchBlock(block: number, before: number, patch: Patch): void {
    const onode = this.effects.current();
    const old = onode && this.#source(onode, block);
    const valid = Math.min(blockBytes, Math.max(0, before - block * blockBytes));
    // Bytes behind the object's end are zeros on disk: what covers everything before the end needs nothing of the old block.
    const base = patch.from === 0 && patch.to >= valid ? undefined : old;
    const stays = old !== undefined && this.#staysInPlace(block);
    const run = stays ? { start: old.physical, count: 1 } : this.#allocate(block, 1)[0]!;
    const image = new BlockImage(run.start, this.#index);
    const sources = [base, 'source' in patch ? patch.source : undefined];
    // When all that it is made of is in memory it is made at once.
    if (sources.every((source) => source === undefined || this.#inMemory(source) !== undefined)) {
      mergeBlock({ image, base, patch }, (source) => this.#inMemory(source)!);
    } else {
      const { promise, resolve } = Promise.withResolvers<void>();
      image.ready = promise;
      this.merges.push({ image, base, patch, settle: resolve });
    }
    this.#put(block, run, stays, [image], [image.crc]);
  }

  #zero(offset: number, length: number): void {
    const { effects } = this;
    const before = effects.current()?.size ?? 0;
    const end = offset + length;
    if (length > 0 && end > before) {
      effects.size(end);
      this.#gapBehind(before, end);
    } else effects.touch();
    this.#erase(offset, end, before, Math.max(before, end));
  }

  #truncate(size: number): void {
    const before = this.effects.current()?.size ?? 0;
    if (size < before) this.#erase(size, Math.ceil(before / blockBytes) * blockBytes, before, size);
    this.effects.size(size);
    if (size > before) this.#gapBehind(before, size);
  }

  /** [offset, end) becomes a hole, with blocks of which nothing else is left. `before`: the object's size until now; `size`: from now on. */
  #erase(offset: number, end: number, before: number, size: number): void {
    if (end <= offset) return;
    const first = Math.ceil(offset / blockBytes);
    const last = Math.floor(end / blockBytes);
    const zeros = (block: number, from: number, to: number): void => {
      if (!this.effects.current()?.table.physical(block)) return;
      const start = block * blockBytes;
      const gapEnd = Math.min(start + to, size);
      if (start + from < gapEnd) this.effects.gap(start + from, gapEnd);
      if (isGap(this.effects.current()!.gaps, start, Math.min(start + blockBytes, size)))
        this.effects.unmap(block, block + 1);
      else this.#patchBlock(block, before, { from, to, source: undefined });
    };
    if (first > last) {
      zeros(last, offset % blockBytes, end % blockBytes);
      return;
    }
    if (first * blockBytes > offset) zeros(first - 1, offset % blockBytes, blockBytes);
    if (last > first) this.effects.unmap(first, last);
    if (end % blockBytes !== 0) zeros(last, 0, end % blockBytes);
  }

  #cloneRange(fromName: string, offset: number, length: number): void {
    const { effects } = this;
    const from = effects.find(fromName)!;
    const end = Math.min(offset + length, from.size);
    const before = effects.current()?.size ?? 0;
    if (end > offset && end > before) {
      effects.size(end);
      this.#gapBehind(before, Math.max(before, offset));
    } else effects.touch();
    if (end <= offset || effects.find(fromName) === effects.current()) return;

    const size = Math.max(before, end);
    const part = (block: number, at: number, to: number): void => {
      const source = effects.find(fromName)!;
      const there = this.#source(source, block);
      const start = block * blockBytes;
      if (there === undefined) {
        this.#erase(start + at, start + to, before, size);
        return;
      }
      if (!effects.current()!.table.physical(block)) effects.gap(start, Math.min(start + blockBytes, size));
      effects.noGap(start + at, start + to);
      for (const gap of gapsIn(source.gaps, start + at, start + to)) effects.gap(...gap);
      this.#patchBlock(block, before, { from: at, to, source: there });
    };
    const first = Math.ceil(offset / blockBytes);
    const last = Math.floor(end / blockBytes);
    if (first > last) {
      part(last, offset % blockBytes, end % blockBytes);
      return;
    }
    if (first * blockBytes > offset) part(first - 1, offset % blockBytes, blockBytes);
    if (last > first) effects.cloneBlocks(fromName, first, last);
    if (end % blockBytes !== 0) part(last, 0, end % blockBytes);
  }

  /** A block may be overwritten where it is when nobody shares it: the journal holds the new content until then. */
  #staysInPlace(block: number): boolean {
    const table = this.effects.current()?.table;
    if (table === undefined || table.physical(block) === 0) return false;
    return table.blobAt(block) === undefined && table.share(block) === 0;
  }

  /** The runs in which blocks lie that are all mapped. */
  #places(first: number, count: number): Run[] {
    const out: Run[] = [];
    this.effects
      .current()!
      .table.forEachRun(first, first + count, (run) => out.push({ start: run.physical, count: run.count }));
    return out;
  }

  #put(block: number, run: Run, stays: boolean, images: BlockImage[], crcs: number[]): void {
    for (const image of images) this.#data.add(image);
    if (stays) this.effects.content(block, crcs, images);
    else this.effects.map(block, run, crcs, images);
  }

  #allocate(block: number, count: number): Run[] {
    // Behind the block before, so that an object written piece by piece lies together.
    const before = block > 0 ? (this.effects.current()?.table.physical(block - 1) ?? 0) : 0;
    return this.#catalog.allocator.allocate(count, before === 0 ? 0 : before + 1);
  }

  /** The bytes of a block that need not be read. */
  #inMemory(source: BlockSource): Uint8Array | undefined {
    return source.blob === undefined ? source.image?.bytes : this.#data.blobs.block(source.blob, source.block);
  }

  #source(onode: Onode, block: number): BlockSource | undefined {
    const physical = onode.table.physical(block);
    if (physical === 0) return undefined;
    const blob = onode.table.blobAt(block);
    return {
      cid: onode.collection.cid,
      name: onode.name,
      block,
      physical,
      crc: onode.table.crc(block),
      image: blob === undefined ? this.#data.image(physical) : undefined,
      crcKnown: onode.unresolved?.has(block) !== true,
      blob,
    };
  }
}

/** The keys of compressed blobs in a range of bytes. */
function blobsIn(onode: Onode, offset: number, end: number): Set<number> {
  const keys = new Set<number>();
  onode.table.forEachRun(Math.floor(offset / blockBytes), Math.ceil(end / blockBytes), ({ blob }) => {
    if (blob !== undefined) keys.add(blob.key);
  });
  return keys;
}

/**
 * Makes the content of a merged block; `bytesOf` gives the content of a source. When a source is damaged the new block must not hide it: it gets
 * a checksum that does not match, so that the next read finds the damage and the object is repaired from a replica.
 */
export function mergeBlock(
  { image, base, patch }: Pick<Merge, 'image' | 'base' | 'patch'>,
  bytesOf: (source: BlockSource) => Uint8Array,
): void {
  let damaged = false;
  const intact = (source: BlockSource): Uint8Array => {
    const bytes = bytesOf(source);
    if (blockCrc(bytes) !== sourceCrc(source)) damaged = true;
    return bytes;
  };
  const out = new Uint8Array(blockBytes);
  if (base !== undefined) out.set(intact(base));
  if ('bytes' in patch) {
    let at = patch.from;
    for (const piece of patch.bytes) {
      out.set(piece, at);
      at += piece.length;
    }
  } else if (patch.source === undefined) out.fill(0, patch.from, patch.to);
  else out.set(intact(patch.source).subarray(patch.from, patch.to), patch.from);
  const crc = blockCrc(out);
  noteCrc32c(out, crc);
  image.resolve(out, damaged ? ~crc >>> 0 : crc);
}

/** The checksum that a source's content must have; asked when the content is there. */
export function sourceCrc(source: BlockSource): number {
  return source.crcKnown ? source.crc : source.image!.crc;
}
