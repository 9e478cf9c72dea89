import { crc32c as nativeCrc32c } from '@node-rs/crc32';

/** Below this many bytes the call into native code costs more than it saves. */
const nativeFromBytes = 1024;

const tables = makeTables();

function makeTables(): Uint32Array[] {
  const first = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    let c = i;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
    first[i] = c >>> 0;
  }
  const all = [first];
  for (let t = 1; t < 8; t++) {
    const table = new Uint32Array(256);
    for (let i = 0; i < 256; i++) {
      const p = all[t - 1]![i]!;
      table[i] = (first[p & 0xff]! ^ (p >>> 8)) >>> 0;
    }
    all.push(table);
  }
  return all;
}

function tableCrc32c(seed: number, bytes: Uint8Array, from: number, to: number): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
    Uint32Array,
  ];
  let crc = seed >>> 0;
  let i = from;
  for (; i + 8 <= to; i += 8) {
    crc ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    crc =
      t7[crc & 0xff]! ^
      t6[(crc >>> 8) & 0xff]! ^
      t5[(crc >>> 16) & 0xff]! ^
      t4[crc >>> 24]! ^
      t3[bytes[i + 4]!]! ^
      t2[bytes[i + 5]!]! ^
      t1[bytes[i + 6]!]! ^
      t0[bytes[i + 7]!]!;
  }
  for (; i < to; i++) crc = t0[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return crc >>> 0;
}

/**
 * CRC-32C (Castagnoli) as Ceph uses it: no inversion before or after, the caller gives the seed. The checksum of RFC 3720 is
 * `~rawCrc32c(0xffffffff, bytes)`. Pieces chain: `rawCrc32c(rawCrc32c(seed, a), b)`. Of the bytes [from, to) where these are given.
 */
export function rawCrc32c(seed: number, bytes: Uint8Array, from = 0, to = bytes.length): number {
  if (to - from < nativeFromBytes) return tableCrc32c(seed, bytes, from, to);
  const part = to - from === bytes.length ? bytes : bytes.subarray(from, to);
  return ~nativeCrc32c(part, ~seed >>> 0) >>> 0;
}

/** CRC-32C with the usual inversions (RFC 3720): for our own formats. */
export function crc32c(bytes: Uint8Array): number {
  return ~rawCrc32c(0xffffffff, bytes) >>> 0;
}

const known = new WeakMap<Uint8Array, number>();
/** Below this, computing a checksum costs less than remembering it. */
const knownFromBytes = 4096;

/** Remembers `rawCrc32c(0xffffffff, bytes)` for as long as this very view lives: its bytes must not change any more. */
export function noteCrc32c(bytes: Uint8Array, crc: number): void {
  if (bytes.length >= knownFromBytes) known.set(bytes, crc);
}

/** `rawCrc32c(0xffffffff, bytes)`, without looking at the bytes where it was noted. */
export function wholeCrc32c(bytes: Uint8Array): number {
  return (bytes.length >= knownFromBytes ? known.get(bytes) : undefined) ?? rawCrc32c(0xffffffff, bytes);
}

/** The blocks of `noteBlockCrcs`. */
export const crcBlockBytes = 4096;
const knownBlocks = new WeakMap<Uint8Array, Uint32Array>();

/** Remembers `rawCrc32c(0xffffffff, …)` of each block of this very view, whose bytes must not change any more. */
export function noteBlockCrcs(bytes: Uint8Array, crcs: Uint32Array): void {
  knownBlocks.set(bytes, crcs);
}

export function knownBlockCrcs(bytes: Uint8Array): Uint32Array | undefined {
  return knownBlocks.get(bytes);
}

/** Puts checksums of pieces of one length together: what `rawCrc32c` gives for bytes whose pieces were summed one by one. */
export class Crc32cPieces {
  /** What `pieceBytes` zeros make of each byte of a checksum. */
  readonly #tables: Uint32Array[];

  constructor(pieceBytes: number) {
    const zeros = new Uint8Array(pieceBytes);
    const bits = Array.from({ length: 32 }, (_, bit) => rawCrc32c((1 << bit) >>> 0, zeros));
    this.#tables = Array.from({ length: 4 }, (_, byte) =>
      Uint32Array.from({ length: 256 }, (_value, value) => {
        let sum = 0;
        for (let bit = 0; bit < 8; bit++) if ((value >>> bit) & 1) sum ^= bits[8 * byte + bit]!;
        return sum;
      }),
    );
  }

  /** `rawCrc32c(before, piece)` from `rawCrc32c(0xffffffff, piece)`. */
  join(before: number, pieceCrc: number): number {
    const [t0, t1, t2, t3] = this.#tables as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
    const x = ~before;
    return (t0[x & 0xff]! ^ t1[(x >>> 8) & 0xff]! ^ t2[(x >>> 16) & 0xff]! ^ t3[x >>> 24]! ^ pieceCrc) >>> 0;
  }
}

const blocks = new Crc32cPieces(crcBlockBytes);

/** `rawCrc32c(0xffffffff, …)` of whole blocks from those of each. */
export function joinBlockCrcs(crcs: Uint32Array): number {
  let crc = 0xffffffff;
  for (const each of crcs) crc = blocks.join(crc, each);
  return crc >>> 0;
}
