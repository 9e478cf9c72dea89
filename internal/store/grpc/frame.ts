import { concatBytes } from '../../base/bytes.ts';
import { GrpcError, grpcCode } from './status.ts';

/** Before each message: whether it is compressed, and its length as a big-endian number (grpc/grpc, doc/PROTOCOL-HTTP2.md). */
export const frameHeaderBytes = 5;

export interface Message {
  compressed: boolean;
  /** A view of what was pushed where the message came in one piece. */
  bytes: Uint8Array;
}

/** Takes messages out of a stream's bytes. Holds at most one message that is not complete, and no more than `maxBytes` of it. */
export class MessageReader {
  readonly #maxBytes: number;
  #pieces: Uint8Array[] = [];
  #held = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of a message that is not complete yet. */
  get held(): number {
    return this.#held;
  }

  /** The messages that are complete with these bytes. GrpcError when one is too large or its header is not one. */
  *push(chunk: Uint8Array): Generator<Message> {
    let rest = chunk;
    for (;;) {
      if (this.#held > 0) {
        this.#pieces.push(rest);
        this.#held += rest.length;
        if (this.#held < frameHeaderBytes) return;
        // The header is looked at before anything is put together: a length that is refused costs nothing.
        const head = this.#pieces[0]!.length >= frameHeaderBytes ? this.#pieces[0]! : concatBytes(this.#pieces);
        if (this.#held < frameHeaderBytes + this.#length(head)) return;
        rest = concatBytes(this.#pieces);
        this.#pieces = [];
        this.#held = 0;
      }
      if (rest.length === 0) return;
      if (rest.length < frameHeaderBytes || rest.length < frameHeaderBytes + this.#length(rest)) {
        this.#pieces = [rest];
        this.#held = rest.length;
        return;
      }
      const end = frameHeaderBytes + this.#length(rest);
      yield { compressed: rest[0] === 1, bytes: rest.subarray(frameHeaderBytes, end) };
      rest = rest.subarray(end);
    }
  }

  #length(head: Uint8Array): number {
    if (head[0]! > 1) throw new GrpcError(grpcCode.internal, `grpc: received unexpected payload format ${head[0]}`);
    const length = ((head[1]! << 24) | (head[2]! << 16) | (head[3]! << 8) | head[4]!) >>> 0;
    if (length > this.#maxBytes)
      throw new GrpcError(
        grpcCode.resourceExhausted,
        `grpc: received message larger than max (${length} vs. ${this.#maxBytes})`,
      );
    return length;
  }

  /** The stream ended. GrpcError when it did so inside of a message. */
  end(): void {
    if (this.#held > 0) throw new GrpcError(grpcCode.internal, 'unexpected EOF: the stream ended inside of a message');
  }
}

/** A message with its header: a Buffer, because a stream makes one of anything else. */
export function frame(message: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(frameHeaderBytes + message.length);
  writeHeader(out, message.length);
  out.set(message, frameHeaderBytes);
  return out;
}

/** The header of an uncompressed message of `length` bytes. */
export function frameHeader(length: number): Buffer {
  const out = Buffer.allocUnsafe(frameHeaderBytes);
  writeHeader(out, length);
  return out;
}

function writeHeader(out: Uint8Array, length: number): void {
  out[0] = 0;
  out[1] = length >>> 24;
  out[2] = length >>> 16;
  out[3] = length >>> 8;
  out[4] = length;
}
