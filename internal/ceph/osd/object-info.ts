import { DecodeError } from '../../base/bytes.ts';
import { Decoder, Encoder, type UTime, utimeZero } from '../wire/encoding.ts';
import {
  decodeAddr,
  decodeEntityNum,
  decodeEVersion,
  type EntityAddr,
  type EntityNum,
  type EVersion,
  encodeAddr,
  encodeEntityNum,
  encodeEVersion,
  eversionZero,
} from '../wire/types.ts';

import { type Digests, unknownDigests } from './digests.ts';

/** Xattr of every object that holds its ObjectInfo. Xattrs of clients have `_` before their names, so that ours never meet them. */
export const infoXattr = 'oi';
/** Xattr of a head (or of what is left of it) that holds its SnapSet. */
export const snapsetXattr = 'ss';
export const userXattrPrefix = '_';

/** A registered watch, as it is kept with the object. Identity is (name, cookie). */
export interface WatchInfo {
  name: EntityNum;
  cookie: bigint;
  timeoutSec: number;
  addr: EntityAddr;
}

/** What the OSD keeps with each object (`object_info_t` in our own format). Never changed in place: a write makes a new one. */
export interface ObjectInfo extends Digests {
  version: EVersion;
  /** What clients see as the version; 0 until the first write by a client. */
  userVersion: number;
  mtime: UTime;
  size: number;
  truncateSeq: number;
  truncateSize: number;
  /** The head is deleted but clones of it live: clients see nothing here. */
  whiteout: boolean;
  /** Has or had omap entries: for statistics. */
  omap: boolean;
  expectedObjectSize: number;
  expectedWriteSize: number;
  allocHintFlags: number;
  watchers: readonly WatchInfo[];
}

export const noObject: ObjectInfo = Object.freeze({
  version: eversionZero,
  userVersion: 0,
  mtime: utimeZero,
  size: 0,
  truncateSeq: 0,
  truncateSize: 0,
  whiteout: false,
  omap: false,
  expectedObjectSize: 0,
  expectedWriteSize: 0,
  allocHintFlags: 0,
  watchers: [],
  ...unknownDigests,
});

const FLAG_WHITEOUT = 1;
const FLAG_OMAP = 2;
const FLAG_HINT = 4;
const FLAG_TRUNC = 8;
const FLAG_DATA_DIGEST = 16;
const FLAG_OMAP_DIGEST = 32;
/** 2 when it has digests. */
const infoVersion = 2;

export function encodeObjectInfo(i: ObjectInfo): Uint8Array {
  const e = new Encoder(64);
  const hint = i.expectedObjectSize !== 0 || i.expectedWriteSize !== 0 || i.allocHintFlags !== 0;
  const trunc = i.truncateSeq !== 0 || i.truncateSize !== 0;
  const { dataDigest, omapDigest } = i;
  e.u8(dataDigest === undefined && omapDigest === undefined ? 1 : infoVersion).u8(
    (i.whiteout ? FLAG_WHITEOUT : 0) |
      (i.omap ? FLAG_OMAP : 0) |
      (hint ? FLAG_HINT : 0) |
      (trunc ? FLAG_TRUNC : 0) |
      (dataDigest === undefined ? 0 : FLAG_DATA_DIGEST) |
      (omapDigest === undefined ? 0 : FLAG_OMAP_DIGEST),
  );
  encodeEVersion(e, i.version);
  e.u64(i.userVersion).utime(i.mtime).u64(i.size);
  if (trunc) e.u32(i.truncateSeq).u64(i.truncateSize);
  if (hint) e.u64(i.expectedObjectSize).u64(i.expectedWriteSize).u32(i.allocHintFlags);
  if (dataDigest !== undefined) e.u32(dataDigest);
  if (omapDigest !== undefined) e.u32(omapDigest);
  e.u16(i.watchers.length);
  for (const w of i.watchers) {
    encodeEntityNum(e, w.name);
    e.u64b(w.cookie).u32(w.timeoutSec);
    encodeAddr(e, w.addr);
  }
  return e.finish();
}

export function decodeObjectInfo(bytes: Uint8Array): ObjectInfo {
  const d = new Decoder(bytes);
  const format = d.u8();
  if (format !== 1 && format !== infoVersion)
    throw new DecodeError(`object info of version ${format}, this one knows ${infoVersion}`);
  const flags = d.u8();
  const version = decodeEVersion(d);
  const userVersion = d.u64();
  const mtime = d.utime();
  const size = d.u64();
  const truncateSeq = flags & FLAG_TRUNC ? d.u32() : 0;
  const truncateSize = flags & FLAG_TRUNC ? d.u64() : 0;
  const expectedObjectSize = flags & FLAG_HINT ? d.u64() : 0;
  const expectedWriteSize = flags & FLAG_HINT ? d.u64() : 0;
  const allocHintFlags = flags & FLAG_HINT ? d.u32() : 0;
  const dataDigest = flags & FLAG_DATA_DIGEST ? d.u32() : undefined;
  const omapDigest = flags & FLAG_OMAP_DIGEST ? d.u32() : undefined;
  const count = d.u16();
  const watchers: WatchInfo[] = [];
  for (let n = 0; n < count; n++)
    watchers.push({ name: decodeEntityNum(d), cookie: d.u64b(), timeoutSec: d.u32(), addr: decodeAddr(d) });
  return {
    version,
    userVersion,
    mtime,
    size,
    truncateSeq,
    truncateSize,
    whiteout: (flags & FLAG_WHITEOUT) !== 0,
    omap: (flags & FLAG_OMAP) !== 0,
    expectedObjectSize,
    expectedWriteSize,
    allocHintFlags,
    watchers,
    dataDigest,
    omapDigest,
  };
}

/** Ranges [offset, length], ascending, not touching. */
export type Ranges = readonly (readonly [offset: number, length: number])[];

/** A clone of an object: its content as snapshots up to `id` saw it. */
export interface CloneInfo {
  id: bigint;
  size: number;
  /** Snapshots that this clone serves, newest first. */
  snaps: readonly bigint[];
  /** Bytes that are the same in the next newer clone or the head. */
  overlap: Ranges;
}

/** `SnapSet`: an object's clones, oldest first. */
export interface SnapSet {
  /** Newest snapshot that a write to the head knew of. */
  seq: bigint;
  clones: readonly CloneInfo[];
}

export const noSnapSet: SnapSet = Object.freeze({ seq: 0n, clones: [] });

export function encodeSnapSet(s: SnapSet): Uint8Array {
  const e = new Encoder(64);
  e.u8(1).u64b(s.seq);
  e.list(s.clones, (_, c) => {
    e.u64b(c.id).u64(c.size);
    e.list(c.snaps, (_x, snap) => e.u64b(snap));
    e.list(c.overlap, (_x, [offset, length]) => e.u64(offset).u64(length));
  });
  return e.finish();
}

export function decodeSnapSet(bytes: Uint8Array): SnapSet {
  const d = new Decoder(bytes);
  const format = d.u8();
  if (format !== 1) throw new DecodeError(`snapset of version ${format}, this one knows 1`);
  return {
    seq: d.u64b(),
    clones: d.list(() => ({
      id: d.u64b(),
      size: d.u64(),
      snaps: d.list((x) => x.u64b(), 8),
      overlap: d.list((x): [number, number] => [x.u64(), x.u64()], 16),
    })),
  };
}

/** `ranges` without [offset, offset+length). */
export function subtractRange(ranges: Ranges, offset: number, length: number): Ranges {
  if (length <= 0) return ranges;
  const end = offset + length;
  const out: [number, number][] = [];
  for (const [at, n] of ranges) {
    const stop = at + n;
    if (stop <= offset || at >= end) {
      out.push([at, n]);
      continue;
    }
    if (at < offset) out.push([at, offset - at]);
    if (stop > end) out.push([end, stop - end]);
  }
  return out;
}

/** Bytes in common. */
export function intersectRanges(a: Ranges, b: Ranges): Ranges {
  const out: [number, number][] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const [ao, al] = a[i]!;
    const [bo, bl] = b[j]!;
    const from = Math.max(ao, bo);
    const to = Math.min(ao + al, bo + bl);
    if (from < to) out.push([from, to - from]);
    if (ao + al < bo + bl) i++;
    else j++;
  }
  return out;
}

/** Total length. */
export function rangesLength(ranges: Ranges): number {
  let sum = 0;
  for (const [, n] of ranges) sum += n;
  return sum;
}
