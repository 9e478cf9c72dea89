import { blockBytes, maxKeyBytes, type ObjectKey, type Transaction } from './api.ts';
import { maxObjectBlocks } from './blocktable.ts';
import type { Catalog } from './catalog.ts';
import { keyText, TransactionError } from './errors.ts';
import { keyString } from './order.ts';

/** Names and omap keys are stored with 16-bit lengths. */
const maxNameBytes = 32 * 1024;
/** What a transaction may bring apart from data that goes straight to the data file. */
const maxRecordBytes = 32 * 1024 * 1024;

/**
 * Checks that a transaction is possible on the catalog as it is, without changing anything; throws TransactionError. Returns an upper bound of
 * the new blocks that its writes need, apart from those of a clean-up (`remove`, `truncate`, `zero`).
 */
export function validate(catalog: Catalog, transaction: Transaction, deferredMaxBytes: number): { blocks: number } {
  const collections = new Map<string, { objects: number } | undefined>();
  const objects = new Map<string, boolean>();
  let blocks = 0;
  let recordBytes = 0;

  const collection = (cid: string): { objects: number } => {
    let found = collections.get(cid);
    if (found === undefined && !collections.has(cid)) {
      const there = catalog.collection(cid);
      found = there && { objects: there.objects };
      collections.set(cid, found);
    }
    if (found === undefined) throw new TransactionError('ENOENT', `collection ${cid} does not exist`);
    return found;
  };
  const exists = (cid: string, key: ObjectKey): boolean => {
    const name = keyString(key);
    const known = objects.get(`${cid}\0${name}`);
    if (known !== undefined) return known;
    const there = catalog.collection(cid);
    return there !== undefined && catalog.find(there, name) !== undefined;
  };
  const make = (cid: string, key: ObjectKey): void => {
    if (key.length > maxKeyBytes) throw new TransactionError('EINVAL', `an object key of ${key.length} bytes`);
    if (exists(cid, key)) return;
    collection(cid).objects++;
    objects.set(`${cid}\0${keyString(key)}`, true);
  };
  const source = (cid: string, key: ObjectKey): void => {
    if (!exists(cid, key))
      throw new TransactionError('ENOENT', `clone of missing object ${keyText(key)} of collection ${cid}`);
  };
  const range = (offset: number, length: number): void => {
    const ok = Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length >= 0;
    if (!ok || offset + length > maxObjectBlocks * blockBytes)
      throw new TransactionError('EINVAL', `a range of ${length} bytes at ${offset}`);
  };
  const named = (name: string, value?: Uint8Array): void => {
    if (name.length > maxNameBytes) throw new TransactionError('EINVAL', `a name of ${name.length} characters`);
    recordBytes += name.length * 3 + 8 + (value?.length ?? 0);
  };

  for (const op of transaction.ops) {
    if (op.op === 'create-collection') {
      const there = collections.has(op.cid) ? collections.get(op.cid) : catalog.collection(op.cid);
      if (there !== undefined) throw new TransactionError('EEXIST', `collection ${op.cid} exists`);
      named(op.cid);
      collections.set(op.cid, { objects: 0 });
      continue;
    }
    const inside = collection(op.cid);
    switch (op.op) {
      case 'remove-collection':
        if (inside.objects > 0)
          throw new TransactionError('ENOTEMPTY', `collection ${op.cid} holds ${inside.objects} objects`);
        collections.set(op.cid, undefined);
        break;
      case 'touch':
        make(op.cid, op.key);
        break;
      case 'write': {
        let length = 0;
        for (const piece of op.data) length += piece.length;
        range(op.offset, length);
        make(op.cid, op.key);
        const touched = length === 0 ? 0 : Math.ceil(((op.offset % blockBytes) + length) / blockBytes);
        blocks += touched;
        recordBytes += length > deferredMaxBytes ? touched * 4 + 2 * blockBytes : touched * blockBytes;
        break;
      }
      case 'zero':
        range(op.offset, op.length);
        make(op.cid, op.key);
        break;
      case 'truncate':
        range(op.size, 0);
        make(op.cid, op.key);
        break;
      case 'remove':
        if (exists(op.cid, op.key)) {
          inside.objects--;
          objects.set(`${op.cid}\0${keyString(op.key)}`, false);
        }
        break;
      case 'clone':
        source(op.cid, op.from);
        make(op.cid, op.to);
        break;
      case 'clone-range':
        range(op.offset, op.length);
        source(op.cid, op.from);
        make(op.cid, op.to);
        blocks += 2;
        break;
      case 'set-xattrs':
        make(op.cid, op.key);
        for (const [name, value] of op.xattrs) named(name, value);
        break;
      case 'omap-set':
        make(op.cid, op.key);
        for (const [name, value] of op.entries) named(name, value);
        break;
      case 'omap-remove':
        for (const name of op.keys) named(name);
        break;
      case 'omap-remove-range':
        named(op.first);
        named(op.last);
        break;
      case 'remove-xattr':
        named(op.name);
        break;
      case 'omap-set-header':
        make(op.cid, op.key);
        recordBytes += op.header.length;
        break;
      case 'clear-xattrs':
      case 'omap-clear':
        break;
    }
  }
  if (recordBytes > maxRecordBytes)
    throw new TransactionError('EINVAL', `a transaction with ${recordBytes} bytes of metadata and small writes`);
  return { blocks };
}
