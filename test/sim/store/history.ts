import type { KeyValue, WatchEvent } from '../../../internal/store/api.ts';

/** What a client asked for, and what came of it. Times are places in the order of all invocations and answers. */
export interface Operation {
  /** `pair`: one transaction writes two keys. `move`: one deletes a key, if it is there, and writes another. `past`: a list as of an earlier revision. */
  readonly kind: 'put' | 'delete' | 'swap' | 'pair' | 'move' | 'get' | 'list' | 'past';
  readonly key: string;
  /** Unique, of puts, swaps and pairs. */
  readonly value: string;
  /** The other key of a pair or a move, and what is written there. */
  readonly other?: { readonly key: string; readonly value: string };
  /** Of `past`: the revision that was asked for. */
  at?: number;
  readonly invoked: number;
  /** Infinity while no answer came: it may take effect at any time, or never. */
  answered: number;
  outcome: 'unknown' | 'done' | 'refused';
  revision: number;
  /** The revision at which something was changed; 0: nothing was. */
  changed: number;
  /** Of reads: key and value of what was found. */
  found: [string, string][];
  /** May be lost by a power loss; its revision must not come again all the same. */
  volatile: boolean;
  /** Answered by what one member has. */
  serializable: boolean;
}

/** What a write changes, in the order of its transaction. */
export function writesOf({ kind, key, value, other }: Operation): Change[] {
  const first: Change =
    kind === 'delete' || kind === 'move' ? { type: 'delete', key, value: '' } : { type: 'put', key, value };
  return other ? [first, { type: 'put', ...other }] : [first];
}

export interface Change {
  type: 'put' | 'delete';
  key: string;
  value: string;
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

export function changesOf(events: readonly WatchEvent[]): Change[] {
  return events.map(({ type, kv }) => ({ type, key: text(kv.key), value: text(kv.value) }));
}

export function pairs(kvs: readonly KeyValue[]): [string, string][] {
  return kvs.map((kv) => [text(kv.key), text(kv.value)]);
}

export class Violation extends Error {}

function wrong(message: string): never {
  throw new Violation(message);
}

/** Everything that was told of the order of changes; every source must say the same. */
export class History {
  readonly operations: Operation[] = [];
  readonly #changes = new Map<number, string>();
  #clock = 0;
  /**
   * After a power loss of a group of one, history begins anew behind what may be lost: changes of requests without an answer may be there that nobody
   * was told of. Then reads are held against requests only (`isLinearizable`), not against what watches told.
   */
  hasHoles = false;
  /** What was told is lost with the disks that had it. */
  hasEnded = false;

  tick(): number {
    return ++this.#clock;
  }

  /** The first state: of a store that was restored, at the revision where its history begins. */
  begin(revision: number, kvs: readonly [string, string][]): void {
    this.told(
      revision,
      kvs.map(([key, value]) => ({ type: 'put', key, value })),
      'the snapshot',
    );
    // All at the same moment.
    const invoked = this.tick();
    const answered = this.tick();
    for (const [key, value] of kvs)
      this.operations.push({
        kind: 'put',
        key,
        value,
        invoked,
        answered,
        outcome: 'done',
        revision,
        changed: revision,
        found: [],
        volatile: false,
        serializable: false,
      });
  }

  /** What keys below `k` held at this revision, as everything told of changes has it. */
  checkState(revision: number, found: [string, string][]): void {
    if (this.hasHoles) return;
    this.#compareState('the snapshot', revision, (key) => key.startsWith('k'), found);
  }

  #compareState(who: string, revision: number, wanted: (key: string) => boolean, found: [string, string][]): void {
    const state = new Map<string, string>();
    for (const at of [...this.#changes.keys()].sort((a, b) => a - b)) {
      if (at > revision) break;
      for (const { type, key, value } of this.changesAt(at)!)
        if (type === 'put') state.set(key, value);
        else state.delete(key);
    }
    const expected = [...state].filter(([key]) => wanted(key)).sort();
    if (JSON.stringify(expected) !== JSON.stringify(found))
      wrong(`${who} of revision ${revision} has ${JSON.stringify(found)}, written was ${JSON.stringify(expected)}`);
  }

  /** A watch, or an answer, said that this revision changed this. */
  told(revision: number, changes: readonly Change[], who: string): void {
    const now = JSON.stringify(changes);
    const before = this.#changes.get(revision);
    if (before !== undefined && before !== now)
      wrong(`revision ${revision} was ${before}, and is ${now} as ${who} tells`);
    this.#changes.set(revision, now);
  }

  changesAt(revision: number): Change[] | undefined {
    const found = this.#changes.get(revision);
    return found === undefined ? undefined : (JSON.parse(found) as Change[]);
  }

  /**
   * Whether there is one order of all operations that explains every answer and in which nothing that was answered comes behind what was asked later.
   * The revisions are that order: what they say is checked, not trusted. `final`: every key at the end.
   */
  check(final: { revision: number; kvs: [string, string][] }): void {
    this.#checkWrites(final);
    this.#checkOrder();
    if (!this.hasHoles) this.#checkReads();
    for (const key of new Set(this.operations.flatMap((op) => [op.key, ...(op.other ? [op.other.key] : [])]))) {
      const operations = registerOperations(this.operations, key);
      if (!isLinearizable(operations)) wrong(`the operations on ${key} have no order that explains their answers`);
    }
  }

  #checkWrites(final: { revision: number }): void {
    const place = new Map<string, number>();
    for (const [revision, changes] of this.#changes)
      for (const { type, value } of JSON.parse(changes) as Change[]) {
        if (type !== 'put') continue;
        if (place.has(value)) wrong(`${value} was written twice: at revision ${place.get(value)} and ${revision}`);
        place.set(value, revision);
      }
    for (const op of this.operations) {
      const values = [op.value, op.other?.value ?? ''].filter((value) => value !== '');
      const [one, two] = values.map((value) => place.get(value));
      // Also of one that was never answered.
      if (values.length === 2 && one !== two && !this.hasHoles)
        wrong(`${values.join(' and ')} of one transaction are at revisions ${one ?? 'none'} and ${two ?? 'none'}`);
      for (const value of values)
        if (op.outcome === 'refused' && place.has(value))
          wrong(`${value} was refused, and is at revision ${place.get(value)}`);
      if (op.outcome !== 'done' || op.changed === 0 || op.volatile) continue;
      if (op.changed > final.revision) wrong(`${op.kind} ${op.key} ${op.value} at revision ${op.changed} is lost`);
      for (const value of values)
        if (place.get(value) !== op.changed)
          wrong(`${value} was acknowledged at revision ${op.changed}, and is at ${place.get(value) ?? 'none'}`);
    }
  }

  /** Real time: what was answered before something was asked comes before it. */
  #checkOrder(): void {
    const answers = this.operations
      .filter((op) => op.outcome === 'done' && !op.serializable && !op.volatile)
      .sort((a, b) => a.answered - b.answered);
    const asked = [...answers].sort((a, b) => a.invoked - b.invoked);
    let newest: Operation | undefined;
    let next = 0;
    for (const op of asked) {
      while (next < answers.length && answers[next]!.answered < op.invoked) {
        const answer = answers[next++]!;
        if (newest === undefined || answer.revision > newest.revision) newest = answer;
      }
      if (newest === undefined) continue;
      const least = newest.revision + (op.changed > 0 ? 1 : 0);
      if (op.revision < least)
        wrong(
          `${op.kind} ${op.key} ${op.value} is of revision ${op.revision}, and was asked after ${newest.kind} ${newest.key} of ${newest.revision} was answered`,
        );
    }
  }

  /** A read must show the state at the revision it says, or was asked for. */
  #checkReads(): void {
    const past = (op: Operation): boolean => op.outcome === 'done' && op.kind === 'past';
    for (const { at, key, found } of this.operations.filter(past))
      this.#compareState(`a list of ${key}`, at!, (one) => one.startsWith(key), found);
    const revisions = [...this.#changes.keys()].sort((a, b) => a - b);
    const reads = this.operations
      .filter((op) => op.outcome === 'done' && (op.kind === 'get' || op.kind === 'list'))
      .sort((a, b) => a.revision - b.revision);
    const state = new Map<string, string>();
    let next = 0;
    for (const read of reads) {
      for (; next < revisions.length && revisions[next]! <= read.revision; next++)
        for (const { type, key, value } of this.changesAt(revisions[next]!)!)
          if (type === 'put') state.set(key, value);
          else state.delete(key);
      const wanted = (key: string): boolean => (read.kind === 'list' ? key.startsWith(read.key) : key === read.key);
      const expected = [...state].filter(([key]) => wanted(key)).sort();
      if (JSON.stringify(expected) !== JSON.stringify(read.found))
        wrong(
          `${read.kind} ${read.key} at revision ${read.revision}: ${JSON.stringify(read.found)}, written was ${JSON.stringify(expected)}`,
        );
    }
  }
}

/** An operation on one register: `undefined` is "no such key". */
interface RegisterOperation {
  readonly write: boolean;
  readonly value: string | undefined;
  readonly invoked: number;
  readonly answered: number;
}

/** Writes that nobody saw and that were not acknowledged are left out: that they never took effect explains everything. */
function registerOperations(all: readonly Operation[], key: string): RegisterOperation[] {
  const mine = all
    .filter((op) => (op.key === key || op.other?.key === key) && !op.serializable && !op.volatile)
    // Of a transaction what it does to this key.
    .map((op): Operation => {
      const change = op.other && writesOf(op).find((one) => one.key === key)!;
      return change ? { ...op, kind: change.type, key, value: change.value } : op;
    });
  const seen = new Set(mine.flatMap((op) => op.found.map(([, value]) => value)));
  return mine.flatMap((op): RegisterOperation[] => {
    const { invoked, answered } = op;
    if (op.kind === 'get')
      return op.outcome === 'done' ? [{ write: false, value: op.found[0]?.[1], invoked, answered }] : [];
    if (op.kind === 'list' || op.kind === 'past') return [];
    const value = op.kind === 'delete' ? undefined : op.value;
    if (op.outcome === 'done') return op.changed > 0 ? [{ write: true, value, invoked, answered }] : [];
    if (op.outcome === 'unknown' && (value === undefined || seen.has(value)))
      return [{ write: true, value, invoked, answered: Number.POSITIVE_INFINITY }];
    return [];
  });
}

/**
 * The search of Wing and Gong with Lowe's memory of visited configurations (as in Porcupine): takes one operation after the other that could be
 * next, and goes back where an answer does not fit. An operation without an answer may also be left out.
 */
export function isLinearizable(operations: readonly RegisterOperation[]): boolean {
  const sorted = [...operations].sort((a, b) => a.invoked - b.invoked);
  const done = new Uint8Array(sorted.length);
  const visited = new Set<string>();
  let state: string | undefined;
  let open = sorted.filter(({ answered }) => answered !== Number.POSITIVE_INFINITY).length;
  const stack: { index: number; before: string | undefined; low: number; high: number }[] = [];
  /** Everything before `low` is taken, and nothing from `high` on: what a configuration is beside them is short. */
  let low = 0;
  let high = 0;
  let from = 0;
  while (open > 0) {
    let earliest = Number.POSITIVE_INFINITY;
    for (let i = low; i < sorted.length && sorted[i]!.invoked < earliest; i++)
      if (done[i] === 0) earliest = Math.min(earliest, sorted[i]!.answered);
    let taken = -1;
    for (let i = Math.max(low, from); i < sorted.length && sorted[i]!.invoked < earliest; i++) {
      const op = sorted[i]!;
      if (done[i] === 1 || (!op.write && op.value !== state)) continue;
      done[i] = 1;
      let begin = low;
      while (done[begin] === 1) begin++;
      const configuration = `${op.write ? op.value : state}|${begin}|${done.subarray(begin, Math.max(high, i + 1)).join('')}`;
      if (!visited.has(configuration)) {
        visited.add(configuration);
        taken = i;
        break;
      }
      done[i] = 0;
    }
    if (taken >= 0) {
      const op = sorted[taken]!;
      stack.push({ index: taken, before: state, low, high });
      if (op.write) state = op.value;
      if (op.answered !== Number.POSITIVE_INFINITY) open--;
      while (done[low] === 1) low++;
      high = Math.max(high, taken + 1);
      from = 0;
      continue;
    }
    const last = stack.pop();
    if (last === undefined) return false;
    done[last.index] = 0;
    if (sorted[last.index]!.answered !== Number.POSITIVE_INFINITY) open++;
    state = last.before;
    low = last.low;
    high = last.high;
    from = last.index + 1;
  }
  return true;
}
