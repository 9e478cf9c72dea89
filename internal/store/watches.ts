import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { plantedFault } from '../base/planted-fault.ts';
import type { Watch, WatchEvent, WatchHandler, WatchRequest } from './api.ts';
import { CompactedError } from './errors.ts';
import { inRange, type KeyRange, type KeyText, keyRange, keyText } from './keys.ts';
import type { RecentEvents } from './recent.ts';
import type { Rows, Version } from './rows.ts';
import type { State } from './state.ts';

/** Rows read from the database in one go for a watch that is behind. */
const historyChunk = 500;

interface Watcher {
  readonly range: KeyRange;
  readonly prevKv: boolean;
  readonly noPut: boolean;
  readonly noDelete: boolean;
  readonly handler: WatchHandler;
  /** The next revision to tell of. */
  next: number;
  open: boolean;
}

/**
 * Tells watches of events. One that is up to date is called while the revision is applied; one that begins in the past is fed from the
 * database in chunks, then from memory, and joins the others.
 */
export class Watches {
  #state: State;
  #rows: Rows;
  readonly #recent: RecentEvents;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #byKey = new Map<KeyText, Set<Watcher>>();
  readonly #ranges = new Set<Watcher>();
  readonly #behind = new Set<Watcher>();

  constructor(options: { state: State; rows: Rows; recent: RecentEvents; clock: Clock; log: Logger }) {
    this.#state = options.state;
    this.#rows = options.rows;
    this.#recent = options.recent;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  get count(): number {
    let count = this.#ranges.size + this.#behind.size;
    for (const set of this.#byKey.values()) count += set.size;
    return count;
  }

  /** Nothing is called before this returns. */
  add(request: WatchRequest, handler: WatchHandler): Watch {
    const start = request.startRevision || this.#state.revision + 1;
    const watcher: Watcher = {
      range: keyRange(request),
      prevKv: request.prevKv ?? false,
      noPut: request.noPut ?? false,
      noDelete: request.noDelete ?? false,
      handler,
      next: start,
      open: true,
    };
    if (start > this.#state.revision) this.#join(watcher);
    else {
      this.#behind.add(watcher);
      this.#clock.after(0, () => this.#catchUp(watcher));
    }
    return {
      progress: () => (this.#behind.has(watcher) ? watcher.next - 1 : this.#state.revision),
      close: () => this.#drop(watcher),
    };
  }

  /** The state is another one now: whoever was up to date reads from the database what was skipped. */
  replace(state: State, rows: Rows): void {
    // Whoever was up to date was told of everything there was, also when none of it was for him.
    const told = this.#state.revision;
    this.#state = state;
    this.#rows = rows;
    const all = [...this.#ranges, ...[...this.#byKey.values()].flatMap((set) => [...set])];
    this.#ranges.clear();
    this.#byKey.clear();
    for (const watcher of all) {
      watcher.next = Math.max(watcher.next, told + 1);
      if (watcher.next > state.revision) {
        this.#join(watcher);
        continue;
      }
      this.#behind.add(watcher);
      this.#clock.after(0, () => this.#catchUp(watcher));
    }
  }

  /** Tells every watch that is up to date. */
  publish(revision: number, events: readonly WatchEvent[]): void {
    if (events.length === 1) {
      const event = events[0]!;
      const key = keyText(event.kv.key);
      const exact = this.#byKey.get(key);
      if (exact !== undefined) for (const watcher of [...exact]) this.#tell(watcher, revision, events);
      for (const watcher of this.#ranges) if (inRange(watcher.range, key)) this.#tell(watcher, revision, events);
      return;
    }
    const keys = events.map(({ kv }) => keyText(kv.key));
    const tell = (watcher: Watcher): void => {
      const mine = events.filter((_, i) => inRange(watcher.range, keys[i]!));
      if (mine.length > 0) this.#tell(watcher, revision, mine);
    };
    if (this.#byKey.size > 0) {
      const exact = new Set<Watcher>();
      for (const key of keys) for (const watcher of this.#byKey.get(key) ?? []) exact.add(watcher);
      for (const watcher of exact) tell(watcher);
    }
    for (const watcher of this.#ranges) tell(watcher);
  }

  /** Ends every watch. */
  close(error: Error): void {
    const all = [...this.#behind, ...this.#ranges, ...[...this.#byKey.values()].flatMap((set) => [...set])];
    for (const watcher of all) this.#end(watcher, error);
  }

  #join(watcher: Watcher): void {
    this.#behind.delete(watcher);
    if (!watcher.range.single) {
      this.#ranges.add(watcher);
      return;
    }
    const set = this.#byKey.get(watcher.range.first);
    if (set === undefined) this.#byKey.set(watcher.range.first, new Set([watcher]));
    else set.add(watcher);
  }

  #drop(watcher: Watcher): void {
    watcher.open = false;
    this.#behind.delete(watcher);
    this.#ranges.delete(watcher);
    if (!watcher.range.single) return;
    const set = this.#byKey.get(watcher.range.first);
    set?.delete(watcher);
    if (set?.size === 0) this.#byKey.delete(watcher.range.first);
  }

  #end(watcher: Watcher, error: Error): void {
    if (!watcher.open) return;
    this.#drop(watcher);
    try {
      watcher.handler.onEnd(error);
    } catch (failure) {
      this.#log.error('a watch failed while it ended', { error: errorText(failure) });
    }
  }

  #tell(watcher: Watcher, revision: number, events: readonly WatchEvent[]): void {
    if (!watcher.open || revision < watcher.next) return;
    watcher.next = revision + 1;
    const wanted = watcher.noPut || watcher.noDelete ? events.filter((event) => passes(watcher, event)) : events;
    if (wanted.length === 0) return;
    try {
      watcher.handler.onEvents(watcher.prevKv ? [...wanted] : wanted.map(withoutPrevious), revision);
    } catch (error) {
      this.#log.error('a watch failed on an event and is ended', { error: errorText(error) });
      this.#end(watcher, error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** One chunk for a watch that is behind; the next one follows after other work had its turn. */
  #catchUp(watcher: Watcher): void {
    if (!watcher.open) return;
    if (watcher.next < this.#state.compactRevision && plantedFault('watch-gap'))
      watcher.next = this.#state.compactRevision;
    if (watcher.next < this.#state.compactRevision) {
      this.#end(watcher, new CompactedError(watcher.next, this.#state.compactRevision));
      return;
    }
    if (watcher.next >= this.#recent.first) {
      for (const { revision, events } of this.#recent.since(watcher.next)) {
        const mine = events.filter(({ kv }) => inRange(watcher.range, keyText(kv.key)));
        if (mine.length > 0) this.#tell(watcher, revision, mine);
        if (!watcher.open) return;
      }
      this.#join(watcher);
      return;
    }
    const before = this.#recent.first;
    for (const [revision, versions] of this.#chunk(watcher.next, before)) {
      const mine = versions.filter(({ key }) => inRange(watcher.range, key)).map((v) => this.#event(v, watcher.prevKv));
      if (mine.length > 0) this.#tell(watcher, revision, mine);
      if (!watcher.open) return;
      watcher.next = revision + 1;
    }
    this.#clock.after(0, () => this.#catchUp(watcher));
  }

  /** Whole revisions from the database, oldest first; the last one given is the end when nothing more is there. */
  #chunk(from: number, before: number): Map<number, Version[]> {
    let limit = historyChunk;
    for (;;) {
      const rows = this.#rows.history(from, before, limit);
      const groups = new Map<number, Version[]>();
      for (const row of rows) {
        const group = groups.get(row.kv.modRevision);
        if (group === undefined) groups.set(row.kv.modRevision, [row]);
        else group.push(row);
      }
      if (rows.length < limit) {
        groups.set(before - 1, groups.get(before - 1) ?? []);
        return groups;
      }
      // The last revision may continue behind the limit.
      if (groups.size > 1) {
        groups.delete(rows.at(-1)!.kv.modRevision);
        return groups;
      }
      limit *= 4;
    }
  }

  #event({ key, kv }: Version, withPrevious: boolean): WatchEvent {
    const type = kv.version === 0 ? 'delete' : 'put';
    if (!withPrevious || kv.version === 1) return { type, kv };
    const prevKv = this.#state.keyAt(key, kv.modRevision - 1);
    return { type, kv, ...(prevKv && { prevKv }) };
  }
}

function passes({ noPut, noDelete }: Watcher, { type }: WatchEvent): boolean {
  return type === 'put' ? !noPut : !noDelete;
}

function withoutPrevious(event: WatchEvent): WatchEvent {
  return event.prevKv === undefined ? event : { type: event.type, kv: event.kv };
}
