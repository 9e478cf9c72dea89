import { assert } from '../../base/errors.ts';
import {
  blockBytes,
  type CollectionId,
  type CompressedSums,
  maxKeyBytes,
  type ObjectKey,
  type ObjectStat,
  type ObjectStore,
  poolOf,
  type StoreStatfs,
  type Transaction,
  type TransactionOp,
} from './api.ts';
import { maxObjectBlocks } from './blocktable.ts';
import { checkName, keyText, NoSpaceError, TransactionError } from './errors.ts';
import { compareUtf8, keyBytes, keyString, lowerBound } from './order.ts';

export interface MemoryStoreOptions {
  /** Default 1 GiB. */
  capacityBytes?: number;
  /** `manual`: transactions commit when `commit` is called; for tests of what happens in between. Default `auto`. */
  commit?: 'auto' | 'manual';
}

/** The in-memory twin of the block store: the same contract, nothing on disk. For tests and simulated clusters. */
export interface MemoryStore extends ObjectStore {
  /** Transactions applied and not yet committed. */
  readonly uncommitted: number;
  /** Commits the oldest `count` (default all) transactions. */
  commit(count?: number): void;
  /** The power fails: what was not committed is gone and never acknowledged. Returns the store as it is found afterwards. */
  crash(): MemoryStore;
}

export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  return new Twin(options, new Contents());
}

interface Waiting {
  transaction: Transaction;
  resolve: () => void;
}

class Twin implements MemoryStore {
  readonly #options: MemoryStoreOptions;
  readonly #live: Contents;
  readonly #stable: Contents;
  #waiting: Waiting[] = [];
  #ended = false;

  constructor(options: MemoryStoreOptions, contents: Contents) {
    this.#options = options;
    this.#live = contents;
    this.#stable = contents.copy();
  }

  get uncommitted(): number {
    return this.#waiting.length;
  }

  async queue(transaction: Transaction): Promise<void> {
    assert(!this.#ended, 'transaction for a closed store');
    this.#live.apply(transaction, this.#options.capacityBytes ?? 2 ** 30);
    const done = new Promise<void>((resolve) => this.#waiting.push({ transaction, resolve }));
    if (this.#options.commit !== 'manual') queueMicrotask(() => this.commit(1));
    return done;
  }

  hasRoom(bytes: number): boolean {
    return this.#options.capacityBytes === undefined || bytes <= this.statfs().availableBytes;
  }

  commit(count = this.#waiting.length): void {
    if (this.#ended) return;
    for (const each of this.#waiting.splice(0, count)) {
      this.#stable.apply(each.transaction, Number.POSITIVE_INFINITY);
      each.resolve();
    }
  }

  crash(): MemoryStore {
    this.#ended = true;
    this.#waiting = [];
    return new Twin(this.#options, this.#stable.copy());
  }

  collections(): CollectionId[] {
    return [...this.#live.collections.keys()].sort();
  }

  stat(cid: CollectionId, key: ObjectKey): ObjectStat | undefined {
    const object = this.#live.find(cid, key);
    return object && { size: object.size };
  }

  async read(cid: CollectionId, key: ObjectKey, offset: number, length: number): Promise<Uint8Array | undefined> {
    return this.#live.find(cid, key)?.read(offset, length);
  }

  extents(cid: CollectionId, key: ObjectKey, offset: number, length: number): { offset: number; length: number }[] {
    return this.#live.find(cid, key)?.extents(offset, length) ?? [];
  }

  xattr(cid: CollectionId, key: ObjectKey, name: string): Uint8Array | undefined {
    return this.#live.find(cid, key)?.xattrs.get(name);
  }

  xattrs(cid: CollectionId, key: ObjectKey): Map<string, Uint8Array> {
    return new Map(this.#live.find(cid, key)?.xattrs);
  }

  omapHeader(cid: CollectionId, key: ObjectKey): Uint8Array {
    return this.#live.find(cid, key)?.header ?? new Uint8Array(0);
  }

  omapList(
    cid: CollectionId,
    key: ObjectKey,
    options: { after?: string; inclusive?: boolean; prefix?: string; limit: number },
  ): { entries: [string, Uint8Array][]; more: boolean } {
    const { after, inclusive = false, prefix = '', limit } = options;
    const omap = this.#live.find(cid, key)?.omap ?? new Map<string, Uint8Array>();
    const entries: [string, Uint8Array][] = [];
    for (const name of [...omap.keys()].sort(compareUtf8)) {
      if (!name.startsWith(prefix)) continue;
      if (after !== undefined) {
        const order = compareUtf8(name, after);
        if (order < 0 || (order === 0 && !inclusive)) continue;
      }
      if (entries.length === limit) return { entries, more: true };
      entries.push([name, omap.get(name)!]);
    }
    return { entries, more: false };
  }

  omapGet(cid: CollectionId, key: ObjectKey, keys: readonly string[]): Map<string, Uint8Array> {
    const found = new Map<string, Uint8Array>();
    const omap = this.#live.find(cid, key)?.omap;
    for (const name of keys) {
      const value = omap?.get(name);
      if (value !== undefined) found.set(name, value);
    }
    return found;
  }

  list(cid: CollectionId, start: ObjectKey, limit: number): ObjectKey[] {
    const objects = this.#live.collections.get(cid);
    if (objects === undefined) return [];
    const names = [...objects.keys()].sort();
    const from = lowerBound(names, keyString(start));
    return names.slice(from, from + limit).map(keyBytes);
  }

  statfs(): StoreStatfs {
    const total = this.#options.capacityBytes ?? 2 ** 30;
    const sums = this.#live.sums();
    const availableBytes = Math.max(0, total - sums.allocatedBytes);
    return {
      totalBytes: total,
      availableBytes,
      metaBytes: 0,
      ...sums,
      compressed: { stored: 0, allocated: 0, original: 0 },
    };
  }

  compressed(): ReadonlyMap<number, CompressedSums> {
    return new Map();
  }

  setCompression(): void {
    // What it holds takes the same memory either way.
  }

  async close(): Promise<void> {
    this.commit();
    this.#ended = true;
  }
}

/** One object; copied before a transaction changes it. */
class MemoryObject {
  size = 0;
  pages = new Map<number, Uint8Array>();
  /** What was written and is there, [from, end) each, ascending, merged. */
  written: readonly (readonly [from: number, end: number])[] = [];
  xattrs = new Map<string, Uint8Array>();
  header: Uint8Array = new Uint8Array(0);
  omap = new Map<string, Uint8Array>();

  copy(): MemoryObject {
    const out = new MemoryObject();
    out.size = this.size;
    out.pages = new Map(this.pages);
    out.written = this.written;
    out.xattrs = new Map(this.xattrs);
    out.header = this.header;
    out.omap = new Map(this.omap);
    return out;
  }

  read(offset: number, length: number): Uint8Array {
    const out = new Uint8Array(Math.max(0, Math.min(length, this.size - offset)));
    let done = 0;
    while (done < out.length) {
      const page = Math.floor((offset + done) / blockBytes);
      const from = offset + done - page * blockBytes;
      const count = Math.min(blockBytes - from, out.length - done);
      const bytes = this.pages.get(page);
      if (bytes) out.set(bytes.subarray(from, from + count), done);
      done += count;
    }
    return out;
  }

  write(offset: number, data: Uint8Array): void {
    let done = 0;
    while (done < data.length) {
      const page = Math.floor((offset + done) / blockBytes);
      const from = offset + done - page * blockBytes;
      const count = Math.min(blockBytes - from, data.length - done);
      const bytes = this.pages.get(page)?.slice() ?? new Uint8Array(blockBytes);
      bytes.set(data.subarray(done, done + count), from);
      this.pages.set(page, bytes);
      done += count;
    }
    const end = offset + data.length;
    let [from, to] = [offset, end];
    const apart = this.written.filter((range) => {
      if (range[1] < offset || range[0] > end) return true;
      [from, to] = [Math.min(from, range[0]), Math.max(to, range[1])];
      return false;
    });
    const at = apart.findIndex((range) => range[0] > from);
    this.written = at < 0 ? [...apart, [from, to]] : [...apart.slice(0, at), [from, to], ...apart.slice(at)];
    this.size = Math.max(this.size, end);
  }

  /** The range becomes a hole, with pages of which nothing else was written; the size stays. */
  erase(offset: number, end: number): void {
    if (end <= offset) return;
    const left: [number, number][] = [];
    for (const [from, to] of this.written) {
      if (from < Math.min(to, offset)) left.push([from, Math.min(to, offset)]);
      if (Math.max(from, end) < to) left.push([Math.max(from, end), to]);
    }
    this.written = left;
    for (const [page, bytes] of [...this.pages]) {
      const start = page * blockBytes;
      const from = Math.max(offset - start, 0);
      const to = Math.min(end - start, blockBytes);
      if (from >= to) continue;
      if (left.some((range) => range[0] < start + blockBytes && range[1] > start))
        this.pages.set(page, bytes.slice().fill(0, from, to));
      else this.pages.delete(page);
    }
  }

  truncate(size: number): void {
    if (size < this.size) this.erase(size, Number.MAX_SAFE_INTEGER);
    this.size = size;
  }

  extents(offset: number, length: number): { offset: number; length: number }[] {
    const out: { offset: number; length: number }[] = [];
    for (const [start, end] of this.written) {
      const from = Math.max(start, offset);
      const to = Math.min(end, offset + length);
      if (from < to) out.push({ offset: from, length: to - from });
    }
    return out;
  }
}

class Contents {
  collections = new Map<CollectionId, Map<string, MemoryObject>>();

  copy(): Contents {
    const out = new Contents();
    // Objects are never changed in place, so both sides may hold them.
    for (const [cid, objects] of this.collections) out.collections.set(cid, new Map(objects));
    return out;
  }

  find(cid: CollectionId, key: ObjectKey): MemoryObject | undefined {
    return this.collections.get(cid)?.get(keyString(key));
  }

  sums(): { dataBytes: number; allocatedBytes: number; omapBytes: number; objects: number } {
    const pages = new Set<Uint8Array>();
    const out = { dataBytes: 0, allocatedBytes: 0, omapBytes: 0, objects: 0 };
    for (const objects of this.collections.values())
      for (const object of objects.values()) {
        out.objects++;
        for (const range of object.extents(0, object.size)) out.dataBytes += range.length;
        for (const page of object.pages.values()) pages.add(page);
        out.omapBytes += object.header.length;
        for (const [name, value] of object.omap) out.omapBytes += name.length + value.length;
      }
    out.allocatedBytes = pages.size * blockBytes;
    return out;
  }

  /** All of the transaction, or a throw and nothing. */
  apply(transaction: Transaction, capacityBytes: number): void {
    const next = this.copy();
    const touched = new Set<MemoryObject>();
    for (const op of transaction.ops) next.#applyOp(op, touched);
    const { allocatedBytes } = Number.isFinite(capacityBytes) ? next.sums() : { allocatedBytes: 0 };
    if (allocatedBytes > capacityBytes) {
      const before = this.sums().allocatedBytes;
      // Like the store on disk, what only frees is let through.
      if (allocatedBytes > before)
        throw new NoSpaceError('memory store', allocatedBytes - before, Math.max(0, capacityBytes - before));
    }
    this.collections = next.collections;
  }

  #applyOp(op: TransactionOp, touched: Set<MemoryObject>): void {
    if (op.op === 'create-collection') {
      if (this.collections.has(op.cid)) throw new TransactionError('EEXIST', `collection ${op.cid} exists`);
      this.collections.set(op.cid, new Map());
      return;
    }
    const objects = this.collections.get(op.cid);
    if (objects === undefined) throw new TransactionError('ENOENT', `collection ${op.cid} does not exist`);
    if (op.op === 'remove-collection') {
      if (objects.size > 0)
        throw new TransactionError('ENOTEMPTY', `collection ${op.cid} holds ${objects.size} objects`);
      this.collections.delete(op.cid);
      return;
    }
    if (op.op === 'move-range') {
      const to = this.collections.get(op.to);
      if (to === undefined) throw new TransactionError('ENOENT', `collection ${op.to} does not exist`);
      const [first, end] = [keyString(op.first), keyString(op.end)];
      if (op.cid === op.to || first >= end) throw new TransactionError('EINVAL', `an empty move from ${op.cid}`);
      if (poolOf(op.cid) !== poolOf(op.to)) throw new TransactionError('EINVAL', `a move from ${op.cid} to ${op.to}`);
      const inside = (name: string): boolean => name >= first && name < end;
      if ([...to.keys()].some(inside))
        throw new TransactionError('ENOTEMPTY', `collection ${op.to} holds objects there`);
      for (const [name, object] of [...objects]) {
        if (!inside(name)) continue;
        objects.delete(name);
        to.set(name, object);
      }
      return;
    }

    const own = (key: ObjectKey, object: MemoryObject): MemoryObject => {
      touched.add(object);
      objects.set(keyString(key), object);
      return object;
    };
    const existing = (key: ObjectKey): MemoryObject | undefined => {
      const object = objects.get(keyString(key));
      return object === undefined || touched.has(object) ? object : own(key, object.copy());
    };
    const made = (key: ObjectKey): MemoryObject => {
      if (key.length > maxKeyBytes) throw new TransactionError('EINVAL', `an object key of ${key.length} bytes`);
      return existing(key) ?? own(key, new MemoryObject());
    };
    const source = (key: ObjectKey): MemoryObject => {
      const object = objects.get(keyString(key));
      if (object === undefined)
        throw new TransactionError('ENOENT', `clone of missing object ${keyText(key)} of ${op.cid}`);
      return object;
    };
    switch (op.op) {
      case 'touch':
      case 'set-alloc-hint':
        made(op.key);
        break;
      case 'write': {
        checkRange(op.offset, 0);
        const object = made(op.key);
        let at = op.offset;
        for (const piece of op.data) {
          if (piece.length === 0) continue;
          object.write(at, piece);
          at += piece.length;
        }
        break;
      }
      case 'zero': {
        checkRange(op.offset, op.length);
        const object = made(op.key);
        object.erase(op.offset, op.offset + op.length);
        if (op.length > 0) object.size = Math.max(object.size, op.offset + op.length);
        break;
      }
      case 'truncate':
        checkRange(op.size, 0);
        made(op.key).truncate(op.size);
        break;
      case 'remove':
        objects.delete(keyString(op.key));
        break;
      case 'clone': {
        const copy = source(op.from).copy();
        if (op.to.length > maxKeyBytes) throw new TransactionError('EINVAL', `an object key of ${op.to.length} bytes`);
        own(op.to, copy);
        break;
      }
      case 'clone-range': {
        checkRange(op.offset, op.length);
        const from = source(op.from);
        const to = made(op.to);
        const end = Math.min(op.offset + op.length, from.size);
        if (end <= op.offset || from === to || keyString(op.from) === keyString(op.to)) break;
        to.erase(op.offset, end);
        for (const range of from.extents(op.offset, end - op.offset))
          to.write(range.offset, from.read(range.offset, range.length));
        to.size = Math.max(to.size, end);
        break;
      }
      case 'set-xattrs': {
        const object = made(op.key);
        for (const [name, value] of op.xattrs) {
          checkName(name);
          object.xattrs.set(name, new Uint8Array(value));
        }
        break;
      }
      case 'remove-xattr':
        checkName(op.name);
        existing(op.key)?.xattrs.delete(op.name);
        break;
      case 'clear-xattrs':
        existing(op.key)?.xattrs.clear();
        break;
      case 'omap-set': {
        const object = made(op.key);
        for (const [name, value] of op.entries) {
          checkName(name);
          object.omap.set(name, new Uint8Array(value));
        }
        break;
      }
      case 'omap-remove': {
        const object = existing(op.key);
        for (const name of op.keys) {
          checkName(name);
          object?.omap.delete(name);
        }
        break;
      }
      case 'omap-remove-range': {
        checkName(op.first);
        checkName(op.last);
        const object = existing(op.key);
        for (const name of [...(object?.omap.keys() ?? [])])
          if (compareUtf8(name, op.first) >= 0 && compareUtf8(name, op.last) < 0) object?.omap.delete(name);
        break;
      }
      case 'omap-clear': {
        const object = existing(op.key);
        object?.omap.clear();
        if (object) object.header = new Uint8Array(0);
        break;
      }
      case 'omap-set-header':
        made(op.key).header = new Uint8Array(op.header);
        break;
    }
  }
}

function checkRange(offset: number, length: number): void {
  if (
    !Number.isSafeInteger(offset) ||
    offset < 0 ||
    !Number.isSafeInteger(length) ||
    length < 0 ||
    offset + length > maxObjectBlocks * blockBytes
  )
    throw new TransactionError('EINVAL', `a range of ${length} bytes at ${offset}`);
}
