import { type Clock, sleep } from '../base/clock.ts';
import { errorCode } from '../base/errors.ts';
import { failure } from '../kube/machinery/status.ts';
import type { Cluster } from '../store/api.ts';
import { decideMember, type JoiningMember } from '../store/joining-member.ts';

/** A change of the members waits for the one before it, and for a leader. */
const transient: ReadonlySet<string | undefined> = new Set([
  ...['UNHEALTHY_CLUSTER', 'NOT_LEADER', 'NO_LEADER', 'LEADER_CHANGED', 'TIMEOUT'],
]);
const attempts = 12;
const retryMs = 1000;

/** Makes a joining server a member of the store's group, as a learner at first. Resolves with its id. Throws 409, 410 and 503 in words. */
export async function admitMember(cluster: Cluster, server: JoiningMember, clock: Clock): Promise<bigint> {
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
