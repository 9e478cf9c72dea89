import { Crc32cPieces, rawCrc32c, wholeCrc32c } from '../base/crc32c.ts';
import { encodeRecordHeader, recordBytes, recordHeaderBytes, recordSalt, type SegmentHeader } from './format.ts';

/** A record on its way to the disk. */
export interface QueuedRecord {
  index: number;
  type: number;
  pieces: readonly Uint8Array[];
  length: number;
  durable: boolean;
  promise: Promise<void>;
  resolve: () => void;
  reject: (error: Error) => void;
}

/** Pieces up to this size are copied behind their header: one more piece in a vector costs more than the copy. */
const copiedBytes = 2048;
/** A batch up to this size is copied as a whole: a write of one piece is the cheapest. */
const copiedBatchBytes = 256 * 1024;

/** Many pieces are blocks of this size whose checksum their owner has just computed. */
const blockBytes = 4096;
const blocks = new Crc32cPieces(blockBytes);

/** Turns records into a vector for one write. One write is in flight at a time, so the headers' memory is used again. */
export class BatchEncoder {
  #arena = new Uint8Array(64 * 1024);
  #view = new DataView(this.#arena.buffer);

  encode(batch: readonly QueuedRecord[], segment: SegmentHeader, epoch: number, durable: number): Uint8Array[] {
    let total = 0;
    for (const record of batch) total += recordBytes(record.length);
    const copied = total <= copiedBatchBytes ? copiedBatchBytes : copiedBytes;
    let need = 0;
    for (const record of batch) {
      need += recordBytes(0) + 8;
      for (const piece of record.pieces) if (piece.length <= copied) need += piece.length;
    }
    if (this.#arena.length < need || this.#arena.length > Math.max(4 * need, 1024 * 1024)) {
      this.#arena = new Uint8Array(Math.max(64 * 1024, need));
      this.#view = new DataView(this.#arena.buffer);
    }

    const salt = recordSalt(segment);
    const arena = this.#arena;
    const out: Uint8Array[] = [];
    let at = 0;
    let run = 0;
    for (const record of batch) {
      const header = at;
      at += recordHeaderBytes;
      let crc = salt;
      for (const piece of record.pieces) {
        crc = piece.length === blockBytes ? blocks.join(crc, wholeCrc32c(piece)) : rawCrc32c(crc, piece);
        if (piece.length <= copied) {
          arena.set(piece, at);
          at += piece.length;
        } else {
          if (at > run) out.push(arena.subarray(run, at));
          out.push(piece);
          run = at;
        }
      }
      const padding = recordBytes(record.length) - recordHeaderBytes - record.length;
      arena.fill(0, at, at + padding);
      at += padding;
      encodeRecordHeader(
        arena,
        this.#view,
        header,
        { length: record.length, type: record.type, index: record.index, durable, epoch, payloadCrc: crc },
        salt,
      );
    }
    if (at > run) out.push(arena.subarray(run, at));
    return out;
  }
}
