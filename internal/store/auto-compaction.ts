import type { Clock, Timer } from '../base/clock.ts';
import { errorCode, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';

/**
 * How much history stays, as etcd's --auto-compaction-mode and --auto-compaction-retention: what happened within `retentionMs`, or the newest
 * `retention` revisions.
 */
export type AutoCompaction =
  | { readonly mode: 'periodic'; readonly retentionMs: number }
  | { readonly mode: 'revision'; readonly retention: number };

/** What it compacts. */
export interface CompactedStore {
  readonly revision: number;
  compact(revision: number): Promise<void>;
}

export interface AutoCompactorOptions {
  clock: Clock;
  log: Logger;
  store: CompactedStore;
  /** Only one member asks, so that the others' requests are not refused. */
  leads(): boolean;
}

const hourMs = 3_600_000;
/** As etcd's (compactor/revision.go, revInterval). */
const revisionEveryMs = 5 * 60_000;
/** Ten samples a period, or an hour of a longer one (compactor/periodic.go, retryDivisor). */
const samples = 10;

/** When to look, and up to where to compact then. No clock: times are given. */
export interface CompactionPlan {
  readonly everyMs: number;
  /** The revision up to which history can go now; undefined: nothing is to be done. */
  due(revision: number, now: number): number | undefined;
  /** What `due` said was done. */
  done(revision: number, now: number): void;
}

/** The newest `retention` revisions stay. */
function byRevision(retention: number): CompactionPlan {
  let last = 0;
  return {
    everyMs: revisionEveryMs,
    due: (revision) => {
      const to = revision - retention;
      return to > 0 && to !== last ? to : undefined;
    },
    done: (revision) => {
      last = revision;
    },
  };
}

/** What happened within the period stays: first after one period, then every period, or every hour of a longer one. */
function byPeriod(periodMs: number, began: number, first: number): CompactionPlan {
  const everyMs = Math.min(periodMs, hourMs) / samples;
  const kept = Math.floor(periodMs / everyMs) + 1;
  /** Newest last; the first of a full list is of one period ago. */
  const revisions = [first];
  let last = 0;
  let lastAt = began;
  let waitMs = periodMs;
  return {
    everyMs,
    due: (revision, now) => {
      revisions.push(revision);
      if (revisions.length > kept) revisions.shift();
      const oldest = revisions[0]!;
      return now - lastAt >= waitMs && oldest > 0 && oldest !== last ? oldest : undefined;
    },
    done: (revision, now) => {
      last = revision;
      lastAt = now;
      waitMs = Math.min(periodMs, hourMs);
    },
  };
}

export function compactionPlan(wanted: AutoCompaction, began: number, revision: number): CompactionPlan {
  return wanted.mode === 'revision' ? byRevision(wanted.retention) : byPeriod(wanted.retentionMs, began, revision);
}

/** Lets go of history by itself while this member leads. What it knows of the past is its own: a new leader begins to count anew. */
export class AutoCompactor {
  readonly #options: AutoCompactorOptions;
  readonly #plan: CompactionPlan;
  #timer: Timer | undefined;

  constructor(wanted: AutoCompaction, options: AutoCompactorOptions) {
    this.#options = options;
    const { clock, store } = options;
    this.#plan = compactionPlan(wanted, clock.monotonic(), store.revision);
    this.#schedule();
  }

  #schedule(): void {
    const { clock, store, leads, log } = this.#options;
    this.#timer = clock.after(this.#plan.everyMs, () => {
      this.#schedule();
      const to = this.#plan.due(store.revision, clock.monotonic());
      if (to === undefined || !leads()) return;
      store.compact(to).then(
        () => this.#plan.done(to, clock.monotonic()),
        (error: unknown) => {
          // Somebody else compacted further: that is what was wanted.
          if (errorCode(error) === 'COMPACTED') this.#plan.done(to, clock.monotonic());
          else
            log.warn('store: history was not compacted, it is tried again', { revision: to, error: errorText(error) });
        },
      );
    });
  }

  close(): void {
    this.#timer?.cancel();
  }
}
