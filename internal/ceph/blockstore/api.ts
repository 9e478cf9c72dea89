/**
 * The OSD's object store, what ObjectStore is to a real OSD: collections (one a PG, one for meta) of objects with data, xattrs, an omap
 * header and omap. One contract suite (`contract.ts`) runs against `BlockStore` and the in-memory twin.
 */

/** `1.2f` for a PG, `meta` for the OSD's own objects. */
export type CollectionId = string;

/**
 * An object's identity inside a collection, already in sort order of `hobject_t` (bitwise): the OSD builds it from the hobject, the store
 * only compares it bytewise and hands it back. At most 4 KiB.
 */
export type ObjectKey = Uint8Array;

/** Cheap facts about an object; kept in memory while hot. */
export interface ObjectStat {
  size: number;
}

/**
 * One atomic group of changes: all of it is on disk, or none of it. Operations apply in order. `data` is a view: it must not change until the
 * transaction is committed; it is never copied before it is written.
 */
export interface Transaction {
  readonly ops: TransactionOp[];
}

export type TransactionOp =
  | { op: 'create-collection'; cid: CollectionId }
  | { op: 'remove-collection'; cid: CollectionId }
  /** Makes the object if it is not there. */
  | { op: 'touch'; cid: CollectionId; key: ObjectKey }
  | { op: 'write'; cid: CollectionId; key: ObjectKey; offset: number; data: readonly Uint8Array[] }
  | { op: 'zero'; cid: CollectionId; key: ObjectKey; offset: number; length: number }
  | { op: 'truncate'; cid: CollectionId; key: ObjectKey; size: number }
  | { op: 'remove'; cid: CollectionId; key: ObjectKey }
  /** Copy-on-write: `to` becomes an exact copy of `from` (data, xattrs, omap); what `to` held is gone. */
  | { op: 'clone'; cid: CollectionId; from: ObjectKey; to: ObjectKey }
  /** Shares `length` bytes at `offset` of `from` into `to` at the same offset. */
  | { op: 'clone-range'; cid: CollectionId; from: ObjectKey; to: ObjectKey; offset: number; length: number }
  | { op: 'set-xattrs'; cid: CollectionId; key: ObjectKey; xattrs: ReadonlyMap<string, Uint8Array> }
  | { op: 'remove-xattr'; cid: CollectionId; key: ObjectKey; name: string }
  | { op: 'clear-xattrs'; cid: CollectionId; key: ObjectKey }
  | { op: 'omap-set'; cid: CollectionId; key: ObjectKey; entries: ReadonlyMap<string, Uint8Array> }
  | { op: 'omap-remove'; cid: CollectionId; key: ObjectKey; keys: readonly string[] }
  /** Removes keys in [first, last). */
  | { op: 'omap-remove-range'; cid: CollectionId; key: ObjectKey; first: string; last: string }
  | { op: 'omap-clear'; cid: CollectionId; key: ObjectKey }
  | { op: 'omap-set-header'; cid: CollectionId; key: ObjectKey; header: Uint8Array };

/**
 * Reads see every transaction queued before them, also those not yet on disk (read your writes): ordering is the queue's. A checksum
 * mismatch throws `ChecksumError` naming object and offset. A missing object reads as undefined.
 */
export interface ObjectStore {
  /**
   * Applies at once for readers; the promise resolves when it is on disk. Transactions become durable in the order queued. Rejects only
   * when the disk fails or is full (`NoSpaceError`, checked before anything is applied: then nothing has changed).
   */
  queue(transaction: Transaction): Promise<void>;
  collections(): CollectionId[];
  stat(cid: CollectionId, key: ObjectKey): ObjectStat | undefined;
  /** Bytes at [offset, offset+length) cut at the object's size; holes read as zeros. Undefined when the object is not there. */
  read(cid: CollectionId, key: ObjectKey, offset: number, length: number): Promise<Uint8Array | undefined>;
  /** Allocated ranges inside [offset, offset+length), ascending, merged. */
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
  close(): Promise<void>;
}

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
}
