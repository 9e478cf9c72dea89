import { absentCommands } from './commands/absent.ts';
import type { MonCommands } from './commands/dispatch.ts';
import type { Signature } from './commands/signature.ts';

const absent = new Set(absentCommands.map(({ signature }) => signature.replace(/ name=.*$/, '')));

/** A command line as the `ceph` tool reads it; undefined for what that refuses by itself, or what the mon does not execute. */
export function parseLine(table: MonCommands, argv: readonly string[]): Record<string, unknown> | undefined {
  for (let n = argv.length; n > 0; n--) {
    const prefix = argv.slice(0, n).join(' ');
    const found = table.find(prefix);
    if (found.length === 0) continue;
    if (absent.has(prefix) || found[0]!.handler === undefined) return undefined;
    for (const { signature } of found) {
      const given = read(signature, argv.slice(n));
      if (given !== undefined) return { prefix, ...given };
    }
    return undefined;
  }
  return undefined;
}

/** `[A-Za-z]`: of which characters alone a word may be. */
function fitsCharacters(goodchars: string | boolean | undefined, word: string): boolean {
  return typeof goodchars !== 'string' || new RegExp(`^${goodchars}+$`).test(word);
}

function read({ arguments: wanted }: Signature, words: readonly string[]): Record<string, unknown> | undefined {
  const out: Record<string, unknown> = {};
  const flags = words.filter((word) => /^--[a-z]/.test(word));
  const rest = words.filter((word) => !flags.includes(word));
  for (const flag of flags) {
    const name = flag.slice(2).replaceAll('-', '_');
    const argument = wanted.find((one) => one.name === name || one.strings?.includes(flag));
    if (argument === undefined) return undefined;
    out[argument.name] = argument.type === 'CephBool' ? true : flag;
  }
  for (const { attributes, many, name, range, required, strings, type } of wanted) {
    if (out[name] !== undefined || type === 'CephBool') continue;
    const [next] = rest;
    const isNumber = type === 'CephInt' || type === 'CephFloat';
    const outside = range !== undefined && (Number(next) < range[0]! || Number(next) > (range[1] ?? Infinity));
    const fits =
      next !== undefined &&
      strings?.includes(next) !== false &&
      fitsCharacters(attributes.goodchars, next) &&
      !(isNumber && (Number.isNaN(Number(next)) || outside)) &&
      !(type === 'CephPgid' && !/^\d+\.[0-9a-f]+$/.test(next));
    if (!fits) {
      if (required) return undefined;
      continue;
    }
    const value = (word: string): unknown => (isNumber ? Number(word) : word);
    out[name] = many ? rest.splice(0).map(value) : value(rest.shift()!);
  }
  return rest.length > 0 ? undefined : out;
}
