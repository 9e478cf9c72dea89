import { getU16, getU32, getU64b, putU16, putU32 } from '../../../base/bytes.ts';
import type { Decoder, Encoder } from '../encoding.ts';
import { bytesFromText } from '../encoding.ts';

/** Op codes (`src/include/rados.h`): mode | type | number. */
export const OP = {
  READ: 0x1201,
  STAT: 0x1202,
  MAPEXT: 0x1203,
  CHECKSUM: 0x121f,
  SPARSE_READ: 0x1205,
  NOTIFY: 0x1206,
  NOTIFY_ACK: 0x1207,
  ASSERT_VER: 0x1208,
  LIST_WATCHERS: 0x1209,
  LIST_SNAPS: 0x120a,
  SYNC_READ: 0x120b,
  TMAPGET: 0x120c,
  OMAPGETKEYS: 0x1211,
  OMAPGETVALS: 0x1212,
  OMAPGETHEADER: 0x1213,
  OMAPGETVALSBYKEYS: 0x1214,
  OMAP_CMP: 0x1219,
  ISDIRTY: 0x121d,
  COPY_GET: 0x121e,
  CMPEXT: 0x1220,
  WRITE: 0x2201,
  WRITEFULL: 0x2202,
  TRUNCATE: 0x2203,
  ZERO: 0x2204,
  DELETE: 0x2205,
  APPEND: 0x2206,
  SETTRUNC: 0x2208,
  TMAPUP: 0x320a,
  TMAPPUT: 0x220b,
  CREATE: 0x220d,
  ROLLBACK: 0x220e,
  WATCH: 0x220f,
  OMAPSETVALS: 0x2215,
  OMAPSETHEADER: 0x2216,
  OMAPCLEAR: 0x2217,
  OMAPRMKEYS: 0x2218,
  COPY_FROM: 0x221a,
  UNDIRTY: 0x221c,
  TMAP2OMAP: 0x3222,
  SETALLOCHINT: 0x2223,
  CACHE_PIN: 0x2224,
  CACHE_UNPIN: 0x2225,
  WRITESAME: 0x2226,
  SET_REDIRECT: 0x2227,
  OMAPRMKEYRANGE: 0x222c,
  COPY_FROM2: 0x222d,
  GETXATTR: 0x1301,
  GETXATTRS: 0x1302,
  CMPXATTR: 0x1303,
  SETXATTR: 0x2301,
  SETXATTRS: 0x2302,
  RESETXATTRS: 0x2303,
  RMXATTR: 0x2304,
  CALL: 0x1401,
  PGLS: 0x1501,
  PGLS_FILTER: 0x1502,
  PG_HITSET_LS: 0x1503,
  PG_HITSET_GET: 0x1504,
  PGNLS: 0x1505,
  PGNLS_FILTER: 0x1506,
  SCRUBLS: 0x1507,
} as const;

export const OP_MODE_READ = 0x1000;
export const OP_MODE_WRITE = 0x2000;
export const OP_MODE_CACHE = 0x8000;
export const OP_TYPE_MASK = 0x0f00;
export const OP_TYPE_PG = 0x0500;
export const OP_TYPE_EXEC = 0x0400;

/** Op flags. */
export const OP_FLAG_EXCL = 1;
export const OP_FLAG_FAILOK = 2;
export const OP_FLAG_FADVISE_RANDOM = 0x4;
export const OP_FLAG_FADVISE_SEQUENTIAL = 0x8;
export const OP_FLAG_FADVISE_WILLNEED = 0x10;
export const OP_FLAG_FADVISE_DONTNEED = 0x20;
export const OP_FLAG_FADVISE_NOCACHE = 0x40;

export const WATCH_OP_UNWATCH = 0;
export const WATCH_OP_LEGACY_WATCH = 1;
export const WATCH_OP_WATCH = 3;
export const WATCH_OP_RECONNECT = 5;
export const WATCH_OP_PING = 7;

const opNames = new Map<number, string>(Object.entries(OP).map(([name, code]) => [code, name.toLowerCase()]));
export function osdOpName(op: number): string {
  return opNames.get(op) ?? `op 0x${op.toString(16)}`;
}

/** `ceph_osd_op`: code, flags, a union of 28 bytes, payload length. */
export const OSD_OP_BYTES = 38;
const unionAt = 6;
const payloadLengthAt = 34;

/**
 * One op of a request. Received: a window onto the message's front, fields are read when asked for. Built: `OsdOp.extent` and the like.
 * Unsigned 64-bit fields beyond 2^53 read as 2^53 - 1, which is beyond every limit.
 */
export class OsdOp {
  readonly #bytes: Uint8Array;
  readonly #at: number;
  /** Input of a request; output of a decoded reply. Views. */
  data: readonly Uint8Array[] = [];

  private constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  static decode(d: Decoder): OsdOp {
    const { at } = d;
    d.skip(OSD_OP_BYTES);
    return new OsdOp(d.source, at);
  }

  /** An op with its union written by `fill` (offsets within the union). */
  static make(op: number, data: readonly Uint8Array[] = [], flags = 0, fill?: (union: DataView) => void): OsdOp {
    const bytes = new Uint8Array(OSD_OP_BYTES);
    putU16(bytes, 0, op);
    putU32(bytes, 2, flags);
    fill?.(new DataView(bytes.buffer, unionAt, 28));
    const made = new OsdOp(bytes, 0);
    made.data = data;
    return made;
  }

  static extent(op: number, offset: number, length: number, data: readonly Uint8Array[] = [], flags = 0): OsdOp {
    return OsdOp.make(op, data, flags, (u) => {
      setU64(u, 0, offset);
      setU64(u, 8, length);
    });
  }

  static xattr(op: number, name: string, value: Uint8Array, cmp = 0, mode = 0): OsdOp {
    const nameBytes = bytesFromText(name);
    return OsdOp.make(op, [nameBytes, value], 0, (u) => {
      u.setUint32(0, nameBytes.length, true);
      u.setUint32(4, value.length, true);
      u.setUint8(8, cmp);
      u.setUint8(9, mode);
    });
  }

  static call(className: string, method: string, input: Uint8Array): OsdOp {
    const c = bytesFromText(className);
    const m = bytesFromText(method);
    return OsdOp.make(OP.CALL, [c, m, input], 0, (u) => {
      u.setUint8(0, c.length);
      u.setUint8(1, m.length);
      u.setUint8(2, 0);
      u.setUint32(3, input.length, true);
    });
  }

  static watch(cookie: bigint, watchOp: number, timeoutSec: number, generation = 0, version = 0): OsdOp {
    return OsdOp.make(OP.WATCH, [], 0, (u) => {
      u.setBigUint64(0, cookie, true);
      setU64(u, 8, version);
      u.setUint8(16, watchOp);
      u.setUint32(17, generation, true);
      u.setUint32(21, timeoutSec, true);
    });
  }

  static notify(cookie: bigint, data: readonly Uint8Array[]): OsdOp {
    return OsdOp.make(OP.NOTIFY, data, 0, (u) => u.setBigUint64(0, cookie, true));
  }

  static pgls(op: number, count: number, startEpoch: number, data: readonly Uint8Array[]): OsdOp {
    return OsdOp.make(op, data, 0, (u) => {
      setU64(u, 0, count);
      u.setUint32(8, startEpoch, true);
    });
  }

  static assertVersion(version: number): OsdOp {
    return OsdOp.make(OP.ASSERT_VER, [], 0, (u) => setU64(u, 8, version));
  }

  static allocHint(objectSize: number, writeSize: number, flags: number): OsdOp {
    return OsdOp.make(OP.SETALLOCHINT, [], OP_FLAG_FAILOK, (u) => {
      setU64(u, 0, objectSize);
      setU64(u, 8, writeSize);
      u.setUint32(16, flags, true);
    });
  }

  static snap(op: number, snapId: bigint): OsdOp {
    return OsdOp.make(op, [], 0, (u) => u.setBigUint64(0, snapId, true));
  }

  /** Writes the 38 bytes; the payload length is that of `data`, or the one given (a reply's output). */
  encode(e: Encoder, payloadLength?: number): void {
    let length = payloadLength;
    if (length === undefined) {
      length = 0;
      for (const piece of this.data) length += piece.length;
    }
    e.bytes(this.#bytes.subarray(this.#at, this.#at + payloadLengthAt));
    e.u32(length);
  }

  get op(): number {
    return getU16(this.#bytes, this.#at);
  }
  get flags(): number {
    return getU32(this.#bytes, this.#at + 2);
  }
  /** As decoded from the wire. */
  get payloadLength(): number {
    return getU32(this.#bytes, this.#at + payloadLengthAt);
  }
  get name(): string {
    return osdOpName(this.op);
  }
  /** The input as one piece; received ops have at most one. */
  get input(): Uint8Array {
    return this.data[0] ?? noBytes;
  }

  #u64(at: number): number {
    const high = getU32(this.#bytes, this.#at + unionAt + at + 4);
    const low = getU32(this.#bytes, this.#at + unionAt + at);
    return high > 0x1f_ffff ? Number.MAX_SAFE_INTEGER : high * 0x1_0000_0000 + low;
  }
  #u64b(at: number): bigint {
    return getU64b(this.#bytes, this.#at + unionAt + at);
  }
  #u32(at: number): number {
    return getU32(this.#bytes, this.#at + unionAt + at);
  }
  #u8(at: number): number {
    return this.#bytes[this.#at + unionAt + at]!;
  }

  // extent: READ, WRITE, ZERO, TRUNCATE, ...
  get offset(): number {
    return this.#u64(0);
  }
  get length(): number {
    return this.#u64(8);
  }
  get truncateSize(): number {
    return this.#u64(16);
  }
  get truncateSeq(): number {
    return this.#u32(24);
  }
  // xattr
  get nameLength(): number {
    return this.#u32(0);
  }
  get valueLength(): number {
    return this.#u32(4);
  }
  get cmpOp(): number {
    return this.#u8(8);
  }
  get cmpMode(): number {
    return this.#u8(9);
  }
  // cls
  get classLength(): number {
    return this.#u8(0);
  }
  get methodLength(): number {
    return this.#u8(1);
  }
  get indataLength(): number {
    return this.#u32(3);
  }
  // pgls
  get count(): number {
    return this.#u64(0);
  }
  get startEpoch(): number {
    return this.#u32(8);
  }
  // snap (ROLLBACK)
  get snapId(): bigint {
    return this.#u64b(0);
  }
  // watch, notify
  get cookie(): bigint {
    return this.#u64b(0);
  }
  get watchVersion(): number {
    return this.#u64(8);
  }
  get watchOp(): number {
    return this.#u8(16);
  }
  get watchGeneration(): number {
    return this.#u32(17);
  }
  /** Seconds; 0 asks for the default. */
  get watchTimeout(): number {
    return this.#u32(21);
  }
  // assert_ver
  get assertVersion(): number {
    return this.#u64(8);
  }
  // copy_from
  get copySnapId(): bigint {
    return this.#u64b(0);
  }
  get copyVersion(): number {
    return this.#u64(8);
  }
  get copyFlags(): number {
    return this.#u8(16);
  }
  get copyFadvise(): number {
    return this.#u32(17);
  }
  // alloc_hint
  get expectedObjectSize(): number {
    return this.#u64(0);
  }
  get expectedWriteSize(): number {
    return this.#u64(8);
  }
  get allocHintFlags(): number {
    return this.#u32(16);
  }
  // writesame: offset and length as extent
  get writesameDataLength(): number {
    return this.#u64(16);
  }
  // checksum: offset and length as extent
  get checksumChunk(): number {
    return this.#u32(16);
  }
  get checksumType(): number {
    return this.#u8(20);
  }
}

const noBytes = new Uint8Array(0);

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}
