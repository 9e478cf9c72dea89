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
  | { op: 'verify'; path: string }
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

/** One thread with `writer.worker.ts`: requests are carried out in the order they are made. */
class DatabaseThread {
  /** `smol`: what it lets go of is collected after a MiB or so, not after as much as the whole process may have. */
  readonly #worker = new Worker(workerSource, { smol: true });
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #nextId = 1;
  #failed: Error | undefined;

  constructor() {
    const worker = this.#worker;
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

  /** A thread whose first request was answered, and the answer. */
  static async start<T>(first: WriterOp): Promise<{ thread: DatabaseThread; answer: T }> {
    const thread = new DatabaseThread();
    const timer = setTimeout(() => thread.#fail(new Error('the database thread did not start')), startMs);
    try {
      return { thread, answer: await thread.ask<T>(first) };
    } catch (error) {
      thread.#worker.terminate();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  ask<T>(op: WriterOp, transfer: ArrayBuffer[] = []): Promise<T> {
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

  async close(): Promise<void> {
    if (this.#failed === undefined) await this.ask({ op: 'close' });
    this.#worker.terminate();
  }
}

/**
 * Writes in a thread of its own, so that neither rows nor syncs hold the event loop. What reads everything (hashes, snapshots, copies) has another thread
 * while it takes, so that writing goes on.
 */
export class WorkerWriter implements RowWriter {
  readonly #path: string;
  readonly #thread: DatabaseThread;
  /** Readings of everything that are under way. */
  readonly #readings = new Set<Promise<unknown>>();
  #bytesWritten = 0;
  #size: DatabaseSize;

  private constructor(path: string, thread: DatabaseThread, size: DatabaseSize) {
    this.#path = path;
    this.#thread = thread;
    this.#size = size;
  }

  static async start(path: string): Promise<WorkerWriter> {
    const { thread, answer } = await DatabaseThread.start<DatabaseSize>({ op: 'open', path });
    return new WorkerWriter(path, thread, answer);
  }

  /** In a thread and with a connection of its own: it sees what was written before the call. */
  #readAll<T>(op: WriterOp): Promise<T> {
    const reading = (async () => {
      const { thread } = await DatabaseThread.start({ op: 'open', path: this.#path });
      try {
        return await thread.ask<T>(op);
      } finally {
        await thread.close();
      }
    })();
    this.#readings.add(reading);
    const ended = (): void => void this.#readings.delete(reading);
    reading.then(ended, ended);
    return reading;
  }

  async write(batch: Batch): Promise<void> {
    this.#bytesWritten += batchBytes(batch);
    const bytes = encodeBatch(batch);
    this.#size = await this.#thread.ask<DatabaseSize>({ op: 'write', batch: bytes }, [bytes.buffer as ArrayBuffer]);
  }

  async checkpoint(): Promise<number> {
    const { applied, ...size } = await this.#thread.ask<DatabaseSize & { applied: number }>({ op: 'checkpoint' });
    this.#size = size;
    return applied;
  }

  async compact(revision: number): Promise<void> {
    for (;;) {
      const { more, ...size } = await this.#thread.ask<DatabaseSize & { more: boolean }>({
        op: 'compact-step',
        revision,
      });
      this.#size = size;
      if (!more) return;
    }
  }

  hash(revision: number): Promise<{ hash: number; revision: number; compactRevision: number }> {
    return this.#readAll({ op: 'hash', revision });
  }

  snapshot(path: string): Promise<{ revision: number; bytes: number }> {
    return this.#readAll({ op: 'snapshot', path });
  }

  async copy(path: string): Promise<void> {
    await this.#readAll({ op: 'copy', path });
  }

  async vacuum(): Promise<void> {
    this.#size = await this.#thread.ask<DatabaseSize>({ op: 'vacuum' });
  }

  status(): DatabaseSize & { bytesWritten: number } {
    return { ...this.#size, bytesWritten: this.#bytesWritten };
  }

  async close(): Promise<void> {
    // Whoever closes may put another file in this one's place: nobody must have it open then.
    await Promise.allSettled(this.#readings);
    await this.#thread.close();
  }
}

/** `verifySnapshot` in a thread of its own. */
export async function verifySnapshotAside(path: string): Promise<{ revision: number; keys: number }> {
  const { thread, answer } = await DatabaseThread.start<{ revision: number; keys: number }>({ op: 'verify', path });
  await thread.close();
  return answer;
}
