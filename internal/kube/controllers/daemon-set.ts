import { errorText } from '../../base/errors.ts';
import type { ControllerRevision } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';
import { objectKey } from '../client/informer.ts';
import { controllerRevisionsRef, daemonSetsRef, nodesRef, podsRef } from '../client/resources.ts';
import { labelSelectorOf, matchesLabels } from '../machinery/selectors.ts';
import { isStatus } from '../machinery/status.ts';
import type { ControllerContext } from './context.ts';
import {
  daemonPodSpec,
  daemonStatus,
  type DaemonSetObject,
  hashLabel,
  type NodeObject,
  planDaemonSet,
} from './daemon-set-plan.ts';
import {
  controllerOf,
  deletePod,
  Expectations,
  isAvailable,
  isReady,
  ownerReference,
  podFromTemplate,
  type PodObject,
  podAdopter,
} from './pod-control.ts';
import { canonicalJson, templateHash } from './revision.ts';

type RevisionObject = ControllerRevision & KubeObject;

/** Pods made or deleted in one reconcile at most (upstream's burstReplicas). */
const burst = 250;

/** One pod on each node that its template suits (kube-controller-manager's daemonset controller). */
export function daemonSetController(context: ControllerContext): void {
  const { client, clock } = context;
  const sets = context.informers.of<DaemonSetObject>(daemonSetsRef);
  const pods = context.informers.of<PodObject>(podsRef);
  const nodes = context.informers.of<NodeObject>(nodesRef);
  const revisions = context.informers.of<RevisionObject>(controllerRevisionsRef);
  const recorder = context.recorder('daemonset-controller');
  const expectations = new Expectations();
  const queue = context.queue('daemon-sets', reconcile);
  pods.index('namespace', (pod) => [pod.metadata.namespace!]);
  revisions.index('owner', (revision) => (revision.metadata.ownerReferences ?? []).map((owner) => owner.uid));
  const onSet = (set: DaemonSetObject): void => queue.add(objectKey(set));
  sets.handle({ onAdd: onSet, onUpdate: onSet, onDelete: onSet });
  const all = (): void => sets.list().forEach(onSet);
  nodes.handle({
    onAdd: all,
    onUpdate: (node, before) => {
      const matters = (one: NodeObject): string =>
        JSON.stringify([one.metadata.labels, one.spec?.taints, one.spec?.unschedulable]);
      if (matters(node) !== matters(before)) all();
    },
    onDelete: all,
  });
  const onPod = (pod: PodObject): void => {
    const owner = controllerOf(pod);
    if (owner?.kind === 'DaemonSet') queue.add(`${pod.metadata.namespace}/${owner.name}`);
    else if (!owner)
      for (const set of sets.list())
        if (
          set.metadata.namespace === pod.metadata.namespace &&
          matchesLabels(labelSelectorOf(set.spec?.selector), pod.metadata.labels)
        )
          onSet(set);
  };
  const seen = (pod: PodObject, sign: string): void => {
    const owner = controllerOf(pod);
    if (owner) expectations.seen(owner.uid, `${sign}${pod.metadata.name}`);
    onPod(pod);
  };
  pods.handle({
    onAdd: (pod) => seen(pod, '+'),
    onUpdate: (pod) => (pod.metadata.deletionTimestamp ? seen(pod, '-') : onPod(pod)),
    onDelete: (pod) => seen(pod, '-'),
  });

  async function reconcile(key: string): Promise<void> {
    const set = sets.get(key);
    if (!set || set.metadata.deletionTimestamp) return;
    const owned = await ownPods(set);
    const revision = await syncRevisions(set, owned);
    const hash = revision.metadata.labels?.[hashLabel] ?? '';
    const now = clock.now();
    if (expectations.fulfilled(set.metadata.uid!, clock.monotonic())) {
      const plan = planDaemonSet(set, nodes.list(), owned, hash, now);
      for (const pod of plan.delete.slice(0, burst)) await remove(set, pod);
      for (const node of plan.create.slice(0, burst)) await create(set, node, hash);
      if (plan.create.length > burst || plan.delete.length > burst) queue.addAfter(key, 1000);
    }
    await writeStatus(set, owned, hash, now);
    const minReady = set.spec?.minReadySeconds ?? 0;
    if (minReady > 0 && owned.some((pod) => isReady(pod) && !isAvailable(pod, minReady, now)))
      queue.addAfter(key, minReady * 1000);
  }

  async function ownPods(set: DaemonSetObject): Promise<PodObject[]> {
    const selector = labelSelectorOf(set.spec?.selector);
    const adopt = podAdopter(client, daemonSetsRef, set);
    const owned: PodObject[] = [];
    for (const pod of pods.by('namespace', set.metadata.namespace!)) {
      const owner = controllerOf(pod);
      const matches = matchesLabels(selector, pod.metadata.labels);
      if (owner?.uid === set.metadata.uid) {
        if (matches) owned.push(pod);
        else await release(pod, set);
      } else if (!owner && matches && !pod.metadata.deletionTimestamp && (await adopt(pod))) owned.push(pod);
    }
    return owned;
  }

  async function release(pod: PodObject, set: DaemonSetObject): Promise<void> {
    await client.patch(podsRef, pod.metadata.name, pod.metadata.namespace, 'strategic', {
      metadata: { uid: pod.metadata.uid, ownerReferences: [{ $patch: 'delete', uid: set.metadata.uid }] },
    });
  }

  const subject = (set: DaemonSetObject) => ({
    apiVersion: set.apiVersion,
    kind: set.kind,
    namespace: set.metadata.namespace!,
    name: set.metadata.name,
    uid: set.metadata.uid!,
  });

  async function create(set: DaemonSetObject, node: string, hash: string): Promise<void> {
    const pod = podFromTemplate(set.spec!.template!, set, {
      generateName: `${set.metadata.name}-`,
      labels: { [hashLabel]: hash, 'pod-template-generation': String(set.metadata.generation ?? 1) },
    });
    pod.spec = daemonPodSpec(pod.spec!, node);
    try {
      const made = await client.create<PodObject>(podsRef, pod);
      if (!pods.get(objectKey(made)))
        expectations.expect(set.metadata.uid!, `+${made.metadata.name}`, clock.monotonic());
      recorder.record(subject(set), 'Normal', 'SuccessfulCreate', `Created pod: ${made.metadata.name}`);
    } catch (error) {
      if (isStatus(error, 'Forbidden') && /being terminated/.test(errorText(error))) return;
      recorder.record(subject(set), 'Warning', 'FailedCreate', `Error creating: ${errorText(error)}`);
      throw error;
    }
  }

  async function remove(set: DaemonSetObject, pod: PodObject): Promise<void> {
    if (pod.status?.phase === 'Failed')
      recorder.record(
        subject(set),
        'Warning',
        'FailedDaemonPod',
        `Found failed daemon pod ${objectKey(pod)} on node ${pod.spec?.nodeName ?? ''}, will try to kill it`,
      );
    expectations.expect(set.metadata.uid!, `-${pod.metadata.name}`, clock.monotonic());
    await deletePod(client, pod);
    recorder.record(subject(set), 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata.name}`);
  }

  /** The revision of the current template, made when it is new and made the newest when it is an old one; history beyond the limit is dropped. */
  async function syncRevisions(set: DaemonSetObject, owned: readonly PodObject[]): Promise<RevisionObject> {
    const known = revisions.by('owner', set.metadata.uid!).sort((a, b) => (a.revision ?? 0) - (b.revision ?? 0));
    const template = set.spec!.template!;
    const data = { spec: { template: { ...template, $patch: 'replace' } } };
    const text = canonicalJson(data);
    const newest = known.at(-1);
    let current = known.find((revision) => canonicalJson(revision.data) === text);
    if (current === undefined) current = await createRevision(set, data, (newest?.revision ?? 0) + 1);
    else if (newest !== undefined && current !== newest)
      current = await client.patch<RevisionObject>(
        controllerRevisionsRef,
        current.metadata.name,
        current.metadata.namespace,
        'merge',
        {
          revision: (newest.revision ?? 0) + 1,
        },
      );
    const used = new Set(owned.map((pod) => pod.metadata.labels?.[hashLabel]));
    const old = known.filter(
      (revision) =>
        revision.metadata.name !== current.metadata.name && !used.has(revision.metadata.labels?.[hashLabel]),
    );
    for (const revision of old.slice(0, Math.max(0, old.length - (set.spec?.revisionHistoryLimit ?? 10))))
      await client.delete(controllerRevisionsRef, revision.metadata.name, revision.metadata.namespace);
    return current;
  }

  async function createRevision(set: DaemonSetObject, data: object, number: number): Promise<RevisionObject> {
    const template = set.spec!.template!;
    const hash = templateHash(template, set.status?.collisionCount ?? 0);
    const name = `${set.metadata.name}-${hash}`;
    const labels = (template.metadata as Partial<KubeObject['metadata']> | undefined)?.labels;
    try {
      return await client.create<RevisionObject>(controllerRevisionsRef, {
        apiVersion: 'apps/v1',
        kind: 'ControllerRevision',
        metadata: {
          name,
          namespace: set.metadata.namespace!,
          labels: { ...labels, [hashLabel]: hash },
          ownerReferences: [ownerReference(set)],
        },
        data,
        revision: number,
      } as unknown as RevisionObject);
    } catch (error) {
      if (!isStatus(error, 'AlreadyExists')) throw error;
      const other = await client.get<RevisionObject>(controllerRevisionsRef, name, set.metadata.namespace);
      if (canonicalJson(other.data) === canonicalJson(data) && controllerOf(other)?.uid === set.metadata.uid)
        return other;
      // Another template has this hash: count the collision, so that the next try makes another one.
      await client.patch(
        daemonSetsRef,
        set.metadata.name,
        set.metadata.namespace,
        'merge',
        {
          status: { collisionCount: (set.status?.collisionCount ?? 0) + 1 },
        },
        { subresource: 'status' },
      );
      throw error;
    }
  }

  async function writeStatus(
    set: DaemonSetObject,
    owned: readonly PodObject[],
    hash: string,
    nowMs: number,
  ): Promise<void> {
    const status = daemonStatus(set, nodes.list(), owned, hash, nowMs);
    const before = (set.status ?? {}) as Record<string, unknown>;
    if (Object.entries(status).every(([name, value]) => (before[name] ?? 0) === value)) return;
    try {
      await client.patch(
        daemonSetsRef,
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
