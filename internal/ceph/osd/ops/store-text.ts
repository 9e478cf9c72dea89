import { bytesFromText, textFromBytes } from '../../wire/encoding.ts';

/**
 * Omap keys and xattr names of clients are bytes; the store takes well-formed text and orders it as UTF-8. Text beyond ASCII goes in with one character a
 * byte (U+0000 to U+00FF): nothing is lost, and the order of the bytes is kept, also among keys that are plain ASCII and stay as they are.
 */
const ascii = /^[\0-\x7f]*$/;

export function toStoreText(text: string): string {
  return ascii.test(text) ? text : Buffer.from(bytesFromText(text)).toString('latin1');
}

export function fromStoreText(text: string): string {
  return ascii.test(text) ? text : textFromBytes(Buffer.from(text, 'latin1'));
}

/** The same for the keys of a map; the map itself when nothing changes. */
export function toStoreKeys<T>(entries: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
  for (const key of entries.keys())
    if (!ascii.test(key)) return new Map([...entries].map(([k, value]) => [toStoreText(k), value]));
  return entries;
}
