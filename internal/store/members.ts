import { utf8, utf8Text } from '../base/bytes.ts';
import { assert } from '../base/errors.ts';
import { decodeMembership, encodeMembership, everybody } from '../raft/membership.ts';
import type { Configuration, MemberId } from '../raft/types.ts';
import type { Member } from './api.ts';
import { ClusterError } from './errors.ts';

/** What is known of a member beside its vote. */
export interface MemberRecord {
  readonly id: bigint;
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  /** The node that it is on: the member goes when the node is removed from its cluster. */
  readonly node?: string;
}

/** Who keeps the store: who decides, and where each is found. */
export interface Membership {
  readonly configuration: Configuration;
  readonly records: readonly MemberRecord[];
  /** Who was a member and is none any more, the newest last; at most `maxRemoved`. */
  readonly removed: readonly bigint[];
}

/** Members that were let go are known for so long that each can be told of it when it comes back. */
const maxRemoved = 1000;

/** The consensus core counts in numbers: ids are made with 53 bits. */
export function raftId(id: bigint): MemberId {
  return Number(BigInt.asUintN(53, id));
}

/** The context of a membership entry, version 1: JSON. */
export function encodeRecords({ records, removed }: Omit<Membership, 'configuration'>): Uint8Array {
  const members = records.map(({ id, name, peerUrls, clientUrls, node }) => ({
    id: id.toString(16),
    name,
    peerUrls,
    clientUrls,
    ...(node !== undefined && { node }),
  }));
  return utf8(JSON.stringify({ version: 1, members, removed: removed.map((id) => id.toString(16)) }));
}

export function decodeRecords(context: Uint8Array): Omit<Membership, 'configuration'> {
  if (context.length === 0) return { records: [], removed: [] };
  const {
    version,
    members,
    removed = [],
  } = JSON.parse(utf8Text(context)) as {
    version: number;
    members: { id: string; name: string; peerUrls: string[]; clientUrls: string[]; node?: string }[];
    removed?: string[];
  };
  assert(version === 1, `a list of members of version ${version}`);
  return {
    records: members.map((member) => ({ ...member, id: memberIdOf(member.id) })),
    removed: removed.map(memberIdOf),
  };
}

export function decodeMembers(bytes: Uint8Array): Membership {
  const { configuration, context } = decodeMembership([bytes]);
  return { configuration, ...decodeRecords(context) };
}

/**
 * Who the members are behind a membership entry, and how the state keeps that. A leader that began with a state which contained the first step of
 * a change has not got that step's context any more and finishes the change without one: then everybody known stays known.
 */
export function followMembers(
  before: Membership,
  entry: readonly Uint8Array[],
): { membership: Membership; bytes: Uint8Array } {
  const { configuration, context } = decodeMembership(entry);
  const who = context.length === 0 ? before : decodeRecords(context);
  const membership = { configuration, records: who.records, removed: who.removed };
  return { membership, bytes: encodeMembers(membership) };
}

export function encodeMembers({ configuration, ...who }: Membership): Uint8Array {
  return encodeMembership({ configuration, context: encodeRecords(who) });
}

export function listMembers({ configuration, records }: Membership): Member[] {
  return records
    .map((record) => ({ ...record, learner: !configuration.voters.includes(raftId(record.id)) }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

export interface Target {
  voters: MemberId[];
  learners: MemberId[];
}

/**
 * Who is to vote when `ready` learners have caught up: always an odd number, because one voter more does not help an odd number and adds
 * one that can be missed. Undefined: as it is.
 */
export function promotion({ voters, learners }: Configuration, ready: readonly MemberId[]): Target | undefined {
  const count = Math.min(ready.length, maxVoters - voters.length);
  const take = voters.length % 2 === 1 ? count - (count % 2) : count - ((count + 1) % 2);
  if (take <= 0) return undefined;
  const promoted = ready.slice(0, take);
  return { voters: [...voters, ...promoted], learners: learners.filter((id) => !promoted.includes(id)) };
}

/** What the leader knows when the members are changed. */
export interface Leader {
  readonly id: MemberId;
  /** Whether it hears this member, or is it. */
  hears(id: MemberId): boolean;
  /** Learners that have caught up with it. */
  readonly ready: readonly MemberId[];
}

/**
 * Without `id`; an even number of voters that would be left gives up one more, which goes on as a learner: never the leader, and a silent one first.
 * A learner that has caught up takes the place of the only voter. Throws ClusterError when those that are left would not be heard by a majority of theirs: nothing could be decided any more.
 */
export function removal({ voters, learners }: Configuration, id: MemberId, leader: Leader): Target {
  const left = voters.filter((voter) => voter !== id);
  if (voters.length === 1 && left.length === 0) {
    // A learner takes over: both have to agree on it (the joint configuration), so it has everything by then.
    const heir = leader.ready.find((learner) => learners.includes(learner));
    if (heir === undefined)
      throw new ClusterError(
        'NOT_ENOUGH_MEMBERS',
        'the only voter cannot be removed: there is no other member that has caught up with it',
        'Wait until another one has, or add one.',
      );
    return { voters: [heir], learners: learners.filter((learner) => learner !== heir) };
  }
  const target = { voters: left, learners: learners.filter((learner) => learner !== id) };
  if (left.length === voters.length) return target;
  if (left.length % 2 === 0) {
    const others = left.filter((voter) => voter !== leader.id);
    const demoted = others.findLast((voter) => !leader.hears(voter)) ?? others.at(-1)!;
    target.voters = left.filter((voter) => voter !== demoted);
    target.learners.push(demoted);
  }
  const heard = target.voters.filter((voter) => leader.hears(voter)).length;
  if (heard * 2 <= target.voters.length)
    throw new ClusterError(
      'NOT_ENOUGH_MEMBERS',
      `without member ${id.toString(16)} only ${heard} of the ${target.voters.length} voters that are left would answer`,
      'Start the others first, or remove those that are lost.',
    );
  return target;
}

/** A change of the members, as whoever is asked for it tells the leader: ids are hexadecimal, as JSON has no 64-bit numbers. */
export type MemberChange =
  | { op: 'member-add'; id: string; peerUrls: readonly string[]; node?: string }
  | { op: 'member-remove'; id: string }
  | { op: 'member-update'; id: string; change: Partial<Omit<MemberRecord, 'id'>> };

/** Who was let go, when `records` are the members from now on. */
export function removedBy({ records: before, removed }: Membership, records: readonly MemberRecord[]): bigint[] {
  const gone = before.filter(({ id }) => !records.some((record) => record.id === id));
  return [...removed, ...gone.map(({ id }) => id)].slice(-maxRemoved);
}

/** Who the members are behind a change, and which of them vote. */
export interface ChangedMembers {
  records: readonly MemberRecord[];
  target: Target;
}

export function memberIdOf(text: string): bigint {
  return BigInt(`0x${text}`);
}

/**
 * What a change makes of the members as the leader knows them. What the one that asked knew of them may be old, so it says only what is to change.
 * Undefined: it is so already. Throws ClusterError.
 */
export function changeMembers(
  membership: Membership,
  request: MemberChange,
  leader: Leader,
): ChangedMembers | undefined {
  const { records, configuration } = membership;
  const id = memberIdOf(request.id);
  const known = records.find((record) => record.id === id);
  const same = { voters: [...configuration.voters], learners: [...configuration.learners] };
  if (request.op === 'member-add') {
    if (known !== undefined) return undefined;
    checkUrls(records, request.peerUrls);
    const { peerUrls, node } = request;
    const record = { id, name: '', peerUrls, clientUrls: [], ...(node !== undefined && { node }) };
    return { records: [...records, record], target: { ...same, learners: [...same.learners, raftId(id)] } };
  }
  if (known === undefined) {
    // An earlier version lost who the members are when another leader ended a change. One that is in the group and tells of itself is written down again.
    const { change } = request.op === 'member-update' ? request : { change: undefined };
    if (change?.name === undefined || !everybody(configuration).includes(raftId(id)))
      throw new ClusterError('MEMBER_NOT_FOUND', `there is no member ${request.id}`);
    return { records: [...records, { id, name: '', peerUrls: [], clientUrls: [], ...change }], target: same };
  }
  if (request.op === 'member-update') {
    const { name, peerUrls = [] } = request.change;
    // A member that tells of itself is at this address: whoever was there before has another one, and will tell.
    if (name === undefined && request.change.peerUrls !== undefined) checkUrls(records, peerUrls, id);
    const updated = records.map((record) =>
      record.id === id
        ? { ...record, ...request.change }
        : { ...record, peerUrls: record.peerUrls.filter((url) => !peerUrls.includes(url)) },
    );
    return { records: updated, target: same };
  }
  return {
    records: records.filter((record) => record.id !== id),
    target: removal(configuration, raftId(id), leader),
  };
}

/** Throws ClusterError when these cannot be the peer URLs of a member, or another one than `except` has one of them. */
export function checkUrls(records: readonly MemberRecord[], peerUrls: readonly string[], except?: bigint): void {
  if (peerUrls.length === 0 || peerUrls.some((url) => !URL.canParse(url)))
    throw new ClusterError('BAD_MEMBER_URLS', `peer URLs ${peerUrls.join(', ')}: expected https://host:port`);
  const taken = records.find((record) => record.id !== except && record.peerUrls.some((url) => peerUrls.includes(url)));
  if (taken !== undefined)
    throw new ClusterError('PEER_URL_EXISTS', `member ${taken.id.toString(16)} has one of these peer URLs already`);
}

/** etcd's advice: more voters make writes slower and nothing safer. */
const maxVoters = 7;
