import { describe, expect, test } from 'vitest';
import { encodeMembership } from '../raft/membership.ts';
import { ClusterError } from './errors.ts';
import {
  changeMembers,
  decodeMembers,
  decodeRecords,
  encodeMembers,
  encodeRecords,
  followMembers,
  type Leader,
  type MemberChange,
  type Membership,
  removal,
} from './members.ts';

const record = (id: bigint) => ({ id, name: `n${id}`, peerUrls: [`https://n${id}:2380`], clientUrls: [] });
const group = (voters: number[], learners: number[] = []): Membership => ({
  configuration: { voters, outgoing: [], learners },
  records: [...voters, ...learners].map((id) => record(BigInt(id))),
  removed: [],
});

/** Member 1 leads and hears everybody but those. */
const hearsAllBut = (...silent: number[]): Leader => ({ id: 1, hears: (id) => !silent.includes(id), ready: [] });
const leader = hearsAllBut();

describe('a change of the members is made to what the leader knows of them', () => {
  test.each<[string, Membership, MemberChange, { ids: bigint[]; voters: number[]; learners: number[] }]>([
    [
      'a new member begins as a learner',
      group([1]),
      { op: 'member-add', id: '2', peerUrls: ['https://n2:2380'] },
      { ids: [1n, 2n], voters: [1], learners: [2] },
    ],
    [
      'a member that tells its name changes nobody’s vote',
      group([1], [3]),
      { op: 'member-update', id: '3', change: { name: 'other' } },
      { ids: [1n, 3n], voters: [1], learners: [3] },
    ],
    [
      'a voter is removed and another one gives up its vote, not the leader',
      group([1, 2, 3]),
      { op: 'member-remove', id: '2' },
      { ids: [1n, 3n], voters: [1], learners: [3] },
    ],
  ])('%s', (_what, membership, change, expected) => {
    const { records, target } = changeMembers(membership, change, leader)!;
    expect({ ids: records.map(({ id }) => id), ...target }).toEqual(expected);
  });

  test.each([
    ['one that is silent gives up its vote first', [1, 2, 3], [2], 3, { voters: [1], learners: [2] }],
    ['nobody has to when an odd number is left', [1, 2], [2], 2, { voters: [1], learners: [] }],
    ['of five', [1, 2, 3, 4, 5], [2, 3], 3, { voters: [1, 4, 5], learners: [2] }],
    ['of five, the lost ones one after the other', [1, 4, 5], [], 4, { voters: [1], learners: [5] }],
  ])('a voter is removed: %s', (_what, voters, silent, removed, target) => {
    expect(removal(group(voters).configuration, removed, hearsAllBut(...silent))).toEqual(target);
  });

  test.each([
    ['the last that answers beside the leader', [1, 2, 3, 4, 5], [2, 3, 4], 5],
    ['the leader, when nobody else answers', [1, 2], [2], 1],
  ])('not removed, because nothing could be decided any more: %s', (_what, voters, silent, removed) => {
    const refused = () => removal(group(voters).configuration, removed, hearsAllBut(...silent));
    expect(refused).toThrow(expect.objectContaining({ code: 'NOT_ENOUGH_MEMBERS' }));
  });

  test('one that is in the group and not among its names is written down when it tells of itself; a stranger is not', () => {
    const nameless: Membership = { ...group([1, 2], [3]), records: [record(1n)] };
    const told = (id: string): MemberChange => ({
      ...{ op: 'member-update', id },
      change: { name: `n${id}`, peerUrls: [`https://n${id}:2380`], clientUrls: [] },
    });
    for (const id of ['2', '3'])
      expect(changeMembers(nameless, told(id), leader)).toEqual({
        records: [record(1n), record(BigInt(id))],
        target: { voters: [1, 2], learners: [3] },
      });
    const notFound = expect.objectContaining({ code: 'MEMBER_NOT_FOUND' });
    expect(() => changeMembers(nameless, told('4'), leader)).toThrow(notFound);
    const byHand: MemberChange = { op: 'member-update', id: '2', change: { peerUrls: ['https://n2:2380'] } };
    expect(() => changeMembers(nameless, byHand, leader)).toThrow(notFound);
    expect(() => changeMembers(nameless, { op: 'member-remove', id: '2' }, leader)).toThrow(notFound);
  });

  test('the only voter is removed: a learner that has caught up gets its vote, others stay as they are', () => {
    const { configuration } = group([1], [2, 3]);
    const ready = { ...hearsAllBut(), ready: [3] };
    expect(removal(configuration, 1, ready)).toEqual({ voters: [3], learners: [2] });
    expect(() => removal(configuration, 1, hearsAllBut())).toThrow(/no other member that has caught up/);
  });

  test('two members have changed addresses with each other: each tells its own, and the other one is not there any more', () => {
    const swapped: MemberChange = {
      op: 'member-update',
      id: '1',
      change: { name: 'n1', peerUrls: ['https://n2:2380'], clientUrls: [] },
    };
    const { records } = changeMembers(group([1, 2, 3]), swapped, leader)!;
    expect(records.map(({ peerUrls }) => peerUrls)).toEqual([['https://n2:2380'], [], ['https://n3:2380']]);
    const byHand: MemberChange = { op: 'member-update', id: '1', change: { peerUrls: ['https://n2:2380'] } };
    expect(() => changeMembers(group([1, 2, 3]), byHand, leader)).toThrow(
      expect.objectContaining({ code: 'PEER_URL_EXISTS' }),
    );
  });

  test('the node of a member is kept, in the log and through what it tells of itself', () => {
    const add: MemberChange = { op: 'member-add', id: '2', peerUrls: ['https://n2:2380'], node: 'pi-2' };
    const { records } = changeMembers(group([1]), add, leader)!;
    expect(decodeRecords(encodeRecords({ records, removed: [] })).records.map(({ id, node }) => [id, node])).toEqual([
      [1n, undefined],
      [2n, 'pi-2'],
    ]);
    const told: MemberChange = { op: 'member-update', id: '2', change: { name: 'pi-2', clientUrls: ['https://c'] } };
    const after = changeMembers({ ...group([1], [2]), records }, told, leader)!.records;
    expect(after[1]).toEqual({
      ...{ id: 2n, name: 'pi-2', node: 'pi-2' },
      ...{ peerUrls: ['https://n2:2380'], clientUrls: ['https://c'] },
    });
  });

  test('the last step of a change without names keeps those of the step before, and the state has them whole', () => {
    const before: Membership = { ...group([1, 2, 3, 4, 5]), removed: [9n] };
    const configuration = { voters: [1, 2, 3, 4, 5], outgoing: [], learners: [] };
    const joint = { ...before, configuration: { ...configuration, outgoing: [1, 2, 3] } };
    const nameless = encodeMembership({ configuration, context: new Uint8Array() });
    const { membership, bytes } = followMembers(joint, [nameless]);
    expect(membership).toEqual({ ...before, configuration });
    expect(decodeMembers(bytes)).toEqual(membership);
    const told = followMembers(joint, [encodeMembers(group([1, 2]))]).membership;
    expect(told).toEqual(group([1, 2]));
  });

  test('a member that was added already is not added again', () => {
    const again: MemberChange = { op: 'member-add', id: '2', peerUrls: ['https://n2:2380'] };
    expect(changeMembers(group([1], [2]), again, leader)).toBeUndefined();
  });

  test.each<[string, MemberChange, string]>([
    [
      'a removed member tells its name late: it stays removed',
      { op: 'member-update', id: '9', change: { name: 'x' } },
      'MEMBER_NOT_FOUND',
    ],
    ['a member is removed twice', { op: 'member-remove', id: '9' }, 'MEMBER_NOT_FOUND'],
    ['the only voter is removed', { op: 'member-remove', id: '1' }, 'NOT_ENOUGH_MEMBERS'],
    ['a URL of another member', { op: 'member-add', id: '5', peerUrls: ['https://n2:2380'] }, 'PEER_URL_EXISTS'],
    ['no URL', { op: 'member-add', id: '5', peerUrls: [] }, 'BAD_MEMBER_URLS'],
    [
      'a URL of another member, in an update',
      { op: 'member-update', id: '1', change: { peerUrls: ['https://n2:2380'] } },
      'PEER_URL_EXISTS',
    ],
  ])('refused: %s', (_what, change, code) => {
    const refused = () => changeMembers(group([1], [2]), change, leader);
    expect(refused).toThrow(ClusterError);
    expect(refused).toThrow(expect.objectContaining({ code }));
  });
});
