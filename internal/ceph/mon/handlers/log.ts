import { MLog, MLogAck } from '../../wire/messages/log.ts';
import { ENTITY_CLIENT } from '../../wire/types.ts';
import type { Mon } from '../mon.ts';

/** Lines of one message that are taken. */
const linesPerMessage = 200;
const lineLength = 4096;

/** Daemons' lines for the cluster log. */
export function handleLog(mon: Mon): void {
  mon.handlers.on(MLog, async (session, { fsid, entries }) => {
    if (fsid !== mon.state.fsid || session.name.type === ENTITY_CLIENT || !session.may('log', 'w')) return;
    const taken = entries.slice(0, linesPerMessage);
    const last = taken.at(-1);
    if (last === undefined) return;
    await mon.update((draft) =>
      draft.addLog(
        taken.map((entry) => ({ ...entry, name: session.name, message: entry.message.slice(0, lineLength) })),
      ),
    );
    session.connection.send(MLogAck, { fsid, last: last.seq, channel: last.channel });
  });
}
