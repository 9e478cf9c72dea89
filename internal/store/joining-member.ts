import type { Member } from './api.ts';

/** A machine that asks to keep the store too. */
export interface JoiningMember {
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

/** Which member a joining machine is. Repeated after a crash on either side it decides the same. */
export function decideMember(members: readonly Member[], { node, peerUrl, member }: JoiningMember): MemberDecision {
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
