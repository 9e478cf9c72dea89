import type { Disk, DiskFile } from './disk.ts';

/** Faults that a test plants to see that it would be noticed. */
export interface PlantedFaults {
  /** `datasync` returns without doing anything. */
  ignoreDatasync?: boolean;
  /** `writeDurable` is an ordinary write. */
  ignoreWriteDurable?: boolean;
  /** `syncDirectory` returns without doing anything. */
  ignoreSyncDirectory?: boolean;
  /** Only for files whose path matches. */
  only?: RegExp;
}

/** A disk that lies about syncing: for tests only. */
export function faultyDisk(disk: Disk, faults: PlantedFaults): Disk {
  const hit = (path: string): boolean => faults.only?.test(path) ?? true;
  return {
    open: async (path, options) => {
      const file = await disk.open(path, options);
      return hit(path) ? faultyFile(file, faults) : file;
    },
    stat: (path) => disk.stat(path),
    list: (directory) => disk.list(directory),
    makeDirectory: (path) => disk.makeDirectory(path),
    rename: (from, to) => disk.rename(from, to),
    remove: (path) => disk.remove(path),
    syncDirectory: async (path) => {
      if (!faults.ignoreSyncDirectory || !hit(path)) await disk.syncDirectory(path);
    },
    space: (path) => disk.space(path),
    alignedBuffer: (length) => disk.alignedBuffer(length),
    aligned: (bytes) => disk.aligned(bytes),
  };
}

function faultyFile(file: DiskFile, faults: PlantedFaults): DiskFile {
  return {
    path: file.path,
    alignment: file.alignment,
    size: () => file.size(),
    read: (into, position) => file.read(into, position),
    write: (pieces, position) => file.write(pieces, position),
    writeDurable: (pieces, position) =>
      faults.ignoreWriteDurable ? file.write(pieces, position) : file.writeDurable(pieces, position),
    datasync: async () => {
      if (!faults.ignoreDatasync) await file.datasync();
    },
    allocate: (offset, length) => file.allocate(offset, length),
    discard: (offset, length) => file.discard(offset, length),
    truncate: (size) => file.truncate(size),
    close: () => file.close(),
  };
}
