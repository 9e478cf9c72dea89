/** The LZ4 block format (lz4_Block_format.md of the LZ4 project): no frame, no checksum; who stores a block notes its lengths. */
import { DecodeError } from '../../../base/bytes.ts';
import { copyMatch, copyWords, findMatches, wordsOf } from './matches.ts';

/** Compresses at most 64 KiB into `into`; returns how many bytes it took, or -1 when it does not fit. */
export function lz4Compress(src: Uint8Array, into: Uint8Array): number {
  let out = 0;
  const words = wordsOf(src);
  const target = wordsOf(into);
  const done = findMatches(words, (literals, from, length, offset) => {
    // A token, both lengths, the literals and the offset, at most.
    if (out + 1 + literals + Math.floor(literals / 255) + 1 + 2 + Math.floor(length / 255) + 1 > into.length)
      return false;
    const match = length === 0 ? 0 : length - 4;
    into[out++] = (Math.min(literals, 15) << 4) | Math.min(match, 15);
    if (literals >= 15) out = putLength(into, out, literals - 15);
    copyWords(words, from, target, out, literals);
    out += literals;
    if (length === 0) return true;
    into[out++] = offset & 0xff;
    into[out++] = offset >>> 8;
    if (match >= 15) out = putLength(into, out, match - 15);
    return true;
  });
  return done ? out : -1;
}

function putLength(into: Uint8Array, out: number, rest: number): number {
  while (rest >= 255) {
    into[out++] = 255;
    rest -= 255;
  }
  into[out++] = rest;
  return out;
}

/** Fills all of `into` from a block; never writes more. Errors: DecodeError. */
export function lz4Decompress(src: Uint8Array, into: Uint8Array): void {
  const words = wordsOf(src);
  const target = wordsOf(into);
  let at = 0;
  let out = 0;
  const more = (length: number): number => {
    if (length < 15) return length;
    for (;;) {
      const byte = src[at++];
      if (byte === undefined) throw new DecodeError('LZ4: a length ends early');
      length += byte;
      if (byte < 255) return length;
    }
  };
  while (at < src.length) {
    const token = src[at++]!;
    const literals = more(token >>> 4);
    if (at + literals > src.length || out + literals > into.length)
      throw new DecodeError(`LZ4: ${literals} literals at ${out} of ${into.length}`);
    copyWords(words, at, target, out, literals);
    at += literals;
    out += literals;
    if (at === src.length) break;
    if (at + 2 > src.length) throw new DecodeError('LZ4: an offset ends early');
    const offset = src[at]! | (src[at + 1]! << 8);
    at += 2;
    const length = more(token & 15) + 4;
    if (offset === 0 || offset > out || out + length > into.length)
      throw new DecodeError(`LZ4: a copy of ${length} bytes from ${offset} before ${out} of ${into.length}`);
    copyMatch(target, out, offset, length);
    out += length;
  }
  if (out !== into.length) throw new DecodeError(`LZ4: ${out} bytes, ${into.length} are noted`);
}
