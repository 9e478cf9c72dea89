import { createCipheriv, createDecipheriv, scrypt } from 'node:crypto';
import { AppError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';

/**
 * The authorities' keys on their way to a joining server: AES-256-GCM under a key from the token's secret, so that TLS alone does not guard them. The text is
 * `<version>:<salt, hex>:<nonce and sealed bytes and tag, base64>`; K3s keeps its bootstrap data so, with PBKDF2 where this has scrypt.
 */

const version = 'A1';
const nonceBytes = 12;
const tagBytes = 16;
const sealedTextMax = 256 << 10;

function keyOf(secret: string, salt: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(secret, salt, 32, { N: 2 ** 15, r: 8, p: 1, maxmem: 64 << 20 }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
}

export async function seal(secret: string, plain: Uint8Array, random: Random): Promise<string> {
  const salt = random.bytes(16);
  const nonce = random.bytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', await keyOf(secret, salt), nonce);
  const sealed = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  return `${version}:${Buffer.from(salt).toString('hex')}:${sealed.toString('base64')}`;
}

/** What `seal` was given. AppError SEALED when it was made under another secret, was changed, or is nothing that `seal` makes. */
export async function unseal(secret: string, text: string): Promise<Uint8Array> {
  const fail = (why: string): AppError =>
    new AppError('SEALED', `the server's keys cannot be opened: ${why}`, {
      hint: 'use a token of user server of the same cluster',
    });
  const match = text.length <= sealedTextMax ? /^A1:([0-9a-f]{32}):([A-Za-z0-9+/]+=*)\s*$/.exec(text) : undefined;
  if (!match) throw fail('they are not in the form of this version');
  const bytes = Buffer.from(match[2]!, 'base64');
  if (bytes.length < nonceBytes + tagBytes) throw fail('they are cut short');
  const key = await keyOf(secret, Buffer.from(match[1]!, 'hex'));
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes });
  decipher.setAuthTag(bytes.subarray(bytes.length - tagBytes));
  try {
    return Buffer.concat([decipher.update(bytes.subarray(nonceBytes, bytes.length - tagBytes)), decipher.final()]);
  } catch {
    throw fail('the secret is another one, or they were changed on the way');
  }
}
