import { AppError, errorText } from '../../base/errors.ts';
import { EACCES, EINVAL, ENOTSUP, Refusal } from '../mon/errno.ts';
import { type Json, jsonText } from '../mon/format/json.ts';
import { absentCommands } from './absent-commands.ts';
import { Answer, type Command, type CommandArguments, type CommandTarget } from './command-target.ts';
import { configCommands } from './config-commands.ts';
import { daemonCommands } from './daemon-commands.ts';
import { opCommands } from './op-commands.ts';
import { pgCommands } from './pg-commands.ts';
import { storeCommands } from './store-commands.ts';

export interface CommandOutcome {
  code: number;
  status: string;
  output: string;
}

/** One entry a command of `ceph tell osd.N`. */
const commands: readonly Command[] = [
  ...daemonCommands,
  ...opCommands,
  ...configCommands,
  ...pgCommands,
  ...storeCommands,
  ...absentCommands,
  {
    sig: ['help'],
    help: 'what commands there are',
    perm: 'r',
    run: () => new Map(commands.map((command): [string, string] => [prefixOf(command), command.help])),
  },
  { sig: ['get_command_descriptions'], help: 'what commands there are', perm: 'r', run: descriptions },
];

/** The words of a signature, as `prefix` has them. */
function prefixOf(command: Command): string {
  const words: string[] = [];
  for (const part of command.sig) {
    if (typeof part !== 'string') break;
    words.push(part);
  }
  return words.join(' ');
}

/** The words of every command. */
export function commandPrefixes(): string[] {
  return commands.map(prefixOf);
}

function matches(command: Command, args: CommandArguments): boolean {
  if (prefixOf(command) !== args.prefix) return false;
  for (const part of command.sig)
    if (typeof part !== 'string' && part.strings !== undefined)
      if (!part.strings.split('|').includes(String(args[part.name]))) return false;
  return true;
}

function descriptions(): Map<string, unknown> {
  return new Map(
    commands.map(({ sig, help, perm }, i) => [
      `cmd${String(i).padStart(3, '0')}`,
      { sig, help, module: 'osd', perm, flags: 0 },
    ]),
  );
}

function outputText(value: unknown, format: unknown): string {
  if (value === undefined) return '';
  if (typeof value === 'string') return value;
  return `${jsonText(value as Json, format !== 'json')}\n`;
}

/** Answers one command of `ceph tell`: JSON text as clients send it. */
export async function runCommand(target: CommandTarget, text: string, allowed: boolean): Promise<CommandOutcome> {
  let args: CommandArguments;
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null) throw new AppError('COMMAND', 'not an object');
    args = parsed as CommandArguments;
  } catch (error) {
    return { code: -EINVAL, status: `command is not JSON: ${errorText(error)}`, output: '' };
  }
  if (!allowed) return { code: -EACCES, status: 'access denied: it needs the capability osd "allow *"', output: '' };
  const command = commands.find((each) => matches(each, args));
  if (command === undefined)
    return { code: -ENOTSUP, status: `'${String(args.prefix)}' is not supported by this OSD`, output: '' };
  try {
    const result = await command.run(target, args);
    const { value, status } = result instanceof Answer ? result : { value: result, status: '' };
    const format = args.prefix === 'get_command_descriptions' ? 'json' : args.format;
    return { code: 0, status, output: outputText(value, format) };
  } catch (error) {
    if (error instanceof Refusal) return { code: -error.errno, status: error.message, output: '' };
    return { code: -EINVAL, status: errorText(error), output: '' };
  }
}
