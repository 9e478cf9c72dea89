import { closeSync, ftruncateSync, openSync, readSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import type { Paths } from '../config/paths.ts';

/**
 * The log of an instance: `NAME.log`, and what came before in `NAME.log.1`. The process writes into it by itself (O_APPEND), so that nothing is lost when the
 * supervisor ends; the supervisor cuts it.
 */

/** A log that is larger is cut; together with what came before it takes twice that, and what is written between two looks. */
export const maxLogBytes = 4 << 20;
const chunkBytes = 64 << 10;

export function logFile(paths: Paths, instance: string): string {
  return `${paths.logs}/${instance}.log`;
}

/** Where the lines before those of `path` are. */
export function earlierLog(path: string): string {
  return `${path}.1`;
}

/** Opens a log for appending. */
export function openLog(path: string): number {
  cutLog(path);
  return openSync(path, 'a', 0o600);
}

/**
 * Copies the newest `maxLogBytes` of a log that is larger to `earlierLog` and empties it. Its process keeps it open and goes on at the beginning. What it writes
 * in the moment between the last byte copied and the cut is lost, as with logrotate's copytruncate.
 */
export function cutLog(path: string): void {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size <= maxLogBytes) return;
  const earlier = earlierLog(path);
  const log = openSync(path, 'r+');
  const copy = openSync(`${earlier}.new`, 'w', 0o600);
  try {
    const chunk = Buffer.alloc(chunkBytes);
    // A process that writes faster than this copies is cut all the same.
    for (let from = Math.max(0, size - maxLogBytes); from < size + maxLogBytes; ) {
      const read = readSync(log, chunk, 0, chunk.length, from);
      if (read === 0) break;
      for (let at = 0; at < read; ) at += writeSync(copy, chunk, at, read - at);
      from += read;
    }
    ftruncateSync(log, 0);
    renameSync(`${earlier}.new`, earlier);
  } finally {
    closeSync(log);
    closeSync(copy);
    rmSync(`${earlier}.new`, { force: true });
  }
}
