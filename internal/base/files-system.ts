import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { errorCode } from './errors.ts';

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Makes `path` and its parents with `mode`. */
export function makeDirectory(path: string, mode = 0o700): void {
  mkdirSync(path, { recursive: true, mode });
}

/** Replaces `path` with `content`: after a power loss it holds the old bytes or the new ones, whole. */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode: number): void {
  const directory = dirname(path);
  makeDirectory(directory, 0o755);
  const temporary = join(directory, `.${basename(path)}.new`);
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  const fd = openSync(temporary, 'w', mode);
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  syncDirectory(directory);
}

/** The text of a file, undefined when there is none. */
export function readFileIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
