/**
 * A thread that works on a store's database, or on a snapshot. An entry point of its own: it must be listed beside the main file when the executable
 * is compiled. It carries out one request after another and answers each.
 */
import { errorCode, errorText } from '../base/errors.ts';
import { decodeBatch } from './batch-codec.ts';
import { Database } from './database-system.ts';
import { verifySnapshot, writeSnapshot } from './snapshot-system.ts';
import type { WriterReply, WriterRequest } from './worker-system.ts';
import { databaseSize } from './writer-system.ts';

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
    self.postMessage({ id: request.id, error: errorText(error), code: errorCode(error) });
  }
};

function handle(request: WriterRequest): unknown {
  if (request.op === 'open') {
    database = new Database(request.path, { cacheBytes });
    return databaseSize(database);
  }
  if (request.op === 'verify') return verifySnapshot(request.path);
  if (request.op === 'close') {
    database?.close();
    database = undefined;
    return undefined;
  }
  if (database === undefined) throw new Error('the database is not open');
  switch (request.op) {
    case 'write':
      database.write(decodeBatch(request.batch));
      return databaseSize(database);
    case 'checkpoint':
      return { applied: database.checkpoint(), ...databaseSize(database) };
    case 'compact-step':
      return { more: database.compactStep(request.revision), ...databaseSize(database) };
    case 'hash':
      return database.hash(request.revision);
    case 'snapshot':
      return writeSnapshot(database, request.path);
    case 'copy':
      return database.copy(request.path);
    case 'vacuum':
      database.vacuum();
      return databaseSize(database);
  }
}
