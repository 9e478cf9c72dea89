import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { errorCode } from '../base/errors.ts';

/** The end of a log file, and what is added to it. */

export const maxTailLines = 100_000;
/** Lines that are further from the end are not looked for. */
const maxTailBytes = 4 << 20;
const chunkBytes = 64 << 10;
const lookEveryMs = 300;

/** Where a follower goes on. */
export interface TailEnd {
  readonly inode: number;
  readonly offset: number;
}

/** The last `lines` lines of a file (at most 4 MiB of them), and where it ended; nothing when there is no file yet. */
export function tailFile(path: string, lines: number): { text: string; end: TailEnd } {
  const fd = openIfThere(path);
  if (fd === undefined) return { text: '', end: { inode: 0, offset: 0 } };
  try {
    const { size, ino } = fstatSync(fd);
    const end: TailEnd = { inode: ino, offset: size };
    let kept = Buffer.alloc(0);
    let at = size;
    while (at > 0 && kept.length < maxTailBytes) {
      const length = Math.min(chunkBytes, at);
      kept = Buffer.concat([readAt(fd, at - length, length), kept]);
      at -= length;
      const start = startOfLines(kept, lines);
      if (start !== undefined) return { text: kept.toString('utf8', start), end };
    }
    return { text: lines === 0 ? '' : kept.toString('utf8'), end };
  } finally {
    closeSync(fd);
  }
}

/** Where the last `lines` lines begin, undefined when there are fewer. */
function startOfLines(bytes: Buffer, lines: number): number | undefined {
  let seen = 0;
  // A last byte that ends a line begins none.
  for (let at = bytes.length - 1; at >= 0; at--) {
    if (bytes[at] !== 0x0a || (at === bytes.length - 1 && lines > 0)) continue;
    seen++;
    if (seen >= lines) return at + 1;
  }
  return lines === 0 ? bytes.length : undefined;
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
