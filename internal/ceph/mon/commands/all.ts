import { clusterCommands } from './cluster.ts';
import type { MonCommands } from './dispatch.ts';
import { CommandTable } from './table.ts';

/** Every command of the mon, one family a file. */
export function monCommands(): MonCommands {
  return new CommandTable<import('./dispatch.ts').CommandContext>().add(clusterCommands);
}
