import { describe, expect, test } from 'vitest';
import { systemClock } from '../base/system.ts';
import type { Cluster, Member } from '../store/api.ts';
import { ClusterError } from '../store/errors.ts';
import { decideMember, type JoiningMember, type MemberDecision } from '../store/joining-member.ts';
import { admitMember } from './server-members.ts';

const member = (id: bigint, more: Partial<Member> = {}): Member => ({
  id,
  name: `pi-${id}`,
  node: `pi-${id}`,
  peerUrls: [`https://10.0.0.${id}:2380`],
  clientUrls: [],
  learner: false,
  ...more,
});
const waiting = { name: '', learner: true };
const asks = (more: Partial<JoiningMember> = {}): JoiningMember => ({
  node: 'pi-2',
  peerUrl: 'https://10.0.0.2:2380',
  member: undefined,
  ...more,
});

describe('which member a joining server is', () => {
  test.each<[string, Member[], JoiningMember, MemberDecision]>([
    ['a new one', [member(1n)], asks(), { do: 'add' }],
    ['one that asks again after a crash', [member(1n), member(2n, waiting)], asks(), { do: 'keep', id: 2n }],
    ['one that has its store and joins again', [member(1n), member(2n)], asks({ member: 2n }), { do: 'keep', id: 2n }],
    ['one that lost its store: the old member goes', [member(1n), member(2n)], asks(), { do: 'replace', id: 2n }],
    ['a store whose member was removed', [member(1n)], asks({ member: 2n }), { do: 'refuse' }],
    [
      'a store of an earlier member of this node',
      [member(1n), member(2n), member(7n)],
      asks({ member: 7n }),
      { do: 'refuse' },
    ],
    [
      'one that was added by hand for its address',
      [member(1n), { ...member(5n, waiting), node: undefined as never, peerUrls: ['https://10.0.0.2:2380'] }],
      asks(),
      { do: 'keep', id: 5n },
    ],
    [
      'one added by hand for another address is another one',
      [member(1n), { ...member(5n, waiting), node: undefined as never }],
      asks(),
      { do: 'add' },
    ],
  ])('%s', (_what, members, joining, expected) => {
    expect(decideMember(members, joining)).toEqual(expected);
  });

  test('the group is asked again while it changes; a lost store is replaced under another id', async () => {
    const calls: string[] = [];
    let members = [member(1n), member(2n)];
    let busy = 1;
    const cluster = {
      members: () => members,
      removeMember: async (id: bigint) => {
        calls.push(`remove ${id}`);
        members = members.filter((one) => one.id !== id);
      },
      addMember: async (peerUrls: readonly string[], _learner: boolean, node: string) => {
        if (busy-- > 0) throw new ClusterError('UNHEALTHY_CLUSTER', 'another change is under way');
        calls.push(`add ${peerUrls.join()} for ${node}`);
        return member(9n);
      },
    } as unknown as Cluster;
    const clock = { ...systemClock, after: (_ms: number, fn: () => void) => systemClock.after(0, fn) };
    expect(await admitMember(cluster, asks(), clock)).toBe(9n);
    expect(calls).toEqual(['remove 2', 'add https://10.0.0.2:2380 for pi-2']);
    await expect(admitMember(cluster, asks({ member: 2n }), clock)).rejects.toThrow('was removed');
  });
});
