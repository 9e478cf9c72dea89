/** The mixing step of Robert Jenkins' 32-bit hash (`crush_hashmix` and `mix` of `ceph_hash.cc`): over CRUSH's items and over names of objects. */

// Three registers change at once. They are module variables because a result object per call would be garbage on the mapping path.
export let ra = 0;
export let rb = 0;
export let rc = 0;

/** Mixes three registers; `ra`, `rb`, `rc` are the result until the next call. */
export function mix(a: number, b: number, c: number): void {
  a = ((a - b) | 0) - c;
  a ^= c >>> 13;
  b = ((b - c) | 0) - a;
  b ^= a << 8;
  c = ((c - a) | 0) - b;
  c ^= b >>> 13;
  a = ((a - b) | 0) - c;
  a ^= c >>> 12;
  b = ((b - c) | 0) - a;
  b ^= a << 16;
  c = ((c - a) | 0) - b;
  c ^= b >>> 5;
  a = ((a - b) | 0) - c;
  a ^= c >>> 3;
  b = ((b - c) | 0) - a;
  b ^= a << 10;
  c = ((c - a) | 0) - b;
  c ^= b >>> 15;
  ra = a;
  rb = b;
  rc = c;
}
