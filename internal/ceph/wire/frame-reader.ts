import { DecodeError, emptyBytes, getU32, unfilledBytes } from '../../base/bytes.ts';
import { crcBlockBytes, joinBlockCrcs, noteBlockCrcs, noteCrc32c, rawCrc32c } from '../../base/crc32c.ts';
import {
  EPILOGUE_BYTES,
  type Frame,
  type FrameLimits,
  LATE_COMPLETE,
  LATE_MASK,
  PREAMBLE_BYTES,
  type Preamble,
  readPreamble,
} from './frame-format.ts';
import { SECURE_BLOCK, SECURE_INLINE_BYTES } from './frame-writer.ts';
import { GCM_TAG_BYTES, type SecureReceiver } from './secure.ts';

const CRC_BYTES = 4;
const securePreambleBytes = PREAMBLE_BYTES + SECURE_INLINE_BYTES + GCM_TAG_BYTES;

/** Data segments of at least this many bytes are summed block by block as they come. */
const summedFromBytes = 64 * 1024;
const dataSegment = 3;
/** A frame of less, whole in its chunk, is not copied; data of more lies in memory of its own, from where it may go to the disk. */
const largeBytes = 32 * 1024;
/** A frame is a view of its chunk when it is at least this share of it: whoever holds a small message must not hold much more memory with it. */
const leastShare = 1 / 4;

function padded(length: number): number {
  return Math.ceil(length / SECURE_BLOCK) * SECURE_BLOCK;
}

/** What is being filled with the bytes that come next. */
enum Part {
  Banner,
  Preamble,
  Segment0,
  Body,
  Epilogue,
}

export interface FrameSink {
  /** The banner's bytes, before any frame. */
  banner(bytes: Uint8Array): void;
  /**
   * Asked before memory for a message is taken (sum of its segments). False stalls the reader until `resume()`; the rest of the chunk is kept.
   */
  admit(bytes: number): boolean;
  frame(frame: Frame): void;
}

/**
 * Cuts a stream of bytes into frames. Segments of small ones are views of the chunk where that does not hold much more memory; other bytes are copied once, to
 * memory of the frame or segment. Throws DecodeError on the first wrong byte; after that the reader must not be used.
 */
export class FrameReader {
  #part: Part = Part.Banner;
  #target: Uint8Array;
  #filled = 0;
  readonly #small = new Uint8Array(512);
  #preamble: Preamble | undefined;
  #segments: Uint8Array[] = [];
  /** Index of the segment that is filled (CRC mode). */
  #index = 0;
  /** Checksums of the data segment's blocks, taken while their bytes are still in the processor's cache; `#summed` of them are there. */
  #blockCrcs: Uint32Array | undefined;
  #summed = 0;
  #secure: SecureReceiver | undefined;
  #inline: Uint8Array = emptyBytes;
  #stalled: Uint8Array | undefined;
  #admitted = true;
  #stopped = false;
  /** Sees every byte of completed parts, in order, for the handshake's signature. */
  tap: ((bytes: Uint8Array) => void) | undefined;

  readonly #allocate: (length: number) => Uint8Array;

  /** `allocate` gives memory of any content for data segments. */
  constructor(
    bannerBytes: number,
    readonly limits: FrameLimits,
    readonly sink: FrameSink,
    allocate: (length: number) => Uint8Array = unfilledBytes,
  ) {
    this.#allocate = allocate;
    this.#target = this.#small.subarray(0, bannerBytes);
    if (bannerBytes === 0) this.#expectPreamble();
  }

  /** From the next frame on, bytes are encrypted. Call it while handling the last plain frame. */
  secure(receiver: SecureReceiver): void {
    this.#secure = receiver;
    if (this.#part === Part.Preamble) this.#expectPreamble();
  }

  /** No further frame is given out. */
  stop(): void {
    this.#stopped = true;
    this.#stalled = undefined;
  }

  get stalled(): boolean {
    return this.#stalled !== undefined;
  }

  /** The chunk's bytes must not change afterwards. */
  feed(chunk: Uint8Array): void {
    if (this.#stalled !== undefined) {
      const joined = new Uint8Array(this.#stalled.length + chunk.length);
      joined.set(this.#stalled);
      joined.set(chunk, this.#stalled.length);
      this.#stalled = joined;
      return;
    }
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      if (this.#part === Part.Preamble && this.#filled === 0 && this.#direct && chunk.length - at >= PREAMBLE_BYTES) {
        at += this.#frameAt(chunk, at);
        if (this.#admitted) continue;
        this.#stalled = chunk.slice(at);
        return;
      }
      const want = this.#target.length - this.#filled;
      const have = chunk.length - at;
      const take = Math.min(want, have);
      this.#target.set(take === chunk.length ? chunk : chunk.subarray(at, at + take), this.#filled);
      this.#filled += take;
      at += take;
      if (this.#blockCrcs !== undefined && this.#part === Part.Body) this.#sumBlocks(this.#blockCrcs);
      while (this.#filled === this.#target.length && !this.#stopped) {
        this.#complete();
        if (!this.#admitted) {
          this.#stalled = chunk.slice(at);
          return;
        }
      }
    }
  }

  /** Nobody needs to see the bytes as they lie on the wire. */
  get #direct(): boolean {
    return this.#secure === undefined && this.tap === undefined;
  }

  /** A frame begins at `at`: gives it out when it is small and all there, otherwise begins to gather it. Returns how many bytes were taken. */
  #frameAt(chunk: Uint8Array, at: number): number {
    const preamble = readPreamble(chunk, this.limits, at);
    this.#preamble = preamble;
    const { lengths } = preamble;
    let total = 0;
    for (const length of lengths) total += length;
    const size = PREAMBLE_BYTES + total + (lengths[0]! > 0 ? CRC_BYTES : 0) + (lengths.length > 1 ? EPILOGUE_BYTES : 0);
    if (size > chunk.length - at || total > largeBytes) {
      this.#startBody();
      return PREAMBLE_BYTES;
    }
    this.#admitted = this.sink.admit(total);
    if (!this.#admitted) return PREAMBLE_BYTES;
    if (size >= chunk.length * leastShare) this.#cut(chunk, at + PREAMBLE_BYTES);
    else this.#cut(chunk.slice(at + PREAMBLE_BYTES, at + size), 0);
    return size;
  }

  /** Gives out the frame whose preamble is read and whose other bytes are those of `bytes` from `at` on. */
  #cut(bytes: Uint8Array, at: number): void {
    const { lengths } = this.#preamble!;
    const segments = this.#segments;
    for (let i = 0; i < lengths.length; i++) {
      const length = lengths[i]!;
      segments[i] = length === 0 ? emptyBytes : bytes.subarray(at, at + length);
      at += length;
      if (i > 0 || length === 0) continue;
      if (rawCrc32c(0xffff_ffff, bytes, at - length, at) !== getU32(bytes, at))
        throw new DecodeError('frame segment 0: checksum mismatch');
      at += CRC_BYTES;
    }
    if (lengths.length > 1) this.#checkedEnd(bytes, at);
    else this.#deliver(false);
  }

  /** After a stall: asks `admit` again and goes on. */
  resume(): void {
    const rest = this.#stalled;
    if (rest === undefined || this.#stopped) return;
    this.#stalled = undefined;
    this.#admitted = true;
    this.#startBody();
    if (!this.#admitted) {
      this.#stalled = rest;
      return;
    }
    while (this.#filled === this.#target.length && !this.#stopped) this.#complete();
    if (rest.length > 0) this.feed(rest);
  }

  #expect(part: Part, target: Uint8Array): void {
    this.#part = part;
    this.#target = target;
    this.#filled = 0;
  }

  #expectPreamble(): void {
    this.#preamble = undefined;
    this.#segments = [];
    this.#blockCrcs = undefined;
    this.#expect(
      Part.Preamble,
      this.#small.subarray(0, this.#secure === undefined ? PREAMBLE_BYTES : securePreambleBytes),
    );
  }

  #complete(): void {
    this.tap?.(this.#target);
    switch (this.#part) {
      case Part.Banner: {
        const banner = this.#target.slice();
        this.#expectPreamble();
        this.sink.banner(banner);
        return;
      }
      case Part.Preamble:
        if (this.#secure === undefined) this.#preamble = readPreamble(this.#target, this.limits);
        else {
          const block = this.#target.slice();
          const [head, inline] = this.#secure.open(block, [PREAMBLE_BYTES, SECURE_INLINE_BYTES]);
          this.#preamble = readPreamble(head!, this.limits);
          this.#inline = inline!;
        }
        this.#startBody();
        return;
      case Part.Segment0:
        if (this.#secure === undefined) this.#plainSegment0();
        else this.#secureSegment0();
        return;
      case Part.Body:
        if (this.#secure === undefined) {
          this.#segments[this.#index] = this.#target;
          this.#nextPlainSegment();
        } else this.#secureBody();
        return;
      case Part.Epilogue:
        this.#checkedEnd(this.#target, 0);
    }
  }

  #startBody(): void {
    const { lengths } = this.#preamble!;
    let total = 0;
    for (const length of lengths) total += length;
    this.#admitted = this.sink.admit(total);
    if (!this.#admitted) return;
    const first = lengths[0]!;
    if (this.#secure === undefined) {
      if (first === 0) {
        this.#segments[0] = emptyBytes;
        this.#index = 0;
        this.#nextPlainSegment();
      } else this.#expect(Part.Segment0, new Uint8Array(first + CRC_BYTES));
      return;
    }
    if (first <= SECURE_INLINE_BYTES) {
      this.#segments[0] = this.#inline.subarray(0, first);
      this.#startSecureBody();
    } else this.#expect(Part.Segment0, new Uint8Array(padded(first - SECURE_INLINE_BYTES) + GCM_TAG_BYTES));
  }

  #plainSegment0(): void {
    const length = this.#target.length - CRC_BYTES;
    const bytes = this.#target.subarray(0, length);
    if (rawCrc32c(0xffff_ffff, bytes) !== getU32(this.#target, length))
      throw new DecodeError('frame segment 0: checksum mismatch');
    this.#segments[0] = bytes;
    this.#index = 0;
    this.#nextPlainSegment();
  }

  #nextPlainSegment(): void {
    const { lengths } = this.#preamble!;
    for (;;) {
      this.#index++;
      if (this.#index >= lengths.length) break;
      const length = lengths[this.#index]!;
      if (length > 0) {
        if (this.#index === dataSegment && length >= summedFromBytes && length % crcBlockBytes === 0) {
          this.#blockCrcs = new Uint32Array(length / crcBlockBytes);
          this.#summed = 0;
        }
        this.#expect(Part.Body, this.#index === dataSegment ? this.#allocate(length) : unfilledBytes(length));
        return;
      }
      this.#segments[this.#index] = emptyBytes;
    }
    if (lengths.length > 1) this.#expect(Part.Epilogue, this.#small.subarray(0, EPILOGUE_BYTES));
    else this.#deliver(false);
  }

  /** Checks the segments by the epilogue at `at` of `epilogue` and gives the frame out. */
  #checkedEnd(epilogue: Uint8Array, at: number): void {
    const late = epilogue[at]! & LATE_MASK;
    const aborted = late !== LATE_COMPLETE;
    if (aborted && late !== 1) throw new DecodeError(`frame epilogue: status ${late}`);
    if (!aborted)
      for (let i = 1; i < this.#segments.length; i++) {
        const segment = this.#segments[i]!;
        const crc = i === dataSegment ? this.#dataCrc(segment) : rawCrc32c(0xffff_ffff, segment);
        if (crc !== getU32(epilogue, at + 1 + (i - 1) * CRC_BYTES))
          throw new DecodeError(`frame segment ${i}: checksum mismatch`);
        noteCrc32c(segment, crc);
      }
    this.#deliver(aborted);
  }

  #sumBlocks(crcs: Uint32Array): void {
    for (let at = this.#summed * crcBlockBytes; at + crcBlockBytes <= this.#filled; at += crcBlockBytes)
      crcs[this.#summed++] = rawCrc32c(0xffff_ffff, this.#target.subarray(at, at + crcBlockBytes));
  }

  #dataCrc(segment: Uint8Array): number {
    const crcs = this.#blockCrcs;
    if (crcs === undefined) return rawCrc32c(0xffff_ffff, segment);
    this.#blockCrcs = undefined;
    noteBlockCrcs(segment, crcs);
    return joinBlockCrcs(crcs);
  }

  #secureSegment0(): void {
    const first = this.#preamble!.lengths[0]!;
    const [rest] = this.#secure!.open(this.#target, [this.#target.length - GCM_TAG_BYTES]);
    const whole = new Uint8Array(first);
    whole.set(this.#inline);
    whole.set(rest!.subarray(0, first - SECURE_INLINE_BYTES), SECURE_INLINE_BYTES);
    this.#segments[0] = whole;
    this.#startSecureBody();
  }

  #startSecureBody(): void {
    const { lengths } = this.#preamble!;
    if (lengths.length === 1) {
      this.#deliver(false);
      return;
    }
    let total = SECURE_BLOCK + GCM_TAG_BYTES;
    for (let i = 1; i < lengths.length; i++) total += padded(lengths[i]!);
    this.#expect(Part.Body, unfilledBytes(total));
  }

  #secureBody(): void {
    const { lengths } = this.#preamble!;
    const parts = lengths.slice(1).map(padded);
    const plain = this.#secure!.open(this.#target, [...parts, SECURE_BLOCK]);
    for (let i = 1; i < lengths.length; i++) this.#segments[i] = plain[i - 1]!.subarray(0, lengths[i]!);
    const late = plain[plain.length - 1]![0]! & LATE_MASK;
    if (late !== LATE_COMPLETE && late !== 1) throw new DecodeError(`frame epilogue: status ${late}`);
    this.#deliver(late !== LATE_COMPLETE);
  }

  #deliver(aborted: boolean): void {
    const [a = emptyBytes, b = emptyBytes, c = emptyBytes, d = emptyBytes] = this.#segments;
    const { tag } = this.#preamble!;
    this.#expectPreamble();
    this.sink.frame({ tag, segments: [a, b, c, d], aborted });
  }
}
