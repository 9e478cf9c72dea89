import type { Clock, Timer } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Store } from '../../store/api.ts';

/** Upstream's interval: continue tokens and watches may be up to this old, and expire before twice of it. */
const intervalMs = 5 * 60_000;

/** Forgets history: every interval, what was older than the interval before. */
export class Compactor {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Logger;
  #timer: Timer | undefined;
  #revision = 0;

  constructor(store: Store, clock: Clock, log: Logger) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
  }

  start(): void {
    this.#revision = this.#store.revision;
    this.#schedule();
  }

  #schedule(): void {
    this.#timer = this.#clock.after(intervalMs, () => {
      const at = this.#revision;
      this.#revision = this.#store.revision;
      this.#schedule();
      if (at <= this.#store.compactRevision) return;
      this.#store.compact(at).catch((error: unknown) => {
        this.#log.warn('cannot compact the store', { revision: at, error: errorText(error) });
      });
    });
  }

  close(): void {
    this.#timer?.cancel();
  }
}
