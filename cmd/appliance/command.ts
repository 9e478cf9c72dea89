import { type Command, Option } from 'commander';
import { hideArgument } from '../../internal/base/arguments-system.ts';
import { errorText } from '../../internal/base/errors.ts';
import type { ConfigArguments } from '../../internal/config/machine-system.ts';

/** What a sub-command's file exports as `command`. */
export interface CommandModule {
  /** Adds description, arguments, options, examples and the action to the command, which has its name already. */
  define(command: Command): void;
}

/** Options that every command takes, before or after its name. */
export interface GlobalOptions {
  config?: string;
  dataDir?: string;
  runDir?: string;
}

export type OutputFormat = 'table' | 'json' | 'yaml';

/** Adds `-o`: a table for people, unless another default is given, or the same data as JSON or YAML. */
export function withOutput(command: Command, standard: OutputFormat = 'table'): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'how to print it').choices(['table', 'json', 'yaml']).default(standard),
  );
}

/** Adds examples to the help; each is a command line and what it does. */
export function withExamples(command: Command, examples: readonly (readonly [line: string, does: string])[]): Command {
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, does]) => `  ${line.padEnd(width)}  # ${does}`);
  return command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
}

/** Where the command line says that the configuration is: the global options, and flags of keys that `withKeyFlags` added. */
export function configArguments(command: Command): ConfigArguments {
  const options = command.optsWithGlobals<GlobalOptions>();
  return {
    file: options.config,
    flags: {
      ...(options.dataDir === undefined ? {} : { 'data-dir': [options.dataDir] }),
      ...(options.runDir === undefined ? {} : { 'run-dir': [options.runDir] }),
      ...keyFlags.get(command),
    },
  };
}

/** Keeps what was given as an argument away from the list of processes, of which a node that runs in the foreground is one for long. */
export function hide(secret: string): void {
  try {
    hideArgument(secret);
  } catch (error) {
    console.error(
      `appliance: every user of this machine can see the secret among the arguments of this process, because it cannot be overwritten: ${errorText(error)}`,
    );
  }
}

/** What a shell may offer for the first argument of a command that takes other words, too. */
export const suggestions = new WeakMap<Command, readonly string[]>();

/** What was given of the flags that `withKeyFlags` (`key-flags.ts`) added to a command. */
export const keyFlags = new WeakMap<Command, Record<string, readonly string[]>>();
