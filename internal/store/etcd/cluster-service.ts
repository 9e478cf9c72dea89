import type { Member } from '../api.ts';
import { ClusterError } from '../errors.ts';
import type { Method } from '../grpc/service.ts';
import { longBits, signedBigint } from '../mvccpb.ts';
import type { FaceContext } from './context.ts';
import { codec, type Wide } from './messages.ts';

const messages = {
  add: codec<{ peerURLs: string[]; isLearner: boolean }>('MemberAddRequest'),
  added: codec('MemberAddResponse'),
  id: codec<{ ID: Wide }>('MemberRemoveRequest'),
  update: codec<{ ID: Wide; peerURLs: string[] }>('MemberUpdateRequest'),
  members: codec('MemberListResponse'),
};

/** `etcdserverpb.Cluster`. */
export function clusterService(context: FaceContext): Map<string, Method> {
  const { store, unary, headerFields } = context;
  const members = (): Uint8Array =>
    messages.members.encode({ header: headerFields(), members: store.cluster.members().map(memberFields) });
  return new Map<string, Method>([
    [
      'MemberAdd',
      unary(async (bytes) => {
        const { peerURLs, isLearner } = messages.add.decode(bytes);
        checkUrls(peerURLs);
        const member = await store.cluster.addMember(peerURLs, isLearner);
        return messages.added.encode({
          header: headerFields(),
          member: memberFields(member),
          members: store.cluster.members().map(memberFields),
        });
      }),
    ],
    [
      'MemberRemove',
      unary(async (bytes) => {
        await store.cluster.removeMember(memberId(messages.id.decode(bytes).ID));
        return members();
      }),
    ],
    [
      'MemberUpdate',
      unary(async (bytes) => {
        const { ID, peerURLs } = messages.update.decode(bytes);
        checkUrls(peerURLs);
        await store.cluster.updateMember(memberId(ID), peerURLs);
        return members();
      }),
    ],
    ['MemberList', unary(async () => members())],
    [
      'MemberPromote',
      unary(async (bytes) => {
        await store.cluster.promoteMember(memberId(messages.id.decode(bytes).ID));
        return members();
      }),
    ],
  ]);
}

export function memberId(id: Wide): bigint {
  return BigInt.asUintN(64, signedBigint(id));
}

function memberFields({ id, name, peerUrls, clientUrls, learner }: Member): object {
  return { ID: longBits(id), name, peerURLs: [...peerUrls], clientURLs: [...clientUrls], isLearner: learner };
}

/** As etcd's types.NewURLs: scheme, host and port, no path. */
function checkUrls(urls: readonly string[]): void {
  const valid = (text: string): boolean => /^https?:\/\/(\[[0-9a-fA-F:]+\]|[^/:[\]]+):\d{1,5}$/.test(text);
  if (urls.length === 0 || !urls.every(valid))
    throw new ClusterError('BAD_MEMBER_URLS', `peer URLs ${urls.join()}: expected such as https://10.0.0.2:2380`);
}
