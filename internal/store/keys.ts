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

export function keyText(key: Uint8Array): KeyText {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}

export function keyBytes(text: KeyText): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
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

/** The same bytes, in memory of their own when the view would keep a much larger buffer alive. */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength * 2 < bytes.buffer.byteLength ? bytes.slice() : bytes;
}
