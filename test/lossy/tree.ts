/**
 * Files as processes see them now, and as a power loss would leave them. What is stable is in the backing directory: `tree.log` holds changes of
 * names and attributes, one group a line; `data/<inode>` the bytes. What is not stable is in the memory of this process only, so ending it
 * with SIGKILL is the power loss.
 */
import * as fs from 'node:fs';
import { seededRandom } from '../../internal/base/random.ts';
import { type Attributes, FuseError } from './fuse-protocol.ts';

const pageBytes = 4096;
/** What a power loss may tear: a sector is written whole or not at all. */
const sectorBytes = 512;
const rootNode = 1;
const maxOpenFiles = 200;

export interface TreeOptions {
  backing: string;
  /** Names become stable only by a sync of their directory. Otherwise, as on ext4, any sync makes all earlier names stable. */
  strict: boolean;
  /** Share of page writes that reach the disk at once, unasked, as any cache may do; half of them torn: some sectors of the page only. */
  early: number;
  seed: number;
  /** Syncs of files whose path matches do nothing, as if the program did not call them: a planted fault. '' for none. */
  ignoreSync: string;
  /** Data and names older than this are written back, as the kernel does; 0: never. */
  writebackMs: number;
}

export interface Inode {
  ino: number;
  mode: number;
  uid: number;
  gid: number;
  rdev: number;
  nlink: number;
  size: number;
  atime: number;
  mtime: number;
  ctime: number;
  target?: string;
  entries?: Map<string, number>;
  parent?: number;
  xattrs: Map<string, string>;
  /** Pages that are not stable. */
  dirty: Map<number, Uint8Array>;
  dirtySince: number;
  /** Bytes of the backing file that still count; what lies behind was cut and reads as zeros. */
  backed: number;
  /** Size as of the last sync. */
  stableSize: number;
  sizeChanged: boolean;
  lookups: number;
  /** One of its names. */
  place?: { dir: number; name: string };
}

/** One change of names or attributes; a list of them is atomic. */
type Change =
  | ['inode', number, { mode: number; uid: number; gid: number; rdev: number; target?: string; time: number }]
  | ['entry', number, string, number]
  | ['unentry', number, string]
  | ['attr', number, { mode: number; uid: number; gid: number; atime: number; mtime: number; ctime: number }]
  | ['xattr', number, string, string | null]
  | ['size', number, number, number];

interface Group {
  changes: Change[];
  since: number;
}

export class Tree {
  readonly #options: TreeOptions;
  readonly #random;
  readonly #ignored: RegExp | undefined;
  readonly #inodes = new Map<number, Inode>();
  readonly #logFd: number;
  #pending: Group[] = [];
  #nextIno = rootNode + 1;
  readonly #dirtyInodes = new Set<Inode>();
  /** Without a name, perhaps open. */
  readonly #unlinkedInodes = new Set<Inode>();
  /** Open backing files, the least recently used first. */
  readonly #fds = new Map<number, number>();
  #lastWriteback = Date.now();
  /** The disk is full: what needs new room fails with ENOSPC, what is there can be overwritten and removed. */
  full = false;
  readonly stats = { writes: 0, syncs: 0, dirtyPages: 0, early: 0, torn: 0, ignored: 0 };

  constructor(options: TreeOptions) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#ignored = options.ignoreSync === '' ? undefined : new RegExp(options.ignoreSync);
    fs.mkdirSync(`${options.backing}/data`, { recursive: true });
    this.#load();
    // Anew and short: what was loaded, as one group.
    const log = `${options.backing}/tree.log`;
    fs.writeFileSync(`${log}.new`, `${JSON.stringify(this.#everything())}\n`);
    fs.renameSync(`${log}.new`, log);
    this.#logFd = fs.openSync(log, 'a');
  }

  // --- what is stable

  #load(): void {
    const root = this.#blank(rootNode, 0o40755, 0, 0);
    root.nlink = 2;
    this.#inodes.set(rootNode, root);
    const log = `${this.#options.backing}/tree.log`;
    const sizes = new Map<number, [number, number]>();
    if (fs.existsSync(log))
      for (const line of fs.readFileSync(log, 'utf8').split('\n'))
        if (line !== '') for (const change of JSON.parse(line) as Change[]) this.#replay(change, sizes);
    // Names decide what exists; an inode without one was on its way, or open and removed.
    const links = new Map<number, number>();
    const walk = (inode: Inode): void => {
      for (const [name, child] of inode.entries ?? []) {
        links.set(child, (links.get(child) ?? 0) + 1);
        const found = this.#inodes.get(child);
        if (found) found.place = { dir: inode.ino, name };
        if (found?.entries) {
          found.parent = inode.ino;
          walk(found);
        }
      }
    };
    walk(root);
    for (const inode of [...this.#inodes.values()]) {
      if (inode.ino === rootNode) continue;
      if (!links.has(inode.ino)) {
        this.#inodes.delete(inode.ino);
        continue;
      }
      inode.nlink = inode.entries ? 2 : links.get(inode.ino)!;
      const [size, mtime] = sizes.get(inode.ino) ?? [0, inode.mtime];
      inode.size = inode.target === undefined ? size : inode.target.length;
      inode.stableSize = inode.size;
      inode.backed = inode.size;
      inode.mtime = mtime;
    }
    for (const name of fs.readdirSync(`${this.#options.backing}/data`))
      if (!this.#inodes.has(Number(name))) fs.unlinkSync(`${this.#options.backing}/data/${name}`);
  }

  #replay(change: Change, sizes: Map<number, [number, number]>): void {
    switch (change[0]) {
      case 'inode': {
        const [, ino, { mode, uid, gid, rdev, target, time }] = change;
        const inode = ino === rootNode ? this.#inodes.get(rootNode)! : this.#blank(ino, mode, uid, gid);
        inode.mode = mode;
        inode.rdev = rdev;
        if (target !== undefined) inode.target = target;
        inode.atime = inode.mtime = inode.ctime = time;
        this.#inodes.set(ino, inode);
        this.#nextIno = Math.max(this.#nextIno, ino + 1);
        break;
      }
      case 'entry':
        this.#inodes.get(change[1])?.entries?.set(change[2], change[3]);
        break;
      case 'unentry':
        this.#inodes.get(change[1])?.entries?.delete(change[2]);
        break;
      case 'attr': {
        const inode = this.#inodes.get(change[1]);
        if (inode) Object.assign(inode, change[2]);
        break;
      }
      case 'xattr': {
        const xattrs = this.#inodes.get(change[1])?.xattrs;
        if (change[3] === null) xattrs?.delete(change[2]);
        else xattrs?.set(change[2], change[3]);
        break;
      }
      case 'size':
        sizes.set(change[1], [change[2], change[3]]);
        break;
    }
  }

  #everything(): Change[] {
    const out: Change[] = [];
    for (const i of this.#inodes.values()) {
      const made = { mode: i.mode, uid: i.uid, gid: i.gid, rdev: i.rdev, time: i.ctime };
      out.push(['inode', i.ino, i.target === undefined ? made : { ...made, target: i.target }]);
      out.push(['attr', i.ino, attributesOf(i)]);
      if (i.target === undefined && !i.entries) out.push(['size', i.ino, i.size, i.mtime]);
      for (const [name, value] of i.xattrs) out.push(['xattr', i.ino, name, value]);
    }
    for (const i of this.#inodes.values())
      for (const [name, ino] of i.entries ?? []) out.push(['entry', i.ino, name, ino]);
    return out;
  }

  #append(changes: Change[]): void {
    fs.writeSync(this.#logFd, `${JSON.stringify(changes)}\n`);
  }

  /** Makes the oldest `count` groups stable. */
  #commit(count = this.#pending.length): void {
    for (const { changes } of this.#pending.splice(0, count)) this.#append(changes);
    if (this.#pending.length > 0) return;
    for (const inode of this.#unlinkedInodes) if (inode.lookups === 0) this.#drop(inode);
  }

  #change(...changes: Change[]): void {
    this.#pending.push({ changes, since: Date.now() });
    if (this.#options.early > 0 && this.#random.float() < this.#options.early)
      this.#commit(1 + (this.#random.uint32() % this.#pending.length));
  }

  /** Data and size of one file become stable. */
  #syncData(inode: Inode): void {
    if (inode.dirty.size === 0 && !inode.sizeChanged) return;
    const fd = this.#backingFd(inode);
    if (inode.backed < inode.stableSize) fs.ftruncateSync(fd, inode.backed);
    const pages = [...inode.dirty.keys()].sort((a, b) => a - b);
    for (let i = 0; i < pages.length; ) {
      let n = i;
      while (n + 1 < pages.length && pages[n + 1] === pages[n]! + 1 && n - i < 255) n++;
      const views = pages.slice(i, n + 1).map((page) => inode.dirty.get(page)!);
      fs.writevSync(fd, views, pages[i]! * pageBytes);
      i = n + 1;
    }
    fs.ftruncateSync(fd, inode.size);
    if (inode.sizeChanged) this.#append([['size', inode.ino, inode.size, inode.mtime]]);
    this.stats.dirtyPages -= inode.dirty.size;
    inode.dirty.clear();
    inode.stableSize = inode.size;
    inode.backed = inode.size;
    inode.sizeChanged = false;
    this.#dirtyInodes.delete(inode);
  }

  sync(ino: number): void {
    this.stats.syncs++;
    const inode = this.inode(ino);
    if (this.#ignored?.test(this.path(inode))) {
      this.stats.ignored++;
      return;
    }
    if (inode.entries) {
      const names = (group: Group): boolean =>
        group.changes.some(([kind, dir]) => kind.endsWith('entry') && dir === ino);
      this.#commit(this.#options.strict ? this.#pending.findLastIndex(names) + 1 : this.#pending.length);
      return;
    }
    this.#syncData(inode);
    if (!this.#options.strict) this.#commit();
  }

  syncAll(): void {
    this.#commit();
    for (const inode of [...this.#dirtyInodes]) this.#syncData(inode);
    this.#commit();
  }

  /** What a kernel does on its own after a while. Called between requests. */
  writeback(): void {
    const now = Date.now();
    if (this.#options.writebackMs === 0 || now - this.#lastWriteback < 1000) return;
    this.#lastWriteback = now;
    const old = now - this.#options.writebackMs;
    for (const inode of [...this.#dirtyInodes]) {
      if (inode.dirtySince > old && this.stats.dirtyPages < 65536) break;
      this.#syncData(inode);
    }
    const fresh = this.#pending.findIndex((group) => group.since > old);
    if (fresh !== 0 && this.#pending.length > 0) this.#commit(fresh < 0 ? this.#pending.length : fresh);
  }

  // --- inodes

  #blank(ino: number, mode: number, uid: number, gid: number): Inode {
    const time = Date.now();
    const inode: Inode = {
      ino,
      mode,
      uid,
      gid,
      rdev: 0,
      nlink: 0,
      size: 0,
      atime: time,
      mtime: time,
      ctime: time,
      xattrs: new Map(),
      dirty: new Map(),
      dirtySince: 0,
      backed: 0,
      stableSize: 0,
      sizeChanged: false,
      lookups: 0,
    };
    if ((mode & 0o170000) === 0o040000) inode.entries = new Map();
    return inode;
  }

  inode(ino: number): Inode {
    const inode = this.#inodes.get(ino);
    if (inode === undefined) throw new FuseError('ENOENT');
    return inode;
  }

  /** From the mount point, with a leading slash. */
  path(inode: Inode): string {
    if (inode.place === undefined) return '/';
    const dir = this.#inodes.get(inode.place.dir);
    const above = dir === undefined ? '' : this.path(dir);
    return `${above === '/' ? '' : above}/${inode.place.name}`;
  }

  attributes(inode: Inode): Attributes {
    const { ino, size, mode, nlink, uid, gid, rdev, atime, mtime, ctime } = inode;
    return { ino, size, blocks: Math.ceil(size / 512), mode, nlink, uid, gid, rdev, atime, mtime, ctime };
  }

  forget(ino: number, lookups: number): void {
    const inode = this.#inodes.get(ino);
    if (inode === undefined) return;
    inode.lookups = Math.max(0, inode.lookups - lookups);
    if (inode.lookups > 0) return;
    // Its name may still be stable: then its bytes must stay until that is not so any more.
    if (inode.nlink === 0 && this.#pending.length === 0) this.#drop(inode);
  }

  #drop(inode: Inode): void {
    this.#inodes.delete(inode.ino);
    this.#dirtyInodes.delete(inode);
    this.stats.dirtyPages -= inode.dirty.size;
    this.#unlinkedInodes.delete(inode);
    this.#closeFd(inode.ino);
    fs.rmSync(`${this.#options.backing}/data/${inode.ino}`, { force: true });
  }

  // --- names

  lookup(dir: number, name: string): Inode {
    const ino = this.#entries(dir).get(name);
    if (ino === undefined) throw new FuseError('ENOENT');
    return this.inode(ino);
  }

  #entries(dir: number): Map<string, number> {
    const { entries } = this.inode(dir);
    if (entries === undefined) throw new FuseError('ENOTDIR');
    return entries;
  }

  make(
    dir: number,
    name: string,
    mode: number,
    uid: number,
    gid: number,
    rdev = 0,
    target?: string,
    also: Change[] = [],
  ): Inode {
    const entries = this.#entries(dir);
    if (entries.has(name)) throw new FuseError('EEXIST');
    if (this.full) throw new FuseError('ENOSPC');
    const parent = this.inode(dir);
    // A directory with the set-group-id bit hands its group on.
    const group = parent.mode & 0o2000 ? parent.gid : gid;
    const inode = this.#blank(this.#nextIno++, mode, uid, group);
    inode.rdev = rdev;
    inode.nlink = inode.entries ? 2 : 1;
    if (target !== undefined) {
      inode.target = target;
      inode.size = Buffer.byteLength(target);
    }
    if (inode.entries) {
      inode.parent = dir;
      parent.nlink++;
    }
    this.#inodes.set(inode.ino, inode);
    entries.set(name, inode.ino);
    inode.place = { dir, name };
    parent.mtime = parent.ctime = Date.now();
    const made = { mode, uid, gid: group, rdev, time: inode.ctime };
    this.#change(
      ['inode', inode.ino, target === undefined ? made : { ...made, target }],
      ['entry', dir, name, inode.ino],
      ...also,
    );
    return inode;
  }

  link(ino: number, dir: number, name: string): Inode {
    const entries = this.#entries(dir);
    if (entries.has(name)) throw new FuseError('EEXIST');
    const inode = this.inode(ino);
    inode.nlink++;
    inode.ctime = Date.now();
    entries.set(name, ino);
    this.#change(['entry', dir, name, ino]);
    return inode;
  }

  remove(dir: number, name: string, directory: boolean): void {
    const inode = this.lookup(dir, name);
    if (directory) {
      if (!inode.entries) throw new FuseError('ENOTDIR');
      if (inode.entries.size > 0) throw new FuseError('ENOTEMPTY');
    } else if (inode.entries) throw new FuseError('EISDIR');
    this.#entries(dir).delete(name);
    this.#unlinked(inode, dir);
    this.#change(['unentry', dir, name]);
  }

  #unlinked(inode: Inode, dir: number): void {
    const parent = this.inode(dir);
    parent.mtime = parent.ctime = Date.now();
    if (inode.entries) {
      inode.nlink = 0;
      parent.nlink--;
    } else inode.nlink--;
    if (inode.nlink === 0) this.#unlinkedInodes.add(inode);
    inode.ctime = Date.now();
  }

  /** `flags`: RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4 (overlayfs on top of this one needs it). */
  rename(fromDir: number, fromName: string, toDir: number, toName: string, flags: number): void {
    const inode = this.lookup(fromDir, fromName);
    const from = this.#entries(fromDir);
    const to = this.#entries(toDir);
    const old = to.get(toName);
    if (flags & ~7) throw new FuseError('EINVAL');
    if (flags & 1 && old !== undefined) throw new FuseError('EEXIST');
    if (flags & 2) {
      if (old === undefined) throw new FuseError('ENOENT');
      from.set(fromName, old);
      to.set(toName, inode.ino);
      this.#change(['entry', fromDir, fromName, old], ['entry', toDir, toName, inode.ino]);
      return;
    }
    if (old === inode.ino) return;
    if (old !== undefined) {
      const replaced = this.inode(old);
      if (replaced.entries && replaced.entries.size > 0) throw new FuseError('ENOTEMPTY');
      this.#unlinked(replaced, toDir);
    }
    from.delete(fromName);
    to.set(toName, inode.ino);
    inode.place = { dir: toDir, name: toName };
    if (inode.entries && fromDir !== toDir) {
      this.inode(fromDir).nlink--;
      this.inode(toDir).nlink++;
      inode.parent = toDir;
    }
    inode.ctime = Date.now();
    const moved: Change = ['entry', toDir, toName, inode.ino];
    if (flags & 4) {
      // One group: the old name is never free.
      this.make(fromDir, fromName, 0o020000, inode.uid, inode.gid, 0, undefined, [moved]);
    } else this.#change(['unentry', fromDir, fromName], moved);
  }

  list(dir: number): [string, Inode][] {
    const inode = this.inode(dir);
    const out: [string, Inode][] = [
      ['.', inode],
      ['..', this.inode(inode.parent ?? rootNode)],
    ];
    for (const [name, ino] of this.#entries(dir)) out.push([name, this.inode(ino)]);
    return out;
  }

  setAttributes(inode: Inode, change: Partial<Pick<Inode, 'mode' | 'uid' | 'gid' | 'atime' | 'mtime'>>): void {
    if (change.mode !== undefined) change.mode = (inode.mode & 0o170000) | (change.mode & 0o7777);
    Object.assign(inode, change);
    inode.ctime = Date.now();
    this.#change(['attr', inode.ino, attributesOf(inode)]);
  }

  setXattr(inode: Inode, name: string, value: Uint8Array | undefined): void {
    const text = value && Buffer.from(value).toString('base64');
    if (text === undefined) inode.xattrs.delete(name);
    else inode.xattrs.set(name, text);
    this.#change(['xattr', inode.ino, name, text ?? null]);
  }

  // --- data

  read(inode: Inode, into: Uint8Array, offset: number): number {
    const length = Math.max(0, Math.min(into.length, inode.size - offset));
    into.fill(0, 0, length);
    const backed = Math.min(length, inode.backed - offset);
    if (backed > 0) fs.readSync(this.#backingFd(inode), into, 0, backed, offset);
    if (inode.dirty.size > 0)
      for (let page = Math.floor(offset / pageBytes); page * pageBytes < offset + length; page++) {
        const bytes = inode.dirty.get(page);
        if (bytes === undefined) continue;
        const start = Math.max(0, offset - page * pageBytes);
        const end = Math.min(pageBytes, offset + length - page * pageBytes);
        into.set(bytes.subarray(start, end), page * pageBytes + start - offset);
      }
    return length;
  }

  write(inode: Inode, data: Uint8Array, offset: number): void {
    if (this.full && this.#needsRoom(inode, data.length, offset)) throw new FuseError('ENOSPC');
    this.stats.writes++;
    this.#touch(inode);
    let done = 0;
    while (done < data.length) {
      const page = Math.floor((offset + done) / pageBytes);
      const start = offset + done - page * pageBytes;
      const count = Math.min(pageBytes - start, data.length - done);
      this.#page(inode, page, count === pageBytes).set(data.subarray(done, done + count), start);
      this.#maybeEarly(inode, page);
      done += count;
    }
    if (offset + data.length > inode.size) {
      inode.size = offset + data.length;
      inode.sizeChanged = true;
    }
    inode.mtime = inode.ctime = Date.now();
  }

  /** Pages behind what the file has had on disk, and not in memory either, are new. */
  #needsRoom(inode: Inode, bytes: number, offset: number): boolean {
    for (let page = Math.floor(offset / pageBytes); page * pageBytes < offset + bytes; page++)
      if (page * pageBytes >= inode.backed && !inode.dirty.has(page)) return true;
    return false;
  }

  /** A page to change; its content as it is now unless all of it will be written. */
  #page(inode: Inode, page: number, whole: boolean): Uint8Array {
    let bytes = inode.dirty.get(page);
    if (bytes === undefined) {
      bytes = new Uint8Array(pageBytes);
      if (!whole) this.read(inode, bytes, page * pageBytes);
      inode.dirty.set(page, bytes);
      this.stats.dirtyPages++;
    }
    return bytes;
  }

  /** A cache may write any page at any time: some pages inside the stable size reach the disk unasked. */
  #maybeEarly(inode: Inode, page: number): void {
    if (this.#options.early === 0 || (page + 1) * pageBytes > Math.min(inode.backed, inode.stableSize)) return;
    if (this.#random.float() >= this.#options.early) return;
    this.stats.early++;
    const bytes = inode.dirty.get(page)!;
    if (this.#random.float() < 0.5) {
      fs.writeSync(this.#backingFd(inode), bytes, 0, pageBytes, page * pageBytes);
      return;
    }
    this.stats.torn++;
    const sectors = this.#random.uint32();
    for (let at = 0; at < pageBytes; at += sectorBytes)
      if (sectors & (1 << (at / sectorBytes)))
        fs.writeSync(this.#backingFd(inode), bytes, at, sectorBytes, page * pageBytes + at);
  }

  #touch(inode: Inode): void {
    if (this.#dirtyInodes.has(inode)) return;
    inode.dirtySince = Date.now();
    this.#dirtyInodes.add(inode);
  }

  truncate(inode: Inode, size: number): void {
    if (inode.entries) throw new FuseError('EISDIR');
    this.#touch(inode);
    if (size < inode.size) {
      if (size % pageBytes !== 0) this.#page(inode, Math.floor(size / pageBytes), false).fill(0, size % pageBytes);
      for (const page of inode.dirty.keys())
        if (page * pageBytes >= size) {
          inode.dirty.delete(page);
          this.stats.dirtyPages--;
        }
      inode.backed = Math.min(inode.backed, size);
    }
    inode.sizeChanged ||= size !== inode.size;
    inode.size = size;
    inode.mtime = inode.ctime = Date.now();
  }

  /** FALLOC_FL_KEEP_SIZE 1, PUNCH_HOLE 2, ZERO_RANGE 16. */
  fallocate(inode: Inode, mode: number, offset: number, length: number): void {
    if (mode & ~(1 | 2 | 16)) throw new FuseError('EOPNOTSUPP');
    if (this.full && !(mode & 2)) throw new FuseError('ENOSPC');
    this.#touch(inode);
    const end = offset + length;
    if (mode & (2 | 16)) {
      const stop = Math.min(end, inode.size);
      const zeros = new Uint8Array(pageBytes);
      for (let at = offset; at < stop; ) {
        const count = Math.min(pageBytes - (at % pageBytes), stop - at);
        this.write(inode, zeros.subarray(0, count), at);
        at += count;
      }
    }
    if (!(mode & 1) && end > inode.size) {
      inode.size = end;
      inode.sizeChanged = true;
    }
  }

  #backingFd(inode: Inode): number {
    let fd = this.#fds.get(inode.ino);
    if (fd === undefined) {
      const path = `${this.#options.backing}/data/${inode.ino}`;
      fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600);
      for (const ino of this.#fds.keys()) {
        if (this.#fds.size < maxOpenFiles) break;
        this.#closeFd(ino);
      }
    } else this.#fds.delete(inode.ino);
    this.#fds.set(inode.ino, fd);
    return fd;
  }

  #closeFd(ino: number): void {
    const fd = this.#fds.get(ino);
    if (fd !== undefined) fs.closeSync(fd);
    this.#fds.delete(ino);
  }
}

function attributesOf(inode: Inode) {
  const { mode, uid, gid, atime, mtime, ctime } = inode;
  return { mode, uid, gid, atime, mtime, ctime };
}
