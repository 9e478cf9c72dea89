import { concatBytes, utf8, utf8Text } from '../base/bytes.ts';
import { NotLeaderError, ProposalRefusedError } from '../raft/errors.ts';
import { ClusterError } from './errors.ts';
import type { ClusterRequest } from './group-cluster.ts';
import { isLeaseQuestion, type LeaseQuestion } from './member-leases.ts';

/** What only the leader can answer, as another member asks it: JSON on the wire. */
export type Question = LeaseQuestion | ClusterRequest;

/** The leader answers within this time, or is asked in vain. */
const askTimeoutMs = 10_000;

/** `node`: the way to the leader. ClusterError when it does not answer. */
export async function askLeader<T>(
  node: { ask(data: Uint8Array, timeoutMs: number): Promise<Uint8Array> },
  question: Question,
): Promise<T> {
  try {
    return JSON.parse(utf8Text(await node.ask(utf8(JSON.stringify(question)), askTimeoutMs))) as T;
  } catch (error) {
    throw clusterError(error);
  }
}

/** First byte of a question that is none of the store's own, which are JSON. */
const applicationMark = 1;

/** Asks the leader something that only what stands on the store understands. */
export async function askApplication(
  node: { ask(data: Uint8Array, timeoutMs: number): Promise<Uint8Array> },
  question: Uint8Array,
  timeoutMs: number,
): Promise<Uint8Array> {
  try {
    return await node.ask(concatBytes([Uint8Array.of(applicationMark), question]), timeoutMs);
  } catch (error) {
    throw clusterError(error);
  }
}

/** Answers another member. */
export async function answerQuestion(
  data: Uint8Array,
  handlers: {
    lease(question: LeaseQuestion): Promise<object>;
    change(request: ClusterRequest): Promise<void>;
    application: { answer(question: Uint8Array): Promise<Uint8Array> } | undefined;
  },
): Promise<Uint8Array> {
  if (data[0] === applicationMark) {
    if (handlers.application === undefined) throw new ClusterError('NO_LEADER', 'this member does not serve yet');
    return handlers.application.answer(data.subarray(1));
  }
  const question = JSON.parse(utf8Text(data)) as Question;
  if (isLeaseQuestion(question)) return utf8(JSON.stringify(await handlers.lease(question)));
  await handlers.change(question);
  return utf8('{}');
}

/** What callers of the store are told when the log or the leader did not take a request. */
export function clusterError(error: unknown): unknown {
  if (error instanceof NotLeaderError) return new ClusterError('NO_LEADER', error.message);
  if (error instanceof ProposalRefusedError) return new ClusterError('TIMEOUT', error.message, error.hint);
  return error;
}
