import { AppError } from '../base/errors.ts';
import { encodeBatch } from './batch-codec.ts';
import type { Batch, DatabaseSize, RowWriter } from './rows.ts';
import { batchBytes } from './writer-system.ts';

export type WriterRequest = { id: number } & (
  | { op: 'open'; path: string }
  | { op: 'write'; batch: Uint8Array }
  | { op: 'checkpoint' }
  | { op: 'compact-step'; revision: number }
  | { op: 'hash'; revision: number }
  | { op: 'snapshot'; path: string }
  | { op: 'copy'; path: string }
  | { op: 'vacuum' }
  | { op: 'close' }
);

type WriterOp = WriterRequest extends infer R ? (R extends { id: number } ? Omit<R, 'id'> : never) : never;

export interface WriterReply {
  id: number;
  value?: unknown;
  error?: string;
  code?: string | undefined;
}

/** In a compiled executable, modules that are entry points keep their path from the root of the source tree. */
const workerSource = import.meta.url.includes('/$bunfs/')
  ? './internal/store/writer.worker.ts'
  : new URL('./writer.worker.ts', import.meta.url).href;

/** A thread is expected to answer its first request within this time. */
const startMs = 10_000;

/** Writes in a thread of its own, so that neither rows nor syncs hold the event loop. */
export class WorkerWriter implements RowWriter {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #nextId = 1;
  #bytesWritten = 0;
  #size: DatabaseSize = { databaseBytes: 0, databaseBytesInUse: 0 };
  #failed: Error | undefined;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.onmessage = (event: MessageEvent<WriterReply>) => {
      const { id, value, error, code } = event.data;
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error !== undefined) waiting?.reject(new AppError(code ?? 'DATABASE', error));
      else waiting?.resolve(value);
      if (this.#waiting.size === 0) worker.unref();
    };
    worker.onerror = (event) => this.#fail(new Error(`the database thread failed: ${event.message}`));
    worker.addEventListener('close', () => this.#fail(new Error('the database thread ended')));
  }

  static async start(path: string): Promise<WorkerWriter> {
    const writer = new WorkerWriter(new Worker(workerSource));
    const timer = setTimeout(() => writer.#fail(new Error('the database thread did not start')), startMs);
    try {
      writer.#size = await writer.#ask<DatabaseSize>({ op: 'open', path });
      return writer;
    } catch (error) {
      writer.#worker.terminate();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #ask<T>(op: WriterOp, transfer: ArrayBuffer[] = []): Promise<T> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#worker.ref();
      this.#worker.postMessage({ id, ...op }, transfer);
    });
  }

  #fail(error: Error): void {
    this.#failed ??= error;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(error);
  }

  async write(batch: Batch): Promise<void> {
    this.#bytesWritten += batchBytes(batch);
    const bytes = encodeBatch(batch);
    this.#size = await this.#ask<DatabaseSize>({ op: 'write', batch: bytes }, [bytes.buffer as ArrayBuffer]);
  }

  async checkpoint(): Promise<number> {
    const { applied, ...size } = await this.#ask<DatabaseSize & { applied: number }>({ op: 'checkpoint' });
    this.#size = size;
    return applied;
  }

  async compact(revision: number): Promise<void> {
    for (;;) {
      const { more, ...size } = await this.#ask<DatabaseSize & { more: boolean }>({ op: 'compact-step', revision });
      this.#size = size;
      if (!more) return;
    }
  }

  hash(revision: number): Promise<{ hash: number; revision: number; compactRevision: number }> {
    return this.#ask({ op: 'hash', revision });
  }

  snapshot(path: string): Promise<{ revision: number; bytes: number }> {
    return this.#ask({ op: 'snapshot', path });
  }

  async copy(path: string): Promise<void> {
    await this.#ask({ op: 'copy', path });
  }

  async vacuum(): Promise<void> {
    this.#size = await this.#ask<DatabaseSize>({ op: 'vacuum' });
  }

  status(): DatabaseSize & { bytesWritten: number } {
    return { ...this.#size, bytesWritten: this.#bytesWritten };
  }

  async close(): Promise<void> {
    if (this.#failed === undefined) await this.#ask({ op: 'close' });
    this.#worker.terminate();
  }
}
