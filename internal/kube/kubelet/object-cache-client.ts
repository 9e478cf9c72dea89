import type { Clock } from '../../base/clock.ts';
import type { ConfigMap, Secret, Service } from '../api/types.ts';
import type { KubeClient, KubeObject, ResourceRef } from '../client/api.ts';
import { isStatus, StatusError } from '../machinery/status.ts';
import { configMapsRef, secretsRef, servicesRef } from './pod-types.ts';

/** How long a fetched ConfigMap or Secret is believed; also the bound on how late a volume follows a change, on top of the sync period. */
const ttlMs = 5_000;
const maxEntries = 4_096;

/**
 * ConfigMaps, Secrets and Services as pods of this node need them. Gets with a short memory instead of a watch on each object: a node of
 * this size has few, and many pods that start together share one answer.
 */
export class ObjectCache {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #entries = new Map<string, { atMs: number; value: Promise<unknown> }>();
  /** The last answers, which stand in while the API server is away. */
  readonly #last = new Map<string, unknown>();

  constructor(client: KubeClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  configMap(namespace: string, name: string): Promise<ConfigMap | undefined> {
    return this.#get(configMapsRef, namespace, name) as Promise<ConfigMap | undefined>;
  }

  secret(namespace: string, name: string): Promise<Secret | undefined> {
    return this.#get(secretsRef, namespace, name) as Promise<Secret | undefined>;
  }

  /** All services of the cluster. */
  services(): Promise<Service[]> {
    return this.#remember('services', async () => {
      const list = await this.#client.list<Service & { metadata: { name: string } }>(servicesRef);
      return list.items as Service[];
    });
  }

  #get(ref: ResourceRef, namespace: string, name: string): Promise<unknown> {
    return this.#remember(`${ref.resource}\0${namespace}\0${name}`, async () => {
      try {
        return await this.#client.get<KubeObject>(ref, name, namespace);
      } catch (error) {
        if (isStatus(error, 'NotFound')) return undefined;
        throw error;
      }
    });
  }

  #remember<T>(key: string, fetch: () => Promise<T>): Promise<T> {
    const now = this.#clock.monotonic();
    const entry = this.#entries.get(key);
    if (entry && now - entry.atMs < ttlMs) return entry.value as Promise<T>;
    const value = fetch().then(
      (answer) => {
        this.#last.delete(key);
        this.#last.set(key, answer);
        if (this.#last.size > maxEntries) this.#last.delete(this.#last.keys().next().value!);
        return answer;
      },
      (error: unknown) => {
        // A refusal of the server counts; that there is none does not.
        if (error instanceof StatusError || !this.#last.has(key)) throw error;
        return this.#last.get(key) as T;
      },
    );
    this.#entries.delete(key);
    this.#entries.set(key, { atMs: now, value });
    value.catch(() => {
      if (this.#entries.get(key)?.value === value) this.#entries.delete(key);
    });
    if (this.#entries.size > maxEntries) this.#entries.delete(this.#entries.keys().next().value!);
    return value;
  }
}
