import type { Clock } from '../../base/clock.ts';
import { errorCode, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Node } from '../../kube/api/types.ts';
import type { KubeClient, KubeObject } from '../../kube/client/api.ts';
import { Informer } from '../../kube/client/informer.ts';
import { nodesRef } from '../../kube/client/resources.ts';
import { createWorkQueue } from '../../kube/client/workqueue.ts';
import { isStatus } from '../../kube/machinery/status.ts';
import type { Cluster, Member } from '../../store/api.ts';

/** A Node of a server goes when the store's group has let its member go. */
export const memberFinalizer = 'appliance/store-member';
/** The members change without any Node: they are looked at again so often. */
const againMs = 10_000;

type ApiNode = Node & KubeObject;

export type NodeStep =
  | { readonly do: 'nothing' }
  /** The Node may not go before its member. */
  | { readonly do: 'mark' }
  /** Removes the member, then lets the Node go. */
  | { readonly do: 'remove'; readonly member: bigint }
  | { readonly do: 'release' };

/** What is to be done about a Node, as the members of the store are. */
export function nodeStep(node: ApiNode, members: readonly Member[]): NodeStep {
  const { deletionTimestamp, finalizers = [], name } = node.metadata;
  const held = finalizers.includes(memberFinalizer);
  const member = members.find((one) => one.node === name);
  if (deletionTimestamp) {
    if (!held) return { do: 'nothing' };
    // The last server cannot be without its store: its node registers itself again.
    return member && members.length > 1 ? { do: 'remove', member: member.id } : { do: 'release' };
  }
  if (member) return { do: held ? 'nothing' : 'mark' };
  return { do: held ? 'release' : 'nothing' };
}

/**
 * Keeps Nodes and members of the store together: whose Node is deleted is no member any more. Without a cluster (a real etcd keeps the data now) Nodes are let go
 * of.
 */
export function keepServerNodes(options: {
  client: KubeClient;
  cluster: Cluster | undefined;
  clock: Clock;
  log: Logger;
}): {
  stop(): Promise<void>;
} {
  const { client, clock, cluster, log } = options;
  const stopping = new AbortController();
  const nodes = new Informer<ApiNode>({ client, resource: nodesRef, clock, log });
  const queue = createWorkQueue({ name: 'server-nodes', clock, log, workers: 1, reconcile });
  const add = (node: ApiNode): void => queue.add(node.metadata.name);
  nodes.handle({ onAdd: add, onUpdate: add });
  const again = (): void => {
    if (stopping.signal.aborted) return;
    nodes.list().forEach(add);
    clock.after(againMs, again);
  };
  clock.after(againMs, again);
  const running = nodes.run(stopping.signal);

  async function reconcile(name: string): Promise<void> {
    const node = nodes.get(name);
    if (!node || stopping.signal.aborted) return;
    const step = nodeStep(node, cluster?.members() ?? []);
    if (step.do === 'nothing') return;
    if (step.do === 'remove') {
      await removeMember(name, step.member);
    }
    const { finalizers = [], resourceVersion } = node.metadata;
    const others = finalizers.filter((one) => one !== memberFinalizer);
    const marked = step.do === 'mark';
    try {
      await client.patch(nodesRef, name, undefined, 'merge', {
        metadata: {
          resourceVersion,
          finalizers: marked ? [...others, memberFinalizer] : others,
        },
      });
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
    }
  }

  async function removeMember(node: string, id: bigint): Promise<void> {
    try {
      await cluster!.removeMember(id);
      log.info('the node is deleted: its member of the store is removed', { node });
    } catch (error) {
      const voters = cluster!.members().filter(({ learner }) => !learner);
      const only = voters.length === 1 && voters[0]!.id === id;
      if (errorCode(error) === 'MEMBER_NOT_FOUND') return;
      if (errorCode(error) !== 'NOT_ENOUGH_MEMBERS' || !only) throw error;
      log.warn(
        'the node is deleted, but its server is the only one that has all of the store: it registers itself again',
        {
          node,
          error: errorText(error),
        },
      );
    }
  }

  return {
    stop: async () => {
      stopping.abort();
      queue.stop();
      await running;
    },
  };
}
