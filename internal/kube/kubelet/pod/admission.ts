import type { Quantity } from '../../api/types.ts';
import type { Pod } from '../pod-types.ts';
import { milliValue, wholeValue } from './quantity.ts';
import { podLevel } from './resources.ts';
import type { WaitReason } from './status.ts';

interface PortUse {
  readonly protocol: string;
  readonly hostIP: string;
  readonly hostPort: number;
}

function hostPorts(pod: Pod): PortUse[] {
  return [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].flatMap((container) =>
    (container.ports ?? [])
      .filter((port) => (port.hostPort ?? 0) > 0)
      .map((port) => ({
        protocol: port.protocol ?? 'TCP',
        hostIP: port.hostIP || '0.0.0.0',
        hostPort: port.hostPort!,
      })),
  );
}

function clash(a: PortUse, b: PortUse): boolean {
  if (a.protocol !== b.protocol || a.hostPort !== b.hostPort) return false;
  return a.hostIP === b.hostIP || a.hostIP === '0.0.0.0' || b.hostIP === '0.0.0.0';
}

/** What a pod asks for of a resource: cpu in thousandths, others in units. */
export function podRequest(pod: Pod, resource: string): number {
  const of = (list: Record<string, Quantity> | undefined): number => {
    const text = list?.[resource];
    return text === undefined ? 0 : resource === 'cpu' ? milliValue(text) : wholeValue(text);
  };
  const whole = podLevel(pod)?.requests;
  if (whole?.[resource] !== undefined) return of(whole) + of(pod.spec.overhead);
  const main = pod.spec.containers.reduce((sum, c) => sum + of(c.resources?.requests), 0);
  let sidecars = 0;
  let peak = 0;
  for (const c of pod.spec.initContainers ?? []) {
    if (c.restartPolicy === 'Always') sidecars += of(c.resources?.requests);
    else peak = Math.max(peak, sidecars + of(c.resources?.requests));
  }
  return Math.max(main + sidecars, peak) + of(pod.spec.overhead);
}

/** What a node can give: resource name to quantity. */
export type Allocatable = Record<string, Quantity>;

/** The first of `resources` that the node has too little of for the pod beside `others`; undefined when it has enough. */
export function shortage(
  pod: Pod,
  others: readonly Pod[],
  allocatable: Allocatable,
  resources: readonly string[],
): { resource: string; requested: number; used: number; capacity: number } | undefined {
  for (const resource of resources) {
    const requested = podRequest(pod, resource);
    const text = allocatable[resource];
    if (requested === 0 || text === undefined) continue;
    const used = others.reduce((sum, other) => sum + podRequest(other, resource), 0);
    const capacity = resource === 'cpu' ? milliValue(text) : wholeValue(text);
    if (used + requested > capacity) return { resource, requested, used, capacity };
  }
  return undefined;
}

/**
 * The node's own check of a pod that it is given (kubernetes/pkg/kubelet/lifecycle: GeneralPredicates); undefined to take it. `others` are
 * the pods that hold something now.
 */
export function admit(pod: Pod, others: readonly Pod[], allocatable: Allocatable): WaitReason | undefined {
  const max = Number(allocatable.pods ?? 110);
  if (others.length + 1 > max) return outOf('pods', 1, others.length, max);
  const short = shortage(pod, others, allocatable, ['cpu', 'memory', 'ephemeral-storage']);
  if (short) return outOf(short.resource, short.requested, short.used, short.capacity);
  const taken = others.flatMap(hostPorts);
  if (hostPorts(pod).some((port) => taken.some((other) => clash(port, other))))
    return {
      reason: 'NodePorts',
      message:
        "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    };
  return undefined;
}

function outOf(resource: string, requested: number, used: number, capacity: number): WaitReason {
  return {
    reason: `OutOf${resource}`,
    message: `Pod was rejected: Node didn't have enough resource: ${resource}, requested: ${requested}, used: ${used}, capacity: ${capacity}`,
  };
}
