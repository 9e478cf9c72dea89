import { type FileHandle, open, stat } from 'node:fs/promises';
import { type Clock, sleep } from '../../../base/clock.ts';
import { errorCode } from '../../../base/errors.ts';
import { LineSplitter, LogFilter, type LogOptions, parseLogLine } from './cri-log.ts';

const chunkSize = 64 * 1024;
const pollMs = 200;

/** The offset at which the last `lines` lines of the file begin. */
async function tailOffset(file: FileHandle, lines: number): Promise<number> {
  const { size } = await file.stat();
  if (lines <= 0) return size;
  const buffer = new Uint8Array(chunkSize);
  let end = size;
  let seen = 0;
  while (end > 0) {
    const begin = Math.max(0, end - chunkSize);
    const { bytesRead } = await file.read(buffer, 0, end - begin, begin);
    for (let i = bytesRead - 1; i >= 0; i--) {
      // The newline that ends the file ends the last line; it begins no further one.
      if (buffer[i] !== 0x0a || begin + i === size - 1) continue;
      if (++seen === lines) return begin + i + 1;
    }
    end = begin;
  }
  return 0;
}

/**
 * Reads a container's log. With `follow` it goes on, through rotations of the file, until `alive` says that the container has ended and all
 * is read. The file may not be there yet.
 */
export async function* readLog(
  path: string,
  options: LogOptions,
  clock: Clock,
  alive: () => boolean,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const filter = new LogFilter(options);
  let file: FileHandle | undefined;
  let splitter = new LineSplitter();
  const buffer = new Uint8Array(chunkSize);
  let position = 0;
  let inode = 0;
  try {
    for (;;) {
      if (signal.aborted) return;
      // Asked before reading: what was written before the end is then certainly read.
      const stillAlive = alive();
      if (!file) {
        try {
          file = await open(path, 'r');
        } catch (error) {
          if (errorCode(error) !== 'ENOENT') throw error;
          if (!options.follow || !stillAlive) return;
          await sleep(clock, pollMs, signal);
          continue;
        }
        const first = inode === 0;
        inode = (await file.stat()).ino;
        position = first && options.tailLines !== undefined ? await tailOffset(file, options.tailLines) : 0;
        splitter = new LineSplitter();
      }
      const { bytesRead } = await file.read(buffer, 0, chunkSize, position);
      if (bytesRead > 0) {
        position += bytesRead;
        for (const line of splitter.push(buffer.slice(0, bytesRead))) {
          const parsed = parseLogLine(line);
          const out = parsed && filter.take(parsed);
          if (out) yield out;
          if (filter.done) return;
        }
        continue;
      }
      if (!options.follow) return;
      const now = await stat(path).catch(() => undefined);
      if (now && now.ino !== inode) {
        await file.close();
        file = undefined;
        continue;
      }
      if (!stillAlive) return;
      await sleep(clock, pollMs, signal);
    }
  } finally {
    await file?.close();
  }
}

/** The last of a log for a termination message: at most `maxBytes` and `maxLines`. */
export async function logTail(path: string, maxBytes: number, maxLines: number): Promise<string> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch {
    return '';
  }
  try {
    const { size } = await file.stat();
    // Every line has a timestamp and a stream's name before its content.
    const begin = Math.max(await tailOffset(file, maxLines), size - maxBytes - 64 * maxLines);
    const buffer = new Uint8Array(Math.max(0, size - begin));
    await file.read(buffer, 0, buffer.length, begin);
    const pieces = new LineSplitter().push(buffer).flatMap((line) => parseLogLine(line)?.content ?? []);
    return Buffer.concat(pieces).subarray(-maxBytes).toString('utf8');
  } finally {
    await file.close();
  }
}
