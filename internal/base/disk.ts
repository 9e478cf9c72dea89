/**
 * The disk as the shell gives it to a core that stores things; the simulator injects `memoryDisk` (`disk-memory.ts`), production
 * `systemDisk` (`disk-system.ts`). Nothing here blocks the event loop. Failures are thrown with a `code` of the system (`ENOENT`, `ENOSPC`,
 * `EIO`, …; see `errorCode`).
 */
export interface Disk {
  open(path: string, options?: OpenOptions): Promise<DiskFile>;
  /** Undefined when nothing is there. */
  stat(path: string): Promise<{ size: number; directory: boolean } | undefined>;
  /** Names in a directory, sorted. ENOENT when it is not there. */
  list(directory: string): Promise<string[]>;
  /** Makes the directory and its parents (mode 0700); no error when it exists. Durable after `syncDirectory` of each parent. */
  makeDirectory(path: string): Promise<void>;
  /** Replaces what `to` named. Durable after `syncDirectory` of the parent. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file; no error when it is not there. Durable after `syncDirectory` of the parent. */
  remove(path: string): Promise<void>;
  /** Makes creations, renames and removals in this directory durable. */
  syncDirectory(path: string): Promise<void>;
  /** Space of the file system that holds `path`, in bytes. */
  space(path: string): Promise<{ total: number; available: number }>;
  /** A buffer of any content whose address suits O_DIRECT. Reuse large ones: fresh memory costs page faults. */
  alignedBuffer(length: number): Uint8Array;
  /** Whether O_DIRECT takes this memory as it is. */
  aligned(bytes: Uint8Array): boolean;
}

export interface OpenOptions {
  /** Makes the file when it is not there; otherwise ENOENT. */
  create?: boolean;
  /** With `create`: EEXIST when it is there. */
  exclusive?: boolean;
  /** Default true. */
  writable?: boolean;
  /**
   * Asks for O_DIRECT. Where the file system has it, `alignment` is then 4096 and every buffer address, length and position must be a
   * multiple of it; where it has not, the file is opened through the page cache and `alignment` is 1.
   */
  direct?: boolean;
}

/** An open file. Calls may overlap; overlapping writes to the same bytes have no order. */
export interface DiskFile {
  readonly path: string;
  /** 1, or 4096 when O_DIRECT is in force. */
  readonly alignment: number;
  size(): Promise<number>;
  /** Fills `into` from `position`; fewer bytes only at the end of the file. Returns the count. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Writes all pieces one behind the other at `position`. Not durable before `datasync`. The pieces must not change meanwhile. */
  write(pieces: readonly Uint8Array[], position: number): Promise<void>;
  /** `write`, durable when it resolves (O_DSYNC): one trip to the disk. Says nothing about earlier writes. */
  writeDurable(pieces: readonly Uint8Array[], position: number): Promise<void>;
  /** Makes every write that was complete when this was called durable, and the size. */
  datasync(): Promise<void>;
  /** Reserves space so that writes inside [offset, offset+length) cannot meet ENOSPC; grows the file; old bytes stay, new ones are zero. */
  allocate(offset: number, length: number): Promise<void>;
  /** Gives the space of a range back where the file system can; it reads as zeros or as before until written again. */
  discard(offset: number, length: number): Promise<void>;
  truncate(size: number): Promise<void>;
  close(): Promise<void>;
}

/** The alignment of O_DIRECT and of every structure that may be written with it. */
export const directAlignment = 4096;

/** All of a small file, or undefined when it is not there. */
export async function readWholeFile(disk: Disk, path: string): Promise<Uint8Array | undefined> {
  if ((await disk.stat(path)) === undefined) return undefined;
  const file = await disk.open(path, { writable: false });
  try {
    const bytes = new Uint8Array(await file.size());
    const count = await file.read(bytes, 0);
    return bytes.subarray(0, count);
  } finally {
    await file.close();
  }
}

/** Replaces a small file so that after a crash the old or the new content is there, never a mixture. Durable when it resolves. */
export async function writeWholeFile(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.new`;
  const file = await disk.open(temporary, { create: true });
  try {
    await file.truncate(0);
    await file.write([bytes], 0);
    await file.datasync();
  } finally {
    await file.close();
  }
  await disk.rename(temporary, path);
  await disk.syncDirectory(parentDirectory(path));
}

/** Makes a directory and its missing parents, all of them durable when it resolves. */
export async function makeDurableDirectory(disk: Disk, path: string): Promise<void> {
  const parents: string[] = [];
  // The parent is synced also when the directory is there: a process that ended just after making it may not have done so.
  for (let at = path; parents.length === 0 || (await disk.stat(at)) === undefined; at = parents.at(-1)!) {
    parents.push(parentDirectory(at));
    if (at === '/') break;
  }
  await disk.makeDirectory(path);
  for (const parent of parents.reverse()) await disk.syncDirectory(parent);
}

export function parentDirectory(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash <= 0 ? '/' : path.slice(0, slash);
}
