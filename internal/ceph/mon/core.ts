import type { Clock } from '../../base/clock.ts';
import { AppError, assert, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { utf8, utf8Text } from '../../base/bytes.ts';
import type { RequestOp, Store, WatchEvent } from '../../store/api.ts';
import { ClusterError, CompactedError } from '../../store/errors.ts';
import { applyChanges } from './apply-changes.ts';
import { Draft, type StoreChange } from './draft.ts';
import { NotLeadingError } from './errno.ts';
import { keys } from './keys.ts';
import { type LoadedState, loadState } from './load.ts';
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

export interface CoreOptions {
  store: Store;
  clock: Clock;
  log: Logger;
  loaded: LoadedState;
  onCommit(committed: Committed): void;
}

/**
 * The mon's state and the one way to change it. Every mon follows the store: what any of them committed becomes its state, in the store's order. Only the one that
 * leads changes it: mutators queue; those that wait run one after another on a draft, which is stored in one transaction; then it becomes the state, everybody is
 * told (`onCommit`), and only then each caller gets its result.
 *
 * A transaction takes effect only on the very state that its draft was made from: it compares the revision of the newest commit. So one that comes late, from a mon
 * that was deposed meanwhile, changes nothing.
 */
export class Core {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onCommit: (committed: Committed) => void;
  readonly #queue: Job[] = [];
  #running = false;
  #failed: Error | undefined;
  #leads = false;
  /** Of the store, that `state` is of, and of the newest commit in it. */
  #revision: number;
  #committed: number;
  /** What the store says while a commit of our own is on its way: that becomes the state without being read again. */
  #held: { revision: number; events: WatchEvent[] }[] | undefined;
  #waiting: { revision: number; resolve(): void }[] = [];
  #stopFollowing: () => void = () => undefined;
  #closed = false;
  state: MonState;

  constructor(options: CoreOptions) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#onCommit = (committed) => options.onCommit(committed);
    this.state = options.loaded.state;
    this.#revision = options.loaded.revision;
    this.#committed = options.loaded.committed;
  }

  /** Follows the store from now on. */
  start(): void {
    this.#follow();
  }

  /** Set when the store failed: the process must end and start anew. */
  get failed(): Error | undefined {
    return this.#failed;
  }

  /** Whether this mon may change the state. Without it, what waits is rejected with NotLeadingError. */
  set leads(leads: boolean) {
    this.#leads = leads;
    if (!leads) for (const job of this.#queue.splice(0)) job.fail(new NotLeadingError());
  }

  /** Resolves when the state contains what the store here does now. */
  async current(): Promise<void> {
    const { revision } = this.#store;
    if (this.#revision >= revision) return;
    await this.reached(revision);
  }

  /** Resolves when the state is of this revision or a later one. */
  reached(revision: number): Promise<void> {
    if (this.#revision >= revision) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ revision, resolve }));
  }

  get revision(): number {
    return this.#revision;
  }

  /**
   * Runs `fn` on the next draft and resolves with its result when that is on disk (of a majority of the mons) and published. What `fn` throws rejects, and leaves no
   * trace. `fn` is synchronous and may be called long after this returns. NotLeadingError: another mon is to be asked.
   */
  update<R>(fn: (draft: Draft) => R): Promise<R> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    if (!this.#leads) return Promise.reject(new NotLeadingError());
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
        if (error instanceof NotLeadingError) {
          for (const job of good) job.fail(error);
          continue;
        }
        this.#fail(error);
        for (const job of [...good, ...this.#queue.splice(0)]) job.fail(this.#failed);
        break;
      }
      for (const job of good) job.done();
    }
    this.#running = false;
  }

  #fail(error: unknown): void {
    if (this.#closed || this.#failed !== undefined) return;
    this.#failed = error instanceof Error ? error : new Error(String(error));
    this.#log.error('the state could not be stored', { error: this.#failed });
  }

  async #commit(draft: Draft): Promise<void> {
    if (draft.empty) return;
    draft.finish();
    if (draft.changes.length > 0) {
      this.#held = [];
      try {
        const revision = await this.#storeDraft(draft.changes);
        // The store told of exactly this, and of nothing before it.
        this.#held = this.#held.filter((one) => one.revision > revision);
        this.#revision = revision;
        this.#committed = revision;
        this.#become(draft.state, draft.increments);
      } finally {
        const held = this.#held;
        this.#held = undefined;
        for (const { revision, events } of held) this.#take(revision, events);
      }
    } else this.#become(draft.state, draft.increments);
  }

  /** The revision of the commit. Errors: NotLeadingError when it did not take effect, or nobody knows. */
  async #storeDraft(changes: readonly StoreChange[]): Promise<number> {
    // The same key may be changed several times: the last one counts, and the store takes each key once.
    const last = new Map(changes.map((change) => [change.key, change]));
    const success = [...last.values()].map(
      ({ key, value }): RequestOp =>
        value === undefined
          ? { op: 'delete', request: { key: utf8(key) } }
          : { op: 'put', request: { key: utf8(key), value } },
    );
    const version = utf8(keys.version);
    success.push({ op: 'put', request: { key: version, value: utf8('1') } });
    try {
      const { revision, succeeded } = await this.#store.txn({
        compare: [{ key: version, target: 'mod', result: 'equal', value: this.#committed }],
        success,
        failure: [],
      });
      if (succeeded) return revision;
      this.#log.info('a commit was made on a state that is not the newest: nothing was changed');
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error;
      this.#log.info('a commit was not acknowledged', { error: errorText(error) });
    }
    throw new NotLeadingError();
  }

  #become(state: MonState, increments: ReadonlyMap<number, Uint8Array>): void {
    const before = this.state;
    this.state = state;
    this.#onCommit({ before, after: state, increments });
    const reached = this.#waiting.filter(({ revision }) => revision <= this.#revision);
    if (reached.length === 0) return;
    this.#waiting = this.#waiting.filter(({ revision }) => revision > this.#revision);
    for (const { resolve } of reached) resolve();
  }

  // --- following the store

  #follow(): void {
    const watch = this.#store.watch(
      { key: utf8('\0'), rangeEnd: utf8('\0'), startRevision: this.#revision + 1 },
      {
        onEvents: (events, revision) => {
          if (this.#held === undefined) this.#take(revision, events);
          else this.#held.push({ revision, events });
        },
        onEnd: (error) => {
          if (error instanceof CompactedError) void this.#reload();
          else this.#fail(error);
        },
      },
    );
    this.#stopFollowing = () => watch.close();
  }

  #take(revision: number, events: readonly WatchEvent[]): void {
    if (revision <= this.#revision || this.#failed !== undefined) return;
    try {
      const changes = events.map(({ type, kv }): StoreChange => {
        const key = utf8Text(kv.key);
        if (key === keys.version) this.#committed = kv.modRevision;
        return type === 'put' ? { key, value: kv.value } : { key };
      });
      const { state, increments } = applyChanges(this.state, changes);
      this.#revision = revision;
      this.#become(state, increments);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** This mon lacked so much that it got another one's state as a whole. */
  async #reload(): Promise<void> {
    try {
      let loaded: LoadedState | undefined;
      for (let tries = 0; loaded === undefined && tries < 10; tries++)
        loaded = await loadState(this.#store).catch((error: unknown) => {
          if (!(error instanceof CompactedError)) throw error;
          return undefined;
        });
      if (loaded === undefined) throw new AppError('MON_STORE', 'the state that came from another mon cannot be read');
      if (this.#closed) return;
      this.#revision = loaded.revision;
      this.#committed = loaded.committed;
      this.#become(loaded.state, new Map());
      this.#follow();
    } catch (error) {
      this.#fail(error);
    }
  }

  close(): void {
    this.#closed = true;
    this.#stopFollowing();
    for (const { resolve } of this.#waiting.splice(0)) resolve();
  }
}
