import type { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { assert } from '../../base/errors.ts';
import type { Run } from './allocator.ts';

export interface CountedRun extends Run {
  refs: number;
}

/**
 * Blocks that one `clone` made common to several objects, with how many use each. A block's table entry names its share; a block without one
 * has a single user.
 */
export class Share {
  readonly id: number;
  /** Ascending, not overlapping. */
  #runs: CountedRun[];
  /** Generation of the catalog in which it may be changed in place. */
  generation: number;

  constructor(id: number, generation: number, runs: CountedRun[] = []) {
    this.id = id;
    this.generation = generation;
    this.#runs = runs;
  }

  /** Ascending, not overlapping; neighbours with as many users are one run. */
  get runs(): readonly Readonly<CountedRun>[] {
    return this.#runs;
  }

  get empty(): boolean {
    return this.#runs.length === 0;
  }

  get memoryBytes(): number {
    return 100 + this.#runs.length * 64;
  }

  copy(generation: number): Share {
    return new Share(
      this.id,
      generation,
      this.#runs.map((run) => ({ ...run })),
    );
  }

  /** Takes up blocks that are not in it, with `refs` users. */
  add(run: Run, refs: number): void {
    const at = this.#runs.findIndex((other) => other.start > run.start);
    this.#runs.splice(at < 0 ? this.#runs.length : at, 0, { ...run, refs });
  }

  /** One more user. */
  retain(run: Run): void {
    for (const each of this.#cut(run)) each.refs++;
    this.#join();
  }

  /** One user less; returns the blocks that nobody uses any more. */
  release(run: Run): Run[] {
    const gone: Run[] = [];
    for (const each of this.#cut(run)) {
      each.refs--;
      if (each.refs === 0) gone.push({ start: each.start, count: each.count });
    }
    this.#runs = this.#runs.filter((each) => each.refs > 0);
    this.#join();
    return gone;
  }

  /** The pieces that cover `run` exactly, split off where needed. */
  #cut(run: Run): CountedRun[] {
    const end = run.start + run.count;
    const out: CountedRun[] = [];
    const next: CountedRun[] = [];
    let covered = 0;
    for (const each of this.#runs) {
      const from = Math.max(each.start, run.start);
      const to = Math.min(each.start + each.count, end);
      if (from >= to) {
        next.push(each);
        continue;
      }
      if (each.start < from) next.push({ start: each.start, count: from - each.start, refs: each.refs });
      const middle = { start: from, count: to - from, refs: each.refs };
      next.push(middle);
      out.push(middle);
      covered += middle.count;
      if (to < each.start + each.count) next.push({ start: to, count: each.start + each.count - to, refs: each.refs });
    }
    assert(covered === run.count, `share ${this.id} has ${covered} of blocks ${run.start}+${run.count}`);
    this.#runs = next;
    return out;
  }

  #join(): void {
    const out: CountedRun[] = [];
    for (const each of this.#runs) {
      const last = out.at(-1);
      if (last && last.start + last.count === each.start && last.refs === each.refs) last.count += each.count;
      else out.push(each);
    }
    this.#runs = out;
  }

  encode(writer: ByteWriter): void {
    writer.u8(1).u32(this.#runs.length);
    for (const run of this.#runs) writer.u32(run.start).u32(run.count).u32(run.refs);
  }

  static decode(id: number, generation: number, reader: ByteReader): Share {
    const version = reader.u8();
    assert(version === 1, `share ${id} has format version ${version}`);
    const runs: CountedRun[] = [];
    for (let n = reader.u32(); n > 0; n--) runs.push({ start: reader.u32(), count: reader.u32(), refs: reader.u32() });
    return new Share(id, generation, runs);
  }
}
