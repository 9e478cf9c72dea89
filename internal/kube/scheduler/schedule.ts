import type { Pod } from '../api/types.ts';
import type { Plugin } from './framework.ts';
import type { NodeInfo } from './node-info.ts';

export type Decision = { node: string } | { message: string };

/**
 * Picks the node for a pod: the best score among those that no filter refuses, the first by name among equals. Or tells why there is none, in
 * upstream's words (`0/3 nodes are available: 2 Insufficient cpu, 1 Too many pods.`).
 */
export function schedule(pod: Pod, nodes: Iterable<NodeInfo>, plugins: readonly Plugin[]): Decision {
  const all = [...nodes];
  const available = `0/${all.length} nodes are available`;
  if (all.length === 0) return { message: 'no nodes available to schedule pods' };
  for (const plugin of plugins) {
    const rejection = plugin.preFilter?.(pod, all);
    if (rejection) return { message: `${available}: ${rejection.reason}.` };
  }
  const reasons = new Map<string, number>();
  let best: { node: NodeInfo; score: number } | undefined;
  for (const node of all) {
    const rejection = firstRejection(pod, node, plugins);
    if (rejection !== undefined) {
      reasons.set(rejection, (reasons.get(rejection) ?? 0) + 1);
      continue;
    }
    let score = 0;
    for (const plugin of plugins) if (plugin.score) score += plugin.score(pod, node) * (plugin.weight ?? 1);
    if (!best || score > best.score || (score === best.score && node.name < best.node.name)) best = { node, score };
  }
  if (best) return { node: best.node.name };
  const texts = [...reasons].map(([reason, count]) => `${count} ${reason}`).sort();
  return { message: `${available}: ${texts.join(', ')}.` };
}

function firstRejection(pod: Pod, node: NodeInfo, plugins: readonly Plugin[]): string | undefined {
  for (const plugin of plugins) {
    const rejection = plugin.filter?.(pod, node);
    if (rejection) return rejection.reason;
  }
  return undefined;
}
