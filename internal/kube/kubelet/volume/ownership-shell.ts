import { lchown, lstat, readdir } from 'node:fs/promises';
import { chmodSync, lchownSync } from 'node:fs';
import { join } from 'node:path';

/** Bits that a volume's group gets on files and on directories (kubernetes/pkg/volume/volume_linux.go). */
const groupFile = 0o660;
const groupDirectory = 0o2770;

/**
 * Gives everything in `root` to the group: read and write, and set-group-id on directories so that new files belong to it too. With
 * `onlyOnMismatch` the walk is left out when the top already looks right (fsGroupChangePolicy: OnRootMismatch).
 */
export async function applyFsGroup(root: string, gid: number, onlyOnMismatch: boolean): Promise<void> {
  const top = await lstat(root);
  if (onlyOnMismatch && top.gid === gid && (top.mode & groupDirectory) === groupDirectory) return;
  const walk = async (path: string): Promise<void> => {
    for (const entry of await readdir(path, { withFileTypes: true })) {
      const full = join(path, entry.name);
      if (entry.isDirectory()) await walk(full);
      else if (entry.isSymbolicLink()) await lchown(full, (await lstat(full)).uid, gid);
      else {
        const info = await lstat(full);
        lchownSync(full, info.uid, gid);
        chmodSync(full, (info.mode & 0o7777) | groupFile);
      }
    }
    const info = await lstat(path);
    lchownSync(path, info.uid, gid);
    chmodSync(path, (info.mode & 0o7777) | groupDirectory);
  };
  await walk(root);
}
