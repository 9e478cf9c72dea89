import { maxScore, type Plugin } from '../framework.ts';
import { podRequests, probableUse } from '../node-info.ts';

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
    const use = probableUse(pod, podRequests(pod));
    const scores = (['cpu', 'memory'] as const).map((name) => {
      const allocatable = node.allocatable(name);
      if (allocatable === 0) return 0;
      return Math.max(0, ((allocatable - node.probable(name) - use[name]) / allocatable) * maxScore);
    });
    return Math.round((scores[0]! + scores[1]!) / 2);
  },
};
