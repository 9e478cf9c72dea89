import type { Disk, DiskFile } from '../../../internal/base/disk.ts';

/** A disk on which writing and syncing take time, so that the power can fail in between. */
export function slowDisk(disk: Disk, wait: () => Promise<void>): Disk {
  return {
    open: async (path, options) => slowFile(await disk.open(path, options), wait),
    stat: (path) => disk.stat(path),
    list: (directory) => disk.list(directory),
    makeDirectory: (path) => disk.makeDirectory(path),
    rename: (from, to) => disk.rename(from, to),
    remove: (path) => disk.remove(path),
    syncDirectory: (path) => disk.syncDirectory(path),
    space: (path) => disk.space(path),
    alignedBuffer: (length) => disk.alignedBuffer(length),
    aligned: (bytes) => disk.aligned(bytes),
  };
}

function slowFile(file: DiskFile, wait: () => Promise<void>): DiskFile {
  return {
    path: file.path,
    alignment: file.alignment,
    size: () => file.size(),
    read: (into, position) => file.read(into, position),
    write: (pieces, position) => file.write(pieces, position),
    writeDurable: async (pieces, position) => {
      await file.write(pieces, position);
      await wait();
      await file.datasync();
    },
    datasync: async () => {
      await wait();
      await file.datasync();
    },
    allocate: (offset, length) => file.allocate(offset, length),
    discard: (offset, length) => file.discard(offset, length),
    truncate: (size) => file.truncate(size),
    close: () => file.close(),
  };
}
