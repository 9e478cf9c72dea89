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

/** Below this, zeroing costs less than going round it: that takes a second object and its `buffer`. */
const unfilledFromBytes = 16 * 1024;

/**
 * Memory that still holds what it held before, for a caller that writes all of it before anybody reads it. Zeroing a large buffer that is
 * about to be filled costs more than filling it.
 */
export function unfilledBytes(length: number): Uint8Array {
  return length < unfilledFromBytes ? new Uint8Array(length) : new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
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

/*
 * Little-endian integers by hand and not by a DataView: that asks a fresh array for its `buffer`, which costs JavaScriptCore more than encoding a small
 * message.
 */

export function getU16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

export function getU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

export function putU16(into: Uint8Array, at: number, value: number): void {
  into[at] = value;
  into[at + 1] = value >>> 8;
}

export function putU32(into: Uint8Array, at: number, value: number): void {
  into[at] = value;
  into[at + 1] = value >>> 8;
  into[at + 2] = value >>> 16;
  into[at + 3] = value >>> 24;
}

/** An integer of up to 53 bits; negative ones wrap to two's complement. */
export function putU64(into: Uint8Array, at: number, value: number): void {
  putU32(into, at, value);
  putU32(into, at + 4, Math.floor(value / 0x1_0000_0000));
}

/** Where the two halves of a 64-bit value meet: written as one type, read as another. */
const halves = new Uint32Array(2);
const asBigInt = new BigUint64Array(halves.buffer);
const asFloat32 = new Float32Array(halves.buffer);
const asFloat64 = new Float64Array(halves.buffer);

/** An unsigned 64-bit integer of any value. */
export function getU64b(bytes: Uint8Array, at: number): bigint {
  halves[0] = getU32(bytes, at);
  halves[1] = getU32(bytes, at + 4);
  return asBigInt[0]!;
}

/** A 64-bit integer of any value; negative ones wrap to two's complement. */
export function putU64b(into: Uint8Array, at: number, value: bigint): void {
  asBigInt[0] = value;
  putU32(into, at, halves[0]!);
  putU32(into, at + 4, halves[1]!);
}

/** Writers begin in memory of this size that the next one uses again; what outgrows it gets its own. */
const scratchBytes = 4096;
const maxScratches = 16;
const scratches: Uint8Array[] = [];

/** Grows as it is written; all integers little-endian. */
export class ByteWriter {
  protected buffer: Uint8Array;
  protected length = 0;
  /** `buffer` is a scratch: the result is a copy. */
  #scratch: boolean;

  /** `capacity`: bytes that are expected. */
  constructor(capacity = 256) {
    this.#scratch = capacity <= scratchBytes;
    this.buffer = this.#scratch ? (scratches.pop() ?? new Uint8Array(scratchBytes)) : new Uint8Array(capacity);
  }

  /** Bytes written so far. */
  get size(): number {
    return this.length;
  }

  protected reserve(count: number): number {
    const at = this.length;
    const need = at + count;
    if (need > this.buffer.length) {
      if (this.buffer.length === 0) throw new RangeError('a writer is used after it was finished');
      const grown = new Uint8Array(Math.max(need, this.buffer.length * 2));
      grown.set(this.buffer.subarray(0, at));
      this.#giveScratch();
      this.buffer = grown;
    }
    this.length = need;
    return at;
  }

  #giveScratch(): void {
    if (this.#scratch && scratches.length < maxScratches) scratches.push(this.buffer);
    this.#scratch = false;
  }

  u8(value: number): this {
    const at = this.reserve(1);
    this.buffer[at] = value;
    return this;
  }
  u16(value: number): this {
    const at = this.reserve(2);
    putU16(this.buffer, at, value);
    return this;
  }
  u32(value: number): this {
    const at = this.reserve(4);
    putU32(this.buffer, at, value);
    return this;
  }
  s32(value: number): this {
    return this.u32(value);
  }
  /** A 64-bit integer held exactly in a double (|value| <= 2^53 - 1); negative values wrap to two's complement. */
  u64(value: number): this {
    if (!Number.isSafeInteger(value)) throw new RangeError(`u64: ${value} is not a safe integer`);
    const at = this.reserve(8);
    putU64(this.buffer, at, value);
    return this;
  }
  /** A 64-bit integer of any value; negative values wrap to two's complement. */
  u64b(value: bigint): this {
    const at = this.reserve(8);
    putU64b(this.buffer, at, value);
    return this;
  }
  f32(value: number): this {
    asFloat32[0] = value;
    return this.u32(halves[0]!);
  }
  f64(value: number): this {
    asFloat64[0] = value;
    return this.u32(halves[0]!).u32(halves[1]!);
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
    putU32(this.buffer, at, value);
    return this;
  }
  /** What was written: the writer must not be used afterwards. */
  finish(): Uint8Array {
    const { buffer, length } = this;
    if (buffer.length === 0) throw new RangeError('a writer is finished twice');
    const out = this.#scratch ? buffer.slice(0, length) : buffer.subarray(0, length);
    this.#giveScratch();
    this.buffer = emptyBytes;
    this.length = 0;
    return out;
  }
}

/** Reads what a ByteWriter wrote, never past its end; every overrun is a DecodeError. */
export class ByteReader {
  /** Offset of the next byte. */
  at = 0;
  /** Offset behind the last byte that may be read. */
  end: number;

  constructor(readonly source: Uint8Array) {
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
    return this.source[this.take(1)]!;
  }
  u16(): number {
    return getU16(this.source, this.take(2));
  }
  u32(): number {
    return getU32(this.source, this.take(4));
  }
  s32(): number {
    return getU32(this.source, this.take(4)) | 0;
  }
  /** An unsigned 64-bit integer that must fit a double exactly. */
  u64(): number {
    const at = this.take(8);
    const value = getU32(this.source, at + 4) * 0x1_0000_0000 + getU32(this.source, at);
    if (value > Number.MAX_SAFE_INTEGER) throw new DecodeError(`64-bit value at offset ${at} is beyond 2^53`);
    return value;
  }
  /** A signed 64-bit integer that must fit a double exactly. */
  s64(): number {
    const at = this.take(8);
    const value = (getU32(this.source, at + 4) | 0) * 0x1_0000_0000 + getU32(this.source, at);
    if (!Number.isSafeInteger(value)) throw new DecodeError(`64-bit value at offset ${at} is beyond 2^53`);
    return value;
  }
  u64b(): bigint {
    return getU64b(this.source, this.take(8));
  }
  f32(): number {
    halves[0] = this.u32();
    return asFloat32[0]!;
  }
  f64(): number {
    halves[0] = this.u32();
    halves[1] = this.u32();
    return asFloat64[0]!;
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
