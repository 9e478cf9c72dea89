/**
 * What makes stored objects unreadable to who has only the store: the providers of an EncryptionConfiguration (apiserver.config.k8s.io/v1). The bytes are
 * upstream's: `k8s:enc:aesgcm:v1:<key>:`, 12 bytes of nonce, the sealed value and its tag, the object's path in the store as additional data.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { concatBytes, utf8, utf8Text } from '../../../base/bytes.ts';
import { AppError } from '../../../base/errors.ts';
import type { Random } from '../../../base/random.ts';

export interface EncryptionKey {
  readonly name: string;
  /** 16, 24 or 32 bytes in base64. */
  readonly secret: string;
}

export type ProviderConfiguration =
  | { readonly aesgcm: { readonly keys: readonly EncryptionKey[] } }
  | { readonly identity: Record<string, never> };

export interface EncryptionConfiguration {
  readonly apiVersion: 'apiserver.config.k8s.io/v1';
  readonly kind: 'EncryptionConfiguration';
  readonly resources: readonly {
    readonly resources: readonly string[];
    readonly providers: readonly ProviderConfiguration[];
  }[];
}

interface Transformer {
  /** What its values begin with; empty for identity, which takes every value that is not encrypted. */
  readonly prefix: Uint8Array;
  seal(path: string, plain: Uint8Array, random: Random): Uint8Array;
  /** Throws when the key is another one, or the value is not whole or not that of the path. */
  open(path: string, value: Uint8Array): Uint8Array;
}

const encrypted = utf8('k8s:enc:');
const nonceBytes = 12;
const tagBytes = 16;

export function isEncrypted(value: Uint8Array): boolean {
  return startsWith(value, encrypted);
}

function startsWith(value: Uint8Array, prefix: Uint8Array): boolean {
  return value.length >= prefix.length && prefix.every((byte, at) => value[at] === byte);
}

const identity: Transformer = { prefix: new Uint8Array(0), seal: (_, plain) => plain, open: (_, value) => value };

function aesGcm({ name, secret }: EncryptionKey): Transformer {
  const key = Buffer.from(secret, 'base64');
  const prefix = utf8(`k8s:enc:aesgcm:v1:${name}:`);
  const algorithm = ({ 16: 'aes-128-gcm', 24: 'aes-192-gcm', 32: 'aes-256-gcm' } as const)[key.length];
  if (algorithm === undefined)
    throw new AppError('ENCRYPTION', `the key ${name} has ${key.length} bytes, expected 16, 24 or 32`);
  return {
    prefix,
    seal(path, plain, random) {
      const nonce = random.bytes(nonceBytes);
      const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes }).setAAD(utf8(path));
      return concatBytes([prefix, nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    },
    open(path, value) {
      const sealed = value.subarray(prefix.length);
      if (sealed.length < nonceBytes + tagBytes) throw new AppError('ENCRYPTION', 'the stored value is cut short');
      const decipher = createDecipheriv(algorithm, key, sealed.subarray(0, nonceBytes), { authTagLength: tagBytes });
      decipher.setAAD(utf8(path)).setAuthTag(sealed.subarray(sealed.length - tagBytes));
      try {
        const start = decipher.update(sealed.subarray(nonceBytes, sealed.length - tagBytes));
        return concatBytes([start, decipher.final()]);
      } catch {
        throw new AppError(
          'ENCRYPTION',
          `the key ${name} does not fit, or the stored value was changed or is another object's`,
        );
      }
    },
  };
}

/** The providers of one group of resources: the first one writes, all of them read. */
export class Providers {
  readonly #transformers: readonly Transformer[];

  /** AppError ENCRYPTION for a configuration that makes no sense. */
  constructor(providers: readonly ProviderConfiguration[]) {
    this.#transformers = providers.flatMap((one) => ('aesgcm' in one ? one.aesgcm.keys.map(aesGcm) : [identity]));
    if (this.#transformers.length === 0) throw new AppError('ENCRYPTION', 'there is no provider');
  }

  /** Whether what is written is encrypted. */
  get encrypts(): boolean {
    return this.#transformers[0] !== identity;
  }

  seal(path: string, plain: Uint8Array, random: Random): Uint8Array {
    return this.#transformers[0]!.seal(path, plain, random);
  }

  /** AppError UNKNOWN_KEY when no provider has the value's key, ENCRYPTION when it cannot be opened with it. */
  open(path: string, value: Uint8Array): Uint8Array {
    return this.#transformerOf(value).open(path, value);
  }

  /** Whether the value is not as `seal` would write it now. */
  isStale(value: Uint8Array): boolean {
    const first = this.#transformers[0]!;
    return first === identity ? isEncrypted(value) : !startsWith(value, first.prefix);
  }

  #transformerOf(value: Uint8Array): Transformer {
    const secret = isEncrypted(value);
    const found = this.#transformers.find((one) => (one === identity ? !secret : startsWith(value, one.prefix)));
    if (found !== undefined) return found;
    if (!secret)
      throw new AppError('UNKNOWN_KEY', 'it is not encrypted, and the configuration has no identity provider');
    throw new AppError('UNKNOWN_KEY', `there is no key for values that begin with ${JSON.stringify(keyOf(value))}`);
  }
}

/** `k8s:enc:aesgcm:v1:key1:` of a value: no secret. */
function keyOf(value: Uint8Array): string {
  return /^k8s:enc:\w+:v\d+:[^:]*:?/.exec(utf8Text(value.subarray(0, 128)))?.[0] ?? 'k8s:enc:';
}
