import type { Clock, Timer } from '../../../base/clock.ts';
import { errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { Probe } from '../../api/types.ts';
import type { CriClient } from '../cri/cri-client.ts';
import { currentSandbox, latest, type PodRuntime, type RuntimeContainer } from '../pod/runtime.ts';
import { type Container, initContainers, isSidecar, type Pod, podKey } from '../pod-types.ts';
import { runHandler } from './handler-client.ts';
import { type ProbeKind, type ProbeOutcome, ProbeState, probeTimes } from './probe-state.ts';

interface Worker {
  readonly state: ProbeState;
  readonly probe: Probe;
  readonly container: Container;
  readonly runtimeId: string;
  readonly startedAtMs: number;
  podIP: string;
  timer: Timer | undefined;
  stopped: boolean;
}

export interface ProberOptions {
  readonly cri: CriClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** A probe's verdict changed: the pod is worth a sync. */
  readonly changed: () => void;
  /** A probe failed, for the event `Unhealthy`. */
  readonly unhealthy: (container: Container, kind: ProbeKind, outcome: ProbeOutcome) => void;
}

const kinds: readonly ProbeKind[] = ['startup', 'readiness', 'liveness'];

/** Runs the probes of one pod's containers and remembers what they said. */
export class PodProber {
  readonly #options: ProberOptions;
  readonly #workers = new Map<string, Worker>();

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  /** Starts probes of containers that run now, ends those of containers that do not. */
  update(pod: Pod, runtime: PodRuntime, terminating: boolean): void {
    const wanted = new Set<string>();
    const podIP = pod.spec.hostNetwork ? '127.0.0.1' : (currentSandbox(runtime)?.ips[0] ?? '');
    for (const container of [...initContainers(pod).filter(isSidecar), ...pod.spec.containers]) {
      const found = latest(runtime, container.name);
      if (found?.state !== 'running') continue;
      for (const kind of kinds) {
        const probe = container[`${kind}Probe`];
        // A pod that is ending is no longer restarted for its health, but still tells whether it serves.
        if (!probe || (terminating && kind !== 'readiness')) continue;
        const key = `${kind}\0${found.id}`;
        wanted.add(key);
        const worker = this.#workers.get(key);
        if (worker) worker.podIP = podIP;
        else this.#begin(key, pod, container, found, kind, probe, podIP);
      }
    }
    for (const [key, worker] of this.#workers) if (!wanted.has(key)) this.#end(key, worker);
  }

  #begin(
    key: string,
    pod: Pod,
    container: Container,
    found: RuntimeContainer,
    kind: ProbeKind,
    probe: Probe,
    podIP: string,
  ): void {
    // What the API knows of this very container is the starting point after a restart of the agent.
    const known = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])].find(
      (status) => status.containerID === `containerd://${found.id}`,
    );
    const initial =
      kind === 'readiness' && known?.ready ? true : kind === 'startup' && known?.started ? true : undefined;
    const worker: Worker = {
      state: new ProbeState(kind, probeTimes(probe), initial),
      probe,
      container,
      runtimeId: found.id,
      startedAtMs: found.startedAtMs,
      podIP,
      timer: undefined,
      stopped: false,
    };
    this.#workers.set(key, worker);
    this.#schedule(worker, 0, podKey(pod));
  }

  #end(key: string, worker: Worker): void {
    worker.stopped = true;
    worker.timer?.cancel();
    this.#workers.delete(key);
  }

  stop(): void {
    for (const [key, worker] of this.#workers) this.#end(key, worker);
  }

  #schedule(worker: Worker, delayMs: number, pod: string): void {
    worker.timer = this.#options.clock.after(delayMs, () => {
      void this.#run(worker, pod);
    });
  }

  async #run(worker: Worker, pod: string): Promise<void> {
    if (worker.stopped || worker.state.settled) return;
    const { clock, cri, log } = this.#options;
    const { state } = worker;
    const sinceStart = clock.now() - worker.startedAtMs;
    if (sinceStart < state.times.initialDelayMs) {
      this.#schedule(worker, state.times.initialDelayMs - sinceStart, pod);
      return;
    }
    if (state.kind !== 'startup' && worker.container.startupProbe && this.value('startup', worker.runtimeId) !== true) {
      this.#schedule(worker, 250, pod);
      return;
    }
    const begun = clock.monotonic();
    const target = { container: worker.container, containerId: worker.runtimeId, podIP: worker.podIP, cri };
    let outcome: ProbeOutcome;
    try {
      outcome = await runHandler(worker.probe, target, state.times.timeoutMs);
    } catch (error) {
      // A probe that cannot even be put together, such as one with an impossible header.
      outcome = { result: 'failure', message: errorText(error) };
    }
    if (worker.stopped) return;
    if (outcome.result === 'failure') {
      log.debug('probe failed', { pod, container: worker.container.name, probe: state.kind, message: outcome.message });
      this.#options.unhealthy(worker.container, state.kind, outcome);
    }
    if (state.take(outcome)) this.#options.changed();
    this.#schedule(worker, Math.max(0, state.times.periodMs - (clock.monotonic() - begun)), pod);
  }

  /** Null or undefined: not known. */
  value(kind: ProbeKind, runtimeId: string): boolean | null | undefined {
    return this.#workers.get(`${kind}\0${runtimeId}`)?.state.value;
  }

  /** All verdicts of one kind, by runtime id. */
  results(kind: ProbeKind): Map<string, boolean | null> {
    const out = new Map<string, boolean | null>();
    for (const worker of this.#workers.values())
      if (worker.state.kind === kind) out.set(worker.runtimeId, worker.state.value);
    return out;
  }
}
