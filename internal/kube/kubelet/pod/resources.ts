import type { ResourceRequirements } from '../../api/types.ts';
import type { Container, Pod } from '../pod-types.ts';
import { milliValue, wholeValue } from './quantity.ts';
import type { LinuxContainerResources } from '../cri/types.ts';

type Sums = 'limits' | 'requests';
type Shared = 'cpu' | 'memory';

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

/** What the pod as a whole is called among its containers, none of which has this name. */
export const wholePod = '';

/** What the pod is given as a whole, whatever its containers say (KEP-2837); undefined where it asks for nothing as a whole. */
export function podLevel(pod: Pod): ResourceRequirements | undefined {
  const { limits, requests } = pod.spec.resources ?? {};
  return limits === undefined && requests === undefined ? undefined : pod.spec.resources;
}

/**
 * The pod's quality of service (kubernetes/pkg/apis/core/helper/qos): only cpu and memory count, of the pod as a whole or else of its containers; a limit
 * stands in for a request.
 */
export function qosClass(pod: Pod): QosClass {
  let some = false;
  let all = true;
  const whole = podLevel(pod);
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  for (const resources of whole === undefined ? containers.map((container) => container.resources) : [whole]) {
    for (const resource of ['cpu', 'memory']) {
      const limit = resources?.limits?.[resource];
      const request = resources?.requests?.[resource] ?? limit;
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
  const bytes = (request === undefined ? 0 : wholeValue(request)) + sharedMemory(pod);
  const score = 1000 - Math.floor((1000 * bytes) / memoryCapacity);
  return Math.min(999, Math.max(3, score));
}

/** What the pod asks for beyond its containers counts for each of them in equal parts (pkg/kubelet/qos: remainingPodMemReqPerContainer). */
function sharedMemory(pod: Pod): number {
  const whole = podLevel(pod)?.requests?.memory;
  if (whole === undefined) return 0;
  const containers = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  const own = total({ ...pod, spec: { ...pod.spec, resources: {} } }, 'requests', 'memory').value;
  return Math.floor(Math.max(0, wholeValue(whole) - own) / containers.length);
}

/** What the runtime sets in the container's cgroup. A limit that it does not have is the pod's. `memoryCapacity` is the node's, in bytes. */
export function containerResources(pod: Pod, container: Container, memoryCapacity: number): LinuxContainerResources {
  const { requests } = container.resources ?? {};
  const limits = { ...podLevel(pod)?.limits, ...container.resources?.limits };
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

function amountOf(resources: ResourceRequirements | undefined, list: Sums, resource: Shared): number | undefined {
  const text = resources?.[list]?.[resource] ?? (list === 'requests' ? resources?.limits?.[resource] : undefined);
  if (text === undefined) return undefined;
  return resource === 'cpu' ? milliValue(text) : wholeValue(text);
}

/** The sum of what the pod asks for; `complete` when all its parts say something. */
function total(pod: Pod, list: Sums, resource: Shared): { value: number; complete: boolean } {
  const whole = amountOf(podLevel(pod), list, resource);
  if (whole !== undefined) return { value: whole, complete: true };
  let complete = true;
  let value = 0;
  for (const container of pod.spec.containers) {
    const one = amountOf(container.resources, list, resource);
    if (one === undefined) complete = false;
    value += one ?? 0;
  }
  let sidecars = 0;
  let peak = 0;
  for (const container of pod.spec.initContainers ?? []) {
    const one = amountOf(container.resources, list, resource);
    if (one === undefined) complete = false;
    if (container.restartPolicy === 'Always') sidecars += one ?? 0;
    else peak = Math.max(peak, sidecars + (one ?? 0));
  }
  return { value: Math.max(value + sidecars, peak), complete };
}

/**
 * The pod's cgroup has what the pod asks for as a whole, or else holds the sum of its containers; then it has a limit only when every container has one.
 * Init containers run one after the other, so only the largest of them counts; sidecars count beside everything.
 */
export function podCgroupLimits(pod: Pod): PodCgroupLimits {
  const cpuLimit = total(pod, 'limits', 'cpu');
  const memoryLimit = total(pod, 'limits', 'memory');
  return {
    cpuShares: cpuShares(total(pod, 'requests', 'cpu').value),
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
