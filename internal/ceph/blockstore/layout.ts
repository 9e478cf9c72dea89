import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { keyBytes, keyString } from './order.ts';

/** A stretch of names, up to where the next one begins, and the number under which the index has its objects; 0: it holds none yet. */
interface Stretch {
  readonly first: string;
  readonly id: number;
}

/**
 * Under which numbers the index has a collection's objects. Most collections have one number for all names. When a range of names moves to another
 * collection its numbers go with it, and no row of the index changes.
 */
export class Layout {
  /** Ascending; the first begins at the empty name. */
  #stretches: Stretch[];

  constructor(id: number) {
    this.#stretches = [{ first: '', id }];
  }

  get simple(): boolean {
    return this.#stretches.length === 1;
  }

  #indexOf(name: string): number {
    let low = 0;
    let high = this.#stretches.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#stretches[middle]!.first <= name) low = middle;
      else high = middle;
    }
    return low;
  }

  idOf(name: string): number {
    return this.#stretches.length === 1 ? this.#stretches[0]!.id : this.#stretches[this.#indexOf(name)]!.id;
  }

  /** Gives the stretch that holds `name` a number. */
  assign(name: string, id: number): void {
    const at = this.#indexOf(name);
    this.#stretches[at] = { first: this.#stretches[at]!.first, id };
  }

  /** The stretches that hold names in [from, end), cut to it; those without a number are left out. `end` undefined: to the last name. */
  *between(from: string, end?: string): Generator<{ first: string; end: string | undefined; id: number }> {
    for (let at = this.#indexOf(from); at < this.#stretches.length; at++) {
      const { first, id } = this.#stretches[at]!;
      if (end !== undefined && first >= end) return;
      const next = this.#stretches[at + 1]?.first;
      const last = next === undefined || (end !== undefined && end < next) ? end : next;
      if (id !== 0) yield { first: first < from ? from : first, end: last, id };
    }
  }

  /** Takes the numbers of [first, end) out. */
  take(first: string, end: string): Stretch[] {
    const taken = [...this.between(first, end)].map((s): Stretch => ({ first: s.first, id: s.id }));
    this.put(first, end, []);
    return taken;
  }

  /** Replaces what is said of [first, end). */
  put(first: string, end: string, stretches: readonly Stretch[]): void {
    const atEnd = this.idOf(end);
    const out = this.#stretches.filter((s) => s.first < first);
    if (stretches[0]?.first !== first) out.push({ first, id: 0 });
    out.push(...stretches, { first: end, id: atEnd }, ...this.#stretches.filter((s) => s.first > end));
    this.#stretches = out.filter((s, i) => i === 0 || s.id !== out[i - 1]!.id);
  }

  encode(writer: ByteWriter): void {
    writer.u32(this.#stretches.length);
    for (const { first, id } of this.#stretches) writer.u16(first.length).bytes(keyBytes(first)).u32(id);
  }

  decode(reader: ByteReader): void {
    this.#stretches = Array.from({ length: reader.u32() }, () => ({
      first: keyString(reader.bytes(reader.u16())),
      id: reader.u32(),
    }));
  }
}
