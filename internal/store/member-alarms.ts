import { assert } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Alarm } from './api.ts';
import type { Command } from './command.ts';
import { NoSpaceError } from './errors.ts';
import type { CommandResult, State } from './state.ts';

/** What alarms need of their member. */
export interface AlarmsOptions {
  readonly quotaBytes: number;
  readonly log: Logger;
  memberId(): bigint;
  state(): State;
  /** Size of the database. */
  databaseBytes(): number;
  propose(command: Command): Promise<CommandResult>;
}

/** Alarms of one member, and the quota that raises one. */
export class MemberAlarms {
  readonly #options: AlarmsOptions;
  /** The alarm of a full store is on its way through the log. */
  #raising = false;

  constructor(options: AlarmsOptions) {
    this.#options = options;
  }

  list(): Alarm[] {
    return [...this.#options.state().alarms];
  }

  async raise(alarm: Alarm): Promise<void> {
    const { propose, log } = this.#options;
    await propose({ kind: 'alarm', raise: true, alarm });
    log.warn('store: alarm raised', { type: alarm.type, member: alarm.memberId.toString(16) });
  }

  async disarm(alarm: Alarm): Promise<Alarm[]> {
    const { propose, log } = this.#options;
    const result = await propose({ kind: 'alarm', raise: false, alarm });
    assert(result.kind === 'alarms', 'an alarm answers alarms');
    for (const { type, memberId } of result.alarms)
      log.info('store: alarm disarmed', { type, member: memberId.toString(16) });
    return result.alarms;
  }

  /** A store at its quota raises the alarm and refuses what would make it grow (NoSpaceError), until the alarm is disarmed. */
  checkSpace(bytes: number): void {
    const { quotaBytes, state, databaseBytes, memberId } = this.#options;
    if (state().alarms.some(({ type }) => type === 'nospace')) throw new NoSpaceError(quotaBytes);
    if (databaseBytes() + state().unwrittenBytes + bytes <= quotaBytes) return;
    if (!this.#raising) {
      this.#raising = true;
      this.raise({ memberId: memberId(), type: 'nospace' })
        // Whoever is refused next tries again.
        .catch(() => undefined)
        .finally(() => {
          this.#raising = false;
        });
    }
    throw new NoSpaceError(quotaBytes);
  }
}
