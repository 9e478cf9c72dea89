import type { Probe } from '../../api/types.ts';

export type ProbeKind = 'startup' | 'readiness' | 'liveness';

/** What one run of a probe said. `unknown` counts neither way (the probe itself could not be run). */
export interface ProbeOutcome {
  readonly result: 'success' | 'failure' | 'unknown';
  readonly message: string;
}

/** Times in milliseconds and thresholds of a probe with upstream's defaults. */
export interface ProbeTimes {
  readonly initialDelayMs: number;
  readonly periodMs: number;
  readonly timeoutMs: number;
  readonly successThreshold: number;
  readonly failureThreshold: number;
}

export function probeTimes(probe: Probe): ProbeTimes {
  return {
    initialDelayMs: (probe.initialDelaySeconds ?? 0) * 1000,
    periodMs: Math.max(1, probe.periodSeconds || 10) * 1000,
    timeoutMs: Math.max(1, probe.timeoutSeconds || 1) * 1000,
    successThreshold: Math.max(1, probe.successThreshold || 1),
    failureThreshold: Math.max(1, probe.failureThreshold || 3),
  };
}

/**
 * What a probe has established about one run of a container. Before it has spoken: alive, not ready, startup unknown. A failed liveness or
 * startup probe is final: the container is going to be replaced.
 */
export class ProbeState {
  readonly kind: ProbeKind;
  readonly times: ProbeTimes;
  value: boolean | null;
  #last: 'success' | 'failure' | undefined;
  #run = 0;

  constructor(kind: ProbeKind, times: ProbeTimes, initial?: boolean) {
    this.kind = kind;
    this.times = times;
    this.value = initial ?? (kind === 'liveness' ? true : kind === 'readiness' ? false : null);
  }

  /** True when probing is over: startup has succeeded, or the container has been given up. */
  get settled(): boolean {
    if (this.kind === 'startup') return this.value !== null;
    return this.kind === 'liveness' && this.value === false;
  }

  /** Takes one outcome; returns whether `value` changed. */
  take(outcome: ProbeOutcome): boolean {
    if (outcome.result === 'unknown' || this.settled) return false;
    if (outcome.result === this.#last) this.#run++;
    else {
      this.#last = outcome.result;
      this.#run = 1;
    }
    const threshold = outcome.result === 'success' ? this.times.successThreshold : this.times.failureThreshold;
    if (this.#run < threshold) return false;
    const value = outcome.result === 'success';
    if (this.value === value) return false;
    this.value = value;
    return true;
  }
}
