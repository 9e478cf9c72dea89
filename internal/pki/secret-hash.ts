import { createHash, scrypt, timingSafeEqual } from 'node:crypto';

/**
 * Hashes of secrets that are kept: scrypt in the text form of K3s' node passwords, `$1:<salt, hex>:15:8:1:<hash, base64>`. One takes some 0.1 s and
 * 32 MiB: callers let few run at once.
 */

const log2N = 15;
const r = 8;
const p = 1;
const hashBytes = 64;
const pattern = /^\$1:([0-9a-f]{2,64}):15:8:1:([A-Za-z0-9+/]{80,100})=*$/;

function derive(secret: string, salt: Uint8Array, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(secret, salt, length, { N: 2 ** log2N, r, p, maxmem: 64 << 20 }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
}

/** `salt`: 8 random bytes or more. */
export async function hashSecret(secret: string, salt: Uint8Array): Promise<string> {
  const hash = await derive(secret, salt, hashBytes);
  return `$1:${Buffer.from(salt).toString('hex')}:${log2N}:${r}:${p}:${hash.toString('base64').replace(/=+$/, '')}`;
}

/** Whether `secret` is what `stored` was made of; false for a stored text that is no hash. */
export async function secretMatches(secret: string, stored: string): Promise<boolean> {
  const match = pattern.exec(stored.trim());
  if (!match) return false;
  const expected = Buffer.from(match[2]!, 'base64');
  if (expected.length !== hashBytes) return false;
  return timingSafeEqual(await derive(secret, Buffer.from(match[1]!, 'hex'), hashBytes), expected);
}

/** Compares two secrets in a time that tells nothing of where they differ, nor of their lengths. */
export function sameSecret(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
