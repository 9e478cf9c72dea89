/** UTF-8 byte order of two strings: code unit order, except that surrogate pairs stand above U+E000..U+FFFF. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i);
    let y = b.charCodeAt(i);
    if (x === y) continue;
    if (x >= 0xd800 && y >= 0xd800) {
      // Above all other units of the plane, keeping their order.
      if (x <= 0xdfff) x += 0x10000;
      if (y <= 0xdfff) y += 0x10000;
    }
    return x - y;
  }
  return a.length - b.length;
}

/** A key as a string whose code units are its bytes: string order is byte order, and it can be a Map key. */
export function keyString(key: Uint8Array): string {
  // Not by way of `key.buffer`: asking a small array for its buffer is slow in JavaScriptCore.
  return latin1Slice.call(key);
}

const latin1Slice = (Buffer.prototype as unknown as { latin1Slice: (this: Uint8Array) => string }).latin1Slice;

export function keyBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Big-endian, by hand: a DataView would ask a small array for its buffer. */
export function putU32(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
}

/** Index of the first element that is not below `wanted`. */
export function lowerBound<T>(
  sorted: readonly T[],
  wanted: T,
  compare: (a: T, b: T) => number = (a, b) => (a < b ? -1 : a > b ? 1 : 0),
): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compare(sorted[middle]!, wanted) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
