import type { Clock, Timer } from '../../../internal/base/clock.ts';
import type { Random } from '../../../internal/base/random.ts';

interface Event {
  at: number;
  order: number;
  run: () => void;
  cancelled: boolean;
}

/** Virtual time: one queue of events for everything in the simulation. Nothing else makes anything happen. */
export class World {
  now = 0;
  #events: Event[] = [];
  #order = 0;
  /** Events carried out. */
  count = 0;

  constructor(readonly random: Random) {}

  after(delayMs: number, run: () => void): Timer {
    const event: Event = { at: this.now + Math.max(0, delayMs), order: this.#order++, run, cancelled: false };
    push(this.#events, event);
    return {
      cancel: () => {
        event.cancelled = true;
      },
    };
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Runs until `end`, or until `done` says so. All promises that an event settles are followed up before the next event. */
  async run(end: number, done: () => boolean = () => false): Promise<void> {
    // What was begun before goes as far as it can without time.
    await new Promise((resolve) => setImmediate(resolve));
    while (!done()) {
      const event = this.#events[0];
      if (event === undefined || event.at > end) break;
      pop(this.#events);
      if (event.cancelled) continue;
      this.now = Math.max(this.now, event.at);
      this.count++;
      event.run();
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (!done()) this.now = Math.max(this.now, end);
  }

  between(low: number, high: number): number {
    return low + this.random.float() * (high - low);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.random.uint32() % list.length]!;
  }

  chance(probability: number): boolean {
    return this.random.float() < probability;
  }
}

/** The clock of one life of one process: it ends with it, and stands still while the process does. */
export class ProcessClock implements Clock {
  readonly #world: World;
  #wallOffset = 1_700_000_000_000;
  dead = false;
  /** Until when the process stands still. */
  pausedUntil = 0;

  constructor(world: World) {
    this.#world = world;
  }

  now(): number {
    return this.#world.now + this.#wallOffset;
  }

  monotonic(): number {
    return this.#world.now;
  }

  /** Wall time is set to another value. */
  jump(ms: number): void {
    this.#wallOffset += ms;
  }

  after(delayMs: number, fn: () => void): Timer {
    const fire = (): void => {
      if (this.dead) return;
      if (this.#world.now < this.pausedUntil) this.#world.after(this.pausedUntil - this.#world.now, fire);
      else fn();
    };
    let timer = this.#world.after(delayMs, () => fire());
    const cancelled = { yes: false };
    const guarded = fn;
    fn = () => {
      if (!cancelled.yes) guarded();
    };
    return {
      cancel: () => {
        cancelled.yes = true;
        timer.cancel();
        timer = { cancel: () => undefined };
      },
    };
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** A binary heap. */
function push(heap: Event[], event: Event): void {
  heap.push(event);
  for (let i = heap.length - 1; i > 0; ) {
    const parent = (i - 1) >> 1;
    if (!before(heap[i]!, heap[parent]!)) break;
    [heap[i], heap[parent]] = [heap[parent]!, heap[i]!];
    i = parent;
  }
}

function pop(heap: Event[]): void {
  const last = heap.pop()!;
  if (heap.length === 0) return;
  heap[0] = last;
  for (let i = 0; ; ) {
    let least = i;
    for (const child of [2 * i + 1, 2 * i + 2])
      if (child < heap.length && before(heap[child]!, heap[least]!)) least = child;
    if (least === i) return;
    [heap[i], heap[least]] = [heap[least]!, heap[i]!];
    i = least;
  }
}
