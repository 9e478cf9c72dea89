import { AppError } from '../../../base/errors.ts';
import type { ContainerConfig, CriImage, CriMount } from '../cri/types.ts';
import { type Container, type Pod, podNamespace, podUid } from '../pod-types.ts';
import { expand } from './expansion.ts';
import { containerResources } from './resources.ts';
import {
  labelContainerName,
  labelPodName,
  labelPodNamespace,
  labelPodUid,
  namespaceOptions,
  seccompProfile,
  supplementalGroups,
} from './sandbox-config.ts';

/** Annotations that upstream's kubelet puts on containers, so that a restarted agent knows what it made. */
export const annotationHash = 'io.kubernetes.container.hash';
export const annotationRestartCount = 'io.kubernetes.container.restartCount';
export const annotationMessagePath = 'io.kubernetes.container.terminationMessagePath';
export const annotationMessagePolicy = 'io.kubernetes.container.terminationMessagePolicy';
export const annotationGrace = 'io.kubernetes.pod.terminationGracePeriod';
export const annotationMessageFile = 'appliance.io/terminationMessageFile';

/** Linux's FNV-1a over the parts of a container whose change means a restart; images and names only, as upstream. */
export function containerHash(container: Container): string {
  const text = `${container.name}\0${container.image ?? ''}`;
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash.toString(16);
}

/** Paths that containers may not see or change unless `procMount: Unmasked` or privileged (runtime-spec's defaults). */
const maskedPaths = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
];
const readonlyPaths = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

export interface ContainerSettings {
  readonly attempt: number;
  /** Reference by which the runtime has the image. */
  readonly imageRef: string;
  readonly image: CriImage;
  readonly env: ReadonlyMap<string, string>;
  readonly mounts: readonly CriMount[];
  readonly devices: ContainerConfig['devices'];
  /** Path below the pod's log directory. */
  readonly logPath: string;
  readonly memoryCapacity: number;
  readonly seccompRoot: string;
  /** Host path of the termination message, '' when there is none. */
  readonly messageFile: string;
  /** Runtime id of the container whose processes an ephemeral container shall see, '' for none. */
  readonly targetId: string;
}

/** Refuses what `runAsNonRoot` forbids, as far as it can be known before the start. */
export function checkNonRoot(pod: Pod, container: Container, image: CriImage): void {
  const own = container.securityContext;
  const shared = pod.spec.securityContext;
  if (!(own?.runAsNonRoot ?? shared?.runAsNonRoot)) return;
  const uid = own?.runAsUser ?? shared?.runAsUser;
  if (uid === 0)
    throw new AppError(
      'CONFIG',
      `container's runAsUser breaks non-root policy (pod: "${pod.metadata.name}", container: ${container.name})`,
    );
  if (uid !== undefined) return;
  if (image.username)
    throw new AppError(
      'CONFIG',
      `container has runAsNonRoot and image has non-numeric user (${image.username}), cannot verify user is non-root`,
    );
  if (!image.uid || image.uid.value === 0)
    throw new AppError(
      'CONFIG',
      `container has runAsNonRoot and image will run as root (pod: "${pod.metadata.name}", container: ${container.name})`,
    );
}

/** What CreateContainer is asked for. */
export function containerConfig(pod: Pod, container: Container, settings: ContainerSettings): ContainerConfig {
  const own = container.securityContext;
  const shared = pod.spec.securityContext;
  const privileged = own?.privileged ?? false;
  const lookup = (name: string): string | undefined => settings.env.get(name);
  const runAsUser = own?.runAsUser ?? shared?.runAsUser;
  const runAsGroup = own?.runAsGroup ?? shared?.runAsGroup;
  const unmasked = privileged || own?.procMount === 'Unmasked';
  const namespaces = namespaceOptions(pod);
  // CRI refuses a group without a user; upstream falls back to the image's user.
  const user = runAsUser ?? (runAsGroup === undefined ? undefined : (settings.image.uid?.value ?? 0));
  return {
    metadata: { name: container.name, attempt: settings.attempt },
    image: { image: settings.imageRef },
    command: (container.command ?? []).map((word) => expand(word, lookup)),
    args: (container.args ?? []).map((word) => expand(word, lookup)),
    workingDir: container.workingDir ?? '',
    envs: [...settings.env].map(([key, value]) => ({ key, value })),
    mounts: [...settings.mounts],
    devices: settings.devices,
    labels: {
      [labelContainerName]: container.name,
      [labelPodName]: pod.metadata.name,
      [labelPodNamespace]: podNamespace(pod),
      [labelPodUid]: podUid(pod),
    },
    annotations: {
      [annotationHash]: containerHash(container),
      [annotationRestartCount]: String(settings.attempt),
      [annotationMessagePath]: container.terminationMessagePath ?? '/dev/termination-log',
      [annotationMessagePolicy]: container.terminationMessagePolicy ?? 'File',
      [annotationMessageFile]: settings.messageFile,
      [annotationGrace]: String(pod.spec.terminationGracePeriodSeconds ?? 30),
    },
    logPath: settings.logPath,
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    linux: {
      resources: containerResources(pod, container, settings.memoryCapacity),
      securityContext: {
        capabilities: {
          addCapabilities: (own?.capabilities?.add ?? []).map(capabilityName),
          dropCapabilities: (own?.capabilities?.drop ?? []).map(capabilityName),
        },
        privileged,
        namespaceOptions: settings.targetId
          ? { ...namespaces, pid: 'TARGET', targetId: settings.targetId }
          : namespaces,
        ...(user === undefined ? {} : { runAsUser: { value: user } }),
        ...(runAsGroup === undefined ? {} : { runAsGroup: { value: runAsGroup } }),
        readonlyRootfs: own?.readOnlyRootFilesystem ?? false,
        supplementalGroups: supplementalGroups(pod),
        noNewPrivs: own?.allowPrivilegeEscalation === false,
        maskedPaths: unmasked ? [] : maskedPaths,
        readonlyPaths: unmasked ? [] : readonlyPaths,
        seccomp: seccompProfile(own?.seccompProfile ?? shared?.seccompProfile, privileged, settings.seccompRoot),
      },
    },
  };
}

function capabilityName(name: string): string {
  return name === 'ALL' ? name : name.replace(/^CAP_/, '');
}
