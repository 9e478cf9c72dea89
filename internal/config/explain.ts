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

const indented = (text: string): string => text.replace(/^/gm, '  ');

function explainKey(path: KeyPath): string {
  const { about, defaultText, flag, type, role, secret } = keys[path];
  const repeat = {
    text: '',
    number: '',
    list: ', with commas or repeated',
    map: ', with commas or repeated',
    items: ', repeated',
  };
  const lines = [
    `${path}: ${about}`,
    '',
    `Default      ${defaultText}`,
    `Variable     ${variableOf(path)}`,
    `Flag         --${flag} ${type.placeholder}${repeat[type.form]}`,
    `Takes effect ${changeText(path)}`,
    ...(role === undefined ? [] : [`Only with    role ${role}`]),
    ...(secret ? ['Secret       never shown; keep the file 0600'] : []),
    ...(path === 'storage.osd'
      ? ['', 'Each entry:', ...Object.entries(osdKeys).map(([key, text]) => `  ${key.padEnd(10)} ${text}`)]
      : []),
    '',
    'Example:',
    indented(exampleText(path)),
  ];
  return `${lines.join('\n')}\n`;
}

function listed(paths: readonly KeyPath[]): string {
  const width = Math.max(...paths.map((path) => path.length));
  return paths.map((path) => `${path.padEnd(width)}   ${keys[path].about}\n`).join('');
}

/** What a key or a section is about, or of nothing all keys. AppError CONFIG for what is not known. */
export function explain(name: string | undefined): string {
  if (name === undefined) return listed(keyPaths);
  const path = keyPaths.find((known) => known === name || keys[known].flag === name || variableOf(known) === name);
  if (path) return explainKey(path);
  if (Object.hasOwn(sections, name))
    return `${name}: ${sections[name]}\n\n${listed(keyPaths.filter((known) => known.startsWith(`${name}.`)))}`;
  const last = keyPaths.find((known) => known.split('.').at(-1) === name);
  throw new AppError(
    'CONFIG',
    `no key ${name}${last ? `; did you mean ${last}?` : didYouMean(name, [...keyPaths, ...Object.keys(sections)])}`,
    { hint: '`appliance config explain` lists them all' },
  );
}
