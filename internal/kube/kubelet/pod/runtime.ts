import type { CriContainerStatus, PodSandboxStatus } from '../cri/types.ts';
import {
  annotationHash,
  annotationMessageFile,
  annotationMessagePath,
  annotationMessagePolicy,
} from './container-config.ts';
import { labelContainerName, labelPodName, labelPodNamespace, labelPodUid } from './sandbox-config.ts';

/** A container as the runtime knows it. Times are milliseconds since the epoch, 0 for never. */
export interface RuntimeContainer {
  readonly id: string;
  readonly name: string;
  /** 0 for the first start; what users see as restartCount. */
  readonly attempt: number;
  readonly sandboxId: string;
  readonly state: 'created' | 'running' | 'exited' | 'unknown';
  readonly createdAtMs: number;
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
  readonly exitCode: number;
  /** `Completed`, `Error`, `OOMKilled`, … */
  readonly reason: string;
  /** Termination message; the runtime's own where the container left none. */
  readonly message: string;
  readonly image: string;
  readonly imageId: string;
  readonly hash: string;
  readonly logPath: string;
  /** Where the termination message is looked for. */
  readonly messageFile: string;
  readonly messagePolicy: string;
}

export interface RuntimeSandbox {
  readonly id: string;
  readonly attempt: number;
  readonly ready: boolean;
  readonly createdAtMs: number;
  readonly ips: readonly string[];
}

/** What the runtime has of one pod; newest first in both lists. */
export interface PodRuntime {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly sandboxes: readonly RuntimeSandbox[];
  readonly containers: readonly RuntimeContainer[];
}

export function emptyRuntime(uid: string, name: string, namespace: string): PodRuntime {
  return { uid, name, namespace, sandboxes: [], containers: [] };
}

const states = {
  CONTAINER_CREATED: 'created',
  CONTAINER_RUNNING: 'running',
  CONTAINER_EXITED: 'exited',
  CONTAINER_UNKNOWN: 'unknown',
} as const;

const toMs = (nanoseconds: number): number => (nanoseconds > 0 ? Math.floor(nanoseconds / 1e6) : 0);

export function runtimeContainer(status: CriContainerStatus, sandboxId: string): RuntimeContainer {
  return {
    id: status.id,
    name: status.labels[labelContainerName] ?? status.metadata.name,
    attempt: status.metadata.attempt,
    sandboxId,
    state: states[status.state],
    createdAtMs: toMs(status.createdAt),
    startedAtMs: toMs(status.startedAt),
    finishedAtMs: toMs(status.finishedAt),
    exitCode: status.exitCode,
    reason: status.reason,
    message: status.message,
    image: status.image?.image ?? '',
    imageId: status.imageRef,
    hash: status.annotations[annotationHash] ?? '',
    logPath: status.logPath,
    messageFile: status.annotations[annotationMessagePath] ? (status.annotations[annotationMessageFile] ?? '') : '',
    messagePolicy: status.annotations[annotationMessagePolicy] ?? 'File',
  };
}

export function runtimeSandbox(status: PodSandboxStatus): RuntimeSandbox {
  const ips = status.network?.ip ? [status.network.ip, ...status.network.additionalIps.map((a) => a.ip)] : [];
  return {
    id: status.id,
    attempt: status.metadata.attempt,
    ready: status.state === 'SANDBOX_READY',
    createdAtMs: toMs(status.createdAt),
    ips,
  };
}

/** The pod that a sandbox or container belongs to, by its labels; undefined when it is none of a kubelet's. */
export function owner(labels: Record<string, string>): { uid: string; name: string; namespace: string } | undefined {
  const uid = labels[labelPodUid];
  const name = labels[labelPodName];
  const namespace = labels[labelPodNamespace];
  return uid && name && namespace ? { uid, name, namespace } : undefined;
}

/** The newest sandbox, which the pod's live containers are in. */
export function currentSandbox(runtime: PodRuntime): RuntimeSandbox | undefined {
  return runtime.sandboxes[0];
}

/** The newest container of that name; with `sandboxId` only in that sandbox. */
export function latest(runtime: PodRuntime, name: string, sandboxId?: string): RuntimeContainer | undefined {
  return runtime.containers.find((c) => c.name === name && (sandboxId === undefined || c.sandboxId === sandboxId));
}

/** True while a process of the container may exist. */
export function isLive(container: RuntimeContainer): boolean {
  return container.state === 'running' || container.state === 'unknown';
}
