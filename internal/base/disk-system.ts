import { dlopen, FFIType, ptr } from 'bun:ffi';
import * as fs from 'node:fs';
import { type Disk, type DiskFile, directAlignment, type OpenOptions } from './disk.ts';
import { unfilledBytes } from './bytes.ts';
import { AppError, errorCode } from './errors.ts';

/** The machine's own file systems. Reads, writes and syncs run on the runtime's thread pool. */
export const systemDisk: Disk = {
  open,
  stat: async (path) => {
    try {
      const found = await fs.promises.stat(path);
      return { size: found.size, directory: found.isDirectory() };
    } catch (error) {
      if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return undefined;
      throw error;
    }
  },
  list: async (directory) => (await fs.promises.readdir(directory)).sort(),
  makeDirectory: async (path) => {
    await fs.promises.mkdir(path, { recursive: true, mode: 0o700 });
  },
  rename: (from, to) => fs.promises.rename(from, to),
  remove: async (path) => {
    try {
      await fs.promises.unlink(path);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
  },
  syncDirectory: async (path) => {
    const fd = await openFd(path, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
    try {
      await call((done) => fs.fsync(fd, done));
    } finally {
      fs.closeSync(fd);
    }
  },
  space: async (path) => {
    const s = await fs.promises.statfs(path);
    return { total: s.blocks * s.bsize, available: s.bavail * s.bsize };
  },
  alignedBuffer,
  aligned: (bytes) => bytes.length % directAlignment === 0 && ptr(bytes) % directAlignment === 0,
};

// asm-generic/fcntl.h and arch/arm64/include/uapi/asm/fcntl.h differ in O_DIRECT.
const directFlag = process.arch === 'arm64' ? 0o200000 : 0o40000;
const dsyncFlag = 0o10000;
const fallocKeepSize = 1;
const fallocPunchHole = 2;

/** The kernel takes at most IOV_MAX pieces a call. */
const maxPieces = 1024;

async function open(path: string, options: OpenOptions = {}): Promise<DiskFile> {
  const writable = options.writable ?? true;
  let flags = writable ? fs.constants.O_RDWR : fs.constants.O_RDONLY;
  if (options.create) flags |= fs.constants.O_CREAT;
  if (options.exclusive) flags |= fs.constants.O_EXCL;
  if (options.direct) {
    try {
      return new SystemFile(path, await openFd(path, flags | directFlag), directAlignment);
    } catch (error) {
      // tmpfs and some FUSE file systems have no O_DIRECT; O_EXCL may have made the file already.
      if (errorCode(error) !== 'EINVAL') throw error;
      flags &= ~fs.constants.O_EXCL;
    }
  }
  return new SystemFile(path, await openFd(path, flags), 1);
}

function openFd(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, 0o600, (error, fd) => (error ? reject(error) : resolve(fd)));
  });
}

function call(start: (done: (error: NodeJS.ErrnoException | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => start((error) => (error ? reject(error) : resolve())));
}

class SystemFile implements DiskFile {
  readonly path: string;
  readonly alignment: number;
  readonly #fd: number;
  /** A second descriptor with O_DSYNC, opened at first use. */
  #dsyncFd: Promise<number> | undefined;

  constructor(path: string, fd: number, alignment: number) {
    this.path = path;
    this.#fd = fd;
    this.alignment = alignment;
  }

  size(): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.fstat(this.#fd, (error, stat) => (error ? reject(error) : resolve(stat.size)));
    });
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let at = 0;
    while (at < into.length) {
      const count = await new Promise<number>((resolve, reject) => {
        fs.read(this.#fd, into, at, into.length - at, position + at, (error, n) =>
          error ? reject(error) : resolve(n),
        );
      });
      if (count === 0) break;
      at += count;
      // Behind an unaligned end of file O_DIRECT gives the last bytes and nothing more can be asked for.
      if (this.alignment > 1 && count % this.alignment !== 0) break;
    }
    return at;
  }

  write(pieces: readonly Uint8Array[], position: number): Promise<void> {
    return this.#writeTo(this.#fd, pieces, position);
  }

  async writeDurable(pieces: readonly Uint8Array[], position: number): Promise<void> {
    this.#dsyncFd ??= openFd(
      `/proc/self/fd/${this.#fd}`,
      fs.constants.O_RDWR | dsyncFlag | (this.alignment > 1 ? directFlag : 0),
    );
    await this.#writeTo(await this.#dsyncFd, pieces, position);
  }

  async #writeTo(fd: number, pieces: readonly Uint8Array[], position: number): Promise<void> {
    let rest = pieces;
    while (rest.length > 0) {
      const group = rest.length > maxPieces ? rest.slice(0, maxPieces) : rest;
      const count = await writeOnce(fd, group, position);
      let length = 0;
      for (const piece of group) length += piece.length;
      if (count === length) {
        rest = rest.slice(group.length);
      } else {
        if (count === 0) throw new AppError('EIO', `${this.path}: a write at ${position} made no progress`);
        if (this.alignment > 1 && count % this.alignment !== 0)
          throw new AppError('EIO', `${this.path}: a direct write at ${position} ended after ${count} bytes`);
        rest = dropBytes(rest, count);
      }
      position += count;
    }
  }

  datasync(): Promise<void> {
    return call((done) => fs.fdatasync(this.#fd, done));
  }

  async allocate(offset: number, length: number): Promise<void> {
    if (native().symbols.fallocate(this.#fd, 0, offset, length) === 0) return;
    const { available, total } = await systemDisk.space(this.path);
    if (available < length && total > 0)
      throw new AppError('ENOSPC', `${this.path}: no space for ${length} bytes, ${available} are available`);
    // A file system without fallocate: the size is there, the promise of space is not.
    if ((await this.size()) < offset + length) await this.truncate(offset + length);
  }

  async discard(offset: number, length: number): Promise<void> {
    native().symbols.fallocate(this.#fd, fallocPunchHole | fallocKeepSize, offset, length);
  }

  truncate(size: number): Promise<void> {
    return call((done) => fs.ftruncate(this.#fd, size, done));
  }

  async close(): Promise<void> {
    const dsync = this.#dsyncFd;
    this.#dsyncFd = undefined;
    if (dsync !== undefined) {
      const fd = await dsync.catch(() => undefined);
      if (fd !== undefined) await call((done) => fs.close(fd, done));
    }
    await call((done) => fs.close(this.#fd, done));
  }
}

function writeOnce(fd: number, pieces: readonly Uint8Array[], position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const done = (error: NodeJS.ErrnoException | null, count: number): void => (error ? reject(error) : resolve(count));
    if (pieces.length === 1) fs.write(fd, pieces[0]!, 0, pieces[0]!.length, position, done);
    else fs.writev(fd, pieces, position, done);
  });
}

function dropBytes(pieces: readonly Uint8Array[], count: number): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (const piece of pieces) {
    if (count >= piece.length) count -= piece.length;
    else {
      out.push(piece.subarray(count));
      count = 0;
    }
  }
  return out;
}

function alignedBuffer(length: number): Uint8Array {
  const raw = unfilledBytes(length + directAlignment);
  const skip = -ptr(raw) & (directAlignment - 1);
  return raw.subarray(skip, skip + length);
}

function openNative() {
  return dlopen('libc.so.6', {
    fallocate: { args: [FFIType.i32, FFIType.i32, FFIType.i64_fast, FFIType.i64_fast], returns: FFIType.i32 },
  });
}

let opened: ReturnType<typeof openNative> | undefined;

function native(): ReturnType<typeof openNative> {
  opened ??= openNative();
  return opened;
}
