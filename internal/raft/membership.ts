import { ByteReader, ByteWriter, concatBytes, DecodeError } from '../base/bytes.ts';
import { assert } from '../base/errors.ts';
import type { Configuration, MemberId } from './types.ts';

/** More members than this are refused. */
export const maxMembers = 64;

/** A configuration as an entry carries it, with what the state machine wants to know beside it (names, addresses). */
export interface MembershipChange {
  readonly configuration: Configuration;
  readonly context: Uint8Array;
}

export const emptyConfiguration: Configuration = { voters: [], outgoing: [], learners: [] };

export function isJoint(configuration: Configuration): boolean {
  return configuration.outgoing.length > 0;
}

/** Everybody who gets the log, in ascending order. */
export function everybody({ voters, outgoing, learners }: Configuration): MemberId[] {
  return [...new Set([...voters, ...outgoing, ...learners])].sort((a, b) => a - b);
}

export function isVoter({ voters, outgoing }: Configuration, id: MemberId): boolean {
  return voters.includes(id) || outgoing.includes(id);
}

/** One member and nobody who must be sent anything. */
export function isAlone({ voters, outgoing, learners }: Configuration): boolean {
  return voters.length === 1 && outgoing.length === 0 && learners.length === 0;
}

/**
 * The first configuration on the way to `target`. At most one voter more or less: every majority of the old meets every majority of the new,
 * so one step is enough (4.1 of the thesis). Otherwise the joint one. Joint changes exist because voters go from one to three: two members
 * that must both live are worse than one, so two learners become voters at the same moment.
 */
export function stepTowards(
  current: Configuration,
  target: { voters: MemberId[]; learners: MemberId[] },
): Configuration {
  assert(!isJoint(current), 'a change while another one is under way');
  const added = target.voters.filter((id) => !current.voters.includes(id)).length;
  const removed = current.voters.filter((id) => !target.voters.includes(id)).length;
  const outgoing = added + removed <= 1 ? [] : [...current.voters];
  return { voters: [...target.voters], outgoing, learners: [...target.learners] };
}

/** The highest index that a majority has; `Infinity` for an empty group, which decides nothing. */
function majorityIndex(ids: readonly MemberId[], index: (id: MemberId) => number): number {
  if (ids.length === 0) return Number.POSITIVE_INFINITY;
  if (ids.length === 1) return index(ids[0]!);
  const sorted = ids.map(index).sort((a, b) => b - a);
  return sorted[ids.length >> 1]!;
}

/** The highest index that is decided when each member has what `index` says. */
export function decidedIndex({ voters, outgoing }: Configuration, index: (id: MemberId) => number): number {
  return Math.min(majorityIndex(voters, index), majorityIndex(outgoing, index));
}

export type VoteOutcome = 'won' | 'lost' | 'open';

function majorityVotes(ids: readonly MemberId[], votes: ReadonlyMap<MemberId, boolean>): VoteOutcome {
  if (ids.length === 0) return 'won';
  const need = (ids.length >> 1) + 1;
  let yes = 0;
  let missing = 0;
  for (const id of ids) {
    const vote = votes.get(id);
    if (vote === true) yes++;
    else if (vote === undefined) missing++;
  }
  if (yes >= need) return 'won';
  return yes + missing >= need ? 'open' : 'lost';
}

export function voteOutcome({ voters, outgoing }: Configuration, votes: ReadonlyMap<MemberId, boolean>): VoteOutcome {
  const outcomes = [majorityVotes(voters, votes), majorityVotes(outgoing, votes)];
  if (outcomes.includes('lost')) return 'lost';
  return outcomes.includes('open') ? 'open' : 'won';
}

const formatVersion = 1;

export function writeConfiguration(out: ByteWriter, configuration: Configuration): void {
  for (const ids of [configuration.voters, configuration.outgoing, configuration.learners]) {
    out.u8(ids.length);
    for (const id of ids) out.u64(id);
  }
}

export function readConfiguration(from: ByteReader): Configuration {
  const list = (): MemberId[] => {
    const count = from.u8();
    if (count > maxMembers) throw new DecodeError(`a configuration of ${count} members, at most ${maxMembers}`);
    return Array.from({ length: count }, () => from.u64());
  };
  return { voters: list(), outgoing: list(), learners: list() };
}

export function encodeMembership(change: MembershipChange): Uint8Array {
  const out = new ByteWriter(64 + change.context.length);
  out.u8(formatVersion);
  writeConfiguration(out, change.configuration);
  out.u32(change.context.length).bytes(change.context);
  return out.finish();
}

export function decodeMembership(data: readonly Uint8Array[]): MembershipChange {
  const from = new ByteReader(concatBytes(data));
  const version = from.u8();
  if (version !== formatVersion) throw new DecodeError(`a membership of format ${version}, this version reads 1`);
  return { configuration: readConfiguration(from), context: from.bytes(from.u32()).slice() };
}
