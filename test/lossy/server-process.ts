/**
 * The file system itself: answers the kernel, one request after the other, without an event loop. Started by `main.ts`:
 * `bun server-process.ts <backing> <mountpoint> <options as JSON>`. SIGKILL is the power loss.
 */
import { dlopen } from 'bun:ffi';
import * as fs from 'node:fs';
import {
  Body,
  type errno,
  errno as errnos,
  FuseError,
  initReply,
  inHeaderBytes,
  maxWriteBytes,
  opcode,
  Request,
} from './fuse-protocol.ts';
import { type Inode, Tree, type TreeOptions } from './tree.ts';

const [backing, mountpoint, optionsText] = process.argv.slice(2) as [string, string, string];
const options = JSON.parse(optionsText) as Omit<TreeOptions, 'backing'>;

/** Not listed, but there: commands (README.md) are written to it, reading tells the counters. */
export const controlName = '.lossy-control';
const controlNode = 2 ** 40;
const nothing = new Uint8Array(0);
/** A slow disk: each sync takes so much longer, and everything else waits for it. */
let slowMs = 0;

const tree = new Tree({ ...options, backing });
const fd = fs.openSync('/dev/fuse', fs.constants.O_RDWR);
mount();
// The parent waits for this line.
process.stdout.write('mounted\n');
serve();

function mount(): void {
  const { symbols } = dlopen('libc.so.6', {
    mount: { args: ['cstring', 'cstring', 'cstring', 'u64', 'cstring'], returns: 'i32' },
  });
  const data = `fd=${fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read=${maxWriteBytes}`;
  const text = (value: string): Buffer => Buffer.from(`${value}\0`);
  if (symbols.mount(text('lossy'), text(mountpoint), text('fuse.lossy'), 0n, text(data)) !== 0)
    throw new Error(`mount on ${mountpoint} failed`);
}

function serve(): void {
  const buffer = Buffer.alloc(maxWriteBytes + 65536);
  for (;;) {
    let count: number;
    try {
      count = fs.readSync(fd, buffer, 0, buffer.length, null);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EINTR' || code === 'ENOENT' || code === 'EAGAIN') continue;
      // ENODEV: unmounted.
      break;
    }
    const request = new Request(buffer.subarray(0, count));
    try {
      const body = answer(request);
      if (body !== undefined) reply(request, 0, body);
    } catch (error) {
      if (error instanceof FuseError) reply(request, errnos[error.code]);
      else {
        process.stderr.write(
          `lossy: opcode ${request.opcode}: ${error instanceof Error ? error.stack : String(error)}\n`,
        );
        const { code } = error as { code?: string };
        reply(request, code === 'ENOSPC' ? 28 : errnos.EIO);
      }
    }
    tree.writeback();
  }
  tree.syncAll();
}

function reply(request: Request, error: number, body: Uint8Array = new Uint8Array(0)): void {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + body.length, 0);
  header.writeInt32LE(-error, 4);
  header.writeBigUInt64LE(request.unique, 8);
  try {
    fs.writevSync(fd, body.length > 0 ? [header, body] : [header]);
  } catch (failure) {
    // ENOENT: the request was interrupted meanwhile.
    if ((failure as NodeJS.ErrnoException).code !== 'ENOENT') throw failure;
  }
}

function entry(inode: Inode): Buffer {
  inode.lookups++;
  return new Body().entryOut(tree.attributes(inode)).finish();
}

function controlAttributes() {
  return {
    ino: controlNode,
    size: 4096,
    blocks: 8,
    mode: 0o100600,
    nlink: 1,
    uid: 0,
    gid: 0,
    rdev: 0,
    atime: 0,
    mtime: 0,
    ctime: 0,
  };
}

function command(line: string): void {
  const [what, value] = line.split(' ');
  if (what === 'sync') tree.syncAll();
  else if (what === 'slow') slowMs = Number(value);
  else if (what === 'full') tree.full = value !== 'off';
  else throw new FuseError('EINVAL');
}

function slow(): void {
  if (slowMs > 0) Bun.sleepSync(slowMs);
}

function control(r: Request): Uint8Array {
  switch (r.opcode) {
    case opcode.getattr:
    case opcode.setattr:
      return new Body().attrOut(controlAttributes()).finish();
    case opcode.open:
      // FOPEN_DIRECT_IO: the counters are asked anew each time.
      return new Body().openOut(0, 1).finish();
    case opcode.read: {
      const offset = r.skip(8).u64();
      return offset > 0 ? nothing : Buffer.from(`${JSON.stringify(tree.stats)}\n`);
    }
    case opcode.write: {
      const size = r.skip(16).u32();
      r.at = inHeaderBytes + 40;
      command(r.rest(size).toString().trim());
      return new Body().u32(size).u32(0).finish();
    }
    case opcode.getxattr:
    case opcode.listxattr:
      throw new FuseError('ENODATA');
    default:
      return nothing;
  }
}

/** The body of the answer; undefined when there is none to give. */
function answer(r: Request): Uint8Array | undefined {
  if (r.node === controlNode && r.opcode !== opcode.forget) return control(r);
  switch (r.opcode) {
    case opcode.init:
      return initReply(r);
    case opcode.destroy:
      return nothing;
    case opcode.interrupt:
      return undefined;
    case opcode.forget:
      tree.forget(r.node, r.u64());
      return undefined;
    case opcode.batchForget: {
      const count = r.u32();
      r.skip(4);
      for (let i = 0; i < count; i++) tree.forget(r.u64(), r.u64());
      return undefined;
    }
    case opcode.lookup: {
      const name = r.name();
      if (r.node === 1 && name === controlName) return new Body().entryOut(controlAttributes()).finish();
      return entry(tree.lookup(r.node, name));
    }
    case opcode.getattr:
      return new Body().attrOut(tree.attributes(tree.inode(r.node))).finish();
    case opcode.setattr:
      return setattr(r);
    case opcode.readlink:
      return Buffer.from(tree.inode(r.node).target ?? '');
    case opcode.symlink: {
      const name = r.name();
      return entry(tree.make(r.node, name, 0o120777, r.uid, r.gid, 0, r.name()));
    }
    case opcode.mknod: {
      const [mode, rdev] = [r.u32(), r.u32()];
      r.skip(8);
      return entry(tree.make(r.node, r.name(), mode, r.uid, r.gid, rdev));
    }
    case opcode.mkdir: {
      const mode = r.u32();
      r.skip(4);
      return entry(tree.make(r.node, r.name(), (mode & 0o7777) | 0o040000, r.uid, r.gid));
    }
    case opcode.unlink:
    case opcode.rmdir:
      tree.remove(r.node, r.name(), r.opcode === opcode.rmdir);
      return nothing;
    case opcode.rename:
    case opcode.rename2: {
      const toDir = r.u64();
      const flags = r.opcode === opcode.rename2 ? r.u32() : 0;
      if (r.opcode === opcode.rename2) r.skip(4);
      const from = r.name();
      tree.rename(r.node, from, toDir, r.name(), flags);
      return nothing;
    }
    case opcode.link: {
      const ino = r.u64();
      return entry(tree.link(ino, r.node, r.name()));
    }
    case opcode.open:
    case opcode.opendir: {
      const inode = tree.inode(r.node);
      // FOPEN_KEEP_CACHE (2), for directories FOPEN_CACHE_DIR (8) is not used: they change under readers.
      return new Body().openOut(0, inode.entries ? 0 : 2).finish();
    }
    case opcode.create: {
      r.skip(4);
      const mode = r.u32();
      r.skip(8);
      const inode = tree.make(r.node, r.name(), (mode & 0o7777) | 0o100000, r.uid, r.gid);
      inode.lookups++;
      return new Body().entryOut(tree.attributes(inode)).openOut(0, 2).finish();
    }
    case opcode.read: {
      const offset = r.skip(8).u64();
      const into = Buffer.allocUnsafe(r.u32());
      return into.subarray(0, tree.read(tree.inode(r.node), into, offset));
    }
    case opcode.write:
      return write(r);
    case opcode.fsync:
    case opcode.fsyncdir:
      slow();
      tree.sync(r.node);
      return nothing;
    case opcode.syncfs:
      tree.syncAll();
      return nothing;
    case opcode.flush:
    case opcode.release:
    case opcode.releasedir:
      return nothing;
    case opcode.statfs: {
      const s = fs.statfsSync(backing);
      const [free, available] = tree.full ? [0, 0] : [s.bfree, s.bavail];
      const body = new Body().u64(s.blocks).u64(free).u64(available).u64(s.files).u64(s.ffree);
      return body.u32(s.bsize).u32(255).u32(s.bsize).zeros(28).finish();
    }
    case opcode.readdir:
      return readdir(r);
    case opcode.setxattr: {
      const size = r.u32();
      r.skip(4);
      const name = r.name();
      tree.setXattr(tree.inode(r.node), name, r.rest(size));
      return nothing;
    }
    case opcode.getxattr:
    case opcode.listxattr: {
      const size = r.u32();
      r.skip(4);
      const { xattrs } = tree.inode(r.node);
      const value =
        r.opcode === opcode.listxattr
          ? Buffer.from([...xattrs.keys()].map((name) => `${name}\0`).join(''))
          : decode(xattrs.get(r.name()));
      if (size === 0) return new Body().u32(value.length).u32(0).finish();
      if (value.length > size) throw new FuseError('ERANGE');
      return value;
    }
    case opcode.removexattr: {
      const inode = tree.inode(r.node);
      const name = r.name();
      if (!inode.xattrs.has(name)) throw new FuseError('ENODATA');
      tree.setXattr(inode, name, undefined);
      return nothing;
    }
    case opcode.fallocate: {
      r.skip(8);
      const [offset, length, mode] = [r.u64(), r.u64(), r.u32()];
      tree.fallocate(tree.inode(r.node), mode, offset, length);
      return nothing;
    }
    case opcode.lseek: {
      // SEEK_DATA 3, SEEK_HOLE 4: everything up to the end is data.
      const offset = r.skip(8).u64();
      const whence = r.u32();
      const { size } = tree.inode(r.node);
      if (offset >= size) throw new FuseError('ENXIO');
      return new Body().u64(whence === 4 ? size : offset).finish();
    }
    default:
      throw new FuseError('ENOSYS');
  }
}

function decode(value: string | undefined): Buffer {
  if (value === undefined) throw new FuseError('ENODATA');
  return Buffer.from(value, 'base64');
}

function write(r: Request): Uint8Array {
  const [offset, size] = [r.skip(8).u64(), r.u32()];
  const flags = r.skip(12).u32();
  r.at = inHeaderBytes + 40;
  const inode = tree.inode(r.node);
  tree.write(inode, r.rest(size), offset);
  // O_DSYNC: the kernel sends FSYNC behind buffered writes; direct ones may come without.
  if (flags & 0o10000) {
    slow();
    tree.sync(r.node);
  }
  return new Body().u32(size).u32(0).finish();
}

function setattr(r: Request): Uint8Array {
  const valid = r.u32();
  r.skip(12);
  const size = r.u64();
  r.skip(8);
  const [atime, mtime] = [r.u64(), r.u64()];
  r.skip(8);
  const [atimeNs, mtimeNs] = [r.u32(), r.u32()];
  r.skip(4);
  const mode = r.u32();
  r.skip(4);
  const [uid, gid] = [r.u32(), r.u32()];
  const inode = tree.inode(r.node);
  if (valid & (1 << 3)) tree.truncate(inode, size);
  const change: Parameters<Tree['setAttributes']>[1] = {};
  if (valid & 1) change.mode = mode;
  if (valid & 2) change.uid = uid;
  if (valid & 4) change.gid = gid;
  if (valid & (1 << 4)) change.atime = valid & (1 << 7) ? Date.now() : atime * 1000 + atimeNs / 1e6;
  if (valid & (1 << 5)) change.mtime = valid & (1 << 8) ? Date.now() : mtime * 1000 + mtimeNs / 1e6;
  if (Object.keys(change).length > 0) tree.setAttributes(inode, change);
  return new Body().attrOut(tree.attributes(inode)).finish();
}

function readdir(r: Request): Uint8Array {
  const offset = r.skip(8).u64();
  const limit = r.u32();
  const body = new Body();
  const all = tree.list(r.node);
  for (let i = offset; i < all.length; i++) {
    const [name, inode] = all[i]!;
    if (!body.dirent(limit, inode.ino, i + 1, inode.mode, name)) break;
  }
  return body.finish();
}

export type Errno = keyof typeof errno;
