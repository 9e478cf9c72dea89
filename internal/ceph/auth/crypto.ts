import { createCipheriv, createDecipheriv } from 'node:crypto';
import { DecodeError } from '../../base/bytes.ts';
import type { Random } from '../../base/random.ts';
import { Decoder, Encoder, type UTime, utimeFromMs } from '../wire/encoding.ts';
import type { CryptoKey } from './api.ts';

/** cephx's symmetric encryption (`src/auth/Crypto.cc`): AES-128-CBC with PKCS#7 and a constant initial vector. */
export const CRYPTO_AES = 1;
const keyBytes = 16;
const initialVector = Buffer.from('cephsageyudagreg', 'latin1');
const magic = 0xff00_9cad_8826_aa55n;

export function encodeCryptoKey(e: Encoder, key: CryptoKey): void {
  e.u16(key.type).utime(key.created).u16(key.secret.length).bytes(key.secret);
}
export function decodeCryptoKey(d: Decoder): CryptoKey {
  const type = d.u16();
  const created: UTime = d.utime();
  const secret = d.bytes(d.u16()).slice();
  if (type !== CRYPTO_AES || secret.length !== keyBytes)
    throw new DecodeError(
      `secret key of type ${type} and ${secret.length} bytes: only AES with ${keyBytes} is supported`,
    );
  return { type, created, secret };
}

/** The base64 form of keyrings. */
export function cryptoKeyText(key: CryptoKey): string {
  const e = new Encoder();
  encodeCryptoKey(e, key);
  return Buffer.from(e.finish()).toString('base64');
}
export function parseCryptoKey(text: string): CryptoKey {
  return decodeCryptoKey(new Decoder(new Uint8Array(Buffer.from(text.trim(), 'base64'))));
}
export function newCryptoKey(nowMs: number, random: Random): CryptoKey {
  return { type: CRYPTO_AES, created: utimeFromMs(nowMs), secret: random.bytes(keyBytes) };
}

export function aesEncrypt(secret: Uint8Array, plain: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-128-cbc', secret, initialVector);
  return new Uint8Array(Buffer.concat([cipher.update(plain), cipher.final()]));
}
/** Throws DecodeError when the key is wrong or the text was changed. */
export function aesDecrypt(secret: Uint8Array, sealed: Uint8Array): Uint8Array {
  if (sealed.length === 0 || sealed.length % 16 !== 0)
    throw new DecodeError(`cephx: ${sealed.length} bytes are no AES-CBC text`);
  try {
    const decipher = createDecipheriv('aes-128-cbc', secret, initialVector);
    return new Uint8Array(Buffer.concat([decipher.update(sealed), decipher.final()]));
  } catch {
    throw new DecodeError('cephx: does not decrypt with this key');
  }
}

/** `encode_encrypt_enc_bl`: version, magic and the value, encrypted. */
export function sealValue(secret: Uint8Array, write: (e: Encoder) => void): Uint8Array {
  const e = new Encoder();
  e.u8(1).u64b(magic);
  write(e);
  return aesEncrypt(secret, e.finish());
}
export function openValue<T>(secret: Uint8Array, sealed: Uint8Array, read: (d: Decoder) => T): T {
  const d = new Decoder(aesDecrypt(secret, sealed));
  d.u8();
  if (d.u64b() !== magic) throw new DecodeError('cephx: wrong key (no magic in the decrypted text)');
  return read(d);
}
