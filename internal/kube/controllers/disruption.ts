import type { KubeObject, OwnerReference, ResourceRef } from '../client/api.ts';
import { objectKey } from '../client/informer.ts';
import { daemonSetsRef, deploymentsRef, podsRef, replicaSetsRef, statefulSetsRef } from '../client/resources.ts';
import { labelSelectorOf, matchesLabels } from '../machinery/selectors.ts';
import { isStatus } from '../machinery/status.ts';
import { formatTime } from '../machinery/time.ts';
import type { ControllerContext } from './context.ts';
import { type BudgetObject, countBudget } from './disruption-plan.ts';
import { controllerOf, type PodObject } from './pod-control.ts';
import { canonicalJson } from './revision.ts';

const budgetsRef: ResourceRef = { group: 'policy', version: 'v1', resource: 'poddisruptionbudgets' };

type Scaled = KubeObject & { spec?: { replicas?: number }; status?: { desiredNumberScheduled?: number } };

/** Keeps the status of PodDisruptionBudgets, which evictions are measured by (kube-controller-manager's disruption controller). */
export function disruptionController(context: ControllerContext): void {
  const { client, clock } = context;
  const budgets = context.informers.of<BudgetObject>(budgetsRef);
  const pods = context.informers.of<PodObject>(podsRef);
  const scaled: Readonly<Record<string, ReturnType<typeof context.informers.of<Scaled>>>> = {
    ReplicaSet: context.informers.of<Scaled>(replicaSetsRef),
    StatefulSet: context.informers.of<Scaled>(statefulSetsRef),
    Deployment: context.informers.of<Scaled>(deploymentsRef),
    DaemonSet: context.informers.of<Scaled>(daemonSetsRef),
  };
  const recorder = context.recorder('controllermanager');
  const queue = context.queue('disruption-budgets', reconcile);
  pods.index('namespace', (pod) => [pod.metadata.namespace!]);
  const onBudget = (budget: BudgetObject): void => queue.add(objectKey(budget));
  budgets.handle({ onAdd: onBudget, onUpdate: onBudget });
  const onPod = (pod: PodObject): void => {
    for (const budget of budgets.list())
      if (budget.metadata.namespace === pod.metadata.namespace && selects(budget, pod)) onBudget(budget);
  };
  pods.handle({
    onAdd: onPod,
    onUpdate: (pod, before) => {
      onPod(pod);
      if (canonicalJson(pod.metadata.labels) !== canonicalJson(before.metadata.labels)) onPod(before);
    },
    onDelete: onPod,
  });
  const onScaled = (object: Scaled): void => {
    for (const budget of budgets.list()) if (budget.metadata.namespace === object.metadata.namespace) onBudget(budget);
  };
  for (const informer of Object.values(scaled))
    informer.handle({
      onUpdate: (object, before) => {
        if (object.spec?.replicas !== before.spec?.replicas) onScaled(object);
      },
      onDelete: onScaled,
    });

  async function reconcile(key: string): Promise<void> {
    const budget = budgets.get(key);
    if (!budget || budget.metadata.deletionTimestamp) return;
    const now = clock.now();
    const mine = pods
      .by('namespace', budget.metadata.namespace!)
      .filter((pod) => selects(budget, pod) && pod.status?.phase !== 'Succeeded' && pod.status?.phase !== 'Failed');
    const counts = countBudget(budget, mine, await expected(mine), now);
    const subject = {
      apiVersion: budget.apiVersion,
      kind: budget.kind,
      namespace: budget.metadata.namespace!,
      name: budget.metadata.name,
      uid: budget.metadata.uid!,
    };
    if (typeof counts === 'string') {
      recorder.record(
        subject,
        'Warning',
        'CalculateExpectedPodCountFailed',
        `Failed to calculate the number of expected pods: ${counts}`,
      );
      await write(
        budget,
        { ...budget.status, disruptionsAllowed: 0, observedGeneration: budget.metadata.generation ?? 0 },
        'SyncFailed',
        counts,
      );
      return;
    }
    if (mine.length === 0) recorder.record(subject, 'Normal', 'NoPods', 'No matching pods found');
    const { recheckMs, ...status } = counts;
    await write(
      budget,
      { ...status, observedGeneration: budget.metadata.generation ?? 0 },
      counts.disruptionsAllowed > 0 ? 'SufficientPods' : 'InsufficientPods',
      '',
    );
    if (recheckMs !== undefined) queue.addAfter(key, recheckMs + 100);
  }

  /** What the controllers of the pods want to have in all, each counted once; undefined when a pod has no controller that is known. */
  async function expected(mine: readonly PodObject[]): Promise<number | undefined> {
    const found = new Map<string, number>();
    for (const pod of mine) {
      const owner = controllerOf(pod);
      const top = owner && scaleOf(owner, pod.metadata.namespace!);
      if (top === undefined) return undefined;
      found.set(top.uid, top.replicas);
    }
    return [...found.values()].reduce((sum, one) => sum + one, 0);
  }

  function scaleOf(owner: OwnerReference, namespace: string): { uid: string; replicas: number } | undefined {
    const object = scaled[owner.kind]?.get(`${namespace}/${owner.name}`);
    if (object?.metadata.uid !== owner.uid) return undefined;
    const above = controllerOf(object);
    if (owner.kind === 'ReplicaSet' && above?.kind === 'Deployment') return scaleOf(above, namespace);
    const replicas =
      owner.kind === 'DaemonSet' ? (object.status?.desiredNumberScheduled ?? 0) : (object.spec?.replicas ?? 1);
    return { uid: owner.uid, replicas };
  }

  async function write(budget: BudgetObject, counts: object, reason: string, message: string): Promise<void> {
    const wanted = reason === 'SufficientPods' ? 'True' : 'False';
    const conditions = budget.status?.conditions ?? [];
    const was = conditions.find((condition) => condition.type === 'DisruptionAllowed');
    const condition = {
      type: 'DisruptionAllowed',
      status: wanted,
      reason,
      message,
      observedGeneration: budget.metadata.generation ?? 0,
      lastTransitionTime: was?.status === wanted ? was.lastTransitionTime : formatTime(clock.now()),
    };
    const status = {
      ...counts,
      conditions: [...conditions.filter((one) => one.type !== 'DisruptionAllowed'), condition],
    };
    const before = { disruptedPods: {}, ...(budget.status as object | undefined) } as Record<string, unknown>;
    if (Object.entries(status).every(([name, value]) => canonicalJson(before[name] ?? 0) === canonicalJson(value)))
      return;
    try {
      // The whole status with the version it was computed from: evictions write it too.
      await client.update<BudgetObject>(
        budgetsRef,
        { ...budget, status: status as NonNullable<BudgetObject['status']> },
        { subresource: 'status' },
      );
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
    }
  }
}

/** Whether a budget is about a pod; an empty selector selects every pod of the namespace. */
function selects(budget: BudgetObject, pod: PodObject): boolean {
  return matchesLabels(labelSelectorOf(budget.spec?.selector), pod.metadata.labels);
}
