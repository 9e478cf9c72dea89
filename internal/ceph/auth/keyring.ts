import { AppError } from '../../base/errors.ts';
import type { AuthEntry } from './api.ts';
import { cryptoKeyText, parseCryptoKey } from './crypto.ts';
import type { CryptoKey } from './api.ts';

/**
 * A keyring file: sections `[client.admin]` with `key = <base64>` and `caps mon = "allow *"`. Throws AppError naming file and line.
 */
export function parseKeyring(text: string, fileName = 'keyring'): Map<string, AuthEntry> {
  const entries = new Map<string, AuthEntry>();
  let name: string | undefined;
  let key: CryptoKey | undefined;
  let caps: Record<string, string> = {};
  const finish = (line: number): void => {
    if (name === undefined) return;
    if (key === undefined) throw new AppError('KEYRING', `${fileName}:${line}: section [${name}] has no key`);
    entries.set(name, { key, caps });
  };
  const lines = text.split('\n');
  for (const [i, raw] of lines.entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#') || line.startsWith(';')) continue;
    const section = /^\[([^\]]+)\]$/.exec(line);
    if (section !== null) {
      finish(i + 1);
      name = section[1]!.trim();
      key = undefined;
      caps = {};
      continue;
    }
    const setting = /^([\w ]+?)\s*=\s*(.*)$/.exec(line);
    if (setting === null || name === undefined)
      throw new AppError('KEYRING', `${fileName}:${i + 1}: expected "[entity]" or "name = value"`);
    const what = setting[1]!.replaceAll('_', ' ');
    const value = unquoted(setting[2]!.trim());
    if (what === 'key') {
      try {
        key = parseCryptoKey(value);
      } catch (cause) {
        throw new AppError('KEYRING', `${fileName}:${i + 1}: the key of ${name} is not a Ceph secret key`, { cause });
      }
    } else if (what.startsWith('caps ')) caps[what.slice(5).trim()] = value;
    else if (what !== 'auid') throw new AppError('KEYRING', `${fileName}:${i + 1}: unknown setting "${setting[1]}"`);
  }
  finish(lines.length);
  return entries;
}

function unquoted(value: string): string {
  const match = /^"((?:[^"\\]|\\.)*)"/.exec(value);
  return match === null ? value : match[1]!.replace(/\\(.)/g, '$1');
}

/** The text of one entry as `ceph auth get` prints it. */
export function keyringEntryText(name: string, entry: AuthEntry): string {
  let text = `[${name}]\n\tkey = ${cryptoKeyText(entry.key)}\n`;
  for (const service of Object.keys(entry.caps).sort())
    text += `\tcaps ${service} = "${entry.caps[service]!.replace(/["\\]/g, '\\$&')}"\n`;
  return text;
}

export function formatKeyring(entries: ReadonlyMap<string, AuthEntry>): string {
  return [...entries].map(([name, entry]) => keyringEntryText(name, entry)).join('');
}
