import type { OutputFormat } from '../format/json.ts';
import { type Json, jsonText } from '../format/json.ts';
import { type Arguments, describeSignature, parseSignature, type Signature } from './signature.ts';

/** Flags of `src/mon/MonCommand.h`. */
export const FLAG_NOFORWARD = 1;
export const FLAG_OBSOLETE = 2;
export const FLAG_DEPRECATED = 4;
/** Executed by the mgr: the mon only describes it. */
export const FLAG_MGR = 8;
export const FLAG_POLL = 16;
export const FLAG_HIDDEN = 32;
/** Only by `ceph tell mon.X`. */
export const FLAG_TELL = FLAG_NOFORWARD | FLAG_HIDDEN;

export interface CommandAnswer {
  /** 0 or positive; refusals are thrown. */
  code?: number;
  /** For stderr. */
  status?: string;
  output?: string | Uint8Array;
}

/** One command: `C` is what its handler works on. */
export interface CommandEntry<C> {
  /** Words and arguments, see `Signature`. */
  readonly signature: string;
  readonly help: string;
  /** Group of the help and of capabilities: `mon`, `osd`, `auth`, ... */
  readonly module: string;
  /** Letters of `rwx`. */
  readonly perm: string;
  readonly flags?: number;
  readonly handler: (context: C, args: Arguments, format: OutputFormat) => CommandAnswer | Promise<CommandAnswer>;
}

/** A command as a table holds it; `handler` undefined: somebody else executes it. */
export interface Command<C> {
  readonly signature: Signature;
  readonly help: string;
  readonly module: string;
  readonly perm: string;
  readonly flags: number;
  readonly handler: CommandEntry<C>['handler'] | undefined;
}

/** What is known of a command that runs elsewhere. */
export interface CommandDescription {
  readonly signature: string;
  readonly help: string;
  readonly module: string;
  readonly perm: string;
  readonly flags: number;
}

/** All commands, by the words they begin with. */
export class CommandTable<C> {
  readonly #commands: Command<C>[] = [];
  readonly #byPrefix = new Map<string, Command<C>[]>();

  add(entries: readonly CommandEntry<C>[]): this {
    for (const entry of entries) this.#put({ ...entry, flags: entry.flags ?? 0, handler: entry.handler });
    return this;
  }

  /** Commands that are only described here. */
  describe(descriptions: readonly CommandDescription[]): this {
    for (const description of descriptions) this.#put({ ...description, handler: undefined });
    return this;
  }

  #put(entry: Omit<Command<C>, 'signature'> & { signature: string }): void {
    const signature = parseSignature(entry.signature);
    const command = { ...entry, signature };
    const prefix = signature.words.join(' ');
    this.#commands.push(command);
    const same = this.#byPrefix.get(prefix);
    if (same === undefined) this.#byPrefix.set(prefix, [command]);
    else same.push(command);
  }

  /** Commands with exactly these words; several when they differ in their arguments only. */
  find(prefix: string): readonly Command<C>[] {
    return this.#byPrefix.get(prefix) ?? [];
  }

  /** The answer to `get_command_descriptions`: without the commands that only `ceph tell` knows, or those that `isShown`. */
  descriptions(isShown = ({ flags }: { readonly flags: number }): boolean => (flags & FLAG_NOFORWARD) === 0): string {
    const shown = this.#commands.filter(isShown);
    const out = new Map<string, Json>();
    for (const [i, { signature, help, module, perm, flags }] of shown.entries())
      out.set(`cmd${i.toString().padStart(3, '0')}`, { sig: describeSignature(signature), help, module, perm, flags });
    return jsonText(out);
  }
}

/**
 * Where upstream puts a newline behind structured output: `none`: not in compact JSON; `json`: there; `both`: there, and a second one behind
 * the pretty form. Consumers compare whole outputs, so we keep it.
 */
export type Ending = 'none' | 'json' | 'both';

/** Output for the format asked for: JSON in both forms; what has no plain form of its own is pretty JSON, as upstream does. */
export function structured(value: Json, format: OutputFormat, ending: Ending = 'none'): CommandAnswer {
  if (format === 'json') return { output: jsonText(value) + (ending === 'none' ? '' : '\n') };
  const more = ending === 'both' || (ending === 'json' && format === 'json-pretty');
  return { output: `${jsonText(value, true)}\n${more ? '\n' : ''}` };
}

/** True when the client wants JSON in either form. */
export function wantsJson(format: OutputFormat): boolean {
  return format === 'json' || format === 'json-pretty';
}
