import { EINVAL, Refusal } from '../errno.ts';

/**
 * A command's signature in the notation of upstream's tables: words, and arguments as `name=pool,type=CephPoolname,req=false,n=N,range=0|1,
 * strings=a|b,goodchars=[A-Za-z]`. The `ceph` tool parses its command line with it (`ceph_argparse.py`). What stands in `unlisted` is taken like the
 * `strings`, and not told to tools.
 */
export interface Argument {
  name: string;
  type: string;
  required: boolean;
  many: boolean;
  /** The attributes as they go into the description, in order. */
  attributes: Record<string, string | boolean>;
  strings: readonly string[] | undefined;
  range: readonly [number, number | undefined] | undefined;
}

export interface Signature {
  readonly words: readonly string[];
  readonly arguments: readonly Argument[];
}

export function parseSignature(text: string): Signature {
  const words: string[] = [];
  const args: Argument[] = [];
  for (const part of text.split(' ').filter((piece) => piece !== '')) {
    if (!part.includes('=')) {
      words.push(part);
      continue;
    }
    const attributes: Record<string, string | boolean> = {};
    for (const item of part.split(',')) {
      const equals = item.indexOf('=');
      attributes[item.slice(0, equals)] = item.slice(equals + 1);
    }
    const strings = attributes.strings as string | undefined;
    const unlisted = attributes.unlisted === undefined ? [] : String(attributes.unlisted).split('|');
    delete attributes.unlisted;
    const range = (attributes.range as string | undefined)?.split('|').map(Number);
    args.push({
      name: String(attributes.name),
      type: String(attributes.type),
      required: String(attributes.req ?? 'true').toLowerCase() !== 'false',
      many: attributes.n === 'N',
      attributes,
      strings: strings === undefined ? undefined : [...strings.split('|'), ...unlisted],
      range: range === undefined ? undefined : [range[0]!, range[1]],
    });
  }
  return { words, arguments: args };
}

/** The `sig` member of a description: words as texts, arguments as objects, `req` as a boolean. */
export function describeSignature(signature: Signature): (string | Record<string, string | boolean>)[] {
  const args = signature.arguments.map(({ attributes }) => {
    const out: Record<string, string | boolean> = { ...attributes };
    if (out.req !== undefined) out.req = String(out.req).toLowerCase() !== 'false';
    return out;
  });
  return [...signature.words, ...args];
}

export type ArgumentValue = string | number | boolean | readonly (string | number)[];

/** The arguments of one command, checked against its signature. */
export class Arguments {
  readonly #values: ReadonlyMap<string, ArgumentValue>;

  constructor(values: ReadonlyMap<string, ArgumentValue>) {
    this.#values = values;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }
  /** A text that the signature requires. */
  text(name: string): string {
    const value = this.#values.get(name);
    if (value === undefined) throw new Refusal(EINVAL, `missing argument '${name}'`);
    return String(value);
  }
  optional(name: string): string | undefined {
    const value = this.#values.get(name);
    return value === undefined ? undefined : String(value);
  }
  number(name: string): number {
    return Number(this.text(name));
  }
  optionalNumber(name: string): number | undefined {
    const value = this.#values.get(name);
    return value === undefined ? undefined : Number(value);
  }
  flag(name: string): boolean {
    const value = this.#values.get(name);
    return value === true || value === 'true' || value === 1;
  }
  list(name: string): string[] {
    const value = this.#values.get(name);
    if (value === undefined) return [];
    return Array.isArray(value) ? value.map(String) : [String(value)];
  }
}

/** Values as the tool sends them (texts, numbers, booleans, lists), with the types that the signature says. Unknown names are ignored, as upstream does. */
export function readArguments(signature: Signature, given: Readonly<Record<string, unknown>>): Arguments {
  const values = new Map<string, ArgumentValue>();
  for (const argument of signature.arguments) {
    const raw = given[argument.name] ?? given[argument.name.replaceAll('_', '-')];
    if (raw === undefined || raw === null) {
      if (argument.required) throw new Refusal(EINVAL, `missing argument '${argument.name}'`);
      continue;
    }
    if (argument.many) {
      const items = Array.isArray(raw) ? raw : [raw];
      values.set(
        argument.name,
        items.map((item) => scalar(argument, item) as string | number),
      );
    } else values.set(argument.name, scalar(argument, raw));
  }
  return new Arguments(values);
}

function bad(argument: Argument, raw: unknown): Refusal {
  return new Refusal(EINVAL, `bad value for '${argument.name}': ${JSON.stringify(raw)} is no ${argument.type}`);
}

function scalar(argument: Argument, raw: unknown): string | number | boolean {
  switch (argument.type) {
    case 'CephInt':
    case 'CephFloat': {
      const value =
        typeof raw === 'number' ? raw : typeof raw === 'string' && raw.trim() !== '' ? Number(raw) : Number.NaN;
      if (!Number.isFinite(value) || (argument.type === 'CephInt' && !Number.isSafeInteger(value)))
        throw bad(argument, raw);
      const [low, high] = argument.range ?? [undefined, undefined];
      if ((low !== undefined && value < low) || (high !== undefined && value > high))
        throw new Refusal(
          EINVAL,
          `'${argument.name}' is ${value}: not in the range ${low}${high === undefined ? ' and up' : ` to ${high}`}`,
        );
      return value;
    }
    case 'CephBool':
      if (typeof raw === 'boolean') return raw;
      if (raw === 'true' || raw === '1' || raw === 'yes' || raw === 'on') return true;
      if (raw === 'false' || raw === '0' || raw === 'no' || raw === 'off') return false;
      // Older tools send the option itself.
      if (typeof raw === 'string' && raw.startsWith('--')) return true;
      throw bad(argument, raw);
    case 'CephChoices': {
      const value = String(raw);
      if (argument.strings !== undefined && !argument.strings.includes(value)) {
        // A choice that stands for an option may come as a boolean.
        if (raw === true && argument.strings.length === 1) return argument.strings[0]!;
        throw bad(argument, raw);
      }
      return value;
    }
    default:
      if (typeof raw === 'string') return raw;
      if (typeof raw === 'number' || typeof raw === 'boolean') return String(raw);
      throw bad(argument, raw);
  }
}

/** A command as tools send it: the pieces of one JSON object. Errors: EINVAL. */
export function parseCommand(pieces: readonly string[]): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(pieces.join(''));
  } catch {
    throw new Refusal(EINVAL, 'bad or missing json');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Refusal(EINVAL, 'command is no object');
  return value as Record<string, unknown>;
}
