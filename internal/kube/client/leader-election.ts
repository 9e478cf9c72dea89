import { type Clock, sleep } from '../../base/clock.ts';
import { AppError, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Lease, LeaseSpec } from '../api/types.ts';
import { isStatus } from '../machinery/status.ts';
import { formatMicroTime } from '../machinery/time.ts';
import type { KubeClient, KubeObject } from './api.ts';
import type { Transport } from './client.ts';
import { leasesRef } from './resources.ts';

/**
 * Leader election by a Lease, as client-go's `leaderelection` does it: of several servers one acts. Times are of the reader's own clock from when it saw the
 * Lease change, never those that the Lease says.
 */

/** The defaults of kube-controller-manager and kube-scheduler (LeaderElectionConfiguration). */
export const defaultElectionTiming = { leaseMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2_000 };

type ApiLease = Lease & KubeObject;

const namespace = 'kube-system';
/** While nobody else can take it. */
const aloneRenewMs = 600_000;

export interface LeaderElectionOptions {
  /** Name of the Lease in kube-system. */
  readonly lease: string;
  /** Who this is: the same after a restart, so that it goes on at once. */
  readonly holder: string;
  readonly client: KubeClient;
  /** True while no other server can exist: then nobody is waited for, and the Lease is not renewed at the disk's cost. */
  readonly alone: () => boolean;
  /** Begins to act; what it returns ends that. Called again for each time that this one leads. */
  readonly lead: (leadership: Leadership) => Promise<{ stop(): Promise<void> }>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timing?: typeof defaultElectionTiming;
}

/** What a leader may still do. */
export interface Leadership {
  /** False from the moment on that another one may lead. */
  readonly holds: () => boolean;
}

/** Lets requests through as long as this one leads: work that was under way when the Lease was lost cannot write any more. */
export function fenced(transport: Transport, leadership: Leadership): Transport {
  return (request) => {
    if (leadership.holds()) return transport(request);
    return Promise.reject(new AppError('NOT_LEADING', 'another server leads now'));
  };
}

/** A Lease as it was last seen, and when it was seen to change. */
interface Seen {
  readonly lease: ApiLease;
  readonly version: string;
  readonly atMs: number;
}

/** Stands for election until it is stopped. */
export class LeaderElection {
  readonly #options: LeaderElectionOptions;
  readonly #timing: typeof defaultElectionTiming;
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #seen: Seen | undefined;
  /** Own clock; nobody else leads before `leaseMs` later. */
  #renewedMs = Number.NEGATIVE_INFINITY;
  #unchallengedMs = Number.NEGATIVE_INFINITY;
  #leads = false;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
    this.#timing = options.timing ?? defaultElectionTiming;
    this.#running = this.#run();
  }

  /** Acts at this moment. */
  get leads(): boolean {
    return this.#leads;
  }

  /** Who leads, as far as it was seen; undefined when nobody does. */
  get leader(): string | undefined {
    return this.#seen?.lease.spec?.holderIdentity || undefined;
  }

  /** Ends acting, then lets go of the Lease, so that another one need not wait. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /**
   * Not until the Lease ends, but earlier: another one counts from when it saw the renewal. A server that was alone is one that nobody can have waited for
   * yet.
   */
  #holds(): boolean {
    const now = this.#options.clock.monotonic();
    if (this.#options.alone()) this.#unchallengedMs = now;
    return now < Math.max(this.#renewedMs, this.#unchallengedMs) + this.#timing.renewDeadlineMs;
  }

  async #run(): Promise<void> {
    const { clock, lease, log } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      if (!(await this.#acquired())) {
        await sleep(clock, this.#timing.retryMs, signal);
        continue;
      }
      log.info('leads', { lease });
      this.#leads = true;
      const ending = new AbortController();
      signal.addEventListener('abort', () => ending.abort(), { once: true, signal: ending.signal });
      // Renewed also while the work is still being set up; given up with work that failed.
      const acting = this.#options.lead({ holds: () => this.#leads && this.#holds() });
      acting.catch(() => ending.abort());
      await this.#keep(ending.signal);
      this.#leads = false;
      ending.abort();
      try {
        await (await acting).stop();
      } catch (error) {
        log.error('what the leader does has failed', { lease, error: errorText(error) });
        await sleep(clock, this.#timing.retryMs, signal);
      }
      if (!signal.aborted) log.warn('leads no more', { lease });
    }
    await this.#release();
  }

  /** Renews until the Lease is lost, or `ending` aborts. */
  async #keep(ending: AbortSignal): Promise<void> {
    const { alone, clock } = this.#options;
    for (;;) {
      await sleep(clock, this.#timing.retryMs, ending);
      if (ending.aborted) return;
      if (alone() && clock.monotonic() < this.#renewedMs + aloneRenewMs) continue;
      if (!(await this.#acquired()) && (this.#taken() || !this.#holds())) return;
    }
  }

  #taken(): boolean {
    const holder = this.leader;
    return holder !== undefined && holder !== this.#options.holder;
  }

  /** Takes or renews the Lease; false when it is another's, or the API does not say. */
  async #acquired(): Promise<boolean> {
    const { alone, client, clock, holder, lease, log } = this.#options;
    const began = clock.monotonic();
    try {
      const current = await this.#current();
      if (current === undefined) {
        const made = await client.create<ApiLease>(leasesRef, {
          apiVersion: 'coordination.k8s.io/v1',
          kind: 'Lease',
          metadata: { name: lease, namespace },
          spec: this.#spec(undefined),
        });
        this.#see(made);
      } else {
        const before = this.#seen;
        const seen = this.#see(current);
        const held = current.spec?.holderIdentity;
        const free = !held || held === holder || alone();
        // Of one that is seen for the first time it is not known how old it is.
        if (!free && (before === undefined || began < seen.atMs + this.#timing.leaseMs)) return false;
        this.#see(await client.update<ApiLease>(leasesRef, { ...current, spec: this.#spec(current) }));
      }
      // From before it was asked for: nobody can have seen it earlier.
      this.#renewedMs = began;
      return true;
    } catch (error) {
      if (!isStatus(error, 'Conflict', 'AlreadyExists'))
        log.debug('the Lease was not renewed', { lease, error: errorText(error) });
      return false;
    }
  }

  async #current(): Promise<ApiLease | undefined> {
    try {
      return await this.#options.client.get<ApiLease>(leasesRef, this.#options.lease, namespace);
    } catch (error) {
      if (isStatus(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  #see(lease: ApiLease): Seen {
    const version = `${lease.metadata.uid} ${lease.metadata.resourceVersion}`;
    if (this.#seen?.version !== version) this.#seen = { lease, version, atMs: this.#options.clock.monotonic() };
    return this.#seen;
  }

  #spec(before: ApiLease | undefined): LeaseSpec {
    const { clock, holder } = this.#options;
    const now = formatMicroTime(clock.now());
    const same = before?.spec?.holderIdentity === holder;
    return {
      holderIdentity: holder,
      leaseDurationSeconds: this.#timing.leaseMs / 1000,
      acquireTime: same ? (before.spec?.acquireTime ?? now) : now,
      renewTime: now,
      leaseTransitions: (before?.spec?.leaseTransitions ?? 0) + (before === undefined || same ? 0 : 1),
    };
  }

  async #release(): Promise<void> {
    const { client, holder, lease, log } = this.#options;
    // Without a majority it is given back by time alone, and asking would take long.
    if (this.#options.alone() || !this.#holds()) return;
    try {
      const current = await this.#current();
      if (current?.spec?.holderIdentity !== holder) return;
      const renewTime = formatMicroTime(this.#options.clock.now());
      const spec = { ...current.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime };
      await client.update<ApiLease>(leasesRef, { ...current, spec });
    } catch (error) {
      log.debug('the Lease was not given back', { lease, error: errorText(error) });
    }
  }
}
