/** Bytes that are never part of a match at the end of the input, and from where no match begins (LZ4 block format, end of block conditions). */
const tailLiterals = 5;
const lastMatchStart = 12;
/** Both formats made of these matches begin one at four bytes. */
const minMatch = 4;
const hashBits = 13;

/** Positions, plus one, where four bytes with a hash were seen last. */
const seen = new Int32Array(1 << hashBits);

/** What the inputs of `findMatches` may have: an offset fits into 16 bits. */
export const maxMatchInput = 65536;

/** Takes a stretch of literals and the match behind it; false: enough, nothing more is wanted. `length` 0: the literals end the input. */
export type TakeMatch = (literals: number, from: number, length: number, offset: number) => boolean;

/** Words of a piece of memory, little-endian. */
export function wordsOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/**
 * Cuts bytes into literals and copies of what came before, greedily, with one place remembered for each hash and larger steps where nothing
 * repeats: what LZ4 and Snappy are made of. Returns false when `take` had enough.
 */
export function findMatches(words: DataView, take: TakeMatch): boolean {
  const end = words.byteLength;
  if (end > maxMatchInput) throw new RangeError(`${end} bytes to compress, at most ${maxMatchInput} at once`);
  const lastStart = end - lastMatchStart;
  const matchEnd = end - tailLiterals;
  seen.fill(0);
  let anchor = 0;
  let at = 0;
  let misses = 0;
  while (at <= lastStart) {
    const word = words.getInt32(at, true);
    const hash = Math.imul(word, 0x9e3779b1) >>> (32 - hashBits);
    const before = seen[hash]! - 1;
    seen[hash] = at + 1;
    if (before < 0 || words.getInt32(before, true) !== word) {
      at += 1 + (misses++ >>> 5);
      continue;
    }
    misses = 0;
    let length = minMatch;
    const most = matchEnd - at;
    while (length + 4 <= most && words.getInt32(at + length, true) === words.getInt32(before + length, true))
      length += 4;
    while (length < most && words.getUint8(at + length) === words.getUint8(before + length)) length++;
    if (!take(at - anchor, anchor, length, at - before)) return false;
    at += length;
    anchor = at;
  }
  return take(end - anchor, anchor, 0, 0);
}

/** Copies bytes a word at a time: `into` may get up to three more behind them, as far as it reaches. */
export function copyWords(src: DataView, from: number, into: DataView, at: number, length: number): void {
  let i = 0;
  const room = Math.min(src.byteLength - from, into.byteLength - at);
  if (room >= length + 3) for (; i < length; i += 4) into.setInt32(at + i, src.getInt32(from + i, true), true);
  else for (; i < length; i++) into.setUint8(at + i, src.getUint8(from + i));
}

/** Copies `length` bytes from `offset` before `at` to `at`; they may overlap, and then repeat. */
export function copyMatch(into: DataView, at: number, offset: number, length: number): void {
  const from = at - offset;
  if (offset >= 4) copyWords(into, from, into, at, length);
  else for (let i = 0; i < length; i++) into.setUint8(at + i, into.getUint8(from + i));
}
