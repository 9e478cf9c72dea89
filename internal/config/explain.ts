import { stringify } from 'yaml';
import { AppError } from '../base/errors.ts';
import { everyRole, keyChanges } from './changes.ts';
import type { KeyPath } from './config.ts';
import { keyPaths, keys, sections, variableOf } from './keys.ts';
import { didYouMean } from './nearest.ts';
import { osdKeys } from './values.ts';

/** When a change of a key takes effect, in words. */
export function changeText(path: KeyPath): string {
  const change = keyChanges[path];
  if (change === 'live') return 'at once, by `appliance reload`';
  return `at the next start of ${change === everyRole ? 'the node' : change.join(', ')}`;
}

/** A key as it is written in a file, nested in its sections. */
export function exampleText(path: KeyPath): string {
  const value = path.split('.').reduceRight<unknown>((inner, step) => ({ [step]: inner }), keys[path].example);
  return stringify(value, { flowCollectionPadding: false, defaultStringType: 'PLAIN' }).trimEnd();
}

/** What a key is on this machine, as it would be written in a file, and where that comes from. */
export interface CurrentValue {
  readonly value: unknown;
  readonly origin: string;
}

/** Undefined where the configuration cannot be read. */
export type CurrentValues = (path: KeyPath) => CurrentValue;

/** Everything about one key, for people and programs. */
export interface KeyExplanation extends Partial<CurrentValue> {
  readonly key: KeyPath;
  readonly about: string;
  readonly default: string;
  readonly variable: string;
  readonly flag: string;
  readonly takesEffect: string;
  readonly onlyWithRole?: string;
  readonly secret?: true;
  /** Keys of each entry of a list, and what they mean. */
  readonly entry?: Readonly<Record<string, string>>;
  readonly example: unknown;
}

const repeats = {
  text: '',
  number: '',
  list: ', with commas or repeated',
  map: ', with commas or repeated',
  items: ', repeated',
};

export function explainKey(path: KeyPath, current?: CurrentValues): KeyExplanation {
  const { about, defaultText, flag, type, role, secret, example } = keys[path];
  return {
    key: path,
    about,
    ...current?.(path),
    default: defaultText,
    variable: variableOf(path),
    flag: `--${flag} ${type.placeholder}${repeats[type.form]}`,
    takesEffect: changeText(path),
    ...(role === undefined ? {} : { onlyWithRole: role }),
    ...(secret ? { secret: true } : {}),
    ...(path === 'storage.osd' ? { entry: osdKeys } : {}),
    example,
  };
}

/** The keys that a name means: a key, its flag or variable; a section; nothing: all of them. AppError CONFIG for what is not known. */
export function explainedPaths(name: string | undefined): readonly KeyPath[] {
  if (name === undefined) return keyPaths;
  const path = keyPaths.find((known) => known === name || keys[known].flag === name || variableOf(known) === name);
  if (path) return [path];
  if (Object.hasOwn(sections, name)) return keyPaths.filter((known) => known.startsWith(`${name}.`));
  const letters = (text: string): string => text.replace(/[-_]/g, '').toLowerCase();
  // Other programs write a flag's name in another way: clusterCIDR.
  const last = keyPaths.find(
    (known) => letters(known.split('.').at(-1)!) === letters(name) || letters(keys[known].flag) === letters(name),
  );
  throw new AppError(
    'CONFIG',
    `no key ${name}${last ? `; did you mean ${last}?` : didYouMean(name, [...keyPaths, ...Object.keys(sections)])}`,
    { hint: '`appliance config explain` lists them all' },
  );
}

const valueText = (value: unknown): string =>
  value === undefined ? 'nothing' : typeof value === 'string' ? value : JSON.stringify(value);

/** One key in full. */
export function explanationText(one: KeyExplanation): string {
  const lines = [
    `${one.key}: ${one.about}`,
    '',
    ...(one.origin === undefined ? [] : [`Value        ${valueText(one.value)} (${one.origin})`]),
    `Default      ${one.default}`,
    `Variable     ${one.variable}`,
    `Flag         ${one.flag}`,
    `Takes effect ${one.takesEffect}`,
    ...(one.onlyWithRole === undefined ? [] : [`Only with    role ${one.onlyWithRole}`]),
    ...(one.secret ? ['Secret       never shown; keep the file 0600'] : []),
    ...(one.entry
      ? ['', 'Each entry:', ...Object.entries(one.entry).map(([key, text]) => `  ${key.padEnd(10)} ${text}`)]
      : []),
    '',
    'Example:',
    exampleText(one.key).replace(/^/gm, '  '),
  ];
  return lines.join('\n');
}

const cellMax = 36;
const cell = (text: string): string => (text.length > cellMax ? `${text.slice(0, cellMax - 1)}…` : text);

/** Several keys, a row each, below their heads. */
export function explanationRows(all: readonly KeyExplanation[]): string[][] {
  const known = all.some(({ origin }) => origin !== undefined);
  return [
    ['KEY', ...(known ? ['VALUE'] : []), 'DEFAULT', 'MEANING'],
    ...all.map((one) => [one.key, ...(known ? [cell(valueText(one.value))] : []), cell(one.default), one.about]),
  ];
}
