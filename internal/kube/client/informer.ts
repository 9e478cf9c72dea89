import { type Clock, sleep } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { isStatus } from '../machinery/status.ts';
import type { KubeClient, KubeObject, ListOptions, ResourceRef } from './api.ts';

/** What a consumer hears of a resource; called in order, after the cache has changed. Must not throw. */
export interface InformerHandler<T> {
  onAdd?(object: T): void;
  onUpdate?(object: T, before: T): void;
  onDelete?(object: T): void;
}

/** `namespace/name`, or the name alone for cluster-scoped objects. */
export function objectKey(object: KubeObject): string {
  const { namespace, name } = object.metadata;
  return namespace ? `${namespace}/${name}` : name;
}

export function splitKey(key: string): { namespace: string | undefined; name: string } {
  const slash = key.indexOf('/');
  return slash < 0
    ? { namespace: undefined, name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

const retryFirstMs = 200;
const retryMaxMs = 10_000;
const pageSize = 500;
/** A watch that ends earlier than this counts as a failure. */
const shortWatchMs = 1000;

export interface InformerOptions {
  client: KubeClient;
  resource: ResourceRef;
  /** Narrows what is followed. */
  list?: Omit<ListOptions, 'limit' | 'continue' | 'resourceVersion'>;
  clock: Clock;
  log: Logger;
}

/**
 * A cache of one resource that follows the server: list, then watch from there; after a lost watch it goes on from the last version, after 410
 * it lists anew and reports the difference. Objects in it are shared: consumers must not change them.
 */
export class Informer<T extends KubeObject> {
  readonly #options: InformerOptions;
  readonly #objects = new Map<string, T>();
  readonly #handlers: InformerHandler<T>[] = [];
  readonly #indexes = new Map<string, { of: (object: T) => string[]; keys: Map<string, Set<string>> }>();
  readonly #synced = Promise.withResolvers<void>();
  #hasSynced = false;
  #resourceVersion = '';

  constructor(options: InformerOptions) {
    this.#options = options;
  }

  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** Resolves when the first list is in the cache. */
  get synced(): Promise<void> {
    return this.#synced.promise;
  }

  /** Adds a consumer; it hears of what is in the cache already. */
  handle(handler: InformerHandler<T>): void {
    this.#handlers.push(handler);
    for (const object of this.#objects.values()) handler.onAdd?.(object);
  }

  /** Adds an index before `run`: `by(name, value)` then gives the objects for which `of` named the value. */
  index(name: string, of: (object: T) => string[]): void {
    this.#indexes.set(name, { of, keys: new Map() });
  }

  by(index: string, value: string): T[] {
    const found = this.#indexes.get(index)?.keys.get(value);
    return found ? [...found].map((key) => this.#objects.get(key)!) : [];
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): T[] {
    return [...this.#objects.values()];
  }

  /** Follows the server until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log, resource } = this.#options;
    let delay = retryFirstMs;
    while (!signal.aborted) {
      try {
        if (this.#resourceVersion === '') await this.#relist();
        const began = clock.monotonic();
        await this.#follow(signal);
        // A server that ends every watch at once must not be asked in a loop.
        if (clock.monotonic() - began < shortWatchMs) {
          await sleep(clock, delay, signal);
          delay = Math.min(retryMaxMs, delay * 2);
        } else delay = retryFirstMs;
      } catch (error) {
        if (signal.aborted) return;
        if (isStatus(error, 'Gone', 'Expired')) {
          this.#resourceVersion = '';
          await sleep(clock, retryFirstMs, signal);
          continue;
        }
        log.debug('informer: tries again', { resource: resource.resource, error: errorText(error), delayMs: delay });
        await sleep(clock, delay, signal);
        delay = Math.min(retryMaxMs, delay * 2);
      }
    }
  }

  async #relist(): Promise<void> {
    const { client, resource, list } = this.#options;
    const present = new Set<string>();
    let token: string | undefined;
    let version = '';
    do {
      const page = await client.list<T>(resource, { ...list, limit: pageSize, ...(token ? { continue: token } : {}) });
      for (const object of page.items) {
        present.add(objectKey(object));
        this.#set(object);
      }
      token = page.metadata.continue || undefined;
      version = page.metadata.resourceVersion;
    } while (token);
    for (const key of [...this.#objects.keys()]) if (!present.has(key)) this.#remove(key);
    this.#resourceVersion = version;
    if (!this.#hasSynced) {
      this.#hasSynced = true;
      this.#synced.resolve();
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { client, resource, list } = this.#options;
    for await (const { type, object } of client.watch<T>(resource, {
      ...list,
      resourceVersion: this.#resourceVersion,
      allowBookmarks: true,
      signal,
    })) {
      if (type === 'DELETED') this.#remove(objectKey(object), object);
      else if (type !== 'BOOKMARK') this.#set(object);
      this.#resourceVersion = object.metadata.resourceVersion ?? this.#resourceVersion;
    }
  }

  #set(object: T): void {
    // Who owns which field is half of an object and no business of consumers; an update without it keeps what the server has.
    delete object.metadata.managedFields;
    const key = objectKey(object);
    const before = this.#objects.get(key);
    if (
      before?.metadata.resourceVersion !== undefined &&
      before.metadata.resourceVersion === object.metadata.resourceVersion
    )
      return;
    if (before && before.metadata.uid !== object.metadata.uid) {
      this.#remove(key);
      this.#set(object);
      return;
    }
    this.#objects.set(key, object);
    this.#reindex(key, before, object);
    for (const handler of this.#handlers) {
      if (before) handler.onUpdate?.(object, before);
      else handler.onAdd?.(object);
    }
  }

  #remove(key: string, last?: T): void {
    const before = this.#objects.get(key);
    if (!before) return;
    this.#objects.delete(key);
    this.#reindex(key, before, undefined);
    for (const handler of this.#handlers) handler.onDelete?.(last ?? before);
  }

  #reindex(key: string, before: T | undefined, after: T | undefined): void {
    for (const { of, keys } of this.#indexes.values()) {
      if (before)
        for (const value of of(before)) {
          const set = keys.get(value);
          set?.delete(key);
          if (set?.size === 0) keys.delete(value);
        }
      if (after)
        for (const value of of(after)) {
          const set = keys.get(value);
          if (set) set.add(key);
          else keys.set(value, new Set([key]));
        }
    }
  }
}
