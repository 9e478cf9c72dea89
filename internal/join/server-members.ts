import { type Clock, sleep } from '../base/clock.ts';
import { errorCode } from '../base/errors.ts';
import { failure } from '../kube/machinery/status.ts';
import type { Cluster, Member } from '../store/api.ts';

/** A machine that asks to keep the store as one more server. */
export interface JoiningServer {
  readonly node: string;
  /** Where its store will be reached, `https://host:port`. */
  readonly peerUrl: string;
  /** The member that its store belongs to, when it has one already. */
  readonly member: bigint | undefined;
}

export type MemberDecision =
  /** It is this member already, or was going to be. */
  | { readonly do: 'keep'; readonly id: bigint }
  /** Its store belongs to nobody any more: it must be put aside, and the machine asks without it. */
  | { readonly do: 'refuse' }
  | { readonly do: 'add' }
  /** The member that this node was has lost its store: never again by that id, for it may have voted. */
  | { readonly do: 'replace'; readonly id: bigint };

const started = ({ name }: Member): boolean => name !== '';

/** Which member a joining server is. Repeated after a crash on either side it decides the same. */
export function decideMember(members: readonly Member[], { node, peerUrl, member }: JoiningServer): MemberDecision {
  const own = members.find((one) => one.node === node);
  if (member !== undefined)
    return members.some(({ id }) => id === member) && (own === undefined || own.id === member)
      ? { do: 'keep', id: member }
      : { do: 'refuse' };
  if (own) return started(own) ? { do: 'replace', id: own.id } : { do: 'keep', id: own.id };
  // Added by hand for this address (`etcdctl member add`), and not started yet.
  const waiting = members.find((one) => !started(one) && one.node === undefined && one.peerUrls.includes(peerUrl));
  return waiting ? { do: 'keep', id: waiting.id } : { do: 'add' };
}

/** A change of the members waits for the one before it, and for a leader. */
const transient: ReadonlySet<string | undefined> = new Set([
  ...['LEARNER_NOT_READY', 'NOT_LEADER', 'NO_LEADER', 'LEADER_CHANGED', 'TIMEOUT'],
]);
const attempts = 12;
const retryMs = 1000;

/** Makes a joining server a member of the store's group, as a learner at first. Resolves with its id. Throws 409, 410 and 503 in words. */
export async function admitMember(cluster: Cluster, server: JoiningServer, clock: Clock): Promise<bigint> {
  for (let attempt = 1; ; attempt++) {
    try {
      const decision = decideMember(cluster.members(), server);
      if (decision.do === 'keep') {
        const known = cluster.members().find(({ id }) => id === decision.id);
        if (known && !known.peerUrls.includes(server.peerUrl))
          await cluster.updateMember(decision.id, [server.peerUrl]);
        return decision.id;
      }
      if (decision.do === 'refuse')
        throw failure(410, 'Gone', `the store of ${server.node} is of a member that was removed`, {});
      if (decision.do === 'replace') await cluster.removeMember(decision.id);
      return (await cluster.addMember([server.peerUrl], true, server.node)).id;
    } catch (error) {
      const code = errorCode(error);
      if (code === 'PEER_URL_EXISTS')
        throw failure(409, 'Conflict', `another server of the cluster has the address ${server.peerUrl}`, {});
      if (!transient.has(code)) throw error;
      if (attempt === attempts)
        throw failure(
          503,
          'ServiceUnavailable',
          `the servers cannot agree on one more: ${(error as Error).message}`,
          {},
        );
      await sleep(clock, retryMs);
    }
  }
}
