import {
  type Container,
  ephemeralContainers,
  initContainers,
  isSidecar,
  type Pod,
  restartPolicy,
} from '../pod-types.ts';
import { containerHash } from './container-config.ts';
import { currentSandbox, isLive, latest, type PodRuntime, type RuntimeContainer } from './runtime.ts';

/** What probes have said about running containers, by runtime id. */
export interface ProbeResults {
  /** Null while the probe has not spoken; no entry where the container has no such probe. */
  readonly liveness: ReadonlyMap<string, boolean | null>;
  readonly startup: ReadonlyMap<string, boolean | null>;
}

export interface SyncInput {
  readonly pod: Pod;
  readonly runtime: PodRuntime;
  readonly probes: ProbeResults;
  /** Names of containers whose postStart hook is still running; they do not count as started. */
  readonly hooksRunning: ReadonlySet<string>;
  /** Containers that must end because something under them broke (a dead mount, a failed postStart hook), by runtime id. */
  readonly condemned: ReadonlyMap<string, string>;
  /** Containers whose resize policy wants a restart for what they were promised, by runtime id. */
  readonly resized: ReadonlySet<string>;
}

export interface KillOrder {
  readonly container: RuntimeContainer;
  /** Why, for the event: `Container web failed liveness probe, will be restarted`. */
  readonly message: string;
  readonly reason: 'liveness' | 'startup' | 'changed' | 'condemned' | 'resize' | 'other';
}

/** What has to be done so that the runtime comes closer to the pod's spec. Nothing here waits: back-off is applied when a start is due. */
export interface PodActions {
  /** End every container, then the sandbox. */
  readonly killPod: boolean;
  /** Undefined: keep the one there is. */
  readonly createSandbox?: { attempt: number };
  readonly kill: readonly KillOrder[];
  /** In order. */
  readonly start: readonly { container: Container; kind: 'init' | 'main' | 'ephemeral'; attempt: number }[];
}

/** Attempts only grow: where the runtime has forgotten a container, its status tells how often it was started. */
function attemptOf(pod: Pod, runtime: PodRuntime, name: string): number {
  const last = latest(runtime, name);
  if (last) return last.attempt + 1;
  const known = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])].find(
    (s) => s.name === name,
  );
  if (!known) return 0;
  return known.containerID || known.lastState?.terminated ? known.restartCount + 1 : known.restartCount;
}

/** Whether an ended container is due to run again (kubernetes/pkg/kubelet/container/helpers.go: ShouldContainerBeRestarted). */
function shouldRestart(pod: Pod, ended: RuntimeContainer | undefined): boolean {
  if (!ended) return true;
  if (isLive(ended)) return false;
  const policy = restartPolicy(pod);
  if (ended.state === 'created') return true;
  if (policy === 'Never') return false;
  return policy === 'Always' || ended.exitCode !== 0;
}

/**
 * Decides the next actions of a pod that is to run; a pure function of what is wanted and what is there (the idea of
 * kubernetes/pkg/kubelet/kuberuntime: computePodActions).
 */
export function computeActions(input: SyncInput): PodActions {
  const { pod, runtime } = input;
  const sandbox = currentSandbox(runtime);
  const needsIp = !pod.spec.hostNetwork;
  if (!sandbox?.ready || (needsIp && sandbox.ips.length === 0) || runtime.sandboxes.filter((s) => s.ready).length > 1)
    return withNewSandbox(input);

  const kill: KillOrder[] = [];
  const start: { container: Container; kind: 'init' | 'main' | 'ephemeral'; attempt: number }[] = [];
  const mainSeen = pod.spec.containers.some((c) => latest(runtime, c.name, sandbox.id) !== undefined);

  for (const container of ephemeralContainers(pod))
    if (!latest(runtime, container.name)) start.push({ container, kind: 'ephemeral', attempt: 0 });

  const init = computeInit(input, sandbox.id, mainSeen, kill, start);
  if (init === 'failed') return { killPod: true, kill: [], start: [] };

  let keep = 0;
  if (init === 'done') {
    for (const container of pod.spec.containers) {
      const found = latest(runtime, container.name);
      if (!found || !isLive(found)) {
        if (shouldRestart(pod, found)) {
          start.push({ container, kind: 'main', attempt: attemptOf(pod, runtime, container.name) });
        }
        continue;
      }
      const order = mustEnd(input, container, found, restartPolicy(pod) !== 'Never');
      if (!order) {
        keep++;
        continue;
      }
      kill.push(order.kill);
      if (order.restart) start.push({ container, kind: 'main', attempt: found.attempt + 1 });
    }
    const startsMain = start.some((s) => s.kind === 'main');
    if (keep === 0 && !startsMain && kill.length === 0) return { killPod: true, kill: [], start: [] };
    if (keep === 0 && !startsMain && kill.length > 0) return { killPod: true, kill, start: [] };
  }
  return { killPod: false, kill, start };
}

function withNewSandbox({ pod, runtime }: SyncInput): PodActions {
  const last = currentSandbox(runtime);
  const attempt = last === undefined ? 0 : last.attempt + 1;
  const killPod = runtime.sandboxes.length > 0;
  const policy = restartPolicy(pod);
  const ranBefore = pod.spec.containers.some((c) => latest(runtime, c.name) !== undefined);
  // A pod that may not restart has had its one chance once a main container existed.
  if (policy === 'Never' && ranBefore) return { killPod: true, kill: [], start: [] };
  const wanted = pod.spec.containers.filter((container) => {
    const found = latest(runtime, container.name);
    return !(policy === 'OnFailure' && found?.state === 'exited' && found.exitCode === 0);
  });
  if (wanted.length === 0) return { killPod: true, kill: [], start: [] };
  return { killPod, createSandbox: { attempt }, kill: [], start: firstStarts(pod, runtime, wanted) };
}

function firstStarts(pod: Pod, runtime: PodRuntime, wanted: readonly Container[]): PodActions['start'] {
  const first = initContainers(pod)[0];
  if (first) return [{ container: first, kind: 'init', attempt: attemptOf(pod, runtime, first.name) }];
  return wanted.map((container) => ({
    container,
    kind: 'main' as const,
    attempt: attemptOf(pod, runtime, container.name),
  }));
}

/** Whether a running container has to end, and whether it starts again then. */
function mustEnd(
  input: SyncInput,
  container: Container,
  found: RuntimeContainer,
  restartable: boolean,
): { kill: KillOrder; restart: boolean } | undefined {
  const order = (reason: KillOrder['reason'], message: string): { kill: KillOrder; restart: boolean } => ({
    kill: { container: found, reason, message },
    restart: restartable,
  });
  const condemned = input.condemned.get(found.id);
  if (condemned !== undefined) return order('condemned', condemned);
  if (found.hash !== '' && found.hash !== containerHash(container))
    return { ...order('changed', `Container ${container.name} definition changed, will be restarted`), restart: true };
  if (input.resized.has(found.id))
    return { ...order('resize', `Container ${container.name} resize requires restart`), restart: true };
  if (input.probes.liveness.get(found.id) === false)
    return order('liveness', `Container ${container.name} failed liveness probe, will be restarted`);
  if (input.probes.startup.get(found.id) === false)
    return order('startup', `Container ${container.name} failed startup probe, will be restarted`);
  return undefined;
}

/**
 * Init containers in order: one ordinary one at a time, sidecars kept running. `done` when main containers may start, `failed` when the pod
 * cannot go on, `waiting` otherwise.
 */
function computeInit(
  input: SyncInput,
  sandboxId: string,
  mainSeen: boolean,
  kill: KillOrder[],
  start: { container: Container; kind: 'init' | 'main' | 'ephemeral'; attempt: number }[],
): 'done' | 'waiting' | 'failed' {
  const { pod, runtime, probes, hooksRunning } = input;
  const list = initContainers(pod);
  for (let i = 0; i < list.length; i++) {
    const container = list[i]!;
    const found = latest(runtime, container.name, sandboxId);
    const again = (): void => {
      start.push({ container, kind: 'init', attempt: attemptOf(pod, runtime, container.name) });
    };
    if (isSidecar(container)) {
      if (!found || !isLive(found)) {
        again();
        // Once the main containers exist, or a later init container, a fallen sidecar holds nothing up.
        const passed = mainSeen || list.slice(i + 1).some((c) => latest(runtime, c.name, sandboxId) !== undefined);
        if (passed) continue;
        return 'waiting';
      }
      const order = mustEnd(input, container, found, true);
      if (order) {
        kill.push(order.kill);
        again();
        continue;
      }
      const started = !container.startupProbe || probes.startup.get(found.id) === true;
      if (!mainSeen && (!started || hooksRunning.has(container.name))) return 'waiting';
      continue;
    }
    if (mainSeen) continue;
    if (!found) {
      again();
      return 'waiting';
    }
    if (found.state === 'exited') {
      if (found.exitCode === 0) continue;
      if (restartPolicy(pod) === 'Never') return 'failed';
      again();
      return 'waiting';
    }
    if (found.state === 'created') {
      again();
      return 'waiting';
    }
    const order = mustEnd(input, container, found, restartPolicy(pod) !== 'Never');
    if (order) {
      kill.push(order.kill);
      if (order.restart) again();
    }
    return 'waiting';
  }
  return 'done';
}
