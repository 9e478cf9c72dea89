import type { Pod } from '../api/types.ts';
import type { NodeInfo } from './node-info.ts';

/** Why a pod does not fit a node, in upstream's words; `unresolvable` when no change to other pods could help. */
export interface Rejection {
  reason: string;
  unresolvable?: boolean;
}

/** The largest score; upstream's scale. */
export const maxScore = 100;

/** One concern of scheduling (kube-scheduler's framework, KEP-624). Filters and scores are pure. */
export interface Plugin {
  readonly name: string;
  /**
   * A reason why the pod cannot be scheduled at all now; asked once a pod, before nodes are looked at. What a plug-in works out here about all nodes it may
   * keep for the filters and scores of the same pod: a decision is not interrupted.
   */
  preFilter?(pod: Pod, nodes: readonly NodeInfo[]): Rejection | undefined;
  /** Why the pod cannot run on this node; undefined when it can. */
  filter?(pod: Pod, node: NodeInfo): Rejection | undefined;
  /** How well the node suits, 0 to `maxScore`. */
  score?(pod: Pod, node: NodeInfo): number;
  /** How much its score counts; default 1. */
  readonly weight?: number;
  /** What must be done before the pod is bound to the node; a throw takes the pod back to the queue. */
  preBind?(pod: Pod, nodeName: string, signal: AbortSignal): Promise<void>;
}

/** Order of pods that wait: higher priority first, then who came first (upstream's PrioritySort). */
export function sortsBefore(a: { pod: Pod; addedMs: number }, b: { pod: Pod; addedMs: number }): boolean {
  const priorityA = a.pod.spec?.priority ?? 0;
  const priorityB = b.pod.spec?.priority ?? 0;
  return priorityA !== priorityB ? priorityA > priorityB : a.addedMs < b.addedMs;
}
