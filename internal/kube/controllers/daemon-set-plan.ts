import type { DaemonSet, Node, Pod, Toleration } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';
import { matchesTerm, tolerates } from '../scheduler/plugins/node.ts';
import { intOrPercent } from './deployment-plan.ts';
import { isAvailable, type PodObject } from './pod-control.ts';

/** What a DaemonSet does next, without I/O (kube-controller-manager's daemon/daemon_controller.go, update.go). */

export type DaemonSetObject = DaemonSet & KubeObject;
export type NodeObject = Node & KubeObject;

export const hashLabel = 'controller-revision-hash';

/** Conditions of a node that do not keep its daemons away. */
const ownTolerations: readonly Toleration[] = [
  { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/disk-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/pid-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/unschedulable', operator: 'Exists', effect: 'NoSchedule' },
];
const hostNetworkToleration: Toleration = {
  key: 'node.kubernetes.io/network-unavailable',
  operator: 'Exists',
  effect: 'NoSchedule',
};

export function daemonTolerations(spec: NonNullable<Pod['spec']>): Toleration[] {
  const wanted = spec.hostNetwork === true ? [...ownTolerations, hostNetworkToleration] : ownTolerations;
  const given = spec.tolerations ?? [];
  const has = (one: Toleration): boolean =>
    given.some((other) => other.key === one.key && other.operator === one.operator && other.effect === one.effect);
  return [...given, ...wanted.filter((one) => !has(one))];
}

/** The spec of the pod for one node: the scheduler may put it there and nowhere else. */
export function daemonPodSpec(template: NonNullable<Pod['spec']>, nodeName: string): NonNullable<Pod['spec']> {
  const affinity = template.affinity ?? {};
  const required = affinity.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [{}];
  const here = [{ key: 'metadata.name', operator: 'In' as const, values: [nodeName] }];
  return {
    ...template,
    affinity: {
      ...affinity,
      nodeAffinity: {
        ...affinity.nodeAffinity,
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: required.map((term) => ({ ...term, matchFields: here })),
        },
      },
    },
    tolerations: daemonTolerations(template),
  };
}

/** Whether a daemon should be started on a node, and whether one that runs there may stay. */
export function daemonFits(set: DaemonSetObject, node: NodeObject): { run: boolean; stay: boolean } {
  const spec = set.spec?.template?.spec;
  if (spec === undefined) return { run: false, stay: false };
  if (spec.nodeName && spec.nodeName !== node.metadata.name) return { run: false, stay: false };
  const selected = Object.entries(spec.nodeSelector ?? {}).every(
    ([key, value]) => node.metadata.labels?.[key] === value,
  );
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const affine = required === undefined || required.nodeSelectorTerms.some((term) => matchesTerm(term, node));
  if (!selected || !affine) return { run: false, stay: false };
  const tolerations = daemonTolerations(spec);
  const repelled = (effects: readonly string[]): boolean =>
    (node.spec?.taints ?? []).some(
      (taint) => effects.includes(taint.effect) && !tolerations.some((one) => tolerates(one, taint)),
    );
  if (repelled(['NoExecute'])) return { run: false, stay: false };
  return { run: !repelled(['NoSchedule']), stay: true };
}

/** The node that a daemon's pod is for, also while it waits to be bound. */
export function nodeOf(pod: Pod): string | undefined {
  if (pod.spec?.nodeName) return pod.spec.nodeName;
  const terms =
    pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  for (const term of terms)
    for (const field of term.matchFields ?? []) if (field.key === 'metadata.name') return field.values?.[0];
  return undefined;
}

export interface DaemonPlan {
  /** Names of nodes that need a pod. */
  create: string[];
  delete: PodObject[];
}

const failed = (pod: Pod): boolean => pod.status?.phase === 'Failed';
const terminating = (pod: Pod): boolean => pod.metadata.deletionTimestamp !== undefined;
const hashOf = (pod: Pod): string | undefined => pod.metadata.labels?.[hashLabel];

/** One pod on every node that fits, none elsewhere, and old templates replaced within the bounds of the strategy. `hash` names the current template. */
export function planDaemonSet(
  set: DaemonSetObject,
  nodes: readonly NodeObject[],
  pods: readonly PodObject[],
  hash: string,
  nowMs: number,
): DaemonPlan {
  const minReady = set.spec?.minReadySeconds ?? 0;
  const available = (pod: PodObject): boolean => isAvailable(pod, minReady, nowMs);
  const byNode = new Map<string, PodObject[]>();
  const plan: DaemonPlan = { create: [], delete: [] };
  const known = new Set(nodes.map((node) => node.metadata.name));
  for (const pod of pods) {
    const name = nodeOf(pod);
    if (name === undefined || !known.has(name)) {
      // Bound to a node that is gone: nobody else will end it. Not bound: it could never be.
      if (!terminating(pod)) plan.delete.push(pod);
      continue;
    }
    byNode.set(name, [...(byNode.get(name) ?? []), pod]);
  }
  const rolling = set.spec?.updateStrategy?.type !== 'OnDelete';
  const wanted = nodes.filter((node) => daemonFits(set, node).run).length;
  const bounds = set.spec?.updateStrategy?.rollingUpdate;
  const surge = rolling ? intOrPercent(bounds?.maxSurge ?? 0, wanted, true) : 0;
  const unavailableMax = surge > 0 ? 0 : Math.max(1, intOrPercent(bounds?.maxUnavailable ?? 1, wanted, true));

  let unavailable = 0;
  let surging = 0;
  const replaceable: PodObject[] = [];
  const surgeable: string[] = [];
  for (const node of nodes) {
    const here = byNode.get(node.metadata.name) ?? [];
    const fits = daemonFits(set, node);
    if (!fits.run && !fits.stay) {
      plan.delete.push(...here.filter((pod) => !terminating(pod)));
      continue;
    }
    const live = here.filter((pod) => !terminating(pod));
    const broken = live.filter(failed);
    plan.delete.push(...broken);
    const healthy = live.filter((pod) => !failed(pod));
    if (here.length === 0) {
      if (fits.run) {
        plan.create.push(node.metadata.name);
        unavailable++;
      }
      continue;
    }
    const fresh = oldestFirst(healthy.filter((pod) => hashOf(pod) === hash));
    const old = oldestFirst(healthy.filter((pod) => hashOf(pod) !== hash));
    // Two of one template on a node: the oldest stays.
    plan.delete.push(...fresh.slice(1), ...old.slice(1));
    const [newPod] = fresh;
    const [oldPod] = old;
    if (newPod !== undefined && oldPod !== undefined) {
      if (surge === 0 || available(newPod) || !available(oldPod)) plan.delete.push(oldPod);
      else surging++;
      if (!available(newPod)) unavailable++;
    } else if (newPod !== undefined) {
      if (!available(newPod)) unavailable++;
    } else if (oldPod === undefined) unavailable++;
    else if (rolling) {
      if (surge > 0) {
        if (available(oldPod)) surgeable.push(node.metadata.name);
        else plan.create.push(node.metadata.name);
      } else if (!available(oldPod)) {
        plan.delete.push(oldPod);
        unavailable++;
      } else replaceable.push(oldPod);
    }
  }
  if (surge > 0) plan.create.push(...surgeable.slice(0, Math.max(0, surge - surging)));
  else plan.delete.push(...replaceable.slice(0, Math.max(0, unavailableMax - unavailable)));
  return plan;
}

function oldestFirst(pods: PodObject[]): PodObject[] {
  return pods.sort((a, b) => ((a.metadata.creationTimestamp ?? '') < (b.metadata.creationTimestamp ?? '') ? -1 : 1));
}

/** Counts for the status. */
export function daemonStatus(
  set: DaemonSetObject,
  nodes: readonly NodeObject[],
  pods: readonly PodObject[],
  hash: string,
  nowMs: number,
): NonNullable<DaemonSet['status']> {
  const minReady = set.spec?.minReadySeconds ?? 0;
  let current = 0;
  let desired = 0;
  let misscheduled = 0;
  let ready = 0;
  let updated = 0;
  let available = 0;
  for (const node of nodes) {
    const here = pods.filter((pod) => nodeOf(pod) === node.metadata.name);
    if (daemonFits(set, node).run) {
      desired++;
      const [pod] = oldestFirst(
        here.filter((one) => !terminating(one)).length > 0 ? here.filter((one) => !terminating(one)) : [...here],
      );
      if (pod === undefined) continue;
      current++;
      if (pod.status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True')) {
        ready++;
        if (isAvailable(pod, minReady, nowMs)) available++;
      }
      if (here.some((one) => hashOf(one) === hash)) updated++;
    } else if (here.length > 0) misscheduled++;
  }
  return {
    currentNumberScheduled: current,
    desiredNumberScheduled: desired,
    numberMisscheduled: misscheduled,
    numberReady: ready,
    updatedNumberScheduled: updated,
    numberAvailable: available,
    numberUnavailable: desired - available,
    observedGeneration: set.metadata.generation ?? 0,
  };
}
