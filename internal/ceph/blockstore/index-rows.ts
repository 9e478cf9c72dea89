import { ByteReader, ByteWriter, utf8, utf8Text } from '../../base/bytes.ts';
import { assert } from '../../base/errors.ts';
import { type CompressedSums, poolOf } from './api.ts';
import type { Index, IndexChange } from './index-api.ts';
import { Layout } from './layout.ts';
import type { Collection } from './onode.ts';
import { keyBytes, putU32 } from './order.ts';

/** How the catalog lies in the tables of the index: keys, and the rows of `meta`. */

/** 2 when some collection has more than one number in the index. */
const stateVersion = 2;
export const stateKey = utf8('state');
/** Rows of what is compressed in a pool; an index in which nothing ever was has none. */
const compressedPrefix = utf8('compressed/');
const compressedEnd = utf8('compressed0');
const collectionPrefix = utf8('collection/');
export const collectionsEnd = utf8('collection0');

/** Sums over the store that are kept with the index. */
export interface Totals {
  nextCollection: number;
  nextOmap: number;
  nextShare: number;
  objects: number;
  storedBytes: number;
}

export function newCollection(cid: string, id: number): Collection {
  return { cid, id, layout: new Layout(id), pool: poolOf(cid), objects: 0, onodes: new Map(), absent: new Set() };
}

export const nothingCompressed: Readonly<CompressedSums> = { stored: 0, allocated: 0, original: 0 };

/** The row of what is compressed in a pool. */
export function compressedRow(pool: number, sums: Readonly<CompressedSums>): IndexChange {
  const key = new Uint8Array([...compressedPrefix, ...utf8(String(pool))]);
  const empty = sums.stored === 0 && sums.allocated === 0 && sums.original === 0;
  const value = new ByteWriter(32).u8(1).u64(sums.stored).u64(sums.allocated).u64(sums.original);
  return { table: 'meta', key, value: empty ? undefined : value.finish() };
}

export function readCompressed(index: Index): Map<number, CompressedSums> {
  const out = new Map<number, CompressedSums>();
  for (const [key, value] of index.range('meta', compressedPrefix, compressedEnd, 2 ** 31)) {
    const reader = new ByteReader(value);
    const version = reader.u8();
    assert(version === 1, `what is compressed is noted in format version ${version}`);
    const pool = Number(utf8Text(key.subarray(compressedPrefix.length)));
    out.set(pool, { stored: reader.u64(), allocated: reader.u64(), original: reader.u64() });
  }
  return out;
}

export function encodeState(appliedIndex: number, t: Totals, simpleLayouts: boolean): Uint8Array {
  const state = new ByteWriter(64).u8(simpleLayouts ? 1 : stateVersion).u64(appliedIndex);
  return state.u64(t.nextCollection).u64(t.nextOmap).u64(t.nextShare).u64(t.objects).u64(t.storedBytes).finish();
}

export function decodeState(row: Uint8Array): { version: number; appliedIndex: number; totals: Totals } {
  const reader = new ByteReader(row);
  const version = reader.u8();
  assert(version <= stateVersion, `the index has format version ${version}`);
  const appliedIndex = reader.u64();
  const totals = {
    nextCollection: reader.u64(),
    nextOmap: reader.u64(),
    nextShare: reader.u64(),
    objects: reader.u64(),
    storedBytes: reader.u64(),
  };
  return { version, appliedIndex, totals };
}

function collectionKey(cid: string): Uint8Array {
  return new Uint8Array([...collectionPrefix, ...utf8(cid)]);
}

/** The row of a collection; `collection` undefined: it is gone. */
export function collectionRow(cid: string, collection: Collection | undefined): IndexChange {
  const value = collection && new ByteWriter(16).u32(collection.id).u64(collection.objects);
  if (collection?.layout.simple === false) collection.layout.encode(value!);
  return { table: 'meta', key: collectionKey(cid), value: value?.finish() };
}

export function readCollections(index: Index): Collection[] {
  return index.range('meta', collectionPrefix, collectionsEnd, 2 ** 31).map(([key, value]) => {
    const reader = new ByteReader(value);
    const collection = newCollection(utf8Text(key.subarray(collectionPrefix.length)), reader.u32());
    collection.objects = reader.u64();
    if (reader.remaining > 0) collection.layout.decode(reader);
    return collection;
  });
}

/** Behind every row of a table whose keys begin with a number of four bytes, or of eight that is below 2^63. */
export const endOfNumbers: Uint8Array = new Uint8Array(9).fill(0xff);

export function stretchEnd({ id, end }: { id: number; end: string | undefined }): Uint8Array {
  return end === undefined ? number32(id + 1) : objectKey(id, end);
}

/** Collection big-endian, then the key: objects of one collection stand together in the order of their keys. */
export function objectKey(collection: number, name: string): Uint8Array {
  const out = new Uint8Array(4 + name.length);
  putU32(out, 0, collection);
  out.set(keyBytes(name), 4);
  return out;
}

function number32(value: number): Uint8Array {
  const out = new Uint8Array(4);
  putU32(out, 0, value);
  return out;
}

/** Key of a share or of a chunk of the map of used blocks. */
export function number(value: number): Uint8Array {
  const out = new Uint8Array(8);
  putU32(out, 0, Math.floor(value / 0x1_0000_0000));
  putU32(out, 4, value);
  return out;
}

/** The number at the beginning of a key of eight bytes or more. */
export function numberOf(key: Uint8Array): number {
  let value = 0;
  for (let at = 0; at < 8; at++) value = value * 256 + key[at]!;
  return value;
}
