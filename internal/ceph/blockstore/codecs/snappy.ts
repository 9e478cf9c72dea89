/** The Snappy raw format (format_description.txt of the Snappy project). */
import { DecodeError } from '../../../base/bytes.ts';
import { copyMatch, copyWords, findMatches, wordsOf } from './matches.ts';

/** Compresses at most 64 KiB into `into`; returns how many bytes it took, or -1 when it does not fit. */
export function snappyCompress(src: Uint8Array, into: Uint8Array): number {
  if (into.length < 3) return -1;
  let out = 0;
  for (let rest = src.length; ; rest >>>= 7) {
    into[out++] = rest < 128 ? rest : (rest & 127) | 128;
    if (rest < 128) break;
  }
  const words = wordsOf(src);
  const target = wordsOf(into);
  const done = findMatches(words, (literals, from, length, offset) => {
    if (out + literals + 3 + 3 * Math.ceil(length / 60) + 3 > into.length) return false;
    if (literals > 0) {
      const n = literals - 1;
      if (n < 60) into[out++] = n << 2;
      else if (n < 256) {
        into[out++] = 60 << 2;
        into[out++] = n;
      } else {
        into[out++] = 61 << 2;
        into[out++] = n & 0xff;
        into[out++] = n >>> 8;
      }
      copyWords(words, from, target, out, literals);
      out += literals;
    }
    while (length > 0) {
      // Never so much that less than four bytes are left.
      const part = length > 67 ? 64 : length > 64 ? 60 : length;
      if (part < 12 && offset < 2048) {
        into[out++] = 1 | ((part - 4) << 2) | ((offset >>> 8) << 5);
        into[out++] = offset & 0xff;
      } else {
        into[out++] = 2 | ((part - 1) << 2);
        into[out++] = offset & 0xff;
        into[out++] = offset >>> 8;
      }
      length -= part;
    }
    return true;
  });
  return done ? out : -1;
}

/** Fills all of `into`; never writes more. Errors: DecodeError. */
export function snappyDecompress(src: Uint8Array, into: Uint8Array): void {
  const words = wordsOf(src);
  const target = wordsOf(into);
  let at = 0;
  let out = 0;
  /** A little-endian number behind a tag. */
  const number = (bytes: number): number => {
    if (at + bytes > src.length) throw new DecodeError('Snappy: it ends early');
    let value = src[at]!;
    if (bytes > 1) value |= src[at + 1]! << 8;
    if (bytes > 2) value |= src[at + 2]! << 16;
    // No input is so long that a fourth byte can be right.
    if (bytes > 3 && src[at + 3] !== 0) throw new DecodeError('Snappy: a number of four bytes');
    at += bytes;
    return value;
  };
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = number(1);
    length += (byte & 127) * 2 ** shift;
    if (byte < 128) break;
    if (shift >= 28) throw new DecodeError('Snappy: no length');
  }
  if (length !== into.length) throw new DecodeError(`Snappy: ${length} bytes, ${into.length} are noted`);
  while (at < src.length) {
    const tag = src[at++]!;
    if ((tag & 3) === 0) {
      const short = tag >>> 2;
      const literals = (short < 60 ? short : number(short - 59)) + 1;
      if (at + literals > src.length || out + literals > into.length)
        throw new DecodeError(`Snappy: ${literals} literals at ${out} of ${into.length}`);
      copyWords(words, at, target, out, literals);
      at += literals;
      out += literals;
      continue;
    }
    const count = (tag & 3) === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    const offset = (tag & 3) === 1 ? ((tag >>> 5) << 8) | number(1) : number((tag & 3) === 2 ? 2 : 4);
    if (offset === 0 || offset > out || out + count > into.length)
      throw new DecodeError(`Snappy: a copy of ${count} bytes from ${offset} before ${out} of ${into.length}`);
    copyMatch(target, out, offset, count);
    out += count;
  }
  if (out !== into.length) throw new DecodeError(`Snappy: ${out} bytes, ${into.length} are noted`);
}
