import { createCipheriv, createDecipheriv } from 'node:crypto';
import { utf8, utf8Text } from '../../../base/bytes.ts';
import type { Clock } from '../../../base/clock.ts';
import { AppError, errorCode, errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import { type Random, randomName } from '../../../base/random.ts';
import type { Compare, KeyValue, Store } from '../../../store/api.ts';
import { badRequest, failure, internalError, isStatus, type StatusError } from '../../machinery/status.ts';
import { prefixEnd } from '../keys.ts';
import { type EncryptionConfiguration, type EncryptionKey, isEncrypted, Providers } from './providers.ts';

/** Resources whose objects can be encrypted in the store, as the start of their keys and by the name that a configuration has for them. */
const encryptable: readonly { readonly prefix: string; readonly resource: string }[] = [
  { prefix: '/registry/core/secrets/', resource: 'secrets' },
];

/** Where the servers share which keys there are, sealed with the cluster's own key. The watch of all objects tells of it in its order. */
const stateKey = '/registry/appliance/encryption/configuration';
const pageSize = 200;
/** Writers that meet a change of keys try again this often. */
export const stateRetries = 5;

/** `rewriting`: not every object is stored as the configuration says. */
export type EncryptionStage = 'finished' | 'rewriting';

interface State {
  readonly format: 1;
  readonly stage: EncryptionStage;
  readonly configuration: EncryptionConfiguration;
}

export interface EncryptionStatus {
  readonly enabled: boolean;
  readonly stage: EncryptionStage;
  /** The active key first; then those that are still read with. */
  readonly keys: readonly { readonly name: string; readonly type: 'AES-GCM'; readonly active: boolean }[];
  /** Objects that this server has rewritten since it began the last time. */
  readonly rewritten: number;
}

/**
 * Encryption of objects in the store. Which keys there are lies in the store itself, for all servers, and only the cluster's key, a file that every server has,
 * opens it. A write carries the revision of that state as a condition of its transaction: none goes by keys that are no longer the newest, whichever server it
 * comes from.
 */
export class AtRest {
  readonly #store: Store;
  readonly #random: Random;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #clusterKey: Uint8Array | undefined;
  #revision = 0;
  #state: State | undefined;
  #providers = new Providers([{ identity: {} }]);
  /** Why the state cannot be read. */
  #unreadable: string | undefined;
  #rewriting: Promise<void> | undefined;
  #rewritten = 0;
  #closed = false;

  /** `clusterKey`: 32 bytes; undefined on a server without the file. */
  constructor(options: {
    store: Store;
    clusterKey: Uint8Array | undefined;
    random: Random;
    clock: Clock;
    log: Logger;
  }) {
    this.#store = options.store;
    this.#clusterKey = options.clusterKey;
    this.#random = options.random;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** Reads the state. `enable`: encrypt where nobody has decided anything yet. Goes on with what was not finished. */
  async start(enable: boolean): Promise<void> {
    await this.refresh();
    if (enable && this.#revision === 0)
      await this.enable().catch((error: unknown) => {
        // Another server did.
        if (!isStatus(error, 'Conflict')) throw error;
      });
    if (this.#state?.stage === 'rewriting') this.#rewrite();
  }

  /** Empty when objects can be read and written, else why not. */
  problem(): string {
    return this.#unreadable ?? '';
  }

  /** What a write below this prefix has to compare. */
  guard(prefix: string): Compare[] {
    if (!isEncryptable(prefix)) return [];
    return [{ key: utf8(stateKey), target: 'mod', result: 'equal', value: this.#revision }];
  }

  /** The value as it has to be stored under `key`. Throws a StatusError that names it. */
  seal(prefix: string, key: string, value: Uint8Array): Uint8Array {
    if (!isEncryptable(prefix)) return value;
    if (this.#unreadable !== undefined) throw cannot('encrypt', key, this.#unreadable);
    return this.#providers.seal(key, value, this.#random);
  }

  /** What was given to `seal`. Throws a StatusError that names the key. */
  open(key: string, value: Uint8Array): Uint8Array {
    const plain = this.#open(key, value);
    if (plain instanceof Uint8Array) return plain;
    throw cannot('decrypt', key, this.#unreadable ?? plain.message);
  }

  /** The same, and looks for newer keys before it gives up. */
  async openOrRefresh(key: string, value: Uint8Array): Promise<Uint8Array> {
    const plain = this.#open(key, value);
    if (plain instanceof Uint8Array) return plain;
    if (errorCode(plain) === 'UNKNOWN_KEY') await this.refresh();
    return this.open(key, value);
  }

  #open(key: string, value: Uint8Array): Uint8Array | AppError {
    if (!isEncrypted(value)) return value;
    try {
      return this.#providers.open(key, value);
    } catch (error) {
      if (error instanceof AppError) return error;
      throw error;
    }
  }

  /** Takes a change of the store's keys up, when it is one of the state. */
  take(kv: KeyValue): void {
    if (kv.modRevision > this.#revision && utf8Text(kv.key) === stateKey) this.#take(kv.value, kv.modRevision);
  }

  /** Reads the state anew; whether it is another one. */
  async refresh(): Promise<boolean> {
    const before = this.#revision;
    const { kvs } = await this.#store.range({ key: utf8(stateKey) });
    const kv = kvs[0];
    if (kv !== undefined && kv.modRevision > this.#revision) this.#take(kv.value, kv.modRevision);
    return this.#revision !== before;
  }

  #take(value: Uint8Array, revision: number): void {
    this.#revision = revision;
    try {
      const state = unsealState(this.#clusterKey, value);
      this.#providers = new Providers(state.configuration.resources[0]!.providers);
      this.#state = state;
      this.#unreadable = undefined;
    } catch (error) {
      this.#unreadable = errorText(error);
      this.#log.error('encrypted objects cannot be read', { error: this.#unreadable });
    }
  }

  status(): EncryptionStatus {
    const keys = this.#keys();
    const enabled = this.#providers.encrypts;
    return {
      enabled,
      stage: this.#state?.stage ?? 'finished',
      keys: keys.map(({ name }, at) => ({ name, type: 'AES-GCM', active: enabled && at === 0 })),
      rewritten: this.#rewritten,
    };
  }

  #keys(): readonly EncryptionKey[] {
    const providers = this.#state?.configuration.resources[0]?.providers ?? [];
    return providers.flatMap((one) => ('aesgcm' in one ? one.aesgcm.keys : []));
  }

  /** Encrypts from now on, and rewrites what is there. */
  async enable(): Promise<void> {
    if (this.#providers.encrypts) throw conflictOf('encryption is enabled already');
    const keys = this.#keys();
    await this.#change(keys.length > 0 ? keys : [this.#newKey()], true);
  }

  /** Stores without encryption from now on, and rewrites what is there. The keys stay, to read what has not been rewritten. */
  async disable(): Promise<void> {
    if (!this.#providers.encrypts) throw conflictOf('encryption is disabled already');
    await this.#change(this.#keys(), false);
  }

  /** Encrypts with a new key from now on, and rewrites what is there. The key before stays readable until the next rotation, for history; older ones go. */
  async rotate(): Promise<void> {
    if (!this.#providers.encrypts) throw conflictOf('encryption is disabled: there is no key to rotate');
    await this.#change([this.#newKey(), ...this.#keys().slice(0, 1)], true);
  }

  /** Rewrites what is not stored as the configuration says; all objects are looked at. */
  async reencrypt(): Promise<void> {
    if (this.#unreadable !== undefined) throw internalError(this.#unreadable);
    if (this.#state === undefined) throw conflictOf('encryption was never enabled: there is nothing to rewrite');
    if (this.#state.stage === 'finished') await this.#write({ ...this.#state, stage: 'rewriting' });
    this.#rewrite();
  }

  #newKey(): EncryptionKey {
    const day = new Date(this.#clock.now()).toISOString().slice(0, 10).replaceAll('-', '');
    return {
      name: `key-${day}-${randomName(this.#random)}`,
      secret: Buffer.from(this.#random.bytes(32)).toString('base64'),
    };
  }

  async #change(keys: readonly EncryptionKey[], encrypt: boolean): Promise<void> {
    if (this.#unreadable !== undefined) throw internalError(this.#unreadable);
    if (this.#state?.stage === 'rewriting')
      throw conflictOf('objects are still being rewritten after the last change: try again when that is finished');
    const secret = { aesgcm: { keys } };
    const configuration: EncryptionConfiguration = {
      apiVersion: 'apiserver.config.k8s.io/v1',
      kind: 'EncryptionConfiguration',
      resources: [
        {
          resources: encryptable.map(({ resource }) => resource),
          providers: encrypt ? [secret, { identity: {} }] : [{ identity: {} }, secret],
        },
      ],
    };
    await this.#write({ format: 1, stage: 'rewriting', configuration });
    this.#rewritten = 0;
    this.#rewrite();
  }

  async #write(state: State): Promise<void> {
    const key = utf8(stateKey);
    const value = sealState(this.#clusterKey, state, this.#random);
    const response = await this.#store.txn({
      compare: [{ key, target: 'mod', result: 'equal', value: this.#revision }],
      success: [{ op: 'put', request: { key, value } }],
      failure: [],
    });
    if (!response.succeeded) {
      await this.refresh();
      throw conflictOf('another server changed the keys at the same time');
    }
    this.#take(value, response.revision);
  }

  /** Begins rewriting, unless it is under way. */
  #rewrite(): void {
    if (this.#rewriting !== undefined) return;
    this.#rewriting = this.#rewriteAll()
      .catch((error: unknown) =>
        this.#log.error('objects are not all rewritten: `appliance secrets-encrypt reencrypt` tries again', {
          error: errorText(error),
        }),
      )
      .finally(() => {
        this.#rewriting = undefined;
      });
  }

  async #rewriteAll(): Promise<void> {
    for (;;) {
      const state = this.#state!;
      const at = this.#revision;
      for (const { prefix } of encryptable) await this.#rewritePrefix(prefix, at);
      if (this.#closed) return;
      // The keys changed meanwhile: once more.
      if (this.#revision !== at) continue;
      try {
        await this.#write({ ...state, stage: 'finished' });
      } catch (error) {
        if (!isStatus(error, 'Conflict')) throw error;
        if ((this.#state as State).stage === 'rewriting') continue;
      }
      this.#log.info('every object is stored as the encryption says', { rewritten: this.#rewritten });
      return;
    }
  }

  async #rewritePrefix(prefix: string, at: number): Promise<void> {
    const rangeEnd = prefixEnd(prefix);
    let key = utf8(prefix);
    while (!this.#closed && this.#revision === at) {
      const { kvs, more } = await this.#store.range({ key, rangeEnd, limit: pageSize });
      for (const kv of kvs) {
        const path = utf8Text(kv.key);
        if (!this.#providers.isStale(kv.value)) continue;
        const value = this.seal(prefix, path, this.open(path, kv.value));
        const { succeeded } = await this.#store.txn({
          compare: [...this.guard(prefix), { key: kv.key, target: 'mod', result: 'equal', value: kv.modRevision }],
          success: [{ op: 'put', request: { key: kv.key, value, ignoreLease: true } }],
          failure: [],
        });
        // Else its writer stored it as it has to be.
        if (succeeded) this.#rewritten++;
        if (this.#closed || this.#revision !== at) return;
      }
      const last = kvs.at(-1);
      if (!more || last === undefined) return;
      key = utf8(`${utf8Text(last.key)}\0`);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#rewriting;
  }
}

function isEncryptable(prefix: string): boolean {
  return encryptable.some((one) => one.prefix === prefix);
}

function cannot(what: 'encrypt' | 'decrypt', key: string, why: string): StatusError {
  return internalError(`unable to transform key ${JSON.stringify(key)}: cannot ${what} it: ${why}`);
}

function conflictOf(why: string): StatusError {
  return failure(409, 'Conflict', why, {});
}

const nonceBytes = 12;
const tagBytes = 16;
const hint =
  'every server of the cluster has the same encryption.key in its pki directory: copy it from a server that reads Secrets, or from a backup';

function sealState(key: Uint8Array | undefined, state: State, random: Random): Uint8Array {
  if (key === undefined) throw badRequest(`this server has no encryption.key: ${hint}`);
  const nonce = random.bytes(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: tagBytes }).setAAD(utf8(stateKey));
  const sealed = [nonce, cipher.update(JSON.stringify(state)), cipher.final(), cipher.getAuthTag()];
  return utf8(JSON.stringify({ format: 1, sealed: Buffer.concat(sealed).toString('base64') }));
}

function unsealState(key: Uint8Array | undefined, value: Uint8Array): State {
  if (key === undefined)
    throw new AppError('ENCRYPTION', `the store is encrypted and this server has no encryption.key: ${hint}`);
  const { format, sealed } = JSON.parse(utf8Text(value)) as { format?: unknown; sealed?: unknown };
  if (format !== 1 || typeof sealed !== 'string')
    throw new AppError('ENCRYPTION', `the encryption configuration has the format ${String(format)}, expected 1`);
  const bytes = Buffer.from(sealed, 'base64');
  if (bytes.length < nonceBytes + tagBytes) throw new AppError('ENCRYPTION', 'the configuration is cut short');
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes });
  decipher.setAAD(utf8(stateKey)).setAuthTag(bytes.subarray(bytes.length - tagBytes));
  let plain: Buffer;
  try {
    plain = Buffer.concat([decipher.update(bytes.subarray(nonceBytes, bytes.length - tagBytes)), decipher.final()]);
  } catch {
    throw new AppError('ENCRYPTION', `encryption.key is not the key of this cluster: ${hint}`);
  }
  return JSON.parse(plain.toString()) as State;
}
