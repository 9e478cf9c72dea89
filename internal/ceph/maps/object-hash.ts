import { mix, ra, rb, rc } from '../crush/rjenkins.ts';
import { bytesFromText } from '../wire/encoding.ts';

/** Hash functions for object names (`src/include/ceph_hash.h`). */
export const STR_HASH_LINUX = 1;
export const STR_HASH_RJENKINS = 2;

// Object names are at most 2048 bytes, namespaces 256; longer input takes the slow way.
const scratch = new Uint8Array(4096);

/** Writes `namespace 0x1f key` as bytes to the scratch array; returns the length, -1 when it does not fit or is not plain ASCII. */
function fillScratch(nspace: string, key: string): number {
  let n = 0;
  if (nspace.length > 0) {
    if (nspace.length + key.length + 1 > scratch.length) return -1;
    for (let i = 0; i < nspace.length; i++) {
      const c = nspace.charCodeAt(i);
      if (c >= 0x80) return -1;
      scratch[n++] = c;
    }
    scratch[n++] = 0x1f;
  } else if (key.length > scratch.length) return -1;
  for (let i = 0; i < key.length; i++) {
    const c = key.charCodeAt(i);
    if (c >= 0x80) return -1;
    scratch[n++] = c;
  }
  return n;
}

/**
 * The 32-bit hash that places an object: of its locator key, or its name when there is none, with the namespace in front
 * (`pg_pool_t::hash_key`).
 */
export function objectHash(hashType: number, nameOrKey: string, nspace: string): number {
  const length = fillScratch(nspace, nameOrKey);
  if (length >= 0) return hashBytes(hashType, scratch, length);
  const bytes = bytesFromText(nspace === '' ? nameOrKey : `${nspace}\x1f${nameOrKey}`);
  return hashBytes(hashType, bytes, bytes.length);
}

function hashBytes(hashType: number, bytes: Uint8Array, length: number): number {
  return hashType === STR_HASH_LINUX ? linuxHash(bytes, length) : rjenkinsHash(bytes, length);
}

/** `ceph_str_hash_linux`: the dentry hash of Linux. */
export function linuxHash(bytes: Uint8Array, length = bytes.length): number {
  let hash = 0;
  for (let i = 0; i < length; i++) {
    const c = bytes[i]!;
    hash = Math.imul(hash + (c << 4) + (c >> 4), 11);
  }
  return hash >>> 0;
}

/** `ceph_str_hash_rjenkins`. */
export function rjenkinsHash(k: Uint8Array, length = k.length): number {
  let a = 0x9e3779b9 | 0;
  let b = a;
  let c = 0;
  let at = 0;
  for (let left = length; ; left -= 12) {
    if (left >= 12) {
      a = (a + (k[at]! | (k[at + 1]! << 8) | (k[at + 2]! << 16) | (k[at + 3]! << 24))) | 0;
      b = (b + (k[at + 4]! | (k[at + 5]! << 8) | (k[at + 6]! << 16) | (k[at + 7]! << 24))) | 0;
      c = (c + (k[at + 8]! | (k[at + 9]! << 8) | (k[at + 10]! << 16) | (k[at + 11]! << 24))) | 0;
    } else {
      // The last, incomplete block; the lowest byte of c is the length.
      c = (c + length) | 0;
      for (let i = 0; i < left; i++) {
        const byte = k[at + i]!;
        if (i < 4) a = (a + (byte << (8 * i))) | 0;
        else if (i < 8) b = (b + (byte << (8 * (i - 4)))) | 0;
        else c = (c + (byte << (8 * (i - 7)))) | 0;
      }
    }
    mix(a, b, c);
    if (left < 12) return rc >>> 0;
    a = ra;
    b = rb;
    c = rc;
    at += 12;
  }
}

/**
 * Maps a hash to 0..buckets-1 so that few values move when `buckets` grows (`ceph_stable_mod`, with the mask that pg_pool_t computes).
 */
export function stableMod(x: number, buckets: number): number {
  const mask = buckets <= 1 ? 0 : 2 ** (32 - Math.clz32(buckets - 1)) - 1;
  const low = (x & mask) >>> 0;
  return low < buckets ? low : (x & (mask >>> 1)) >>> 0;
}
