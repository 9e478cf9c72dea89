import { errorText, isRefused } from '../../base/errors.ts';
import type { Member, Store } from '../api.ts';
import { type ExternalEtcdOptions, openExternalEtcd } from './external-client.ts';

/** A member of a store's group, as it says itself that it is. */
export interface MemberState {
  readonly member: Member;
  readonly role: 'leader' | 'voter' | 'learner';
  readonly state: 'runs' | 'not started' | 'unreachable';
  /** Why it cannot be reached. */
  readonly error?: string;
  /** Entries that others have committed and this one has not applied. */
  readonly behind?: number;
  /** The leader that it follows; 0n: it knows none. */
  readonly leaderId?: bigint;
}

const answerMs = 4_000;

interface Answer {
  readonly leaderId: bigint;
  readonly commitIndex: number;
  readonly appliedIndex: number;
}

/** Asks each member of the group that `store` belongs to. Those that do not answer within some seconds are said not to. */
export async function memberStates(
  store: Store,
  options: Omit<ExternalEtcdOptions, 'endpoints'>,
): Promise<MemberState[]> {
  const members = [...store.cluster.members()];
  const answers = await Promise.all(members.map((member) => ask(member, options)));
  const committed = Math.max(0, ...answers.map((answer) => (isAnswer(answer) ? answer.commitIndex : 0)));
  return members.map((member, index): MemberState => {
    const answer = answers[index];
    const role = member.learner ? 'learner' : member.id === store.cluster.leaderId ? 'leader' : 'voter';
    if (answer === undefined) return { member, role, state: 'not started' };
    if (!isAnswer(answer)) return { member, role, state: 'unreachable', error: answer.error };
    const behind = Math.max(0, committed - answer.appliedIndex);
    return { member, role, state: 'runs', behind, leaderId: answer.leaderId };
  });
}

function isAnswer(answer: Answer | { error: string } | undefined): answer is Answer {
  return answer !== undefined && 'commitIndex' in answer;
}

/** Undefined for a member that has not started yet: it has told nobody where it is. */
async function ask(
  { clientUrls }: Member,
  options: Omit<ExternalEtcdOptions, 'endpoints'>,
): Promise<Answer | { error: string } | undefined> {
  if (clientUrls.length === 0) return undefined;
  const endpoints = `etcd://${clientUrls.map((url) => new URL(url).host).join()}`;
  const opened = openExternalEtcd({ ...options, endpoints }).then(
    async (member) => {
      const { leaderId, commitIndex } = member.cluster;
      const { appliedIndex } = member.status();
      await member.close();
      return { leaderId, commitIndex, appliedIndex };
    },
    (error: unknown) => ({ error: isRefused(error) ? 'nothing listens at its address' : errorText(error) }),
  );
  const late = Promise.withResolvers<{ error: string }>();
  const timer = options.clock.after(answerMs, () => late.resolve({ error: `no answer within ${answerMs / 1000} s` }));
  try {
    return await Promise.race([opened, late.promise]);
  } finally {
    timer.cancel();
  }
}
