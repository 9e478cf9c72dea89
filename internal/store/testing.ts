import type { Clock, Timer } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import {
  type Compare,
  type KeyValue,
  type RangeRequest,
  type RequestOp,
  sortTargets,
  type TxnRequest,
  type TxnResponse,
  type WatchEvent,
} from './api.ts';
import { inRange, type KeyText, keyBytes, keyRange, keyText, prefixEnd } from './keys.ts';

/** A clock that tests move by hand. Timers due run in order inside `advance`. */
export class ManualClock implements Clock {
  #now = 1_000_000;
  #timers: { at: number; order: number; fn: () => void }[] = [];
  #order = 0;

  /** Timers that wait for their time. */
  get waiting(): number {
    return this.#timers.length;
  }

  now(): number {
    return this.#now;
  }
  monotonic(): number {
    return this.#now;
  }
  after(delayMs: number, fn: () => void): Timer {
    const timer = { at: this.#now + delayMs, order: this.#order++, fn };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((t) => t !== timer);
      },
    };
  }
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = this.#timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at || a.order - b.order)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((t) => t !== due);
      this.#now = Math.max(this.#now, due.at);
      due.fn();
    }
    this.#now = end;
  }
}

/** A plain, slow twin of the store: every version of every key in an array. What the store answers is compared with it. */
export class Model {
  readonly versions: { key: KeyText; kv: KeyValue }[] = [];
  readonly events: { revision: number; events: WatchEvent[] }[] = [];
  revision = 1;

  at(key: KeyText, revision: number): KeyValue | undefined {
    for (let i = this.versions.length - 1; i >= 0; i--) {
      const found = this.versions[i]!;
      if (found.key === key && found.kv.modRevision <= revision) return found.kv.version === 0 ? undefined : found.kv;
    }
    return undefined;
  }

  live(request: RangeRequest, revision: number): KeyValue[] {
    const range = keyRange(request);
    const keys = new Set(this.versions.filter((v) => inRange(range, v.key)).map((v) => v.key));
    return [...keys].sort().flatMap((key) => {
      const kv = this.at(key, revision);
      return kv === undefined ? [] : [kv];
    });
  }

  apply(txn: TxnRequest): TxnResponse {
    const events: WatchEvent[] = [];
    const path = this.#path(txn);
    const response = this.#run(path, events);
    if (events.length > 0) {
      this.revision++;
      this.events.push({ revision: this.revision, events });
    }
    return response;
  }

  #path(txn: TxnRequest): { succeeded: boolean; ops: (Exclude<RequestOp, { op: 'txn' }> | Path)[] } {
    const succeeded = txn.compare.every((compare) => this.#holds(compare));
    const ops = (succeeded ? txn.success : txn.failure).map((op) => (op.op === 'txn' ? this.#path(op.request) : op));
    return { succeeded, ops };
  }

  #holds(compare: Compare): boolean {
    const found: (KeyValue | undefined)[] = this.live(compare, this.revision);
    if (found.length === 0) {
      if (compare.target === 'value') return false;
      found.push(undefined);
    }
    return found.every((kv) => {
      const stored =
        compare.target === 'version'
          ? (kv?.version ?? 0)
          : compare.target === 'create'
            ? (kv?.createRevision ?? 0)
            : compare.target === 'mod'
              ? (kv?.modRevision ?? 0)
              : compare.target === 'lease'
                ? (kv?.lease ?? 0n)
                : keyText(kv!.value);
      const given = compare.target === 'value' ? keyText(compare.value) : compare.value;
      if (compare.result === 'equal') return stored === given;
      if (compare.result === 'not-equal') return stored !== given;
      return compare.result === 'greater' ? stored > given : stored < given;
    });
  }

  #run(path: Path, events: WatchEvent[]): TxnResponse {
    const next = this.revision + 1;
    const responses = path.ops.map((op): TxnResponse['responses'][number] => {
      if ('succeeded' in op) return { op: 'txn', response: this.#run(op, events) };
      const visible = events.length > 0 ? next : this.revision;
      if (op.op === 'range') {
        const all = this.live(op.request, op.request.revision || visible);
        const shaped = shape(op.request, all);
        const cut = op.request.countOnly ? [] : op.request.limit ? shaped.slice(0, op.request.limit) : shaped;
        const kvs = op.request.keysOnly ? cut.map((kv) => ({ ...kv, value: new Uint8Array() })) : cut;
        const more = !op.request.countOnly && shaped.length > kvs.length;
        return { op: 'range', response: { revision: visible, kvs, count: all.length, more } };
      }
      if (op.op === 'put') {
        const key = keyText(op.request.key);
        const prev = this.at(key, next);
        const kv: KeyValue = {
          key: op.request.key,
          value: op.request.ignoreValue ? prev!.value : op.request.value,
          createRevision: prev?.createRevision ?? next,
          modRevision: next,
          version: (prev?.version ?? 0) + 1,
          lease: op.request.ignoreLease ? prev!.lease : (op.request.lease ?? 0n),
        };
        this.versions.push({ key, kv });
        events.push({ type: 'put', kv, ...(prev && { prevKv: prev }) });
        return { op: 'put', response: { revision: next, ...(op.request.prevKv && prev && { prevKv: prev }) } };
      }
      const gone = this.live(op.request, next);
      for (const prev of gone) {
        const kv = {
          key: prev.key,
          value: new Uint8Array(),
          createRevision: 0,
          modRevision: next,
          version: 0,
          lease: 0n,
        };
        this.versions.push({ key: keyText(prev.key), kv });
        events.push({ type: 'delete', kv, prevKv: prev });
      }
      const revision = events.length > 0 ? next : this.revision;
      return {
        op: 'delete',
        response: { revision, deleted: gone.length, prevKvs: op.request.prevKv ? gone : [] },
      };
    });
    return { revision: events.length > 0 ? next : this.revision, succeeded: path.succeeded, responses };
  }
}

/** Bounds and order, one after the other, without any of the store's own code. */
function shape(request: RangeRequest, all: KeyValue[]): KeyValue[] {
  let out = all;
  if (request.maxModRevision) out = out.filter((kv) => kv.modRevision <= request.maxModRevision!);
  if (request.minModRevision) out = out.filter((kv) => kv.modRevision >= request.minModRevision!);
  if (request.maxCreateRevision) out = out.filter((kv) => kv.createRevision <= request.maxCreateRevision!);
  if (request.minCreateRevision) out = out.filter((kv) => kv.createRevision >= request.minCreateRevision!);
  const { sort } = request;
  if (sort === undefined) return out;
  const rank = (kv: KeyValue): string | number =>
    sort.by === 'key'
      ? keyText(kv.key)
      : sort.by === 'value'
        ? keyText(kv.value)
        : sort.by === 'version'
          ? kv.version
          : sort.by === 'mod'
            ? kv.modRevision
            : kv.createRevision;
  const ranked = out.map((kv, i) => ({ kv, i, rank: rank(kv) }));
  ranked.sort((a, b) => (a.rank === b.rank ? a.i - b.i : (a.rank < b.rank ? -1 : 1) * (sort.descending ? -1 : 1)));
  return ranked.map(({ kv }) => kv);
}

type Path = { succeeded: boolean; ops: (Exclude<RequestOp, { op: 'txn' }> | Path)[] };

/** A form of any answer or event that two equal ones share. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return keyText(value);
  return JSON.parse(
    JSON.stringify(value, function (this: Record<string, unknown>, key: string, given: unknown) {
      // A Buffer has become something else when it is given here.
      const v = this[key];
      if (v instanceof Uint8Array) return keyText(v);
      return typeof v === 'bigint' ? `${v}n` : given;
    }) ?? 'null',
  );
}

export function bytes(text: string): Uint8Array {
  return keyBytes(text);
}

const keyCount = 40;

function randomKey(random: Random): Uint8Array {
  const n = random.uint32() % keyCount;
  return bytes(`key/${String.fromCharCode(97 + (n % 3))}/${n}${n % 5 === 0 ? '\xff\0' : ''}`);
}

function randomRange(random: Random): { key: Uint8Array; rangeEnd?: Uint8Array } {
  switch (random.uint32() % 5) {
    case 0:
      return { key: bytes('key/'), rangeEnd: prefixEnd(bytes('key/')) };
    case 1:
      return { key: randomKey(random), rangeEnd: bytes('\0') };
    case 2: {
      const ends = [randomKey(random), randomKey(random)];
      return { key: ends[0]!, rangeEnd: ends[1]! };
    }
    default:
      return { key: randomKey(random) };
  }
}

function randomCompare(random: Random, revision: number): Compare {
  const result = (['equal', 'greater', 'less', 'not-equal'] as const)[random.uint32() % 4]!;
  const base = { ...randomRange(random), result };
  const near = Math.max(0, revision - (random.uint32() % 20));
  switch (random.uint32() % 5) {
    case 0:
      return { ...base, target: 'version', value: random.uint32() % 4 };
    case 1:
      return { ...base, target: 'create', value: near };
    case 2:
      return { ...base, target: 'mod', value: near };
    case 3:
      return { ...base, target: 'lease', value: 0n };
    default:
      return { ...base, target: 'value', value: bytes(`v${random.uint32() % 10}`) };
  }
}

function randomOp(random: Random, revision: number, compacted: number, depth: number): RequestOp {
  const n = random.uint32() % 10;
  if (n < 4)
    return {
      op: 'put',
      request: {
        key: randomKey(random),
        value: bytes(n === 0 ? `v${'x'.repeat(random.uint32() % 3000)}` : `v${random.uint32() % 10}`),
        prevKv: random.uint32() % 2 === 0,
      },
    };
  if (n < 6) return { op: 'delete', request: { ...randomRange(random), prevKv: random.uint32() % 2 === 0 } };
  if (n < 7 && depth < 2) return { op: 'txn', request: randomTxn(random, revision, compacted, depth + 1) };
  const old = compacted + (random.uint32() % (revision - compacted + 1));
  return {
    op: 'range',
    request: {
      ...randomRange(random),
      limit: random.uint32() % 3 === 0 ? random.uint32() % 5 : 0,
      ...(random.uint32() % 3 === 0 && {
        sort: { by: sortTargets[random.uint32() % 5]!, descending: random.uint32() % 2 === 0 },
      }),
      ...(random.uint32() % 4 === 0 && { minModRevision: old, maxCreateRevision: revision - (random.uint32() % 9) }),
      ...(random.uint32() % 8 === 0 && { maxModRevision: old, minCreateRevision: 3 }),
      keysOnly: random.uint32() % 4 === 0,
      countOnly: random.uint32() % 5 === 0,
      ...(random.uint32() % 2 === 0 && old > 0 && { revision: old }),
    },
  };
}

/** A transaction over a few dozen keys; ranges look at revisions from `compacted` to `revision`. */
export function randomTxn(random: Random, revision: number, compacted: number, depth = 0): TxnRequest {
  const ops = (): RequestOp[] =>
    Array.from({ length: random.uint32() % 4 }, () => randomOp(random, revision, compacted, depth));
  const compare = Array.from({ length: random.uint32() % 3 }, () => randomCompare(random, revision));
  return { compare, success: ops(), failure: ops() };
}
