import { type Command, encodeCommand } from './command.ts';
import type { GroupLog } from './log.ts';
import type { Waiting } from './member.ts';
import type { State } from './state.ts';

export interface ReservationsOptions {
  /** Revisions at a time. */
  readonly block: number;
  entries(): GroupLog<Waiting>;
  state(): State;
}

/** Revisions beyond one each that revocations of leases on the way may take: one for every 1,048,576 keys that end with a lease. */
const spare = 1000;

/**
 * Revisions that may be lost after they were told: those of writes that are acknowledged before they are on disk. A block of them is reserved durably
 * first; a member that was not closed in order goes on behind it.
 */
export class MemberReservations {
  readonly #options: ReservationsOptions;
  /** Of what this member appended last, as the leader of a term. */
  #reserved = { term: 0, to: 0 };

  constructor(options: ReservationsOptions) {
    this.#options = options;
  }

  /**
   * Before the next entry that is acknowledged early. Each entry raises the revision by one at most, but for `spare`; what an earlier leader reserved
   * may be given up by an entry that is not applied yet.
   */
  next(): void {
    const { block, entries, state } = this.#options;
    const { term, log } = entries().node.raft;
    const { revision, appliedIndex } = state();
    const next = revision + log.lastIndex - appliedIndex + 1;
    if (this.#reserved.term !== term || next > this.#reserved.to) void this.#reserve(next + block, spare);
  }

  /** Every revision that was told is on disk. */
  giveUp(): Promise<void> {
    return this.#reserve(0);
  }

  /** Resolves when it is applied, or will not be. */
  #reserve(to: number, more = 0): Promise<void> {
    const entries = this.#options.entries();
    this.#reserved = { term: entries.node.raft.term, to };
    const command: Command = { kind: 'reserve', to: to + more };
    return new Promise((resolve) => {
      const reject = (): void => {
        this.#reserved = { term: 0, to: 0 };
        resolve();
      };
      entries.propose(encodeCommand(command), 'durable', { command, resolve: () => resolve(), reject });
    });
  }
}
