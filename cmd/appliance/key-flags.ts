import { type Command, Option } from 'commander';
import { keyPaths, keys } from '../../internal/config/keys.ts';
import { hide, keyFlags } from './command.ts';

/** Keys whose flags every command takes. */
const globalFlags: readonly string[] = ['data-dir', 'run-dir'];

/** Adds a flag for every other key of the configuration. Lists and maps may be given several times or with commas. */
export function withKeyFlags(command: Command): Command {
  const given: Record<string, readonly string[]> = {};
  keyFlags.set(command, given);
  for (const path of keyPaths) {
    const { flag, type, about, secret } = keys[path];
    if (globalFlags.includes(flag)) continue;
    const many = type.form === 'list' || type.form === 'map' || type.form === 'items';
    command.addOption(
      new Option(`--${flag} <${type.placeholder.toLowerCase()}>`, `${path}: ${about}`)
        .helpGroup('Configuration (stronger than file and environment):')
        .argParser((text: string): readonly string[] => {
          if (secret) hide(text);
          given[flag] = many ? [...(given[flag] ?? []), text] : [text];
          return given[flag];
        }),
    );
  }
  return command;
}
