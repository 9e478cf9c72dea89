import { wholeCrc32c, rawCrc32c } from '../../base/crc32c.ts';
import { shardDigest } from '../erasure/digest.ts';
import type { CollectionId, ObjectStore } from '../blockstore/api.ts';
import { isDamage } from '../blockstore/errors.ts';
import { Encoder } from '../wire/encoding.ts';
import type { ScrubObject } from '../wire/messages/osd_scrub.ts';
import { type HObject, SNAP_HEAD } from '../wire/types.ts';
import { afterKey, endObjectKey, isObjectKey, objectKey, objectOfKey } from './object-key.ts';

/** Bytes read at once (`osd_deep_scrub_stride`). */
const strideBytes = 512 * 1024;
const omapPage = 1024;
/** Keys looked at to find where an object and its clones end. */
const maxKeysOfOneObject = 8192;

/** What checksums begin with. */
const seed = 0xffffffff;

/** The smallest key behind `key`. */
/** Keys of objects behind `begin` up to `end` inclusive. */
function* keysIn(store: ObjectStore, cid: CollectionId, begin: HObject, end: HObject): Generator<Uint8Array> {
  const last = objectKey(end);
  let start = afterKey(objectKey(begin));
  for (;;) {
    const page = store.list(cid, start, 64);
    for (const key of page) {
      if (Buffer.compare(key, endObjectKey) >= 0 || Buffer.compare(key, last) > 0) return;
      if (isObjectKey(key)) yield key;
    }
    if (page.length < 64) return;
    start = afterKey(page[page.length - 1]!);
  }
}

/**
 * The end of the chunk that follows `begin`: about `objects` objects further, behind a head, so that an object and its clones stay together. Undefined: the
 * chunk reaches to the end of the PG.
 */
export function chunkEnd(
  store: ObjectStore,
  cid: CollectionId,
  pool: number,
  begin: HObject,
  objects: number,
): HObject | undefined {
  let start = afterKey(objectKey(begin));
  let seen = 0;
  while (seen < objects + maxKeysOfOneObject) {
    const page = store.list(cid, start, 64);
    for (const key of page) {
      if (Buffer.compare(key, endObjectKey) >= 0) return undefined;
      if (!isObjectKey(key)) continue;
      const oid = objectOfKey(key, pool);
      if (++seen >= objects && oid.snap === SNAP_HEAD) return oid;
    }
    if (page.length < 64) return undefined;
    start = afterKey(page[page.length - 1]!);
  }
  return undefined;
}

/** Lists what a copy holds of a stretch; deep: with checksums of everything, of data such as shards can be checked against each other by. Undefined: `stop` said so. `recycle` gets what was read. */
export async function scrubMap(
  store: ObjectStore,
  cid: CollectionId,
  pool: number,
  { begin, end, deep, shard }: { begin: HObject; end: HObject; deep: boolean; shard: boolean },
  stop: () => boolean,
  recycle: (bytes: Uint8Array) => void,
): Promise<ScrubObject[] | undefined> {
  const out: ScrubObject[] = [];
  for (const key of [...keysIn(store, cid, begin, end)]) {
    if (stop()) return undefined;
    const stat = store.stat(cid, key);
    if (stat === undefined) continue;
    const object: ScrubObject = {
      oid: objectOfKey(key, pool),
      size: stat.size,
      xattrs: stat.damaged ? new Map() : store.xattrs(cid, key),
      statError: stat.damaged === true,
      readError: false,
      dataDigest: undefined,
      omapDigest: undefined,
      omapKeys: 0,
      omapBytes: 0,
    };
    if (deep && !object.statError) await readAll(store, cid, key, object, shard, stop, recycle);
    out.push(object);
  }
  return stop() ? undefined : out;
}

async function readAll(
  store: ObjectStore,
  cid: CollectionId,
  key: Uint8Array,
  object: ScrubObject,
  shard: boolean,
  stop: () => boolean,
  recycle: (bytes: Uint8Array) => void,
): Promise<void> {
  try {
    let crc = shard ? 0 : seed;
    for (let at = 0; at < object.size && !stop(); at += strideBytes) {
      const bytes = await store.read(cid, key, at, Math.min(strideBytes, object.size - at), true);
      if (bytes === undefined) return;
      if (shard) crc = shardDigest(crc, bytes);
      else crc = at === 0 ? wholeCrc32c(bytes) : rawCrc32c(crc, bytes);
      recycle(bytes);
    }
    object.dataDigest = crc;
    const omap = omapDigest(store, cid, key);
    Object.assign(object, { omapDigest: omap.digest, omapKeys: omap.keys, omapBytes: omap.bytes });
  } catch (error) {
    if (!isDamage(error)) throw error;
    object.readError = true;
  }
}

/** Over the header and then each key and value as they are encoded, in order; counts them on the way. */
export function omapDigest(
  store: ObjectStore,
  cid: CollectionId,
  key: Uint8Array,
): { digest: number; keys: number; bytes: number } {
  let keys = 0;
  let bytes = 0;
  let crc = rawCrc32c(seed, store.omapHeader(cid, key));
  let after: string | undefined;
  for (;;) {
    const page = store.omapList(cid, key, { limit: omapPage, ...(after === undefined ? {} : { after }) });
    for (const [name, value] of page.entries) {
      crc = rawCrc32c(crc, new Encoder(name.length + value.length + 8).string(name).blob(value).finish());
      keys++;
      bytes += value.length;
      after = name;
    }
    if (!page.more || page.entries.length === 0) return { digest: crc, keys, bytes };
  }
}
