import { errorCode } from '../../base/errors.ts';
import { blockBytes, type CollectionId, type ObjectKey, type ObjectStore } from './api.ts';
import { ChecksumError, keyText } from './errors.ts';
import type { FaultList } from './fault.ts';

/** Bytes read at once. */
const pieceBytes = 1 << 20;
/** Reads on their way at once. */
const readers = 4;
const keysAtOnce = 256;

export interface DataCheck {
  /** Called with bytes that were read since the last call. */
  readonly progress: (bytes: number) => void;
  /** Gets the memory of what was read. */
  readonly recycle: (bytes: Uint8Array) => void;
}

/** Every object of a collection, in order. */
export function* objectsOf(store: ObjectStore, cid: CollectionId): Generator<ObjectKey> {
  let start: ObjectKey = new Uint8Array(0);
  for (;;) {
    const page = store.list(cid, start, keysAtOnce);
    yield* page;
    if (page.length < keysAtOnce) return;
    const last = page.at(-1)!;
    start = new Uint8Array(last.length + 1);
    start.set(last);
  }
}

/** Reads every block of every object from the disk and notes each object that has one with a wrong checksum. */
export async function checkData(store: ObjectStore, list: FaultList, options: DataCheck): Promise<void> {
  const todo = everyObject(store);
  const worker = async (): Promise<void> => {
    for (let next = todo.next(); !next.done; next = todo.next()) {
      const [cid, key] = next.value;
      const damaged = await damagedBlocks(store, cid, key, options);
      if (damaged.length === 0) continue;
      const shown = damaged.slice(0, 5).map((offset) => String(offset));
      const more = damaged.length > 5 ? ` and ${damaged.length - 5} more` : '';
      list.add({
        kind: 'checksum',
        text: `object ${keyText(key)} of ${cid}: the disk gives other bytes than were written at ${shown.join(', ')}${more}`,
        mend: 'fetched',
        cid,
        key,
      });
    }
  };
  await Promise.all(Array.from({ length: readers }, worker));
}

function* everyObject(store: ObjectStore): Generator<[CollectionId, ObjectKey]> {
  for (const cid of store.collections()) for (const key of objectsOf(store, cid)) yield [cid, key];
}

/** Offsets of the blocks of an object that cannot be read as they were written. */
export async function damagedBlocks(
  store: ObjectStore,
  cid: CollectionId,
  key: ObjectKey,
  { progress, recycle }: DataCheck,
): Promise<number[]> {
  const damaged: number[] = [];
  // Told of with the index.
  if (store.stat(cid, key)?.damaged) return damaged;
  /** The block before here is known. */
  let known = 0;
  for (const { offset, length } of store.extents(cid, key, 0, Number.MAX_SAFE_INTEGER)) {
    const end = offset + length;
    /** Up to here one block at a time: the disk could not read all of it. */
    let carefulTo = 0;
    for (let at = Math.max(offset, known); at < end; ) {
      const count = Math.min(at < carefulTo ? blockBytes - (at % blockBytes) : pieceBytes, end - at);
      let next = at + count;
      try {
        const bytes = await store.read(cid, key, at, count, true);
        if (bytes !== undefined) recycle(bytes);
      } catch (error) {
        if (error instanceof ChecksumError) {
          damaged.push(error.offset);
          next = Math.min(end, error.offset + blockBytes);
        } else if (errorCode(error) !== 'EIO') throw error;
        else if (count > blockBytes) {
          carefulTo = next;
          next = at;
        } else damaged.push(Math.floor(at / blockBytes) * blockBytes);
      }
      progress(next - at);
      at = next;
      known = Math.ceil(next / blockBytes) * blockBytes;
    }
  }
  return damaged;
}
