import { type Disk, type DiskFile, directAlignment, type OpenOptions, parentDirectory } from './disk.ts';
import { AppError, assert } from './errors.ts';
import type { Random } from './random.ts';

/** What a power loss may tear: a sector is written whole or not at all. */
const sectorBytes = 512;

export interface MemoryDiskOptions {
  /** Decides the order in which overlapping calls finish and what a power loss keeps. */
  random: Random;
  /** Default 1 GiB. */
  capacityBytes?: number;
  /** Alignment that files opened `direct` ask for; default 4096. Misaligned calls are then a broken invariant. */
  directAlignment?: number;
}

/**
 * A disk in memory that loses what was not synced, as a real one does when the power fails: of the writes after the last sync any set of
 * sectors may survive, in any order; of the changes to directories a prefix survives.
 */
export interface MemoryDisk extends Disk {
  /** Changing calls so far (writes, syncs, names, sizes): the points at which `crashAt` can cut. */
  readonly steps: number;
  /** The power fails when this step begins: that call and every later one never finishes. */
  crashAt(step: number): void;
  /** Resolves when the power has failed. */
  readonly crashed: Promise<void>;
  /** The power fails now. */
  crash(): void;
  /** What a machine that starts again finds: a new disk with the surviving bytes. Call after `crash`. */
  restart(random?: Random): MemoryDisk;
  /** Flips one bit of a file's stable content. */
  flipBit(path: string, offset: number, bit?: number): void;
  /** The next call of this kind fails with this code; nothing of it is done. */
  failNext(kind: FaultKind, code: string): void;
  /** Changes the size of the disk, to fill it up or to make room. */
  setCapacity(bytes: number): void;
}

export type FaultKind = 'write' | 'datasync' | 'read' | 'open' | 'rename' | 'remove' | 'syncDirectory';

type Pending =
  | { kind: 'write'; position: number; bytes: Uint8Array; synced: boolean }
  | { kind: 'size'; size: number; synced: boolean };

/** Content as fixed pages, so that a sparse file of any size costs what was written. */
class Pages {
  readonly #pages = new Map<number, Uint8Array>();
  static readonly bytes = 4096;
  size = 0;

  get allocated(): number {
    return this.#pages.size * Pages.bytes;
  }

  copy(): Pages {
    const out = new Pages();
    out.size = this.size;
    for (const [at, page] of this.#pages) out.#pages.set(at, page.slice());
    return out;
  }

  /** New pages that a write of this range would need. */
  missing(position: number, length: number): number {
    let count = 0;
    for (let at = Math.floor(position / Pages.bytes); at * Pages.bytes < position + length; at++)
      if (!this.#pages.has(at)) count++;
    return count * Pages.bytes;
  }

  write(bytes: Uint8Array, position: number): void {
    let done = 0;
    while (done < bytes.length) {
      const at = position + done;
      const index = Math.floor(at / Pages.bytes);
      const from = at - index * Pages.bytes;
      const count = Math.min(Pages.bytes - from, bytes.length - done);
      let page = this.#pages.get(index);
      if (page === undefined) {
        page = new Uint8Array(Pages.bytes);
        this.#pages.set(index, page);
      }
      page.set(bytes.subarray(done, done + count), from);
      done += count;
    }
    this.size = Math.max(this.size, position + bytes.length);
  }

  read(into: Uint8Array, position: number): number {
    const length = Math.max(0, Math.min(into.length, this.size - position));
    let done = 0;
    while (done < length) {
      const at = position + done;
      const index = Math.floor(at / Pages.bytes);
      const from = at - index * Pages.bytes;
      const count = Math.min(Pages.bytes - from, length - done);
      const page = this.#pages.get(index);
      if (page === undefined) into.fill(0, done, done + count);
      else into.set(page.subarray(from, from + count), done);
      done += count;
    }
    return length;
  }

  resize(size: number): void {
    if (size < this.size) {
      for (const index of this.#pages.keys()) if (index * Pages.bytes >= size) this.#pages.delete(index);
      const last = this.#pages.get(Math.floor(size / Pages.bytes));
      last?.fill(0, size % Pages.bytes);
    }
    this.size = size;
  }
}

/** A file without its name: what is on the platter, what readers see, and the difference. */
class Inode {
  stable = new Pages();
  live = new Pages();
  pending: Pending[] = [];
}

type Node = Inode | 'directory';
type NameChange = { directory: string; apply: (names: Map<string, Node>) => void };

/** An empty disk with a root directory. */
export function memoryDisk(options: MemoryDiskOptions): MemoryDisk {
  const names = new Map<string, Node>([['/', 'directory']]);
  return new SimulatedDisk(options, names, new Map(names));
}

class SimulatedDisk implements MemoryDisk {
  steps = 0;
  readonly crashed: Promise<void>;
  readonly #options: MemoryDiskOptions;
  readonly #names: Map<string, Node>;
  readonly #stableNames: Map<string, Node>;
  #changes: NameChange[] = [];
  readonly #faults: { kind: FaultKind; code: string }[] = [];
  #capacity: number;
  #crashStep = Number.POSITIVE_INFINITY;
  #dead = false;
  #tellCrashed: () => void = () => undefined;

  constructor(options: MemoryDiskOptions, names: Map<string, Node>, stableNames: Map<string, Node>) {
    this.#options = options;
    this.#names = names;
    this.#stableNames = stableNames;
    this.#capacity = options.capacityBytes ?? 2 ** 30;
    this.crashed = new Promise((resolve) => {
      this.#tellCrashed = resolve;
    });
  }

  // --- what tests do to it

  crashAt(step: number): void {
    this.#crashStep = step;
  }

  crash(): void {
    this.#dead = true;
    this.#tellCrashed();
  }

  setCapacity(bytes: number): void {
    this.#capacity = bytes;
  }

  failNext(kind: FaultKind, code: string): void {
    this.#faults.push({ kind, code });
  }

  flipBit(path: string, offset: number, bit = 0): void {
    const inode = this.#inode(path);
    for (const pages of [inode.stable, inode.live]) {
      const byte = new Uint8Array(1);
      if (pages.read(byte, offset) !== 1) continue;
      byte[0]! ^= 1 << bit;
      pages.write(byte, offset);
    }
  }

  restart(random: Random = this.#options.random): MemoryDisk {
    assert(this.#dead, 'restart of a disk whose power did not fail');
    // A journalling file system keeps a prefix of the changes to names.
    const survivors = this.#changes.slice(0, random.uint32() % (this.#changes.length + 1));
    const names = new Map(this.#stableNames);
    for (const change of survivors) change.apply(names);
    const inodes = new Map<Inode, Inode>();
    const rebuilt = new Map<string, Node>();
    for (const [path, node] of names) {
      if (node === 'directory') rebuilt.set(path, node);
      else {
        let copy = inodes.get(node);
        if (copy === undefined) {
          copy = survive(node, random);
          inodes.set(node, copy);
        }
        rebuilt.set(path, copy);
      }
    }
    return new SimulatedDisk({ ...this.#options, random, capacityBytes: this.#capacity }, rebuilt, new Map(rebuilt));
  }

  // --- how calls pass

  /** Counts a changing call; when the power has failed it never returns. */
  async step(kind: FaultKind | 'other'): Promise<void> {
    if (!this.#dead && this.steps >= this.#crashStep) this.crash();
    this.steps++;
    await this.pass(kind);
  }

  /** Lets other calls overtake this one, then fails or goes on. */
  async pass(kind: FaultKind | 'other'): Promise<void> {
    if (this.#dead) return new Promise(() => undefined);
    for (let waits = this.#options.random.uint32() % 4; waits > 0; waits--) await Promise.resolve();
    if (this.#dead) return new Promise(() => undefined);
    const fault = this.#faults.findIndex((f) => f.kind === kind);
    if (fault >= 0) {
      const [{ code }] = this.#faults.splice(fault, 1) as [{ kind: FaultKind; code: string }];
      throw new AppError(code, `simulated ${code} in ${kind}`);
    }
  }

  get dead(): boolean {
    return this.#dead;
  }

  reserve(bytes: number): void {
    if (this.#used() + bytes > this.#capacity) throw new AppError('ENOSPC', 'no space left on the simulated disk');
  }

  #used(): number {
    let sum = 0;
    for (const inode of new Set(this.#names.values())) if (inode !== 'directory') sum += inode.live.allocated;
    return sum;
  }

  // --- Disk

  async open(path: string, options: OpenOptions = {}): Promise<DiskFile> {
    await (options.create && !this.#names.has(path) ? this.step('open') : this.pass('open'));
    let node = this.#names.get(path);
    if (node === 'directory') throw new AppError('EISDIR', `${path} is a directory`);
    if (node !== undefined && options.create && options.exclusive) throw new AppError('EEXIST', `${path} exists`);
    if (node === undefined) {
      if (!options.create) throw new AppError('ENOENT', `${path} does not exist`);
      this.#needDirectory(parentDirectory(path));
      const made = new Inode();
      node = made;
      this.#change(parentDirectory(path), (names) => names.set(path, made));
    }
    const alignment = options.direct ? (this.#options.directAlignment ?? directAlignment) : 1;
    return new SimulatedFile(this, path, node, alignment);
  }

  async stat(path: string): Promise<{ size: number; directory: boolean } | undefined> {
    await this.pass('other');
    const node = this.#names.get(path);
    if (node === undefined) return undefined;
    return node === 'directory' ? { size: 0, directory: true } : { size: node.live.size, directory: false };
  }

  async list(directory: string): Promise<string[]> {
    await this.pass('other');
    this.#needDirectory(directory);
    const prefix = directory === '/' ? '/' : `${directory}/`;
    const found: string[] = [];
    for (const path of this.#names.keys())
      if (path !== '/' && path.startsWith(prefix) && !path.slice(prefix.length).includes('/'))
        found.push(path.slice(prefix.length));
    return found.sort();
  }

  async makeDirectory(path: string): Promise<void> {
    await this.step('other');
    const missing: string[] = [];
    for (let at = path; !this.#names.has(at); at = parentDirectory(at)) missing.unshift(at);
    for (const each of missing) this.#change(parentDirectory(each), (names) => names.set(each, 'directory'));
  }

  async rename(from: string, to: string): Promise<void> {
    await this.step('rename');
    const node = this.#inode(from);
    this.#needDirectory(parentDirectory(to));
    this.#change(parentDirectory(to), (names) => {
      names.delete(from);
      names.set(to, node);
    });
  }

  async remove(path: string): Promise<void> {
    await this.step('remove');
    if (this.#names.has(path)) this.#change(parentDirectory(path), (names) => names.delete(path));
  }

  async syncDirectory(path: string): Promise<void> {
    await this.step('syncDirectory');
    this.#needDirectory(path);
    // Like ext4: the journal is committed up to the last change of this directory, older changes of others with it.
    const last = this.#changes.findLastIndex((change) => change.directory === path);
    for (const change of this.#changes.splice(0, last + 1)) change.apply(this.#stableNames);
  }

  async space(): Promise<{ total: number; available: number }> {
    await this.pass('other');
    return { total: this.#capacity, available: Math.max(0, this.#capacity - this.#used()) };
  }

  alignedBuffer(length: number): Uint8Array {
    // No zeros, so that a test finds who counts on them.
    return new Uint8Array(length).fill(0xa5);
  }

  aligned(): boolean {
    return true;
  }

  #change(directory: string, apply: (names: Map<string, Node>) => void): void {
    apply(this.#names);
    this.#changes.push({ directory, apply });
  }

  #needDirectory(path: string): void {
    if (this.#names.get(path) !== 'directory') throw new AppError('ENOENT', `directory ${path} does not exist`);
  }

  #inode(path: string): Inode {
    const node = this.#names.get(path);
    if (node === undefined) throw new AppError('ENOENT', `${path} does not exist`);
    if (node === 'directory') throw new AppError('EISDIR', `${path} is a directory`);
    return node;
  }
}

class SimulatedFile implements DiskFile {
  readonly path: string;
  readonly alignment: number;
  readonly #disk: SimulatedDisk;
  readonly #inode: Inode;

  constructor(disk: SimulatedDisk, path: string, inode: Inode, alignment: number) {
    this.#disk = disk;
    this.path = path;
    this.#inode = inode;
    this.alignment = alignment;
  }

  async size(): Promise<number> {
    await this.#disk.pass('other');
    return this.#inode.live.size;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    this.#checkAligned(position, into.length);
    await this.#disk.pass('read');
    return this.#inode.live.read(into, position);
  }

  async write(pieces: readonly Uint8Array[], position: number): Promise<void> {
    await this.#write(pieces, position, false);
  }

  async writeDurable(pieces: readonly Uint8Array[], position: number): Promise<void> {
    await this.#write(pieces, position, true);
  }

  async #write(pieces: readonly Uint8Array[], position: number, durable: boolean): Promise<void> {
    let length = 0;
    for (const piece of pieces) length += piece.length;
    this.#checkAligned(position, length);
    // The bytes are taken when the call is made, and may reach the platter from then on, also when the power fails meanwhile.
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    const entry: Pending = { kind: 'write', position, bytes, synced: false };
    if (!this.#disk.dead) this.#inode.pending.push(entry);
    try {
      await this.#disk.step('write');
      this.#disk.reserve(this.#inode.live.missing(position, length));
    } catch (error) {
      const index = this.#inode.pending.indexOf(entry);
      if (index >= 0) this.#inode.pending.splice(index, 1);
      throw error;
    }
    this.#inode.live.write(bytes, position);
    entry.synced = true;
    if (durable) {
      await this.#disk.step('datasync');
      this.#settle([entry]);
    }
  }

  async datasync(): Promise<void> {
    const covered = this.#inode.pending.filter((entry) => entry.synced);
    await this.#disk.step('datasync');
    this.#settle(covered);
  }

  /** Moves finished changes to the platter, in their order. */
  #settle(covered: readonly Pending[]): void {
    const set = new Set(covered);
    for (const entry of this.#inode.pending) if (set.has(entry)) applyTo(this.#inode.stable, entry);
    this.#inode.pending = this.#inode.pending.filter((entry) => !set.has(entry));
  }

  async allocate(offset: number, length: number): Promise<void> {
    await this.#disk.step('other');
    this.#disk.reserve(this.#inode.live.missing(offset, length));
    if (this.#inode.live.size >= offset + length) return;
    this.#resize(offset + length);
  }

  async discard(): Promise<void> {
    await this.#disk.step('other');
  }

  async truncate(size: number): Promise<void> {
    await this.#disk.step('other');
    this.#resize(size);
  }

  #resize(size: number): void {
    this.#inode.live.resize(size);
    this.#inode.pending.push({ kind: 'size', size, synced: true });
  }

  async close(): Promise<void> {
    await this.#disk.pass('other');
  }

  #checkAligned(position: number, length: number): void {
    const ok = position % this.alignment === 0 && length % this.alignment === 0;
    assert(ok, `${this.path}: direct access at ${position}+${length} is not a multiple of ${this.alignment}`);
  }
}

function applyTo(pages: Pages, entry: Pending): void {
  if (entry.kind === 'write') pages.write(entry.bytes, entry.position);
  else pages.resize(entry.size);
}

/** A file after the power failed: what was synced, and any sectors of what was not. */
function survive(inode: Inode, random: Random): Inode {
  const out = new Inode();
  out.stable = inode.stable.copy();
  // One power loss loses everything, another a few sectors: the share is drawn first.
  const kept = [0, 0.5, 0.9, 1][random.uint32() % 4]!;
  for (const entry of inode.pending) {
    if (entry.kind === 'size') {
      if (random.float() < kept) out.stable.resize(entry.size);
      continue;
    }
    let at = 0;
    while (at < entry.bytes.length) {
      const count = Math.min(sectorBytes - ((entry.position + at) % sectorBytes), entry.bytes.length - at);
      if (random.float() < kept) out.stable.write(entry.bytes.subarray(at, at + count), entry.position + at);
      at += count;
    }
  }
  out.live = out.stable.copy();
  return out;
}
