import { rm } from 'node:fs/promises';
import { type Clock, sleep } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { KubeClient } from '../client/api.ts';
import { isStatus } from '../machinery/status.ts';
import type { Checkpoints } from './checkpoint-shell.ts';
import type { Cgroups } from './node/cgroups-shell.ts';
import type { RuntimeCache } from './pleg-shell.ts';
import { type Allocatable, admit } from './pod/admission.ts';
import { type PodHost, podLogDirectory } from './pod/pod-host.ts';
import { compareResizes, judgeResize, type ResizeRecord } from './pod/resize.ts';
import { PodWorker } from './pod/worker-shell.ts';
import { type Pod, podKey, podsRef, podUid } from './pod-types.ts';
import type { PodVolumes } from './volume/pod-volumes-shell.ts';

/** How long to wait for the API server before the pods on disk are started from what was last known. */
const apiPatienceMs = 10_000;
const housekeepingMs = 15_000;

export interface PodManagerOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  readonly host: PodHost;
  readonly cache: RuntimeCache;
  readonly volumes: PodVolumes;
  readonly cgroups: Cgroups;
  readonly checkpoints: Checkpoints;
  readonly allocatable: () => Allocatable;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Follows the pods that the API gives this node; each has a worker. What belongs to no pod is taken away. */
export class PodManager {
  readonly #options: PodManagerOptions;
  readonly #workers = new Map<string, PodWorker>();
  readonly #cleaning = new Set<string>();
  /** What an earlier agent promised pods that are not taken over yet. */
  readonly #promised = new Map<string, ResizeRecord>();
  #listed = false;
  #resourceVersion = '';

  constructor(options: PodManagerOptions) {
    this.#options = options;
    options.cache.onChange((uid) => this.#workers.get(uid)?.wake());
  }

  /** True once the API server has said which pods this node has. */
  get listed(): boolean {
    return this.#listed;
  }

  pods(): Pod[] {
    return [...this.#workers.values()].map((w) => ({ ...w.pod, ...(w.status ? { status: w.status } : {}) }));
  }

  current(uid: string): Pod | undefined {
    return this.#workers.get(uid)?.pod;
  }

  find(namespace: string, name: string, uid?: string): Pod | undefined {
    for (const { pod } of this.#workers.values())
      if (pod.metadata.namespace === namespace && pod.metadata.name === name && (!uid || pod.metadata.uid === uid))
        return pod;
    return undefined;
  }

  async run(signal: AbortSignal): Promise<void> {
    const saved = await this.#options.checkpoints.load();
    for (const { pod, resize } of saved) if (resize) this.#promised.set(podUid(pod), resize);
    const api = this.#follow(signal);
    await Promise.race([this.#firstList(signal), sleep(this.#options.clock, apiPatienceMs, signal)]);
    if (!this.#listed && !signal.aborted && saved.length > 0) {
      this.#options.log.warn('API server gives no answer: pods run from what was last known', { pods: saved.length });
      for (const { pod } of saved) this.#take(pod, true);
    }
    const house = this.#housekeeping(signal);
    await Promise.all([api, house]);
    await Promise.all([...this.#workers.values()].map((worker) => worker.stop()));
  }

  async #firstList(signal: AbortSignal): Promise<void> {
    while (!this.#listed && !signal.aborted) await sleep(this.#options.clock, 50, signal);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { client, clock, log, nodeName } = this.#options;
    const fieldSelector = `spec.nodeName=${nodeName}`;
    let retryMs = 200;
    while (!signal.aborted) {
      try {
        if (this.#resourceVersion === '') {
          const list = await client.list<Pod>(podsRef, { fieldSelector });
          this.#resourceVersion = list.metadata.resourceVersion;
          this.#replace(list.items);
        }
        retryMs = 200;
        const watch = client.watch<Pod>(podsRef, {
          fieldSelector,
          resourceVersion: this.#resourceVersion,
          allowBookmarks: true,
          signal,
        });
        for await (const { type, object } of watch) {
          this.#resourceVersion = object.metadata.resourceVersion ?? this.#resourceVersion;
          if (type === 'ADDED' || type === 'MODIFIED') this.#take(object, false);
          else if (type === 'DELETED') this.#gone(object);
        }
      } catch (error) {
        if (signal.aborted) return;
        if (isStatus(error, 'Expired', 'Gone')) this.#resourceVersion = '';
        else log.info('watch of pods broke', { error: errorText(error) });
      }
      await sleep(clock, retryMs, signal);
      retryMs = Math.min(5_000, retryMs * 2);
    }
  }

  #replace(pods: readonly Pod[]): void {
    const present = new Set(pods.map(podUid));
    for (const worker of this.#workers.values()) if (!present.has(podUid(worker.pod))) this.#gone(worker.pod);
    // Older pods first, so that what ran before is what is taken again.
    const sorted = [...pods].sort((a, b) =>
      (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? ''),
    );
    for (const pod of sorted) this.#take(pod, false);
    this.#listed = true;
  }

  #take(pod: Pod, fromDisk: boolean): void {
    const uid = podUid(pod);
    const worker = this.#workers.get(uid);
    if (worker) {
      worker.update(pod);
      if (!fromDisk) this.#save(worker);
      if (worker.pendingResize) this.#decideResizes();
      return;
    }
    const fresh = !fromDisk && pod.status?.startTime === undefined && pod.metadata.deletionTimestamp === undefined;
    const others = [...this.#workers.values()].filter((w) => w.life === 'running').map((w) => w.allocated);
    const made = new PodWorker(this.#options.host, pod, this.#promised.get(uid));
    this.#promised.delete(uid);
    this.#workers.set(uid, made);
    if (!fromDisk) this.#save(made);
    if (!fresh) {
      if (made.pendingResize) this.#decideResizes();
      return;
    }
    const refusal = admit(pod, others, this.#options.allocatable());
    if (refusal) {
      this.#options.log.info('pod refused', { pod: podKey(pod), reason: refusal.reason });
      made.reject(refusal);
    }
  }

  #gone(pod: Pod): void {
    const worker = this.#workers.get(podUid(pod));
    if (worker) worker.remove();
    else void this.forget(podUid(pod));
  }

  /** Called by a worker that has ended for good. */
  async forget(uid: string): Promise<void> {
    this.#workers.delete(uid);
    this.#decideResizes();
    try {
      await this.#options.checkpoints.remove(uid);
    } catch (error) {
      // Housekeeping finds it again.
      this.#options.log.warn('pod record not removed', { uid, error: errorText(error) });
    }
  }

  /** A pod runs also when it cannot be written down; only a start without the API server would miss it. */
  #save({ pod, resizeRecord }: PodWorker): void {
    try {
      this.#options.checkpoints.save(pod, resizeRecord);
    } catch (error) {
      this.#options.log.warn('pod record not written', { pod: podKey(pod), error: errorText(error) });
    }
  }

  /** A pod's containers have got what they were promised. */
  resized(uid: string): void {
    const worker = this.#workers.get(uid);
    if (worker) this.#save(worker);
    this.#decideResizes();
  }

  /** A pod is taken down: what it held is for others. */
  ending(): void {
    this.#decideResizes();
  }

  /** Promises pods what they ask for, one after the other, as long as the node has it. */
  #decideResizes(): void {
    const waiting = [...this.#workers.values()].flatMap((worker) => {
      const pending = worker.pendingResize;
      return pending === undefined ? [] : [{ worker, pending }];
    });
    waiting.sort((a, b) => compareResizes(a.pending, b.pending));
    for (const { worker } of waiting) {
      const others = [...this.#workers.values()].filter((other) => other !== worker && other.life === 'running');
      const refusal = judgeResize(
        worker.pod,
        others.map((other) => other.allocated),
        this.#options.allocatable(),
      );
      worker.resize(refusal);
      // Written down before anything is done, so that an agent that starts anew goes on where this one was.
      if (!refusal) this.#save(worker);
    }
  }

  async #housekeeping(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#listed) {
        try {
          this.#decideResizes();
          await this.#cleanOrphans();
        } catch (error) {
          this.#options.log.warn('clean-up of orphans failed', { error: errorText(error) });
        }
      }
      await sleep(this.#options.clock, this.#listed ? housekeepingMs : 1_000, signal);
    }
  }

  /** Takes away containers, directories, mounts, cgroups and checkpoints that no pod of the API accounts for. */
  async #cleanOrphans(): Promise<void> {
    const { cache, cgroups, checkpoints, host, log, volumes } = this.#options;
    await cache.relist();
    const groups = await cgroups.pods(host.cgroupRoot);
    const uids = new Set([...cache.uids(), ...(await volumes.podDirectories()), ...groups.keys()]);
    for (const { pod } of await checkpoints.load()) uids.add(podUid(pod));
    for (const uid of uids) {
      if (this.#workers.has(uid) || this.#cleaning.has(uid)) continue;
      this.#cleaning.add(uid);
      try {
        const runtime = cache.get(uid);
        if (runtime) {
          log.info('orphaned pod is taken away', { pod: `${runtime.namespace}/${runtime.name}`, uid });
          for (const container of runtime.containers) {
            await host.cri.stopContainer(container.id, 5);
            await host.cri.removeContainer(container.id);
          }
          for (const sandbox of runtime.sandboxes) {
            await host.cri.stopPodSandbox(sandbox.id);
            await host.cri.removePodSandbox(sandbox.id);
          }
          await rm(podLogDirectory(host.logsDir, runtime.namespace, runtime.name, uid), {
            recursive: true,
            force: true,
          });
        }
        await volumes.tearDown(uid);
        const group = groups.get(uid);
        if (group) await cgroups.remove(group);
        await checkpoints.remove(uid);
      } catch (error) {
        log.warn('orphan not taken away yet', { uid, error: errorText(error) });
      } finally {
        this.#cleaning.delete(uid);
      }
    }
  }
}
