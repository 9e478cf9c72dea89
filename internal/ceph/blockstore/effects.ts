import { type ByteReader, DecodeError, emptyBytes, utf8, utf8Text } from '../../base/bytes.ts';
import { assert } from '../../base/errors.ts';
import type { Run } from './allocator.ts';
import { blockBytes } from './api.ts';
import { CompressedBlob } from './blob.ts';
import type { Catalog } from './catalog.ts';
import { gapsIn } from './gaps.ts';
import type { BlockImage } from './image.ts';
import type { Collection, Onode } from './onode.ts';
import { keyBytes, keyString } from './order.ts';
import { RecordWriter } from './record-writer.ts';

/** Journal record type of a transaction. */
export const transactionRecord = 1;
const recordVersion = 1;

/**
 * What a transaction does once everything is decided: each effect is done to the catalog and written into the journal record in one step, so
 * that replay, which reads the record and does the same effects, cannot differ. Numbers are for the disk: never reuse one.
 */
const code = {
  end: 0,
  select: 1,
  createCollection: 2,
  removeCollection: 3,
  touch: 4,
  size: 5,
  map: 6,
  content: 7,
  unmap: 8,
  remove: 9,
  clone: 10,
  cloneBlocks: 11,
  setXattrs: 12,
  removeXattr: 13,
  clearXattrs: 14,
  omapSet: 15,
  omapRemove: 16,
  omapRemoveRange: 17,
  omapClear: 18,
  omapHeader: 19,
  moveRange: 20,
  mapCompressed: 21,
  allocHint: 22,
  gap: 23,
  noGap: 24,
} as const;

export class Effects {
  readonly #catalog: Catalog;
  readonly #writer: RecordWriter;
  /** Places in the record that wait for a checksum. */
  readonly #patches: { at: number; image: BlockImage }[] = [];
  readonly images: BlockImage[] = [];
  #cid = '';
  #collection: Collection | undefined;
  #name = '';
  /** What the record speaks of so far. */
  #recordCid = '';
  #recordName: string | undefined;
  #record: Uint8Array = emptyBytes;

  /** `writer` is used until `record`; one transaction at a time. */
  constructor(catalog: Catalog, writer: RecordWriter) {
    this.#catalog = catalog;
    this.#writer = writer;
    writer.begin();
    writer.u8(recordVersion);
  }

  createCollection(cid: string): void {
    this.#writer.u8(code.createCollection);
    this.#text(cid);
    this.#catalog.createCollection(cid);
  }

  removeCollection(cid: string): void {
    this.#writer.u8(code.removeCollection);
    this.#text(cid);
    this.#catalog.removeCollection(cid);
    this.#cid = '';
    this.#collection = undefined;
  }

  moveRange(cid: string, to: string, first: string, end: string): void {
    this.#writer.u8(code.moveRange);
    this.#text(cid);
    this.#text(to);
    this.#name8(this.#writer, first);
    this.#name8(this.#writer, end);
    this.#catalog.moveRange(this.#catalog.collection(cid)!, this.#catalog.collection(to)!, first, end);
  }

  /** The object that the effects after this one are about. */
  select(cid: string, name: string): void {
    if (cid !== this.#cid) {
      this.#collection = this.#catalog.collection(cid);
      assert(this.#collection !== undefined, () => `collection ${cid} is missing`);
      this.#cid = cid;
    }
    this.#name = name;
  }

  /** The selected object as it is now. */
  current(): Onode | undefined {
    return this.#catalog.find(this.#collection!, this.#name);
  }

  find(name: string): Onode | undefined {
    return this.#catalog.find(this.#collection!, name);
  }

  touch(): void {
    this.#begin(code.touch);
    this.#make();
  }

  size(size: number): void {
    this.#begin(code.size).u64(size);
    this.#catalog.setSize(this.#make(), size);
  }

  /** Nobody wrote [from, end). */
  gap(from: number, end: number): void {
    this.#begin(code.gap).u64(from).u64(end);
    this.#catalog.setGap(this.#make(), from, end, true);
  }

  /** Somebody wrote [from, end). */
  noGap(from: number, end: number): void {
    if (gapsIn(this.current()?.gaps ?? [], from, end).length === 0) return;
    this.#begin(code.noGap).u64(from).u64(end);
    this.#catalog.setGap(this.#make(), from, end, false);
  }

  /** New blocks; `images` when they get their content by way of the journal. */
  map(logical: number, run: Run, crcs: ArrayLike<number>, images?: readonly BlockImage[]): void {
    const writer = this.#begin(code.map);
    writer.u32(logical).u32(run.start).u32(run.count);
    const onode = this.#make();
    this.#catalog.map(onode, logical, run, crcs);
    this.#checksums(writer, onode, logical, crcs, images);
  }

  /** The blocks of a new blob; `images` of its blocks in the data file when they get their content by way of the journal. `crcs`: of what is compressed. */
  mapCompressed(blob: CompressedBlob, crcs: ArrayLike<number>, images: readonly BlockImage[] = []): void {
    const writer = this.#begin(code.mapCompressed);
    blob.encode(writer);
    for (let i = 0; i < blob.blocks; i++) writer.u32(crcs[i]!);
    this.#catalog.mapCompressed(this.#make(), blob, crcs);
    this.images.push(...images);
  }

  /** Blocks that stay where they are get other content, by way of the journal. */
  content(logical: number, crcs: ArrayLike<number>, images: readonly BlockImage[]): void {
    const writer = this.#begin(code.content);
    writer.u32(logical).u32(crcs.length);
    const onode = this.#make();
    this.#catalog.setCrcs(onode, logical, crcs);
    this.#checksums(writer, onode, logical, crcs, images);
  }

  unmap(first: number, end: number): void {
    const onode = this.#change();
    if (onode === undefined) return;
    this.#begin(code.unmap).u64(first).u64(end);
    this.#catalog.unmap(onode, first, end);
    onode.table.shrink(Math.ceil(onode.size / blockBytes));
  }

  remove(): void {
    const onode = this.current();
    if (onode === undefined) return;
    this.#begin(code.remove);
    this.#catalog.remove(onode);
  }

  /** `to` becomes a copy of the selected object. */
  clone(to: string): void {
    const from = this.current();
    assert(from !== undefined, 'clone of a missing object');
    this.#name8(this.#begin(code.clone), to);
    this.#catalog.clone(from, to);
  }

  /** The selected object gets blocks [first, end) of `from`. */
  cloneBlocks(from: string, first: number, end: number): void {
    this.#name8(this.#begin(code.cloneBlocks), from);
    this.#writer.u64(first).u64(end);
    const source = this.find(from);
    assert(source !== undefined, 'clone of a missing object');
    this.#catalog.cloneBlocks(source, this.#make(), first, end);
  }

  setXattrs(xattrs: ReadonlyMap<string, Uint8Array>): void {
    this.#begin(code.setXattrs).u32(xattrs.size);
    const onode = this.#make();
    for (const [name, value] of xattrs) {
      this.#text(name);
      this.#writer.u32(value.length).bytes(value);
      onode.xattrs.set(name, new Uint8Array(value));
    }
  }

  removeXattr(name: string): void {
    const onode = this.#change();
    if (onode === undefined) return;
    this.#begin(code.removeXattr);
    this.#text(name);
    onode.xattrs.delete(name);
  }

  clearXattrs(): void {
    const onode = this.#change();
    if (onode === undefined) return;
    this.#begin(code.clearXattrs);
    onode.xattrs.clear();
  }

  omapSet(entries: ReadonlyMap<string, Uint8Array>): void {
    this.#begin(code.omapSet).u32(entries.size);
    const onode = this.#make();
    if (entries.size === 0) return;
    const id = this.#catalog.omapId(onode);
    for (const [key, value] of entries) {
      this.#text(key);
      this.#writer.u32(value.length).bytes(value);
      this.#catalog.omaps.set(id, key.toWellFormed(), new Uint8Array(value));
    }
  }

  omapRemove(keys: readonly string[]): void {
    const onode = this.#change();
    if (onode === undefined || onode.omapId === 0) return;
    this.#begin(code.omapRemove).u32(keys.length);
    for (const key of keys) {
      this.#text(key);
      this.#catalog.omaps.remove(onode.omapId, key.toWellFormed());
    }
  }

  omapRemoveRange(first: string, last: string): void {
    const onode = this.#change();
    if (onode === undefined || onode.omapId === 0) return;
    this.#begin(code.omapRemoveRange);
    this.#text(first);
    this.#text(last);
    this.#catalog.omaps.removeRange(onode.omapId, first.toWellFormed(), last.toWellFormed());
  }

  omapClear(): void {
    const onode = this.#change();
    if (onode === undefined) return;
    this.#begin(code.omapClear);
    this.#catalog.clearOmap(onode);
  }

  allocHint(flags: number): void {
    this.#begin(code.allocHint).u32(flags);
    this.#make().allocHint = flags;
  }

  omapHeader(header: Uint8Array): void {
    this.#begin(code.omapHeader).u32(header.length).bytes(header);
    this.#make().omapHeader = new Uint8Array(header);
  }

  /** Ends the record, apart from checksums that are not known yet. */
  finish(): void {
    const writer = this.#writer;
    writer.u8(code.end).u32(this.images.length);
    for (const image of this.images) writer.u32(image.physical);
    this.#record = writer.end();
  }

  /** The record's pieces, when every image has its bytes. */
  record(): Uint8Array[] {
    const record = this.#record;
    if (this.#patches.length > 0) {
      const view = new DataView(record.buffer, record.byteOffset);
      for (const { at, image } of this.#patches) view.setUint32(at, image.crc, true);
    }
    return [record, ...this.images.map((image) => image.bytes!)];
  }

  #begin(effect: number): RecordWriter {
    if (this.#name !== this.#recordName || this.#cid !== this.#recordCid) {
      this.#writer.u8(code.select);
      this.#text(this.#cid);
      this.#name8(this.#writer, this.#name);
      this.#recordName = this.#name;
      this.#recordCid = this.#cid;
    }
    this.#writer.u8(effect);
    return this.#writer;
  }

  #make(): Onode {
    return this.#catalog.make(this.#collection!, this.#name);
  }

  #change(): Onode | undefined {
    return this.#catalog.change(this.#collection!, this.#name);
  }

  #checksums(
    writer: RecordWriter,
    onode: Onode,
    logical: number,
    crcs: ArrayLike<number>,
    images: readonly BlockImage[] | undefined,
  ): void {
    for (let i = 0; i < crcs.length; i++) {
      const image = images?.[i];
      if (image !== undefined) {
        this.images.push(image);
        if (image.bytes === undefined) {
          this.#patches.push({ at: writer.recordSize, image });
          onode.unresolved ??= new Map();
          onode.unresolved.set(logical + i, image);
          image.holders.push(onode);
        }
      }
      writer.u32(crcs[i]!);
    }
  }

  #text(text: string): void {
    const bytes = utf8(text);
    this.#writer.u16(bytes.length).bytes(bytes);
  }

  #name8(writer: RecordWriter, name: string): void {
    writer.u16(name.length).bytes(keyBytes(name));
  }
}

/**
 * Does the effects of a record again. `takeImage` gets the content of blocks that may not have reached the data file; blocks that a transaction
 * gives up are in `catalog.freed` afterwards.
 */
export function replayTransaction(
  catalog: Catalog,
  reader: ByteReader,
  takeImage: (physical: number, bytes: Uint8Array) => void,
): void {
  const version = reader.u8();
  if (version !== recordVersion) throw new DecodeError(`a transaction of format version ${version}`);
  const effects = new Effects(catalog, new RecordWriter());
  const text = (): string => utf8Text(reader.bytes(reader.u16()));
  const name = (): string => keyString(reader.bytes(reader.u16()));
  const crcs = (count: number): number[] => {
    if (count * 4 > reader.remaining) throw new DecodeError(`${count} checksums`);
    return Array.from({ length: count }, () => reader.u32());
  };
  const entries = (): Map<string, Uint8Array> => {
    const out = new Map<string, Uint8Array>();
    for (let n = reader.u32(); n > 0; n--) out.set(text(), reader.bytes(reader.u32()));
    return out;
  };
  const steps: Record<number, () => void> = {
    [code.select]: () => effects.select(text(), name()),
    [code.createCollection]: () => effects.createCollection(text()),
    [code.removeCollection]: () => effects.removeCollection(text()),
    [code.moveRange]: () => effects.moveRange(text(), text(), name(), name()),
    [code.touch]: () => effects.touch(),
    [code.size]: () => effects.size(reader.u64()),
    [code.map]: () => {
      const logical = reader.u32();
      const run = { start: reader.u32(), count: reader.u32() };
      catalog.allocator.take(run);
      effects.map(logical, run, crcs(run.count));
    },
    [code.mapCompressed]: () => {
      const blob = CompressedBlob.decode(reader);
      for (const run of blob.runs()) catalog.allocator.take(run);
      effects.mapCompressed(blob, crcs(blob.blocks));
    },
    [code.allocHint]: () => effects.allocHint(reader.u32()),
    [code.gap]: () => effects.gap(reader.u64(), reader.u64()),
    [code.noGap]: () => effects.noGap(reader.u64(), reader.u64()),
    [code.content]: () => effects.content(reader.u32(), crcs(reader.u32()), []),
    [code.unmap]: () => effects.unmap(reader.u64(), reader.u64()),
    [code.remove]: () => effects.remove(),
    [code.clone]: () => effects.clone(name()),
    [code.cloneBlocks]: () => effects.cloneBlocks(name(), reader.u64(), reader.u64()),
    [code.setXattrs]: () => effects.setXattrs(entries()),
    [code.removeXattr]: () => effects.removeXattr(text()),
    [code.clearXattrs]: () => effects.clearXattrs(),
    [code.omapSet]: () => effects.omapSet(entries()),
    [code.omapRemove]: () => effects.omapRemove(Array.from({ length: reader.u32() }, text)),
    [code.omapRemoveRange]: () => effects.omapRemoveRange(text(), text()),
    [code.omapClear]: () => effects.omapClear(),
    [code.omapHeader]: () => effects.omapHeader(reader.bytes(reader.u32())),
  };
  for (;;) {
    const at = reader.u8();
    if (at === code.end) break;
    const step = steps[at];
    if (step === undefined) throw new DecodeError(`effect ${at} is not known`);
    step();
  }
  const places = Array.from({ length: reader.u32() }, () => reader.u32());
  for (const physical of places) takeImage(physical, reader.bytes(blockBytes));
}
