/** Shorter buffers come fresh. */
export const pooledFromBytes = 64 * 1024;
const largest = 4 * 1024 * 1024;

/**
 * Large buffers that are used again: touching fresh memory costs more than all else that is done to a payload. Whoever knows that nobody looks at a
 * buffer any more gives it back; a buffer that nobody gives back is garbage like any other, so forgetting to is no leak. Lengths that are not worth
 * it come fresh.
 */
export class BufferPool {
  readonly #allocate: (length: number) => Uint8Array;
  readonly #limitBytes: number;
  /** Free buffers by length, the longest unused first. */
  readonly #free = new Map<number, Uint8Array[]>();
  /** Fewest free buffers of a length since the last `trim`. */
  readonly #spare = new Map<number, number>();
  #freeBytes = 0;
  readonly #lent = new WeakMap<Uint8Array, Uint8Array>();

  /** `allocate` need not clear what it gives; `limitBytes` bounds what lies here unused. */
  constructor(allocate: (length: number) => Uint8Array, limitBytes: number) {
    this.#allocate = allocate;
    this.#limitBytes = limitBytes;
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** A buffer of any content. */
  take(length: number): Uint8Array {
    if (length < pooledFromBytes || length > largest) return this.#allocate(length);
    let size = pooledFromBytes;
    while (size < length) size *= 2;
    const list = this.#free.get(size);
    const known = list?.pop();
    if (known !== undefined) {
      this.#freeBytes -= size;
      if (list!.length < (this.#spare.get(size) ?? 0)) this.#spare.set(size, list!.length);
    }
    const whole = known ?? this.#allocate(size);
    const view = length === size && known === undefined ? whole : whole.subarray(0, length);
    this.#lent.set(view, whole);
    return view;
  }

  /** `view` stands for `taken` from now on: giving it back gives `taken` back. */
  rename(taken: Uint8Array, view: Uint8Array): void {
    const whole = this.#lent.get(taken);
    if (whole === undefined || view === taken) return;
    this.#lent.delete(taken);
    this.#lent.set(view, whole);
  }

  /** Nobody reads or writes this buffer any more. What did not come from here, or is back already, is left alone. */
  give(view: Uint8Array): void {
    const whole = this.#lent.get(view);
    if (whole === undefined) return;
    this.#lent.delete(view);
    if (this.#freeBytes + whole.length > this.#limitBytes) return;
    let list = this.#free.get(whole.length);
    if (list === undefined) {
      list = [];
      this.#free.set(whole.length, list);
    }
    // A view of its own for each user: what is noted about the last one's must not be believed of the next one's.
    list.push(whole.subarray());
    this.#freeBytes += whole.length;
  }

  /** Lets go of what was not needed since the last call. */
  trim(): void {
    for (const [size, list] of this.#free) {
      const idle = this.#spare.get(size) ?? 0;
      list.splice(0, idle);
      this.#freeBytes -= idle * size;
      this.#spare.set(size, list.length);
    }
  }
}
