import type { Clock, Timer } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { plantedFault } from '../base/planted-fault.ts';
import type { Histogram } from '../base/prometheus.ts';
import { StoreClosedError } from './errors.ts';
import type { RowWriter } from './rows.ts';
import type { State } from './state.ts';

/** Changes are written to the database when there are this many, or after `flushAfterMs`. */
const flushRows = 1000;
const flushBytes = 1 << 20;

/** A checkpoint follows when this much went to the log or the database since the last one, or after this time. */
export const defaultCheckpointBytes = 8 << 20;
const checkpointAfterMs = 30 * 60_000;

/** What the flusher needs of the log. */
export interface FlushedLog {
  /** Resolves when everything appended so far is on disk. */
  sync(): Promise<void>;
  /** Entries up to `applied` are not needed any more: their effect is on disk elsewhere. */
  reclaim(applied: number): Promise<void>;
  status(): { bytesWritten: number };
}

export interface FlusherOptions {
  /** For messages. */
  dir: string;
  clock: Clock;
  log: Logger;
  entries: FlushedLog;
  state: State;
  writer: RowWriter;
  flushAfterMs: number;
  checkpointBytes: number;
  /** Everything up to this revision is in the database. */
  onWritten(revision: number): void;
  onFailed(error: unknown): void;
  /** Told of the seconds that each batch took. */
  writeSeconds: Histogram;
}

/**
 * Brings applied changes to the database, and lets go of the log behind a checkpoint. Two orders hold under power loss: entries are on disk
 * before the database contains their effect (or the database could be ahead of a log that lost its volatile tail), and log segments go only
 * after the checkpoint that contains them is on disk.
 */
export class Flusher {
  readonly #options: FlusherOptions;
  #timer: Timer | undefined;
  /** The job that runs, with everything that was asked for before it ends. */
  #running: Promise<void> | undefined;
  #again = false;
  #compactTo = 0;
  #compacted = 0;
  /** What the database says is compacted: it is swept no further, so that what it holds agrees with what it says. */
  #writtenCompact = 0;
  /** Newest entry whose effect is in the database. */
  #writtenIndex: number;
  readonly #waitingForCompaction: { revision: number; resolve: () => void; reject: (error: unknown) => void }[] = [];
  #bytesAtCheckpoint = 0;
  #checkpointAt: number;
  #stopped = false;

  constructor(options: FlusherOptions) {
    this.#options = options;
    this.#checkpointAt = options.clock.monotonic();
    this.#compactTo = options.state.compactRevision;
    this.#writtenIndex = options.state.appliedIndex - options.state.pendingEntries;
  }

  /** Called after changes were applied. */
  changed(): void {
    if (this.#stopped) return;
    const { state, clock, flushAfterMs } = this.#options;
    if (state.pendingRows >= flushRows || state.pendingBytes >= flushBytes) this.#start();
    else if (this.#timer === undefined && state.pendingEntries > 0)
      this.#timer = clock.after(flushAfterMs, () => this.#start());
  }

  compact(revision: number): void {
    this.#compactTo = Math.max(this.#compactTo, revision);
    this.#start();
  }

  /** Resolves when everything before `revision` is gone from the database. */
  compacted(revision: number): Promise<void> {
    if (this.#compacted >= revision) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waitingForCompaction.push({ revision, resolve, reject });
      this.#start();
    });
  }

  /** Resolves when everything applied before the call is in the database. */
  async flush(): Promise<void> {
    const index = this.#options.state.appliedIndex;
    while (this.#writtenIndex < index) {
      if (this.#stopped) throw new StoreClosedError(this.#options.dir);
      this.#start();
      await this.#running;
    }
  }

  #settleCompactions(error?: unknown): void {
    for (const waiting of this.#waitingForCompaction.splice(0)) {
      if (error !== undefined) waiting.reject(error);
      else if (this.#compacted >= waiting.revision) waiting.resolve();
      else this.#waitingForCompaction.push(waiting);
    }
  }

  #start(): void {
    if (this.#stopped) return;
    if (this.#running !== undefined) {
      this.#again = true;
      return;
    }
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#running = this.#run()
      .catch((error: unknown) => {
        this.#stopped = true;
        this.#settleCompactions(error);
        this.#options.onFailed(error);
      })
      .finally(() => {
        this.#running = undefined;
        if (!this.#again) return this.changed();
        this.#again = false;
        this.#start();
      });
  }

  async #run(): Promise<void> {
    await this.#write();
    const to = Math.min(this.#compactTo, this.#writtenCompact);
    if (to > this.#compacted) {
      await this.#options.writer.compact(to);
      this.#compacted = to;
    }
    this.#settleCompactions();
    if (this.#compactTo > this.#compacted) this.#again = true;
    if (this.#checkpointDue()) await this.#checkpoint();
  }

  async #write(): Promise<void> {
    const { state, entries, writer, clock, onWritten, writeSeconds } = this.#options;
    if (state.pendingEntries === 0) {
      this.#writtenCompact = state.compactRevision;
      this.#writtenIndex = state.appliedIndex;
      return;
    }
    const batch = state.takeBatch();
    await entries.sync();
    const began = clock.monotonic();
    await writer.write(batch);
    writeSeconds.observe((clock.monotonic() - began) / 1000);
    state.written(batch);
    this.#writtenCompact = batch.meta.compactRevision;
    this.#writtenIndex = batch.meta.appliedIndex;
    onWritten(batch.meta.revision);
  }

  #bytes(): number {
    return this.#options.entries.status().bytesWritten + this.#options.writer.status().bytesWritten;
  }

  #checkpointDue(): boolean {
    const bytes = this.#bytes() - this.#bytesAtCheckpoint;
    return (
      bytes >= this.#options.checkpointBytes ||
      (bytes > 0 && this.#options.clock.monotonic() - this.#checkpointAt >= checkpointAfterMs)
    );
  }

  async #checkpoint(): Promise<void> {
    const { clock, writer, entries, log } = this.#options;
    this.#bytesAtCheckpoint = this.#bytes();
    this.#checkpointAt = clock.monotonic();
    if (plantedFault('reclaim-early')) await entries.reclaim(this.#options.state.appliedIndex);
    const applied = await writer.checkpoint();
    await entries.reclaim(applied);
    log.debug('store: checkpoint', { applied, ms: Math.round(clock.monotonic() - this.#checkpointAt) });
  }

  /** Writes out everything and makes a checkpoint; nothing is started afterwards. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    while (this.#running !== undefined) await this.#running;
    if (this.#stopped) return;
    this.#stopped = true;
    this.#settleCompactions(new StoreClosedError(this.#options.dir));
    try {
      await this.#write();
      await this.#checkpoint();
    } catch (error) {
      // The log has everything: the next start replays it.
      this.#options.log.warn('store: not written out at the end', { error: errorText(error) });
    }
  }

  /** Ends without writing: the log has everything. Resolves when nothing is under way. */
  async abandon(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#settleCompactions(new StoreClosedError(this.#options.dir));
    await this.#running;
  }
}
