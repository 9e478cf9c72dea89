import type { Transport } from './transport.ts';

/** Views of at least this many bytes are written where they lie; smaller ones are gathered, which is cheaper than a call each. */
const directFromBytes = 64 * 1024;
const gathered = new Uint8Array(256 * 1024);

/** Bytes on their way into a transport: views in order, written as far as there is room. */
export class SendQueue {
  #views: Uint8Array[] = [];
  #head = 0;
  /** Bytes of the first view already written. */
  #offset = 0;
  #bytes = 0;
  #blocked = false;
  /** Bytes that were ever queued and written. */
  #queuedEver = 0;
  #writtenEver = 0;
  /** What to call when the first `at` bytes are written. */
  readonly #waiting: { at: number; sent: () => void }[] = [];
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** `sent` is called when all of the views are written. */
  push(views: readonly Uint8Array[], sent?: () => void): void {
    for (const view of views) {
      if (view.length === 0) continue;
      this.#views.push(view);
      this.#bytes += view.length;
      this.#queuedEver += view.length;
    }
    if (sent !== undefined) this.#waiting.push({ at: this.#queuedEver, sent });
  }

  /** The transport has room again. */
  drain(): void {
    this.#blocked = false;
    this.flush();
  }

  flush(): void {
    while (!this.#blocked && this.#bytes > 0) {
      const piece = this.#nextPiece();
      const taken = this.#transport.write(piece);
      if (taken < piece.length) this.#blocked = true;
      if (taken > 0) this.#advance(taken);
    }
  }

  #nextPiece(): Uint8Array {
    const first = this.#views[this.#head]!;
    const left = first.length - this.#offset;
    if (left >= directFromBytes || left === this.#bytes)
      return this.#offset === 0 ? first : first.subarray(this.#offset);
    let length = 0;
    for (let i = this.#head; i < this.#views.length; i++) {
      const view = this.#views[i]!;
      const from = i === this.#head ? this.#offset : 0;
      const size = view.length - from;
      if (size >= directFromBytes || length + size > gathered.length) break;
      gathered.set(from === 0 ? view : view.subarray(from), length);
      length += size;
    }
    return gathered.subarray(0, length);
  }

  #advance(taken: number): void {
    this.#bytes -= taken;
    let left = taken;
    while (left > 0) {
      const size = this.#views[this.#head]!.length - this.#offset;
      if (left < size) {
        this.#offset += left;
        this.#tellSent(taken);
        return;
      }
      left -= size;
      this.#offset = 0;
      this.#head++;
    }
    this.#tellSent(taken);
    if (this.#head === this.#views.length) {
      this.#views.length = 0;
      this.#head = 0;
    } else if (this.#head > 1024) {
      this.#views.splice(0, this.#head);
      this.#head = 0;
    }
  }

  #tellSent(taken: number): void {
    this.#writtenEver += taken;
    while (this.#waiting.length > 0 && this.#waiting[0]!.at <= this.#writtenEver) this.#waiting.shift()!.sent();
  }
}
