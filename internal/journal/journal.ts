import type { Timer } from '../base/clock.ts';
import { diskBounds, Histogram } from '../base/prometheus.ts';
import { type DiskFile, makeDurableDirectory } from '../base/disk.ts';
import { assert, errorText } from '../base/errors.ts';
import type { Appended, Durability, Journal, JournalOptions, JournalRecord, JournalStatus } from './api.ts';
import { BatchEncoder, type QueuedRecord } from './batch.ts';
import { JournalCorruptError, JournalFailedError } from './errors.ts';
import {
  encodeEndMark,
  headerBytes,
  recordBytes,
  recordHeaderBytes,
  recordSalt,
  type SegmentHeader,
} from './format.ts';
import { findStranded, scanSegment } from './scan.ts';
import { Segments } from './segments.ts';

/** Records that are written together at most. */
const maxBatchBytes = 8 * 1024 * 1024;
const syncSamples = 1024;
/** Deferred records kept in memory at most. */
const maxDeferredBytes = 64 * 1024;

/**
 * Opens or makes a journal. What stands behind the last whole record is cut (`status().tornBytes`); a damaged record before it throws
 * JournalCorruptError here or in `replay`.
 */
export async function openJournal(options: JournalOptions): Promise<Journal> {
  const { disk, dir, log } = options;
  const settings: Settings = {
    ...options,
    segmentBytes: Math.max(options.segmentBytes ?? 16 * 1024 * 1024, 2 * headerBytes),
    maxRecordBytes: options.maxRecordBytes ?? 64 * 1024 * 1024,
    volatileSyncMs: options.volatileSyncMs ?? 5000,
    deferredMs: options.deferredMs ?? 60_000,
  };
  await makeDurableDirectory(disk, dir);
  const segments = await Segments.open(disk, dir, settings.segmentBytes);
  const last = segments.last;
  if (last === undefined) {
    // An identity for the checksums; a journal made in the same millisecond elsewhere does no harm.
    const journalId = Math.floor(options.clock.now());
    const header: SegmentHeader = { journalId, sequence: 1, firstIndex: options.firstIndex ?? 1, epoch: 1, size: 0 };
    const active = await segments.begin(header);
    return new SegmentedJournal(settings, segments, active, headerBytes, header.firstIndex - 1, 1, 0);
  }

  const file = await disk.open(segments.path(last));
  const run = await scanSegment(file, last, settings);
  const stranded = await findStranded(file, last, run);
  if (stranded.provesLoss) throw new JournalCorruptError(segments.path(last), run.offset, run.why);
  const tornBytes = stranded.end - run.offset;
  if (tornBytes > 0)
    log.info('journal: cut an unfinished tail', {
      file: segments.path(last),
      offset: run.offset,
      bytes: tornBytes,
      lastIndex: run.nextIndex - 1,
      why: run.why,
    });
  // What was read may still be in the page cache only, when just our process had ended; it counts as acknowledged from here on.
  await file.datasync();
  return new SegmentedJournal(
    settings,
    segments,
    { header: last, file },
    run.offset,
    run.nextIndex - 1,
    stranded.epoch + 1,
    tornBytes,
  );
}

interface Settings extends JournalOptions {
  segmentBytes: number;
  maxRecordBytes: number;
  volatileSyncMs: number;
  deferredMs: number;
}

interface Active {
  header: SegmentHeader;
  file: DiskFile;
}

class SegmentedJournal implements Journal {
  readonly #settings: Settings;
  readonly #segments: Segments;
  readonly #epoch: number;
  readonly #tornBytes: number;
  readonly #encoder = new BatchEncoder();
  #active: Active;
  /** Where the next record goes in the active segment. */
  #offset: number;

  #lastIndex: number;
  #writtenIndex: number;
  #durableIndex: number;
  #queue: QueuedRecord[] = [];
  #pendingBytes = 0;
  #syncWaiters: { index: number; resolve: () => void; reject: (error: Error) => void }[] = [];
  #volatileTimer: Timer | undefined;
  /** Runs while nothing but deferred records is in the queue. */
  #deferredTimer: Timer | undefined;
  /** The one loop that writes, while there is something to write. */
  #running: Promise<void> | undefined;
  /** The recycling of segments, one round after the other. */
  #recycling: Promise<void> = Promise.resolve();
  /** A spare in the making. */
  #preparing: Promise<void> | undefined;
  #reclaimBefore = 0;
  #failed: JournalFailedError | undefined;
  #closed = false;
  readonly #syncMs = new Float64Array(syncSamples);
  readonly #syncSeconds = new Histogram(diskBounds);
  #syncCount = 0;

  constructor(
    settings: Settings,
    segments: Segments,
    active: Active,
    offset: number,
    lastIndex: number,
    epoch: number,
    tornBytes: number,
  ) {
    this.#settings = settings;
    this.#segments = segments;
    this.#active = active;
    this.#offset = offset;
    this.#lastIndex = lastIndex;
    this.#writtenIndex = lastIndex;
    this.#durableIndex = lastIndex;
    this.#epoch = epoch;
    this.#tornBytes = tornBytes;
  }

  get firstIndex(): number {
    return this.#segments.firstIndex;
  }

  get lastIndex(): number {
    return this.#lastIndex;
  }

  get diskBytes(): number {
    return this.#segments.diskBytes;
  }

  append(type: number, pieces: readonly Uint8Array[], durability: Durability = 'durable'): Appended {
    if (this.#failed) throw this.#failed;
    assert(!this.#closed, () => `append to the closed journal ${this.#settings.dir}`);
    let length = 0;
    for (const piece of pieces) length += piece.length;
    if (length > this.#settings.maxRecordBytes)
      throw new RangeError(
        `${this.#settings.dir}: a record of ${length} bytes, at most ${this.#settings.maxRecordBytes}`,
      );
    const index = ++this.#lastIndex;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const durable = durability === 'durable';
    const deferred = durability === 'deferred';
    // The caller of a deferred record is told at once and may then use the memory again.
    const kept = deferred ? pieces.map((piece) => new Uint8Array(piece)) : pieces;
    this.#queue.push({ index, type, pieces: kept, length, durable, promise, resolve, reject });
    this.#pendingBytes += length;
    if (deferred) {
      resolve();
      this.#armDeferred();
    } else this.#kick();
    return { index, done: promise };
  }

  async replay(from: number, fn: (record: JournalRecord) => void | Promise<void>): Promise<void> {
    const end = this.#writtenIndex + 1;
    await this.#segments.read(async (all) => {
      for (const [i, header] of all.entries()) {
        const endIndex = Math.min(all[i + 1]?.firstIndex ?? end, end);
        if (endIndex <= from || header.firstIndex >= endIndex) continue;
        const path = this.#segments.path(header);
        const file = await this.#settings.disk.open(path, { writable: false });
        try {
          const visit = (record: JournalRecord): void | Promise<void> =>
            record.index >= from ? fn(record) : undefined;
          const run = await scanSegment(file, header, { ...this.#settings, endIndex, visit });
          if (run.nextIndex < endIndex) throw new JournalCorruptError(path, run.offset, run.why);
        } finally {
          await file.close();
        }
      }
    });
  }

  sync(): Promise<void> {
    if (this.#failed) return Promise.reject(this.#failed);
    if (this.#durableIndex >= this.#lastIndex) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#syncWaiters.push({ index: this.#lastIndex, resolve, reject });
      this.#kick();
    });
  }

  reclaim(beforeIndex: number): void {
    if (beforeIndex <= this.#reclaimBefore || this.#closed) return;
    this.#reclaimBefore = beforeIndex;
    this.#recycling = this.#recycling
      .then(() => this.#segments.recycle(this.#reclaimBefore))
      .catch((error: unknown) => this.#warn('could not recycle segments', error));
  }

  status(): JournalStatus {
    const count = Math.min(this.#syncCount, syncSamples);
    const sorted = this.#syncMs.slice(0, count).sort();
    const at = (q: number): number => sorted[Math.min(count - 1, Math.floor(count * q))] ?? 0;
    return {
      firstIndex: this.firstIndex,
      lastIndex: this.#lastIndex,
      durableIndex: this.#durableIndex,
      segments: this.#segments.count,
      diskBytes: this.diskBytes,
      pendingBytes: this.#pendingBytes,
      tornBytes: this.#tornBytes,
      syncMs: { p50: at(0.5), p99: at(0.99), count: this.#syncCount },
      syncSeconds: this.#syncSeconds,
      failed: this.#failed && errorText(this.#failed),
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      if (!this.#failed) await this.sync();
      await this.#running;
      await this.#preparing;
      await this.#markEnd();
      await this.#recycling;
    } finally {
      this.#volatileTimer?.cancel();
      this.#deferredTimer?.cancel();
      await this.#active.file.close();
    }
  }

  // --- writing

  #kick(): void {
    // Not at once: what the same turn of the event loop appends joins the first write.
    this.#running ??= Promise.resolve().then(() => this.#writeAll());
  }

  async #writeAll(): Promise<void> {
    try {
      for (;;) {
        if (this.#queue.length > 0) await this.#writeBatch();
        else if (this.#syncWaiters.length > 0) await this.#syncActive();
        else break;
      }
    } catch (error) {
      this.#fail(error);
    }
    this.#running = undefined;
  }

  /** Deferred records wait for company, for a while; a write under way takes them along. */
  #armDeferred(): void {
    if (this.#running !== undefined) return;
    if (this.#pendingBytes >= maxDeferredBytes) this.#writeDeferred();
    else this.#deferredTimer ??= this.#settings.clock.after(this.#settings.deferredMs, () => this.#writeDeferred());
  }

  #writeDeferred(): void {
    // A failure reaches whoever appends next.
    if (!this.#failed && !this.#closed) this.sync().catch(() => undefined);
  }

  async #writeBatch(): Promise<void> {
    this.#deferredTimer?.cancel();
    this.#deferredTimer = undefined;
    const first = this.#queue[0]!;
    if (this.#offset + recordBytes(first.length) > this.#active.header.size) await this.#roll(first.length);

    let bytes = 0;
    let count = 0;
    let durable = this.#syncWaiters.length > 0;
    for (const record of this.#queue) {
      const more = recordBytes(record.length);
      if (count > 0 && (bytes + more > maxBatchBytes || this.#offset + bytes + more > this.#active.header.size)) break;
      bytes += more;
      durable ||= record.durable;
      count++;
    }
    const batch = count === this.#queue.length ? this.#queue : this.#queue.slice(0, count);
    this.#queue = count === this.#queue.length ? [] : this.#queue.slice(count);
    const pieces = this.#encoder.encode(batch, this.#active.header, this.#epoch, this.#durableIndex);

    const { file } = this.#active;
    const last = batch.at(-1)!.index;
    try {
      const began = this.#settings.clock.monotonic();
      if (!durable) {
        await file.write(pieces, this.#offset);
        this.#armVolatileSync();
      } else if (this.#durableIndex === this.#writtenIndex) {
        await file.writeDurable(pieces, this.#offset);
      } else {
        await file.write(pieces, this.#offset);
        await file.datasync();
      }
      if (durable) {
        const ms = this.#settings.clock.monotonic() - began;
        this.#syncMs[this.#syncCount++ % syncSamples] = ms;
        this.#syncSeconds.observe(ms / 1000);
      }
    } catch (error) {
      this.#queue = [...batch, ...this.#queue];
      throw error;
    }
    this.#offset += bytes;
    this.#writtenIndex = last;
    for (const record of batch) {
      this.#pendingBytes -= record.length;
      record.resolve();
    }
    if (durable) this.#becameDurable(last);
    if (this.#offset > this.#active.header.size / 2) this.#prepareSpare();
  }

  async #syncActive(): Promise<void> {
    const written = this.#writtenIndex;
    if (this.#durableIndex < written) await this.#active.file.datasync();
    this.#becameDurable(written);
  }

  #becameDurable(index: number): void {
    this.#durableIndex = index;
    this.#volatileTimer?.cancel();
    this.#volatileTimer = undefined;
    if (this.#syncWaiters.length === 0) return;
    const done = this.#syncWaiters.filter((waiter) => waiter.index <= index);
    this.#syncWaiters = this.#syncWaiters.filter((waiter) => waiter.index > index);
    for (const waiter of done) waiter.resolve();
  }

  #armVolatileSync(): void {
    this.#volatileTimer ??= this.#settings.clock.after(this.#settings.volatileSyncMs, () => {
      this.#volatileTimer = undefined;
      // A failure reaches whoever appends next.
      if (!this.#failed && !this.#closed) this.sync().catch(() => undefined);
    });
  }

  /** Says behind the last record that everything is on disk: one that cannot be read is then known to be lost, and not taken for a torn one. */
  async #markEnd(): Promise<void> {
    if (this.#failed || this.#durableIndex < this.#active.header.firstIndex) return;
    try {
      // The next segment says it of this one, when there is no room.
      if (this.#offset + recordHeaderBytes > this.#active.header.size) await this.#roll(0);
      else {
        const { header, file } = this.#active;
        await file.writeDurable([encodeEndMark(this.#durableIndex, this.#epoch, recordSalt(header))], this.#offset);
      }
    } catch (error) {
      this.#warn('could not mark its end', error);
    }
  }

  /** Ends the active segment with everything in it durable and begins the next. */
  async #roll(payloadLength: number): Promise<void> {
    await this.#syncActive();
    const { header, file } = this.#active;
    const need = headerBytes + recordBytes(payloadLength);
    // A spare in the making is better waited for than raced.
    if (need <= this.#settings.segmentBytes) await this.#preparing;
    this.#active = await this.#segments.begin(
      {
        journalId: header.journalId,
        sequence: header.sequence + 1,
        firstIndex: this.#writtenIndex + 1,
        epoch: this.#epoch,
        size: 0,
      },
      need,
    );
    this.#offset = headerBytes;
    await file.close();
  }

  #prepareSpare(): void {
    if (this.#preparing !== undefined || this.#segments.hasSpare) return;
    this.#preparing = this.#segments
      .makeSpare()
      .catch((error: unknown) => this.#warn('could not prepare a segment', error))
      .finally(() => {
        this.#preparing = undefined;
      });
  }

  #warn(what: string, error: unknown): void {
    this.#settings.log.warn(`journal: ${what}`, { dir: this.#settings.dir, error: errorText(error) });
  }

  #fail(cause: unknown): void {
    const error = new JournalFailedError(this.#settings.dir, cause);
    this.#failed = error;
    this.#volatileTimer?.cancel();
    this.#deferredTimer?.cancel();
    this.#settings.log.error('journal: a write failed', { dir: this.#settings.dir, error: errorText(cause) });
    for (const record of this.#queue) {
      record.promise.catch(() => undefined);
      record.reject(error);
    }
    this.#queue = [];
    for (const waiter of this.#syncWaiters) waiter.reject(error);
    this.#syncWaiters = [];
  }
}
