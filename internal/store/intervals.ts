import { type KeyRange, type KeyText, lowerBound } from './keys.ts';

/** A set of keys given as ranges; overlapping ones are merged, so that a look-up costs a binary search however many were added. */
export class KeyIntervals {
  /** Sorted, disjoint; `ends[i]` undefined: without bound, only possible for the last. */
  readonly #firsts: KeyText[] = [];
  readonly #ends: (KeyText | undefined)[] = [];

  add({ first, end }: KeyRange): void {
    if (end !== undefined && end <= first) return;
    let from = lowerBound(this.#firsts, first);
    if (from > 0 && reaches(this.#ends[from - 1], first)) from--;
    let to = from;
    let low = first;
    let high = end;
    while (to < this.#firsts.length && (high === undefined || this.#firsts[to]! <= high)) {
      if (this.#firsts[to]! < low) low = this.#firsts[to]!;
      const other = this.#ends[to];
      if (other === undefined || (high !== undefined && other > high)) high = other;
      to++;
    }
    this.#firsts.splice(from, to - from, low);
    this.#ends.splice(from, to - from, high);
  }

  addAll(other: KeyIntervals): void {
    for (const [i, first] of other.#firsts.entries()) this.add({ first, end: other.#ends[i], single: false });
  }

  has(key: KeyText): boolean {
    const at = lowerBound(this.#firsts, `${key}\0`) - 1;
    if (at < 0) return false;
    const end = this.#ends[at];
    return end === undefined || key < end;
  }
}

function reaches(end: KeyText | undefined, key: KeyText): boolean {
  return end === undefined || end >= key;
}
