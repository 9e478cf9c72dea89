/**
 * Who waits for the answer to a request: until the client's stream or connection is closed, or the client was told that it takes too long. Made for every
 * request that comes over a network, so it is no AbortSignal: making and aborting one costs 7 µs, this 0.05 µs.
 */
export class RequestCaller {
  #left = false;
  #gone = false;
  #listeners: Set<() => void> | undefined;

  /** The client is not there any more: nothing can be sent. */
  get left(): boolean {
    return this.#left;
  }

  /** Nobody waits for what the work would give. */
  get gone(): boolean {
    return this.#gone;
  }

  /** The client's stream or connection is closed. */
  leave(): void {
    this.#left = true;
    this.giveUp();
  }

  /** The client has its answer, the one that says that there was no time for another. */
  giveUp(): void {
    if (this.#gone) return;
    this.#gone = true;
    const listeners = this.#listeners;
    this.#listeners = undefined;
    if (listeners !== undefined) for (const listener of listeners) listener();
  }

  /** Calls back when nobody waits any more, before this returns where that is so already. The result takes the callback away. */
  onGone(listener: () => void): () => void {
    if (this.#gone) {
      listener();
      return () => undefined;
    }
    this.#listeners ??= new Set();
    const listeners = this.#listeners;
    listeners.add(listener);
    return () => listeners.delete(listener);
  }
}
