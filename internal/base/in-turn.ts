/** Work about one thing, one piece after another in the order of the calls; work about other things goes on beside it. */
export class InTurn {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs `work` when everything before it about `key` has ended, well or not; gives what it gives. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const result = before.then(work, work);
    const settled = result.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(key, settled);
    void settled.then(() => {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    });
    return result;
  }

  /** Things that something is to be done about still. */
  get busy(): number {
    return this.#last.size;
  }
}
