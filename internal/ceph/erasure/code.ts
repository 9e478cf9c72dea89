import { unfilledBytes } from '../../base/bytes.ts';
import { assert } from '../../base/errors.ts';
import { invert, type Matrix, rowTimes } from './gf256.ts';
import { combine } from './kernel.ts';
import type { CodingRows } from './matrix.ts';

/** A systematic Reed-Solomon code: chunks 0 to k-1 are the data, k to k+m-1 are made of it; any k give all others. */
export class ErasureCode {
  readonly k: number;
  readonly m: number;
  /** The identity on top of the coding rows: chunk i is row i times the data. */
  readonly #rows: Matrix;
  readonly #coding: CodingRows;
  /** Rows that give wanted chunks from present ones, by both lists. */
  readonly #ways = new Map<string, Uint8Array[]>();

  constructor(k: number, coding: CodingRows) {
    this.k = k;
    this.m = coding.length;
    this.#coding = coding;
    const identity = Array.from({ length: k }, (_, i) => Uint8Array.from({ length: k }, (_x, j) => (i === j ? 1 : 0)));
    this.#rows = [...identity, ...coding];
  }

  get chunks(): number {
    return this.k + this.m;
  }

  /** The coding chunks of `k` data chunks of one length. `take` gives memory of any content for each. */
  encode(data: readonly Uint8Array[], take: (length: number) => Uint8Array = unfilledBytes): Uint8Array[] {
    assert(data.length === this.k, () => `${data.length} chunks for a code of ${this.k}`);
    const out = this.#coding.map(() => take(data[0]!.length));
    combine(this.#coding, data, out);
    return out;
  }

  /** Chunks `wanted` from the first `k` of those that are there; all of one length. `take` as in `encode`. Errors: fewer than `k` are there. */
  rebuild(
    present: ReadonlyMap<number, Uint8Array>,
    wanted: readonly number[],
    take: (length: number) => Uint8Array = unfilledBytes,
  ): Map<number, Uint8Array> {
    const out = new Map<number, Uint8Array>();
    const lost: number[] = [];
    for (const chunk of wanted) {
      const there = present.get(chunk);
      if (there === undefined) lost.push(chunk);
      else out.set(chunk, there);
    }
    if (lost.length === 0) return out;
    const from = [...present.keys()].sort((a, b) => a - b).slice(0, this.k);
    assert(from.length === this.k, () => `${from.length} chunks are there, ${this.k} are needed`);
    const inputs = from.map((chunk) => present.get(chunk)!);
    const made = lost.map(() => take(inputs[0]!.length));
    combine(this.#way(from, lost), inputs, made);
    for (let i = 0; i < lost.length; i++) out.set(lost[i]!, made[i]!);
    return out;
  }

  #way(from: readonly number[], lost: readonly number[]): Uint8Array[] {
    const id = `${from.join()}>${lost.join()}`;
    let way = this.#ways.get(id);
    if (way === undefined) {
      const data = invert(from.map((chunk) => this.#rows[chunk]!));
      assert(data !== undefined, () => `chunks ${from.join()} do not give the others`);
      way = lost.map((chunk) => rowTimes(this.#rows[chunk]!, data));
      if (this.#ways.size >= 256) this.#ways.clear();
      this.#ways.set(id, way);
    }
    return way;
  }
}
