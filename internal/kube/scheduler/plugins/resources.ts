import { maxScore, type Plugin } from '../framework.ts';
import { podRequests } from '../node-info.ts';

/** Room for the pod's requests; prefers the node with the most room left (upstream's LeastAllocated over cpu and memory). */
export const nodeResourcesFit: Plugin = {
  name: 'NodeResourcesFit',
  filter: (pod, node) => {
    if (node.podCount + 1 > node.allocatable('pods')) return { reason: 'Too many pods' };
    for (const [name, value] of podRequests(pod)) {
      if (value === 0) continue;
      if (value > node.allocatable(name) - node.requested(name))
        return { reason: `Insufficient ${name}`, unresolvable: value > node.allocatable(name) };
    }
    return undefined;
  },
  score: (pod, node) => {
    const requests = podRequests(pod);
    const scores = ['cpu', 'memory'].map((name) => {
      const allocatable = node.allocatable(name);
      if (allocatable === 0) return 0;
      return Math.max(0, ((allocatable - node.requested(name) - (requests.get(name) ?? 0)) / allocatable) * maxScore);
    });
    return Math.round((scores[0]! + scores[1]!) / 2);
  },
};

/** Holds back what cannot be honoured yet, instead of ignoring it. */
export const unsupportedConstraints: Plugin = {
  name: 'UnsupportedConstraints',
  preFilter: (pod) => {
    const affinity = pod.spec?.affinity;
    if (affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.length)
      return { reason: 'required podAffinity is not supported by this scheduler', unresolvable: true };
    if (affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.length)
      return { reason: 'required podAntiAffinity is not supported by this scheduler', unresolvable: true };
    if (pod.spec?.topologySpreadConstraints?.some((one) => one.whenUnsatisfiable === 'DoNotSchedule'))
      return {
        reason: 'topologySpreadConstraints with DoNotSchedule are not supported by this scheduler',
        unresolvable: true,
      };
    return undefined;
  },
};
