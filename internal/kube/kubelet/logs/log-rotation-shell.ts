import { createReadStream, createWriteStream } from 'node:fs';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { type Clock, sleep } from '../../../base/clock.ts';
import { errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { RuntimeContainer } from '../pod/runtime.ts';

/** Upstream's containerLogMaxSize and containerLogMaxFiles. */
const maxBytes = 10 * 2 ** 20;
const maxFiles = 5;
const periodMs = 10_000;

export interface LogRotationOptions {
  readonly running: () => RuntimeContainer[];
  /** Makes the runtime write to a new file. */
  readonly reopen: (containerId: string) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly maxBytes?: number;
}

/** Keeps logs of running containers small: a file that is too long is set aside, the older ones are packed, the oldest go. */
export async function rotateLogs(options: LogRotationOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(options.clock, periodMs, signal);
    if (signal.aborted) return;
    for (const container of options.running()) {
      try {
        await rotateIfLong(options, container);
      } catch (error) {
        options.log.warn('container log not rotated', { file: container.logPath, error: errorText(error) });
      }
    }
  }
}

/** One look at one container's log; returns whether it was set aside. */
export async function rotateIfLong(options: LogRotationOptions, container: RuntimeContainer): Promise<boolean> {
  const path = container.logPath;
  if (path === '') return false;
  const size = await stat(path).then(
    (info) => info.size,
    () => 0,
  );
  if (size < (options.maxBytes ?? maxBytes)) return false;
  const directory = dirname(path);
  const prefix = `${basename(path)}.`;
  const old = (await readdir(directory)).filter((name) => name.startsWith(prefix)).sort();
  // One place is for the file that is written, one for the one that is set aside now.
  for (const name of old.slice(0, Math.max(0, old.length - (maxFiles - 2))))
    await rm(join(directory, name), { force: true });
  for (const name of old.slice(-(maxFiles - 2))) if (!name.endsWith('.gz')) await pack(join(directory, name));
  const stamp = new Date(options.clock.now()).toISOString().slice(0, 19).replace(/[-:T]/g, '');
  const aside = `${path}.${stamp.slice(0, 8)}-${stamp.slice(8)}`;
  await rename(path, aside);
  try {
    await options.reopen(container.id);
  } catch (error) {
    // The runtime still writes to the file that it has open: it gets its name back.
    await rename(aside, path);
    throw error;
  }
  return true;
}

async function pack(path: string): Promise<void> {
  await pipeline(createReadStream(path), createGzip(), createWriteStream(`${path}.gz.tmp`));
  await rename(`${path}.gz.tmp`, `${path}.gz`);
  await rm(path, { force: true });
}
