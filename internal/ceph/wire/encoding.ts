import { ByteReader, ByteWriter, DecodeError, getU32, putU32, utf8 } from '../../base/bytes.ts';

/** `utime_t` and `ceph_timespec`: seconds and nanoseconds, also used for durations. */
export interface UTime {
  sec: number;
  nsec: number;
}

export const utimeZero: UTime = Object.freeze({ sec: 0, nsec: 0 });

/** From milliseconds since the epoch (what `Clock.now` gives). */
export function utimeFromMs(ms: number): UTime {
  const sec = Math.floor(ms / 1000);
  return { sec, nsec: Math.floor((ms - sec * 1000) * 1e6) };
}

/** Negative: `a` is earlier. */
export function compareUTime(a: UTime, b: UTime): number {
  return a.sec - b.sec || a.nsec - b.nsec;
}

export function utimeToMs(time: UTime): number {
  return time.sec * 1000 + time.nsec / 1e6;
}

/**
 * Strings on Ceph's wire are bytes. Bytes that are not UTF-8 are kept as lone low surrogates U+DC80..U+DCFF (as Python's surrogateescape), so
 * that every string survives decode and encode unchanged.
 */
const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Of the bytes [from, to) where these are given. */
export function textFromBytes(bytes: Uint8Array, from = 0, to = bytes.length): string {
  const text = latin1Slice.call(bytes, from, to);
  if (!beyondAscii.test(text)) return text;
  const part = bytes.subarray(from, to);
  try {
    return strictDecoder.decode(part);
  } catch {
    return escapedText(part);
  }
}

/** Node's own methods work on any Uint8Array, and unlike decoders and loops they are quick from the first call on. */
const { latin1Slice, latin1Write } = Buffer.prototype as unknown as {
  latin1Slice: (this: Uint8Array, from: number, to: number) => string;
  latin1Write: (this: Uint8Array, text: string, at: number, length: number) => number;
};
const beyondAscii = /[\u0080-\uffff]/;

function escapedText(bytes: Uint8Array): string {
  let text = '';
  let i = 0;
  while (i < bytes.length) {
    const first = bytes[i]!;
    const need = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (need === 1) {
      text += String.fromCharCode(first);
      i++;
      continue;
    }
    try {
      text += strictDecoder.decode(bytes.subarray(i, i + need));
      i += need;
    } catch {
      text += String.fromCharCode(0xdc00 | first);
      i++;
    }
  }
  return text;
}

/** The reverse of `textFromBytes`. */
export function bytesFromText(text: string): Uint8Array {
  if (text.isWellFormed()) return utf8(text);
  const out: number[] = [];
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 0xdc80 && c <= 0xdcff) out.push(c & 0xff);
    else {
      const pair = c >= 0xd800 && c < 0xdc00 ? text.slice(i, i + 2) : text[i]!;
      if (pair.length === 2 && !pair.isWellFormed()) out.push(...utf8(text[i]!));
      else {
        out.push(...utf8(pair));
        i += pair.length - 1;
      }
    }
  }
  return Uint8Array.from(out);
}

/** Order of `std::string`: by bytes. (JavaScript compares UTF-16 units, which differs beyond U+FFFF and for escaped bytes.) */
export function compareText(a: string, b: string): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    if (x < 0xd800 && y < 0xd800) return x - y;
    return Buffer.compare(bytesFromText(a), bytesFromText(b));
  }
  return a.length - b.length;
}

/** Writes Ceph's encodings (`src/include/encoding.h`): little-endian, u32 counts and lengths. */
export class Encoder extends ByteWriter {
  bool(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }

  s8(value: number): this {
    return this.u8(value & 0xff);
  }

  s16(value: number): this {
    return this.u16(value & 0xffff);
  }

  /** Signed 64-bit; also -2^63, which a double holds exactly (the pool of an `hobject_t` that is "min"). */
  s64(value: number): this {
    if (Number.isSafeInteger(value)) return this.u64(value);
    return this.u64b(BigInt(value));
  }

  /** u32 length and the bytes of the text. */
  string(text: string): this {
    if (beyondAscii.test(text)) return this.blob(bytesFromText(text));
    const { length } = text;
    const at = this.reserve(4 + length);
    putU32(this.buffer, at, length);
    latin1Write.call(this.buffer, text, at + 4, length);
    return this;
  }

  /** A `bufferlist` or byte string: u32 length and the bytes. */
  blob(bytes: Uint8Array): this {
    this.u32(bytes.length);
    return this.bytes(bytes);
  }

  /** A `bufferlist` given in pieces. */
  blobs(pieces: readonly Uint8Array[]): this {
    let length = 0;
    for (const piece of pieces) length += piece.length;
    this.u32(length);
    for (const piece of pieces) this.bytes(piece);
    return this;
  }

  /** `vector`, `list`, `deque`; also `set` when the items come sorted. */
  list<T>(items: Iterable<T> & ({ length: number } | { size: number }), item: (e: this, value: T) => void): this {
    this.u32('length' in items ? items.length : items.size);
    for (const value of items) item(this, value);
    return this;
  }

  /** `map` in the iteration order given: the caller keeps it sorted by key, as `std::map` is. */
  map<K, V>(entries: ReadonlyMap<K, V>, key: (e: this, key: K) => void, value: (e: this, value: V) => void): this {
    this.u32(entries.size);
    for (const [k, v] of entries) {
      key(this, k);
      value(this, v);
    }
    return this;
  }

  /** `map<s32|s64|u32|u64, V>`: sorted here by number. */
  numberMap<V>(
    entries: ReadonlyMap<number, V>,
    key: (e: this, key: number) => void,
    value: (e: this, value: V) => void,
  ): this {
    this.u32(entries.size);
    for (const k of [...entries.keys()].sort((a, b) => a - b)) {
      key(this, k);
      value(this, entries.get(k)!);
    }
    return this;
  }

  /** `map<string, V>`: sorted here. */
  stringMap<V>(entries: ReadonlyMap<string, V>, value: (e: this, value: V) => void): this {
    this.u32(entries.size);
    for (const k of [...entries.keys()].sort(compareText)) {
      this.string(k);
      value(this, entries.get(k)!);
    }
    return this;
  }

  /** `map<string, string>`. */
  stringStringMap(entries: ReadonlyMap<string, string>): this {
    return this.stringMap(entries, (e, v) => e.string(v));
  }

  /** `set<string>`: sorted here. */
  stringSet(items: Iterable<string>): this {
    return this.list([...items].sort(compareText), (e, v) => e.string(v));
  }

  /** `std::optional`. */
  optional<T>(value: T | undefined, item: (e: this, value: T) => void): this {
    if (value === undefined) return this.u8(0);
    this.u8(1);
    item(this, value);
    return this;
  }

  utime(time: UTime): this {
    return this.u32(time.sec).u32(time.nsec);
  }

  /** `uuid_d` from its text form. */
  uuid(text: string): this {
    const hex = text.replaceAll('-', '');
    if (!/^[0-9a-fA-F]{32}$/.test(hex)) throw new RangeError(`not a UUID: ${text}`);
    return this.bytes(Buffer.from(hex, 'hex'));
  }

  /** Opens a versioned structure (`ENCODE_START`); give the result to `close`. */
  open(version: number, compat: number): number {
    this.u8(version).u8(compat);
    return this.reserve(4);
  }

  /** Closes the structure: patches its length. */
  close(at: number): this {
    return this.patchU32(at, this.length - at - 4);
  }

  /** A versioned structure around what `body` writes. */
  struct(version: number, compat: number, body: (e: this) => void): this {
    const at = this.open(version, compat);
    body(this);
    return this.close(at);
  }
}

/** What `Decoder.open` found. */
export interface OpenStruct {
  readonly version: number;
  readonly compat: number;
  /** Offset behind the structure. */
  readonly structEnd: number;
  readonly outerEnd: number;
}

/**
 * Reads Ceph's encodings. Everything that is wrong with the input is a DecodeError; a count is checked against the bytes left before anything
 * is allocated for it.
 */
export class Decoder extends ByteReader {
  s8(): number {
    return (this.u8() << 24) >> 24;
  }

  s16(): number {
    return (this.u16() << 16) >> 16;
  }

  bool(): boolean {
    return this.u8() !== 0;
  }

  /** Signed 64-bit as a double, exact or -2^63 (see `Encoder.s64`). */
  pool(): number {
    const at = this.take(8);
    const high = getU32(this.source, at + 4) | 0;
    const value = high * 0x1_0000_0000 + getU32(this.source, at);
    if (!Number.isSafeInteger(value) && value !== -(2 ** 63))
      throw new DecodeError(`64-bit value at offset ${at} is beyond 2^53`);
    return value;
  }

  s64b(): bigint {
    return BigInt.asIntN(64, this.u64b());
  }

  string(): string {
    const length = this.u32();
    const at = this.take(length);
    return textFromBytes(this.source, at, at + length);
  }

  /** A `bufferlist`: a view, not a copy. */
  blob(): Uint8Array {
    return this.bytes(this.u32());
  }

  /** Reads a count and refuses it when `count * minBytes` cannot be left in the input. */
  count(minBytes = 1): number {
    const count = this.u32();
    if (count * minBytes > this.remaining)
      throw new DecodeError(`${count} items of at least ${minBytes} bytes at offset ${this.at}, has ${this.remaining}`);
    return count;
  }

  /** `minBytes` is the least an item takes: it bounds the count. */
  list<T>(item: (d: this) => T, minBytes = 1): T[] {
    const count = this.count(minBytes);
    const out: T[] = [];
    for (let i = 0; i < count; i++) out.push(item(this));
    return out;
  }

  map<K, V>(key: (d: this) => K, value: (d: this) => V, minBytes = 1): Map<K, V> {
    const count = this.count(minBytes);
    const out = new Map<K, V>();
    for (let i = 0; i < count; i++) {
      const k = key(this);
      out.set(k, value(this));
    }
    return out;
  }

  stringMap<V>(value: (d: this) => V): Map<string, V> {
    return this.map((d) => d.string(), value, 4);
  }

  stringStringMap(): Map<string, string> {
    return this.map(
      (d) => d.string(),
      (d) => d.string(),
      8,
    );
  }

  stringList(): string[] {
    return this.list((d) => d.string(), 4);
  }

  stringSet(): Set<string> {
    return new Set(this.stringList());
  }

  optional<T>(item: (d: this) => T): T | undefined {
    return this.u8() === 0 ? undefined : item(this);
  }

  utime(): UTime {
    return { sec: this.u32(), nsec: this.u32() };
  }

  uuid(): string {
    const b = this.bytes(16);
    const h = Buffer.from(b.buffer, b.byteOffset, 16).toString('hex');
    return `${h.slice(0, 8)}-${h.slice(8, 12)}-${h.slice(12, 16)}-${h.slice(16, 20)}-${h.slice(20)}`;
  }

  /**
   * Opens a versioned structure (`DECODE_START`): until `close`, reads end at its end. `understood` is the newest struct_compat that the
   * caller can read.
   */
  open(name: string, understood: number): OpenStruct {
    const version = this.u8();
    const compat = this.u8();
    if (compat > understood)
      throw new DecodeError(`${name}: needs a reader of version ${compat}, this one knows ${understood}`);
    const length = this.u32();
    if (length > this.remaining) throw new DecodeError(`${name}: says ${length} bytes, has ${this.remaining}`);
    const opened = { version, compat, structEnd: this.at + length, outerEnd: this.end };
    this.end = opened.structEnd;
    return opened;
  }

  /** Closes it: skips what a newer writer added. */
  close(opened: OpenStruct): void {
    this.at = opened.structEnd;
    this.end = opened.outerEnd;
  }

  struct<T>(name: string, understood: number, body: (d: this, version: number) => T): T {
    const opened = this.open(name, understood);
    const value = body(this, opened.version);
    this.close(opened);
    return value;
  }
}

/** Encodes one value into bytes of its own. */
export function encoded(write: (e: Encoder) => void, capacity = 64): Uint8Array {
  const e = new Encoder(capacity);
  write(e);
  return e.finish();
}
