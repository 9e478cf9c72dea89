import type { Deployment, ReplicaSet } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';

/** How a Deployment moves replicas between its ReplicaSets, without I/O (kube-controller-manager's deployment/rolling.go, sync.go). */

export type DeploymentObject = Deployment & KubeObject;
export type ReplicaSetObject = ReplicaSet & KubeObject;

export const templateHashLabel = 'pod-template-hash';

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
  if (deployment.spec?.paused) return scalePaused(replicas, deployment, current, active);
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

/** A paused deployment that is scaled shares the change out in proportion. */
function scalePaused(
  replicas: number,
  deployment: DeploymentObject,
  current: ReplicaSetObject | undefined,
  active: readonly ReplicaSetObject[],
): Scaling[] {
  const sets = [...(current && wantedOf(current) > 0 ? [current] : []), ...active];
  if (sets.length === 0) return current && replicas > 0 ? [{ set: current, to: replicas }] : [];
  const total = sets.reduce((sum, set) => sum + wantedOf(set), 0);
  const allowed =
    replicas === 0
      ? 0
      : sets.length === 1
        ? replicas
        : replicas + (deployment.spec?.strategy?.type === 'Recreate' ? 0 : rollingBounds(deployment).maxSurge);
  if (total === allowed || (sets.length > 1 && total >= replicas && total <= allowed)) return [];
  let left = allowed;
  return sets.map((set, index) => {
    const to = index === sets.length - 1 ? left : Math.min(left, Math.round((wantedOf(set) * allowed) / total));
    left -= to;
    return { set, to };
  });
}
