import { runRoleProcess } from '../../internal/node/child-system.ts';
import type { CommandModule } from './command.ts';

export const command: CommandModule = {
  define(command) {
    command.argument('<instance>').argument('<file>').action(runRoleProcess);
  },
};
