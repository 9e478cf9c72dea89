import { AppError, errorText } from '../../base/errors.ts';
import type { ControllerRevision, PersistentVolumeClaim } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';
import { objectKey } from '../client/informer.ts';
import { controllerRevisionsRef, persistentVolumeClaimsRef, podsRef, statefulSetsRef } from '../client/resources.ts';
import { labelSelectorOf, matchesLabels } from '../machinery/selectors.ts';
import { isStatus } from '../machinery/status.ts';
import type { ControllerContext } from './context.ts';
import {
  controllerOf,
  deletePod,
  isAvailable,
  isReady,
  ownerReference,
  type PodObject,
  podAdopter,
} from './pod-control.ts';
import { canonicalJson, templateHash } from './revision.ts';
import {
  claimsFor,
  ordinalOf,
  planStatefulSet,
  podFor,
  type Revision,
  revisionLabel,
  type StatefulSetObject,
} from './stateful-set-plan.ts';

type RevisionObject = ControllerRevision & KubeObject;
type Claim = PersistentVolumeClaim & KubeObject;

/** Pods with stable names and claims, made, updated and given up in order (kube-controller-manager's statefulset controller). */
export function statefulSetController(context: ControllerContext): void {
  const { client, clock } = context;
  const sets = context.informers.of<StatefulSetObject>(statefulSetsRef);
  const pods = context.informers.of<PodObject>(podsRef);
  const claims = context.informers.of<Claim>(persistentVolumeClaimsRef);
  const revisions = context.informers.of<RevisionObject>(controllerRevisionsRef);
  const recorder = context.recorder('statefulset-controller');
  const queue = context.queue('stateful-sets', reconcile);
  pods.index('namespace', (pod) => [pod.metadata.namespace!]);
  revisions.index('owner', (revision) => (revision.metadata.ownerReferences ?? []).map((owner) => owner.uid));
  const onSet = (set: StatefulSetObject): void => queue.add(objectKey(set));
  sets.handle({ onAdd: onSet, onUpdate: onSet, onDelete: onSet });
  const onPod = (pod: PodObject): void => {
    const owner = controllerOf(pod);
    if (owner?.kind === 'StatefulSet') queue.add(`${pod.metadata.namespace}/${owner.name}`);
    else if (!owner)
      for (const set of sets.list())
        if (set.metadata.namespace === pod.metadata.namespace && ordinalOf(set, pod.metadata.name) !== undefined)
          queue.add(objectKey(set));
  };
  pods.handle({ onAdd: onPod, onUpdate: onPod, onDelete: onPod });

  async function reconcile(key: string): Promise<void> {
    const set = sets.get(key);
    if (!set || set.metadata.deletionTimestamp) return;
    const owned = await ownPods(set);
    const { current, update } = await syncRevisions(set, owned);
    const now = clock.now();
    const plan = planStatefulSet(set, owned, current, update, now);
    const subject = {
      apiVersion: set.apiVersion,
      kind: set.kind,
      namespace: set.metadata.namespace!,
      name: set.metadata.name,
      uid: set.metadata.uid!,
    };
    for (const { ordinal, revision } of plan.create) {
      const pod = podFor(set, ordinal, revision);
      try {
        for (const claim of claimsFor(set, ordinal)) await ensureClaim(claim, subject);
        await client.create<PodObject>(podsRef, pod);
        recorder.record(
          subject,
          'Normal',
          'SuccessfulCreate',
          `create Pod ${pod.metadata.name} in StatefulSet ${set.metadata.name} successful`,
        );
      } catch (error) {
        if (isStatus(error, 'AlreadyExists')) continue;
        if (isStatus(error, 'Forbidden') && /being terminated/.test(errorText(error))) return;
        recorder.record(
          subject,
          'Warning',
          'FailedCreate',
          `create Pod ${pod.metadata.name} in StatefulSet ${set.metadata.name} failed error: ${errorText(error)}`,
        );
        throw error;
      }
    }
    for (const pod of plan.delete) {
      await deletePod(client, pod);
      recorder.record(
        subject,
        'Normal',
        'SuccessfulDelete',
        `delete Pod ${pod.metadata.name} in StatefulSet ${set.metadata.name} successful`,
      );
    }
    await writeStatus(set, owned, current, update, now);
    const minReady = set.spec?.minReadySeconds ?? 0;
    if (minReady > 0 && owned.some((pod) => isReady(pod) && !isAvailable(pod, minReady, now)))
      queue.addAfter(key, minReady * 1000);
  }

  async function ownPods(set: StatefulSetObject): Promise<PodObject[]> {
    const selector = labelSelectorOf(set.spec?.selector);
    const adopt = podAdopter(client, statefulSetsRef, set);
    const owned: PodObject[] = [];
    for (const pod of pods.by('namespace', set.metadata.namespace!)) {
      if (ordinalOf(set, pod.metadata.name) === undefined || !matchesLabels(selector, pod.metadata.labels)) continue;
      const owner = controllerOf(pod);
      if (owner ? owner.uid === set.metadata.uid : !pod.metadata.deletionTimestamp && (await adopt(pod)))
        owned.push(pod);
    }
    return owned;
  }

  async function ensureClaim(claim: Claim, subject: Parameters<typeof recorder.record>[0]): Promise<void> {
    if (claims.get(objectKey(claim))) return;
    try {
      await client.create<Claim>(persistentVolumeClaimsRef, claim);
      recorder.record(subject, 'Normal', 'SuccessfulCreate', `create Claim ${claim.metadata.name} success`);
    } catch (error) {
      if (!isStatus(error, 'AlreadyExists')) throw error;
    }
  }

  /** The revision that the pods come from and the one that they go to; history beyond the limit is dropped. */
  async function syncRevisions(
    set: StatefulSetObject,
    owned: readonly PodObject[],
  ): Promise<{ current: Revision; update: Revision }> {
    const known = revisions.by('owner', set.metadata.uid!).sort((a, b) => (a.revision ?? 0) - (b.revision ?? 0));
    const template = set.spec!.template!;
    const text = canonicalJson({ spec: { template: { ...template, $patch: 'replace' } } });
    let update = known.find((revision) => canonicalJson(revision.data) === text);
    const newest = known.at(-1);
    if (!update) {
      const name = `${set.metadata.name}-${templateHash(template, set.status?.collisionCount ?? 0)}`;
      const object: RevisionObject = {
        apiVersion: 'apps/v1',
        kind: 'ControllerRevision',
        metadata: {
          name,
          namespace: set.metadata.namespace!,
          labels: {
            ...(template.metadata as KubeObject['metadata'] | undefined)?.labels,
            'controller.kubernetes.io/hash': name.slice(set.metadata.name.length + 1),
          },
          ownerReferences: [ownerReference(set)],
        },
        data: { spec: { template: { ...template, $patch: 'replace' } } },
        revision: (newest?.revision ?? 0) + 1,
      } as unknown as RevisionObject;
      try {
        update = await client.create<RevisionObject>(controllerRevisionsRef, object);
      } catch (error) {
        if (!isStatus(error, 'AlreadyExists')) throw error;
        update = await client.get<RevisionObject>(controllerRevisionsRef, name, set.metadata.namespace);
        // Left by a predecessor of this name; pods are made from it only if it says what this set says.
        if (canonicalJson(update.data) !== text)
          throw new AppError(
            'REVISION_CLASH',
            `controllerrevision ${set.metadata.namespace}/${name} has another template`,
          );
      }
    } else if (newest && update !== newest) {
      // Back to an older template: it becomes the newest revision.
      update = await client.patch<RevisionObject>(
        controllerRevisionsRef,
        update.metadata.name,
        update.metadata.namespace,
        'merge',
        {
          revision: (newest.revision ?? 0) + 1,
        },
      );
    }
    const currentObject = known.find((revision) => revision.metadata.name === set.status?.currentRevision) ?? update;
    const live = new Set([
      update.metadata.name,
      currentObject.metadata.name,
      ...owned.map((pod) => pod.metadata.labels?.[revisionLabel]),
    ]);
    const old = known.filter((revision) => !live.has(revision.metadata.name));
    for (const revision of old.slice(0, Math.max(0, old.length - (set.spec?.revisionHistoryLimit ?? 10))))
      await client.delete(controllerRevisionsRef, revision.metadata.name, revision.metadata.namespace);
    const toRevision = (object: RevisionObject): Revision => {
      const { $patch: _replace, ...template } = (object.data as { spec: { template: object & { $patch?: string } } })
        .spec.template;
      return { name: object.metadata.name, template: template as Revision['template'] };
    };
    return { current: toRevision(currentObject), update: toRevision(update) };
  }

  async function writeStatus(
    set: StatefulSetObject,
    owned: readonly PodObject[],
    current: Revision,
    update: Revision,
    nowMs: number,
  ): Promise<void> {
    const minReady = set.spec?.minReadySeconds ?? 0;
    const wanted = set.spec?.replicas ?? 1;
    const live = owned.filter((pod) => !pod.metadata.deletionTimestamp);
    const ready = live.filter((pod) => pod.status?.phase === 'Running' && isReady(pod));
    const of = (revision: Revision): number =>
      live.filter((pod) => pod.metadata.labels?.[revisionLabel] === revision.name).length;
    let currentRevision = current.name;
    let currentReplicas = of(current);
    const updatedReplicas = of(update);
    // The update is complete: what was new is now what the set is.
    const rolling = (set.spec?.updateStrategy?.type ?? 'RollingUpdate') === 'RollingUpdate';
    if (rolling && updatedReplicas === owned.length && ready.length === owned.length && updatedReplicas === wanted) {
      currentRevision = update.name;
      currentReplicas = updatedReplicas;
    }
    const status = {
      replicas: owned.length,
      readyReplicas: ready.length,
      availableReplicas: ready.filter((pod) => isAvailable(pod, minReady, nowMs)).length,
      currentReplicas,
      updatedReplicas,
      currentRevision,
      updateRevision: update.name,
      collisionCount: set.status?.collisionCount ?? 0,
      observedGeneration: set.metadata.generation ?? 0,
    };
    if (
      Object.entries(status).every(
        ([name, value]) => ((set.status as Record<string, unknown> | undefined)?.[name] ?? 0) === value,
      )
    )
      return;
    try {
      await client.patch(
        statefulSetsRef,
        set.metadata.name,
        set.metadata.namespace,
        'merge',
        { status },
        { subresource: 'status' },
      );
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
    }
  }
}
