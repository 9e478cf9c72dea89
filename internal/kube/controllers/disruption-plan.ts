import type { Pod, PodDisruptionBudget } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';
import { parseTime } from '../machinery/time.ts';
import { intOrPercent } from './deployment-plan.ts';
import { isReady } from './pod-control.ts';

/** How many pods of a budget may be disrupted (kube-controller-manager's disruption controller), without I/O. */

export type BudgetObject = PodDisruptionBudget & KubeObject;

/** An eviction that was allowed and whose pod is still there after this time did not happen. */
export const deletionTimeoutMs = 120_000;

export interface BudgetCounts {
  expectedPods: number;
  desiredHealthy: number;
  currentHealthy: number;
  disruptionsAllowed: number;
  disruptedPods: Record<string, string>;
  /** When the oldest entry of disruptedPods is given up; undefined when there is none. */
  recheckMs: number | undefined;
}

/**
 * `scale` is the sum of what the pods' controllers want to have; undefined when a pod has none, which a budget with a percentage or with maxUnavailable
 * cannot be computed for.
 */
export function countBudget(
  budget: BudgetObject,
  pods: readonly Pod[],
  scale: number | undefined,
  nowMs: number,
): BudgetCounts | string {
  const { maxUnavailable, minAvailable } = budget.spec ?? {};
  let expected: number;
  let desired: number;
  if (maxUnavailable !== undefined) {
    if (scale === undefined) return 'found no controllers for pods';
    expected = scale;
    desired = Math.max(0, expected - intOrPercent(maxUnavailable, expected, true));
  } else if (typeof minAvailable === 'string') {
    if (scale === undefined) return 'found no controllers for pods';
    expected = scale;
    desired = intOrPercent(minAvailable, expected, true);
  } else {
    expected = pods.length;
    desired = minAvailable ?? 1;
  }
  const disrupted: Record<string, string> = {};
  let recheckMs: number | undefined;
  for (const [name, since] of Object.entries(budget.status?.disruptedPods ?? {})) {
    const pod = pods.find((one) => one.metadata.name === name);
    if (pod === undefined || pod.metadata.deletionTimestamp) continue;
    const left = (parseTime(since) ?? 0) + deletionTimeoutMs - nowMs;
    if (left <= 0) continue;
    disrupted[name] = since;
    recheckMs = Math.min(recheckMs ?? left, left);
  }
  const healthy = pods.filter(
    (pod) => !pod.metadata.deletionTimestamp && isReady(pod) && disrupted[pod.metadata.name] === undefined,
  ).length;
  return {
    expectedPods: expected,
    desiredHealthy: desired,
    currentHealthy: healthy,
    disruptionsAllowed: expected <= 0 ? 0 : Math.max(0, healthy - desired),
    disruptedPods: disrupted,
    recheckMs,
  };
}
