import type { BufferPool } from '../../base/buffer-pool.ts';
import { ByteReader } from '../../base/bytes.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { type Disk, makeDurableDirectory } from '../../base/disk.ts';
import { AppError, assert, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Journal } from '../../journal/api.ts';
import { openJournal } from '../../journal/journal.ts';
import type { Run } from './allocator.ts';
import {
  blockBytes,
  type CollectionId,
  type CompressedSums,
  type CompressionPolicy,
  type ObjectKey,
  type ObjectStat,
  type ObjectStore,
  type StoreStatfs,
  type Transaction,
} from './api.ts';
import { Catalog } from './catalog.ts';
import { type CompressionCounts, Compressor } from './compress.ts';
import { DataFile } from './datafile.ts';
import { replayTransaction, transactionRecord } from './effects.ts';
import { NoSpaceError } from './errors.ts';
import { gapsIn } from './gaps.ts';
import { BlockImage } from './image.ts';
import type { Index, OpenIndex } from './index-api.ts';
import { readLabel, writeLabel } from './label.ts';
import type { OmapListOptions } from './omap.ts';
import type { Onode } from './onode.ts';
import { keyBytes, keyString } from './order.ts';
import { finishMerges, readFromMemory, readObject } from './reader.ts';
import { RecordWriter } from './record-writer.ts';
import { blockCrc, rewrittenBlocks, type Translated, translate } from './translate.ts';
import { Trimmer } from './trim.ts';
import { validate } from './validate.ts';

export interface BlockStoreOptions {
  disk: Disk;
  /** Directory of its own: label, journal/, index.sqlite, data. Made when missing. */
  dir: string;
  clock: Clock;
  log: Logger;
  /** How the index is kept: `openSqliteIndex`. */
  openIndex: OpenIndex;
  /** Size of the data file. May grow from one opening to the next. */
  capacityBytes: number;
  /** Whose store it is; an existing store of another identity is refused. Default ''. */
  identity?: string;
  /** Bound of caches and of what waits for a checkpoint, in bytes; default 64 MiB. */
  memoryBudget?: number;
  /** Where the content of large reads lies: their readers may give it back. */
  buffers?: BufferPool;
  /** To look at a store that is there: nothing of it is changed, `queue` is refused, what the journal has stays there. Default false. */
  readOnly?: boolean;
  /** Reserve all space of the data file when it is made; default false: it is sparse. */
  preallocate?: boolean;
  /** Free space that a sparse data file leaves on its file system, in bytes; default 64 MiB. */
  hostReserveBytes?: number;
  /** Largest write that goes through the journal, in bytes; default 32 KiB. */
  deferredMaxBytes?: number;
  /** Default 16 MiB. */
  journalSegmentBytes?: number;
  /** A checkpoint is made this long after a change at the latest; default 30 s. */
  checkpointMs?: number;
}

export interface BlockStoreStatus {
  failed: string | undefined;
  journal: ReturnType<Journal['status']>;
  /** Index of the last transaction that the index holds. */
  checkpointIndex: number;
  checkpoints: number;
  /** How long the last checkpoint took, in milliseconds. */
  checkpointMs: number;
  memoryBytes: number;
  /** Small writes that are not in the data file yet. */
  deferredBytes: number;
  dirtyBytes: number;
  /** Transactions that are applied and not on disk. */
  uncommitted: number;
  checksumErrors: number;
  /** What compressing came to since the store was opened. */
  compression: Readonly<CompressionCounts>;
}

export interface BlockStore extends ObjectStore {
  status(): BlockStoreStatus;
  /** Writes what waits for a checkpoint now. */
  checkpoint(): Promise<void>;
}

/** A store is refused to new writes below this many blocks, so that removing and truncating always work. */
const reservedBlocks = 64;

/** After this many bytes of new blocks the file system is asked for its free space again. */
const hostNewsBytes = 32 * 1024 * 1024;

/** Opens a store, or makes one where there is none; replays the journal. */
export async function openBlockStore(options: BlockStoreOptions): Promise<BlockStore> {
  const { disk, dir, log } = options;
  const identity = options.identity ?? '';
  const readOnly = options.readOnly ?? false;
  if (!readOnly) await makeDurableDirectory(disk, dir);
  const label = await readLabel(disk, dir);
  if (readOnly && label === undefined) throw new AppError('LABEL', `${dir} holds no store: it has no label`);
  if (label !== undefined && label.identity !== identity)
    throw new AppError('LABEL', `${dir} is the store of '${label.identity}', not of '${identity}'`, {
      hint: 'Is this the right disk? A store is not taken over by another OSD.',
    });
  const wantedBytes = readOnly ? 0 : options.capacityBytes;
  const capacityBytes = Math.floor(Math.max(wantedBytes, label?.capacityBytes ?? 0) / blockBytes) * blockBytes;
  const memoryBudget = options.memoryBudget ?? 64 * 1024 * 1024;

  const opened: { close(): Promise<void> }[] = [];
  const keep = <T extends { close(): Promise<void> }>(part: T): T => {
    opened.push(part);
    return part;
  };
  try {
    const index = keep(await options.openIndex(disk, dir, Math.min(8 * 1024 * 1024, memoryBudget / 16)));
    const file = keep(await disk.open(`${dir}/data`, { create: !readOnly, writable: !readOnly, direct: true }));
    if (!readOnly && (await file.size()) < capacityBytes) {
      if (options.preallocate) await file.allocate(0, capacityBytes);
      else await file.truncate(capacityBytes);
      await file.datasync();
      await disk.syncDirectory(dir);
    }
    const segmentBytes = options.journalSegmentBytes ?? 16 * 1024 * 1024;
    const journal = keep(await openJournal({ disk, dir: `${dir}/journal`, clock: options.clock, log, segmentBytes }));
    const catalog = new Catalog(index, capacityBytes / blockBytes, memoryBudget / 4);
    const store = new Store(options, {
      index,
      journal,
      catalog,
      data: new DataFile(disk, file, (memoryBudget * 3) / 8),
      segmentBytes,
      memoryBudget,
    });
    await store.replay();
    if (!readOnly && (label === undefined || label.capacityBytes !== capacityBytes))
      // Last: a store counts as made when it has its label.
      await writeLabel(disk, dir, { identity, capacityBytes, created: label?.created ?? options.clock.now() });
    return store;
  } catch (error) {
    // The index is locked as long as it is open.
    for (const part of opened) await part.close().catch(() => undefined);
    throw error;
  }
}

interface Parts {
  index: Index;
  journal: Journal;
  catalog: Catalog;
  data: DataFile;
  segmentBytes: number;
  memoryBudget: number;
}

/** A transaction between `queue` and its promise. */
interface Queued {
  index: number;
  translated: Translated;
  freed: Run[];
  ready: boolean;
  resolve: () => void;
  reject: (error: Error) => void;
}

class Store implements BlockStore {
  readonly #options: BlockStoreOptions;
  readonly #name: string;
  readonly #index: Index;
  readonly #journal: Journal;
  readonly #catalog: Catalog;
  readonly #data: DataFile;
  readonly #trimmer: Trimmer;
  readonly #writer = new RecordWriter();
  readonly #deferredMaxBytes: number;
  readonly #checkpointMs: number;
  /** A checkpoint begins when this much was logged, or bound in memory, since the last; writes wait at four times as much. */
  readonly #checkpointBytes: number;

  /** Applied and not yet handed to the journal, in order. */
  #waiting: Queued[] = [];
  #uncommitted = 0;
  #appliedIndex: number;
  #committedIndex: number;
  #commitWaiters: { index: number; resolve: () => void; reject: (error: Error) => void }[] = [];
  #failed: AppError | undefined;
  #closed = false;

  #checkpointIndex: number;
  #checkpointing: Promise<void> | undefined;
  #checkpointTimer: Timer | undefined;
  #checkpoints = 0;
  #checkpointTook = 0;
  #loggedBytes = 0;
  #checksumErrors = 0;
  readonly #compression: CompressionCounts = { compress_success_count: 0, compress_rejected_count: 0 };
  /** By pool. */
  #compressors: ReadonlyMap<number, Compressor> = new Map();
  /** Free bytes of the file system below the data file, when it is sparse. */
  #hostAvailable = Number.POSITIVE_INFINITY;
  #hostSpent = 0;
  #hostAsked = Number.NEGATIVE_INFINITY;

  constructor(options: BlockStoreOptions, parts: Parts) {
    this.#options = options;
    this.#name = options.identity || options.dir;
    this.#index = parts.index;
    this.#journal = parts.journal;
    this.#catalog = parts.catalog;
    this.#catalog.onDamaged = (error) => this.#damaged(error);
    this.#data = parts.data;
    const idle = (): boolean => this.#uncommitted === 0 && !this.#closed && this.#failed === undefined;
    this.#trimmer = new Trimmer(options.clock, parts.catalog.allocator, parts.data, idle);
    this.#deferredMaxBytes = options.deferredMaxBytes ?? 32 * 1024;
    this.#checkpointMs = options.checkpointMs ?? 30_000;
    this.#checkpointBytes = Math.min(1.5 * parts.segmentBytes, parts.memoryBudget / 4);
    this.#appliedIndex = parts.catalog.appliedIndex;
    this.#committedIndex = this.#appliedIndex;
    this.#checkpointIndex = this.#appliedIndex;
  }

  // --- opening

  async replay(): Promise<void> {
    const { journal, catalog } = { journal: this.#journal, catalog: this.#catalog };
    const from = this.#appliedIndex + 1;
    if (journal.firstIndex > from || journal.lastIndex < this.#appliedIndex)
      throw new AppError(
        'STORE_CORRUPT',
        `${this.#name}: the index ends at record ${this.#appliedIndex}, the journal holds ${journal.firstIndex} to ${journal.lastIndex}`,
        {
          hint: 'Files of different stores, or of different times, were put together. Restore this OSD from its peers.',
        },
      );
    // Only content of blocks that still have their owner at the end may be written: a later one may hold other data already.
    const images = new Map<number, { index: number; bytes: Uint8Array }>();
    await journal.replay(from, (record) => {
      if (record.type !== transactionRecord)
        throw new AppError('VERSION', `${this.#name}: journal record ${record.index} has unknown type ${record.type}`);
      catalog.freed = [];
      replayTransaction(catalog, new ByteReader(record.payload), (physical, bytes) =>
        images.set(physical, { index: record.index, bytes: new Uint8Array(bytes) }),
      );
      for (const run of catalog.freed) {
        for (let block = run.start; block < run.start + run.count; block++) images.delete(block);
        catalog.allocator.release(run);
      }
      this.#loggedBytes += record.payload.length;
    });
    for (const [physical, { index, bytes }] of images) {
      const image = new BlockImage(physical, index);
      image.resolve(bytes, blockCrc(bytes));
      // Any older content of the block that is missing in the file was in the same stretch of the journal.
      this.#data.add(image);
    }
    const count = journal.lastIndex - this.#appliedIndex;
    this.#appliedIndex = journal.lastIndex;
    this.#committedIndex = journal.lastIndex;
    if (count > 0) {
      this.#options.log.info('blockstore: replayed the journal', {
        store: this.#name,
        transactions: count,
        blocks: images.size,
      });
      this.#armCheckpoint();
    }
    await this.#askHost();
  }

  // --- writing

  async queue(transaction: Transaction): Promise<void> {
    if (this.#failed) throw this.#failed;
    if (this.#options.readOnly) throw new AppError('READ_ONLY', `${this.#name} was opened to be looked at`);
    assert(!this.#closed, () => `transaction for the closed store ${this.#name}`);
    const { blocks } = validate(this.#catalog, transaction, this.#deferredMaxBytes);
    if (blocks > 0) this.#checkSpace(blocks);

    const index = ++this.#appliedIndex;
    this.#catalog.freed = [];
    const translated = translate(transaction, {
      catalog: this.#catalog,
      data: this.#data,
      writer: this.#writer,
      index,
      deferredMaxBytes: this.#deferredMaxBytes,
      compressors: this.#compressors,
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const ready = translated.direct.length === 0 && translated.merges.length === 0;
    const queued: Queued = { index, translated, freed: this.#catalog.freed, ready, resolve, reject };
    this.#catalog.freed = [];
    this.#waiting.push(queued);
    this.#uncommitted++;
    if (ready) this.#pump();
    else
      this.#prepare(queued).then(
        () => {
          queued.ready = true;
          this.#pump();
        },
        (error: unknown) => void this.#fail(error),
      );
    return promise;
  }

  hasRoom(bytes: number): boolean {
    return this.#noSpace(Math.ceil(bytes / blockBytes) + rewrittenBlocks) === undefined;
  }

  /** Why there is no room for so many new blocks. */
  #noSpace(blocks: number): NoSpaceError | undefined {
    const { freeBlocks, totalBlocks } = this.#catalog.allocator;
    const reserve = Math.min(reservedBlocks, Math.floor(totalBlocks / 16));
    if (blocks > freeBlocks - reserve)
      return new NoSpaceError(this.#name, blocks * blockBytes, Math.max(0, freeBlocks - reserve) * blockBytes);
    const reserveBytes = this.#options.hostReserveBytes ?? 64 * 1024 * 1024;
    if (this.#hostAvailable - blocks * blockBytes >= reserveBytes) return undefined;
    // Old news may refuse a write, so ask again for the next one.
    void this.#askHost();
    return new NoSpaceError(`file system of ${this.#name}`, blocks * blockBytes, this.#hostAvailable - reserveBytes);
  }

  #checkSpace(blocks: number): void {
    const short = this.#noSpace(blocks);
    if (short !== undefined) throw short;
    // Overwritten blocks take nothing, so this is less than there is: asked again before it matters.
    this.#hostAvailable -= blocks * blockBytes;
    this.#hostSpent += blocks * blockBytes;
    if (this.#hostSpent > hostNewsBytes || this.#options.clock.monotonic() - this.#hostAsked > 5000)
      void this.#askHost();
  }

  async #askHost(): Promise<void> {
    if (this.#options.preallocate) return;
    this.#hostAsked = this.#options.clock.monotonic();
    this.#hostSpent = 0;
    try {
      this.#hostAvailable = (await this.#options.disk.space(this.#options.dir)).available;
    } catch (error) {
      this.#options.log.warn('blockstore: free space is not known', { store: this.#name, error: errorText(error) });
    }
  }

  /** What must be there before the record: data in new blocks, on disk, and blocks merged with older ones. */
  async #prepare({ translated }: Queued): Promise<void> {
    const { direct, merges } = translated;
    const written = direct.map(({ runs, pieces }) => this.#data.writeDirect(runs, pieces));
    const merged = finishMerges(merges, this.#data, (error) => this.#damaged(error));
    await Promise.all([...written, merged]);
    if (direct.length > 0) await this.#data.sync();
  }

  #pump(): void {
    while (this.#waiting[0]?.ready && !this.#failed) {
      const queued = this.#waiting.shift()!;
      const pieces = queued.translated.effects.record();
      let bytes = 64;
      for (const piece of pieces) bytes += piece.length;
      this.#loggedBytes += bytes;
      const { index, done } = this.#journal.append(transactionRecord, pieces);
      assert(index === queued.index, () => `journal index ${index} for transaction ${queued.index}`);
      done.then(
        () => this.#committed(queued),
        (error: unknown) => queued.reject(this.#fail(error)),
      );
    }
    this.#armCheckpoint();
  }

  #committed(queued: Queued): void {
    this.#uncommitted--;
    this.#committedIndex = queued.index;
    for (const run of queued.freed)
      this.#data.forget(run, () => {
        this.#catalog.allocator.release(run);
        if (!this.#options.preallocate) this.#trimmer.add(run);
      });
    // Memory and journal are bounded: when a checkpoint is far behind, the news of a commit waits for it.
    if (this.#checkpointing && this.#loggedBytes > 2 * this.#checkpointBytes)
      void this.#checkpointing.then(queued.resolve);
    else queued.resolve();
    if (this.#commitWaiters.length === 0) return;
    const due = this.#commitWaiters.filter((waiter) => waiter.index <= queued.index);
    this.#commitWaiters = this.#commitWaiters.filter((waiter) => waiter.index > queued.index);
    for (const waiter of due) waiter.resolve();
  }

  /** Resolves when a transaction is on disk. */
  #whenCommitted(index: number): Promise<void> {
    if (this.#failed) return Promise.reject(this.#failed);
    if (this.#committedIndex >= index) return Promise.resolve();
    return new Promise((resolve, reject) => this.#commitWaiters.push({ index, resolve, reject }));
  }

  /** What is in memory and what is on disk have parted: nothing more is acknowledged; the process must start anew. */
  #fail(cause: unknown): AppError {
    if (this.#failed) return this.#failed;
    const error = new AppError('STORE_FAILED', `${this.#name}: the disk failed`, {
      cause,
      hint: 'Check the disk (dmesg, free space). The OSD restarts and replays its journal.',
    });
    this.#failed = error;
    this.#options.log.error('blockstore: the disk failed', { store: this.#name, error: errorText(cause) });
    this.#checkpointTimer?.cancel();
    for (const queued of this.#waiting) queued.reject(error);
    this.#waiting = [];
    for (const waiter of this.#commitWaiters) waiter.reject(error);
    this.#commitWaiters = [];
    return error;
  }

  #damaged(error: Error): void {
    this.#checksumErrors++;
    this.#options.log.error('blockstore: damaged data', { store: this.#name, error: error.message });
  }

  // --- checkpoints

  checkpoint(): Promise<void> {
    this.#startCheckpoint();
    return this.#checkpointing ?? Promise.resolve();
  }

  #armCheckpoint(): void {
    if (this.#options.readOnly || this.#failed || this.#closed || this.#checkpointIndex === this.#appliedIndex) return;
    const bound = this.#catalog.dirtyBytes + this.#data.pendingBytes;
    if (this.#loggedBytes > this.#checkpointBytes || bound > this.#checkpointBytes) this.#startCheckpoint();
    else
      this.#checkpointTimer ??= this.#options.clock.after(this.#checkpointMs, () => {
        this.#checkpointTimer = undefined;
        this.#startCheckpoint();
      });
  }

  #startCheckpoint(): void {
    if (this.#options.readOnly || this.#checkpointing || this.#failed) return;
    if (this.#checkpointIndex === this.#appliedIndex) return;
    this.#checkpointTimer?.cancel();
    this.#checkpointTimer = undefined;
    this.#checkpointing = this.#writeCheckpoint().then(
      () => {
        this.#checkpointing = undefined;
        this.#pump();
      },
      (error: unknown) => {
        this.#checkpointing = undefined;
        this.#fail(error);
      },
    );
  }

  async #writeCheckpoint(): Promise<void> {
    const began = this.#options.clock.monotonic();
    const index = this.#appliedIndex;
    this.#loggedBytes = 0;
    const snapshot = this.#catalog.freeze(index);
    // Transactions that wait in `#pump` are part of it.
    await this.#whenCommitted(index);
    await this.#data.flush(index, (upTo) => this.#whenCommitted(upTo));
    await this.#data.sync();
    await this.#index.write(this.#catalog.changes(snapshot));
    this.#catalog.thaw();
    this.#journal.reclaim(index + 1);
    this.#checkpointIndex = index;
    this.#checkpoints++;
    this.#checkpointTook = this.#options.clock.monotonic() - began;
    if (this.#appliedIndex === index) this.#data.trim();
    this.#trimmer.start();
    await this.#askHost();
  }

  // --- reading

  #find(cid: CollectionId, key: ObjectKey): Onode | undefined {
    const collection = this.#catalog.collection(cid);
    return collection && this.#catalog.find(collection, keyString(key));
  }

  /** The object, for what must not be told of a damaged one. */
  #sound(cid: CollectionId, key: ObjectKey): Onode | undefined {
    const onode = this.#find(cid, key);
    if (onode?.damaged !== undefined) throw onode.damaged;
    return onode;
  }

  collections(): CollectionId[] {
    return this.#catalog.collectionNames();
  }

  stat(cid: CollectionId, key: ObjectKey): ObjectStat | undefined {
    const onode = this.#find(cid, key);
    return onode && (onode.damaged === undefined ? { size: onode.size } : { size: 0, damaged: true });
  }

  async read(
    cid: CollectionId,
    key: ObjectKey,
    offset: number,
    length: number,
    fromDisk = false,
  ): Promise<Uint8Array | undefined> {
    return readObject(
      {
        disk: this.#options.disk,
        buffers: this.#options.buffers,
        data: this.#data,
        name: this.#name,
        find: () => this.#sound(cid, key),
        damaged: (error) => this.#damaged(error),
      },
      offset,
      length,
      fromDisk,
    );
  }

  readNow(cid: CollectionId, key: ObjectKey, offset: number, length: number): Uint8Array | undefined {
    const onode = this.#sound(cid, key);
    return onode && readFromMemory(this.#data, onode, offset, length);
  }

  extents(cid: CollectionId, key: ObjectKey, offset: number, length: number): { offset: number; length: number }[] {
    const onode = this.#sound(cid, key);
    const out: { offset: number; length: number }[] = [];
    if (onode === undefined) return out;
    const end = Math.min(offset + length, onode.size);
    const add = (from: number, to: number): void => {
      const last = out.at(-1);
      if (last && last.offset + last.length === from) last.length += to - from;
      else if (to > from) out.push({ offset: from, length: to - from });
    };
    onode.table.forEachRun(Math.floor(offset / blockBytes), Math.ceil(end / blockBytes), (run) => {
      let from = Math.max(offset, run.logical * blockBytes);
      const to = Math.min(end, (run.logical + run.count) * blockBytes);
      for (const [gap, behind] of gapsIn(onode.gaps, from, to)) {
        add(from, gap);
        from = behind;
      }
      add(from, to);
    });
    return out;
  }

  xattr(cid: CollectionId, key: ObjectKey, name: string): Uint8Array | undefined {
    return this.#sound(cid, key)?.xattrs.get(name);
  }

  xattrs(cid: CollectionId, key: ObjectKey): Map<string, Uint8Array> {
    return new Map(this.#sound(cid, key)?.xattrs);
  }

  omapHeader(cid: CollectionId, key: ObjectKey): Uint8Array {
    return this.#sound(cid, key)?.omapHeader ?? new Uint8Array(0);
  }

  omapList(
    cid: CollectionId,
    key: ObjectKey,
    options: OmapListOptions,
  ): { entries: [string, Uint8Array][]; more: boolean } {
    const id = this.#sound(cid, key)?.omapId ?? 0;
    return id === 0 ? { entries: [], more: false } : this.#catalog.omaps.list(id, options);
  }

  omapGet(cid: CollectionId, key: ObjectKey, keys: readonly string[]): Map<string, Uint8Array> {
    const found = new Map<string, Uint8Array>();
    const id = this.#sound(cid, key)?.omapId ?? 0;
    if (id === 0) return found;
    for (const name of keys) {
      const value = this.#catalog.omaps.get(id, name);
      if (value !== undefined) found.set(name, value);
    }
    return found;
  }

  list(cid: CollectionId, start: ObjectKey, limit: number): ObjectKey[] {
    const collection = this.#catalog.collection(cid);
    return collection === undefined ? [] : this.#catalog.list(collection, keyString(start), limit).map(keyBytes);
  }

  statfs(): StoreStatfs {
    const { allocator, storedBytes, objects, omaps } = this.#catalog;
    const omapBytes = this.#index.omapBytes() + omaps.memoryBytes;
    return {
      totalBytes: allocator.totalBlocks * blockBytes,
      availableBytes: Math.min((allocator.freeBlocks + allocator.heldBlocks) * blockBytes, this.#hostAvailable),
      dataBytes: storedBytes,
      allocatedBytes: allocator.usedBlocks * blockBytes,
      omapBytes,
      metaBytes: Math.max(0, this.#index.bytes() - this.#index.omapBytes()) + this.#journal.diskBytes,
      objects,
      compressed: sumOf(this.#catalog.compressed.values()),
    };
  }

  compressed(): ReadonlyMap<number, Readonly<CompressedSums>> {
    return this.#catalog.compressed;
  }

  setCompression(policies: ReadonlyMap<number, CompressionPolicy>): void {
    this.#compressors = new Map(
      [...policies].map(([pool, policy]) => [pool, new Compressor(policy, this.#compression)]),
    );
  }

  status(): BlockStoreStatus {
    return {
      failed: this.#failed && errorText(this.#failed),
      journal: this.#journal.status(),
      checkpointIndex: this.#checkpointIndex,
      checkpoints: this.#checkpoints,
      checkpointMs: this.#checkpointTook,
      memoryBytes: this.#catalog.memoryBytes + this.#data.memoryBytes,
      deferredBytes: this.#data.pendingBytes,
      dirtyBytes: this.#catalog.dirtyBytes,
      uncommitted: this.#uncommitted,
      checksumErrors: this.#checksumErrors,
      compression: this.#compression,
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#checkpointTimer?.cancel();
    this.#trimmer.stop();
    try {
      if (!this.#failed && !this.#options.readOnly) {
        await this.#whenCommitted(this.#appliedIndex);
        while (this.#checkpointing !== undefined) await this.#checkpointing;
        await this.checkpoint();
      }
    } finally {
      await this.#journal.close();
      await this.#data.close();
      await this.#index.close();
    }
  }
}

function sumOf(parts: Iterable<Readonly<CompressedSums>>): CompressedSums {
  const sum = { stored: 0, allocated: 0, original: 0 };
  for (const { stored, allocated, original } of parts) {
    sum.stored += stored;
    sum.allocated += allocated;
    sum.original += original;
  }
  return sum;
}
