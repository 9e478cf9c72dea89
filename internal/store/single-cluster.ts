import type { Cluster, Member } from './api.ts';
import { ClusterError } from './errors.ts';
import type { Identity } from './identity.ts';

/** A store that is kept by one member only, which always leads. */
export function singleCluster(
  identity: Identity,
  member: { name: string; peerUrls: readonly string[]; clientUrls: readonly string[] },
  commitIndex: () => number,
): Cluster {
  const self: Member = { id: identity.memberId, learner: false, ...member };
  const known = (id: bigint): void => {
    if (id !== self.id) throw new ClusterError('MEMBER_NOT_FOUND', `there is no member ${id.toString(16)}`);
  };
  return {
    ...identity,
    leaderId: identity.memberId,
    term: 1,
    get commitIndex() {
      return commitIndex();
    },
    members: () => [self],
    addMember: async (peerUrls) => {
      if (peerUrls.some((url) => self.peerUrls.includes(url)))
        throw new ClusterError('PEER_URL_EXISTS', `${self.name} has one of these peer URLs already`);
      throw new ClusterError('NOT_ENOUGH_MEMBERS', 'this store is kept by one member only');
    },
    removeMember: async (id) => {
      known(id);
      throw new ClusterError('NOT_ENOUGH_MEMBERS', 'the only member cannot be removed');
    },
    updateMember: async (id) => {
      known(id);
      throw new ClusterError('NOT_ENOUGH_MEMBERS', 'the peer URLs of this store come from its configuration');
    },
    promoteMember: async (id) => {
      known(id);
      throw new ClusterError('NOT_LEARNER', `member ${id.toString(16)} is no learner`);
    },
    moveLeader: async (to) => {
      if (to !== self.id) throw new ClusterError('BAD_LEADER_TRANSFEREE', `there is no member ${to.toString(16)}`);
    },
  };
}
