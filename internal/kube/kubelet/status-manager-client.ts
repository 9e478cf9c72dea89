import { type Clock, sleep } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { PodStatus } from '../api/types.ts';
import type { KubeClient } from '../client/api.ts';
import { isStatus } from '../machinery/status.ts';
import { sameJson } from './equal.ts';
import { ownedConditions } from './pod/status.ts';
import { type Pod, podKey, podNamespace, podsRef, podUid } from './pod-types.ts';

interface Entry {
  pod: Pod;
  status: PodStatus;
  confirm: boolean;
  version: number;
  sent: number;
  busy: boolean;
  /** What the API was last told and the version that the pod had then, so that a repeated report costs nothing. */
  told: { status: PodStatus; resourceVersion: number } | undefined;
}

const firstRetryMs = 500;
const maxRetryMs = 10_000;

/**
 * Brings pod statuses to the API: for each pod the newest one only, one request at a time, again and again while the server is away. Deletes
 * the object of a pod that has ended once its last status is there.
 */
export class StatusManager {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #current: (uid: string) => Pod | undefined;
  readonly #entries = new Map<string, Entry>();
  readonly #stop = new AbortController();

  /** `current` gives the newest version of a pod that the watch has seen. */
  constructor(client: KubeClient, clock: Clock, log: Logger, current: (uid: string) => Pod | undefined) {
    this.#client = client;
    this.#clock = clock;
    this.#log = log;
    this.#current = current;
  }

  report(pod: Pod, status: PodStatus): void {
    const entry = this.#entry(pod, status);
    entry.pod = pod;
    if (sameJson(entry.status, status) && entry.version > 0) {
      if (entry.busy || (entry.told !== undefined && !this.#wasChanged(entry, entry.told.resourceVersion))) return;
    }
    entry.status = status;
    entry.version++;
    void this.#work(podUid(pod), entry);
  }

  confirmDeleted(pod: Pod, status: PodStatus): void {
    const entry = this.#entry(pod, status);
    entry.confirm = true;
    entry.version++;
    void this.#work(podUid(pod), entry);
  }

  forget(uid: string): void {
    this.#entries.delete(uid);
  }

  stop(): void {
    this.#stop.abort();
  }

  /** Somebody else changed what is ours since the API was told: the node lifecycle controller does, when the node seemed to be away. */
  #wasChanged(entry: Entry, toldVersion: number): boolean {
    const latest = this.#current(podUid(entry.pod)) ?? entry.pod;
    // The watch may still be behind our own write.
    return version(latest) > toldVersion && !sameJson(merge(latest.status, entry.status), latest.status);
  }

  #entry(pod: Pod, status: PodStatus): Entry {
    let entry = this.#entries.get(podUid(pod));
    if (!entry) {
      entry = { pod, status, confirm: false, version: 0, sent: 0, busy: false, told: undefined };
      this.#entries.set(podUid(pod), entry);
    }
    return entry;
  }

  async #work(uid: string, entry: Entry): Promise<void> {
    if (entry.busy) return;
    entry.busy = true;
    let retryMs = firstRetryMs;
    while (entry.sent < entry.version && this.#entries.get(uid) === entry && !this.#stop.signal.aborted) {
      const { version } = entry;
      try {
        await this.#send(uid, entry);
        entry.sent = version;
        // What the watch told while the request was on its way.
        if (entry.told && this.#wasChanged(entry, entry.told.resourceVersion)) entry.version++;
        retryMs = firstRetryMs;
      } catch (error) {
        this.#log.debug('pod status not accepted yet', { pod: podKey(entry.pod), error: errorText(error) });
        await sleep(this.#clock, retryMs, this.#stop.signal);
        retryMs = Math.min(maxRetryMs, retryMs * 2);
      }
    }
    entry.busy = false;
  }

  async #send(uid: string, entry: Entry): Promise<void> {
    const { pod, confirm, status } = entry;
    let latest = this.#current(uid) ?? pod;
    for (let attempt = 0; ; attempt++) {
      if (latest.metadata.uid !== uid) return;
      const body: Pod = { ...latest, status: merge(latest.status, status) };
      if (sameJson(body.status, latest.status)) break;
      try {
        latest = await this.#client.update(podsRef, body, { subresource: 'status' });
        break;
      } catch (error) {
        if (isStatus(error, 'NotFound')) return;
        if (!isStatus(error, 'Conflict') || attempt >= 5) throw error;
        try {
          latest = await this.#client.get<Pod>(podsRef, pod.metadata.name, podNamespace(pod));
        } catch (missing) {
          // A pod that is gone is not this node's, either: the Node authorizer refuses it.
          if (isStatus(missing, 'NotFound', 'Forbidden')) return;
          throw missing;
        }
      }
    }
    entry.told = { status, resourceVersion: version(latest) };
    if (!confirm) return;
    try {
      await this.#client.delete(podsRef, pod.metadata.name, podNamespace(pod), {
        gracePeriodSeconds: 0,
        preconditions: { uid },
      });
    } catch (error) {
      if (!isStatus(error, 'NotFound', 'Conflict')) throw error;
    }
  }
}

/** Versions of one store are numbers that grow. */
function version(pod: Pod): number {
  return Number(pod.metadata.resourceVersion ?? 0);
}

/** Our status with the conditions and fields that belong to others. */
function merge(api: PodStatus | undefined, own: PodStatus): PodStatus {
  const types = new Set((own.conditions ?? []).map((c) => c.type));
  const foreign = (api?.conditions ?? []).filter((c) => !types.has(c.type) && !ownedConditions.has(c.type));
  return {
    ...own,
    ...(api?.nominatedNodeName ? { nominatedNodeName: api.nominatedNodeName } : {}),
    conditions: [...(own.conditions ?? []), ...foreign],
  };
}
