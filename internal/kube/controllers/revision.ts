/** Hashes of templates, and names made of them. */

/** FNV-1a, 32 bits. */
export function fnv32a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** JSON with sorted keys: the same for what means the same. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && value !== null)
    return `{${Object.entries(value)
      .filter(([, one]) => one !== undefined && one !== null)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, one]) => `${JSON.stringify(key)}:${canonicalJson(one)}`)
      .join(',')}}`;
  return JSON.stringify(value);
}

const alphabet = 'bcdfghjklmnpqrstvwxz2456789';

/** Keeps a hash free of words, as upstream's SafeEncodeString. */
export function safeText(text: string): string {
  let out = '';
  for (const character of text) out += alphabet[character.charCodeAt(0) % alphabet.length];
  return out;
}

/** The hash that names a revision of `template`; `collisions` changes it when a name is taken by another template. */
export function templateHash(template: unknown, collisions = 0): string {
  return safeText(String(fnv32a(canonicalJson(template) + (collisions > 0 ? String(collisions) : ''))));
}
