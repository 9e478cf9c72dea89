import { errorText } from '../../base/errors.ts';
import type { ReplicaSet } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';
import { objectKey } from '../client/informer.ts';
import { podsRef, replicaSetsRef } from '../client/resources.ts';
import { labelSelectorOf, matchesLabels } from '../machinery/selectors.ts';
import { isStatus } from '../machinery/status.ts';
import {
  compareForDeletion,
  controllerOf,
  deletePod,
  Expectations,
  isActive,
  isAvailable,
  isReady,
  type PodObject,
  podFromTemplate,
  podAdopter,
} from './pod-control.ts';
import type { ControllerContext } from './context.ts';

type ReplicaSetObject = ReplicaSet & KubeObject;

/** Pods made or deleted in one reconcile at most (upstream's burstReplicas). */
const burst = 500;

/** Keeps as many pods of its template as it says (kube-controller-manager's replicaset controller). */
export function replicaSetController(context: ControllerContext): void {
  const { client, clock } = context;
  const sets = context.informers.of<ReplicaSetObject>(replicaSetsRef);
  const pods = context.informers.of<PodObject>(podsRef);
  const recorder = context.recorder('replicaset-controller');
  const expectations = new Expectations();
  const queue = context.queue('replica-sets', reconcile);
  pods.index('namespace', (pod) => [pod.metadata.namespace!]);
  const onSet = (set: ReplicaSetObject): void => queue.add(objectKey(set));
  sets.handle({ onAdd: onSet, onUpdate: onSet, onDelete: onSet });
  const onPod = (pod: PodObject): void => {
    const owner = controllerOf(pod);
    if (owner?.kind === 'ReplicaSet') queue.add(`${pod.metadata.namespace}/${owner.name}`);
    else if (!owner)
      for (const set of sets.list())
        if (
          set.metadata.namespace === pod.metadata.namespace &&
          matchesLabels(labelSelectorOf(set.spec?.selector), pod.metadata.labels)
        )
          queue.add(objectKey(set));
  };
  pods.handle({
    onAdd: (pod) => {
      const owner = controllerOf(pod);
      if (owner) expectations.seen(owner.uid, `+${pod.metadata.name}`);
      onPod(pod);
    },
    onUpdate: (pod, before) => {
      const owner = controllerOf(pod);
      if (owner && pod.metadata.deletionTimestamp) expectations.seen(owner.uid, `-${pod.metadata.name}`);
      onPod(pod);
      if (controllerOf(before)?.uid !== owner?.uid) onPod(before);
    },
    onDelete: (pod) => {
      const owner = controllerOf(pod);
      if (owner) expectations.seen(owner.uid, `-${pod.metadata.name}`);
      onPod(pod);
    },
  });

  async function reconcile(key: string): Promise<void> {
    const set = sets.get(key);
    if (!set) return;
    const selector = labelSelectorOf(set.spec?.selector);
    const candidates = pods.by('namespace', set.metadata.namespace!).filter(isActive);
    const adopt = podAdopter(client, replicaSetsRef, set);
    const owned: PodObject[] = [];
    for (const pod of candidates) {
      const owner = controllerOf(pod);
      const matches = matchesLabels(selector, pod.metadata.labels);
      if (owner) {
        if (owner.uid !== set.metadata.uid) continue;
        if (matches) owned.push(pod);
        else if (!set.metadata.deletionTimestamp) await release(pod, set);
      } else if (matches && !set.metadata.deletionTimestamp && (await adopt(pod))) owned.push(pod);
    }
    if (!set.metadata.deletionTimestamp && expectations.fulfilled(set.metadata.uid!, clock.monotonic()))
      await scale(set, owned);
    await writeStatus(set, owned);
  }

  async function scale(set: ReplicaSetObject, owned: PodObject[]): Promise<void> {
    const wanted = set.spec?.replicas ?? 1;
    const uid = set.metadata.uid!;
    const subject = {
      apiVersion: set.apiVersion,
      kind: set.kind,
      namespace: set.metadata.namespace!,
      name: set.metadata.name,
      uid,
    };
    if (owned.length < wanted) {
      for (let i = Math.min(burst, wanted - owned.length); i > 0; i--) {
        try {
          const made = await client.create<PodObject>(
            podsRef,
            podFromTemplate(set.spec!.template!, set, { generateName: `${set.metadata.name}-` }),
          );
          if (!pods.get(objectKey(made))) expectations.expect(uid, `+${made.metadata.name}`, clock.monotonic());
          recorder.record(subject, 'Normal', 'SuccessfulCreate', `Created pod: ${made.metadata.name}`);
        } catch (error) {
          if (isStatus(error, 'Forbidden') && /being terminated/.test(errorText(error))) return;
          recorder.record(subject, 'Warning', 'FailedCreate', `Error creating: ${errorText(error)}`);
          throw error;
        }
      }
    } else if (owned.length > wanted) {
      for (const pod of [...owned].sort(compareForDeletion).slice(0, Math.min(burst, owned.length - wanted))) {
        expectations.expect(uid, `-${pod.metadata.name}`, clock.monotonic());
        await deletePod(client, pod);
        recorder.record(subject, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`);
      }
    }
  }

  async function release(pod: PodObject, set: ReplicaSetObject): Promise<void> {
    await client.patch(podsRef, pod.metadata.name, pod.metadata.namespace, 'strategic', {
      metadata: { uid: pod.metadata.uid, ownerReferences: [{ $patch: 'delete', uid: set.metadata.uid }] },
    });
  }

  async function writeStatus(set: ReplicaSetObject, owned: PodObject[]): Promise<void> {
    const now = clock.now();
    const minReady = set.spec?.minReadySeconds ?? 0;
    const ready = owned.filter(isReady);
    const available = ready.filter((pod) => isAvailable(pod, minReady, now));
    if (minReady > 0 && available.length < ready.length) queue.addAfter(objectKey(set), minReady * 1000);
    const templateLabels = Object.entries(
      (set.spec?.template?.metadata as { labels?: Record<string, string> } | undefined)?.labels ?? {},
    );
    const status = {
      replicas: owned.length,
      fullyLabeledReplicas: owned.filter((pod) =>
        templateLabels.every(([key, value]) => pod.metadata.labels?.[key] === value),
      ).length,
      readyReplicas: ready.length,
      availableReplicas: available.length,
      observedGeneration: set.metadata.generation ?? 0,
    };
    const before = set.status;
    if (
      before &&
      before.replicas === status.replicas &&
      (before.fullyLabeledReplicas ?? 0) === status.fullyLabeledReplicas &&
      (before.readyReplicas ?? 0) === status.readyReplicas &&
      (before.availableReplicas ?? 0) === status.availableReplicas &&
      before.observedGeneration === status.observedGeneration
    )
      return;
    try {
      await client.patch(
        replicaSetsRef,
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
