import type { NodeCondition, NodeStatus, NodeSystemInfo } from '../../api/types.ts';
import { formatTime } from '../../machinery/time.ts';
import type { CriImage } from '../cri/types.ts';

export interface NodeFacts {
  readonly hostname: string;
  readonly architecture: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly memoryAvailableBytes: number;
  readonly diskBytes: number;
  readonly diskAvailableBytes: number;
  readonly diskInodes: number;
  readonly diskInodesFree: number;
  readonly pidMax: number;
  readonly processes: number;
  readonly machineId: string;
  readonly systemUuid: string;
  readonly bootId: string;
  readonly kernelVersion: string;
  readonly osImage: string;
}

/** The Kubernetes version whose behaviour this agent has. */
export const kubeletVersion = 'v1.36.0';
export const maxPods = 110;
/** Kept free of pods; upstream's default hard eviction thresholds. */
const reservedMemory = 100 * 2 ** 20;
const reservedDisk = 0.1;

export interface NodeInputs {
  readonly facts: NodeFacts;
  readonly nodeName: string;
  readonly ip: string;
  readonly kubeletPort: number;
  readonly runtimeVersion: string;
  /** Undefined when runtime and network are well. */
  readonly notReady: string | undefined;
  readonly images: readonly CriImage[];
  readonly nowMs: number;
  readonly old: NodeStatus | undefined;
}

export function capacity(facts: NodeFacts): Record<string, string> {
  return {
    cpu: String(facts.cpus),
    memory: `${Math.floor(facts.memoryBytes / 1024)}Ki`,
    'ephemeral-storage': `${Math.floor(facts.diskBytes / 1024)}Ki`,
    pods: String(maxPods),
    'hugepages-1Gi': '0',
    'hugepages-2Mi': '0',
  };
}

export function allocatable(facts: NodeFacts): Record<string, string> {
  return {
    ...capacity(facts),
    memory: `${Math.floor(Math.max(0, facts.memoryBytes - reservedMemory) / 1024)}Ki`,
    'ephemeral-storage': String(Math.floor(facts.diskBytes * (1 - reservedDisk))),
  };
}

function condition(inputs: NodeInputs, type: string, ok: boolean, reason: string, message: string): NodeCondition {
  const before = inputs.old?.conditions?.find((c) => c.type === type);
  const status = ok ? 'True' : 'False';
  const now = formatTime(inputs.nowMs);
  const since = before?.status === status && before.lastTransitionTime ? before.lastTransitionTime : now;
  return { type, status, reason, message, lastHeartbeatTime: now, lastTransitionTime: since };
}

/** The node's status. What others put there (extended resources, foreign conditions) stays. */
export function nodeStatus(inputs: NodeInputs): NodeStatus {
  const { facts, notReady, old } = inputs;
  const lowMemory = facts.memoryAvailableBytes < reservedMemory;
  const lowDisk =
    facts.diskAvailableBytes < facts.diskBytes * 0.05 ||
    (facts.diskInodes > 0 && facts.diskInodesFree < facts.diskInodes * 0.05);
  const lowPids = facts.processes > facts.pidMax * 0.95;
  const own = [
    condition(
      inputs,
      'MemoryPressure',
      lowMemory,
      lowMemory ? 'KubeletHasInsufficientMemory' : 'KubeletHasSufficientMemory',
      lowMemory ? 'kubelet has insufficient memory available' : 'kubelet has sufficient memory available',
    ),
    condition(
      inputs,
      'DiskPressure',
      lowDisk,
      lowDisk ? 'KubeletHasDiskPressure' : 'KubeletHasNoDiskPressure',
      lowDisk ? 'kubelet has disk pressure' : 'kubelet has no disk pressure',
    ),
    condition(
      inputs,
      'PIDPressure',
      lowPids,
      lowPids ? 'KubeletHasInsufficientPID' : 'KubeletHasSufficientPID',
      lowPids ? 'kubelet has insufficient PID available' : 'kubelet has sufficient PID available',
    ),
    condition(
      inputs,
      'Ready',
      notReady === undefined,
      notReady === undefined ? 'KubeletReady' : 'KubeletNotReady',
      notReady ?? 'kubelet is posting ready status',
    ),
  ];
  const types = new Set(own.map((c) => c.type));
  const info: NodeSystemInfo = {
    machineID: facts.machineId,
    systemUUID: facts.systemUuid,
    bootID: facts.bootId,
    kernelVersion: facts.kernelVersion,
    osImage: facts.osImage,
    containerRuntimeVersion: inputs.runtimeVersion,
    kubeletVersion,
    kubeProxyVersion: '',
    operatingSystem: 'linux',
    architecture: facts.architecture,
  };
  const images = [...inputs.images]
    .sort((a, b) => b.size - a.size)
    .slice(0, 50)
    .map((image) => ({ names: [...image.repoDigests, ...image.repoTags].slice(0, 5), sizeBytes: image.size }));
  return {
    ...old,
    capacity: { ...old?.capacity, ...capacity(facts) },
    allocatable: { ...old?.allocatable, ...allocatable(facts) },
    conditions: [...(old?.conditions ?? []).filter((c) => !types.has(c.type)), ...own],
    addresses: [
      { type: 'InternalIP', address: inputs.ip },
      { type: 'Hostname', address: inputs.nodeName },
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: inputs.kubeletPort } },
    nodeInfo: info,
    images,
  };
}

/** Labels that every node of upstream has. */
export function nodeLabels(nodeName: string, architecture: string): Record<string, string> {
  return {
    'beta.kubernetes.io/arch': architecture,
    'beta.kubernetes.io/os': 'linux',
    'kubernetes.io/arch': architecture,
    'kubernetes.io/hostname': nodeName,
    'kubernetes.io/os': 'linux',
  };
}
