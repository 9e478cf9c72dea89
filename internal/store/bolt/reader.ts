import { DecodeError } from '../../base/bytes.ts';
import {
  bucketElementFlag,
  bucketHeaderBytes,
  elementBytes,
  fnv1a64,
  magic,
  metaBytes,
  pageFlag,
  pageHeaderBytes,
  version,
} from './layout.ts';

/** Bytes [position, position+length) of the file; fewer at its end. */
export type ReadAt = (position: number, length: number) => Uint8Array;

/** bbolt's own trees are at most a handful of levels deep. */
const maxDepth = 32;
/** Larger pages (with what overflows) are not believed: etcd's values are bounded by its request size. */
const maxPageBytes = 256 << 20;

/**
 * Reads a bbolt file that nobody writes. Every offset, count and length is checked, every page is visited once at most: a damaged or hostile file is
 * a DecodeError.
 */
export class BoltReader {
  readonly #read: ReadAt;
  readonly #pageBytes: number;
  readonly #pages: number;
  readonly #root: number;
  readonly #visited = new Set<number>();

  constructor(read: ReadAt) {
    this.#read = read;
    const meta = newestMeta(read);
    this.#pageBytes = meta.pageBytes;
    this.#pages = meta.pages;
    this.#root = meta.root;
  }

  /** Names of the buckets, in order. */
  buckets(): Map<string, number | Uint8Array> {
    const out = new Map<string, number | Uint8Array>();
    for (const { flags, key, value } of this.#tree(this.#root, 0)) {
      if (flags !== bucketElementFlag) throw new DecodeError('bolt: a key beside the buckets');
      if (value.length < bucketHeaderBytes) throw new DecodeError('bolt: a bucket without a header');
      const root = pageNumber(new DataView(value.buffer, value.byteOffset).getBigUint64(0, true));
      out.set(Buffer.from(key).toString('latin1'), root === 0 ? value.slice(bucketHeaderBytes) : root);
    }
    return out;
  }

  /** Keys and values of a bucket in order; the bytes are valid until the next one. */
  *entries(bucket: number | Uint8Array): Generator<{ key: Uint8Array; value: Uint8Array }> {
    const elements = typeof bucket === 'number' ? this.#tree(bucket, 0) : leafElements(bucket);
    for (const { flags, key, value } of elements) {
      if (flags !== 0) throw new DecodeError('bolt: a bucket inside a bucket');
      yield { key, value };
    }
  }

  *#tree(page: number, depth: number): Generator<{ flags: number; key: Uint8Array; value: Uint8Array }> {
    if (depth > maxDepth) throw new DecodeError('bolt: a tree that is too deep');
    const bytes = this.#page(page);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const flags = view.getUint16(8, true);
    if (flags === pageFlag.leaf) {
      yield* leafElements(bytes);
      return;
    }
    if (flags !== pageFlag.branch) throw new DecodeError(`bolt: page ${page} is neither branch nor leaf`);
    const count = view.getUint16(10, true);
    if (pageHeaderBytes + count * elementBytes > bytes.length) throw new DecodeError(`bolt: page ${page} is too short`);
    for (let i = 0; i < count; i++)
      yield* this.#tree(pageNumber(view.getBigUint64(pageHeaderBytes + i * elementBytes + 8, true)), depth + 1);
  }

  #page(page: number): Uint8Array {
    if (page < 2 || page >= this.#pages) throw new DecodeError(`bolt: page ${page} of ${this.#pages}`);
    if (this.#visited.has(page)) throw new DecodeError(`bolt: page ${page} is used twice`);
    this.#visited.add(page);
    const at = page * this.#pageBytes;
    const first = this.#read(at, this.#pageBytes);
    if (first.length < this.#pageBytes) throw new DecodeError(`bolt: the file ends in page ${page}`);
    const view = new DataView(first.buffer, first.byteOffset, first.byteLength);
    if (view.getBigUint64(0, true) !== BigInt(page)) throw new DecodeError(`bolt: page ${page} says it is another one`);
    const overflow = view.getUint32(12, true);
    if (overflow === 0) return first;
    const bytes = (overflow + 1) * this.#pageBytes;
    if (page + overflow >= this.#pages || bytes > maxPageBytes)
      throw new DecodeError(`bolt: page ${page} overflows the file`);
    const all = this.#read(at, bytes);
    if (all.length < bytes) throw new DecodeError(`bolt: the file ends in page ${page}`);
    return all;
  }
}

function* leafElements(bytes: Uint8Array): Generator<{ flags: number; key: Uint8Array; value: Uint8Array }> {
  if (bytes.length < pageHeaderBytes) throw new DecodeError('bolt: a page without a header');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const count = view.getUint16(10, true);
  if (pageHeaderBytes + count * elementBytes > bytes.length) throw new DecodeError('bolt: a leaf that is too short');
  for (let i = 0; i < count; i++) {
    const at = pageHeaderBytes + i * elementBytes;
    const from = at + view.getUint32(at + 4, true);
    const key = from + view.getUint32(at + 8, true);
    const end = key + view.getUint32(at + 12, true);
    if (from < at + elementBytes || end > bytes.length) throw new DecodeError('bolt: an element outside its page');
    yield { flags: view.getUint32(at, true), key: bytes.subarray(from, key), value: bytes.subarray(key, end) };
  }
}

function pageNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new DecodeError('bolt: a page number that is too large');
  return Number(value);
}

interface MetaPage {
  pageBytes: number;
  root: number;
  pages: number;
  transaction: bigint;
}

/** The second meta page stands behind the first, whose page size may be that of the machine that wrote it. */
function newestMeta(read: ReadAt): MetaPage {
  const sizes = [4096, 8192, 16384, 65536];
  const metas = [0, ...sizes].flatMap((at) => {
    const meta = readMeta(read(at, pageHeaderBytes + metaBytes));
    return meta !== undefined && (at === 0 || meta.pageBytes === at) ? [meta] : [];
  });
  const newest = metas.sort((a, b) => (a.transaction < b.transaction ? 1 : -1))[0];
  if (newest === undefined)
    throw new DecodeError('bolt: no intact meta page: it is not a bbolt file or its begin is damaged');
  return newest;
}

function readMeta(bytes: Uint8Array): MetaPage | undefined {
  if (bytes.length < pageHeaderBytes + metaBytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = pageHeaderBytes;
  if (view.getUint32(at, true) !== magic || view.getUint32(at + 4, true) !== version) return undefined;
  if (view.getBigUint64(at + 56, true) !== fnv1a64(bytes.subarray(at, at + 56))) return undefined;
  const pageBytes = view.getUint32(at + 8, true);
  if (![4096, 8192, 16384, 65536].includes(pageBytes)) return undefined;
  return {
    pageBytes,
    root: pageNumber(view.getBigUint64(at + 16, true)),
    pages: pageNumber(view.getBigUint64(at + 40, true)),
    transaction: view.getBigUint64(at + 48, true),
  };
}
