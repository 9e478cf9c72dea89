import { type ByteReader, type ByteWriter, DecodeError } from '../../base/bytes.ts';
import { blockBytes } from './api.ts';

/**
 * Parts of an object's blocks that nobody wrote, though they read as zeros from the disk: [from, end) and [from, end)…, in bytes of the object, ascending, apart from one another.
 * With the blocks that are not there they are the object's holes, by the byte, as a real OSD's extents tell them. All lie in blocks that are there and before the object's
 * end. Never changed in place.
 */
export type Gaps = readonly number[];

export const noGaps: Gaps = [];

/** An object has no more than this many: the smallest becomes zeros that somebody wrote, which is no untruth for those who read. */
export const maxGaps = 256;

/** Index of the first gap that ends behind `at`. */
function firstBehind(gaps: Gaps, at: number): number {
  let low = 0;
  let high = gaps.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (gaps[2 * middle + 1]! > at) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function addGap(gaps: Gaps, from: number, end: number): Gaps {
  if (end <= from) return gaps;
  // Those that touch it, too.
  const first = firstBehind(gaps, from - 1);
  let last = first;
  let [start, to] = [from, end];
  for (; 2 * last < gaps.length && gaps[2 * last]! <= end; last++) {
    start = Math.min(start, gaps[2 * last]!);
    to = Math.max(to, gaps[2 * last + 1]!);
  }
  const out = [...gaps.slice(0, 2 * first), start, to, ...gaps.slice(2 * last)];
  return out.length > 2 * maxGaps ? withoutSmallest(out) : out;
}

function withoutSmallest(gaps: number[]): Gaps {
  let smallest = 0;
  for (let at = 2; at < gaps.length; at += 2)
    if (gaps[at + 1]! - gaps[at]! < gaps[smallest + 1]! - gaps[smallest]!) smallest = at;
  gaps.splice(smallest, 2);
  return gaps;
}

export function removeGaps(gaps: Gaps, from: number, end: number): Gaps {
  const inside = gapsIn(gaps, from, end);
  if (inside.length === 0) return gaps;
  const first = firstBehind(gaps, from);
  const last = first + inside.length;
  const out = gaps.slice(0, 2 * first);
  if (gaps[2 * first]! < from) out.push(gaps[2 * first]!, from);
  if (gaps[2 * last - 1]! > end) out.push(end, gaps[2 * last - 1]!);
  out.push(...gaps.slice(2 * last));
  return out.length > 2 * maxGaps ? withoutSmallest(out) : out;
}

/** The parts of gaps in [from, end). */
export function gapsIn(gaps: Gaps, from: number, end: number): [from: number, end: number][] {
  const out: [number, number][] = [];
  if (gaps.length === 0 || end <= from) return out;
  for (let at = 2 * firstBehind(gaps, from); at < gaps.length && gaps[at]! < end; at += 2)
    out.push([Math.max(from, gaps[at]!), Math.min(end, gaps[at + 1]!)]);
  return out;
}

/** Whether nobody wrote anything in [from, end). */
export function isGap(gaps: Gaps, from: number, end: number): boolean {
  const [first] = gapsIn(gaps, from, end);
  return first?.[0] === from && first[1] === end;
}

export function gapBytes(gaps: Gaps): number {
  let bytes = 0;
  for (let at = 0; at < gaps.length; at += 2) bytes += gaps[at + 1]! - gaps[at]!;
  return bytes;
}

/** What an object that ends at `before` has between there and the end of that block, when it gets larger, up to `end`. */
export function gapBehind(before: number, end: number): [from: number, end: number] {
  return [before, Math.min(end, Math.ceil(before / blockBytes) * blockBytes)];
}

/**
 * The gaps that data in [offset, end) makes: in the blocks at both its ends, where none were before, and between the object's end until then and the data. `before`: the
 * object's size until then; `isThere` tells of a block as it was until then.
 */
export function gapsAround(
  offset: number,
  end: number,
  before: number,
  isThere: (block: number) => boolean,
): [from: number, end: number][] {
  const out: [number, number][] = [];
  const add = (from: number, to: number): void => {
    if (from < to) out.push([from, to]);
  };
  if (before < offset && isThere(Math.floor(before / blockBytes))) add(...gapBehind(before, offset));
  const first = Math.floor(offset / blockBytes);
  if (offset % blockBytes !== 0 && !isThere(first)) add(first * blockBytes, offset);
  const last = Math.floor(end / blockBytes);
  if (end % blockBytes !== 0 && !isThere(last)) add(end, Math.min((last + 1) * blockBytes, Math.max(before, end)));
  return out;
}

export function encodeGaps(writer: ByteWriter, gaps: Gaps): void {
  writer.u16(gaps.length / 2);
  for (let at = 0; at < gaps.length; at += 2) writer.u64(gaps[at]!).u32(gaps[at + 1]! - gaps[at]!);
}

export function decodeGaps(reader: ByteReader): Gaps {
  const gaps: number[] = [];
  for (let n = reader.u16(); n > 0; n--) {
    const from = reader.u64();
    const length = reader.u32();
    if (length === 0 || from <= (gaps.at(-1) ?? -1))
      throw new DecodeError(`a part of ${length} bytes at ${from} that nobody wrote`);
    gaps.push(from, from + length);
  }
  return gaps;
}
