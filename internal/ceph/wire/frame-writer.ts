import { putU32 } from '../../base/bytes.ts';
import { rawCrc32c, wholeCrc32c } from '../../base/crc32c.ts';
import { EPILOGUE_BYTES, LATE_COMPLETE, PREAMBLE_BYTES, writePreamble } from './frame-format.ts';
import type { SecureSender } from './secure.ts';

/** Bytes of segment 0 that travel inside the first encrypted block. */
export const SECURE_INLINE_BYTES = 48;
export const SECURE_BLOCK = 16;

const paddingZeros = new Uint8Array(SECURE_BLOCK);

/** Segment 0 of a frame, written by `fill` right behind the preamble, so that preamble and header leave as one piece. */
export interface Segment0 {
  readonly length: number;
  fill(out: Uint8Array, at: number): void;
}

export function segmentOf(bytes: Uint8Array): Segment0 {
  return { length: bytes.length, fill: (out, at) => out.set(bytes, at) };
}

function totalLength(pieces: readonly Uint8Array[]): number {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  return length;
}

function crcOf(pieces: readonly Uint8Array[]): number {
  let crc = 0xffff_ffff;
  let first = true;
  for (const piece of pieces) {
    if (piece.length === 0) continue;
    crc = first ? wholeCrc32c(piece) : rawCrc32c(crc, piece);
    first = false;
  }
  return crc;
}

/** A frame as views to write in order, in CRC mode. Segments 1 to 3 are passed on, not copied. */
export function crcFrame(
  tag: number,
  segment0: Segment0,
  front?: Uint8Array,
  middle?: Uint8Array,
  data?: readonly Uint8Array[],
): Uint8Array[] {
  const frontLength = front?.length ?? 0;
  const middleLength = middle?.length ?? 0;
  const dataLength = data === undefined ? 0 : totalLength(data);
  const head = new Uint8Array(PREAMBLE_BYTES + segment0.length + (segment0.length > 0 ? 4 : 0));
  writePreamble(head, tag, [segment0.length, frontLength, middleLength, dataLength]);
  if (segment0.length > 0) {
    segment0.fill(head, PREAMBLE_BYTES);
    const end = PREAMBLE_BYTES + segment0.length;
    putU32(head, end, rawCrc32c(0xffff_ffff, head, PREAMBLE_BYTES, end));
  }
  const out: Uint8Array[] = [head];
  if (frontLength + middleLength + dataLength === 0) return out;
  const epilogue = new Uint8Array(EPILOGUE_BYTES);
  epilogue[0] = LATE_COMPLETE;
  putU32(epilogue, 1, 0xffff_ffff);
  if (frontLength > 0) {
    out.push(front!);
    putU32(epilogue, 1, rawCrc32c(0xffff_ffff, front!));
  }
  const count = dataLength > 0 ? 4 : middleLength > 0 ? 3 : 2;
  if (count > 2) putU32(epilogue, 5, middleLength > 0 ? rawCrc32c(0xffff_ffff, middle!) : 0xffff_ffff);
  if (middleLength > 0) out.push(middle!);
  if (count > 3) {
    for (const piece of data!) if (piece.length > 0) out.push(piece);
    putU32(epilogue, 9, crcOf(data!));
  }
  out.push(epilogue);
  return out;
}

/** The same in secure mode. */
export function secureFrame(
  sender: SecureSender,
  tag: number,
  segment0: Segment0,
  front?: Uint8Array,
  middle?: Uint8Array,
  data?: readonly Uint8Array[],
): Uint8Array[] {
  const lengths = [
    segment0.length,
    front?.length ?? 0,
    middle?.length ?? 0,
    data === undefined ? 0 : totalLength(data),
  ];
  const block = new Uint8Array(
    PREAMBLE_BYTES + Math.max(SECURE_INLINE_BYTES, Math.ceil(segment0.length / SECURE_BLOCK) * SECURE_BLOCK),
  );
  writePreamble(block, tag, lengths);
  segment0.fill(block, PREAMBLE_BYTES);
  const inlineEnd = PREAMBLE_BYTES + SECURE_INLINE_BYTES;
  const out: Uint8Array[] = sender.seal([block.subarray(0, inlineEnd)]);
  if (segment0.length > SECURE_INLINE_BYTES) out.push(...sender.seal([block.subarray(inlineEnd)]));
  if (lengths[1]! + lengths[2]! + lengths[3]! === 0) return out;
  const pieces: Uint8Array[] = [];
  const add = (views: readonly Uint8Array[], length: number): void => {
    for (const view of views) if (view.length > 0) pieces.push(view);
    const over = length % SECURE_BLOCK;
    if (over !== 0) pieces.push(paddingZeros.subarray(over));
  };
  if (front !== undefined) add([front], lengths[1]!);
  if (middle !== undefined) add([middle], lengths[2]!);
  if (data !== undefined) add(data, lengths[3]!);
  const epilogue = new Uint8Array(SECURE_BLOCK);
  epilogue[0] = LATE_COMPLETE;
  pieces.push(epilogue);
  out.push(...sender.seal(pieces));
  return out;
}
