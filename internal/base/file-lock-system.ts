import { dlopen, FFIType } from 'bun:ffi';
import { closeSync, fstatSync, ftruncateSync, openSync, statSync, writeSync } from 'node:fs';
import { readFileIfThere } from './files-system.ts';

/** A file that one process at a time holds (flock(2)). The kernel lets go of it when the process ends, however it ends. */
export interface FileLock {
  release(): void;
}

const LOCK_EX = 2;
const LOCK_NB = 4;
const maxNoteBytes = 4096;

let libc: { flock(fd: number, operation: number): number } | undefined;

/** A file that its last holder removed is not the one that others find under the name. */
function isStill(fd: number, path: string): boolean {
  const now = statSync(path, { throwIfNoEntry: false });
  const { dev, ino } = fstatSync(fd);
  return now?.ino === ino && now.dev === dev;
}

/** Takes the lock and leaves `note`, if there is one, in the file for who comes next; undefined when another process holds it. */
export function lockFile(path: string, note?: string): FileLock | undefined {
  libc ??= dlopen('libc.so.6', { flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 } }).symbols;
  // Not truncated before it is ours. Bun opens with O_CLOEXEC: what this process starts does not hold it.
  let fd = openSync(path, 'a', 0o600);
  for (;;) {
    if (libc.flock(fd, LOCK_EX | LOCK_NB) !== 0) {
      closeSync(fd);
      return undefined;
    }
    if (isStill(fd, path)) break;
    closeSync(fd);
    fd = openSync(path, 'a', 0o600);
  }
  if (note !== undefined) {
    ftruncateSync(fd, 0);
    writeSync(fd, note);
  }
  return { release: () => closeSync(fd) };
}

/** What the holder of a lock wrote into it. */
export function lockNote(path: string): string {
  return (readFileIfThere(path) ?? '').slice(0, maxNoteBytes).trim();
}
