/**
 * The thread that writes a store's database. An entry point of its own: it must be listed beside the main file when the executable is
 * compiled. It carries out one request after another and answers each.
 */
import { errorText } from '../base/errors.ts';
import { decodeBatch } from './batch-codec.ts';
import { Database } from './database-system.ts';
import type { WriterReply, WriterRequest } from './worker-system.ts';

declare const self: {
  onmessage: ((event: { data: WriterRequest }) => void) | null;
  postMessage(reply: WriterReply): void;
  close(): void;
};

/** The writer reads little: what it changes. */
const cacheBytes = 1 << 20;

let database: Database | undefined;

self.onmessage = ({ data: request }) => {
  try {
    self.postMessage({ id: request.id, value: handle(request) });
  } catch (error) {
    self.postMessage({ id: request.id, error: errorText(error) });
  }
};

function handle(request: WriterRequest): number {
  if (request.op === 'open') {
    database = new Database(request.path, { cacheBytes });
    return 0;
  }
  if (database === undefined) throw new Error('the database is not open');
  switch (request.op) {
    case 'write':
      database.write(decodeBatch(request.batch));
      return 0;
    case 'checkpoint':
      return database.checkpoint();
    case 'compact-step':
      return database.compactStep(request.revision) ? 1 : 0;
    case 'bytes': {
      const { database: main, wal } = database.bytes();
      return main + wal;
    }
    case 'close':
      database.close();
      database = undefined;
      return 0;
  }
}
