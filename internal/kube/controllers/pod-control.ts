import { AppError } from '../../base/errors.ts';
import type { Pod, PodTemplateSpec } from '../api/types.ts';
import type { KubeClient, KubeObject, ObjectMeta, OwnerReference, ResourceRef } from '../client/api.ts';
import { podsRef } from '../client/resources.ts';
import { isStatus } from '../machinery/status.ts';
import { parseTime } from '../machinery/time.ts';
import { unlessGone } from './unless-gone.ts';

/** What controllers of pods share. */

export type PodObject = Pod & KubeObject;

/** The controller of an object, if it has one. */
export function controllerOf(object: { metadata: ObjectMeta }): OwnerReference | undefined {
  return object.metadata.ownerReferences?.find((owner) => owner.controller);
}

export function ownerReference(owner: KubeObject): OwnerReference {
  return {
    apiVersion: owner.apiVersion,
    kind: owner.kind,
    name: owner.metadata.name,
    uid: owner.metadata.uid!,
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** Neither finished nor on its way out. */
export function isActive(pod: Pod): boolean {
  return pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed' && !pod.metadata.deletionTimestamp;
}

export function isReady(pod: Pod): boolean {
  return (
    pod.status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') ?? false
  );
}

/** Ready for at least `minReadySeconds`. */
export function isAvailable(pod: Pod, minReadySeconds: number, nowMs: number): boolean {
  const ready = pod.status?.conditions?.find((condition) => condition.type === 'Ready' && condition.status === 'True');
  if (!ready) return false;
  if (minReadySeconds === 0) return true;
  const since = parseTime(ready.lastTransitionTime);
  return since !== undefined && nowMs - since >= minReadySeconds * 1000;
}

/** The metadata and spec that a template gives a pod of `owner`. */
export function podFromTemplate(
  template: PodTemplateSpec,
  owner: KubeObject,
  metadata: Partial<ObjectMeta>,
): PodObject {
  const templateMeta = template.metadata as Partial<ObjectMeta> | undefined;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...(templateMeta?.annotations ? { annotations: templateMeta.annotations } : {}),
      ...(templateMeta?.finalizers ? { finalizers: templateMeta.finalizers } : {}),
      ...metadata,
      labels: { ...templateMeta?.labels, ...metadata.labels },
      namespace: owner.metadata.namespace!,
      ownerReferences: [ownerReference(owner)],
    },
    spec: structuredClone(template.spec!),
  } as PodObject;
}

/** In which order pods are given up: the least useful first (upstream's ActivePodsWithRanks). */
export function compareForDeletion(a: Pod, b: Pod): number {
  const rank = (pod: Pod): number[] => [
    pod.spec?.nodeName ? 1 : 0,
    pod.status?.phase === 'Running' ? 2 : pod.status?.phase === 'Unknown' ? 1 : 0,
    isReady(pod) ? 1 : 0,
    Number(pod.metadata.annotations?.['controller.kubernetes.io/pod-deletion-cost'] ?? 0) || 0,
    -(pod.status?.containerStatuses ?? []).reduce((most, status) => Math.max(most, status.restartCount ?? 0), 0),
    -(parseTime(pod.metadata.creationTimestamp) ?? 0),
  ];
  const left = rank(a);
  const right = rank(b);
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return left[i]! - right[i]!;
  return (a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1;
}

/** Deletes a pod if it is still the one that is meant. */
export async function deletePod(client: KubeClient, pod: PodObject): Promise<void> {
  await unlessGone(
    client.delete(podsRef, pod.metadata.name, pod.metadata.namespace, { preconditions: { uid: pod.metadata.uid! } }),
    { orReplaced: true },
  );
}

/**
 * Makes `owner` the controller of pods that have none; the answer is false when the pod has gone or found another meanwhile. The cache may
 * still show an owner that was deleted, or deleted and made anew under its name, and what that one adopts the garbage collector kills: before
 * its first adoption the owner is asked of the server (upstream's CanAdoptFunc). Make one a reconcile.
 * @throws AppError OWNER_GONE from an adoption when the owner is not what the server has, so that nothing is planned for it
 */
export function podAdopter(
  client: KubeClient,
  resource: ResourceRef,
  owner: KubeObject,
): (pod: PodObject) => Promise<boolean> {
  let checked: Promise<void> | undefined;
  const check = async (): Promise<void> => {
    const { name, namespace, uid } = owner.metadata;
    const live = await unlessGone(client.get(resource, name, namespace));
    const what = `${owner.kind} ${namespace}/${name} (uid ${uid})`;
    if (live?.metadata.uid !== uid)
      throw new AppError('OWNER_GONE', `${what} adopts no pods: the server has ${live?.metadata.uid ?? 'none'}`);
    if (live?.metadata.deletionTimestamp)
      throw new AppError('OWNER_GONE', `${what} adopts no pods: deleted at ${live.metadata.deletionTimestamp}`);
  };
  return async (pod) => {
    checked ??= check();
    await checked;
    try {
      await client.patch(podsRef, pod.metadata.name, pod.metadata.namespace, 'strategic', {
        metadata: { uid: pod.metadata.uid, ownerReferences: [ownerReference(owner)] },
      });
      return true;
    } catch (error) {
      if (isStatus(error, 'NotFound', 'Conflict', 'Invalid')) return false;
      throw error;
    }
  };
}

/**
 * Creations and deletions that were sent and that the cache does not show yet, by owner: without it a controller would make twice what it
 * has just made (upstream's expectations). Forgotten after `maxMs`, in case an event never comes.
 */
export class Expectations {
  readonly #pending = new Map<string, { names: Set<string>; sinceMs: number }>();

  expect(owner: string, name: string, nowMs: number): void {
    const entry = this.#pending.get(owner) ?? { names: new Set(), sinceMs: nowMs };
    entry.names.add(name);
    entry.sinceMs = nowMs;
    this.#pending.set(owner, entry);
  }
  seen(owner: string, name: string): void {
    const entry = this.#pending.get(owner);
    entry?.names.delete(name);
    if (entry?.names.size === 0) this.#pending.delete(owner);
  }
  fulfilled(owner: string, nowMs: number, maxMs = 30_000): boolean {
    const entry = this.#pending.get(owner);
    if (!entry) return true;
    if (nowMs - entry.sinceMs < maxMs) return false;
    this.#pending.delete(owner);
    return true;
  }
}
