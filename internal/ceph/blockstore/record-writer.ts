import { ByteWriter } from '../../base/bytes.ts';

const arenaBytes = 128 * 1024;

/**
 * Writes records one after the other into shared memory: a record is a view of it, and a new piece of memory is begun when one is full. So a
 * transaction costs no buffer of its own, and no growing.
 */
export class RecordWriter extends ByteWriter {
  #start = 0;

  constructor() {
    super(arenaBytes);
  }

  /** Bytes of the record so far. */
  get recordSize(): number {
    return this.length - this.#start;
  }

  begin(): void {
    this.#start = this.length;
  }

  /** The record as a view that stays valid. */
  end(): Uint8Array {
    const record = this.buffer.subarray(this.#start, this.length);
    this.#start = this.length;
    return record;
  }

  protected override reserve(count: number): number {
    const need = this.length + count;
    if (need > this.buffer.length) {
      const size = this.length - this.#start;
      const fresh = new Uint8Array(Math.max(arenaBytes, 2 * (size + count)));
      fresh.set(this.buffer.subarray(this.#start, this.length));
      this.buffer = fresh;
      this.#start = 0;
      this.length = size;
    }
    const at = this.length;
    this.length += count;
    return at;
  }
}
