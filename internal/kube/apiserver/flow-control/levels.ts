import { assert } from '../../../base/errors.ts';
import { isObject, type JsonObject } from '../../machinery/json.ts';

/**
 * Seats of priority levels and the requests that wait for one (KEP-1040). A state machine: no clock, no promises.
 *
 * Each level has a nominal number of seats by its shares; of those a part can be lent, and only the rest is kept free for it. A seat is given when the level is
 * below its upper limit and all levels together, each counted with what is kept free for it at least, fit the server. When a seat comes free, it goes to the
 * waiting level that has least of its nominal number; in a level to the flow that has fewest seats, and among those to who was served longest ago. A request
 * may take several seats; who is next in a level and does not fit yet is waited for, so that narrow ones do not keep wide ones out.
 */
export interface Level {
  readonly name: string;
  /** '' for one that has no object. */
  readonly uid: string;
  readonly exempt: boolean;
  readonly shares: number;
  readonly lendablePercent: number;
  /** Undefined: as many as the server has. */
  readonly borrowingLimitPercent: number | undefined;
  /** How many may wait, of one flow and in all; undefined: nobody waits. */
  readonly waiting: { readonly perFlow: number; readonly total: number } | undefined;
}

export function priorityLevel(object: JsonObject): Level {
  const metadata = isObject(object.metadata) ? object.metadata : {};
  const spec = isObject(object.spec) ? object.spec : {};
  const exempt = spec.type === 'Exempt';
  const own = isObject(exempt ? spec.exempt : spec.limited)
    ? ((exempt ? spec.exempt : spec.limited) as JsonObject)
    : {};
  const response = isObject(own.limitResponse) ? own.limitResponse : {};
  const queuing = isObject(response.queuing) ? response.queuing : undefined;
  const length = Number(queuing?.queueLengthLimit ?? 50);
  return {
    name: String(metadata.name),
    uid: String(metadata.uid ?? ''),
    exempt,
    shares: Number(own.nominalConcurrencyShares ?? (exempt ? 0 : 30)),
    lendablePercent: Number(own.lendablePercent ?? 0),
    borrowingLimitPercent: typeof own.borrowingLimitPercent === 'number' ? own.borrowingLimitPercent : undefined,
    waiting:
      queuing === undefined
        ? undefined
        : { perFlow: Number(queuing.handSize ?? 8) * length, total: Number(queuing.queues ?? 64) * length },
  };
}

/** One who waits. Exactly one of the two is called, once, unless it is withdrawn. */
export interface Waiter {
  granted(): void;
  refused(reason: 'queue-full'): void;
}

/** `executing` counts seats. */
interface Flow {
  executing: number;
  readonly queue: Queued[];
}

interface Queued {
  readonly waiter: Waiter;
  readonly seats: number;
}

interface State {
  level: Level;
  nominal: number;
  /** What is kept free for it at least. */
  lower: number;
  upper: number;
  /** Seats that are taken, and requests that wait. */
  executing: number;
  waiting: number;
  readonly flows: Map<string, Flow>;
  /** No longer configured: it goes when nobody is in it. */
  gone: boolean;
}

export interface LevelCounts {
  readonly name: string;
  readonly exempt: boolean;
  readonly nominal: number;
  readonly lower: number;
  readonly upper: number;
  readonly executing: number;
  readonly waiting: number;
}

export type Entry = 'runs' | 'waits' | 'queue-full' | 'concurrency-limit';

export class Levels {
  readonly #seats: number;
  readonly #exemptMax: number;
  readonly #states = new Map<string, State>();
  /** Seats of the server; rounding may make them a few more. */
  #total = 0;
  /** Sum over the levels of what each has or what is kept free for it, whichever is more. */
  #held = 0;

  /** `seats`: how many requests may be under way, without the exempt ones, of which there may be `exemptMax`. */
  constructor(seats: number, exemptMax: number) {
    this.#seats = seats;
    this.#exemptMax = exemptMax;
  }

  configure(levels: readonly Level[]): void {
    for (const state of this.#states.values()) state.gone = true;
    for (const level of levels) {
      const state = this.#states.get(level.name);
      if (state === undefined)
        this.#states.set(level.name, {
          level,
          nominal: 0,
          lower: 0,
          upper: 0,
          executing: 0,
          waiting: 0,
          flows: new Map(),
          gone: false,
        });
      else {
        state.level = level;
        state.gone = false;
      }
    }
    for (const [name, state] of this.#states) if (state.gone && idle(state)) this.#states.delete(name);
    this.#divide();
    this.#dispatch();
  }

  #divide(): void {
    const limited = [...this.#states.values()].filter(({ level }) => !level.exempt);
    const sum = limited.reduce((total, { level }) => total + level.shares, 0);
    this.#total = this.#seats;
    let nominal = 0;
    for (const state of limited) {
      const { level } = state;
      state.nominal = sum === 0 ? 0 : Math.ceil((this.#seats * level.shares) / sum);
      state.lower = state.nominal - Math.round((state.nominal * level.lendablePercent) / 100);
      state.upper =
        level.borrowingLimitPercent === undefined
          ? Number.POSITIVE_INFINITY
          : state.nominal + Math.round((state.nominal * level.borrowingLimitPercent) / 100);
      nominal += state.nominal;
    }
    this.#total = Math.max(this.#seats, nominal);
    this.#held = limited.reduce((total, state) => total + held(state), 0);
  }

  /** How many seats a request of the level takes that is worth so many: a level gives one of its requests no more than a part of what it is sure to have. */
  seatsFor(name: string, worth: number): number {
    const state = this.#states.get(name);
    assert(state !== undefined, `priority level ${name} is not configured`);
    if (state.level.exempt) return 1;
    return Math.max(1, Math.min(worth, state.lower, Math.ceil(state.nominal * shareOfOne)));
  }

  /** A request of a level that is configured comes in. Who waits is told later; one of another flow may be refused in its place. */
  enter(name: string, flowKey: string, seats: number, waiter: () => Waiter): Entry {
    const state = this.#states.get(name);
    assert(state !== undefined, `priority level ${name} is not configured`);
    if (state.level.exempt) {
      if (state.executing >= this.#exemptMax) return 'concurrency-limit';
      state.executing++;
      return 'runs';
    }
    if (state.waiting === 0 && this.#fits(state, seats)) {
      this.#take(state, flowIn(state, flowKey), seats);
      return 'runs';
    }
    const bounds = state.level.waiting;
    if (bounds === undefined) return 'concurrency-limit';
    const own = state.flows.get(flowKey)?.queue.length ?? 0;
    if (own >= bounds.perFlow) return 'queue-full';
    if (state.waiting >= bounds.total && !this.#makeRoom(state, own)) return 'queue-full';
    flowIn(state, flowKey).queue.push({ waiter: waiter(), seats });
    state.waiting++;
    return 'waits';
  }

  /** The youngest of the longest queue goes, where that is longer than the newcomer's own would be. */
  #makeRoom(state: State, own: number): boolean {
    let longest: Flow | undefined;
    for (const flow of state.flows.values()) if (flow.queue.length > (longest?.queue.length ?? 0)) longest = flow;
    if (longest === undefined || longest.queue.length <= own + 1) return false;
    state.waiting--;
    longest.queue.pop()!.waiter.refused('queue-full');
    return true;
  }

  /** A request that ran, with so many seats, has ended. */
  leave(name: string, flowKey: string, seats: number): void {
    const state = this.#states.get(name)!;
    if (state.level.exempt) {
      state.executing--;
      assert(state.executing >= 0, 'a seat was given back twice');
      this.#forget(name, state);
      return;
    }
    const flow = state.flows.get(flowKey)!;
    const before = held(state);
    state.executing -= seats;
    flow.executing -= seats;
    this.#held += held(state) - before;
    assert(state.executing >= 0 && flow.executing >= 0, 'a seat was given back twice');
    if (flow.executing === 0 && flow.queue.length === 0) state.flows.delete(flowKey);
    this.#forget(name, state);
    this.#dispatch();
  }

  /** One who waits goes away; false when it does not wait any more. */
  withdraw(name: string, flowKey: string, waiter: Waiter): boolean {
    const state = this.#states.get(name);
    const flow = state?.flows.get(flowKey);
    const at = flow?.queue.findIndex((one) => one.waiter === waiter) ?? -1;
    if (state === undefined || flow === undefined || at < 0) return false;
    flow.queue.splice(at, 1);
    state.waiting--;
    if (flow.executing === 0 && flow.queue.length === 0) state.flows.delete(flowKey);
    this.#forget(name, state);
    this.#dispatch();
    return true;
  }

  counts(): LevelCounts[] {
    return [...this.#states.values()].map(({ level, nominal, lower, upper, executing, waiting }) => ({
      name: level.name,
      exempt: level.exempt,
      nominal,
      lower,
      upper: Math.min(upper, this.#total),
      executing,
      waiting,
    }));
  }

  #fits(state: State, seats: number): boolean {
    // One that waits since the level had more: it runs alone.
    if (state.executing === 0 && state.lower > 0) return true;
    const executing = state.executing + seats;
    if (executing > state.upper) return false;
    // What is kept free for it is its own, also where others have too much since the levels were changed.
    if (executing <= state.lower) return true;
    return this.#held - held(state) + executing <= this.#total;
  }

  #take(state: State, flow: Flow, seats: number): void {
    const before = held(state);
    state.executing += seats;
    flow.executing += seats;
    this.#held += held(state) - before;
  }

  #dispatch(): void {
    for (;;) {
      let next: State | undefined;
      for (const state of this.#states.values()) {
        if (state.waiting === 0 || (next !== undefined && share(state) >= share(next))) continue;
        if (this.#fits(state, nextFlow(state).flow.queue[0]!.seats)) next = state;
      }
      if (next === undefined) return;
      this.#serve(next);
    }
  }

  #serve(state: State): void {
    const { key, flow } = nextFlow(state);
    const { waiter, seats } = flow.queue.shift()!;
    state.waiting--;
    // To the end: who was served longest ago stands first.
    state.flows.delete(key);
    state.flows.set(key, flow);
    this.#take(state, flow, seats);
    waiter.granted();
  }

  #forget(name: string, state: State): void {
    if (!state.gone || !idle(state)) return;
    this.#states.delete(name);
    this.#divide();
  }
}

/** As much of a level's nominal seats one request takes at most, as upstream. */
const shareOfOne = 0.15;

/** Whose turn it is in a level where somebody waits. */
function nextFlow(state: State): { key: string; flow: Flow } {
  let next: { key: string; flow: Flow } | undefined;
  for (const [key, flow] of state.flows)
    if (flow.queue.length > 0 && (next === undefined || flow.executing < next.flow.executing)) next = { key, flow };
  assert(next !== undefined, 'somebody waits in the level');
  return next;
}

function flowIn(state: State, key: string): Flow {
  let flow = state.flows.get(key);
  if (flow === undefined) {
    flow = { executing: 0, queue: [] };
    state.flows.set(key, flow);
  }
  return flow;
}

function held(state: State): number {
  return Math.max(state.executing, state.lower);
}

function idle(state: State): boolean {
  return state.executing === 0 && state.waiting === 0;
}

/** How much of its nominal seats a level has. */
function share(state: State): number {
  return state.executing / Math.max(1, state.nominal);
}
