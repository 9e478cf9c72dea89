import type { Clock } from '../../../base/clock.ts';
import type { Logger } from '../../../base/log.ts';
import type { Random } from '../../../base/random.ts';
import type { PodStatus } from '../../api/types.ts';
import type { CriClient } from '../cri/cri-client.ts';
import type { EventRecorder, EventSubject } from '../../client/events.ts';
import type { ImageManager } from '../images/image-manager-shell.ts';
import type { Cgroups } from '../node/cgroups-shell.ts';
import type { ObjectCache } from '../object-cache-client.ts';
import type { RuntimeCache } from '../pleg-shell.ts';
import { type Container, type Pod, podNamespace, podUid } from '../pod-types.ts';
import type { PodVolumes } from '../volume/pod-volumes-shell.ts';
import type { PodPlace } from './fields.ts';
import type { ClusterDns } from './sandbox-config.ts';

/** What every pod of this node is given to work with. */
export interface PodHost {
  readonly cri: CriClient;
  readonly cache: RuntimeCache;
  readonly images: ImageManager;
  readonly volumes: PodVolumes;
  readonly objects: ObjectCache;
  readonly events: EventRecorder;
  readonly cgroups: Cgroups;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly hostIP: string;
  readonly dns: ClusterDns;
  /** `<agent>/pods`. */
  readonly podsDir: string;
  /** `<logs>/pods`. */
  readonly logsDir: string;
  readonly cgroupRoot: string;
  readonly seccompRoot: string;
  readonly memoryCapacity: number;
  readonly allocatable: PodPlace['allocatable'];
  /** Bounds how many sandboxes and containers are made at once. */
  limit<T>(work: () => Promise<T>): Promise<T>;
  /** Hands a status to the API; returns at once. */
  report(pod: Pod, status: PodStatus): void;
  /** The pod's containers have what they were promised: it is written down, and others may have room now. */
  resized(uid: string): void;
  /** A pod is taken down, and holds nothing of the node any more: others may have room now. */
  ending(): void;
  /** The pod is ended, nothing of it is left: its object can go. Returns at once. */
  confirmDeleted(pod: Pod, status: PodStatus): void;
  /** Everything of the pod is gone from this node. */
  forget(uid: string): void;
}

export function podSubject(pod: Pod, container?: Container, kind = 'containers'): EventSubject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    namespace: podNamespace(pod),
    name: pod.metadata.name,
    uid: podUid(pod),
    ...(pod.metadata.resourceVersion ? { resourceVersion: pod.metadata.resourceVersion } : {}),
    ...(container ? { fieldPath: `spec.${kind}{${container.name}}` } : {}),
  };
}

/** Directory of a pod's container logs, by upstream's naming. */
export function podLogDirectory(logsDir: string, namespace: string, name: string, uid: string): string {
  return `${logsDir}/${namespace}_${name}_${uid}`;
}
