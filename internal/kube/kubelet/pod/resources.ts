import type { Container, Pod } from '../pod-types.ts';
import { milliValue, wholeValue } from './quantity.ts';
import type { LinuxContainerResources } from '../cri/types.ts';

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

/** The pod's quality of service (kubernetes/pkg/apis/core/helper/qos): only cpu and memory count; a limit stands in for a request. */
export function qosClass(pod: Pod): QosClass {
  let some = false;
  let all = true;
  for (const container of [...pod.spec.containers, ...(pod.spec.initContainers ?? [])]) {
    for (const resource of ['cpu', 'memory']) {
      const limit = container.resources?.limits?.[resource];
      const request = container.resources?.requests?.[resource] ?? limit;
      if ((limit !== undefined && milliValue(limit) > 0) || (request !== undefined && milliValue(request) > 0))
        some = true;
      if (limit === undefined || request === undefined || milliValue(limit) !== milliValue(request)) all = false;
    }
  }
  if (!some) return 'BestEffort';
  return all ? 'Guaranteed' : 'Burstable';
}

/** Linux's bounds of cpu.shares and the period of quotas in microseconds. */
const minShares = 2;
const maxShares = 262_144;
export const cpuPeriod = 100_000;
const minQuota = 1_000;

export function cpuShares(milliCpu: number): number {
  if (milliCpu <= 0) return minShares;
  return Math.min(maxShares, Math.max(minShares, Math.floor((milliCpu * 1024) / 1000)));
}

export function cpuQuota(milliCpu: number): number {
  return milliCpu <= 0 ? 0 : Math.max(minQuota, Math.floor((milliCpu * cpuPeriod) / 1000));
}

/** cgroup v2's weight for cgroup v1's shares (runc, libcontainer/cgroups: ConvertCPUSharesToCgroupV2Value). */
export function cpuWeight(shares: number): number {
  return shares === 0 ? 0 : 1 + Math.floor(((shares - 2) * 9999) / 262_142);
}

function oomScoreAdj(pod: Pod, container: Container, memoryCapacity: number): number {
  const priority = pod.spec.priority ?? 0;
  if (priority >= 2_000_000_000) return -997;
  const qos = qosClass(pod);
  if (qos === 'Guaranteed') return -997;
  if (qos === 'BestEffort') return 1000;
  const request = container.resources?.requests?.memory;
  const bytes = request === undefined ? 0 : wholeValue(request);
  const score = 1000 - Math.floor((1000 * bytes) / memoryCapacity);
  return Math.min(999, Math.max(3, score));
}

/** What the runtime sets in the container's cgroup. `memoryCapacity` is the node's, in bytes. */
export function containerResources(pod: Pod, container: Container, memoryCapacity: number): LinuxContainerResources {
  const { limits, requests } = container.resources ?? {};
  const cpuLimit = limits?.cpu === undefined ? 0 : milliValue(limits.cpu);
  const cpuRequest = requests?.cpu === undefined ? cpuLimit : milliValue(requests.cpu);
  return {
    cpuPeriod,
    cpuQuota: cpuQuota(cpuLimit),
    cpuShares: cpuShares(cpuRequest),
    memoryLimitInBytes: limits?.memory === undefined ? 0 : wholeValue(limits.memory),
    oomScoreAdj: oomScoreAdj(pod, container, memoryCapacity),
  };
}

/** Limits of a pod's own cgroup; 0 means no limit. */
export interface PodCgroupLimits {
  readonly cpuShares: number;
  readonly cpuQuota: number;
  readonly memoryLimit: number;
}

/**
 * The pod's cgroup holds the sum of its containers; it has a limit only when every container has one. Init containers run one after the
 * other, so only the largest of them counts; sidecars count beside everything.
 */
export function podCgroupLimits(pod: Pod): PodCgroupLimits {
  const amount = (
    container: Container,
    list: 'limits' | 'requests',
    resource: 'cpu' | 'memory',
  ): number | undefined => {
    const text =
      container.resources?.[list]?.[resource] ??
      (list === 'requests' ? container.resources?.limits?.[resource] : undefined);
    if (text === undefined) return undefined;
    return resource === 'cpu' ? milliValue(text) : wholeValue(text);
  };
  const total = (list: 'limits' | 'requests', resource: 'cpu' | 'memory'): { value: number; complete: boolean } => {
    let complete = true;
    let value = 0;
    for (const container of pod.spec.containers) {
      const one = amount(container, list, resource);
      if (one === undefined) complete = false;
      value += one ?? 0;
    }
    let sidecars = 0;
    let peak = 0;
    for (const container of pod.spec.initContainers ?? []) {
      const one = amount(container, list, resource);
      if (one === undefined) complete = false;
      if (container.restartPolicy === 'Always') sidecars += one ?? 0;
      else peak = Math.max(peak, sidecars + (one ?? 0));
    }
    return { value: Math.max(value + sidecars, peak), complete };
  };
  const cpuLimit = total('limits', 'cpu');
  const memoryLimit = total('limits', 'memory');
  return {
    cpuShares: cpuShares(total('requests', 'cpu').value),
    cpuQuota: cpuLimit.complete ? cpuQuota(cpuLimit.value) : 0,
    memoryLimit: memoryLimit.complete ? memoryLimit.value : 0,
  };
}

/** The pod's cgroup below the controllers' mount points; the runtime puts containers below it. */
export function podCgroupPath(root: string, pod: Pod): string {
  const qos = qosClass(pod);
  const middle = qos === 'Guaranteed' ? '' : `/${qos.toLowerCase()}`;
  return `${root}${middle}/pod${pod.metadata.uid ?? ''}`;
}
