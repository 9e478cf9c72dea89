/** The part of the FUSE protocol that the lossy layer speaks (`include/uapi/linux/fuse.h`, version 7.31). All integers little-endian. */

export const opcode = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  readlink: 5,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  setxattr: 21,
  getxattr: 22,
  listxattr: 23,
  removexattr: 24,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  create: 35,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
  fallocate: 43,
  rename2: 45,
  lseek: 46,
  syncfs: 50,
} as const;

export const errno = {
  ENOENT: 2,
  EIO: 5,
  EEXIST: 17,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENXIO: 6,
  ENOSPC: 28,
  ERANGE: 34,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ENODATA: 61,
  EOPNOTSUPP: 95,
} as const;

export class FuseError extends Error {
  constructor(readonly code: keyof typeof errno) {
    super(code);
  }
}

export const inHeaderBytes = 40;
export const maxWriteBytes = 1024 * 1024;
/** Seconds for which the kernel may keep names and attributes: nobody else changes them. */
const validSeconds = 60;

export interface Times {
  atime: number;
  mtime: number;
  ctime: number;
}

/** What `struct fuse_attr` says; times in nanoseconds held as milliseconds with fraction. */
export interface Attributes extends Times {
  ino: number;
  size: number;
  blocks: number;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  rdev: number;
}

/** A request as it was read; `at` walks through its body. */
export class Request {
  readonly view: DataView;
  readonly opcode: number;
  readonly unique: bigint;
  readonly node: number;
  readonly uid: number;
  readonly gid: number;
  at = inHeaderBytes;

  constructor(readonly bytes: Buffer) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.opcode = this.view.getUint32(4, true);
    this.unique = this.view.getBigUint64(8, true);
    this.node = Number(this.view.getBigUint64(16, true));
    this.uid = this.view.getUint32(24, true);
    this.gid = this.view.getUint32(28, true);
  }

  u32(): number {
    this.at += 4;
    return this.view.getUint32(this.at - 4, true);
  }
  u64(): number {
    this.at += 8;
    return Number(this.view.getBigUint64(this.at - 8, true));
  }
  skip(count: number): this {
    this.at += count;
    return this;
  }
  /** A name that ends with NUL. */
  name(): string {
    const end = this.bytes.indexOf(0, this.at);
    const text = this.bytes.toString('utf8', this.at, end);
    this.at = end + 1;
    return text;
  }
  rest(count: number): Buffer {
    return this.bytes.subarray(this.at, this.at + count);
  }
}

/** Builds a reply's body. */
export class Body {
  #bytes = Buffer.alloc(256);
  #length = 0;

  #room(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(this.#length, 2 * this.#bytes.length));
      this.#bytes.copy(grown);
      this.#bytes = grown;
    }
    return at;
  }

  get size(): number {
    return this.#length;
  }

  u16(value: number): this {
    const at = this.#room(2);
    this.#bytes.writeUInt16LE(value, at);
    return this;
  }
  u32(value: number): this {
    const at = this.#room(4);
    this.#bytes.writeUInt32LE(value >>> 0, at);
    return this;
  }
  u64(value: number): this {
    const at = this.#room(8);
    this.#bytes.writeBigUInt64LE(BigInt(value), at);
    return this;
  }
  bytes(value: Uint8Array): this {
    const at = this.#room(value.length);
    this.#bytes.set(value, at);
    return this;
  }
  zeros(count: number): this {
    const at = this.#room(count);
    this.#bytes.fill(0, at, at + count);
    return this;
  }

  attr(a: Attributes): this {
    this.u64(a.ino).u64(a.size).u64(a.blocks);
    for (const time of [a.atime, a.mtime, a.ctime]) this.u64(Math.floor(time / 1000));
    for (const time of [a.atime, a.mtime, a.ctime]) this.u32(Math.floor((time % 1000) * 1e6));
    return this.u32(a.mode).u32(a.nlink).u32(a.uid).u32(a.gid).u32(a.rdev).u32(4096).u32(0);
  }
  attrOut(a: Attributes): this {
    return this.u64(validSeconds).u32(0).u32(0).attr(a);
  }
  entryOut(a: Attributes): this {
    return this.u64(a.ino).u64(0).u64(validSeconds).u64(validSeconds).u32(0).u32(0).attr(a);
  }
  openOut(handle: number, flags: number): this {
    return this.u64(handle).u32(flags).u32(0);
  }
  /** Returns false when the entry does not fit into `limit` bytes. */
  dirent(limit: number, ino: number, next: number, mode: number, name: string): boolean {
    const bytes = Buffer.from(name);
    const padded = Math.ceil(bytes.length / 8) * 8;
    if (this.#length + 24 + padded > limit) return false;
    this.u64(ino)
      .u64(next)
      .u32(bytes.length)
      .u32((mode & 0o170000) >> 12)
      .bytes(bytes)
      .zeros(padded - bytes.length);
    return true;
  }
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }
}

const flag = {
  asyncRead: 1,
  bigWrites: 1 << 5,
  asyncDio: 1 << 15,
  parallelDirops: 1 << 18,
  handleKillpriv: 1 << 19,
  maxPages: 1 << 22,
};

/** The answer to INIT: what of the kernel's offer is used. No write-back cache: every write reaches us when it is made. */
export function initReply(request: Request): Buffer {
  request.u32();
  request.u32();
  const readahead = request.u32();
  const offered = request.u32();
  const wanted =
    flag.asyncRead | flag.bigWrites | flag.asyncDio | flag.parallelDirops | flag.handleKillpriv | flag.maxPages;
  const body = new Body()
    .u32(7)
    .u32(31)
    .u32(readahead)
    .u32(offered & wanted);
  body
    .u16(64)
    .u16(48)
    .u32(maxWriteBytes)
    .u32(1)
    .u16(maxWriteBytes / 4096)
    .u16(0);
  return body.zeros(32).finish();
}
