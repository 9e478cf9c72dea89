import { open } from 'node:fs/promises';
import { type Clock, sleep } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { CriClient } from './cri/cri-client.ts';
import type { CriContainer, PodSandbox } from './cri/types.ts';
import { isNotFound } from '../../rpc/grpc-transport.ts';
import { logTail } from './logs/log-reader-shell.ts';
import { labelPodUid } from './pod/sandbox-config.ts';
import {
  emptyRuntime,
  owner,
  type PodRuntime,
  type RuntimeContainer,
  type RuntimeSandbox,
  runtimeContainer,
  runtimeSandbox,
} from './pod/runtime.ts';

/** Upstream's bounds of a termination message from a file and from the log. */
const maxMessageBytes = 4096;
const maxLogMessageBytes = 2048;
const maxLogMessageLines = 80;

/** Events of one moment are answered by one look at the runtime. */
const gatherMs = 30;
const relistMs = 10_000;
/**
 * containerd tells of a container's end before its CRI part has noted it, by as much as a write to the disk takes. So after an event there are
 * further looks, each so long after the one before.
 */
const followUpsMs: readonly number[] = [150, 400, 1_000];

interface Snapshot {
  readonly sandboxes: PodSandbox[];
  readonly containers: CriContainer[];
}

/**
 * What the runtime has, kept current from containerd's events, and by a full look every 10 s in case an event was missed. Tells which
 * pods changed (the pod lifecycle event generator).
 */
export class RuntimeCache {
  readonly #cri: CriClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #pods = new Map<string, PodRuntime>();
  /** Fingerprints of ids and states, by pod. */
  readonly #prints = new Map<string, string>();
  /** Ended containers do not change any more: their status is read once. */
  readonly #ended = new Map<string, RuntimeContainer>();
  #listener: (uid: string) => void = () => undefined;
  #wake: (() => void) | undefined;
  /** Something happened since the last look began. */
  #stale = false;
  #followUps: number[] = [];
  #lastOkMs = 0;

  constructor(cri: CriClient, clock: Clock, log: Logger) {
    this.#cri = cri;
    this.#clock = clock;
    this.#log = log;
  }

  /** Monotonic milliseconds since the runtime was last seen to answer. */
  sinceAnswer(): number {
    return this.#clock.monotonic() - this.#lastOkMs;
  }

  onChange(listener: (uid: string) => void): void {
    this.#listener = listener;
  }

  uids(): string[] {
    return [...this.#pods.keys()];
  }

  get(uid: string): PodRuntime | undefined {
    return this.#pods.get(uid);
  }

  all(): PodRuntime[] {
    return [...this.#pods.values()];
  }

  /** The pod that a container or sandbox belongs to. */
  findContainer(id: string): { runtime: PodRuntime; container: RuntimeContainer } | undefined {
    for (const runtime of this.#pods.values()) {
      const container = runtime.containers.find((c) => c.id === id);
      if (container) return { runtime, container };
    }
    return undefined;
  }

  /** Runs until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    void this.#follow(signal);
    while (!signal.aborted) {
      this.#stale = false;
      try {
        await this.relist();
      } catch (error) {
        if (!signal.aborted) this.#log.warn('container runtime gives no answer', { error: errorText(error) });
      }
      await this.#pause(signal);
    }
  }

  /** Until the next regular look, or a moment after something happened. */
  async #pause(signal: AbortSignal): Promise<void> {
    const early = new AbortController();
    const soon = (): void => early.abort();
    this.#wake = soon;
    signal.addEventListener('abort', soon, { once: true });
    if (this.#stale || signal.aborted) soon();
    await sleep(this.#clock, this.#followUps.shift() ?? relistMs, early.signal);
    this.#wake = undefined;
    signal.removeEventListener('abort', soon);
    if (!signal.aborted && early.signal.aborted) await sleep(this.#clock, gatherMs, signal);
  }

  #touch(): void {
    this.#stale = true;
    this.#followUps = [...followUpsMs];
    this.#wake?.();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const _event of this.#cri.events(signal)) this.#touch();
      } catch (error) {
        if (!signal.aborted) this.#log.info('event stream of the container runtime broke', { error: errorText(error) });
      }
      this.#touch();
      await sleep(this.#clock, 500, signal);
    }
  }

  /** Looks at everything and tells the listener about pods that changed. */
  async relist(): Promise<void> {
    const [sandboxes, containers] = await Promise.all([this.#cri.listPodSandbox(), this.#cri.listContainers()]);
    this.#lastOkMs = this.#clock.monotonic();
    const groups = group({ sandboxes, containers });
    for (const id of this.#ended.keys()) if (!containers.some((c) => c.id === id)) this.#ended.delete(id);
    for (const uid of this.#pods.keys()) {
      if (groups.has(uid)) continue;
      this.#pods.delete(uid);
      this.#prints.delete(uid);
      this.#listener(uid);
    }
    for (const [uid, snapshot] of groups) {
      const print = fingerprint(snapshot);
      if (this.#prints.get(uid) === print) continue;
      try {
        await this.#load(uid, snapshot);
        this.#prints.set(uid, print);
        this.#listener(uid);
      } catch (error) {
        this.#log.debug('pod changed while it was looked at', { uid, error: errorText(error) });
        this.#touch();
      }
    }
  }

  /** Looks at one pod now. */
  async refresh(uid: string, name: string, namespace: string): Promise<PodRuntime> {
    const labels = { [labelPodUid]: uid };
    const [sandboxes, containers] = await Promise.all([
      this.#cri.listPodSandbox(labels),
      this.#cri.listContainers(labels),
    ]);
    if (sandboxes.length === 0 && containers.length === 0) {
      this.#pods.delete(uid);
      this.#prints.delete(uid);
      return emptyRuntime(uid, name, namespace);
    }
    const snapshot = { sandboxes, containers };
    const runtime = await this.#load(uid, snapshot);
    this.#prints.set(uid, fingerprint(snapshot));
    return runtime;
  }

  async #load(uid: string, snapshot: Snapshot): Promise<PodRuntime> {
    const labels = snapshot.sandboxes[0]?.labels ?? snapshot.containers[0]?.labels ?? {};
    const who = owner(labels) ?? { uid, name: '', namespace: '' };
    const sandboxes: RuntimeSandbox[] = [];
    for (const sandbox of snapshot.sandboxes) {
      try {
        sandboxes.push(runtimeSandbox(await this.#cri.podSandboxStatus(sandbox.id)));
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
    const containers: RuntimeContainer[] = [];
    for (const container of snapshot.containers) {
      const known = this.#ended.get(container.id);
      if (known) {
        containers.push(known);
        continue;
      }
      try {
        const status = await this.#cri.containerStatus(container.id);
        let one = runtimeContainer(status, container.podSandboxId);
        if (one.state === 'exited') {
          one = { ...one, message: await terminationMessage(one) };
          this.#ended.set(one.id, one);
        }
        containers.push(one);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
    const runtime: PodRuntime = {
      ...who,
      sandboxes: sandboxes.sort((a, b) => b.attempt - a.attempt || b.createdAtMs - a.createdAtMs),
      containers: containers.sort((a, b) => b.attempt - a.attempt || b.createdAtMs - a.createdAtMs),
    };
    this.#pods.set(uid, runtime);
    return runtime;
  }
}

function group(snapshot: Snapshot): Map<string, { sandboxes: PodSandbox[]; containers: CriContainer[] }> {
  const out = new Map<string, { sandboxes: PodSandbox[]; containers: CriContainer[] }>();
  const of = (labels: Record<string, string>): { sandboxes: PodSandbox[]; containers: CriContainer[] } | undefined => {
    const uid = labels[labelPodUid];
    if (!uid) return undefined;
    let entry = out.get(uid);
    if (!entry) {
      entry = { sandboxes: [], containers: [] };
      out.set(uid, entry);
    }
    return entry;
  };
  for (const sandbox of snapshot.sandboxes) of(sandbox.labels)?.sandboxes.push(sandbox);
  for (const container of snapshot.containers) of(container.labels)?.containers.push(container);
  return out;
}

function fingerprint(snapshot: Snapshot): string {
  return [
    ...snapshot.sandboxes.map((s) => `${s.id}:${s.state}`),
    ...snapshot.containers.map((c) => `${c.id}:${c.state}`),
  ]
    .sort()
    .join(',');
}

/** What an ended container left: its message file, else the end of its log where that is asked for. */
async function terminationMessage(container: RuntimeContainer): Promise<string> {
  const text = await fileMessage(container.messageFile);
  if (text !== '') return text;
  if (container.messagePolicy === 'FallbackToLogsOnError' && container.exitCode !== 0) {
    const tail = await logTail(container.logPath, maxLogMessageBytes, maxLogMessageLines);
    if (tail !== '') return tail;
  }
  return container.message;
}

async function fileMessage(path: string): Promise<string> {
  if (path === '') return '';
  try {
    const file = await open(path, 'r');
    try {
      const buffer = new Uint8Array(maxMessageBytes);
      const { bytesRead } = await file.read(buffer, 0, maxMessageBytes, 0);
      return new TextDecoder().decode(buffer.subarray(0, bytesRead));
    } finally {
      await file.close();
    }
  } catch {
    return '';
  }
}
