import type { OsdMap } from '../../maps/osdmap.ts';
import type { Message } from '../../wire/message.ts';
import { MOSDFailure } from '../../wire/messages/osd_mon.ts';
import type { Session } from '../session.ts';

/** Reports that wait at most; OSDs that report more than that see too much failing to be believed. */
const maxReports = 1024;

/**
 * Failure reports of the OSDs that are connected here and that nobody has taken back: only the leader counts them, and an OSD reports once. So each leader is told
 * of them anew.
 */
export class Reports {
  readonly #open = new Map<string, { session: Session; message: Message; target: number }>();

  note(session: Session, message: Message): void {
    const { reporter, target, kind } = message.decode(MOSDFailure);
    const key = `${reporter} ${target}`;
    this.#open.delete(key);
    if (kind === 'alive') return;
    if (this.#open.size >= maxReports) this.#open.delete(this.#open.keys().next().value!);
    this.#open.set(key, { session, message, target });
  }

  /** Those that still hold. */
  open(map: OsdMap): { session: Session; message: Message }[] {
    for (const [key, { session, target }] of this.#open)
      if (!session.connection.open || !map.isUp(target)) this.#open.delete(key);
    return [...this.#open.values()];
  }
}
