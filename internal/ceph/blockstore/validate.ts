import { blockBytes, maxKeyBytes, type ObjectKey, poolOf, type Transaction } from './api.ts';
import { maxObjectBlocks } from './blocktable.ts';
import type { Catalog } from './catalog.ts';
import { checkName, keyText, TransactionError } from './errors.ts';
import { keyString } from './order.ts';
import { rewrittenBlocks } from './translate.ts';

/** What a transaction may bring apart from data that goes straight to the data file. */
const maxRecordBytes = 32 * 1024 * 1024;

/** What a transaction has changed so far of what exists, and what it asks for. */
class Validator {
  readonly #catalog: Catalog;
  readonly #collections = new Map<string, { objects: number } | undefined>();
  /** Objects that it has made or removed so far. */
  #objects: Map<string, boolean> | undefined;
  #cid: string | undefined;
  #collection = { objects: 0 };
  #key: ObjectKey | undefined;
  #name = '';
  /** It has made an object that has what another one has, and that is compressed. */
  #cloned = false;
  /** Ranges that it has moved so far. */
  readonly #moves: { cid: string; to: string; first: string; end: string }[] = [];
  /** An upper bound of the new blocks that its writes need, apart from those of a clean-up (`remove`, `truncate`, `zero`). */
  blocks = 0;
  recordBytes = 0;
  /** It writes into an object of which something is compressed. */
  mayRewrite = false;

  constructor(catalog: Catalog) {
    this.#catalog = catalog;
  }

  createCollection(cid: string): void {
    const there = this.#collections.has(cid) ? this.#collections.get(cid) : this.#catalog.collection(cid);
    if (there !== undefined) throw new TransactionError('EEXIST', `collection ${cid} exists`);
    this.named(cid);
    this.#collections.set(cid, { objects: 0 });
    this.#cid = undefined;
  }

  removeCollection(cid: string): void {
    const { objects } = this.collection(cid);
    if (objects > 0) throw new TransactionError('ENOTEMPTY', `collection ${cid} holds ${objects} objects`);
    this.#collections.set(cid, undefined);
    this.#cid = undefined;
  }

  collection(cid: string): { objects: number } {
    if (cid === this.#cid) return this.#collection;
    let found = this.#collections.get(cid);
    if (found === undefined && !this.#collections.has(cid)) {
      const there = this.#catalog.collection(cid);
      found = there && { objects: there.objects };
      this.#collections.set(cid, found);
    }
    if (found === undefined) throw new TransactionError('ENOENT', `collection ${cid} does not exist`);
    this.#cid = cid;
    this.#collection = found;
    return found;
  }

  /** One object after the other is spoken of several times, mostly by the very same key. */
  #nameOf(key: ObjectKey): string {
    if (key !== this.#key) {
      this.#key = key;
      this.#name = keyString(key);
    }
    return this.#name;
  }

  exists(cid: string, key: ObjectKey): boolean {
    const name = this.#nameOf(key);
    const known = this.#objects?.get(`${cid}\0${name}`);
    if (known !== undefined) return known;
    let before = cid;
    for (const move of this.#moves) {
      if (name < move.first || name >= move.end) continue;
      if (move.cid === cid) return false;
      if (move.to === cid) before = move.cid;
    }
    const there = this.#catalog.collection(before);
    return there !== undefined && this.#catalog.find(there, name) !== undefined;
  }

  /** Whether something of an object is compressed, or may be when this transaction comes to it. */
  compressed(cid: string, key: ObjectKey): boolean {
    if (this.#moves.length > 0 || this.#cloned) return true;
    const there = this.#catalog.collection(cid);
    return there !== undefined && this.#catalog.find(there, this.#nameOf(key))?.table.compressed === true;
  }

  /** Objects with keys in a range, as the transaction so far leaves them. */
  #count(cid: string, first: string, end: string): number {
    const there = this.#catalog.collection(cid);
    let count = there === undefined ? 0 : this.#catalog.count(there, first, end);
    for (const [id, exists] of this.#objects ?? []) {
      const at = id.indexOf('\0');
      const name = id.slice(at + 1);
      if (id.slice(0, at) !== cid || name < first || name >= end) continue;
      const before = there !== undefined && this.#catalog.find(there, name) !== undefined;
      if (before !== exists) count += exists ? 1 : -1;
    }
    return count;
  }

  moveRange(cid: string, to: string, firstKey: ObjectKey, endKey: ObjectKey): void {
    const first = keyString(firstKey);
    const end = keyString(endKey);
    if (cid === to || first >= end) throw new TransactionError('EINVAL', `an empty move from ${cid} to ${to}`);
    for (const move of this.#moves)
      if (first < move.end && move.first < end && [move.cid, move.to].some((c) => c === cid || c === to))
        throw new TransactionError('EINVAL', `objects of ${cid} are moved twice`);
    this.collection(to);
    if (poolOf(cid) !== poolOf(to))
      throw new TransactionError('EINVAL', `objects of ${cid} are moved to ${to}, a collection of another pool`);
    if (this.#count(to, first, end) > 0)
      throw new TransactionError('ENOTEMPTY', `collection ${to} holds objects where those of ${cid} should come`);
    const count = this.#count(cid, first, end);
    this.collection(cid).objects -= count;
    this.collection(to).objects += count;
    for (const [id, exists] of [...(this.#objects ?? [])]) {
      const at = id.indexOf('\0');
      const name = id.slice(at + 1);
      if (id.slice(0, at) !== cid || name < first || name >= end) continue;
      this.#objects!.delete(id);
      this.#objects!.set(`${to}\0${name}`, exists);
    }
    this.#moves.push({ cid, to, first, end });
    this.named(cid);
    this.named(to);
  }

  #note(cid: string, key: ObjectKey, exists: boolean): void {
    this.#objects ??= new Map();
    this.#objects.set(`${cid}\0${this.#nameOf(key)}`, exists);
  }

  make(cid: string, key: ObjectKey): void {
    if (key.length > maxKeyBytes) throw new TransactionError('EINVAL', `an object key of ${key.length} bytes`);
    if (this.exists(cid, key)) return;
    this.collection(cid).objects++;
    this.#note(cid, key, true);
  }

  remove(cid: string, key: ObjectKey): void {
    if (!this.exists(cid, key)) return;
    this.collection(cid).objects--;
    this.#note(cid, key, false);
  }

  source(cid: string, key: ObjectKey): void {
    this.#cloned ||= this.compressed(cid, key);
    if (!this.exists(cid, key))
      throw new TransactionError('ENOENT', `clone of missing object ${keyText(key)} of collection ${cid}`);
  }

  range(offset: number, length: number): void {
    const ok = Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length >= 0;
    if (!ok || offset + length > maxObjectBlocks * blockBytes)
      throw new TransactionError('EINVAL', `a range of ${length} bytes at ${offset}`);
  }

  named(name: string, value?: Uint8Array): void {
    checkName(name);
    this.recordBytes += name.length * 3 + 8 + (value?.length ?? 0);
  }
}

/**
 * Checks that a transaction is possible on the catalog as it is, without changing anything; throws TransactionError. Returns an upper bound of
 * the new blocks that its writes need, apart from those of a clean-up (`remove`, `truncate`, `zero`).
 */
export function validate(catalog: Catalog, transaction: Transaction, deferredMaxBytes: number): { blocks: number } {
  const v = new Validator(catalog);
  for (const op of transaction.ops) {
    if (op.op === 'create-collection') {
      v.createCollection(op.cid);
      continue;
    }
    v.collection(op.cid);
    switch (op.op) {
      case 'remove-collection':
        v.removeCollection(op.cid);
        break;
      case 'move-range':
        v.moveRange(op.cid, op.to, op.first, op.end);
        break;
      case 'touch':
      case 'set-alloc-hint':
        v.make(op.cid, op.key);
        break;
      case 'write': {
        let length = 0;
        for (const piece of op.data) length += piece.length;
        v.range(op.offset, length);
        v.make(op.cid, op.key);
        const touched = length === 0 ? 0 : Math.ceil(((op.offset % blockBytes) + length) / blockBytes);
        v.blocks += touched;
        v.recordBytes += length > deferredMaxBytes ? touched * 16 + 2 * blockBytes : touched * blockBytes;
        v.mayRewrite ||= v.compressed(op.cid, op.key);
        break;
      }
      case 'zero':
        v.range(op.offset, op.length);
        v.make(op.cid, op.key);
        break;
      case 'truncate':
        v.range(op.size, 0);
        v.make(op.cid, op.key);
        break;
      case 'remove':
        v.remove(op.cid, op.key);
        break;
      case 'clone':
        v.source(op.cid, op.from);
        v.make(op.cid, op.to);
        break;
      case 'clone-range':
        v.range(op.offset, op.length);
        v.source(op.cid, op.from);
        v.make(op.cid, op.to);
        v.blocks += 2;
        break;
      case 'set-xattrs':
        v.make(op.cid, op.key);
        for (const [name, value] of op.xattrs) v.named(name, value);
        break;
      case 'omap-set':
        v.make(op.cid, op.key);
        for (const [name, value] of op.entries) v.named(name, value);
        break;
      case 'omap-remove':
        for (const name of op.keys) v.named(name);
        break;
      case 'omap-remove-range':
        v.named(op.first);
        v.named(op.last);
        break;
      case 'remove-xattr':
        v.named(op.name);
        break;
      case 'omap-set-header':
        v.make(op.cid, op.key);
        v.recordBytes += op.header.length;
        break;
      case 'clear-xattrs':
      case 'omap-clear':
        break;
    }
  }
  if (v.mayRewrite) {
    v.blocks += rewrittenBlocks;
    v.recordBytes += rewrittenBlocks * blockBytes;
  }
  if (v.recordBytes > maxRecordBytes)
    throw new TransactionError('EINVAL', `a transaction with ${v.recordBytes} bytes of metadata and small writes`);
  return { blocks: v.blocks };
}
