import type { NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration } from '../../api/types.ts';
import { maxScore, type Plugin } from '../framework.ts';
import { hostPorts, type NodeInfo } from '../node-info.ts';

/** Plug-ins about what a node is: cordoned, named, tainted, labelled, and which of its ports are free. */

const unschedulableTaint: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

/** Whether a toleration covers a taint (core/v1 helper ToleratesTaint). */
export function tolerates(toleration: Toleration, taint: Taint): boolean {
  if (toleration.effect && toleration.effect !== taint.effect) return false;
  if (toleration.key && toleration.key !== taint.key) return false;
  if ((toleration.operator ?? 'Equal') === 'Exists') return true;
  return toleration.key !== undefined && toleration.key !== '' && (toleration.value ?? '') === (taint.value ?? '');
}

const tolerated = (pod: Pod, taint: Taint): boolean =>
  (pod.spec?.tolerations ?? []).some((toleration) => tolerates(toleration, taint));

export const nodeUnschedulable: Plugin = {
  name: 'NodeUnschedulable',
  filter: (pod, node) =>
    node.node.spec?.unschedulable && !tolerated(pod, unschedulableTaint)
      ? { reason: 'node(s) were unschedulable', unresolvable: true }
      : undefined,
};

export const nodeName: Plugin = {
  name: 'NodeName',
  filter: (pod, node) =>
    pod.spec?.nodeName && pod.spec.nodeName !== node.name
      ? { reason: "node(s) didn't match the requested node name", unresolvable: true }
      : undefined,
};

export const taintToleration: Plugin = {
  name: 'TaintToleration',
  weight: 3,
  filter: (pod, node) => {
    const taint = (node.node.spec?.taints ?? []).find(
      (one) => one.effect !== 'PreferNoSchedule' && !tolerated(pod, one),
    );
    return taint ? { reason: `node(s) had untolerated taint(s)`, unresolvable: true } : undefined;
  },
  score: (pod, node) => {
    const bad = (node.node.spec?.taints ?? []).filter(
      (one) => one.effect === 'PreferNoSchedule' && !tolerated(pod, one),
    ).length;
    return Math.max(0, maxScore - bad * 25);
  },
};

function matchesRequirement(requirement: NodeSelectorRequirement, value: string | undefined): boolean {
  const values = requirement.values ?? [];
  switch (requirement.operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return value !== undefined && /^-?\d+$/.test(value) && Number(value) > Number(values[0]);
    case 'Lt':
      return value !== undefined && /^-?\d+$/.test(value) && Number(value) < Number(values[0]);
  }
}

/** Whether a node fulfils a term; an empty term matches nothing. */
export function matchesTerm(
  term: NodeSelectorTerm,
  node: { metadata: { name?: string; labels?: Record<string, string> } },
): boolean {
  const expressions = term.matchExpressions ?? [];
  const fields = term.matchFields ?? [];
  if (expressions.length === 0 && fields.length === 0) return false;
  return (
    expressions.every((one) => matchesRequirement(one, node.metadata.labels?.[one.key])) &&
    fields.every((one) => matchesRequirement(one, one.key === 'metadata.name' ? node.metadata.name : undefined))
  );
}

export const nodeAffinity: Plugin = {
  name: 'NodeAffinity',
  weight: 2,
  filter: (pod, { node }) => {
    const selector = Object.entries(pod.spec?.nodeSelector ?? {});
    const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
    const fits =
      selector.every(([key, value]) => node.metadata.labels?.[key] === value) &&
      (required === undefined || required.nodeSelectorTerms.some((term) => matchesTerm(term, node)));
    return fits ? undefined : { reason: "node(s) didn't match Pod's node affinity/selector", unresolvable: true };
  },
  score: (pod, { node }) => {
    const preferred = pod.spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
    const total = preferred.reduce((sum, one) => sum + one.weight, 0);
    const reached = preferred
      .filter((one) => matchesTerm(one.preference, node))
      .reduce((sum, one) => sum + one.weight, 0);
    return total === 0 ? 0 : Math.round((reached / total) * maxScore);
  },
};

export const nodePorts: Plugin = {
  name: 'NodePorts',
  filter: (pod, node: NodeInfo) =>
    hostPorts(pod).some((port) => node.portTaken(port))
      ? { reason: "node(s) didn't have free ports for the requested pod ports" }
      : undefined,
};
