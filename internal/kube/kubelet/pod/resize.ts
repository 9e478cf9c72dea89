import type { ResourceRequirements } from '../../api/types.ts';
import type { Container, Pod } from '../pod-types.ts';
import { allContainers, initContainers } from '../pod-types.ts';
import { type Allocatable, podRequest, shortage } from './admission.ts';
import { milliValue } from './quantity.ts';
import { type PodCgroupLimits, podLevel, qosClass, wholePod } from './resources.ts';
import { isLive, type PodRuntime, type RuntimeContainer } from './runtime.ts';
import type { WaitReason } from './status.ts';

/** What a node has promised the containers of a pod, by container name, and `wholePod`: what counts when others want room (KEP-1287). */
export type Allocation = Readonly<Record<string, ResourceRequirements>>;

/** What has to outlive the agent: the promise, and by runtime id, and `wholePod`, what they were given when that is something else. */
export interface ResizeRecord {
  readonly allocated: Allocation;
  readonly actual: Readonly<Record<string, ResourceRequirements>>;
}

const lists = ['requests', 'limits'] as const;
const resizable = ['cpu', 'memory'] as const;

/** What the pod's spec asks for. */
export function allocationOf(pod: Pod): Allocation {
  const whole = podLevel(pod);
  return Object.fromEntries([
    ...[...initContainers(pod), ...pod.spec.containers].map(({ name, resources }) => [name, resources ?? {}] as const),
    ...(whole === undefined ? [] : [[wholePod, whole] as const]),
  ]);
}

/** The pod as the node runs it: with what was promised, whatever its spec asks for by now. */
export function withAllocation(pod: Pod, allocation: Allocation): Pod {
  if (!wantsResize(pod, allocation)) return pod;
  const promised = (container: Container): Container => {
    const resources = allocation[container.name];
    return resources === undefined ? container : { ...container, resources };
  };
  const { initContainers: init, containers, resources: _whole, ...rest } = pod.spec;
  const whole = allocation[wholePod];
  return {
    ...pod,
    spec: {
      ...rest,
      ...(whole === undefined ? {} : { resources: whole }),
      containers: containers.map(promised),
      ...(init === undefined ? {} : { initContainers: init.map(promised) }),
    },
  };
}

/** Whether a pod asks for something else than it was promised. */
export function wantsResize(pod: Pod, allocation: Allocation): boolean {
  if (changedResources(allocation[wholePod], podLevel(pod)).size > 0) return true;
  return [...initContainers(pod), ...pod.spec.containers].some(
    ({ name, resources }) => allocation[name] !== undefined && changedResources(allocation[name], resources).size > 0,
  );
}

/** Which of cpu and memory differ. */
export function changedResources(
  from: ResourceRequirements | undefined,
  to: ResourceRequirements | undefined,
): Set<(typeof resizable)[number]> {
  const value = (of: ResourceRequirements | undefined, list: (typeof lists)[number], name: string): number => {
    const text = of?.[list]?.[name];
    return text === undefined ? -1 : milliValue(text);
  };
  return new Set(resizable.filter((name) => lists.some((list) => value(from, list, name) !== value(to, list, name))));
}

/** Whether the change from one size to the other restarts the container, by its `resizePolicy`. */
export function needsRestart(container: Container, from: ResourceRequirements, to: ResourceRequirements): boolean {
  const changed = changedResources(from, to);
  return (container.resizePolicy ?? []).some(
    ({ resourceName, restartPolicy }) =>
      restartPolicy === 'RestartContainer' && [...changed].some((name) => name === resourceName),
  );
}

/**
 * Why the node cannot promise what the pod asks for; undefined when it can. `Infeasible`: it never could. `Deferred`: it could once other pods have gone.
 * `others` are the pods that hold something, each with its own promise.
 */
export function judgeResize(pod: Pod, others: readonly Pod[], allocatable: Allocatable): WaitReason | undefined {
  const infeasible = shortage(pod, [], allocatable, resizable);
  if (infeasible)
    return {
      reason: 'Infeasible',
      message: `Node didn't have enough capacity: ${infeasible.resource}, requested: ${infeasible.requested}, capacity: ${infeasible.capacity}`,
    };
  const deferred = shortage(pod, others, allocatable, resizable);
  if (deferred)
    return {
      reason: 'Deferred',
      message: `Node didn't have enough resource: ${deferred.resource}, requested: ${deferred.requested}, used: ${deferred.used}, capacity: ${deferred.capacity}`,
    };
  return undefined;
}

export interface PendingResize {
  readonly pod: Pod;
  readonly allocation: Allocation;
  /** Since when it waits. */
  readonly sinceMs: number;
}

/** Who is asked first when there is room: who wants no more than before, then by priority, class, and who waits longest. */
export function compareResizes(a: PendingResize, b: PendingResize): number {
  const more = ({ pod, allocation }: PendingResize): boolean =>
    resizable.some((name) => podRequest(pod, name) > podRequest(withAllocation(pod, allocation), name));
  const rank = (pod: Pod): number => (qosClass(pod) === 'Guaranteed' ? 0 : 1);
  return (
    Number(more(a)) - Number(more(b)) ||
    (b.pod.spec.priority ?? 0) - (a.pod.spec.priority ?? 0) ||
    rank(a.pod) - rank(b.pod) ||
    a.sinceMs - b.sinceMs
  );
}

export interface ResizeStep {
  readonly container: Container;
  readonly found: RuntimeContainer;
  readonly from: ResourceRequirements;
  readonly to: ResourceRequirements;
  readonly restart: boolean;
}

/** Running containers that have something else than they were promised. `pod` is as the node runs it. */
export function resizeSteps(
  pod: Pod,
  runtime: PodRuntime,
  actual: (found: RuntimeContainer) => ResourceRequirements,
): ResizeStep[] {
  return [...initContainers(pod), ...pod.spec.containers].flatMap((container) => {
    const found = runtime.containers.find((one) => one.name === container.name);
    if (found === undefined || !isLive(found)) return [];
    const from = actual(found);
    const to = container.resources ?? {};
    if (changedResources(from, to).size === 0) return [];
    return [{ container, found, from, to, restart: needsRestart(container, from, to) }];
  });
}

/** Running containers that get another limit with the pod's as a whole, having none of their own. */
export function heirs(pod: Pod, runtime: PodRuntime, before: ResourceRequirements | undefined): ResizeStep[] {
  const changed = changedResources(before, podLevel(pod));
  return [...initContainers(pod), ...pod.spec.containers].flatMap((container) => {
    const found = runtime.containers.find((one) => one.name === container.name);
    if (found === undefined || !isLive(found)) return [];
    if (![...changed].some((name) => container.resources?.limits?.[name] === undefined)) return [];
    const own = container.resources ?? {};
    return [{ container, found, from: own, to: own, restart: false }];
  });
}

/** Limits of the pod's own cgroup that hold both sizes; 0, which is no limit, holds everything. */
export function widerLimits(a: PodCgroupLimits, b: PodCgroupLimits): PodCgroupLimits {
  const wider = (one: number, other: number): number => (one === 0 || other === 0 ? 0 : Math.max(one, other));
  return {
    cpuShares: Math.max(a.cpuShares, b.cpuShares),
    cpuQuota: wider(a.cpuQuota, b.cpuQuota),
    memoryLimit: wider(a.memoryLimit, b.memoryLimit),
  };
}

/** The text of an event about a resize: what it is about, with what the containers are to have (pkg/kubelet/events/pod_resize.go). */
export function resizeMessage(what: string, pod: Pod, error = ''): string {
  const init = new Set(initContainers(pod).map(({ name }) => name));
  const list = (of: readonly Container[]): object[] =>
    of.map(({ name, resources }) => ({
      name,
      resources: {
        ...(resources?.limits === undefined ? {} : { limits: resources.limits }),
        ...(resources?.requests === undefined ? {} : { requests: resources.requests }),
      },
    }));
  const sidecars = list(initContainers(pod).filter((container) => container.restartPolicy === 'Always'));
  const main = list(allContainers(pod).filter(({ name }) => !init.has(name)));
  return `Pod resize ${what}: ${JSON.stringify({
    ...(sidecars.length > 0 ? { initContainers: sidecars } : {}),
    containers: main,
    generation: pod.metadata.generation ?? 0,
    ...(error === '' ? {} : { error }),
  })}`;
}
