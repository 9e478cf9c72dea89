import { utf8, utf8Text } from '../../base/bytes.ts';
import type { Index, IndexChange } from './index-api.ts';
import { compareUtf8, lowerBound, putU32 } from './order.ts';

/** Rows asked from the index at once. */
const pageRows = 128;

/** Changes of one omap: keys set or removed, over ranges removed before them. */
class Delta {
  readonly entries = new Map<string, Uint8Array | null>();
  /** [first, last) ascending, not touching. */
  ranges: [string, string][] = [];
  /** Keys of `entries` in order: a log of a PG appends behind and removes ranges in front. */
  readonly sorted: string[] = [];

  set(key: string, value: Uint8Array | null): number {
    const before = this.entries.get(key);
    if (before === undefined) this.sorted.splice(this.#place(key), 0, key);
    this.entries.set(key, value);
    return (value?.length ?? 0) - (before?.length ?? 0) + (before === undefined ? 2 * key.length + 64 : 0);
  }

  removeRange(first: string, last: string): void {
    const from = this.#place(first);
    for (const key of this.sorted.splice(from, this.#place(last) - from)) this.entries.delete(key);
    const kept: [string, string][] = [];
    for (const range of this.ranges) {
      if (compareUtf8(range[1], first) < 0 || compareUtf8(range[0], last) > 0) kept.push(range);
      else {
        if (compareUtf8(range[0], first) < 0) first = range[0];
        if (compareUtf8(range[1], last) > 0) last = range[1];
      }
    }
    kept.push([first, last]);
    this.ranges = kept.sort((a, b) => compareUtf8(a[0], b[0]));
  }

  /** True when what lies below this delta at `key` is removed by a range. */
  hides(key: string): boolean {
    if (this.ranges.length === 0) return false;
    let at = this.ranges.length - 1;
    while (at >= 0 && compareUtf8(this.ranges[at]![0], key) > 0) at--;
    return at >= 0 && compareUtf8(key, this.ranges[at]![1]) < 0;
  }

  #place(key: string): number {
    const last = this.sorted.at(-1);
    if (last === undefined || compareUtf8(last, key) < 0) return this.sorted.length;
    return lowerBound(this.sorted, key, compareUtf8);
  }
}

type Level = Map<number, Delta>;

export interface OmapListOptions {
  after?: string;
  inclusive?: boolean;
  prefix?: string;
  limit: number;
}

/**
 * All omaps of a store, each under a number: rows of the index, under the changes that a checkpoint is writing, under the changes since.
 */
export class Omaps {
  readonly #index: Index;
  #live: Level = new Map();
  #frozen: Level = new Map();
  /** Memory that the changes take, in bytes, about. */
  #liveBytes = 0;
  #frozenBytes = 0;

  constructor(index: Index) {
    this.#index = index;
  }

  get memoryBytes(): number {
    return this.#liveBytes + this.#frozenBytes;
  }

  /** Of the changes since the last checkpoint began. */
  get dirtyBytes(): number {
    return this.#liveBytes;
  }

  /** `value` is kept: the caller gives it away. */
  set(id: number, key: string, value: Uint8Array): void {
    this.#liveBytes += this.#delta(id).set(key, value);
  }

  remove(id: number, key: string): void {
    this.#liveBytes += this.#delta(id).set(key, null);
  }

  removeRange(id: number, first: string, last: string): void {
    if (compareUtf8(first, last) < 0) this.#delta(id).removeRange(first, last);
  }

  get(id: number, key: string): Uint8Array | undefined {
    for (const level of [this.#live, this.#frozen]) {
      const delta = level.get(id);
      if (delta === undefined) continue;
      const value = delta.entries.get(key);
      if (value !== undefined) return value ?? undefined;
      if (delta.hides(key)) return undefined;
    }
    return this.#index.get('omap', rowKey(id, key));
  }

  list(id: number, options: OmapListOptions): { entries: [string, Uint8Array][]; more: boolean } {
    const { prefix = '', limit } = options;
    let start = prefix;
    let inclusive = true;
    if (options.after !== undefined && compareUtf8(options.after, prefix) >= 0) {
      start = options.after;
      inclusive = options.inclusive ?? false;
    }
    const entries: [string, Uint8Array][] = [];
    for (const [key, value] of this.#merged(id, start, Math.min(limit + 1, pageRows))) {
      if (!inclusive && key === start) continue;
      if (!key.startsWith(prefix)) break;
      if (entries.length >= limit) return { entries, more: true };
      entries.push([key, value]);
    }
    return { entries, more: false };
  }

  /** Everything in one omap, ascending. */
  all(id: number): Iterable<[string, Uint8Array]> {
    return this.#merged(id, '', pageRows);
  }

  *#merged(id: number, start: string, page: number): Generator<[string, Uint8Array]> {
    const levels = [this.#live.get(id), this.#frozen.get(id)];
    const sources = [...levels.map((delta) => deltaRows(delta, start)), indexRows(this.#index, id, start, page)];
    const heads = sources.map((source) => source.next());
    for (;;) {
      let least: string | undefined;
      for (const head of heads)
        if (!head.done && (least === undefined || compareUtf8(head.value[0], least) < 0)) least = head.value[0];
      if (least === undefined) return;
      // The uppermost level that says something about the key decides.
      let decided = false;
      for (const [i, head] of heads.entries()) {
        if (!head.done && head.value[0] === least) {
          if (!decided && head.value[1] !== null) yield [least, head.value[1]];
          decided = true;
          heads[i] = sources[i]!.next();
        } else if (!decided && levels[i]?.hides(least)) decided = true;
      }
    }
  }

  /** The changes so far belong to a checkpoint from now on. */
  freeze(): void {
    this.#frozen = this.#live;
    this.#frozenBytes = this.#liveBytes;
    this.#live = new Map();
    this.#liveBytes = 0;
  }

  *frozenChanges(): Generator<IndexChange> {
    for (const [id, delta] of this.#frozen) {
      for (const [first, last] of delta.ranges) yield { table: 'omap', from: rowKey(id, first), to: rowKey(id, last) };
      for (const [key, value] of delta.entries)
        yield { table: 'omap', key: rowKey(id, key), value: value ?? undefined };
    }
  }

  /** The index holds the frozen changes. */
  thaw(): void {
    this.#frozen = new Map();
    this.#frozenBytes = 0;
  }

  /** Forgets changes of an omap that no object has any more; returns the range of its rows. */
  drop(id: number): IndexChange {
    this.#live.delete(id);
    return { table: 'omap', from: rowKey(id, ''), to: rowKey(id + 1, '') };
  }

  #delta(id: number): Delta {
    let delta = this.#live.get(id);
    if (delta === undefined) {
      delta = new Delta();
      this.#live.set(id, delta);
    }
    return delta;
  }
}

function* deltaRows(delta: Delta | undefined, start: string): Generator<[string, Uint8Array | null]> {
  if (delta === undefined) return;
  const { sorted, entries } = delta;
  for (let at = lowerBound(sorted, start, compareUtf8); at < sorted.length; at++)
    yield [sorted[at]!, entries.get(sorted[at]!) ?? null];
}

function* indexRows(index: Index, id: number, start: string, page: number): Generator<[string, Uint8Array | null]> {
  let from = rowKey(id, start);
  const end = rowKey(id + 1, '');
  for (;;) {
    const rows = index.range('omap', from, end, page);
    for (const [key, value] of rows) yield [utf8Text(key.subarray(8)), value];
    if (rows.length < page) return;
    const last = rows.at(-1)![0];
    from = new Uint8Array(last.length + 1);
    from.set(last);
  }
}

/** Number of the omap big-endian, then the key: rows of one omap stand together in the order of their keys. */
function rowKey(id: number, key: string): Uint8Array {
  const text = utf8(key);
  const out = new Uint8Array(8 + text.length);
  putU32(out, 0, Math.floor(id / 0x1_0000_0000));
  putU32(out, 4, id);
  out.set(text, 8);
  return out;
}
