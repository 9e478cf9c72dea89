import type { Clock, Timer } from '../../../base/clock.ts';

interface SimEvent {
  at: number;
  sequence: number;
  run: () => void;
  cancelled: boolean;
}

/** Time and order of everything in a simulated cluster. */
export class SimScheduler implements Clock {
  timeMs = 0;
  #sequence = 0;
  readonly #events: SimEvent[] = [];

  now(): number {
    return 1_700_000_000_000 + this.timeMs;
  }
  monotonic(): number {
    return this.timeMs;
  }
  after(delayMs: number, fn: () => void): Timer {
    const event = { at: this.timeMs + Math.max(0, delayMs), sequence: this.#sequence++, run: fn, cancelled: false };
    this.#push(event);
    return { cancel: () => (event.cancelled = true) };
  }

  #push(event: SimEvent): void {
    const heap = this.#events;
    heap.push(event);
    let i = heap.length - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (before(heap[parent]!, heap[i]!)) break;
      [heap[parent], heap[i]] = [heap[i]!, heap[parent]!];
      i = parent;
    }
  }

  #pop(): SimEvent | undefined {
    const heap = this.#events;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    heap[0] = last;
    let i = 0;
    for (;;) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2])
        if (child < heap.length && before(heap[child]!, heap[least]!)) least = child;
      if (least === i) return top;
      [heap[least], heap[i]] = [heap[i]!, heap[least]!];
      i = least;
    }
  }

  /** Runs events until `untilMs`, or until `done` says so. */
  async run(untilMs: number, done: () => boolean = () => false): Promise<void> {
    while (this.#events.length > 0 && this.#events[0]!.at <= untilMs && !done()) {
      const event = this.#pop()!;
      this.timeMs = event.at;
      if (event.cancelled) continue;
      event.run();
      for (let i = 0; i < 6; i++) await null;
    }
    if (!done()) this.timeMs = Math.max(this.timeMs, untilMs);
  }
}

function before(a: { at: number; sequence: number }, b: { at: number; sequence: number }): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence <= b.sequence);
}
