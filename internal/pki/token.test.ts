import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../base/random.ts';
import { systemClock, systemRandom } from '../base/system.ts';
import { issueCertificate, makeAuthority } from './certificates.ts';
import { seal, unseal } from './sealed.ts';
import { hashSecret, sameSecret, secretMatches } from './secret-hash.ts';
import { caHash, formatToken, parseToken } from './token.ts';

const hash = 'a'.repeat(64);

describe('join tokens', () => {
  test('what is written is read', () => {
    for (const user of ['node', 'server'] as const) {
      const token = { caHash: hash, user, secret: 'abcdef.0123456789' };
      expect(parseToken(`  ${formatToken(token)}\n`)).toEqual(token);
    }
    expect(parseToken('mysecret')).toEqual({ caHash: undefined, user: 'node', secret: 'mysecret' });
  });

  test.each([
    ['', 'empty'],
    ['K10abc::node:x', '3 characters'],
    [`K10${hash}:node:x`, '"::"'],
    [`K10${hash}::root:x`, 'neither node nor server'],
    [`K10${hash}::node:`, 'secret is empty'],
    [`K10${hash}::node:a b`, 'spaces'],
    [`K10${'A'.repeat(64)}::node:x`, 'not hexadecimal'],
    ['two words', 'no spaces'],
    ['xyz', 'fewer than 8 characters'],
    ['x'.repeat(600), 'too long'],
  ])('%j is refused in words that do not repeat the secret', (text, why) => {
    expect(() => parseToken(text)).toThrow(why);
  });

  test('fuzz: mutated tokens are read or refused, never a crash', () => {
    const random = seededRandom(7);
    const good = formatToken({ caHash: hash, user: 'node', secret: 'abcdef.0123456789abcdef' });
    for (let round = 0; round < 2000; round++) {
      const bytes = Buffer.from(good);
      for (let i = 0; i <= round % 4; i++) bytes[random.uint32() % bytes.length] = random.uint32() & 0xff;
      const text = bytes.toString('latin1').slice(0, random.uint32() % (good.length + 1));
      try {
        const token = parseToken(text);
        expect(['node', 'server']).toContain(token.user);
      } catch (error) {
        expect((error as { code?: string }).code).toBe('TOKEN');
      }
    }
  });

  test('the hash of one certificate is that of the file, of a chain that of its root', async () => {
    const root = await makeAuthority('root', systemClock.now(), systemRandom.bytes(16));
    const other = await makeAuthority('other', systemClock.now(), systemRandom.bytes(16));
    expect(caHash(root.cert)).toBe(createHash('sha256').update(root.cert).digest('hex'));
    const der = Buffer.from(root.cert.replace(/-----.*?-----|\s/g, ''), 'base64');
    const request = { commonName: 'below', usage: 'server' as const };
    const below = await issueCertificate(root, request, systemClock.now(), systemRandom.bytes(16));
    expect(caHash(below.cert + root.cert)).toBe(createHash('sha256').update(der).digest('hex'));
    // A stranger's authority beside the right root must not be trusted with it, and a chain ends with its root.
    for (const file of [
      other.cert + root.cert,
      root.cert + other.cert,
      root.cert + below.cert,
      below.cert + other.cert,
    ])
      expect(() => caHash(file)).toThrow('is not signed by the one that follows it');
    expect(() => caHash('no certificate')).toThrow('found 0');
  });
});

describe('kept secrets', () => {
  test('only the same secret matches, and only a hash of this form', async () => {
    const stored = await hashSecret('open sesame', systemRandom.bytes(8));
    expect(stored).toMatch(/^\$1:[0-9a-f]{16}:15:8:1:/);
    expect(stored).not.toContain('sesame');
    expect(await secretMatches('open sesame', stored)).toBe(true);
    expect(await secretMatches('open sesam', stored)).toBe(false);
    for (const damaged of ['', 'x', stored.slice(0, -4), stored.replace('$1', '$2'), stored.replace(':15:', ':30:')])
      expect(await secretMatches('open sesame', damaged)).toBe(false);
    expect([sameSecret('a', 'a'), sameSecret('a', 'b'), sameSecret('a', 'aa')]).toEqual([true, false, false]);
  });

  test('sealed keys open with the same secret only, and not when a byte was changed', async () => {
    const text = await seal('secret', Buffer.from('keys'), systemRandom);
    expect(Buffer.from(await unseal('secret', text)).toString()).toBe('keys');
    await expect(unseal('Secret', text)).rejects.toThrow('secret is another one');
    const flipped = text.slice(0, -3) + (text.at(-3) === 'A' ? 'B' : 'A') + text.slice(-2);
    await expect(unseal('secret', flipped)).rejects.toThrow('cannot be opened');
    for (const damaged of ['', 'A1:', text.slice(3), text.slice(0, 60)])
      await expect(unseal('secret', damaged)).rejects.toThrow('cannot be opened');
  });
});
