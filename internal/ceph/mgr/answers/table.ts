import { type CommandEntry, CommandTable, FLAG_TELL } from '../../mon/commands/table.ts';
import { mgrCommands } from '../commands.ts';
import type { MgrHandler, MgrView } from './context.ts';
import { moduleAnswers } from './modules.ts';
import { osdAnswers } from './osd.ts';
import { pgAnswers } from './pg.ts';
import { recoveryAnswers } from './recovery.ts';
import { scrubAnswers } from './scrub.ts';

export type MgrCommands = CommandTable<MgrView>;

const handlers: Readonly<Record<string, MgrHandler>> = {
  ...pgAnswers,
  ...scrubAnswers,
  ...recoveryAnswers,
  ...osdAnswers,
  ...moduleAnswers,
};

/** The words that a signature begins with. */
function wordsOf(signature: string): string {
  return signature
    .split(' ')
    .filter((part) => !part.includes('='))
    .join(' ');
}

/** Everything that the mgr answers. */
export function mgrCommandTable(): MgrCommands {
  const entries = mgrCommands.map((command): CommandEntry<MgrView> => {
    const handler = handlers[wordsOf(command.signature)];
    if (handler === undefined) throw new TypeError(`mgr command '${command.signature}' has no handler`);
    return { ...command, handler };
  });
  const version: CommandEntry<MgrView> = {
    signature: 'version',
    help: 'version of this mgr',
    module: 'mgr',
    perm: 'r',
    flags: FLAG_TELL,
    handler: handlers.version!,
  };
  return new CommandTable<MgrView>().add([...entries, version]);
}
