import type { Deployment } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';
import { objectKey } from '../client/informer.ts';
import { deploymentsRef, podsRef, replicaSetsRef } from '../client/resources.ts';
import { labelSelectorOf, matchesLabels } from '../machinery/selectors.ts';
import { isStatus } from '../machinery/status.ts';
import { formatTime, parseTime } from '../machinery/time.ts';
import type { ControllerContext } from './context.ts';
import {
  type DeploymentObject,
  desiredAnnotation,
  maxAnnotation,
  planDeployment,
  type ReplicaSetObject,
  rollingBounds,
  templateHashLabel,
} from './deployment-plan.ts';
import { controllerOf, ownerReference, type PodObject } from './pod-control.ts';
import { canonicalJson, templateHash } from './revision.ts';

const revisionAnnotation = 'deployment.kubernetes.io/revision';
/** Written for kubectl; not copied to ReplicaSets. */
const ownAnnotations = new Set([
  revisionAnnotation,
  desiredAnnotation,
  maxAnnotation,
  'kubectl.kubernetes.io/last-applied-configuration',
  'deployment.kubernetes.io/revision-history',
]);

type Condition = NonNullable<NonNullable<Deployment['status']>['conditions']>[number];

/** Rolls templates out over ReplicaSets (kube-controller-manager's deployment controller). */
export function deploymentController(context: ControllerContext): void {
  const { client, clock } = context;
  const deployments = context.informers.of<DeploymentObject>(deploymentsRef);
  const sets = context.informers.of<ReplicaSetObject>(replicaSetsRef);
  const pods = context.informers.of<PodObject>(podsRef);
  const recorder = context.recorder('deployment-controller');
  const queue = context.queue('deployments', reconcile);
  sets.index('namespace', (set) => [set.metadata.namespace!]);
  pods.index('controller', (pod) => [controllerOf(pod)?.uid ?? '']);
  const onDeployment = (deployment: DeploymentObject): void => queue.add(objectKey(deployment));
  deployments.handle({ onAdd: onDeployment, onUpdate: onDeployment, onDelete: onDeployment });
  const onSet = (set: ReplicaSetObject): void => {
    const owner = controllerOf(set);
    if (owner?.kind === 'Deployment') queue.add(`${set.metadata.namespace}/${owner.name}`);
  };
  sets.handle({ onAdd: onSet, onUpdate: onSet, onDelete: onSet });
  pods.handle({
    onDelete: (pod) => {
      const owner = controllerOf(pod);
      const set = owner?.kind === 'ReplicaSet' ? sets.get(`${pod.metadata.namespace}/${owner.name}`) : undefined;
      if (set) onSet(set);
    },
  });

  async function reconcile(key: string): Promise<void> {
    const deployment = deployments.get(key);
    if (!deployment || deployment.metadata.deletionTimestamp) return;
    const all = await ownSets(deployment);
    const wanted = canonicalJson(plainTemplate(deployment.spec!.template));
    let current = all.find((set) => canonicalJson(plainTemplate(set.spec?.template)) === wanted);
    const old = all.filter((set) => set !== current);
    if (!current && !deployment.spec?.paused) current = await createSet(deployment, old);
    if (current && !deployment.spec?.paused) current = await annotate(deployment, current, old);
    const oldPods = old.reduce(
      (sum, set) =>
        sum +
        pods
          .by('controller', set.metadata.uid!)
          .filter((pod) => pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed').length,
      0,
    );
    for (const { set, to } of planDeployment(deployment, current, old, oldPods)) await scale(deployment, set, to);
    await cleanUp(deployment, old);
    await writeStatus(deployment, current, old);
  }

  async function ownSets(deployment: DeploymentObject): Promise<ReplicaSetObject[]> {
    const selector = labelSelectorOf(deployment.spec?.selector);
    const own: ReplicaSetObject[] = [];
    for (const set of sets.by('namespace', deployment.metadata.namespace!)) {
      const owner = controllerOf(set);
      if (owner?.uid === deployment.metadata.uid) own.push(set);
      else if (!owner && !set.metadata.deletionTimestamp && matchesLabels(selector, set.metadata.labels))
        own.push(
          await client.patch<ReplicaSetObject>(replicaSetsRef, set.metadata.name, set.metadata.namespace, 'strategic', {
            metadata: { uid: set.metadata.uid, ownerReferences: [ownerReference(deployment)] },
          }),
        );
    }
    return own.sort(
      (a, b) =>
        (parseTime(a.metadata.creationTimestamp) ?? 0) - (parseTime(b.metadata.creationTimestamp) ?? 0) ||
        (a.metadata.name < b.metadata.name ? -1 : 1),
    );
  }

  async function createSet(deployment: DeploymentObject, old: readonly ReplicaSetObject[]): Promise<ReplicaSetObject> {
    const template = deployment.spec!.template!;
    const hash = templateHash(template, deployment.status?.collisionCount ?? 0);
    const templateMeta = template.metadata as Partial<KubeObject['metadata']> | undefined;
    const labels = { ...templateMeta?.labels, [templateHashLabel]: hash };
    const { maxSurge } = rollingBounds(deployment);
    const wanted = deployment.spec?.replicas ?? 1;
    const existing = old.reduce((sum, set) => sum + (set.spec?.replicas ?? 0), 0);
    const replicas =
      existing === 0
        ? wanted
        : deployment.spec?.strategy?.type === 'Recreate'
          ? 0
          : Math.max(0, Math.min(wanted, wanted + maxSurge - existing));
    const set = {
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      metadata: {
        name: `${deployment.metadata.name}-${hash}`,
        namespace: deployment.metadata.namespace!,
        labels,
        annotations: {
          ...inherited(deployment),
          ...scaleAnnotations(deployment),
          [revisionAnnotation]: String(nextRevision(old)),
        },
        ownerReferences: [ownerReference(deployment)],
      },
      spec: {
        replicas,
        minReadySeconds: deployment.spec?.minReadySeconds ?? 0,
        selector: {
          ...deployment.spec?.selector,
          matchLabels: { ...deployment.spec?.selector?.matchLabels, [templateHashLabel]: hash },
        },
        template: { ...template, metadata: { ...templateMeta, labels } },
      },
    } as unknown as ReplicaSetObject;
    try {
      const made = await client.create<ReplicaSetObject>(replicaSetsRef, set);
      if (replicas > 0)
        recorder.record(
          subject(deployment),
          'Normal',
          'ScalingReplicaSet',
          `Scaled up replica set ${made.metadata.name} from 0 to ${replicas}`,
        );
      return made;
    } catch (error) {
      if (!isStatus(error, 'AlreadyExists')) throw error;
      const other = await client.get<ReplicaSetObject>(replicaSetsRef, set.metadata.name, set.metadata.namespace);
      if (
        controllerOf(other)?.uid === deployment.metadata.uid &&
        canonicalJson(plainTemplate(other.spec?.template)) === canonicalJson(plainTemplate(template))
      )
        return other;
      await client.patch(
        deploymentsRef,
        deployment.metadata.name,
        deployment.metadata.namespace,
        'merge',
        { status: { collisionCount: (deployment.status?.collisionCount ?? 0) + 1 } },
        { subresource: 'status' },
      );
      throw error;
    }
  }

  /** Keeps the revision and what is copied from the deployment up to date; a set that is rolled back to becomes the newest revision. */
  async function annotate(
    deployment: DeploymentObject,
    set: ReplicaSetObject,
    old: readonly ReplicaSetObject[],
  ): Promise<ReplicaSetObject> {
    const revision = Math.max(nextRevision(old), Number(set.metadata.annotations?.[revisionAnnotation] ?? 0));
    const wanted: Record<string, string> = { ...inherited(deployment), [revisionAnnotation]: String(revision) };
    let result = set;
    if (
      Object.entries(wanted).some(([key, value]) => set.metadata.annotations?.[key] !== value) ||
      (set.spec?.minReadySeconds ?? 0) !== (deployment.spec?.minReadySeconds ?? 0)
    )
      result = await client.patch<ReplicaSetObject>(
        replicaSetsRef,
        set.metadata.name,
        set.metadata.namespace,
        'merge',
        {
          metadata: { annotations: wanted },
          spec: { minReadySeconds: deployment.spec?.minReadySeconds ?? 0 },
        },
      );
    if (deployment.metadata.annotations?.[revisionAnnotation] !== String(revision))
      await client.patch(deploymentsRef, deployment.metadata.name, deployment.metadata.namespace, 'merge', {
        metadata: { annotations: { [revisionAnnotation]: String(revision) } },
      });
    return result;
  }

  async function scale(deployment: DeploymentObject, set: ReplicaSetObject, to: number): Promise<void> {
    const from = set.spec?.replicas ?? 1;
    const annotations = scaleAnnotations(deployment);
    if (from === to && Object.entries(annotations).every(([key, value]) => set.metadata.annotations?.[key] === value))
      return;
    await client.patch(replicaSetsRef, set.metadata.name, set.metadata.namespace, 'merge', {
      metadata: { resourceVersion: set.metadata.resourceVersion, annotations },
      spec: { replicas: to },
    });
    if (from === to) return;
    recorder.record(
      subject(deployment),
      'Normal',
      'ScalingReplicaSet',
      `Scaled ${to > from ? 'up' : 'down'} replica set ${set.metadata.name} from ${from} to ${to}`,
    );
  }

  async function cleanUp(deployment: DeploymentObject, old: readonly ReplicaSetObject[]): Promise<void> {
    const idle = old.filter(
      (set) =>
        (set.spec?.replicas ?? 1) === 0 &&
        (set.status?.replicas ?? 0) === 0 &&
        !set.metadata.deletionTimestamp &&
        (set.status?.observedGeneration ?? 0) >= (set.metadata.generation ?? 0),
    );
    idle.sort(
      (a, b) =>
        Number(a.metadata.annotations?.[revisionAnnotation] ?? 0) -
        Number(b.metadata.annotations?.[revisionAnnotation] ?? 0),
    );
    for (const set of idle.slice(0, Math.max(0, idle.length - (deployment.spec?.revisionHistoryLimit ?? 10)))) {
      try {
        await client.delete(replicaSetsRef, set.metadata.name, set.metadata.namespace, {
          preconditions: { uid: set.metadata.uid! },
        });
      } catch (error) {
        if (!isStatus(error, 'NotFound')) throw error;
      }
    }
  }

  async function writeStatus(
    deployment: DeploymentObject,
    current: ReplicaSetObject | undefined,
    old: readonly ReplicaSetObject[],
  ): Promise<void> {
    const all = current ? [current, ...old] : [...old];
    const sum = (field: 'replicas' | 'readyReplicas' | 'availableReplicas'): number =>
      all.reduce((total, set) => total + (set.status?.[field] ?? 0), 0);
    const wanted = deployment.spec?.replicas ?? 1;
    const total = sum('replicas');
    const available = sum('availableReplicas');
    const updated = current?.status?.replicas ?? 0;
    const before = deployment.status;
    const now = formatTime(clock.now());
    const conditions = new Map((before?.conditions ?? []).map((condition) => [condition.type, condition]));
    const set = (
      type: string,
      status: 'True' | 'False' | 'Unknown',
      reason: string,
      message: string,
      progressed = false,
    ): void => {
      const was = conditions.get(type);
      if (was && was.status === status && was.reason === reason && was.message === message && !progressed) return;
      conditions.set(type, {
        type,
        status,
        reason,
        message,
        lastUpdateTime: now,
        lastTransitionTime: was?.status === status ? was.lastTransitionTime : now,
      } as Condition);
    };
    if (available >= wanted - rollingBounds(deployment).maxUnavailable)
      set('Available', 'True', 'MinimumReplicasAvailable', 'Deployment has minimum availability.');
    else set('Available', 'False', 'MinimumReplicasUnavailable', 'Deployment does not have minimum availability.');

    const deadlineSeconds = deployment.spec?.progressDeadlineSeconds ?? 600;
    const name = current ? `ReplicaSet "${current.metadata.name}"` : `Deployment "${deployment.metadata.name}"`;
    const complete = current !== undefined && updated === wanted && total === wanted && available === wanted;
    const moved =
      updated > (before?.updatedReplicas ?? 0) ||
      total - updated < (before?.replicas ?? 0) - (before?.updatedReplicas ?? 0) ||
      sum('readyReplicas') > (before?.readyReplicas ?? 0) ||
      available > (before?.availableReplicas ?? 0);
    const progressing = conditions.get('Progressing');
    if (deployment.spec?.paused) set('Progressing', 'Unknown', 'DeploymentPaused', 'Deployment is paused');
    else if (complete) set('Progressing', 'True', 'NewReplicaSetAvailable', `${name} has successfully progressed.`);
    else if (!progressing || moved || progressing.reason === 'DeploymentPaused')
      set('Progressing', 'True', 'ReplicaSetUpdated', `${name} is progressing.`, true);
    else if (
      progressing.reason === 'NewReplicaSetAvailable' &&
      (before?.observedGeneration ?? 0) < (deployment.metadata.generation ?? 0)
    )
      set('Progressing', 'True', 'ReplicaSetUpdated', `${name} is progressing.`, true);
    else if (progressing.reason !== 'NewReplicaSetAvailable' && progressing.reason !== 'ProgressDeadlineExceeded') {
      const left = (parseTime(progressing.lastUpdateTime) ?? 0) + deadlineSeconds * 1000 - clock.now();
      if (left <= 0) set('Progressing', 'False', 'ProgressDeadlineExceeded', `${name} has timed out progressing.`);
      else queue.addAfter(objectKey(deployment), left + 100);
    }
    const status = {
      observedGeneration: deployment.metadata.generation ?? 0,
      replicas: total,
      updatedReplicas: updated,
      readyReplicas: sum('readyReplicas'),
      availableReplicas: available,
      unavailableReplicas: Math.max(0, wanted - available),
      conditions: [...conditions.values()],
    };
    const same = Object.entries(status).every(
      ([field, value]) =>
        canonicalJson(
          (before as Record<string, unknown> | undefined)?.[field] ?? (typeof value === 'number' ? 0 : []),
        ) === canonicalJson(value),
    );
    if (same) return;
    try {
      await client.patch(
        deploymentsRef,
        deployment.metadata.name,
        deployment.metadata.namespace,
        'merge',
        { status },
        { subresource: 'status' },
      );
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
    }
  }
}

/** The template without the label that a ReplicaSet adds. */
function plainTemplate(template: unknown): unknown {
  const { metadata, ...rest } = (template ?? {}) as { metadata?: { labels?: Record<string, string> } };
  const { [templateHashLabel]: _hash, ...labels } = metadata?.labels ?? {};
  return { ...rest, metadata: { ...metadata, labels } };
}

function inherited(deployment: DeploymentObject): Record<string, string> {
  return Object.fromEntries(
    Object.entries(deployment.metadata.annotations ?? {}).filter(([key]) => !ownAnnotations.has(key)),
  );
}

function scaleAnnotations(deployment: DeploymentObject): Record<string, string> {
  const replicas = deployment.spec?.replicas ?? 1;
  return {
    [desiredAnnotation]: String(replicas),
    [maxAnnotation]: String(
      replicas + (deployment.spec?.strategy?.type === 'Recreate' ? 0 : rollingBounds(deployment).maxSurge),
    ),
  };
}

function nextRevision(old: readonly ReplicaSetObject[]): number {
  return 1 + old.reduce((most, set) => Math.max(most, Number(set.metadata.annotations?.[revisionAnnotation] ?? 0)), 0);
}

function subject(deployment: DeploymentObject) {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    namespace: deployment.metadata.namespace!,
    name: deployment.metadata.name,
    uid: deployment.metadata.uid!,
  };
}
