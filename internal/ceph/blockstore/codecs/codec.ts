import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { DecodeError } from '../../../base/bytes.ts';
import { errorText } from '../../../base/errors.ts';
import { lz4Compress, lz4Decompress } from './lz4.ts';
import { snappyCompress, snappyDecompress } from './snappy.ts';

/** How the bytes of a compressed blob are made. Both ways are pure. */
export interface Codec {
  /** As in `compression_algorithm`. */
  readonly name: string;
  /** For the disk: never reuse one. */
  readonly id: number;
  /** Compresses at most 64 KiB into `into`; returns how many bytes it took, or -1 when it does not fit. */
  compress(src: Uint8Array, into: Uint8Array): number;
  /** Fills all of `into`, and makes no more than that. Errors: DecodeError. */
  decompress(src: Uint8Array, into: Uint8Array): void;
}

/** `compressor_zlib_level`; raw streams, as with `compressor_zlib_winsize` -15. */
const zlibLevel = 5;
/** `compressor_zstd_level`. */
const zstdLevel = 1;

function taken(made: Uint8Array, into: Uint8Array): number {
  if (made.length > into.length) return -1;
  into.set(made);
  return made.length;
}

function filled(made: Uint8Array, into: Uint8Array): void {
  if (made.length !== into.length) throw new DecodeError(`${made.length} bytes, ${into.length} are noted`);
  into.set(made);
}

/** Content size that a zstd frame states (RFC 8878, 3.1.1); undefined when it does not. */
export function zstdContentSize(frame: Uint8Array): number | undefined {
  if (frame.length < 6) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (view.getUint32(0, true) !== 0xfd2fb528) return undefined;
  const descriptor = frame[4]!;
  const singleSegment = (descriptor >>> 5) & 1;
  const sizeBytes = [singleSegment, 2, 4, 8][descriptor >>> 6]!;
  const at = 5 + (1 - singleSegment) + [0, 1, 2, 4][descriptor & 3]!;
  if (sizeBytes === 0 || at + sizeBytes > frame.length) return undefined;
  if (sizeBytes === 1) return frame[at]!;
  if (sizeBytes === 2) return view.getUint16(at, true) + 256;
  return sizeBytes === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true));
}

export const codecs: readonly Codec[] = [
  { name: 'lz4', id: 1, compress: lz4Compress, decompress: lz4Decompress },
  {
    name: 'zstd',
    id: 2,
    compress: (src, into) => taken(Bun.zstdCompressSync(src, { level: zstdLevel }), into),
    decompress: (src, into) => {
      // The runtime makes as much as the frame says.
      if (zstdContentSize(src) !== into.length) throw new DecodeError(`zstd: not a frame of ${into.length} bytes`);
      let made: Uint8Array;
      try {
        made = Bun.zstdDecompressSync(src);
      } catch (error) {
        throw new DecodeError(`zstd: ${errorText(error)}`);
      }
      filled(made, into);
    },
  },
  { name: 'snappy', id: 3, compress: snappyCompress, decompress: snappyDecompress },
  {
    name: 'zlib',
    id: 4,
    compress: (src, into) => taken(deflateRawSync(src, { level: zlibLevel }), into),
    decompress: (src, into) => {
      let made: Uint8Array;
      try {
        made = inflateRawSync(src, { maxOutputLength: into.length });
      } catch (error) {
        throw new DecodeError(`zlib: ${errorText(error)}`);
      }
      filled(made, into);
    },
  },
];

export function codecOfName(name: string): Codec | undefined {
  return codecs.find((codec) => codec.name === name);
}

/** Errors: DecodeError for a number that no codec has. */
export function codecOfId(id: number): Codec {
  const codec = codecs.find((each) => each.id === id);
  if (codec === undefined) throw new DecodeError(`data compressed in a way (${id}) that is not known`);
  return codec;
}
