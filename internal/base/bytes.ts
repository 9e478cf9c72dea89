import { AppError } from './errors.ts';

/** Thrown by readers on input that is too short, too long or out of bounds; never on our own data structures. */
export class DecodeError extends AppError {
  constructor(message: string) {
    super('DECODE', message);
  }
}

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder();

export const emptyBytes = new Uint8Array(0);

/**
 * Memory that still holds what it held before, for a caller that writes all of it before anybody reads it. Zeroing a large buffer that is
 * about to be filled costs more than filling it.
 */
export function unfilledBytes(length: number): Uint8Array {
  return length < 1024 ? new Uint8Array(length) : new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
}

export function utf8(text: string): Uint8Array {
  return utf8Encoder.encode(text);
}

export function utf8Text(bytes: Uint8Array): string {
  return utf8Decoder.decode(bytes);
}

/** The pieces as one array; the piece itself when there is only one. For small things: payloads travel as lists of views. */
export function concatBytes(pieces: readonly Uint8Array[]): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  let length = 0;
  for (const piece of pieces) length += piece.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

/** Grows as it is written; all integers little-endian. */
export class ByteWriter {
  protected buffer: Uint8Array;
  protected view: DataView;
  protected length = 0;

  constructor(capacity = 256) {
    this.buffer = new Uint8Array(capacity);
    this.view = new DataView(this.buffer.buffer);
  }

  /** Bytes written so far. */
  get size(): number {
    return this.length;
  }

  protected reserve(count: number): number {
    const at = this.length;
    const need = at + count;
    if (need > this.buffer.length) {
      const grown = new Uint8Array(Math.max(need, this.buffer.length * 2));
      grown.set(this.buffer.subarray(0, at));
      this.buffer = grown;
      this.view = new DataView(grown.buffer);
    }
    this.length = need;
    return at;
  }

  u8(value: number): this {
    const at = this.reserve(1);
    this.view.setUint8(at, value);
    return this;
  }
  u16(value: number): this {
    const at = this.reserve(2);
    this.view.setUint16(at, value, true);
    return this;
  }
  u32(value: number): this {
    const at = this.reserve(4);
    this.view.setUint32(at, value, true);
    return this;
  }
  s32(value: number): this {
    const at = this.reserve(4);
    this.view.setInt32(at, value, true);
    return this;
  }
  /** A 64-bit integer held exactly in a double (|value| <= 2^53 - 1); negative values wrap to two's complement. */
  u64(value: number): this {
    if (!Number.isSafeInteger(value)) throw new RangeError(`u64: ${value} is not a safe integer`);
    const at = this.reserve(8);
    this.view.setUint32(at, value % 0x1_0000_0000, true);
    this.view.setInt32(at + 4, Math.floor(value / 0x1_0000_0000), true);
    return this;
  }
  /** A 64-bit integer of any value; negative values wrap to two's complement. */
  u64b(value: bigint): this {
    const at = this.reserve(8);
    this.view.setBigUint64(at, BigInt.asUintN(64, value), true);
    return this;
  }
  f32(value: number): this {
    const at = this.reserve(4);
    this.view.setFloat32(at, value, true);
    return this;
  }
  f64(value: number): this {
    const at = this.reserve(8);
    this.view.setFloat64(at, value, true);
    return this;
  }
  bytes(value: Uint8Array): this {
    const at = this.reserve(value.length);
    this.buffer.set(value, at);
    return this;
  }
  zeros(count: number): this {
    const at = this.reserve(count);
    this.buffer.fill(0, at, at + count);
    return this;
  }
  /** Overwrites four bytes written before, for lengths known only afterwards. */
  patchU32(at: number, value: number): this {
    this.view.setUint32(at, value, true);
    return this;
  }
  /** What was written, as a view: the writer must not be used afterwards. */
  finish(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }
}

/** Reads what a ByteWriter wrote, never past its end; every overrun is a DecodeError. */
export class ByteReader {
  protected readonly view: DataView;
  /** Offset of the next byte. */
  at = 0;
  /** Offset behind the last byte that may be read. */
  end: number;

  constructor(readonly source: Uint8Array) {
    this.view = new DataView(source.buffer, source.byteOffset, source.byteLength);
    this.end = source.length;
  }

  get remaining(): number {
    return this.end - this.at;
  }

  protected take(count: number): number {
    const at = this.at;
    if (count < 0 || count > this.end - at)
      throw new DecodeError(`needs ${count} bytes at offset ${at}, has ${this.end - at}`);
    this.at = at + count;
    return at;
  }

  u8(): number {
    return this.view.getUint8(this.take(1));
  }
  u16(): number {
    return this.view.getUint16(this.take(2), true);
  }
  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }
  s32(): number {
    return this.view.getInt32(this.take(4), true);
  }
  /** An unsigned 64-bit integer that must fit a double exactly. */
  u64(): number {
    const at = this.take(8);
    const value = this.view.getUint32(at + 4, true) * 0x1_0000_0000 + this.view.getUint32(at, true);
    if (value > Number.MAX_SAFE_INTEGER) throw new DecodeError(`64-bit value at offset ${at} is beyond 2^53`);
    return value;
  }
  /** A signed 64-bit integer that must fit a double exactly. */
  s64(): number {
    const at = this.take(8);
    const value = this.view.getInt32(at + 4, true) * 0x1_0000_0000 + this.view.getUint32(at, true);
    if (!Number.isSafeInteger(value)) throw new DecodeError(`64-bit value at offset ${at} is beyond 2^53`);
    return value;
  }
  u64b(): bigint {
    return this.view.getBigUint64(this.take(8), true);
  }
  f32(): number {
    return this.view.getFloat32(this.take(4), true);
  }
  f64(): number {
    return this.view.getFloat64(this.take(8), true);
  }
  /** A view of the next `count` bytes, not a copy. */
  bytes(count: number): Uint8Array {
    const at = this.take(count);
    // The whole stays the same view: its checksum may be known.
    return count === this.source.length ? this.source : this.source.subarray(at, at + count);
  }
  skip(count: number): this {
    this.take(count);
    return this;
  }
  /** A view of everything left. */
  rest(): Uint8Array {
    return this.bytes(this.remaining);
  }
}
