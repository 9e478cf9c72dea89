import type { Node } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';
import { nodesRef } from '../client/resources.ts';
import type { ControllerContext } from './context.ts';
import { freePodCIDR } from './node-ipam-plan.ts';
import { unlessGone } from './unless-gone.ts';

type NodeObject = Node & KubeObject;

/** Gives every node a part of the pod network (`spec.podCIDR`), as upstream's range allocator does; what a node has it keeps. */
export function nodeIpamController(podCIDR: string): (context: ControllerContext) => void {
  return (context) => {
    const { client, log } = context;
    const nodes = context.informers.of<NodeObject>(nodesRef);
    const recorder = context.recorder('cidrAllocator');
    // One at a time: two that choose together would choose the same.
    const queue = context.queue('node-ipam', reconcile, 1);
    const waiting = new Set<string>();
    const onNode = (node: NodeObject): void => {
      if (!node.spec?.podCIDR) queue.add(node.metadata.name);
    };
    nodes.handle({
      onAdd: onNode,
      onUpdate: onNode,
      onDelete: (node) => {
        waiting.delete(node.metadata.name);
        for (const name of waiting) queue.add(name);
      },
    });

    async function reconcile(name: string): Promise<void> {
      if (!nodes.get(name) || nodes.get(name)?.spec?.podCIDR) return;
      // A cache may be behind what this controller itself has given away.
      const all = (await client.list<NodeObject>(nodesRef)).items;
      const node = all.find((one) => one.metadata.name === name);
      if (!node || node.spec?.podCIDR) return;
      const free = freePodCIDR(
        podCIDR,
        all.flatMap((one) => one.spec?.podCIDRs ?? (one.spec?.podCIDR ? [one.spec.podCIDR] : [])),
      );
      if (free === undefined) {
        waiting.add(name);
        log.warn('no pod network is free', { node: name, cluster: podCIDR });
        recorder.record(
          { apiVersion: 'v1', kind: 'Node', name, uid: name },
          'Normal',
          'CIDRNotAvailable',
          `Node ${name} status is now: CIDRNotAvailable`,
        );
        return;
      }
      waiting.delete(name);
      await unlessGone(
        client.patch(nodesRef, name, undefined, 'merge', {
          metadata: { uid: node.metadata.uid, resourceVersion: node.metadata.resourceVersion },
          spec: { podCIDR: free, podCIDRs: [free] },
        }),
      );
    }
  };
}
