import type { BufferPool } from '../../base/buffer-pool.ts';
import type { Disk } from '../../base/disk.ts';
import { DecodeError, unfilledBytes } from '../../base/bytes.ts';
import { joinBlockCrcs, noteBlockCrcs, noteCrc32c, wholeCrc32c } from '../../base/crc32c.ts';
import { assert } from '../../base/errors.ts';
import { blockBytes } from './api.ts';
import type { CompressedBlob } from './blob.ts';
import { codecOfId } from './codecs/codec.ts';
import type { DataFile } from './datafile.ts';
import { ChecksumError, isDamage } from './errors.ts';
import type { BlockImage, BlockSource } from './image.ts';
import type { Onode } from './onode.ts';
import { keyBytes } from './order.ts';
import { blockCrc, type Merge, mergeBlock, sourceCrc } from './translate.ts';

/** Reads of at most this many blocks go by the cache. */
const cachedBlocks = 8;

/** A read that met changes of the object this often gives up: its caller does not order its requests. */
const maxAttempts = 16;

/** Reads of at least this many bytes go on as they are, to whom the checksums of their blocks are of use. */
const notedFromBytes = 64 * 1024;
const zerosCrc = blockCrc(new Uint8Array(blockBytes));

export interface ReadContext {
  disk: Disk;
  buffers: BufferPool | undefined;
  data: DataFile;
  /** Of the store, for messages. */
  name: string;
  find: () => Onode | undefined;
  damaged: (error: ChecksumError) => void;
}

/** Bytes of an object that are all in memory, their checksums verified; undefined: some are not. */
export function readFromMemory(data: DataFile, onode: Onode, offset: number, length: number): Uint8Array | undefined {
  const end = Math.min(offset + length, onode.size);
  if (end <= offset) return new Uint8Array(0);
  const first = Math.floor(offset / blockBytes);
  const count = Math.ceil(end / blockBytes) - first;
  const ready = count <= cachedBlocks ? fromMemory(data, onode, first, count) : undefined;
  const at = offset - first * blockBytes;
  return ready === undefined || count * blockBytes === end - offset ? ready : ready.subarray(at, at + end - offset);
}

/** Bytes of an object as of some moment between call and return; checksums verified. */
export async function readObject(
  context: ReadContext,
  offset: number,
  length: number,
  fromDisk: boolean,
): Promise<Uint8Array | undefined> {
  for (let attempt = 1; ; attempt++) {
    const onode = context.find();
    if (onode === undefined) return undefined;
    const end = Math.min(offset + length, onode.size);
    if (end <= offset) return new Uint8Array(0);
    const { version } = onode;
    const first = Math.floor(offset / blockBytes);
    const count = Math.ceil(end / blockBytes) - first;
    const at = offset - first * blockBytes;
    const ready = fromDisk ? undefined : readFromMemory(context.data, onode, offset, length);
    if (ready !== undefined) return ready;
    const { changes } = context.data;
    const { buffers } = context;
    const bytes = buffers?.take(count * blockBytes) ?? context.disk.alignedBuffer(count * blockBytes);
    const found = await readBlocks(context, onode, first, bytes, fromDisk);
    if (typeof found === 'number') {
      const same = context.find() === onode && onode.version === version;
      if (count <= cachedBlocks && same) keepBlocks(context.data, onode, first, bytes, changes);
      if (bytes.length === end - offset) {
        noteCrc32c(bytes, found);
        return bytes;
      }
      const part = bytes.subarray(at, at + end - offset);
      buffers?.rename(bytes, part);
      return part;
    }
    const bad = found;
    // The blocks may have got other content or another owner while they were read.
    const now = context.find();
    const changed = now !== onode || now.version !== version;
    if (changed && attempt < maxAttempts) continue;
    const error = new ChecksumError(
      context.name,
      onode.collection.cid,
      keyBytes(onode.name),
      bad.block * blockBytes,
      `block ${bad.physical}`,
    );
    context.damaged(error);
    throw error;
  }
}

/** Blocks that are all in memory: a single one as it lies there, several in a copy. */
function fromMemory(data: DataFile, onode: Onode, first: number, count: number): Uint8Array | undefined {
  let out: Uint8Array | undefined;
  for (let n = 0; n < count; n++) {
    const physical = onode.table.physical(first + n);
    if (physical === 0) return undefined;
    const crc = onode.table.crc(first + n);
    const blob = onode.table.blobAt(first + n);
    const image = blob === undefined ? data.image(physical) : undefined;
    const plain = (): Uint8Array | undefined => (image === undefined ? data.cached(physical, crc) : image.bytes);
    const bytes = blob === undefined ? plain() : data.blobs.block(blob, first + n);
    if (bytes === undefined || wholeCrc32c(bytes) !== crc) return undefined;
    if (count === 1) return bytes;
    out ??= unfilledBytes(count * blockBytes);
    out.set(bytes, n * blockBytes);
  }
  return out;
}

/** Leaves blocks just read, whose checksums were right, to the cache. The object has not changed since. */
function keepBlocks(data: DataFile, onode: Onode, first: number, bytes: Uint8Array, changes: number): void {
  for (let at = 0; at < bytes.length; at += blockBytes) {
    const block = first + at / blockBytes;
    const physical = onode.table.physical(block);
    if (physical === 0 || onode.table.blobAt(block) !== undefined || data.image(physical) !== undefined) continue;
    const copy = bytes.slice(at, at + blockBytes);
    const crc = onode.table.crc(block);
    noteCrc32c(copy, crc);
    data.keep(physical, copy, crc, changes);
  }
}

/** Fills `into` with blocks from `first` on; returns the checksum of all of it, or the first block with a wrong one. */
async function readBlocks(
  { data }: ReadContext,
  onode: Onode,
  first: number,
  into: Uint8Array,
  fromDisk: boolean,
): Promise<number | { block: number; physical: number }> {
  const reads: Promise<void>[] = [];
  const blobs = new BlobReader(data, fromDisk);
  let broken: { block: number; physical: number } | undefined;
  const crcs = new Uint32Array(into.length / blockBytes);
  const places = new Uint32Array(crcs.length);
  onode.table.forEachRun(first, first + crcs.length, (run) => {
    const start = run.logical - first;
    const { blob } = run;
    if (blob !== undefined) {
      for (let i = 0; i < run.count; i++) {
        crcs[start + i] = onode.table.crc(run.logical + i);
        places[start + i] = run.physical;
      }
      const from = (run.logical - blob.first) * blockBytes;
      const part = into.subarray(start * blockBytes, (start + run.count) * blockBytes);
      const damagedAt = (place: number): void => {
        broken ??= { block: run.logical, physical: place };
      };
      if (run.count === blob.blocks)
        reads.push(blobs.readWhole(blob, part).then((place) => (place === undefined ? undefined : damagedAt(place))));
      else
        reads.push(
          blobs.read(blob).then((raw) => {
            if (typeof raw === 'number') damagedAt(raw);
            else part.set(raw.subarray(from, from + part.length));
          }),
        );
      return;
    }
    let from = 0;
    for (let i = 0; i <= run.count; i++) {
      const image = i < run.count ? data.image(run.physical + i) : undefined;
      if (i < run.count) {
        crcs[start + i] = onode.table.crc(run.logical + i);
        places[start + i] = run.physical + i;
        if (image === undefined) continue;
      }
      // Blocks [from, i) of the run are in the file.
      if (i > from) {
        const part = into.subarray((start + from) * blockBytes, (start + i) * blockBytes);
        reads.push(data.read({ start: run.physical + from, count: i - from }, part));
      }
      from = i + 1;
      if (image === undefined) continue;
      const at = start + i;
      if (image.bytes !== undefined) into.set(image.bytes, at * blockBytes);
      else
        reads.push(
          whenReady(image).then((bytes) => {
            into.set(bytes, at * blockBytes);
            crcs[at] = image.crc;
          }),
        );
    }
  });
  await Promise.all(reads);
  if (broken !== undefined) return broken;
  for (let n = 0; n < crcs.length; n++)
    if (places[n] === 0) {
      into.fill(0, n * blockBytes, (n + 1) * blockBytes);
      crcs[n] = zerosCrc;
    }
  // One pass over all of it is cheaper than one over each block.
  const all = joinBlockCrcs(crcs);
  if (blockCrc(into) === all) {
    if (into.length >= notedFromBytes) noteBlockCrcs(into, crcs);
    return all;
  }
  const bad = crcs.findIndex((crc, n) => blockCrc(into.subarray(n * blockBytes, (n + 1) * blockBytes)) !== crc);
  assert(bad >= 0, 'the checksum of every block is right and the one of all of them is not');
  return { block: first + bad, physical: places[bad]! };
}

/** Reads compressed blobs, each once. */
class BlobReader {
  readonly #data: DataFile;
  readonly #fromDisk: boolean;
  readonly #reads = new Map<number, Promise<Uint8Array | number>>();

  /** `fromDisk`: past the cache. */
  constructor(data: DataFile, fromDisk: boolean) {
    this.#data = data;
    this.#fromDisk = fromDisk;
  }

  /** What was compressed; or the block of the data file that is damaged. Nobody may change it. */
  async read(blob: CompressedBlob): Promise<Uint8Array | number> {
    const cached = this.#fromDisk ? undefined : this.#data.blobs.get(blob);
    if (cached !== undefined) return cached;
    let read = this.#reads.get(blob.key);
    if (read === undefined) {
      read = this.#readAndKeep(blob);
      this.#reads.set(blob.key, read);
    }
    return read;
  }

  /** Fills `into` with all of what was compressed; gives the block of the data file that is damaged. Who reads so much comes to it once: it is not kept. */
  async readWhole(blob: CompressedBlob, into: Uint8Array): Promise<number | undefined> {
    const cached = this.#fromDisk ? undefined : this.#data.blobs.get(blob);
    if (cached === undefined) return this.#decompress(blob, into);
    into.set(cached);
    return undefined;
  }

  async #readAndKeep(blob: CompressedBlob): Promise<Uint8Array | number> {
    const raw = unfilledBytes(blob.rawBytes);
    const damaged = await this.#decompress(blob, raw);
    if (damaged !== undefined) return damaged;
    if (!this.#fromDisk) this.#data.blobs.put(blob, raw);
    return raw;
  }

  async #decompress(blob: CompressedBlob, raw: Uint8Array): Promise<number | undefined> {
    const stored = this.#data.alignedBuffer(blob.places.length * blockBytes);
    let at = 0;
    const reads: Promise<void>[] = [];
    for (const run of blob.runs()) {
      for (let i = 0; i < run.count; ) {
        const image = this.#data.image(run.start + i);
        if (image !== undefined) {
          // It never changes, so it is never merged with anything.
          stored.set(image.bytes!, at);
          at += blockBytes;
          i++;
          continue;
        }
        let count = 1;
        while (i + count < run.count && this.#data.image(run.start + i + count) === undefined) count++;
        const part = stored.subarray(at, at + count * blockBytes);
        reads.push(this.#data.read({ start: run.start + i, count }, part));
        at += part.length;
        i += count;
      }
    }
    await Promise.all(reads);
    for (let i = 0; i < blob.places.length; i++)
      if (blockCrc(stored.subarray(i * blockBytes, (i + 1) * blockBytes)) !== blob.crcs[i]) return blob.places[i]!;
    try {
      codecOfId(blob.codec).decompress(stored.subarray(0, blob.length), raw);
    } catch (error) {
      if (error instanceof DecodeError) return blob.key;
      throw error;
    }
    return undefined;
  }
}

async function whenReady(image: BlockImage): Promise<Uint8Array> {
  await image.ready;
  assert(image.bytes !== undefined, `block ${image.physical} is ready and has no content`);
  return image.bytes;
}

/** Makes the blocks that need bytes of older ones which had to be read. */
export async function finishMerges(
  merges: readonly Merge[],
  data: DataFile,
  damaged: (error: ChecksumError) => void,
): Promise<void> {
  const blobs = new BlobReader(data, false);
  await Promise.all(
    merges.map(async (merge) => {
      const contents = new Map<BlockSource, Uint8Array>();
      for (const source of [merge.base, 'source' in merge.patch ? merge.patch.source : undefined])
        if (source !== undefined) contents.set(source, await sourceBytes(source, data, blobs, damaged));
      mergeBlock(merge, (source) => contents.get(source)!);
      merge.settle();
    }),
  );
}

async function sourceBytes(
  source: BlockSource,
  data: DataFile,
  blobs: BlobReader,
  damaged: (error: ChecksumError) => void,
): Promise<Uint8Array> {
  const { blob } = source;
  if (blob !== undefined) {
    const raw = await blobs.read(blob).catch((error: unknown) => unreadable(error, blob.key));
    const at = (source.block - blob.first) * blockBytes;
    if (typeof raw !== 'number') return raw.subarray(at, at + blockBytes);
    noteDamage(source, raw, damaged);
    return lostBlock(source.crc);
  }
  if (source.image !== undefined) return whenReady(source.image);
  const bytes = data.blockBuffer();
  const read = data.read({ start: source.physical, count: 1 }, bytes).then(() => bytes);
  const found = await read.catch((error: unknown) => unreadable(error, source.physical));
  if (typeof found !== 'number' && blockCrc(found) === sourceCrc(source)) return found;
  noteDamage(source, source.physical, damaged);
  return typeof found === 'number' ? lostBlock(sourceCrc(source)) : found;
}

/** A block that the disk cannot read is as damaged as one of other bytes, and is no reason to write nothing any more. */
function unreadable(error: unknown, block: number): number {
  if (isDamage(error)) return block;
  throw error;
}

/** Any bytes that do not fit the checksum. */
function lostBlock(crc: number): Uint8Array {
  const lost = new Uint8Array(blockBytes);
  if (blockCrc(lost) === crc) lost[0] = 1;
  return lost;
}

function noteDamage(source: BlockSource, place: number, damaged: (error: ChecksumError) => void): void {
  const where = `block ${place}, while a part of it was overwritten`;
  damaged(new ChecksumError('', source.cid, keyBytes(source.name), source.block * blockBytes, where));
}
