import type {
  DeleteOptions,
  KubeClient,
  KubeList,
  KubeObject,
  ListOptions,
  PatchType,
  ResourceRef,
  WatchOptions,
  WatchType,
  WriteOptions,
} from '../../client/api.ts';
import { StatusError } from '../../machinery/status.ts';

interface Watcher {
  key: string;
  namespace: string | undefined;
  push(event: { type: WatchType; object: KubeObject }): void;
}

function failure(code: number, reason: 'NotFound' | 'Conflict' | 'AlreadyExists', message: string): StatusError {
  return new StatusError({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', reason, message, code });
}

function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const out: Record<string, unknown> =
    typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete out[key];
    else out[key] = mergePatch(out[key], value);
  }
  return out;
}

/**
 * An API server in memory for tests of the node agent: resource versions, conflicts, watches, graceful deletion of pods, nothing else.
 * `down` makes every call fail, as if the server were away.
 */
export class FakeClient implements KubeClient {
  readonly #objects = new Map<string, KubeObject>();
  readonly #watchers = new Set<Watcher>();
  #version = 1;
  down = false;
  tokens = 0;

  #kind(ref: ResourceRef): string {
    return `${ref.group}/${ref.resource}`;
  }

  #key(ref: ResourceRef, namespace: string | undefined, name: string): string {
    return `${this.#kind(ref)}/${namespace ?? ''}/${name}`;
  }

  #check(): void {
    if (this.down) throw new Error('connect ECONNREFUSED (fake)');
  }

  #emit(ref: ResourceRef, type: WatchType, object: KubeObject): void {
    for (const w of this.#watchers)
      if (w.key === this.#kind(ref) && (!w.namespace || w.namespace === object.metadata.namespace))
        w.push({ type, object: structuredClone(object) });
  }

  #store(ref: ResourceRef, object: KubeObject, type: WatchType): KubeObject {
    const copy = structuredClone(object);
    copy.metadata.resourceVersion = String(++this.#version);
    this.#objects.set(this.#key(ref, copy.metadata.namespace, copy.metadata.name), copy);
    this.#emit(ref, type, copy);
    return structuredClone(copy);
  }

  async get<T extends KubeObject>(ref: ResourceRef, name: string, namespace?: string): Promise<T> {
    this.#check();
    const found = this.#objects.get(this.#key(ref, namespace, name));
    if (!found) throw failure(404, 'NotFound', `${ref.resource} "${name}" not found`);
    return structuredClone(found) as T;
  }

  async list<T extends KubeObject>(ref: ResourceRef, options: ListOptions = {}): Promise<KubeList<T>> {
    this.#check();
    const items = [...this.#objects]
      .filter(
        ([key, o]) =>
          key.startsWith(`${this.#kind(ref)}/`) && (!options.namespace || o.metadata.namespace === options.namespace),
      )
      .map(([, o]) => structuredClone(o) as T);
    return { apiVersion: 'v1', kind: 'List', metadata: { resourceVersion: String(this.#version) }, items };
  }

  async *watch<T extends KubeObject>(
    ref: ResourceRef,
    options: WatchOptions,
  ): AsyncIterable<{ type: WatchType; object: T }> {
    this.#check();
    const queue: { type: WatchType; object: KubeObject }[] = [];
    let wake: () => void = () => undefined;
    const watcher: Watcher = {
      key: this.#kind(ref),
      namespace: options.namespace,
      push: (event) => {
        queue.push(event);
        wake();
      },
    };
    this.#watchers.add(watcher);
    const since = Number(options.resourceVersion ?? this.#version);
    for (const [key, object] of this.#objects)
      if (key.startsWith(`${this.#kind(ref)}/`) && Number(object.metadata.resourceVersion) > since)
        queue.push({ type: 'MODIFIED', object: structuredClone(object) });
    try {
      while (!options.signal?.aborted) {
        if (this.down) throw new Error('watch closed (fake)');
        const next = queue.shift();
        if (next) {
          yield next as { type: WatchType; object: T };
          continue;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
          setTimeout(resolve, 200);
        });
      }
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  async create<T extends KubeObject>(
    ref: ResourceRef,
    object: T,
    _options?: WriteOptions & { subresource?: string },
  ): Promise<T> {
    this.#check();
    if (this.#objects.has(this.#key(ref, object.metadata.namespace, object.metadata.name)))
      throw failure(409, 'AlreadyExists', `${ref.resource} "${object.metadata.name}" already exists`);
    const copy = structuredClone(object);
    copy.metadata.uid ??= crypto.randomUUID();
    copy.metadata.generation ??= 1;
    copy.metadata.creationTimestamp ??= new Date().toISOString().replace(/\.\d+/, '');
    return this.#store(ref, copy, 'ADDED') as T;
  }

  async update<T extends KubeObject>(
    ref: ResourceRef,
    object: T,
    options?: WriteOptions & { subresource?: string },
  ): Promise<T> {
    this.#check();
    const current = await this.get<T>(ref, object.metadata.name, object.metadata.namespace);
    if (object.metadata.resourceVersion && object.metadata.resourceVersion !== current.metadata.resourceVersion)
      throw failure(409, 'Conflict', `${object.metadata.name} was modified`);
    const next =
      options?.subresource === 'status'
        ? { ...current, status: (object as { status?: unknown }).status }
        : structuredClone(object);
    return this.#store(ref, next, 'MODIFIED') as T;
  }

  async patch<T extends KubeObject>(
    ref: ResourceRef,
    name: string,
    namespace: string | undefined,
    type: PatchType,
    patch: unknown,
  ): Promise<T> {
    if (type !== 'merge') throw new Error(`fake: no ${type} patches`);
    const current = await this.get<T>(ref, name, namespace);
    return this.#store(ref, mergePatch(current, patch) as KubeObject, 'MODIFIED') as T;
  }

  async delete(ref: ResourceRef, name: string, namespace?: string, options: DeleteOptions = {}): Promise<void> {
    const current = await this.get<
      KubeObject & { spec?: { terminationGracePeriodSeconds?: number; nodeName?: string } }
    >(ref, name, namespace);
    const grace =
      options.gracePeriodSeconds ?? (ref.resource === 'pods' ? (current.spec?.terminationGracePeriodSeconds ?? 30) : 0);
    if (ref.resource === 'pods' && grace > 0) {
      current.metadata.deletionTimestamp ??= new Date(Date.now() + grace * 1000).toISOString();
      current.metadata.deletionGracePeriodSeconds = grace;
      this.#store(ref, current, 'MODIFIED');
      return;
    }
    this.#objects.delete(this.#key(ref, namespace, name));
    current.metadata.resourceVersion = String(++this.#version);
    this.#emit(ref, 'DELETED', current);
  }

  async raw(method: string, path: string): Promise<unknown> {
    this.#check();
    if (method === 'POST' && path.endsWith('/token'))
      return {
        status: {
          token: `token-${++this.tokens}`,
          expirationTimestamp: new Date(Date.now() + 3_600_000).toISOString(),
        },
      };
    throw failure(404, 'NotFound', path);
  }
}
