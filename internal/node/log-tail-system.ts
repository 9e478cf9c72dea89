import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { errorCode } from '../base/errors.ts';
import { earlierLog } from './role-log-system.ts';

/** The end of a log file, and what is added to it. */

export const maxTailLines = 100_000;
/** Lines that are further from the end are not looked for. */
const maxTailBytes = 4 << 20;
const chunkBytes = 64 << 10;
const lookEveryMs = 300;
const newline = 0x0a;

/** Where a follower goes on. */
export interface TailEnd {
  readonly inode: number;
  readonly offset: number;
}

/**
 * The last `lines` lines of a log, and where it ended; nothing when there is no file yet. At most 4 MiB of it, and as much of the one that it was cut from.
 */
export function tailLog(path: string, lines: number): { text: string; end: TailEnd } {
  const tail = tailFile(path, lines);
  const missing = lines - (tail.text.split('\n').length - 1);
  return missing <= 0 ? tail : { text: tailFile(earlierLog(path), missing).text + tail.text, end: tail.end };
}

/** The last `lines` lines of a file (at most 4 MiB of them), and where it ended. */
function tailFile(path: string, lines: number): { text: string; end: TailEnd } {
  const fd = openIfThere(path);
  if (fd === undefined) return { text: '', end: { inode: 0, offset: 0 } };
  try {
    const { size, ino } = fstatSync(fd);
    const end: TailEnd = { inode: ino, offset: size };
    const chunks: Buffer[] = [];
    // The end of the last line begins none; a last line that has no end counts as well.
    let ends = -1;
    for (let at = size; at > 0 && size - at < maxTailBytes && lines > 0; ) {
      const length = Math.min(chunkBytes, at);
      at -= length;
      const chunk = readAt(fd, at, length);
      if (chunks.length === 0 && chunk.at(-1) !== newline) ends = 0;
      for (let found = chunk.lastIndexOf(newline); found >= 0; found = previous(chunk, found)) {
        if (++ends < lines) continue;
        chunks.unshift(chunk.subarray(found + 1));
        return { text: Buffer.concat(chunks).toString('utf8'), end };
      }
      chunks.unshift(chunk);
    }
    return { text: Buffer.concat(chunks).toString('utf8'), end };
  } finally {
    closeSync(fd);
  }
}

/** The line end before the one at `found`, -1 when there is none. */
function previous(chunk: Buffer, found: number): number {
  return found === 0 ? -1 : chunk.lastIndexOf(newline, found - 1);
}

/** `first`, then what is added to the file from `end` on; a file that is replaced or cut is followed from its beginning. `closed` is called once at the end. */
export function followFile(path: string, first: string, end: TailEnd, closed: () => void): ReadableStream<Uint8Array> {
  let { inode, offset } = end;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let ended = false;
  const close = (): void => {
    if (ended) return;
    ended = true;
    clearTimeout(timer);
    closed();
  };
  const read = (): Buffer | undefined => {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!stat) return undefined;
    if (stat.ino !== inode || stat.size < offset) [inode, offset] = [stat.ino, 0];
    if (stat.size === offset) return undefined;
    const fd = openIfThere(path);
    if (fd === undefined) return undefined;
    try {
      const bytes = readAt(fd, offset, Math.min(chunkBytes, stat.size - offset));
      offset += bytes.length;
      return bytes.length === 0 ? undefined : bytes;
    } finally {
      closeSync(fd);
    }
  };
  return new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        if (first !== '') controller.enqueue(Buffer.from(first));
      },
      // Asked only when the reader wants more: nothing piles up here.
      pull: (controller) =>
        new Promise<void>((resolve) => {
          const look = (): void => {
            let bytes: Buffer | undefined;
            try {
              bytes = ended ? undefined : read();
            } catch (error) {
              controller.error(error);
              close();
            }
            if (bytes) controller.enqueue(bytes);
            if (bytes || ended) resolve();
            else timer = setTimeout(look, lookEveryMs);
          };
          look();
        }),
      cancel: close,
    },
    { highWaterMark: 1 },
  );
}

function readAt(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let got = 0;
  while (got < length) {
    const read = readSync(fd, bytes, got, length - got, position + got);
    if (read === 0) break;
    got += read;
  }
  return bytes.subarray(0, got);
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
