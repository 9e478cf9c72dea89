import type { PersistentVolumeClaim, Pod, StatefulSet } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';
import { isAvailable, type PodObject, podFromTemplate } from './pod-control.ts';

/** What a StatefulSet does next, without I/O (kube-controller-manager's stateful_set_control.go). */

export type StatefulSetObject = StatefulSet & KubeObject;

export const revisionLabel = 'controller-revision-hash';
const podNameLabel = 'statefulset.kubernetes.io/pod-name';
const podIndexLabel = 'apps.kubernetes.io/pod-index';

/** One revision of the template with the name of its ControllerRevision. */
export interface Revision {
  name: string;
  template: NonNullable<StatefulSet['spec']>['template'];
}

export interface Plan {
  create: { ordinal: number; revision: Revision }[];
  delete: PodObject[];
}

/** The ordinal in `web-2`, undefined when the name is not one of the set's. */
export function ordinalOf(set: StatefulSetObject, name: string): number | undefined {
  const prefix = `${set.metadata.name}-`;
  if (!name.startsWith(prefix)) return undefined;
  const text = name.slice(prefix.length);
  return /^(0|[1-9]\d{0,9})$/.test(text) ? Number(text) : undefined;
}

const terminating = (pod: Pod): boolean => pod.metadata.deletionTimestamp !== undefined;
const failed = (pod: Pod): boolean => pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded';

export function planStatefulSet(
  set: StatefulSetObject,
  pods: readonly PodObject[],
  current: Revision,
  update: Revision,
  nowMs: number,
): Plan {
  const spec = set.spec!;
  const replicas = spec.replicas ?? 1;
  const start = spec.ordinals?.start ?? 0;
  const parallel = spec.podManagementPolicy === 'Parallel';
  const rolling = (spec.updateStrategy?.type ?? 'RollingUpdate') === 'RollingUpdate';
  const partition = spec.updateStrategy?.rollingUpdate?.partition ?? 0;
  const minReady = spec.minReadySeconds ?? 0;
  const byOrdinal = new Map(pods.map((pod) => [ordinalOf(set, pod.metadata.name)!, pod]));
  const plan: Plan = { create: [], delete: [] };
  const healthy = (pod: PodObject | undefined): boolean =>
    pod !== undefined && !terminating(pod) && pod.status?.phase === 'Running' && isAvailable(pod, minReady, nowMs);
  const revisionFor = (ordinal: number): Revision => {
    if (!rolling) return update;
    // Without bounds of its own (objects of old writers) the count of current pods is the partition, as upstream.
    const bound = spec.updateStrategy?.rollingUpdate === undefined ? (set.status?.currentReplicas ?? 0) : partition;
    return ordinal < start + bound ? current : update;
  };

  let waiting = false;
  for (let ordinal = start; ordinal < start + replicas; ordinal++) {
    const pod = byOrdinal.get(ordinal);
    if (pod && failed(pod) && !terminating(pod)) {
      plan.delete.push(pod);
      waiting = true;
    } else if (!pod) {
      plan.create.push({ ordinal, revision: revisionFor(ordinal) });
      waiting = true;
    } else if (!healthy(pod)) waiting = true;
    if (waiting && !parallel) return plan;
  }

  const condemned = pods
    .filter((pod) => {
      const ordinal = ordinalOf(set, pod.metadata.name)!;
      return ordinal < start || ordinal >= start + replicas;
    })
    .sort((a, b) => ordinalOf(set, b.metadata.name)! - ordinalOf(set, a.metadata.name)!);
  for (const pod of condemned) {
    if (!terminating(pod)) plan.delete.push(pod);
    if (!parallel) return plan;
  }

  if (!rolling || condemned.length > 0 || plan.create.length > 0 || plan.delete.length > 0) return plan;
  for (let ordinal = start + replicas - 1; ordinal >= start + partition; ordinal--) {
    const pod = byOrdinal.get(ordinal);
    if (pod && pod.metadata.labels?.[revisionLabel] !== update.name && !terminating(pod)) {
      plan.delete.push(pod);
      return plan;
    }
    if (!healthy(pod)) return plan;
  }
  return plan;
}

export function claimName(template: string, set: StatefulSetObject, ordinal: number): string {
  return `${template}-${set.metadata.name}-${ordinal}`;
}

/** The claims of a replica. They outlive the pod and the set. */
export function claimsFor(set: StatefulSetObject, ordinal: number): (PersistentVolumeClaim & KubeObject)[] {
  return (set.spec?.volumeClaimTemplates ?? []).map((template) => {
    const metadata = template.metadata as KubeObject['metadata'];
    return {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: {
        name: claimName(metadata.name, set, ordinal),
        namespace: set.metadata.namespace!,
        ...(metadata.annotations ? { annotations: metadata.annotations } : {}),
        labels: { ...metadata.labels, ...set.spec?.selector?.matchLabels },
      },
      spec: structuredClone(template.spec!),
    };
  });
}

/** A replica's pod: stable name, host name and claims. */
export function podFor(set: StatefulSetObject, ordinal: number, revision: Revision): PodObject {
  const name = `${set.metadata.name}-${ordinal}`;
  const pod = podFromTemplate(revision.template!, set, {
    name,
    labels: { [revisionLabel]: revision.name, [podNameLabel]: name, [podIndexLabel]: String(ordinal) },
  });
  const spec = pod.spec!;
  spec.hostname = name;
  if (set.spec?.serviceName) spec.subdomain = set.spec.serviceName;
  const claims = (set.spec?.volumeClaimTemplates ?? []).map(
    (template) => (template.metadata as KubeObject['metadata']).name,
  );
  spec.volumes = [
    ...claims.map((claim) => ({ name: claim, persistentVolumeClaim: { claimName: claimName(claim, set, ordinal) } })),
    ...(spec.volumes ?? []).filter((volume) => !claims.includes(volume.name)),
  ];
  return pod;
}
