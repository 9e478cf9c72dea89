import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { systemDisk } from '../../base/disk-system.ts';
import { errorCode } from '../../base/errors.ts';
import { makeDirectory } from '../../base/files-system.ts';
import type { Store } from '../api.ts';
import { verifySnapshotAside } from '../worker-system.ts';

/**
 * Writes a snapshot of the store to a new file (0600) and reads it back: when this resolves it is on disk, whole, and its checksum is right. A file
 * that did not come so far is removed. However large it is, the event loop is not held.
 */
export async function saveSnapshot(store: Store, path: string): Promise<{ revision: number; bytes: number }> {
  makeDirectory(dirname(path));
  const part = `${path}.part`;
  fs.rmSync(part, { force: true });
  const file = await fs.promises.open(part, 'wx', 0o600);
  try {
    let bytes = 0;
    try {
      const snapshot = await store.snapshot();
      for await (const piece of snapshot.pieces()) {
        for (let written = 0; written < piece.length; )
          written += (await file.write(piece, written, piece.length - written, bytes + written)).bytesWritten;
        bytes += piece.length;
      }
      await file.datasync();
    } finally {
      await file.close();
    }
    const { revision } = await verifySnapshotAside(part);
    nameSnapshot(part, path);
    await systemDisk.syncDirectory(dirname(path));
    return { revision, bytes };
  } catch (error) {
    fs.rmSync(part, { force: true });
    throw error;
  }
}

/** Gives `part` its name without replacing what somebody else has made meanwhile (EEXIST). `link` is the system's. */
export function nameSnapshot(part: string, path: string, link: typeof fs.linkSync = fs.linkSync): void {
  try {
    link(part, path);
  } catch (error) {
    // vfat, exFAT and some network file systems have no second names: the name is taken by an empty file first.
    if (!['EPERM', 'EOPNOTSUPP', 'ENOTSUP', 'ENOSYS'].includes(errorCode(error) ?? '')) throw error;
    fs.closeSync(fs.openSync(path, 'wx', 0o600));
    try {
      fs.renameSync(part, path);
    } catch (failed) {
      fs.rmSync(path, { force: true });
      throw failed;
    }
    return;
  }
  fs.rmSync(part);
}
