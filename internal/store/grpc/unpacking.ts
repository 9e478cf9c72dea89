import { gunzip } from 'node:zlib';
import { GrpcError, grpcCode } from './status.ts';

/** Messages that a server unpacks at once: what comes out of more would wait in memory for the event loop. */
const unpackedAtOnce = 4;

/** Unpacks what the calls of one server bring, so many at a time. */
export class Gunzip {
  readonly #maxBytes: number;
  readonly #unpack: typeof gunzipped;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(maxBytes: number, unpack = gunzipped) {
    this.#maxBytes = maxBytes;
    this.#unpack = unpack;
  }

  /** GrpcError when there are more bytes than `maxBytes` in it, or it is no gzip. */
  async unpack(packed: Uint8Array): Promise<Uint8Array> {
    if (this.#running === unpackedAtOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    try {
      return await this.#unpack(packed, this.#maxBytes);
    } finally {
      // Whoever waits takes this one's place.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}

function gunzipped(packed: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    gunzip(packed, { maxOutputLength: maxBytes }, (error, plain) => {
      if (!error) resolve(plain);
      else if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE')
        reject(
          new GrpcError(
            grpcCode.resourceExhausted,
            `grpc: received message after decompression larger than max ${maxBytes}`,
          ),
        );
      else
        reject(new GrpcError(grpcCode.internal, `grpc: failed to decompress the received message: ${error.message}`));
    });
  });
}

export interface UnpackingOptions {
  unpack(packed: Uint8Array): Promise<Uint8Array>;
  take(message: Uint8Array): void;
  /** A message that could not be unpacked, or not be taken: nothing behind it is looked at. */
  fail(error: unknown): void;
  /** Another number of bytes is held. */
  changed(): void;
}

/** Messages of one call behind one that must be unpacked first: in order, one unpacked at a time, the others held as they came. */
export class Unpacking {
  readonly #options: UnpackingOptions;
  readonly #queue: { bytes: Uint8Array; compressed: boolean }[] = [];
  #running: Promise<void> | undefined;
  #held = 0;
  #stopped = false;

  constructor(options: UnpackingOptions) {
    this.#options = options;
  }

  /** Bytes that wait, as they came. */
  get held(): number {
    return this.#held;
  }

  /** Resolves when nothing waits any more; undefined: nothing does. */
  get running(): Promise<void> | undefined {
    return this.#running;
  }

  push(bytes: Uint8Array, compressed: boolean): void {
    if (this.#stopped) return;
    this.#queue.push({ bytes: bytes.slice(), compressed });
    this.#held += bytes.length;
    this.#running ??= this.#run();
  }

  /** Nobody wants what is left. */
  stop(): void {
    this.#stopped = true;
    this.#queue.length = 0;
    this.#held = 0;
  }

  async #run(): Promise<void> {
    // Not in the turn of whoever pushes.
    await undefined;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        const { bytes, compressed } = next;
        const message = compressed ? await this.#options.unpack(bytes) : bytes;
        if (this.#stopped) break;
        this.#held -= bytes.length;
        this.#options.changed();
        this.#options.take(message);
      }
    } catch (error) {
      this.stop();
      this.#options.fail(error);
    }
    this.#running = undefined;
    this.#options.changed();
  }
}
