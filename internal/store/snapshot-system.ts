import * as fs from 'node:fs';
import type { Database } from './database-system.ts';
import { checksumBytes, type Dump, readDump, writeDump } from './snapshot-format.ts';
import { SnapshotError } from './errors.ts';

/** Read at a time. */
const chunkBytes = 1 << 20;

/** Writes the state of one moment to `path` (0600), which must not exist; it is on disk when this returns. */
export function writeSnapshot(database: Database, path: string): { revision: number; bytes: number } {
  const fd = fs.openSync(path, 'wx+', 0o600);
  try {
    const revision = database.dump((dump) => {
      let position = 2 * 4096;
      const head = writeDump(dump, (bytes) => {
        position += fs.writeSync(fd, bytes, 0, bytes.length, position);
      });
      fs.writeSync(fd, head, 0, head.length, 0);
      return dump.meta.revision;
    });
    const size = fs.fstatSync(fd).size;
    fs.writeSync(fd, hashOf(fd, size), 0, checksumBytes, size);
    fs.fdatasyncSync(fd);
    return { revision, bytes: size + checksumBytes };
  } finally {
    fs.closeSync(fd);
  }
}

function hashOf(fd: number, bytes: number): Uint8Array {
  const hash = new Bun.CryptoHasher('sha256');
  const chunk = new Uint8Array(chunkBytes);
  for (let at = 0; at < bytes; ) {
    const count = fs.readSync(fd, chunk, 0, Math.min(chunkBytes, bytes - at), at);
    if (count === 0) throw new Error('the file became shorter');
    hash.update(chunk.subarray(0, count));
    at += count;
  }
  return new Uint8Array(hash.digest().buffer);
}

/**
 * Opens a snapshot, ours or etcd's, and checks it against its checksum before `use` sees anything of it. SnapshotError when it is damaged or not one.
 */
export function readSnapshot<T>(path: string, use: (dump: Dump) => T): T {
  let fd: number;
  try {
    fd = fs.openSync(path, 'r');
  } catch (error) {
    throw new SnapshotError(path, (error as Error).message);
  }
  try {
    const size = fs.fstatSync(fd).size;
    // Pages are multiples of 512 bytes, so what is left over is the checksum (etcdctl snapshot restore tells in the same way).
    if (size % 512 !== checksumBytes)
      throw new SnapshotError(
        path,
        'it has no checksum at its end: it was cut off, or it is a database and not a snapshot',
      );
    const end = size - checksumBytes;
    const stored = new Uint8Array(checksumBytes);
    fs.readSync(fd, stored, 0, checksumBytes, end);
    if (Buffer.compare(hashOf(fd, end), stored) !== 0)
      throw new SnapshotError(path, 'its checksum is wrong: it is damaged');
    return use(
      readDump((position, length) => {
        const bytes = new Uint8Array(Math.max(0, Math.min(length, end - position)));
        let got = 0;
        while (got < bytes.length) {
          const count = fs.readSync(fd, bytes, got, bytes.length - got, position + got);
          if (count === 0) break;
          got += count;
        }
        return bytes.subarray(0, got);
      }),
    );
  } catch (error) {
    if (error instanceof SnapshotError) throw error;
    throw new SnapshotError(path, (error as Error).message, error);
  } finally {
    fs.closeSync(fd);
  }
}

/** Reads a snapshot from end to end; SnapshotError when it is damaged. */
export function verifySnapshot(path: string): { revision: number; keys: number } {
  return readSnapshot(path, (dump) => {
    let { revision } = dump.meta;
    const live = new Set<string>();
    for (const { key, kv } of dump.versions()) {
      revision = Math.max(revision, kv.modRevision);
      if (kv.version > 0) live.add(key);
      else live.delete(key);
    }
    return { revision, keys: live.size };
  });
}
