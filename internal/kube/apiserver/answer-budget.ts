/** Bytes of answers that wait for their clients to read them: bounded in all, whoever has asked for how much. */

/** As much of a stream may wait in any case, unless it stands still: one write of a watch is no reason to end it. */
const streamBytesMin = 64 * 1024;

export class AnswerBudget {
  readonly #max: number;
  readonly #stillMs: number;
  readonly #now: () => number;
  /** Those of which something waits, longest without progress first. */
  readonly #waiting = new Set<Answer>();
  #held = 0;

  /** `stillMs`: from when on an answer of which the client takes nothing stands still. `now` in milliseconds. */
  constructor(max: number, stillMs: number, now: () => number) {
    this.#max = max;
    this.#stillMs = stillMs;
    this.#now = now;
  }

  get held(): number {
    return this.#held;
  }

  /** `cut` breaks the answer off when others need its room. */
  open(cut: () => void): Answer {
    return new Answer(this, cut);
  }

  /** Notes that `answer` has so much more (or less) waiting, and that it moves when it is less. */
  change(answer: Answer, bytes: number): void {
    this.#held += bytes;
    const waited = answer.waiting > 0;
    answer.waiting += bytes;
    if (waited && bytes > 0) return;
    this.#waiting.delete(answer);
    answer.movedAt = this.#now();
    if (answer.waiting > 0) this.#waiting.add(answer);
  }

  /** Whether there is room for what `answer` has, once those that stand still are cut. A very large answer counts as half of everything. */
  fits(answer: Answer): boolean {
    const most = this.#max - Math.min(answer.waiting, this.#max / 2);
    for (const one of this.#waiting) {
      if (this.#held - answer.waiting <= most) return true;
      if (this.#now() - one.movedAt < this.#stillMs) break;
      if (one !== answer) one.cut();
    }
    return this.#held - answer.waiting <= most;
  }
}

/** What of one answer waits. */
export class Answer {
  readonly #budget: AnswerBudget;
  readonly #cut: () => void;
  #closed = false;
  /** Both are the budget's to change. */
  waiting = 0;
  movedAt = 0;

  constructor(budget: AnswerBudget, cut: () => void) {
    this.#budget = budget;
    this.#cut = cut;
  }

  /** Takes room for a whole answer; false, and nothing taken, when there is none. */
  take(bytes: number): boolean {
    if (this.#closed) return false;
    this.#budget.change(this, bytes);
    if (this.#budget.fits(this)) return true;
    this.close();
    return false;
  }

  /** Notes bytes that a stream writes; false when there is no room for them and more than little of it waits: it has to be broken off. */
  write(bytes: number): boolean {
    if (this.#closed) return false;
    this.#budget.change(this, bytes);
    return this.waiting <= streamBytesMin || this.#budget.fits(this);
  }

  /** The client has taken bytes. */
  sent(bytes: number): void {
    if (!this.#closed) this.#budget.change(this, -bytes);
  }

  /** Nothing waits any more: it is sent, or nobody gets it. */
  close(): void {
    if (this.#closed) return;
    this.#budget.change(this, -this.waiting);
    this.#closed = true;
  }

  cut(): void {
    this.close();
    this.#cut();
  }
}
