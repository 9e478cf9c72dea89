import { type FileHandle, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '../../../base/clock.ts';
import { errorText } from '../../../base/errors.ts';
import { makeDirectory } from '../../../base/files-system.ts';
import type { Logger } from '../../../base/log.ts';
import type { AuditSink } from './trail.ts';

export interface AuditLogOptions {
  /** `…/audit.log`; files before it are `audit-<time>.log` beside it. */
  readonly file: string;
  /** Days after which files before it are removed; 0: never. */
  readonly maxAgeDays: number;
  /** How many of them are kept; 0: all. */
  readonly maxBackups: number;
  /** Bytes at which a new file is begun. */
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What waits for a slow disk; beyond it events are dropped. */
const bufferBytesMax = 8 * 1024 * 1024;
const dayMs = 86_400_000;
/** A disk that fails is tried again after this time. */
const retryMs = 5000;
/** How often the log of the server tells of dropped events. */
const tellMs = 60_000;

/**
 * The audit log: a line an event, written in batches by one writer, so that no request ever waits for the disk. What does not fit into the buffer is dropped, counted
 * and told; nothing is synced: a power cut takes what the kernel had not written.
 */
export class AuditLog implements AuditSink {
  readonly #options: AuditLogOptions;
  #queue: string[] = [];
  #queued = 0;
  #handle: FileHandle | undefined;
  #size = 0;
  #writing: Promise<void> | undefined;
  #closed = false;
  #toldAt = Number.NEGATIVE_INFINITY;
  #untold = 0;
  /** Since the start. */
  written = 0;
  dropped = 0;

  constructor(options: AuditLogOptions) {
    this.#options = options;
  }

  /** Opens the file, so that a directory that cannot be written is told at the start. */
  async start(): Promise<void> {
    makeDirectory(dirname(this.#options.file));
    await this.#open();
    await this.#prune();
  }

  write(line: string): void {
    const bytes = line.length + 1;
    if (this.#closed || this.#queued + bytes > bufferBytesMax) {
      this.#drop(1, 'the disk is too slow');
      return;
    }
    this.#queue.push(line);
    this.#queued += bytes;
    this.#writing ??= this.#run().finally(() => {
      this.#writing = undefined;
    });
  }

  counts(): Record<string, number> {
    return { apiserver_audit_event_total: this.written + this.dropped, apiserver_audit_error_total: this.dropped };
  }

  #drop(count: number, why: string): void {
    this.dropped += count;
    this.#untold += count;
    const now = this.#options.clock.monotonic();
    if (now - this.#toldAt < tellMs) return;
    this.#options.log.warn('audit events are lost', { dropped: this.#untold, why, file: this.#options.file });
    this.#toldAt = now;
    this.#untold = 0;
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      const lines = this.#queue;
      const queued = this.#queued;
      this.#queue = [];
      try {
        this.#handle ??= await this.#open();
        const bytes = Buffer.from(`${lines.join('\n')}\n`);
        for (let at = 0; at < bytes.length; ) at += (await this.#handle.write(bytes, at)).bytesWritten;
        this.#size += bytes.length;
        this.written += lines.length;
        if (this.#size >= this.#options.maxBytes) await this.#rotate();
      } catch (error) {
        this.#drop(lines.length, errorText(error));
        await this.#handle?.close().catch(() => undefined);
        this.#handle = undefined;
        if (!this.#closed) await new Promise<void>((resolve) => this.#options.clock.after(retryMs, resolve));
      } finally {
        // Only now: what is being written is in memory, too.
        this.#queued -= queued;
      }
    }
  }

  async #open(): Promise<FileHandle> {
    this.#handle = await open(this.#options.file, 'a', 0o600);
    this.#size = (await this.#handle.stat()).size;
    return this.#handle;
  }

  async #rotate(): Promise<void> {
    const { clock, file } = this.#options;
    await this.#handle?.close();
    this.#handle = undefined;
    const time = new Date(clock.now()).toISOString().replaceAll(':', '-').slice(0, -1);
    let to = file.replace(/(\.log)?$/, `-${time}.log`);
    for (let more = 1; await exists(to); more++) to = file.replace(/(\.log)?$/, `-${time}-${more}.log`);
    await rename(file, to);
    await this.#prune();
  }

  async #prune(): Promise<void> {
    const { clock, file, maxAgeDays, maxBackups } = this.#options;
    const directory = dirname(file);
    const start = file.slice(directory.length + 1).replace(/\.log$/, '-');
    const earlier: { path: string; time: number }[] = [];
    for (const name of await readdir(directory)) {
      if (!name.startsWith(start) || !/-\d{4}-\d{2}-\d{2}T[\d.-]+\.log$/.test(name)) continue;
      const path = join(directory, name);
      earlier.push({ path, time: (await stat(path)).mtimeMs });
    }
    earlier.sort((a, b) => b.time - a.time || (a.path < b.path ? 1 : -1));
    for (const [at, { path, time }] of earlier.entries()) {
      const old = maxAgeDays > 0 && clock.now() - time > maxAgeDays * dayMs;
      if (old || (maxBackups > 0 && at >= maxBackups)) await rm(path, { force: true });
    }
  }

  /** Writes what waits. */
  async close(): Promise<void> {
    await this.#writing;
    this.#closed = true;
    await this.#handle?.close();
    this.#handle = undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
