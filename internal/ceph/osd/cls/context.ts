import type { UTime } from '../../wire/encoding.ts';
import type { EntityAddr, EntityNum, SnapContext } from '../../wire/types.ts';

/**
 * What an object class method sees of the object it is called on (`src/objclass/objclass.h`). Reads of data, xattrs and omap see the object as it was
 * before the request; `stat` sees what earlier operations of the request made of it. Changes take effect with the request, or not at all when the
 * method or a later operation fails. The OSD implements it.
 */
export interface ClassContext {
  /** Size and mtime; undefined when the object does not exist. */
  stat(): { size: number; mtime: UTime } | undefined;
  /** Bytes at [offset, offset+length), cut at the object's size; empty for a missing object. */
  read(offset: number, length: number): Uint8Array | Promise<Uint8Array>;
  /** Makes the object when it is not there. `ClassFailure(EEXIST)` when it is and `exclusive`. */
  create(exclusive: boolean): void;
  write(offset: number, data: Uint8Array): void;
  /** Replaces the data. */
  writeFull(data: Uint8Array): void;
  truncate(size: number): void;
  zero(offset: number, length: number): void;
  /** Deletes the object. `ClassFailure(ENOENT)` when it is not there. */
  remove(): void;

  xattr(name: string): Uint8Array | undefined;
  xattrs(): ReadonlyMap<string, Uint8Array>;
  setXattr(name: string, value: Uint8Array): void;
  removeXattr(name: string): void;

  omapHeader(): Uint8Array;
  setOmapHeader(header: Uint8Array): void;
  omapValue(key: string): Uint8Array | undefined;
  /** Entries with key > `after` and `prefix` in byte order, at most `limit`; `more` when others follow. */
  omapList(after: string, prefix: string, limit: number): { entries: [string, Uint8Array][]; more: boolean };
  setOmap(entries: ReadonlyMap<string, Uint8Array>): void;
  removeOmap(keys: readonly string[]): void;
  /** Removes the keys from `first` on to before `end`. */
  removeOmapRange(first: string, end: string): void;
  /** Removes all keys and the header. */
  clearOmap(): void;

  /** Who sent the request: `client.4123`. */
  readonly client: EntityNum;
  readonly clientAddr: EntityAddr;
  readonly clientFeatures: bigint;
  /** Who watches the object. */
  readonly watchers: readonly { name: EntityNum; addr: EntityAddr }[];
  /** The OSD's clock. */
  now(): UTime;
  /** Random bytes of the OSD's source. */
  random(count: number): Uint8Array;
  /** Object version that users see (`user_version`) before this request. */
  readonly userVersion: number;
  /** Position of this call in the request's list of operations. */
  readonly opIndex: number;
  /** What the client sent with a write. */
  readonly snapContext: SnapContext;
  /** `seq` of the object's stored snapshot set; 0n for a new object. */
  readonly snapSetSeq: bigint;
  /** From the OSDMap: release numbers. */
  readonly requireOsdRelease: number;
  readonly requireMinCompatClient: number;
}

/** Ends a method: `rval` is a negative errno. */
export class ClassFailure extends Error {
  constructor(readonly rval: number) {
    super(`class method failed: ${rval}`);
  }
}

/** Bytes: success with this output. A number: the operation's rval (0 or more success, negative errno failure). Nothing: success, no output. */
// biome-ignore lint/suspicious/noConfusingVoidType: a method without a result returns nothing
export type ClassOutput = Uint8Array | number | { rval: number; out: Uint8Array } | void;

export type ClassHandler = (ctx: ClassContext, input: Uint8Array) => ClassOutput | Promise<ClassOutput>;

/** A method of an object class. `write` makes the request a write; a method without it must not change anything. */
export interface ClassMethod {
  readonly read: boolean;
  readonly write: boolean;
  readonly handler: ClassHandler;
}

export function readMethod(handler: ClassHandler): ClassMethod {
  return { read: true, write: false, handler };
}
export function writeMethod(handler: ClassHandler): ClassMethod {
  return { read: true, write: true, handler };
}
/** CLS_METHOD_WR alone. */
export function blindWriteMethod(handler: ClassHandler): ClassMethod {
  return { read: false, write: true, handler };
}

/** By method name. */
export type ClassMethods = Readonly<Record<string, ClassMethod>>;
