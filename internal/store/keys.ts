/**
 * Keys inside the store are strings with one character for each byte (latin1): they compare in byte order with `<`, and serve as map keys.
 */
export type KeyText = string;

/** `end` undefined: without bound. `single`: the one key `first`. */
export interface KeyRange {
  first: KeyText;
  end: KeyText | undefined;
  single: boolean;
}

/** A Buffer's converters work on any array. Called like this no Buffer is made of it, and a small array keeps its memory to itself. */
const { latin1Slice, latin1Write } = Buffer.prototype as unknown as {
  latin1Slice(this: Uint8Array, start: number, end: number): string;
  latin1Write(this: Uint8Array, text: string, offset: number, length: number): number;
};

export function keyText(key: Uint8Array): KeyText {
  return latin1Slice.call(key, 0, key.length);
}

export function keyBytes(text: KeyText): Uint8Array {
  const out = new Uint8Array(text.length);
  latin1Write.call(out, text, 0, text.length);
  return out;
}

/** etcd's reading of `key` and `rangeEnd`: no end is one key, an end of one zero byte is every key from `key` on. */
export function keyRange(request: { key: Uint8Array; rangeEnd?: Uint8Array }): KeyRange {
  const first = keyText(request.key);
  const { rangeEnd } = request;
  if (rangeEnd === undefined || rangeEnd.length === 0) return { first, end: `${first}\0`, single: true };
  if (rangeEnd.length === 1 && rangeEnd[0] === 0) return { first, end: undefined, single: false };
  return { first, end: keyText(rangeEnd), single: false };
}

export function inRange(range: KeyRange, key: KeyText): boolean {
  if (range.single) return key === range.first;
  return key >= range.first && (range.end === undefined || key < range.end);
}

/** The end of the range of all keys that begin with `prefix`: what etcd's clients call GetPrefixRangeEnd. */
export function prefixEnd(prefix: Uint8Array): Uint8Array {
  for (let i = prefix.length - 1; i >= 0; i--) {
    if (prefix[i]! < 0xff) {
      // `slice` of a Buffer would be a view of the caller's bytes.
      const end = new Uint8Array(prefix.subarray(0, i + 1));
      end[i]!++;
      return end;
    }
  }
  return new Uint8Array(1);
}

/** Index of the first element of the sorted `keys` that is >= `key`. */
export function lowerBound(keys: readonly KeyText[], key: KeyText): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Arrays up to this size are copied sooner than asked for their buffer: that is an object of its own, made when it is asked for. */
const smallBytes = 512;

/** The same bytes, in memory of their own when they are few or the view would keep a much larger buffer alive. */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  return bytes.length <= smallBytes || bytes.length * 2 < bytes.buffer.byteLength ? new Uint8Array(bytes) : bytes;
}
