import type { Timer } from '../../../base/clock.ts';
import { errorText } from '../../../base/errors.ts';
import type { PodCondition, PodStatus } from '../../api/types.ts';
import {
  allContainers,
  type Container,
  ephemeralContainers,
  initContainers,
  type Pod,
  podFullName,
  podKey,
  podNamespace,
  podUid,
} from '../pod-types.ts';
import type { ProbeKind, ProbeOutcome } from '../probe/probe-state.ts';
import { PodProber } from '../probe/prober-shell.ts';
import { CrashBackoff } from './backoff.ts';
import type { PodPlace } from './fields.ts';
import { killAll, killContainer, runHook } from './killer-shell.ts';
import { MountWatch } from './mount-watch-shell.ts';
import { type PodHost, podSubject } from './pod-host.ts';
import { collectEnded, removeRemains } from './remains-shell.ts';
import { type PendingResize, type ResizeRecord, wantsResize, withAllocation } from './resize.ts';
import { PodResize } from './resize-shell.ts';
import { podCgroupPath } from './resources.ts';
import { currentSandbox, isLive, latest, type PodRuntime } from './runtime.ts';
import { podSandboxConfig, StartError, startContainer, startSandbox } from './starter-shell.ts';
import { crashLoop, podStatus, type WaitReason } from './status.ts';
import { computeActions, type PodActions } from './sync.ts';

/** How often a pod is looked at with no reason, which also bounds how late volumes follow their objects. */
const resyncMs = 30_000;
const firstRetryMs = 500;
const maxRetryMs = 30_000;
/** How soon a resize that failed is tried again. */
const resizeRetryMs = 5_000;

/** `running` until the pod ends or is deleted; `ending` while it is taken down; `ended` when nothing of it runs; `gone` at the very end. */
export type PodLife = 'running' | 'ending' | 'ended' | 'gone';

/**
 * One pod's life on this node. A loop of its own looks at what is wanted and what is there, and takes the next step; everything that may have
 * changed something wakes it. It holds no truth: after a restart of the agent it goes on from what it finds.
 */
export class PodWorker {
  readonly #host: PodHost;
  /** As the API has it. */
  #wanted: Pod;
  /** As it runs here: with the resources that it was promised. */
  #pod: Pod;
  readonly #resize: PodResize;
  #life: PodLife = 'running';
  /** Gone from the API, or marked deleted there. */
  #deleted = false;
  #removed = false;
  #failed: WaitReason | undefined;
  readonly #startTimeMs: number;
  readonly #prober: PodProber;
  readonly #mounts: MountWatch;
  readonly #backoff = new CrashBackoff();
  readonly #waiting = new Map<string, WaitReason>();
  readonly #hooksRunning = new Set<string>();
  readonly #condemned = new Map<string, string>();
  #lastStatus: PodStatus | undefined;
  #volumesDown = false;
  #retryMs = firstRetryMs;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #signal: (() => void) | undefined;
  #pending = true;
  #stopped = false;
  readonly #stop = new AbortController();
  readonly done: Promise<void>;

  /** `record`: what an earlier agent promised the pod, where that is not what its spec asks for. */
  constructor(host: PodHost, pod: Pod, record?: ResizeRecord) {
    this.#host = host;
    this.#wanted = pod;
    this.#resize = new PodResize(host, pod, record);
    this.#pod = withAllocation(pod, this.#resize.allocation);
    if (this.#pod !== pod) this.#resize.ask();
    this.#startTimeMs = host.clock.now();
    this.#mounts = new MountWatch(host);
    this.#lastStatus = pod.status?.startTime ? pod.status : undefined;
    this.#prober = new PodProber({
      cri: host.cri,
      clock: host.clock,
      log: host.log,
      changed: () => this.wake(),
      unhealthy: (container, kind, outcome) => this.#unhealthy(container, kind, outcome),
    });
    if (isTerminal(pod.status)) this.#life = 'ending';
    this.done = this.#loop();
  }

  get pod(): Pod {
    return this.#wanted;
  }

  /** The pod with what it was promised, which is what it holds of the node. */
  get allocated(): Pod {
    return this.#pod;
  }

  /** Set while the pod asks for something else than it was promised. */
  get pendingResize(): PendingResize | undefined {
    const { allocation, pendingSinceMs } = this.#resize;
    if (this.#life !== 'running' || !wantsResize(this.#wanted, allocation)) return undefined;
    return { pod: this.#wanted, allocation, sinceMs: pendingSinceMs };
  }

  get resizeRecord(): ResizeRecord | undefined {
    return this.#resize.record(this.#wanted);
  }

  /** The node's word about what the pod asks for: undefined promises it. */
  resize(refusal: WaitReason | undefined): void {
    if (refusal) this.#resize.hold(this.#wanted, refusal);
    else {
      const runtime = this.#host.cache.get(podUid(this.#wanted));
      this.#resize.allocate(this.#wanted, runtime?.containers.filter(isLive) ?? []);
      this.#pod = withAllocation(this.#wanted, this.#resize.allocation);
    }
    this.wake();
  }

  get life(): PodLife {
    return this.#life;
  }

  /** The status that was reported last. */
  get status(): PodStatus | undefined {
    return this.#lastStatus ?? this.#pod.status;
  }

  /** The API has another version of the pod. */
  update(pod: Pod): void {
    this.#wanted = pod;
    this.#pod = withAllocation(pod, this.#resize.allocation);
    if (this.#pod === pod) this.#resize.settle();
    else this.#resize.ask();
    this.wake();
  }

  /** The API has the pod no more. */
  remove(): void {
    this.#removed = true;
    this.wake();
  }

  /** The node refuses the pod, before anything of it was started. */
  reject(reason: WaitReason): void {
    this.#failed = reason;
    this.#life = 'ending';
    this.wake();
  }

  wake(): void {
    this.#pending = true;
    this.#signal?.();
  }

  /** Ends the loop; containers stay as they are. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stop.abort();
    this.#prober.stop();
    this.wake();
    await this.done;
  }

  #unhealthy(container: Container, kind: ProbeKind, outcome: ProbeOutcome): void {
    const title = `${kind[0]!.toUpperCase()}${kind.slice(1)}`;
    const field = initContainers(this.#pod).some((c) => c.name === container.name) ? 'initContainers' : 'containers';
    this.#host.events.record(
      podSubject(this.#pod, container, field),
      'Warning',
      'Unhealthy',
      `${title} probe failed: ${outcome.message}`,
    );
  }

  #wakeIn(delayMs: number): void {
    this.#wakeAtMs = Math.min(this.#wakeAtMs, this.#host.clock.monotonic() + delayMs);
  }

  async #wait(): Promise<void> {
    if (this.#pending || this.#stopped) return;
    await new Promise<void>((resolve) => {
      const delay = Math.max(0, Math.min(resyncMs, this.#wakeAtMs - this.#host.clock.monotonic()));
      const timer: Timer = this.#host.clock.after(delay, resolve);
      this.#signal = () => {
        timer.cancel();
        resolve();
      };
    });
    this.#signal = undefined;
  }

  async #loop(): Promise<void> {
    while (!this.#stopped && this.#life !== 'gone') {
      await this.#wait();
      if (this.#stopped) return;
      this.#pending = false;
      this.#wakeAtMs = Number.POSITIVE_INFINITY;
      try {
        await this.#step();
        this.#retryMs = firstRetryMs;
      } catch (error) {
        if (this.#stopped) return;
        this.#host.log.warn('pod step failed', { pod: podKey(this.#pod), life: this.#life, error: errorText(error) });
        // A step that failed may have asked to be woken at once: that would go round and round.
        this.#wakeAtMs = this.#host.clock.monotonic() + this.#retryMs;
        this.#retryMs = Math.min(maxRetryMs, this.#retryMs * 2);
      }
    }
  }

  async #step(): Promise<void> {
    if (this.#pod.metadata.deletionTimestamp !== undefined || this.#removed) this.#deleted = true;
    if (this.#life === 'running' && (this.#deleted || isTerminal(this.#pod.status))) this.#takeDown();
    if (this.#life === 'running') await this.#run();
    if (this.#life === 'ending') await this.#end();
    if (this.#life === 'ended') await this.#finish();
  }

  #takeDown(): void {
    this.#life = 'ending';
    this.#host.ending();
  }

  async #runtime(): Promise<PodRuntime> {
    return this.#host.cache.refresh(podUid(this.#pod), this.#pod.metadata.name, podNamespace(this.#pod));
  }

  #place(runtime: PodRuntime): PodPlace {
    const podIPs = this.#pod.spec.hostNetwork ? [this.#host.hostIP] : (currentSandbox(runtime)?.ips ?? []);
    return { hostIP: this.#host.hostIP, podIPs, allocatable: this.#host.allocatable };
  }

  /** Tells the API what is; returns the status. */
  #report(runtime: PodRuntime, terminating: boolean): PodStatus {
    this.#prober.update(this.#pod, runtime, terminating);
    const status = podStatus({
      pod: { ...this.#pod, status: this.#knownStatus() },
      runtime,
      waiting: this.#waiting,
      readiness: this.#prober.results('readiness'),
      startup: this.#prober.results('startup'),
      hooksRunning: this.#hooksRunning,
      resize: this.#resize.state(),
      hostIP: this.#host.hostIP,
      nowMs: this.#host.clock.now(),
      startTimeMs: this.#startTimeMs,
      terminating,
      failed: this.#failed,
    });
    this.#lastStatus = status;
    this.#host.report(this.#pod, status);
    return status;
  }

  /** Our own last word, with what others wrote into the status in the API. */
  #knownStatus(): PodStatus {
    const api = this.#pod.status ?? {};
    if (!this.#lastStatus) return api;
    const own = new Map((this.#lastStatus.conditions ?? []).map((c) => [c.type, c] as [string, PodCondition]));
    const foreign = (api.conditions ?? []).filter((c) => !own.has(c.type));
    const gates = new Set((this.#pod.spec.readinessGates ?? []).map((g) => g.conditionType));
    const conditions = [...own.values()]
      .map(
        (c) =>
          ((gates.has(c.type) || c.type === 'DisruptionTarget') && api.conditions?.find((a) => a.type === c.type)) || c,
      )
      .concat(foreign);
    return {
      ...this.#lastStatus,
      ...(isTerminal(api)
        ? {
            phase: api.phase!,
            ...(api.reason ? { reason: api.reason } : {}),
            ...(api.message ? { message: api.message } : {}),
          }
        : {}),
      conditions,
    };
  }

  async #run(): Promise<void> {
    const host = this.#host;
    const runtime = await this.#runtime();
    if (this.#deadlineExceeded()) {
      this.#failed = {
        reason: 'DeadlineExceeded',
        message: 'Pod was active on the node longer than the specified deadline',
      };
      host.events.record(podSubject(this.#pod), 'Normal', 'DeadlineExceeded', this.#failed.message);
      this.#takeDown();
      return;
    }
    for (const id of this.#condemned.keys())
      if (!runtime.containers.some((c) => c.id === id)) this.#condemned.delete(id);
    const dead = await this.#mounts.check(this.#pod, runtime, this.#condemned);
    this.#wakeIn(this.#mounts.nextCheckMs(this.#pod));
    const resized = await this.#resize.actuate(this.#pod, runtime);
    if (this.#resize.state().underWay) this.#wakeIn(resizeRetryMs);
    const status = this.#report(runtime, false);
    if (isTerminal(status)) {
      this.#takeDown();
      return;
    }
    const actions = this.#actions(runtime, resized);
    if (actions.kill.length > 0) {
      await this.#kill(runtime, actions);
      this.wake();
      return;
    }
    if (actions.killPod) {
      await this.#killForRestart(runtime, actions);
      if (!actions.createSandbox) {
        this.wake();
        return;
      }
    }
    await this.#mounts.reset(this.#pod, runtime, dead);
    let volumes: Map<string, string>;
    try {
      volumes = await host.volumes.setUp(this.#pod, this.#place(runtime));
    } catch (error) {
      // What runs is left alone; a refresh that failed is tried again.
      host.events.record(podSubject(this.#pod), 'Warning', 'FailedMount', errorText(error));
      if (actions.start.length > 0 || actions.createSandbox) throw error;
      this.#wakeIn(5_000);
      return;
    }
    if (actions.createSandbox) {
      await this.#sandbox(actions.createSandbox.attempt);
      this.wake();
      return;
    }
    const started = await this.#start(runtime, actions.start, volumes);
    if (started) {
      this.wake();
      return;
    }
    this.#report(await this.#runtime(), false);
    await collectEnded(this.#host, runtime);
    const deadline = this.#pod.spec.activeDeadlineSeconds;
    if (deadline !== undefined) this.#wakeIn(this.#startedAt() + deadline * 1000 - host.clock.now() + 10);
  }

  #startedAt(): number {
    const text = this.#lastStatus?.startTime ?? this.#pod.status?.startTime;
    return text ? Date.parse(text) : this.#startTimeMs;
  }

  #deadlineExceeded(): boolean {
    const deadline = this.#pod.spec.activeDeadlineSeconds;
    return deadline !== undefined && this.#host.clock.now() - this.#startedAt() >= deadline * 1000;
  }

  #actions(runtime: PodRuntime, resized: ReadonlySet<string>): PodActions {
    return computeActions({
      pod: { ...this.#pod, status: this.#knownStatus() },
      runtime,
      probes: { liveness: this.#prober.results('liveness'), startup: this.#prober.results('startup') },
      hooksRunning: this.#hooksRunning,
      condemned: this.#condemned,
      resized,
    });
  }

  async #kill(runtime: PodRuntime, actions: PodActions): Promise<void> {
    const grace = this.#pod.spec.terminationGracePeriodSeconds ?? 30;
    await Promise.all(
      actions.kill.map(async ({ container, message, reason }) => {
        const spec = allContainers(this.#pod).find((c) => c.name === container.name);
        const probe =
          reason === 'liveness' ? spec?.livenessProbe : reason === 'startup' ? spec?.startupProbe : undefined;
        if (reason === 'resize') this.#backoff.forget(container.name);
        const seconds = reason === 'condemned' ? Math.min(grace, 5) : (probe?.terminationGracePeriodSeconds ?? grace);
        await killContainer(this.#host, this.#pod, runtime, container, seconds, message);
      }),
    );
  }

  async #killForRestart(runtime: PodRuntime, actions: PodActions): Promise<void> {
    if (runtime.containers.some(isLive))
      await killAll(this.#host, this.#pod, runtime, this.#pod.spec.terminationGracePeriodSeconds ?? 30);
    for (const sandbox of runtime.sandboxes)
      if (sandbox.ready || actions.createSandbox) await this.#host.cri.stopPodSandbox(sandbox.id);
    if (actions.createSandbox && runtime.sandboxes.length > 0)
      this.#host.events.record(
        podSubject(this.#pod),
        'Normal',
        'SandboxChanged',
        'Pod sandbox changed, it will be killed and re-created.',
      );
  }

  async #sandbox(attempt: number): Promise<void> {
    try {
      await startSandbox(this.#host, this.#pod, attempt);
    } catch (error) {
      this.#host.events.record(
        podSubject(this.#pod),
        'Warning',
        'FailedCreatePodSandBox',
        `Failed to create pod sandbox: ${errorText(error)}`,
      );
      throw error;
    }
  }

  /** Starts what is due; returns whether anything was started. */
  async #start(runtime: PodRuntime, due: PodActions['start'], volumes: ReadonlyMap<string, string>): Promise<boolean> {
    const sandbox = currentSandbox(runtime);
    if (!sandbox) return false;
    let started = false;
    for (const { container, kind, attempt } of due) {
      if (this.#stopped || this.#pod.metadata.deletionTimestamp !== undefined) return started;
      const now = this.#host.clock.now();
      const last = latest(runtime, container.name);
      if (last?.state === 'exited' && kind !== 'ephemeral') {
        const remaining = this.#backoff.remaining(container.name, last.finishedAtMs, now);
        if (remaining > 0) {
          this.#waiting.set(container.name, crashLoop(this.#pod, container.name, this.#backoff.delay(container.name)));
          const field = kind === 'init' ? 'initContainers' : 'containers';
          this.#host.events.record(
            podSubject(this.#pod, container, field),
            'Warning',
            'BackOff',
            `Back-off restarting failed container ${container.name} in pod ${podFullName(this.#pod)}`,
          );
          this.#wakeIn(remaining + 10);
          continue;
        }
      }
      if (last?.state === 'created') await this.#host.cri.removeContainer(last.id);
      try {
        const target = ephemeralContainers(this.#pod).find((c) => c.name === container.name)?.targetContainerName;
        const id = await startContainer(this.#host, {
          pod: this.#pod,
          container,
          kind,
          attempt: last?.state === 'created' ? last.attempt : attempt,
          sandboxId: sandbox.id,
          sandbox: podSandboxConfig(this.#host, this.#pod, sandbox.attempt),
          place: this.#place(runtime),
          volumes,
          targetId: target ? (latest(runtime, target)?.id ?? '') : '',
        });
        this.#resize.started(id, container.resources);
        if (last) this.#backoff.next(container.name, now);
        this.#waiting.delete(container.name);
        started = true;
        this.#postStart(runtime, container, id);
      } catch (error) {
        if (!(error instanceof StartError)) throw error;
        this.#waiting.set(container.name, error.wait);
        this.#wakeIn(error.wait.reason === 'ImagePullBackOff' ? 5_000 : Math.max(2_000, this.#retryMs));
        if (error.wait.reason === 'RunContainerError' && last) this.#backoff.next(container.name, now);
      }
    }
    return started;
  }

  #postStart(runtime: PodRuntime, container: Container, id: string): void {
    const hook = container.lifecycle?.postStart;
    if (!hook) return;
    this.#hooksRunning.add(container.name);
    const run = async (): Promise<void> => {
      try {
        await runHook(this.#host, runtime, this.#pod, container, id, hook, 3_600_000);
      } catch (error) {
        const message = `PostStartHook failed: ${errorText(error)}`;
        this.#host.events.record(podSubject(this.#pod, container), 'Warning', 'FailedPostStartHook', message);
        this.#condemned.set(id, `FailedPostStartHook: ${message}`);
      } finally {
        this.#hooksRunning.delete(container.name);
        this.wake();
      }
    };
    void run();
  }

  /** Seconds that the pod's containers have; a deletion may shorten what the spec says. */
  #grace(): number {
    const own = this.#pod.spec.terminationGracePeriodSeconds ?? 30;
    if (this.#failed && !this.#deleted) return own;
    return this.#pod.metadata.deletionGracePeriodSeconds ?? own;
  }

  /** Ends containers and sandbox; keeps telling the API meanwhile, and hurries when the grace period is shortened. */
  async #end(): Promise<void> {
    let runtime = await this.#runtime();
    if (runtime.containers.some(isLive)) {
      this.#report(runtime, true);
      let grace = this.#grace();
      let kill = this.#tracked(killAll(this.#host, this.#pod, runtime, grace));
      while (!kill.settled) {
        await Promise.race([kill.promise, this.#woken()]);
        if (this.#stopped) return;
        if (this.#pod.metadata.deletionTimestamp !== undefined) this.#deleted = true;
        const next = this.#grace();
        if (!kill.settled && next < grace) {
          grace = next;
          kill = this.#tracked(killAll(this.#host, this.#pod, runtime, grace));
        }
        if (!kill.settled) this.#report(await this.#runtime(), true);
      }
      if (kill.error) throw kill.error;
      runtime = await this.#runtime();
    }
    for (const sandbox of runtime.sandboxes) if (sandbox.ready) await this.#host.cri.stopPodSandbox(sandbox.id);
    this.#prober.stop();
    this.#waiting.clear();
    // A pod of which nothing was found ended before this agent began; the API knows its end.
    const known = runtime.containers.length === 0 && isTerminal(this.#pod.status) && !this.#failed;
    if (!known) this.#report(await this.#runtime(), true);
    this.#life = 'ended';
  }

  #tracked(promise: Promise<void>): { promise: Promise<void>; settled: boolean; error: unknown } {
    const out: { promise: Promise<void>; settled: boolean; error: unknown } = {
      promise,
      settled: false,
      error: undefined,
    };
    out.promise = promise.then(
      () => {
        out.settled = true;
      },
      (error: unknown) => {
        out.settled = true;
        out.error = error;
      },
    );
    return out;
  }

  async #woken(): Promise<void> {
    if (!this.#pending) {
      await new Promise<void>((resolve) => {
        this.#signal = resolve;
      });
      this.#signal = undefined;
    }
    this.#pending = false;
  }

  /** Nothing runs any more: volumes and cgroup go; for a deleted pod everything goes, and its deletion is confirmed. */
  async #finish(): Promise<void> {
    const uid = podUid(this.#pod);
    const host = this.#host;
    if (!this.#volumesDown) {
      await host.volumes.unmount(uid);
      await host.cgroups.remove(podCgroupPath(host.cgroupRoot, this.#pod));
      this.#volumesDown = true;
    }
    if (this.#pod.metadata.deletionTimestamp !== undefined) this.#deleted = true;
    if (!this.#deleted) return;
    await removeRemains(host, this.#pod, await this.#runtime());
    if (this.#removed) {
      this.#life = 'gone';
      host.forget(uid);
      return;
    }
    host.confirmDeleted(this.#pod, this.#lastStatus ?? this.#pod.status ?? {});
  }
}

function isTerminal(status: PodStatus | undefined): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}
