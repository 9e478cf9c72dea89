import type { Deployment, ReplicaSet } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';

/** How a Deployment moves replicas between its ReplicaSets, without I/O (kube-controller-manager's deployment/rolling.go, sync.go). */

export type DeploymentObject = Deployment & KubeObject;
export type ReplicaSetObject = ReplicaSet & KubeObject;

export const templateHashLabel = 'pod-template-hash';
export const desiredAnnotation = 'deployment.kubernetes.io/desired-replicas';
export const maxAnnotation = 'deployment.kubernetes.io/max-replicas';

/** Pods that a percentage or a number means; percentages of surge round up, of unavailability down. */
export function intOrPercent(value: unknown, total: number, roundUp: boolean): number {
  if (typeof value === 'number') return value;
  const match = /^(\d+)%$/.exec(String(value));
  if (!match) return 0;
  const exact = (Number(match[1]) * total) / 100;
  return roundUp ? Math.ceil(exact) : Math.floor(exact);
}

/** The bounds of a rolling update; both zero would never move, so one pod may be unavailable then. */
export function rollingBounds(deployment: Deployment): { maxSurge: number; maxUnavailable: number } {
  const replicas = deployment.spec?.replicas ?? 1;
  const rolling = deployment.spec?.strategy?.rollingUpdate;
  const maxSurge = intOrPercent(rolling?.maxSurge ?? '25%', replicas, true);
  const maxUnavailable = intOrPercent(rolling?.maxUnavailable ?? '25%', replicas, false);
  return maxSurge === 0 && maxUnavailable === 0 ? { maxSurge, maxUnavailable: 1 } : { maxSurge, maxUnavailable };
}

const wantedOf = (set: ReplicaSet): number => set.spec?.replicas ?? 1;
const availableOf = (set: ReplicaSet): number => set.status?.availableReplicas ?? 0;

export interface Scaling {
  set: ReplicaSetObject;
  to: number;
}

/** The next changes of replica counts; `oldPods` are pods of old sets that still exist. */
export function planDeployment(
  deployment: DeploymentObject,
  current: ReplicaSetObject | undefined,
  old: readonly ReplicaSetObject[],
  oldPods: number,
): Scaling[] {
  const replicas = deployment.spec?.replicas ?? 1;
  const active = old.filter((set) => wantedOf(set) > 0);
  if (deployment.spec?.paused || wasScaled(deployment, [...(current ? [current] : []), ...old]))
    return planScaling(deployment, current, old);
  if (!current) return [];
  if (deployment.spec?.strategy?.type === 'Recreate') {
    if (active.length > 0) return active.map((set) => ({ set, to: 0 }));
    return oldPods > 0 || wantedOf(current) === replicas ? [] : [{ set: current, to: replicas }];
  }
  const { maxSurge, maxUnavailable } = rollingBounds(deployment);
  const total = [current, ...old].reduce((sum, set) => sum + wantedOf(set), 0);

  if (wantedOf(current) > replicas) return [{ set: current, to: replicas }];
  if (wantedOf(current) < replicas) {
    const room = replicas + maxSurge - total;
    if (room > 0) return [{ set: current, to: wantedOf(current) + Math.min(room, replicas - wantedOf(current)) }];
  }

  const oldTotal = active.reduce((sum, set) => sum + wantedOf(set), 0);
  if (oldTotal === 0) return [];
  const minAvailable = replicas - maxUnavailable;
  const changes = new Map<ReplicaSetObject, number>();
  // Pods that are not available can go first: they do not count.
  let removable = total - minAvailable - (wantedOf(current) - availableOf(current));
  if (removable <= 0) return [];
  for (const set of active) {
    const unhealthy = Math.max(0, wantedOf(set) - availableOf(set));
    const less = Math.min(removable, unhealthy);
    if (less > 0) changes.set(set, wantedOf(set) - less);
    removable -= less;
  }
  const available = [current, ...old].reduce((sum, set) => sum + availableOf(set), 0);
  let spare = available - minAvailable;
  for (const set of active) {
    if (spare <= 0) break;
    const now = changes.get(set) ?? wantedOf(set);
    const less = Math.min(now, spare);
    if (less > 0) changes.set(set, now - less);
    spare -= less;
  }
  return [...changes].map(([set, to]) => ({ set, to }));
}

/** What a set's annotation says the deployment wanted when the set was last scaled. */
function desiredOf(set: ReplicaSet): number | undefined {
  const text = set.metadata.annotations?.[desiredAnnotation];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** Whether the deployment was scaled since its sets were: their annotations tell (upstream's isScalingEvent). */
export function wasScaled(deployment: DeploymentObject, sets: readonly ReplicaSetObject[]): boolean {
  const replicas = deployment.spec?.replicas ?? 1;
  return sets.some((set) => wantedOf(set) > 0 && (desiredOf(set) ?? replicas) !== replicas);
}

/** A set's share of a change, by what it had of the largest size that was allowed before. */
function shareOf(set: ReplicaSetObject, deployment: DeploymentObject, left: number): number {
  const replicas = deployment.spec?.replicas ?? 1;
  if (replicas === 0) return Math.max(-wantedOf(set), left);
  const before = Number(set.metadata.annotations?.[maxAnnotation] ?? 0) || (deployment.status?.replicas ?? 0);
  const size =
    before === 0 ? 0 : Math.round((wantedOf(set) * (replicas + rollingBounds(deployment).maxSurge)) / before);
  const share = size - wantedOf(set);
  return left > 0 ? Math.min(share, left) : Math.max(share, left);
}

/**
 * Scales without rolling out: the one active set takes all, several share the change in proportion (upstream's sync.go, scale). For a paused deployment, and
 * for one that was scaled in the middle of a rollout. Sets that keep their size are listed too: their annotations have to follow.
 */
export function planScaling(
  deployment: DeploymentObject,
  current: ReplicaSetObject | undefined,
  old: readonly ReplicaSetObject[],
): Scaling[] {
  const replicas = deployment.spec?.replicas ?? 1;
  const all = [...(current ? [current] : []), ...old].filter((set) => wantedOf(set) > 0);
  if (all.length <= 1) {
    const only = all[0] ?? current ?? old.at(-1);
    return only ? [{ set: only, to: replicas }] : [];
  }
  if (current && wantedOf(current) === replicas && desiredOf(current) === replicas && availableOf(current) === replicas)
    return old.filter((set) => wantedOf(set) > 0).map((set) => ({ set, to: 0 }));
  if (deployment.spec?.strategy?.type === 'Recreate') return [];
  const total = all.reduce((sum, set) => sum + wantedOf(set), 0);
  const change = (replicas === 0 ? 0 : replicas + rollingBounds(deployment).maxSurge) - total;
  const newer = (set: ReplicaSetObject): number => (set === current ? Number.MAX_SAFE_INTEGER : old.indexOf(set));
  // Larger sets first; among equals the newer one grows and the older one shrinks.
  all.sort((a, b) => wantedOf(b) - wantedOf(a) || (change > 0 ? newer(b) - newer(a) : newer(a) - newer(b)));
  const sizes = new Map<ReplicaSetObject, number>();
  let left = change;
  for (const set of all) {
    const share = left === 0 ? 0 : shareOf(set, deployment, left);
    sizes.set(set, wantedOf(set) + share);
    left -= share;
  }
  return all.map((set, index) => ({ set, to: Math.max(0, sizes.get(set)! + (index === 0 ? left : 0)) }));
}
