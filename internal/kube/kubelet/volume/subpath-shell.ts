import { chmodSync, closeSync, constants, mkdirSync, openSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, errorCode } from '../../../base/errors.ts';
import { bindMount, isMounted, unmount } from './mount-shell.ts';

const inside = (root: string, path: string): boolean => path === root || path.startsWith(`${root}/`);

/**
 * Opens `root/subPath` and makes missing directories on the way. What is opened is looked at through its descriptor, so a link that a
 * container swaps meanwhile cannot lead out of the volume.
 */
function openInside(root: string, subPath: string): number {
  const base = realpathSync(root);
  const mode = statSync(base).mode & 0o7777;
  let current = base;
  for (const part of subPath.split('/').filter((p) => p !== '' && p !== '.')) {
    const next = join(current, part);
    try {
      current = realpathSync(next);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
      // As wide as the volume itself; the process's umask must not narrow it.
      mkdirSync(next);
      chmodSync(next, mode);
      current = realpathSync(next);
    }
    if (!inside(base, current)) throw new AppError('SUBPATH', `subPath "${subPath}" leads out of the volume`);
  }
  const fd = openSync(current, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  if (!inside(base, readlinkSync(`/proc/self/fd/${fd}`))) {
    closeSync(fd);
    throw new AppError('SUBPATH', `subPath "${subPath}" leads out of the volume`);
  }
  return fd;
}

/** Mounts `volume/subPath` at `target`, which is made as a file or directory to fit, and returns `target`. */
export async function mountSubPath(volume: string, subPath: string, target: string): Promise<string> {
  if (subPath.startsWith('/') || subPath.split('/').includes('..'))
    throw new AppError('SUBPATH', `subPath "${subPath}" must be relative and must not contain ".."`);
  if (await isMounted(target)) await unmount(target);
  const fd = openInside(volume, subPath);
  try {
    const source = `/proc/${process.pid}/fd/${fd}`;
    const info = await stat(source);
    await mkdir(dirname(target), { recursive: true });
    if (info.isDirectory()) await mkdir(target, { recursive: true });
    else await writeFile(target, '');
    await bindMount(source, target);
    return target;
  } finally {
    closeSync(fd);
  }
}
