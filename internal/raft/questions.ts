import { utf8, utf8Text } from '../base/bytes.ts';
import type { Clock } from '../base/clock.ts';
import { AppError, errorCode, errorText } from '../base/errors.ts';
import { NotLeaderError } from './errors.ts';
import type { NodeMessage } from './node.ts';
import type { Raft } from './raft.ts';

type Ask = Extract<NodeMessage, { type: 'ask' }>;
type Reply = Extract<NodeMessage, { type: 'ask-reply' }>;

export interface QuestionsOptions {
  raft: Raft;
  clock: Clock;
  send(message: NodeMessage): void;
  /** Another member asks something of the leader, which this member is. Throws what it is to be told. */
  answer(data: Uint8Array): Promise<Uint8Array>;
  /** Never one of an earlier life of this member. */
  nextContext(): number;
}

/** What members ask the leader beside the consensus, on the same way as its messages. */
export class Questions {
  readonly #options: QuestionsOptions;
  readonly #open = new Map<number, { resolve: (data: Uint8Array) => void; reject: (error: unknown) => void }>();

  constructor(options: QuestionsOptions) {
    this.#options = options;
  }

  /** Rejects with what the leader throws, or when no answer comes within `timeoutMs`. */
  ask(data: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const { raft, clock, send, nextContext } = this.#options;
    const to = raft.leader;
    if (to === 0 || to === raft.id) return Promise.reject(new NotLeaderError(to));
    const context = nextContext();
    return new Promise((resolve, reject) => {
      const timer = clock.after(timeoutMs, () => this.#open.get(context)?.reject(new NotLeaderError(0)));
      const settle = (): void => {
        timer.cancel();
        this.#open.delete(context);
      };
      this.#open.set(context, {
        resolve: (answer) => {
          settle();
          resolve(answer);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      send({ type: 'ask', from: raft.id, to, term: raft.term, context, data });
    });
  }

  async take(message: Ask | Reply): Promise<void> {
    const { raft, send, answer } = this.#options;
    const { context, from, data } = message;
    if (message.type === 'ask-reply') {
      const question = this.#open.get(context);
      if (message.code === '') question?.resolve(data);
      else question?.reject(new AppError(message.code, utf8Text(data)));
      return;
    }
    const reply = { type: 'ask-reply' as const, from: raft.id, to: from, context };
    try {
      const { leading } = raft;
      // Asked of another leader, or of this one in an earlier term: whoever asked may have asked somebody else since.
      if (leading === undefined || message.term !== raft.term) throw new NotLeaderError(raft.leader);
      if (!leading.firstTime(from, context)) return;
      const answered = await answer(data);
      send({ ...reply, term: raft.term, code: '', data: answered });
    } catch (error) {
      const code = errorCode(error) ?? 'INTERNAL';
      send({ ...reply, term: raft.term, code, data: utf8(errorText(error)) });
    }
  }

  stop(error: Error): void {
    for (const { reject } of [...this.#open.values()]) reject(error);
  }
}
