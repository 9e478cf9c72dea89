import {
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { errorCode } from './errors.ts';

/** Makes durable which names a directory has. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Makes `path` and its missing parents with `mode`; the names of those it made are on disk when it returns. */
export function makeDirectory(path: string, mode = 0o700): void {
  const parents: string[] = [];
  for (let at = resolve(path); !existsSync(at); at = dirname(at)) parents.push(dirname(at));
  mkdirSync(path, { recursive: true, mode });
  for (const parent of parents.reverse()) syncDirectory(parent);
}

/**
 * Replaces `path` with `content`: after a power loss it holds the old bytes or the new ones, whole. With `keepOwner` it belongs to whom the file belonged
 * that was there.
 */
export function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  mode: number,
  { keepOwner = false }: { keepOwner?: boolean } = {},
): void {
  const directory = dirname(path);
  makeDirectory(directory, 0o755);
  const temporary = join(directory, `.${basename(path)}.new`);
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  const fd = openSync(temporary, 'w', mode);
  try {
    // Whatever the umask is, and whatever an interrupted writer left under the name.
    fchmodSync(fd, mode);
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    const before = keepOwner ? statSync(path, { throwIfNoEntry: false }) : undefined;
    if (before) fchownSync(fd, before.uid, before.gid);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  syncDirectory(directory);
}

/** Removes `path` if it is there: after a power loss it does not come back. */
export function removeFileDurably(path: string): void {
  rmSync(path, { force: true });
  syncDirectory(dirname(path));
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
