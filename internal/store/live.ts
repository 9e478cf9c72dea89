import { plantedFault } from '../base/planted-fault.ts';
import type { KeyValue } from './api.ts';
import { type KeyRange, type KeyText, keyText } from './keys.ts';
import type { Overlay } from './overlay.ts';
import type { Rows } from './rows.ts';

/** A range of a revision of the past is made of the newest one when so many changes came after it at most. */
const maxPatches = 1000;

/** A key that is not as the database has it now. */
interface Patch {
  readonly key: KeyText;
  /** Undefined: not there. */
  readonly kv: KeyValue | undefined;
  /** The database has it now. */
  readonly before: boolean;
}

export interface LiveKeys {
  readonly versions: KeyValue[];
  readonly count: number;
}

/**
 * Ranges of keys that are live at a revision. They are what the database has now, which it knows without looking at history, with what is different at
 * that revision: changes that are not written yet, or the last few that are taken back. Only revisions of long ago are looked for among all versions.
 */
export class LiveRanges {
  readonly #rows: Rows;
  readonly #overlay: Overlay;
  readonly #keyAt: (key: KeyText, revision: number) => KeyValue | undefined;

  /** `keyAt`: a key's live version at a revision. */
  constructor(rows: Rows, overlay: Overlay, keyAt: (key: KeyText, revision: number) => KeyValue | undefined) {
    this.#rows = rows;
    this.#overlay = overlay;
    this.#keyAt = keyAt;
  }

  /** Live versions of a range at a revision, at most `limit` (0: all; undefined: none), and how many there are. `keysOnly`: their values may be empty. */
  read(range: KeyRange, at: number, limit: number | undefined, keysOnly = false): LiveKeys {
    return this.#rows.moment((written) => {
      const patches = at >= written ? this.#unwritten(range, at, written) : this.#undone(range, at);
      if (patches !== undefined) return this.#patched(range, patches, limit, keysOnly);
      const versions = limit === undefined ? [] : this.#rows.liveAt(range, at, oneMore(limit), keysOnly);
      const complete = limit !== undefined && (limit === 0 || versions.length <= limit);
      if (complete) return { versions, count: versions.length };
      return { versions: versions.slice(0, limit), count: this.#rows.countAt(range, at) };
    });
  }

  /** What is newer than the database. */
  #unwritten(range: KeyRange, at: number, written: number): Patch[] {
    return this.#overlay
      .range(range, at, written)
      .map(({ version: { key, kv }, before }) => ({ key, kv: kv.version > 0 ? kv : undefined, before }));
  }

  /** What the database has from after a revision, as it was before; undefined when that is too much. */
  #undone(range: KeyRange, at: number): Patch[] | undefined {
    return this.#rows.changed(range, at, maxPatches)?.map(({ key, live }) => {
      const revision = plantedFault('past-as-now') ? Number.MAX_SAFE_INTEGER : at;
      return { key, kv: this.#keyAt(key, revision), before: live };
    });
  }

  /** What is live in the database, with some keys as they are elsewhere. */
  #patched(range: KeyRange, patches: readonly Patch[], limit: number | undefined, keysOnly: boolean): LiveKeys {
    let versions: KeyValue[] = [];
    let complete = false;
    if (limit !== undefined) {
      const most = limit === 0 ? Number.POSITIVE_INFINITY : limit;
      // Rows of keys that are gone take no place in the answer.
      const extra = patches.filter(({ kv, before }) => before && kv === undefined).length;
      const wanted = limit === 0 ? 0 : oneMore(limit + extra);
      const rows = this.#rows.live(range, wanted, keysOnly);
      // Only when the rows are all there are is what comes behind the last of them known.
      const all = limit === 0 || rows.length < wanted;
      versions = patches.length === 0 ? rows : merged(rows, patches, most + 1, all);
      complete = all && versions.length <= most;
      if (!complete) versions.length = Math.min(versions.length, most);
    }
    if (complete) return { versions, count: versions.length };
    let count = this.#rows.count(range);
    for (const { kv, before } of patches) count += Number(kv !== undefined) - Number(before);
    return { versions, count };
  }
}

/** It shows whether there are more than are wanted (0: all are); counting takes longer. */
function oneMore(limit: number): number {
  return limit === 0 ? 0 : limit + 1;
}

/** Rows with patches in their places, at most `most`; those behind the last row only when these are `all` rows. */
function merged(rows: readonly KeyValue[], patches: readonly Patch[], most: number, all: boolean): KeyValue[] {
  const versions: KeyValue[] = [];
  let next = 0;
  const patchesUpTo = (key: KeyText | undefined): void => {
    for (; next < patches.length && (key === undefined || patches[next]!.key <= key); next++)
      if (patches[next]!.kv !== undefined && versions.length < most) versions.push(patches[next]!.kv!);
  };
  for (const kv of rows) {
    if (versions.length >= most) break;
    if (next === patches.length) {
      versions.push(kv);
      continue;
    }
    const key = keyText(kv.key);
    const before = next;
    patchesUpTo(key);
    const replaced = next > before && patches[next - 1]!.key === key;
    if (!replaced && versions.length < most) versions.push(kv);
  }
  if (all) patchesUpTo(undefined);
  return versions;
}
