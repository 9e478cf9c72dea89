import type { Pod, TopologySpreadConstraint } from '../../api/types.ts';
import { type LabelSelector, labelSelectorOf, matchesLabels } from '../../machinery/selectors.ts';
import { maxScore, type Plugin, type Rejection } from '../framework.ts';
import type { NodeInfo } from '../node-info.ts';
import { nodeAffinity, taintToleration } from './node.ts';

interface Constraint {
  key: string;
  maxSkew: number;
  hard: boolean;
  selector: LabelSelector;
  /** Matching pods by the value of the key. */
  counts: Map<string, number>;
  /** The least of them, 0 while there are fewer domains than asked for. */
  least: number;
  /** 1 when the newcomer itself matches. */
  self: number;
}

/** Even spreading over domains such as nodes and zones (kube-scheduler's podtopologyspread). Only the constraints that a pod states. */
export function podTopologySpread(): Plugin {
  let constraints: Constraint[] = [];
  let worst = 0;

  const read = (
    pod: Pod,
    given: TopologySpreadConstraint,
    nodes: readonly NodeInfo[],
    keys: readonly string[],
  ): Constraint => {
    const selector = labelSelectorOf(given.labelSelector);
    const requirements = [...selector.requirements];
    for (const key of given.matchLabelKeys ?? []) {
      const value = pod.metadata.labels?.[key];
      if (value !== undefined) requirements.push({ key, operator: 'in', values: [value] });
    }
    const merged: LabelSelector = { requirements, nothing: selector.nothing };
    const counts = new Map<string, number>();
    for (const node of nodes) {
      const value = node.labels[given.topologyKey];
      if (value === undefined || keys.some((key) => node.labels[key] === undefined)) continue;
      if ((given.nodeAffinityPolicy ?? 'Honor') === 'Honor' && nodeAffinity.filter!(pod, node) !== undefined) continue;
      if ((given.nodeTaintsPolicy ?? 'Ignore') === 'Honor' && taintToleration.filter!(pod, node) !== undefined)
        continue;
      let count = counts.get(value) ?? 0;
      for (const other of node.pods())
        if (
          other.metadata.namespace === pod.metadata.namespace &&
          other.metadata.deletionTimestamp === undefined &&
          matchesLabels(merged, other.metadata.labels)
        )
          count++;
      counts.set(value, count);
    }
    const enough = counts.size >= (given.minDomains ?? 1);
    return {
      key: given.topologyKey,
      maxSkew: given.maxSkew,
      hard: given.whenUnsatisfiable === 'DoNotSchedule',
      selector: merged,
      counts,
      least: enough && counts.size > 0 ? Math.min(...counts.values()) : 0,
      self: matchesLabels(merged, pod.metadata.labels) ? 1 : 0,
    };
  };
  const softSum = (node: NodeInfo): number =>
    constraints
      .filter((one) => !one.hard)
      .reduce((sum, one) => sum + (one.counts.get(node.labels[one.key] ?? '') ?? 0), 0);

  return {
    name: 'PodTopologySpread',
    weight: 2,
    preFilter(pod, nodes) {
      const given = pod.spec?.topologySpreadConstraints ?? [];
      const keysOf = (when: string): string[] =>
        given.filter((one) => one.whenUnsatisfiable === when).map((one) => one.topologyKey);
      constraints = given.map((one) => read(pod, one, nodes, keysOf(one.whenUnsatisfiable)));
      worst = constraints.length === 0 ? 0 : Math.max(0, ...nodes.map(softSum));
      return undefined;
    },
    filter(_pod, node): Rejection | undefined {
      for (const one of constraints) {
        if (!one.hard) continue;
        const value = node.labels[one.key];
        if (value === undefined)
          return {
            reason: "node(s) didn't match pod topology spread constraints (missing required label)",
            unresolvable: true,
          };
        if ((one.counts.get(value) ?? 0) + one.self - one.least > one.maxSkew)
          return { reason: "node(s) didn't match pod topology spread constraints" };
      }
      return undefined;
    },
    score(_pod, node) {
      if (worst === 0) return 0;
      return Math.round(((worst - softSum(node)) / worst) * maxScore);
    },
  };
}
