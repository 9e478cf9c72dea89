import { readFileSync, realpathSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, errorCode } from './errors.ts';
import { type MountEntry, mountsUnder, parseMountInfo } from './mountinfo.ts';

/** The mounts of this process's namespace, in mount order. */
export function listMounts(): MountEntry[] {
  return parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** Everything that is mounted at `target`, which must have no symbolic link in it; the last is the one that is seen. */
export function mountsAt(target: string): MountEntry[] {
  return listMounts().filter((mount) => mount.target === target);
}

/** Everything that is mounted at `directory` or below it, in the order in which it has to be undone; none when it does not exist. */
export function mountsBelow(directory: string): MountEntry[] {
  try {
    return mountsUnder(listMounts(), realpathSync(directory));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/**
 * Removes a directory with all that is in it. What is mounted below it would lose its files with it: then nothing is removed and an
 * AppError MOUNTED names it. `last` is the entry that goes after all others.
 */
export async function removeTree(directory: string, last?: string): Promise<void> {
  const [mount] = mountsBelow(directory);
  if (mount) throw new AppError('MOUNTED', `${directory} is not removed: ${mount.target} is still mounted`);
  if (last !== undefined)
    for (const name of await readdir(directory))
      if (name !== last) await rm(join(directory, name), { recursive: true, force: true });
  await rm(directory, { recursive: true, force: true });
}
