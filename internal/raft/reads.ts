/** A caller that waits until it may read. */
interface Waiter {
  resolve: () => void;
  reject: (error: unknown) => void;
}

interface Confirmed {
  readonly index: number;
  readonly waiters: readonly Waiter[];
}

/** A read that got no answer is asked again after so many ticks. */
const againTicks = 5;

/**
 * Linearizable reads of one member: callers that come together share one question to the leader; when it is answered they wait until the entry that it names is
 * applied.
 */
export class Reads {
  /** Callers that will share the next question. */
  #waiting: Waiter[] = [];
  /** Questions by context. */
  readonly #asked = new Map<number, { waiters: Waiter[]; ticks: number }>();
  /** Until an entry is applied. */
  #confirmed: Confirmed[] = [];

  /** Resolves when it may be read; `ask` has to follow. */
  add(): Promise<void> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  get wanted(): boolean {
    return this.#waiting.length > 0;
  }

  /** Everybody who waits shares the question with this context. */
  asked(context: number): void {
    this.#asked.set(context, { waiters: this.#waiting, ticks: againTicks });
    this.#waiting = [];
  }

  /** Time passes: questions without an answer are wanted again. */
  tick(): void {
    for (const [context, asked] of this.#asked) {
      if (--asked.ticks > 0) continue;
      this.#asked.delete(context);
      this.#waiting.push(...asked.waiters);
    }
  }

  /** The answer: it may be read once entry `index` is applied. */
  allowed(context: number, index: number, applied: number): void {
    const asked = this.#asked.get(context);
    if (asked === undefined) return;
    this.#asked.delete(context);
    this.#confirmed.push({ index, waiters: asked.waiters });
    this.applied(applied);
  }

  applied(index: number): void {
    if (this.#confirmed.length === 0) return;
    const later: Confirmed[] = [];
    for (const read of this.#confirmed) {
      if (read.index > index) later.push(read);
      else for (const { resolve } of read.waiters) resolve();
    }
    this.#confirmed = later;
  }

  stop(error: Error): void {
    for (const { waiters } of [...this.#asked.values(), ...this.#confirmed])
      for (const { reject } of waiters) reject(error);
    for (const { reject } of this.#waiting) reject(error);
    this.#asked.clear();
    this.#confirmed = [];
    this.#waiting = [];
  }
}
