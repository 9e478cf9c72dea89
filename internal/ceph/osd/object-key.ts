import { DecodeError } from '../../base/bytes.ts';
import { bytesFromText, textFromBytes } from '../wire/encoding.ts';
import { type HObject, hobjectMax, hobjectMin, reverseBits32, SNAP_HEAD } from '../wire/types.ts';

/**
 * Store keys. First byte: 0 the PG's own object (info, log), 1 temporary objects of recovery, 2 objects, 4 what a shard keeps to take writes back. An object's key sorts bytewise as its
 * `hobject_t` does: bit-reversed hash, namespace, locator key or name, name, snap. Strings end with 00 01, a 00 inside is 00 FF.
 */
const PREFIX_META = 0;
const PREFIX_TEMP = 1;
const PREFIX_OBJECT = 2;
const PREFIX_KEPT = 4;

/** The PG's own object in its collection. */
export const metaKey: Uint8Array = Uint8Array.of(PREFIX_META);
/** Sorts before every object of clients. */
export const firstObjectKey: Uint8Array = Uint8Array.of(PREFIX_OBJECT);
/** Sorts behind every object of clients. */
export const endObjectKey: Uint8Array = Uint8Array.of(PREFIX_OBJECT + 1);
/** Sorts before the objects whose bit-reversed hash is `reversed` or more, and behind all others. */
export function hashKey(reversed: number): Uint8Array {
  const key = new Uint8Array(5);
  key[0] = PREFIX_OBJECT;
  new DataView(key.buffer).setUint32(1, reversed);
  return key;
}
/** Sorts before every temporary object. */
export const firstTempKey: Uint8Array = Uint8Array.of(PREFIX_TEMP);

/** Limits of names so that a key stays under the store's 4 KiB (escapes of zero bytes included by the check on the whole key). */
export const maxObjectKeyBytes = 4000;

const NAME_BEFORE_KEY = 1;
const NAME_IS_KEY = 2;
const NAME_AFTER_KEY = 3;

class KeyWriter {
  bytes = new Uint8Array(96);
  at = 0;

  room(count: number): void {
    if (this.at + count <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.at + count, this.bytes.length * 2));
    grown.set(this.bytes.subarray(0, this.at));
    this.bytes = grown;
  }
  u8(value: number): void {
    this.room(1);
    this.bytes[this.at++] = value;
  }
  u32(value: number): void {
    this.room(4);
    this.bytes[this.at++] = value >>> 24;
    this.bytes[this.at++] = value >>> 16;
    this.bytes[this.at++] = value >>> 8;
    this.bytes[this.at++] = value;
  }
  string(text: string): void {
    this.room(text.length + 2);
    const start = this.at;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      if (c === 0 || c >= 0x80) {
        this.at = start;
        this.#slowString(bytesFromText(text));
        return;
      }
      this.bytes[this.at++] = c;
    }
    this.bytes[this.at++] = 0;
    this.bytes[this.at++] = 1;
  }
  #slowString(raw: Uint8Array): void {
    this.room(raw.length * 2 + 2);
    for (const byte of raw) {
      this.bytes[this.at++] = byte;
      if (byte === 0) this.bytes[this.at++] = 0xff;
    }
    this.bytes[this.at++] = 0;
    this.bytes[this.at++] = 1;
  }
}

function compareTextBytes(a: string, b: string): number {
  return Buffer.compare(bytesFromText(a), bytesFromText(b));
}

function writeKey(w: KeyWriter, o: HObject): Uint8Array {
  w.u32(reverseBits32(o.hash));
  w.string(o.nspace);
  if (o.key === '' || o.key === o.name) {
    w.string(o.name);
    w.u8(NAME_IS_KEY);
  } else {
    w.string(o.key);
    w.u8(compareTextBytes(o.name, o.key) < 0 ? NAME_BEFORE_KEY : NAME_AFTER_KEY);
    w.string(o.name);
  }
  if (o.snap === SNAP_HEAD) {
    w.u32(0xffffffff);
    w.u32(0xfffffffe);
  } else {
    w.u32(Number(o.snap >> 32n));
    w.u32(Number(o.snap & 0xffffffffn));
  }
  return w.bytes.subarray(0, w.at);
}

/** The store key of an object. `hobjectMin` and `hobjectMax` give keys before and behind all objects. */
export function objectKey(o: HObject): Uint8Array {
  if (o.max) return endObjectKey;
  if (o.name === '' && o.hash === 0 && o.pool < -1) return firstObjectKey;
  const w = new KeyWriter();
  w.u8(PREFIX_OBJECT);
  return writeKey(w, o);
}

/** Where a copy of the object is put together while its pieces arrive. */
export function tempKey(o: HObject): Uint8Array {
  const w = new KeyWriter();
  w.u8(PREFIX_TEMP);
  return writeKey(w, o);
}

/** Where the object is kept that the log entry of this version changed. */
export function keptKey(version: number): Uint8Array {
  const w = new KeyWriter();
  w.u8(PREFIX_KEPT);
  w.u32(Math.floor(version / 2 ** 32));
  w.u32(version % 2 ** 32);
  return w.bytes.subarray(0, w.at);
}

/** True for what a PG's copy consists of beside the PG's own object: clients' objects, and what is kept to take writes back. */
export function isContentKey(key: Uint8Array): boolean {
  return isObjectKey(key) || (key[0] === PREFIX_KEPT && key.length > 1);
}

/** True for keys of clients' objects. */
export function isObjectKey(key: Uint8Array): boolean {
  return key[0] === PREFIX_OBJECT && key.length > 1;
}

/** The smallest key behind `key`. */
export function afterKey(key: Uint8Array): Uint8Array {
  const out = new Uint8Array(key.length + 1);
  out.set(key);
  return out;
}

/** The object of a key that `objectKey` made. Errors: DecodeError. */
export function objectOfKey(key: Uint8Array, pool: number): HObject {
  if (key.length === 1) return key[0] === PREFIX_OBJECT ? hobjectMin : hobjectMax;
  if (key.length < 5) throw new DecodeError(`object key of ${key.length} bytes`);
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  let at = 1;
  const hash = reverseBits32(view.getUint32(at));
  at += 4;
  const string = (): string => {
    let end = at;
    let escaped = false;
    while (!(key[end] === 0 && key[end + 1] === 1)) {
      if (end >= key.length) throw new DecodeError('object key without end of string');
      if (key[end] === 0) {
        escaped = true;
        end++;
      }
      end++;
    }
    let raw = key.subarray(at, end);
    if (escaped) {
      const plain: number[] = [];
      for (let i = 0; i < raw.length; i++) {
        plain.push(raw[i]!);
        if (raw[i] === 0) i++;
      }
      raw = Uint8Array.from(plain);
    }
    at = end + 2;
    return textFromBytes(raw);
  };
  const nspace = string();
  const first = string();
  const relation = key[at++];
  const name = relation === NAME_IS_KEY ? first : string();
  if (at + 8 > key.length) throw new DecodeError('object key without a snapshot');
  const snap = view.getBigUint64(at);
  return { key: relation === NAME_IS_KEY ? '' : first, name, snap, hash, max: false, nspace, pool };
}

/** A string that names the object inside its PG: for maps in memory. */
export function objectId(o: HObject): string {
  const base = o.nspace === '' && o.key === '' ? o.name : `${o.name}\0${o.key}\0${o.nspace}`;
  return o.snap === SNAP_HEAD ? base : `${base}\0@${o.snap.toString(16)}`;
}

/** The same object's head. */
export function headOf(o: HObject): HObject {
  return o.snap === SNAP_HEAD ? o : { ...o, snap: SNAP_HEAD };
}
