import { ByteWriter, DecodeError } from '../base/bytes.ts';
import { rawCrc32c } from '../base/crc32c.ts';

/**
 * What travels between members: frames of magic (u32), version (u8), kind (u8), zero (u16), length (u32), CRC-32C of kind and payload (u32), then
 * the payload; all little-endian. TLS keeps others from changing them, the checksum keeps memory and software from doing so.
 */
export const frameKinds = {
  /** First on every connection, both ways: JSON, `peer-transport.ts`. */
  hello: 1,
  /** `wire.ts`. */
  message: 2,
  /** Begins a snapshot: its meta and length. */
  snapshotBegin: 3,
  snapshotPiece: 4,
  /** Ends it: CRC-32C of everything. */
  snapshotEnd: 5,
  /** The receiver has so many pieces. */
  snapshotProgress: 6,
  /** JSON: an error, or nothing. */
  snapshotResult: 7,
  /** In the place of a greeting, before the end: why the caller is refused. */
  refusal: 8,
} as const;

const magic = 0x5446_4152; // RAFT
const frameVersion = 1;
export const frameHeaderBytes = 16;
const crcSeed = 0xffff_ffff;

export function frameHeader(kind: number, pieces: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  let crc = seedOf(kind);
  for (const piece of pieces) {
    length += piece.length;
    crc = rawCrc32c(crc, piece);
  }
  return new ByteWriter(frameHeaderBytes).u32(magic).u8(frameVersion).u8(kind).u16(0).u32(length).u32(crc).finish();
}

function seedOf(kind: number): number {
  return rawCrc32c(crcSeed, Uint8Array.of(kind));
}

export interface Frame {
  kind: number;
  /** Valid until the next call of `push`. */
  payload: Uint8Array;
}

/** Cuts a stream of bytes into frames. Holds one frame at most; `maxBytes` bounds it. */
export class FrameReader {
  #buffer = new Uint8Array(64 * 1024);
  #length = 0;

  constructor(public maxBytes: number) {}

  /** The frames that are whole now. DecodeError, after which the connection is of no use. */
  *push(bytes: Uint8Array): Generator<Frame> {
    let at = 0;
    while (at < bytes.length || this.#length >= frameHeaderBytes) {
      const want = this.#length < frameHeaderBytes ? frameHeaderBytes : frameHeaderBytes + this.#frameLength();
      const count = Math.min(want - this.#length, bytes.length - at);
      if (count > 0) {
        this.#reserve(this.#length + count);
        this.#buffer.set(bytes.subarray(at, at + count), this.#length);
        this.#length += count;
        at += count;
      }
      if (this.#length < want) return;
      if (want === frameHeaderBytes && this.#frameLength() > 0) continue;
      const payload = this.#buffer.subarray(frameHeaderBytes, want);
      const view = new DataView(this.#buffer.buffer);
      const kind = view.getUint8(5);
      if (rawCrc32c(seedOf(kind), payload) !== view.getUint32(12, true))
        throw new DecodeError('a frame with a wrong checksum');
      this.#length = 0;
      yield { kind, payload };
      if (at >= bytes.length) return;
    }
  }

  /** Checks the header on the way. */
  #frameLength(): number {
    const view = new DataView(this.#buffer.buffer);
    if (view.getUint32(0, true) !== magic) throw new DecodeError('this is no frame of a store member');
    const version = view.getUint8(4);
    if (version !== frameVersion)
      throw new DecodeError(`a frame of version ${version}, this program speaks ${frameVersion}`);
    if (view.getUint16(6, true) !== 0) throw new DecodeError('a frame with unknown flags');
    const length = view.getUint32(8, true);
    if (length > this.maxBytes) throw new DecodeError(`a frame of ${length} bytes, at most ${this.maxBytes}`);
    return length;
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#buffer.length) return;
    // No more than has arrived, so that a length alone costs nothing.
    const grown = new Uint8Array(Math.max(bytes, this.#buffer.length * 2));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
  }
}
