import { DecodeError } from '../../../base/bytes.ts';
import { rawCrc32c } from '../../../base/crc32c.ts';
import { Decoder, Encoder } from '../../wire/encoding.ts';

/** CRCs cover blocks of this many bytes of data. */
const blockBytes = 4096;
const perByte = 4;

/** u32 length, versioned structure around the u64 size. */
const headerBytes = 18;

/**
 * `BitVector<2>` (`src/common/bit_vector.hpp`): two bits for each object of an image, the first object in the highest bits of a byte. On disk: header
 * with the size, data, footer with CRCs of the header and of each block of data.
 */
export class BitVector {
  #size = 0;
  data = new Uint8Array(0);

  get size(): number {
    return this.#size;
  }

  /** New elements are 0. */
  resize(size: number): void {
    const bytes = Math.ceil(size / perByte);
    const data = new Uint8Array(bytes);
    data.set(this.data.subarray(0, bytes));
    this.data = data;
    this.#size = size;
  }

  get(i: number): number {
    return (this.data[Math.floor(i / perByte)]! >> ((perByte - 1 - (i % perByte)) * 2)) & 3;
  }

  set(i: number, value: number): void {
    const at = Math.floor(i / perByte);
    const shift = (perByte - 1 - (i % perByte)) * 2;
    this.data[at] = (this.data[at]! & ~(3 << shift)) | ((value & 3) << shift);
  }

  /** The whole vector; without CRCs the footer is empty. */
  encode(crcs: boolean): Uint8Array {
    const e = new Encoder(this.data.length + 64);
    const header = encodeHeader(this.#size);
    e.blob(header).bytes(this.data);
    const footerAt = e.size;
    e.u32(0);
    if (crcs) {
      e.u32(rawCrc32c(0, header)).u32(Math.ceil(this.data.length / blockBytes));
      for (let at = 0; at < this.data.length; at += blockBytes)
        e.u32(rawCrc32c(0, this.data.subarray(at, at + blockBytes)));
      e.patchU32(footerAt, e.size - footerAt - 4);
    }
    return e.finish();
  }

  static decode(bytes: Uint8Array, maxSize: number): BitVector {
    return BitVector.read(new Decoder(bytes), maxSize);
  }

  /** Reads a vector; wrong CRCs and more than `maxSize` elements are DecodeErrors. */
  static read(d: Decoder, maxSize: number): BitVector {
    const header = d.blob();
    const size = decodeHeader(header, maxSize);
    const vector = new BitVector();
    vector.#size = size;
    vector.data = d.bytes(Math.ceil(size / perByte)).slice();
    const footer = new Decoder(d.blob());
    if (footer.remaining === 0) return vector;
    if (footer.u32() !== rawCrc32c(0, header)) throw new DecodeError('object map: header CRC is wrong');
    const blocks = footer.count(4);
    if (blocks !== Math.ceil(vector.data.length / blockBytes))
      throw new DecodeError(`object map: ${blocks} CRCs for ${vector.data.length} bytes`);
    for (let i = 0; i < blocks; i++) checkBlock(footer.u32(), vector.data, i);
    return vector;
  }
}

function encodeHeader(size: number): Uint8Array {
  const e = new Encoder(14);
  e.struct(1, 1, () => e.u64(size));
  return e.finish();
}

function decodeHeader(bytes: Uint8Array, maxSize: number): number {
  const size = new Decoder(bytes).struct('BitVector', 1, (d) => d.u64());
  if (size > maxSize) throw new DecodeError(`object map: ${size} objects, at most ${maxSize} are possible`);
  return size;
}

function checkBlock(crc: number, data: Uint8Array, block: number): void {
  if (crc !== rawCrc32c(0, data.subarray(block * blockBytes, (block + 1) * blockBytes)))
    throw new DecodeError(`object map: CRC of block ${block} is wrong`);
}

/** Where in a stored vector the elements [first, end) are, in whole blocks, and their CRCs. */
export interface BitVectorWindow {
  size: number;
  /** Of the first byte of data, in the data. */
  dataAt: number;
  dataBytes: number;
  /** In the object. */
  objectAt: number;
  crcAt: number;
  crcBytes: number;
}

export const bitVectorHeaderBytes = headerBytes;

/** Reads the header (its first `bitVectorHeaderBytes`). */
export function bitVectorSize(header: Uint8Array, maxSize: number): number {
  return decodeHeader(new Decoder(header).blob(), maxSize);
}

export function bitVectorWindow(size: number, first: number, end: number): BitVectorWindow {
  const total = Math.ceil(size / perByte);
  const firstBlock = Math.floor(Math.floor(first / perByte) / blockBytes);
  const lastBlock = Math.floor(Math.floor((end - 1) / perByte) / blockBytes);
  const dataAt = firstBlock * blockBytes;
  return {
    size,
    dataAt,
    dataBytes: Math.min((lastBlock + 1) * blockBytes, total) - dataAt,
    objectAt: headerBytes + dataAt,
    // Behind the data: length of the footer, header CRC, number of CRCs.
    crcAt: headerBytes + total + 12 + firstBlock * 4,
    crcBytes: (lastBlock - firstBlock + 1) * 4,
  };
}

/** The CRCs of a window's blocks, as they stand in the footer. */
export function windowCrcs(data: Uint8Array): Uint8Array {
  const e = new Encoder(16);
  for (let at = 0; at < data.length; at += blockBytes) e.u32(rawCrc32c(0, data.subarray(at, at + blockBytes)));
  return e.finish();
}

/** Elements of a window's data. */
export function windowGet(w: BitVectorWindow, data: Uint8Array, i: number): number {
  return (data[Math.floor(i / perByte) - w.dataAt]! >> ((perByte - 1 - (i % perByte)) * 2)) & 3;
}
export function windowSet(w: BitVectorWindow, data: Uint8Array, i: number, value: number): void {
  const at = Math.floor(i / perByte) - w.dataAt;
  const shift = (perByte - 1 - (i % perByte)) * 2;
  data[at] = (data[at]! & ~(3 << shift)) | ((value & 3) << shift);
}
