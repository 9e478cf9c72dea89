import { unfilledBytes } from '../../base/bytes.ts';
import { knownBlockCrcs, noteCrc32c, rawCrc32c, wholeCrc32c } from '../../base/crc32c.ts';
import type { Run } from './allocator.ts';
import { blockBytes, type Transaction, type TransactionOp } from './api.ts';
import type { Catalog } from './catalog.ts';
import { type DataFile, PieceReader } from './datafile.ts';
import { Effects } from './effects.ts';
import { BlockImage, type BlockSource } from './image.ts';
import type { Onode } from './onode.ts';
import { keyString } from './order.ts';
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
}

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
  #key: Uint8Array | undefined;
  #name = '';

  constructor(context: TranslateContext) {
    this.#catalog = context.catalog;
    this.#data = context.data;
    this.#index = context.index;
    this.#deferredMaxBytes = context.deferredMaxBytes;
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
    const before = effects.current()?.size ?? 0;
    const end = offset + length;
    if (end > before && length > 0) effects.size(end);
    else effects.touch();

    if (length === 0) return;
    const reader = new PieceReader(data);
    let block = Math.floor(offset / blockBytes);
    if (offset % blockBytes !== 0) {
      const from = offset % blockBytes;
      const to = Math.min(blockBytes, from + length);
      this.#patchBlock(block, before, { from, to, bytes: reader.take(to - from) });
      block++;
    }
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

  /** Whole blocks to new places, without the journal. */
  #writeDirect(first: number, count: number, pieces: readonly Uint8Array[]): void {
    const runs = this.#allocate(first, count);
    const reader = new PieceReader(pieces);
    const known = pieces.length === 1 ? knownBlockCrcs(pieces[0]!) : undefined;
    let block = first;
    for (const run of runs) {
      if (known !== undefined) {
        this.effects.map(block, run, known.subarray(block - first, block - first + run.count));
        block += run.count;
        continue;
      }
      const crcs = new Uint32Array(run.count);
      for (let i = 0; i < run.count; i++) {
        let crc = 0xffffffff;
        for (const piece of reader.take(blockBytes)) crc = rawCrc32c(crc, piece);
        crcs[i] = crc;
      }
      this.effects.map(block, run, crcs);
      block += run.count;
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
    if (sources.every((source) => source === undefined || source.image?.bytes !== undefined)) {
      mergeBlock({ image, base, patch }, (source) => source.image!.bytes!);
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
    if (length > 0 && end > before) effects.size(end);
    else effects.touch();
    this.#erase(offset, end, before);
  }

  #truncate(size: number): void {
    const before = this.effects.current()?.size ?? 0;
    if (size < before) this.#erase(size, Math.ceil(before / blockBytes) * blockBytes, before);
    this.effects.size(size);
  }

  /** Whole blocks in [offset, end) become holes, the rest zeros. */
  #erase(offset: number, end: number, before: number): void {
    if (end <= offset) return;
    const first = Math.ceil(offset / blockBytes);
    const last = Math.floor(end / blockBytes);
    const zeros = (block: number, from: number, to: number): void => {
      const onode = this.effects.current();
      if (onode !== undefined && onode.table.physical(block) !== 0)
        this.#patchBlock(block, before, { from, to, source: undefined });
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
    if (end > offset && end > before) effects.size(end);
    else effects.touch();
    if (end <= offset || effects.find(fromName) === effects.current()) return;

    const part = (block: number, at: number, to: number): void => {
      const source = effects.find(fromName);
      const there = source && this.#source(source, block);
      if (there === undefined && (effects.current()?.table.physical(block) ?? 0) === 0) return;
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
    return table !== undefined && table.physical(block) !== 0 && table.share(block) === 0;
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

  #source(onode: Onode, block: number): BlockSource | undefined {
    const physical = onode.table.physical(block);
    if (physical === 0) return undefined;
    return {
      cid: onode.collection.cid,
      name: onode.name,
      block,
      physical,
      crc: onode.table.crc(block),
      image: this.#data.image(physical),
      crcKnown: onode.unresolved?.has(block) !== true,
    };
  }
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
