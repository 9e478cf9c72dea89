/**
 * The OSD's object store, what ObjectStore is to a real OSD: collections (one a PG, one for meta) of objects with data, xattrs, an omap
 * header and omap. One contract suite (`contract.ts`) runs against `BlockStore` and the in-memory twin.
 */

/** `1.2f` for a PG, `meta` for the OSD's own objects. */
export type CollectionId = string;

/** Number of the pool that a collection is of, also of one that is on its way to be a PG (`import.1.2f`); -1 when it is of none. */
export function poolOf(cid: CollectionId): number {
  const pool = /^(?:[a-z]+\.)?(\d+)\./.exec(cid)?.[1];
  return pool === undefined ? -1 : Number(pool);
}

/**
 * An object's identity inside a collection, already in sort order of `hobject_t` (bitwise): the OSD builds it from the hobject, the store
 * only compares it bytewise and hands it back. At most 4 KiB.
 */
export type ObjectKey = Uint8Array;

/** Cheap facts about an object; kept in memory while hot. */
export interface ObjectStat {
  size: number;
  /** Its entry in the index is damaged: it is there, and nothing else about it is known. */
  damaged?: true;
}

/**
 * One atomic group of changes: all of it is on disk, or none of it. Operations apply in order. `data` (and every other byte array in it) is a
 * view: it must not change until the transaction is committed; data is never copied before it is written.
 *
 * `touch`, `set-alloc-hint`, `write`, `zero`, `truncate`, `set-xattrs`, `omap-set` and `omap-set-header` make the object when it is not there; what removes
 * or clears does nothing to a missing one. A write of no bytes is a `touch`. `write` and `zero` behind the end grow the object, the gap reads as zeros. Impossible requests
 * (`TransactionError`: unknown collection ENOENT, collection made twice EEXIST, removing one that holds objects or moving
 * a range to where objects are ENOTEMPTY, `clone` or
 * `clone-range` of a missing object ENOENT, a key over 4 KiB, a name over 64 KiB or an offset that is negative or beyond 4 TiB EINVAL) reject the whole transaction.
 */
export interface Transaction {
  readonly ops: TransactionOp[];
}

export type TransactionOp =
  | { op: 'create-collection'; cid: CollectionId }
  | { op: 'remove-collection'; cid: CollectionId }
  /**
   * The objects with first <= key < end become objects of `to`, a collection of the same pool, which holds none there. Costs the same for few and many. A transaction moves no
   * key twice.
   */
  | { op: 'move-range'; cid: CollectionId; to: CollectionId; first: ObjectKey; end: ObjectKey }
  /** Makes the object if it is not there. */
  | { op: 'touch'; cid: CollectionId; key: ObjectKey }
  /** How the object will be used (`CEPH_OSD_ALLOC_HINT_FLAG_*`): whether its data is worth compressing. Stays with it, and with clones of it. */
  | { op: 'set-alloc-hint'; cid: CollectionId; key: ObjectKey; flags: number }
  | { op: 'write'; cid: CollectionId; key: ObjectKey; offset: number; data: readonly Uint8Array[] }
  | { op: 'zero'; cid: CollectionId; key: ObjectKey; offset: number; length: number }
  | { op: 'truncate'; cid: CollectionId; key: ObjectKey; size: number }
  | { op: 'remove'; cid: CollectionId; key: ObjectKey }
  /** Copy-on-write: `to` becomes an exact copy of `from` (data, xattrs, omap); what `to` held is gone. */
  | { op: 'clone'; cid: CollectionId; from: ObjectKey; to: ObjectKey }
  /** Shares `length` bytes at `offset` of `from` (cut at its size; holes included) into `to`, made when missing, at the same offset. */
  | { op: 'clone-range'; cid: CollectionId; from: ObjectKey; to: ObjectKey; offset: number; length: number }
  | { op: 'set-xattrs'; cid: CollectionId; key: ObjectKey; xattrs: ReadonlyMap<string, Uint8Array> }
  | { op: 'remove-xattr'; cid: CollectionId; key: ObjectKey; name: string }
  | { op: 'clear-xattrs'; cid: CollectionId; key: ObjectKey }
  | { op: 'omap-set'; cid: CollectionId; key: ObjectKey; entries: ReadonlyMap<string, Uint8Array> }
  | { op: 'omap-remove'; cid: CollectionId; key: ObjectKey; keys: readonly string[] }
  /** Removes keys in [first, last) in UTF-8 byte order. */
  | { op: 'omap-remove-range'; cid: CollectionId; key: ObjectKey; first: string; last: string }
  /** Removes all keys and the header. */
  | { op: 'omap-clear'; cid: CollectionId; key: ObjectKey }
  | { op: 'omap-set-header'; cid: CollectionId; key: ObjectKey; header: Uint8Array };

/**
 * Reads see every transaction queued before them, also those not yet on disk (read your writes): ordering is the queue's. A checksum
 * mismatch throws `ChecksumError` naming object and offset. Of an object whose entry in the index is damaged everything but `stat` and `list` throws
 * `DamagedEntryError`; whatever is written to it, it stays damaged until it is removed. A missing object reads as undefined.
 */
export interface ObjectStore {
  /**
   * Applies at once for readers; the promise resolves when it is on disk. Transactions become durable in the order queued. Rejects only
   * when the disk fails or is full (`NoSpaceError`, checked before anything is applied: then nothing has changed) or the transaction is
   * impossible (`TransactionError`, likewise).
   */
  queue(transaction: Transaction): Promise<void>;
  /** Whether new data of so many bytes could be queued now. */
  hasRoom(bytes: number): boolean;
  collections(): CollectionId[];
  stat(cid: CollectionId, key: ObjectKey): ObjectStat | undefined;
  /**
   * Bytes at [offset, offset+length) cut at the object's size; holes read as zeros. Undefined when the object is not there. They may be the store's
   * own: nobody may change them. `fromDisk`: past caches, so that what the disk has lost shows.
   */
  read(
    cid: CollectionId,
    key: ObjectKey,
    offset: number,
    length: number,
    fromDisk?: boolean,
  ): Promise<Uint8Array | undefined>;
  /** What `read` would give, where that needs no disk and can be had at once; undefined: ask `read`. */
  readNow?(cid: CollectionId, key: ObjectKey, offset: number, length: number): Uint8Array | undefined;
  /** What was written and not zeroed or cut off since, by the byte, inside [offset, offset+length), ascending, merged. Of an object with very many holes the smallest may be left out. */
  extents(cid: CollectionId, key: ObjectKey, offset: number, length: number): { offset: number; length: number }[];
  xattr(cid: CollectionId, key: ObjectKey, name: string): Uint8Array | undefined;
  xattrs(cid: CollectionId, key: ObjectKey): Map<string, Uint8Array>;
  omapHeader(cid: CollectionId, key: ObjectKey): Uint8Array;
  /** Entries with key > after (or >= when `inclusive`) in UTF-8 byte order, at most `limit`. */
  omapList(
    cid: CollectionId,
    key: ObjectKey,
    options: { after?: string; inclusive?: boolean; prefix?: string; limit: number },
  ): { entries: [string, Uint8Array][]; more: boolean };
  omapGet(cid: CollectionId, key: ObjectKey, keys: readonly string[]): Map<string, Uint8Array>;
  /** Keys >= start in byte order, at most `limit`. */
  list(cid: CollectionId, start: ObjectKey, limit: number): ObjectKey[];
  statfs(): StoreStatfs;
  /** What is compressed, by pool; a pool without is left out. */
  compressed(): ReadonlyMap<number, Readonly<CompressedSums>>;
  /** How data of each pool is compressed that is written from now on; none of a pool that is left out. What is stored stays as it is. */
  setCompression(policies: ReadonlyMap<number, CompressionPolicy>): void;
  /** Makes everything queued durable and ends. */
  close(): Promise<void>;
}

/** Data that will not get smaller, and data that will, as clients hint (`CEPH_OSD_ALLOC_HINT_FLAG_*`). */
export const hintCompressible = 256;
export const hintIncompressible = 512;
/** The hints that a store acts on. */
export const storeHints: number = hintCompressible | hintIncompressible;

/** The names of codecs that a store knows. */
export const compressionAlgorithms = ['snappy', 'zlib', 'zstd', 'lz4'] as const;
export type CompressionAlgorithm = (typeof compressionAlgorithms)[number];

/** How data of a pool is compressed. */
export interface CompressionPolicy {
  /** `passive`: only objects hinted to be compressible; `aggressive`: all but those hinted not to be; `force`: all. */
  readonly mode: 'passive' | 'aggressive' | 'force';
  readonly algorithm: CompressionAlgorithm;
  /** What compression makes is kept when it is at most this share of the data, and takes fewer blocks. */
  readonly requiredRatio: number;
  /** Less than this many bytes are not compressed. */
  readonly minBlobBytes: number;
  /** Data is compressed in pieces of this many bytes, 64 KiB at most. */
  readonly maxBlobBytes: number;
}

/** The most bytes an object key may have. */
export const maxKeyBytes = 4096;

/** Granularity of allocation and checksums, in bytes. */
export const blockBytes = 4096;

export interface StoreStatfs {
  totalBytes: number;
  availableBytes: number;
  /** Bytes of data that clients stored. */
  dataBytes: number;
  /** Bytes allocated for them. */
  allocatedBytes: number;
  omapBytes: number;
  metaBytes: number;
  objects: number;
  /** Of all pools. */
  compressed: CompressedSums;
}

/** What is compressed; names and meaning as in `store_statfs_t`. */
export interface CompressedSums {
  /** Bytes that compression made (`data_compressed`). */
  stored: number;
  /** Bytes allocated for them (`data_compressed_allocated`). */
  allocated: number;
  /** Bytes of objects that are in them; those that clones share count for each (`data_compressed_original`). */
  original: number;
}
