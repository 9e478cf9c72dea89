/**
 * The journal on disk, version 1. A directory holds segments `seg-<16 hex digits of the sequence>` and files `spare-<n>` that wait to become
 * one. A segment is one header block and records behind each other from `headerBytes` on, each aligned to 8 bytes. What follows the last
 * record is whatever the file held before.
 *
 * Two facts keep old bytes from being replayed. The checksums of a record start from a salt of journal and sequence, so records of an earlier
 * use of a recycled file never verify. Every open takes a new epoch, and epochs do not fall within a segment, so a record that a power loss
 * left stranded behind the tail is not taken up when a later life has filled the gap before it.
 *
 * A journal that was closed ends in a mark: the header of a record of index 0, which no record has. It stands where the next record will be and says
 * with its `durable` that everything before was on disk. A program that does not know it finds no next record there.
 */
import { rawCrc32c } from '../base/crc32c.ts';

export const formatVersion = 1;
/** Records begin here. */
export const headerBytes = 4096;
/** Bytes of a record before its payload. */
export const recordHeaderBytes = 48;
export const recordAlignment = 8;
/** In place of a record's index. */
export const endMarkIndex = 0;

const segmentMagic = 0x314c_4a41; // AJL1
export const recordMagic = 0x4345_524a; // JREC
/** Of the segment header, what is in use; within one sector, so that it is written whole or not at all. */
const segmentHeaderUsed = 64;

export interface SegmentHeader {
  journalId: number;
  sequence: number;
  /** Index of the first record. */
  firstIndex: number;
  /** Epoch of the life that began the segment. */
  epoch: number;
  /** Bytes of the file. */
  size: number;
}

export interface RecordHeader {
  length: number;
  type: number;
  index: number;
  /** Every record up to this index was on disk when this one was written: if one of those is not readable, the disk lost it. */
  durable: number;
  epoch: number;
  payloadCrc: number;
}

export function segmentName(sequence: number): string {
  return `seg-${sequence.toString(16).padStart(16, '0')}`;
}

export function parseSegmentName(name: string): number | undefined {
  return /^seg-[0-9a-f]{16}$/.test(name) ? Number.parseInt(name.slice(4), 16) : undefined;
}

export function isSpareName(name: string): boolean {
  return /^spare-\d+$/.test(name);
}

/** Where the checksums of a segment's records start. */
export function recordSalt(header: SegmentHeader): number {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setFloat64(0, header.journalId, true);
  view.setFloat64(8, header.sequence, true);
  return rawCrc32c(0xffffffff, bytes);
}

/** The header as the first block of the file. */
export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const block = new Uint8Array(headerBytes);
  const view = new DataView(block.buffer);
  view.setUint32(0, segmentMagic, true);
  view.setUint16(4, formatVersion, true);
  setU64(view, 8, header.journalId);
  setU64(view, 16, header.sequence);
  setU64(view, 24, header.firstIndex);
  setU64(view, 32, header.size);
  view.setUint32(40, header.epoch, true);
  view.setUint32(segmentHeaderUsed - 4, rawCrc32c(0xffffffff, block.subarray(0, segmentHeaderUsed - 4)), true);
  return block;
}

/** The header, or what is wrong with it. */
export function decodeSegmentHeader(block: Uint8Array): SegmentHeader | string {
  if (block.length < segmentHeaderUsed) return 'the file is shorter than a segment header';
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  if (view.getUint32(0, true) !== segmentMagic) return 'it does not begin with a segment header';
  if (view.getUint32(segmentHeaderUsed - 4, true) !== rawCrc32c(0xffffffff, block.subarray(0, segmentHeaderUsed - 4)))
    return 'the checksum of the segment header is wrong';
  const version = view.getUint16(4, true);
  if (version !== formatVersion) return `format version ${version}; this program knows version ${formatVersion}`;
  return {
    journalId: getU64(view, 8),
    sequence: getU64(view, 16),
    firstIndex: getU64(view, 24),
    size: getU64(view, 32),
    epoch: view.getUint32(40, true),
  };
}

/** Bytes a record takes in the file. */
export function recordBytes(payloadLength: number): number {
  const bytes = recordHeaderBytes + payloadLength;
  return bytes + ((recordAlignment - (bytes % recordAlignment)) % recordAlignment);
}

/** Writes a record's header at `at` of `into`; `view` is over the same bytes. */
export function encodeRecordHeader(
  into: Uint8Array,
  view: DataView,
  at: number,
  record: RecordHeader,
  salt: number,
): void {
  view.setUint32(at, recordMagic, true);
  view.setUint32(at + 4, record.length, true);
  setU64(view, at + 8, record.index);
  setU64(view, at + 16, record.durable);
  view.setUint32(at + 24, record.epoch, true);
  view.setUint16(at + 28, record.type, true);
  view.setUint16(at + 30, 0, true);
  view.setUint32(at + 32, record.payloadCrc, true);
  view.setUint32(at + 36, 0, true);
  view.setUint32(at + 40, 0, true);
  view.setUint32(at + 44, rawCrc32c(salt, into.subarray(at, at + 44)), true);
}

/** What a journal that is closed ends in: every record up to `durable` is on disk. */
export function encodeEndMark(durable: number, epoch: number, salt: number): Uint8Array {
  const bytes = new Uint8Array(recordHeaderBytes);
  const record = { length: 0, type: 0, index: endMarkIndex, durable, epoch, payloadCrc: salt };
  encodeRecordHeader(bytes, new DataView(bytes.buffer), 0, record, salt);
  return bytes;
}

/** The header of a record, or undefined when these bytes are not one of this segment. */
export function decodeRecordHeader(bytes: Uint8Array, salt: number): RecordHeader | undefined {
  if (bytes.length < recordHeaderBytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== recordMagic) return undefined;
  if (view.getUint32(44, true) !== rawCrc32c(salt, bytes.subarray(0, 44))) return undefined;
  return {
    length: view.getUint32(4, true),
    index: getU64(view, 8),
    durable: getU64(view, 16),
    epoch: view.getUint32(24, true),
    type: view.getUint16(28, true),
    payloadCrc: view.getUint32(32, true),
  };
}

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x1_0000_0000, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

function getU64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);
}
