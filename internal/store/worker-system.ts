import { encodeBatch } from './batch-codec.ts';
import type { Batch, RowWriter } from './rows.ts';
import { batchBytes } from './writer-system.ts';

export type WriterRequest = { id: number } & (
  | { op: 'open'; path: string }
  | { op: 'write'; batch: Uint8Array }
  | { op: 'checkpoint' }
  | { op: 'compact-step'; revision: number }
  | { op: 'bytes' }
  | { op: 'close' }
);

type WriterOp = WriterRequest extends infer R ? (R extends { id: number } ? Omit<R, 'id'> : never) : never;

export interface WriterReply {
  id: number;
  value?: number;
  error?: string;
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
  readonly #waiting = new Map<number, { resolve: (value: number) => void; reject: (error: Error) => void }>();
  #nextId = 1;
  #bytesWritten = 0;
  #databaseBytes = 0;
  #failed: Error | undefined;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.onmessage = (event: MessageEvent<WriterReply>) => {
      const { id, value, error } = event.data;
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error !== undefined) waiting?.reject(new Error(error));
      else waiting?.resolve(value ?? 0);
      if (this.#waiting.size === 0) worker.unref();
    };
    worker.onerror = (event) => this.#fail(new Error(`the database thread failed: ${event.message}`));
    worker.addEventListener('close', () => this.#fail(new Error('the database thread ended')));
  }

  static async start(path: string): Promise<WorkerWriter> {
    const writer = new WorkerWriter(new Worker(workerSource));
    const timer = setTimeout(() => writer.#fail(new Error('the database thread did not start')), startMs);
    try {
      await writer.#ask({ op: 'open', path });
      return writer;
    } catch (error) {
      writer.#worker.terminate();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #ask(op: WriterOp, transfer: ArrayBuffer[] = []): Promise<number> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
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
    await this.#ask({ op: 'write', batch: bytes }, [bytes.buffer as ArrayBuffer]);
  }

  async checkpoint(): Promise<number> {
    const applied = await this.#ask({ op: 'checkpoint' });
    this.#databaseBytes = await this.#ask({ op: 'bytes' });
    return applied;
  }

  async compact(revision: number): Promise<void> {
    while ((await this.#ask({ op: 'compact-step', revision })) === 1);
  }

  status(): { databaseBytes: number; bytesWritten: number } {
    return { databaseBytes: this.#databaseBytes, bytesWritten: this.#bytesWritten };
  }

  async close(): Promise<void> {
    if (this.#failed === undefined) await this.#ask({ op: 'close' });
    this.#worker.terminate();
  }
}
