import { lstat, readdir, readFile, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, errorCode } from '../../../base/errors.ts';
import { runCommand, tryCommand } from '../../../base/command-system.ts';
import { failedReadOnly, type MountEntry, mountAt, mountsUnder, parseMountInfo } from '../../../base/mountinfo.ts';

export async function listMounts(): Promise<MountEntry[]> {
  return parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
}

export async function isMounted(target: string): Promise<boolean> {
  return mountAt(await listMounts(), target) !== undefined;
}

export async function mountTmpfs(target: string, sizeBytes?: number, mode = '0777'): Promise<void> {
  const size = sizeBytes === undefined ? '' : `,size=${sizeBytes}`;
  await runCommand(['mount', '-t', 'tmpfs', '-o', `mode=${mode}${size}`, 'tmpfs', target]);
}

export async function bindMount(source: string, target: string): Promise<void> {
  await runCommand(['mount', '--bind', source, target]);
}

/** Unmounts what is at `target`, several layers if there are; a mount that is busy or dead is detached. Throws when something is left. */
export async function unmount(target: string): Promise<void> {
  let words = '';
  for (let round = 0; round < 16; round++) {
    if (!(await isMounted(target))) return;
    const gentle = await tryCommand(['umount', target], { timeoutMs: 20_000 });
    if (gentle.code === 0) continue;
    const lazy = await tryCommand(['umount', '-l', target], { timeoutMs: 20_000 });
    if (lazy.code !== 0) words = lazy.stderr.trim();
  }
  if (await isMounted(target)) throw new AppError('MOUNTED', `${target} is still mounted${words ? `: ${words}` : ''}`);
}

/** Unmounts everything at or below `directory`, the innermost first. */
export async function unmountTree(directory: string): Promise<void> {
  for (const mount of mountsUnder(await listMounts(), directory)) await unmount(mount.target);
}

/**
 * Removes places where something was mounted, `depth` levels below `directory`, and the directories that led there. Nothing behind a mount
 * point is touched: the kernel refuses (EBUSY) to remove one that is in use, and a directory with something in it is refused (ENOTEMPTY).
 */
export async function removeMountPoints(directory: string, depth: number): Promise<void> {
  try {
    if (!(await lstat(directory)).isDirectory()) return await unlink(directory);
    if (depth > 0)
      for (const name of await readdir(directory)) await removeMountPoints(join(directory, name), depth - 1);
    await rmdir(directory);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

/**
 * Why the mount at `target` cannot be used any more, or undefined when nothing says so. A slow answer is not a death: storage may come
 * back, and whoever waits for it keeps waiting. The check runs in a child because a stuck file system would hold a thread of ours.
 */
export async function deadMount(target: string): Promise<string | undefined> {
  const mount = mountAt(await listMounts(), target);
  if (!mount) return 'it is not mounted any more';
  if (failedReadOnly(mount)) return 'its file system turned read-only after an I/O error';
  const stat = await tryCommand(['stat', '-f', '-c', '%T', target], { timeoutMs: 5_000 });
  if (stat.code !== 0 && !stat.timedOut) {
    const text = stat.stderr.trim();
    if (/Transport endpoint is not connected|Input\/output error|Stale file handle|No such device/i.test(text))
      return text;
  }
  if (/^\/dev\/loop\d+$/.test(mount.source)) {
    // The page cache answers for a loop device whose file is gone; only a direct read asks the file.
    const read = await tryCommand(['dd', `if=${mount.source}`, 'of=/dev/null', 'bs=4096', 'count=1', 'iflag=direct'], {
      timeoutMs: 5_000,
    });
    if (read.code !== 0 && !read.timedOut && /Input\/output error|No such device/i.test(read.stderr))
      return `${mount.source} does not answer: ${read.stderr.trim().split('\n')[0] ?? ''}`;
  }
  return undefined;
}
