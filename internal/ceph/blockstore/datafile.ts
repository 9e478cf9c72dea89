import { wholeCrc32c } from '../../base/crc32c.ts';
import type { Disk, DiskFile } from '../../base/disk.ts';
import type { Run } from './allocator.ts';
import { blockBytes } from './api.ts';
import { BlobCache } from './blob-cache.ts';
import type { BlockImage } from './image.ts';

/** Largest single write or read. */
const ioBytes = 1024 * 1024;
/** Buffers for writes in flight: ioBytes each. */
const maxBuffers = 8;
/** What a block in memory takes beside its content, about. */
const entryBytes = 300;
/** Writes that a flush keeps in flight. */
const flushWrites = 4;

interface Pending {
  image: BlockImage;
  /** Oldest journal index whose content of this block is not in the file. */
  firstIndex: number;
}

/** What a flush took of an entry: a newer image may come meanwhile. */
interface Due {
  pending: Pending;
  image: BlockImage;
}

/** A block as it is in the file. */
interface CleanBlock {
  bytes: Uint8Array;
  crc: number;
}

/**
 * The file that holds the blocks. Large data is written straight to new blocks; small data goes through the journal, lives here as images and
 * reaches the file with a flush. Nothing here knows about objects.
 */
export class DataFile {
  readonly #disk: Disk;
  readonly #file: DiskFile;
  readonly #pending = new Map<number, Pending>();
  /** Direct writes on their way. */
  readonly #direct = new Set<{ run: Run; done: Promise<void> }>();
  /** Blocks that a flush is writing, with what waits for it. */
  readonly #flushing = new Map<number, (() => void)[]>();
  readonly #buffers: Uint8Array[] = [];
  #buffersOut = 0;
  readonly #bufferWaiters: ((buffer: Uint8Array) => void)[] = [];
  /** Blocks in the file that were written or read lately, the oldest first. */
  readonly #clean = new Map<number, CleanBlock>();
  readonly #cleanLimit: number;
  readonly blobs: BlobCache;
  /** Grows whenever a block gets other content or another owner. */
  #changes = 0;
  #currentSync: Promise<void> = Promise.resolve();
  #nextSync: Promise<void> | undefined;

  /** `cacheBytes`: bound of the cache of small blocks; an eighth of it more is for what was compressed. */
  constructor(disk: Disk, file: DiskFile, cacheBytes: number) {
    this.#disk = disk;
    this.#file = file;
    this.#cleanLimit = Math.floor(cacheBytes / (blockBytes + entryBytes));
    this.blobs = new BlobCache(cacheBytes / 8);
  }

  /** Memory of images and buffers, in bytes. */
  get memoryBytes(): number {
    const blocks = this.#pending.size + this.#clean.size;
    return blocks * (blockBytes + entryBytes) + this.#buffers.length * ioBytes + this.blobs.memoryBytes;
  }

  get pendingBytes(): number {
    return this.#pending.size * blockBytes;
  }

  // --- small writes

  image(physical: number): BlockImage | undefined {
    return this.#pending.get(physical)?.image;
  }

  /** The newest content of a block; it reaches the file with a flush. */
  add(image: BlockImage): void {
    const pending = this.#pending.get(image.physical);
    // The same entry as long as the block has the same owner: a flush tells by it whether what it took is still wanted.
    if (pending !== undefined) pending.image = image;
    else this.#pending.set(image.physical, { image, firstIndex: image.index });
    this.#changes++;
    this.#clean.delete(image.physical);
  }

  /** The content of a block with this checksum, when it is in memory. It must not be changed. */
  cached(physical: number, crc: number): Uint8Array | undefined {
    const block = this.#clean.get(physical);
    if (block === undefined || block.crc !== crc) return undefined;
    this.#clean.delete(physical);
    this.#clean.set(physical, block);
    return block.bytes;
  }

  /** How things stand before a read whose result is to be kept. */
  get changes(): number {
    return this.#changes;
  }

  /** Keeps what was read from a block, if nothing was changed since `changes`. */
  keep(physical: number, bytes: Uint8Array, crc: number, changes: number): void {
    if (changes !== this.#changes || this.#cleanLimit === 0) return;
    this.#clean.delete(physical);
    this.#clean.set(physical, { bytes, crc });
    if (this.#clean.size > this.#cleanLimit) this.#clean.delete(this.#clean.keys().next().value!);
  }

  /** The blocks belong to nobody any more. `then` runs when no write to them can follow. */
  forget(run: Run, then: () => void): void {
    let waits = 0;
    const one = (): void => {
      if (--waits === 0) then();
    };
    this.#changes++;
    this.blobs.forget(run);
    for (let block = run.start; block < run.start + run.count; block++) {
      this.#pending.delete(block);
      this.#clean.delete(block);
      const flushing = this.#flushing.get(block);
      if (flushing === undefined) continue;
      waits++;
      flushing.push(one);
    }
    if (waits === 0) then();
  }

  /**
   * Writes every image that transactions up to `index` left. `committed` resolves when a transaction is on disk in the journal: an image
   * that overwrites live content must not come before it. Not synced.
   */
  async flush(index: number, committed: (index: number) => Promise<void>): Promise<void> {
    const due: Due[] = [];
    for (const pending of this.#pending.values())
      if (pending.firstIndex <= index) due.push({ pending, image: pending.image });
    if (due.length === 0) return;
    let newest = 0;
    for (const { image } of due) newest = Math.max(newest, image.index);
    await committed(newest);
    due.sort((a, b) => a.image.physical - b.image.physical);
    const groups: Due[][] = [];
    for (const each of due) {
      const group = groups.at(-1);
      const last = group?.at(-1)?.image.physical;
      if (group && last === each.image.physical - 1 && group.length < ioBytes / blockBytes) group.push(each);
      else groups.push([each]);
    }
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let group = groups[next++]; group !== undefined; group = groups[next++]) await this.#flushGroup(group);
    };
    await Promise.all(Array.from({ length: flushWrites }, worker));
  }

  async #flushGroup(group: readonly Due[]): Promise<void> {
    const buffer = await this.#takeBuffer();
    // What was forgotten meanwhile may have a new owner: it must not be written. The rest of the group still lies in order.
    let at = 0;
    const waits: Promise<void>[] = [];
    while (at < group.length) {
      const first = group[at]!.image.physical;
      let count = 0;
      while (at + count < group.length) {
        const { image, pending } = group[at + count]!;
        if (this.#pending.get(image.physical) !== pending) break;
        this.#flushing.set(image.physical, []);
        buffer.set(image.bytes!, (at + count) * blockBytes);
        count++;
      }
      if (count > 0)
        waits.push(this.#file.write([buffer.subarray(at * blockBytes, (at + count) * blockBytes)], first * blockBytes));
      at += count + 1;
    }
    await Promise.all(waits);
    this.#returnBuffer(buffer);
    for (const { image, pending } of group) {
      const { physical } = image;
      if (this.#pending.get(physical) === pending) {
        if (pending.image === image) {
          this.#pending.delete(physical);
          // The checksum of a block that was made of a damaged one is wrong on purpose: every read of it must find that.
          if (wholeCrc32c(image.bytes!) === image.crc) this.keep(physical, image.bytes!, image.crc, this.#changes);
        } else pending.firstIndex = image.index + 1;
      }
      const waiting = this.#flushing.get(physical);
      this.#flushing.delete(physical);
      for (const then of waiting ?? []) then();
    }
  }

  // --- large writes

  /** Writes `pieces` to the blocks of `runs`, which nobody uses yet. Not synced. The pieces are read until it resolves. */
  writeDirect(runs: readonly Run[], pieces: readonly Uint8Array[]): Promise<void> {
    const source = new PieceReader(pieces);
    const writes: Promise<void>[] = [];
    for (const run of runs) {
      const done = this.#writeRun(run, source.take(run.count * blockBytes));
      const entry = { run, done };
      this.#direct.add(entry);
      const gone = (): void => void this.#direct.delete(entry);
      done.then(gone, gone);
      writes.push(done);
    }
    return Promise.all(writes).then(() => undefined);
  }

  async #writeRun(run: Run, pieces: readonly Uint8Array[]): Promise<void> {
    const position = run.start * blockBytes;
    if (this.#file.alignment === 1) return this.#file.write(pieces, position);
    if (pieces.every((piece) => this.#disk.aligned(piece))) return this.#file.write(pieces, position);
    const source = new PieceReader(pieces);
    const writes: Promise<void>[] = [];
    for (let at = 0; at < run.count * blockBytes; at += ioBytes) {
      const part = source.take(Math.min(ioBytes, run.count * blockBytes - at));
      writes.push(this.#writeAligned(part, position + at));
    }
    await Promise.all(writes);
  }

  async #writeAligned(pieces: readonly Uint8Array[], position: number): Promise<void> {
    const buffer = await this.#takeBuffer();
    try {
      let at = 0;
      for (const piece of pieces) {
        buffer.set(piece, at);
        at += piece.length;
      }
      await this.#file.write([buffer.subarray(0, at)], position);
    } finally {
      this.#returnBuffer(buffer);
    }
  }

  /** Makes every finished write durable; calls that come while a sync runs share the next one. */
  sync(): Promise<void> {
    this.#nextSync ??= this.#currentSync
      .catch(() => undefined)
      .then(() => {
        this.#nextSync = undefined;
        this.#currentSync = this.#file.datasync();
        return this.#currentSync;
      });
    return this.#nextSync;
  }

  // --- reads

  /** Reads the blocks of a run from the file into `into`, after direct writes to them that are on their way. */
  async read(run: Run, into: Uint8Array): Promise<void> {
    for (const direct of this.#direct)
      if (direct.run.start < run.start + run.count && run.start < direct.run.start + direct.run.count)
        await direct.done.catch(() => undefined);
    const reads: Promise<number>[] = [];
    for (let at = 0; at < into.length; at += ioBytes)
      reads.push(this.#file.read(into.subarray(at, Math.min(at + ioBytes, into.length)), run.start * blockBytes + at));
    let count = 0;
    for (const each of reads) count += await each;
    // The file may be shorter than its blocks when it was never written that far; what is missing then fails its checksum.
    if (count < into.length) into.fill(0, count);
  }

  /** Room for one block, to read it into. */
  blockBuffer(): Uint8Array {
    return this.alignedBuffer(blockBytes);
  }

  /** Room for blocks, to read them into. */
  alignedBuffer(bytes: number): Uint8Array {
    return this.#disk.alignedBuffer(bytes);
  }

  /** Lets go of buffers that are not in use; the cache of blocks stays. */
  trim(): void {
    this.#buffers.length = 0;
  }

  discard(run: Run): Promise<void> {
    return this.#file.discard(run.start * blockBytes, run.count * blockBytes);
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  #takeBuffer(): Promise<Uint8Array> | Uint8Array {
    const buffer = this.#buffers.pop();
    if (buffer !== undefined) {
      this.#buffersOut++;
      return buffer;
    }
    if (this.#buffersOut < maxBuffers) {
      this.#buffersOut++;
      return this.#disk.alignedBuffer(ioBytes);
    }
    return new Promise((resolve) => this.#bufferWaiters.push(resolve));
  }

  #returnBuffer(buffer: Uint8Array): void {
    const waiter = this.#bufferWaiters.shift();
    if (waiter === undefined) {
      this.#buffersOut--;
      this.#buffers.push(buffer);
    } else waiter(buffer);
  }
}

/** Cuts a list of pieces into lists of views, without copying. */
export class PieceReader {
  readonly #pieces: readonly Uint8Array[];
  #piece = 0;
  #at = 0;

  constructor(pieces: readonly Uint8Array[]) {
    this.#pieces = pieces;
  }

  /** Views of the next `count` bytes. */
  take(count: number): Uint8Array[] {
    const out: Uint8Array[] = [];
    while (count > 0) {
      const piece = this.#pieces[this.#piece];
      if (piece === undefined) throw new RangeError('data is shorter than its length');
      const part = Math.min(count, piece.length - this.#at);
      // A whole piece stays the same view: its checksum may be known.
      if (part === piece.length) out.push(piece);
      else if (part > 0) out.push(piece.subarray(this.#at, this.#at + part));
      count -= part;
      this.#at += part;
      if (this.#at === piece.length) {
        this.#piece++;
        this.#at = 0;
      }
    }
    return out;
  }
}
