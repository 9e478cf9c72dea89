import type { Clock } from '../../base/clock.ts';
import { assert } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { utf8 } from '../../base/bytes.ts';
import type { RequestOp, Store } from '../../store/api.ts';
import { Draft } from './draft.ts';
import type { MonState } from './state.ts';

/** What a commit brought. */
export interface Committed {
  readonly before: MonState;
  readonly after: MonState;
  /** OSDMap increments made, encoded, by epoch. */
  readonly increments: ReadonlyMap<number, Uint8Array>;
}

interface Job {
  run(draft: Draft): void;
  done(): void;
  fail(error: unknown): void;
}

/** Changes that one commit takes at most; more wait for the next. */
const jobsPerCommit = 256;
const maxWaiting = 4096;

/**
 * The mon's state and the one way to change it. Mutators queue; those that wait run one after another on a draft, which is stored in one
 * transaction; then it becomes the state, everybody is told (`onCommit`), and only then each caller gets its result.
 */
export class Core {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onCommit: (committed: Committed) => void;
  readonly #queue: Job[] = [];
  #running = false;
  #failed: Error | undefined;
  state: MonState;

  constructor(options: {
    store: Store;
    clock: Clock;
    log: Logger;
    state: MonState;
    onCommit: (committed: Committed) => void;
  }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#onCommit = options.onCommit;
    this.state = options.state;
  }

  /** Set when the store failed: the process must end and start anew. */
  get failed(): Error | undefined {
    return this.#failed;
  }

  /**
   * Runs `fn` on the next draft and resolves with its result when that is on disk and published. What `fn` throws rejects, and leaves no trace. `fn` is
   * synchronous and may be called long after this returns.
   */
  update<R>(fn: (draft: Draft) => R): Promise<R> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    if (this.#queue.length >= maxWaiting) return Promise.reject(new Error('too many changes wait for the disk'));
    return new Promise((resolve, reject) => {
      let result: { value: R } | undefined;
      this.#queue.push({
        run: (draft) => {
          result = { value: draft.branch(fn) };
        },
        done: () => {
          assert(result !== undefined, 'a change that was committed has run');
          resolve(result.value);
        },
        fail: reject,
      });
      if (!this.#running) {
        this.#running = true;
        void this.#work();
      }
    });
  }

  async #work(): Promise<void> {
    // Whoever asks in the same turn goes into the same commit.
    await Promise.resolve();
    while (this.#queue.length > 0 && this.#failed === undefined) {
      const jobs = this.#queue.splice(0, jobsPerCommit);
      const draft = new Draft(this.state, this.#clock.now());
      const good: Job[] = [];
      for (const job of jobs) {
        try {
          job.run(draft);
          good.push(job);
        } catch (error) {
          job.fail(error);
        }
      }
      try {
        await this.#commit(draft);
      } catch (error) {
        this.#failed = error instanceof Error ? error : new Error(String(error));
        this.#log.error('the state could not be stored', { error: this.#failed });
        for (const job of [...good, ...this.#queue.splice(0)]) job.fail(this.#failed);
        break;
      }
      for (const job of good) job.done();
    }
    this.#running = false;
  }

  async #commit(draft: Draft): Promise<void> {
    if (draft.empty) return;
    draft.finish();
    if (draft.changes.length > 0) {
      // The same key may be changed several times: the last one counts, and the store takes each key once.
      const last = new Map(draft.changes.map((change) => [change.key, change]));
      const success = [...last.values()].map(
        ({ key, value }): RequestOp =>
          value === undefined
            ? { op: 'delete', request: { key: utf8(key) } }
            : { op: 'put', request: { key: utf8(key), value } },
      );
      await this.#store.txn({ compare: [], success, failure: [] });
    }
    const before = this.state;
    this.state = draft.state;
    this.#onCommit({ before, after: this.state, increments: draft.increments });
  }
}
