import { open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, errorText } from '../base/errors.ts';
import type { Fact } from './facts.ts';

const fileBytes = 1 << 20;
const blockBytes = 4096;
const maxWrites = 100;
const maxMs = 3_000;

/**
 * How long fdatasync takes after a write of 4 KiB into a preallocated file in `directory`: as many as fit into three seconds, at most a hundred. The file is removed again.
 */
export async function probeSync(directory: string): Promise<Fact<readonly number[]>> {
  const path = join(directory, `.doctor-${process.pid}`);
  try {
    const { bavail, bsize } = await statfs(directory);
    if (bavail * bsize < 64 * fileBytes) return { unknown: 'not probed: the disk is nearly full' };
    const file = await open(path, 'wx', 0o600);
    try {
      await file.write(Buffer.alloc(fileBytes, 1));
      await file.sync();
      const block = Buffer.alloc(blockBytes, 2);
      const times: number[] = [];
      const began = performance.now();
      for (let i = 0; i < maxWrites && performance.now() - began < maxMs; i++) {
        await file.write(block, 0, blockBytes, (i * blockBytes) % fileBytes);
        const at = performance.now();
        await file.datasync();
        times.push(performance.now() - at);
      }
      return times;
    } finally {
      await file.close();
      await rm(path, { force: true });
    }
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return { unknown: 'not probed: it is made at the first start' };
    return { unknown: `not probed: ${errorText(error)}` };
  }
}
