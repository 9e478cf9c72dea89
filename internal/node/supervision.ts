/**
 * Which processes run and when they start, restart and stop: a state machine without I/O. The shell (`supervisor-system.ts`) reports
 * events and carries out the actions that `step` returns. Instances may be added and removed while it runs.
 */

/** One process that ought to run. */
export interface InstanceSpec {
  /** `osd.2`; unique on the node. */
  readonly name: string;
  /** Names of instances that must have been ready before this one starts; those not on the node do not count. */
  readonly needs: readonly string[];
  /** How long it may take to be ready; after that it is killed and starts again. */
  readonly startDeadlineMs: number;
  /** How long an ordered stop may take before the process is killed. */
  readonly stopDeadlineMs: number;
}

/** `crash-loop`: like `back-off`, after so many deaths in a row that somebody should look. */
export type Phase = 'waiting' | 'starting' | 'running' | 'back-off' | 'crash-loop' | 'stopping' | 'stopped';

/** How a process ended. */
export interface Exit {
  /** On the monotonic clock. */
  readonly atMs: number;
  /** In words: exit code, signal, "out of memory: limit 200 MiB". */
  readonly reason: string;
}

export interface InstanceStatus {
  name: string;
  phase: Phase;
  /** When the phase began, on the monotonic clock. */
  sinceMs: number;
  restarts: number;
  /** Why the last process ended, in words. */
  lastExit: string | undefined;
  /** The last deaths, the newest last; at most `exitsKept`. A stop that was asked for is none. */
  exits: readonly Exit[];
  healthy: boolean;
  detail: string;
}

export type Action =
  | { do: 'start'; name: string }
  /** Ask for an ordered stop. */
  | { do: 'stop'; name: string }
  | { do: 'kill'; name: string; why: string };

interface Instance extends InstanceStatus {
  spec: InstanceSpec;
  /** Was ready at least once since the node started: what needs it may start even while it restarts. */
  readyOnce: boolean;
  failures: number;
  startAtMs: number;
  lastHealthMs: number;
  /** While it starts: when it said last that it waits for what is not on this machine. */
  waitsMs: number | undefined;
  killed: boolean;
  wanted: boolean;
}

const backOffFirstMs = 500;
const backOffMaxMs = 30_000;
/** So many deaths without a steady minute in between are a crash loop. */
const crashLoopFailures = 5;
const exitsKept = 5;
/** How late an action may be before the supervisor does not do what it is for; more than the longest pause of a loaded machine. */
const dutyGraceMs = 30_000;
/** A process that ran this long starts again with the first back-off. */
const steadyMs = 60_000;
/** A start that takes longer says so, once more after each such time. */
const slowStartMs = 10_000;
/** A running process that reports no good health for so long is killed and started again. */
export const unhealthyLimitMs = 60_000;

export class Supervision {
  readonly #instances = new Map<string, Instance>();
  #stopping = false;

  /** Replaces the set of wanted instances. What is no longer wanted is stopped and then forgotten. */
  setInstances(specs: readonly InstanceSpec[], nowMs: number): void {
    const names = new Set(specs.map((spec) => spec.name));
    const before = [...this.#instances.values()];
    for (const instance of this.#instances.values()) if (!names.has(instance.name)) instance.wanted = false;
    for (const spec of specs) {
      const existing = this.#instances.get(spec.name);
      if (existing) {
        existing.spec = spec;
        existing.wanted = true;
        continue;
      }
      this.#instances.set(spec.name, {
        name: spec.name,
        spec,
        phase: 'waiting',
        sinceMs: nowMs,
        restarts: 0,
        lastExit: undefined,
        exits: [],
        healthy: false,
        detail: 'waits to start',
        readyOnce: false,
        failures: 0,
        startAtMs: nowMs,
        lastHealthMs: nowMs,
        waitsMs: undefined,
        killed: false,
        wanted: true,
      });
    }
    // In the order of the table, whenever they came.
    const known = [
      ...specs.map(({ name }) => this.#instances.get(name)!),
      ...before.filter(({ name }) => !names.has(name)),
    ];
    this.#instances.clear();
    for (const instance of known) this.#instances.set(instance.name, instance);
  }

  /** From now on everything stops, what others need last. */
  stopAll(): void {
    this.#stopping = true;
  }

  /** True when a stop was asked for and nothing runs any more. */
  get stopped(): boolean {
    return this.#stopping && [...this.#instances.values()].every((instance) => instance.phase === 'stopped');
  }

  status(): InstanceStatus[] {
    return [...this.#instances.values()].map(
      ({ name, phase, sinceMs, restarts, lastExit, exits, healthy, detail }): InstanceStatus => ({
        name,
        phase,
        sinceMs,
        restarts,
        lastExit,
        exits,
        healthy,
        detail,
      }),
    );
  }

  /**
   * What should have been done long ago, undefined when all is in hand. A role that fails is in hand (it is in back-off, or will be killed); that an
   * action which is due was not taken is a defect of the supervisor itself, for its watchdog.
   */
  neglected(nowMs: number): string | undefined {
    for (const { name, phase, spec, killed, lastHealthMs, sinceMs, waitsMs } of this.#instances.values()) {
      const late = (sinceDueMs: number): boolean => !killed && nowMs - sinceDueMs > dutyGraceMs;
      if (phase === 'running' && late(lastHealthMs + unhealthyLimitMs))
        return `${name} is unhealthy and was not killed`;
      if (phase === 'starting' && late((waitsMs ?? sinceMs) + spec.startDeadlineMs))
        return `${name} is not ready and was not killed`;
      if (phase === 'stopping' && late(sinceMs + spec.stopDeadlineMs))
        return `${name} does not stop and was not killed`;
    }
    return undefined;
  }

  /** True when every wanted instance runs and is healthy. */
  get allReady(): boolean {
    return [...this.#instances.values()].every(
      (instance) => !instance.wanted || (instance.phase === 'running' && instance.healthy),
    );
  }

  onReady(name: string, nowMs: number): void {
    const instance = this.#instances.get(name);
    // Too late: its end is on the way.
    if (instance?.phase !== 'starting' || instance.killed) return;
    this.#enter(instance, 'running', nowMs);
    instance.readyOnce = true;
    instance.healthy = true;
    instance.detail = 'running';
    instance.lastHealthMs = nowMs;
  }

  /** A start that waits for others is no slow one: its deadline begins anew. */
  onWaits(name: string, detail: string, nowMs: number): void {
    const instance = this.#instances.get(name);
    if (instance?.phase !== 'starting' || instance.killed) return;
    instance.detail = detail;
    instance.waitsMs = nowMs;
  }

  onHealth(name: string, ok: boolean, detail: string, nowMs: number): void {
    const instance = this.#instances.get(name);
    if (instance?.phase !== 'running') return;
    instance.healthy = ok;
    instance.detail = detail;
    if (ok) instance.lastHealthMs = nowMs;
  }

  /** The process ended, by whatever cause; `reason` is for people. */
  onExit(name: string, reason: string, nowMs: number): void {
    const instance = this.#instances.get(name);
    if (!instance) return;
    const ranMs = instance.phase === 'running' ? nowMs - instance.sinceMs : 0;
    const asked = instance.phase === 'stopping';
    instance.healthy = false;
    instance.lastExit = reason;
    instance.killed = false;
    if (this.#stopping || !instance.wanted) {
      this.#enter(instance, 'stopped', nowMs);
      instance.detail = 'stopped';
      if (!instance.wanted) this.#instances.delete(name);
      return;
    }
    instance.restarts += 1;
    if (asked) {
      // It was unwanted and is wanted again: no failure.
      instance.startAtMs = nowMs;
      this.#enter(instance, 'waiting', nowMs);
      instance.detail = 'waits to start';
      return;
    }
    instance.exits = [...instance.exits, { atMs: nowMs, reason }].slice(-exitsKept);
    instance.failures = ranMs >= steadyMs ? 1 : instance.failures + 1;
    const delay = Math.min(backOffMaxMs, backOffFirstMs * 2 ** Math.min(16, instance.failures - 1));
    instance.startAtMs = nowMs + delay;
    const looping = instance.failures >= crashLoopFailures;
    this.#enter(instance, looping ? 'crash-loop' : 'back-off', nowMs);
    instance.detail = `${looping ? `ended ${instance.failures} times in a row, last: ` : ''}${reason}; starts again in ${(delay / 1000).toFixed(1)} s`;
  }

  /** What to do now. Call it after every event and about once a second. */
  step(nowMs: number): Action[] {
    const actions: Action[] = [];
    for (const instance of [...this.#instances.values()]) {
      if (this.#stopping || !instance.wanted) this.#stepStop(instance, nowMs, actions);
      else this.#stepRun(instance, nowMs, actions);
    }
    return actions;
  }

  #stepRun(instance: Instance, nowMs: number, actions: Action[]): void {
    if (waits(instance.phase) && nowMs >= instance.startAtMs) {
      const missing = instance.spec.needs.filter((need) => this.#instances.get(need)?.readyOnce === false);
      if (missing.length > 0) {
        instance.detail = `waits for ${missing.join(', ')}`;
        return;
      }
      this.#enter(instance, 'starting', nowMs);
      instance.detail = 'starting';
      actions.push({ do: 'start', name: instance.name });
    } else if (instance.phase === 'starting') {
      this.#awaitReady(instance, nowMs, actions);
    } else if (instance.phase === 'stopping') {
      // Wanted again before it had ended: that goes on, and it starts anew after.
      this.#killLate(instance, nowMs, actions);
    } else if (instance.phase === 'running' && !instance.killed && nowMs - instance.lastHealthMs > unhealthyLimitMs) {
      instance.killed = true;
      actions.push({
        do: 'kill',
        name: instance.name,
        why: `no good health for ${unhealthyLimitMs / 1000} s: ${instance.detail}`,
      });
    }
  }

  #awaitReady(instance: Instance, nowMs: number, actions: Action[]): void {
    const { startDeadlineMs } = instance.spec;
    const tookMs = nowMs - (instance.waitsMs ?? instance.sinceMs);
    if (instance.killed) return;
    if (tookMs > startDeadlineMs) {
      instance.killed = true;
      actions.push({ do: 'kill', name: instance.name, why: `was not ready within ${startDeadlineMs / 1000} s` });
    } else if (tookMs >= slowStartMs) {
      const told = Math.floor(tookMs / slowStartMs) * slowStartMs;
      instance.detail = `not ready after ${told / 1000} s; it is started anew after ${startDeadlineMs / 1000} s`;
    }
  }

  #stepStop(instance: Instance, nowMs: number, actions: Action[]): void {
    if (waits(instance.phase)) {
      this.#enter(instance, 'stopped', nowMs);
      instance.detail = 'stopped';
      if (!instance.wanted) this.#instances.delete(instance.name);
      return;
    }
    if (instance.phase === 'starting' || instance.phase === 'running') {
      const users = [...this.#instances.values()].filter(
        (other) => other.phase !== 'stopped' && other.spec.needs.includes(instance.name),
      );
      if (this.#stopping && users.length > 0) return;
      this.#enter(instance, 'stopping', nowMs);
      instance.healthy = false;
      instance.detail = 'stopping';
      actions.push({ do: 'stop', name: instance.name });
    } else if (instance.phase === 'stopping') this.#killLate(instance, nowMs, actions);
  }

  #killLate(instance: Instance, nowMs: number, actions: Action[]): void {
    if (instance.killed || nowMs - instance.sinceMs <= instance.spec.stopDeadlineMs) return;
    instance.killed = true;
    actions.push({
      do: 'kill',
      name: instance.name,
      why: `did not stop within ${instance.spec.stopDeadlineMs / 1000} s`,
    });
  }

  #enter(instance: Instance, phase: Phase, nowMs: number): void {
    instance.phase = phase;
    instance.sinceMs = nowMs;
    instance.waitsMs = undefined;
  }
}

/** No process, and there will be one. */
function waits(phase: Phase): boolean {
  return phase === 'waiting' || phase === 'back-off' || phase === 'crash-loop';
}
