import { formatTime } from '../../machinery/time.ts';
import type {
  ContainerState,
  ContainerStateTerminated,
  ContainerStatus,
  PodCondition,
  PodStatus,
  ResourceRequirements,
} from '../../api/types.ts';
import {
  type Container,
  defined,
  ephemeralContainers,
  initContainers,
  isSidecar,
  type Pod,
  restartPolicy,
} from '../pod-types.ts';
import { goDuration } from './backoff.ts';
import { podLevel, qosClass, wholePod } from './resources.ts';
import { currentSandbox, latest, type PodRuntime, type RuntimeContainer } from './runtime.ts';

/** Why a container that should run does not: the last failed start, or a back-off that is under way. */
export interface WaitReason {
  readonly reason: string;
  readonly message: string;
}

/** How far a resize is. */
export interface ResizeState {
  /** What running containers have where that is not what they were promised, by runtime id; of the pod as a whole by `wholePod`. */
  readonly actual: ReadonlyMap<string, ResourceRequirements>;
  /** Why the node does not promise what the pod asks for: `Deferred` or `Infeasible`. */
  readonly pending?: WaitReason;
  /** Set while containers have not all got what was promised; what went wrong, '' when nothing did. */
  readonly underWay?: string;
}

export interface StatusInput {
  readonly pod: Pod;
  readonly runtime: PodRuntime;
  /** By container name. */
  readonly waiting: ReadonlyMap<string, WaitReason>;
  /** By runtime id; containers without a readiness probe are absent. */
  readonly readiness: ReadonlyMap<string, boolean | null>;
  /** By runtime id; containers without a startup probe are absent. */
  readonly startup: ReadonlyMap<string, boolean | null>;
  readonly hooksRunning: ReadonlySet<string>;
  readonly resize: ResizeState;
  readonly hostIP: string;
  readonly nowMs: number;
  /** When this node took the pod. */
  readonly startTimeMs: number;
  /** True once the pod is being ended for good; nothing starts again. */
  readonly terminating: boolean;
  /** Set when the node itself ends the pod (`DeadlineExceeded`, `Evicted`, a failed admission). */
  readonly failed?: WaitReason | undefined;
}

/** Signals are reported as exit codes of 128 and more. */
function terminated(container: RuntimeContainer): ContainerStateTerminated {
  return defined({
    exitCode: container.exitCode,
    reason: container.reason || (container.exitCode === 0 ? 'Completed' : 'Error'),
    message: container.message || undefined,
    startedAt: time(container.startedAtMs),
    finishedAt: time(container.finishedAtMs),
    containerID: `containerd://${container.id}`,
  }) as ContainerStateTerminated;
}

function time(ms: number): string | undefined {
  return ms > 0 ? formatTime(ms) : undefined;
}

type Kind = 'init' | 'main' | 'ephemeral';

/** The status of one container (kubernetes/pkg/kubelet: convertToAPIContainerStatuses). */
function containerStatus(input: StatusInput, container: Container, kind: Kind, initializing: boolean): ContainerStatus {
  const { pod, runtime } = input;
  const sandbox = currentSandbox(runtime);
  const mine = runtime.containers.filter((c) => c.name === container.name);
  const found = mine[0];
  const previous = mine[1];
  const wait = input.waiting.get(container.name);
  let state: ContainerState;
  let lastState: ContainerState = {};
  const lost = found !== undefined && found.state === 'unknown';
  if (!found) {
    const started =
      kind === 'main' && initializing ? 'PodInitializing' : kind === 'init' ? 'PodInitializing' : 'ContainerCreating';
    state = input.failed
      ? { waiting: { reason: started } }
      : { waiting: wait ? { reason: wait.reason, message: wait.message } : { reason: started } };
    const before = told(pod, container.name);
    const ended =
      before?.state?.terminated ??
      before?.lastState?.terminated ??
      (before?.state?.running
        ? {
            exitCode: 137,
            reason: 'ContainerStatusUnknown',
            message: 'The container could not be located. It used to be Running',
          }
        : undefined);
    if (ended) lastState = { terminated: ended };
  } else if (found.state === 'running') {
    state = { running: { startedAt: formatTime(found.startedAtMs) } };
    if (previous?.state === 'exited') lastState = { terminated: terminated(previous) };
  } else if (found.state === 'exited') {
    state = { terminated: terminated(found) };
    const again = !input.terminating && willRestart(pod, container, kind, found);
    if (wait && again) {
      lastState = state;
      state = { waiting: { reason: wait.reason, message: wait.message } };
    } else if (again && sandbox && found.sandboxId !== sandbox.id && kind !== 'ephemeral') {
      lastState = state;
      state = { waiting: { reason: initializing ? 'PodInitializing' : 'ContainerCreating' } };
    } else if (previous?.state === 'exited') lastState = { terminated: terminated(previous) };
  } else if (lost) {
    state = {
      terminated: {
        exitCode: 137,
        reason: 'ContainerStatusUnknown',
        message: 'The container could not be located when the pod was terminated',
      },
    };
  } else {
    state = { waiting: wait ? { reason: wait.reason, message: wait.message } : { reason: 'ContainerCreating' } };
    if (previous?.state === 'exited') lastState = { terminated: terminated(previous) };
  }

  const running = found?.state === 'running';
  const startup = found && container.startupProbe ? (input.startup.get(found.id) ?? null) : true;
  const started = running === true && startup === true && !input.hooksRunning.has(container.name);
  let ready = false;
  if (kind === 'main' || (kind === 'init' && isSidecar(container))) {
    ready = started && (container.readinessProbe ? input.readiness.get(found!.id) === true : true);
  } else if (kind === 'init') ready = found?.state === 'exited' && found.exitCode === 0;

  return defined({
    name: container.name,
    state,
    lastState,
    ready: ready && !(input.terminating && !running && kind !== 'init'),
    restartCount: found ? found.attempt : (told(pod, container.name)?.restartCount ?? 0),
    image: found?.image || container.image || '',
    imageID: found?.imageId ?? '',
    containerID: found ? `containerd://${found.id}` : undefined,
    started: kind === 'ephemeral' ? undefined : started,
    allocatedResources:
      container.resources?.requests && kind !== 'ephemeral' ? container.resources.requests : undefined,
    resources:
      container.resources && kind !== 'ephemeral' && running
        ? shownResources(input.resize.actual.get(found!.id) ?? container.resources)
        : undefined,
    volumeMounts: container.volumeMounts?.map((m) =>
      defined({
        name: m.name,
        mountPath: m.mountPath,
        readOnly: m.readOnly || undefined,
        recursiveReadOnly: m.readOnly ? 'Disabled' : undefined,
      }),
    ),
  }) as ContainerStatus;
}

function shownResources({ limits, requests }: ResourceRequirements): ResourceRequirements {
  return defined({ limits, requests }) as ResourceRequirements;
}

/** What the API was told of a container before. */
function told(pod: Pod, name: string): ContainerStatus | undefined {
  const { containerStatuses, ephemeralContainerStatuses, initContainerStatuses } = pod.status ?? {};
  return [...(containerStatuses ?? []), ...(initContainerStatuses ?? []), ...(ephemeralContainerStatuses ?? [])].find(
    (s) => s.name === name,
  );
}

function willRestart(pod: Pod, container: Container, kind: Kind, found: RuntimeContainer): boolean {
  if (kind === 'ephemeral') return false;
  if (isSidecar(container)) return true;
  const policy = restartPolicy(pod);
  if (kind === 'init') return found.exitCode !== 0 && policy !== 'Never';
  return policy === 'Always' || (policy === 'OnFailure' && found.exitCode !== 0);
}

/** Pending, Running, Succeeded or Failed from the containers' states (kubernetes/pkg/kubelet: getPhase). */
export function podPhase(
  pod: Pod,
  init: readonly ContainerStatus[],
  main: readonly ContainerStatus[],
  terminating: boolean,
): NonNullable<PodStatus['phase']> {
  const specs = initContainers(pod);
  let pendingInit = 0;
  let failedInit = 0;
  const mainBegun = main.some((s) => s.state?.running || s.state?.terminated || s.lastState?.terminated);
  for (const [i, status] of init.entries()) {
    const sidecar = isSidecar(specs[i]!);
    if (sidecar) {
      if (!mainBegun && !status.started) pendingInit++;
      continue;
    }
    const ended = status.state?.terminated;
    if (ended) {
      if (ended.exitCode !== 0) failedInit++;
    } else if (status.lastState?.terminated && status.state?.waiting) {
      if (status.lastState.terminated.exitCode !== 0) failedInit++;
      else pendingInit++;
    } else pendingInit++;
  }
  if (failedInit > 0 && restartPolicy(pod) === 'Never') return 'Failed';

  let waiting = 0;
  let running = 0;
  let stopped = 0;
  let succeeded = 0;
  for (const status of main) {
    if (status.state?.running) running++;
    else if (status.state?.terminated) {
      stopped++;
      if (status.state.terminated.exitCode === 0) succeeded++;
    } else if (status.lastState?.terminated) stopped++;
    else waiting++;
  }
  if (terminating) {
    if (running > 0) return 'Running';
    return stopped > 0 && succeeded === main.length ? 'Succeeded' : 'Failed';
  }
  if (!mainBegun && pendingInit + failedInit > 0) return 'Pending';
  if (waiting > 0) return 'Pending';
  if (running > 0) return 'Running';
  if (stopped === 0) return 'Pending';
  if (restartPolicy(pod) === 'Always') return 'Running';
  if (stopped === succeeded) return 'Succeeded';
  return restartPolicy(pod) === 'Never' ? 'Failed' : 'Running';
}

/** Conditions that the node agent owns; all others belong to somebody else and are kept. */
export const ownedConditions: ReadonlySet<string> = new Set([
  'PodReadyToStartContainers',
  'Initialized',
  'Ready',
  'ContainersReady',
  'PodScheduled',
  'PodResizePending',
  'PodResizeInProgress',
]);

function condition(type: string, ok: boolean, reason = '', message = ''): PodCondition {
  return defined({
    type,
    status: ok ? 'True' : 'False',
    reason: reason || undefined,
    message: message || undefined,
  }) as PodCondition;
}

/** Conditions that are only there while a resize is: never False. */
function resizeConditions({ pending, underWay }: ResizeState): PodCondition[] {
  const out: PodCondition[] = [];
  if (pending) out.push(condition('PodResizePending', true, pending.reason, pending.message));
  if (underWay !== undefined)
    out.push(condition('PodResizeInProgress', true, underWay === '' ? '' : 'Error', underWay));
  return out;
}

/** The pod's status as the API shall show it. Transition times are kept where a condition's status stays what it was. */
export function podStatus(input: StatusInput): PodStatus {
  const { pod, runtime } = input;
  const whole = podLevel(pod);
  const sandbox = currentSandbox(runtime);
  const specs = initContainers(pod);
  const mainSeen = pod.spec.containers.some((c) => latest(runtime, c.name) !== undefined);
  const init = specs.map((c) => containerStatus(input, c, 'init', true));
  const initDone =
    mainSeen || init.every((s, i) => (isSidecar(specs[i]!) ? s.started === true : s.state?.terminated?.exitCode === 0));
  const main = pod.spec.containers.map((c) => containerStatus(input, c, 'main', specs.length > 0 && !initDone));
  const ephemeral = ephemeralContainers(pod).map((c) => containerStatus(input, c, 'ephemeral', false));
  const previousPhase = pod.status?.phase;
  let phase = podPhase(pod, init, main, input.terminating);
  if (input.failed) phase = 'Failed';
  // A pod never comes back from its end.
  if (previousPhase === 'Failed' || previousPhase === 'Succeeded') phase = previousPhase;

  const terminal = phase === 'Succeeded' || phase === 'Failed';
  const notInitialized = init
    .filter((s, i) => (isSidecar(specs[i]!) ? !s.started && !mainSeen : !s.ready))
    .map((s) => s.name);
  const initialized =
    notInitialized.length === 0 || mainSeen
      ? condition('Initialized', true, phase === 'Succeeded' ? 'PodCompleted' : '')
      : condition(
          'Initialized',
          false,
          'ContainersNotInitialized',
          `containers with incomplete status: [${notInitialized.join(' ')}]`,
        );

  const serving = [...main, ...init.filter((_s, i) => isSidecar(specs[i]!))];
  const unready = serving.filter((s) => !s.ready).map((s) => s.name);
  let containersReady: PodCondition;
  if (phase === 'Succeeded') containersReady = condition('ContainersReady', false, 'PodCompleted');
  else if (phase === 'Failed') containersReady = condition('ContainersReady', false, 'PodFailed');
  else if (unready.length > 0)
    containersReady = condition(
      'ContainersReady',
      false,
      'ContainersNotReady',
      `containers with unready status: [${unready.join(' ')}]`,
    );
  else containersReady = condition('ContainersReady', true);
  const gates = (pod.spec.readinessGates ?? []).filter(
    (gate) => pod.status?.conditions?.find((c) => c.type === gate.conditionType)?.status !== 'True',
  );
  const ready =
    containersReady.status === 'True' && gates.length > 0
      ? condition(
          'Ready',
          false,
          'ReadinessGatesNotReady',
          `corresponding condition of pod readiness gate "${gates[0]!.conditionType}" does not exist or is not "True".`,
        )
      : { ...containersReady, type: 'Ready' };

  const ips = pod.spec.hostNetwork ? [input.hostIP] : (sandbox?.ips ?? []);
  const hasNetwork = sandbox?.ready === true && (ips.length > 0 || pod.spec.hostNetwork === true);
  const fresh = [
    condition('PodReadyToStartContainers', hasNetwork && !terminal),
    initialized,
    ready,
    containersReady,
    condition('PodScheduled', true),
    ...(terminal ? [] : resizeConditions(input.resize)),
  ];
  // A finished pod keeps the address it had; a live one shows only what its sandbox has now.
  const shown =
    ips.length > 0 ? ips : terminal || input.terminating ? (pod.status?.podIPs ?? []).map((p) => p.ip ?? '') : [];
  return defined({
    observedGeneration: pod.metadata.generation,
    allocatedResources: whole?.requests,
    resources: whole && shownResources(input.resize.actual.get(wholePod) ?? whole),
    phase,
    reason: input.failed?.reason ?? (terminal ? pod.status?.reason : undefined),
    message: input.failed?.message ?? (terminal ? pod.status?.message : undefined),
    conditions: mergeConditions(pod, fresh, input.nowMs),
    hostIP: input.hostIP,
    hostIPs: [{ ip: input.hostIP }],
    podIP: shown[0],
    podIPs: shown.length > 0 ? shown.map((ip) => ({ ip })) : undefined,
    startTime: pod.status?.startTime ?? formatTime(input.startTimeMs),
    initContainerStatuses: init.length > 0 ? init : undefined,
    containerStatuses: main,
    ephemeralContainerStatuses: ephemeral.length > 0 ? ephemeral : undefined,
    qosClass: pod.status?.qosClass ?? qosClass(pod),
  }) as PodStatus;
}

function mergeConditions(pod: Pod, fresh: readonly PodCondition[], nowMs: number): PodCondition[] {
  const old = pod.status?.conditions ?? [];
  const out = fresh.map((c) => {
    const before = old.find((o) => o.type === c.type);
    const since =
      before?.status === c.status && before.lastTransitionTime ? before.lastTransitionTime : formatTime(nowMs);
    return defined({ ...c, lastTransitionTime: since, observedGeneration: pod.metadata.generation }) as PodCondition;
  });
  return [...out, ...old.filter((c) => !ownedConditions.has(c.type))];
}

/** The state of a container that is held back after a crash. */
export function crashLoop(pod: Pod, name: string, delayMs: number): WaitReason {
  const full = `${pod.metadata.name}_${pod.metadata.namespace ?? ''}(${pod.metadata.uid ?? ''})`;
  return {
    reason: 'CrashLoopBackOff',
    message: `back-off ${goDuration(delayMs)} restarting failed container=${name} pod=${full}`,
  };
}
