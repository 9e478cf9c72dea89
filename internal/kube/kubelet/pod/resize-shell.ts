import { errorText } from '../../../base/errors.ts';
import type { ResourceRequirements } from '../../api/types.ts';
import type { Pod } from '../pod-types.ts';
import { podUid } from '../pod-types.ts';
import { type PodHost, podSubject } from './pod-host.ts';
import { wholeValue } from './quantity.ts';
import {
  type Allocation,
  allocationOf,
  heirs,
  type ResizeRecord,
  resizeMessage,
  type ResizeStep,
  resizeSteps,
  wantsResize,
  widerLimits,
  withAllocation,
} from './resize.ts';
import { containerResources, podCgroupLimits, podCgroupPath, wholePod } from './resources.ts';
import type { PodRuntime, RuntimeContainer } from './runtime.ts';
import type { ResizeState, WaitReason } from './status.ts';

/** One pod's resizes: what it was promised, what its containers have, and what is in the way. The pod manager decides what is promised. */
export class PodResize {
  readonly #host: PodHost;
  #allocation: Allocation;
  /** What containers have that were there before the agent, or before the last promise. */
  #before: Allocation;
  /** By runtime id, and `wholePod`. */
  readonly #actual: Map<string, ResourceRequirements>;
  #pending: WaitReason | undefined;
  /** Since when the pod asks for something else than it was promised. */
  #askedMs: number | undefined;
  #underWay = false;
  #error = '';

  constructor(host: PodHost, pod: Pod, record?: ResizeRecord) {
    this.#host = host;
    this.#allocation = record?.allocated ?? allocationOf(pod);
    this.#before = this.#allocation;
    this.#actual = new Map(Object.entries(record?.actual ?? {}));
    this.#underWay = this.#actual.size > 0;
  }

  get allocation(): Allocation {
    return this.#allocation;
  }

  /** Since when the pod asks for something else than it was promised; now when it does not. */
  get pendingSinceMs(): number {
    return this.#askedMs ?? this.#host.clock.now();
  }

  /** What the node has to remember; undefined where the spec says it all. */
  record(pod: Pod): ResizeRecord | undefined {
    if (this.#actual.size === 0 && !wantsResize(pod, this.#allocation)) return undefined;
    return { allocated: this.#allocation, actual: Object.fromEntries(this.#actual) };
  }

  state(): ResizeState {
    return {
      actual: this.#actual,
      ...(this.#pending === undefined ? {} : { pending: this.#pending }),
      ...(this.#underWay ? { underWay: this.#error } : {}),
    };
  }

  /** The pod asks for something else than it was promised: its turn counts from the first time that this is seen. */
  ask(): void {
    this.#askedMs ??= this.#host.clock.now();
  }

  /** The node cannot promise it, now or ever. */
  hold(pod: Pod, why: WaitReason): void {
    if (this.#pending?.reason !== why.reason || this.#pending.message !== why.message)
      this.#tell(pod, 'Warning', `Resize${why.reason}`, why.reason, why.message);
    this.ask();
    this.#pending = why;
  }

  /** Nothing is asked for beyond what was promised. */
  settle(): void {
    this.#pending = undefined;
    this.#askedMs = undefined;
  }

  /** The node promises what `pod` asks for. `live` are the containers that have the old size until they are given the new one. */
  allocate(pod: Pod, live: readonly RuntimeContainer[]): void {
    const whole = this.#actual.get(wholePod) ?? this.#allocation[wholePod];
    const had = new Map(live.map((found) => [found.id, this.#has(found)] as const));
    this.settle();
    this.#error = '';
    this.#before = this.#allocation;
    this.#allocation = allocationOf(pod);
    this.#actual.clear();
    for (const [id, resources] of had) this.#actual.set(id, resources);
    if (whole !== undefined) this.#actual.set(wholePod, whole);
    this.#underWay = true;
    this.#tell(pod, 'Normal', 'ResizeStarted', 'started');
  }

  /** A container was started with these resources: while it was being made, the pod may have been promised others. */
  started(id: string, resources: ResourceRequirements | undefined): void {
    if (this.#underWay) this.#actual.set(id, resources ?? {});
  }

  #has(found: RuntimeContainer): ResourceRequirements {
    return this.#actual.get(found.id) ?? this.#before[found.name] ?? {};
  }

  /**
   * Gives running containers what they were promised; `pod` is as the node runs it. Returns the runtime ids of those that have to be restarted for it. What
   * fails is shown in the pod's status and tried again with the next look. When the pod was promised something else meanwhile, that is for the next look, too.
   */
  async actuate(pod: Pod, runtime: PodRuntime): Promise<ReadonlySet<string>> {
    if (!this.#underWay) return new Set();
    const allocation = this.#allocation;
    const steps = resizeSteps(pod, runtime, (found) => this.#has(found));
    const path = podCgroupPath(this.#host.cgroupRoot, pod);
    try {
      const sizes = new Map(steps.map(({ container, from }) => [container.name, from]));
      const whole = this.#actual.get(wholePod);
      if (whole !== undefined) sizes.set(wholePod, whole);
      const had = withAllocation(pod, Object.fromEntries(sizes));
      await this.#host.cgroups.ensure(path, widerLimits(podCgroupLimits(had), podCgroupLimits(pod)));
      for (const step of steps) if (!step.restart) await this.#update(pod, step);
      const done = new Set(steps.map(({ found }) => found.id));
      for (const step of heirs(pod, runtime, whole)) if (!done.has(step.found.id)) await this.#update(pod, step);
      // The kernel may refuse to take away what is in use.
      if (!steps.some(({ restart }) => restart)) await this.#host.cgroups.ensure(path, podCgroupLimits(pod));
    } catch (error) {
      if (this.#allocation !== allocation) return new Set();
      const why = errorText(error);
      if (this.#error !== why) this.#tell(pod, 'Warning', 'ResizeError', 'error', why);
      this.#error = why;
      return new Set();
    }
    if (this.#allocation !== allocation) {
      if (this.#actual.has(wholePod)) this.#actual.set(wholePod, allocation[wholePod] ?? {});
      return new Set();
    }
    this.#error = '';
    const restarts = new Set(steps.filter((step) => step.restart).map(({ found }) => found.id));
    if (restarts.size > 0) return restarts;
    this.#underWay = false;
    this.#before = this.#allocation;
    this.#actual.clear();
    this.#tell(pod, 'Normal', 'ResizeCompleted', 'completed');
    this.#host.resized(podUid(pod));
    return restarts;
  }

  async #update(pod: Pod, { container, found, from, to }: ResizeStep): Promise<void> {
    const limit = to.limits?.memory === undefined ? 0 : wholeValue(to.limits.memory);
    const before = from.limits?.memory === undefined ? 0 : wholeValue(from.limits.memory);
    if (limit > 0 && (before === 0 || limit < before)) {
      const stats = await this.#host.cri.listContainerStats();
      const used = stats.find((one) => one.attributes?.id === found.id)?.memory?.workingSetBytes?.value ?? 0;
      // What is in use cannot be taken away: the kernel would kill the container instead.
      if (used > limit)
        throw new Error(
          `attempting to set container ${JSON.stringify(container.name)} memory limit (${limit}) below current usage (${used})`,
        );
    }
    await this.#host.cri.updateContainerResources(
      found.id,
      containerResources(pod, container, this.#host.memoryCapacity),
    );
    this.#actual.set(found.id, to);
  }

  #tell(pod: Pod, type: 'Normal' | 'Warning', reason: string, what: string, error = ''): void {
    this.#host.events.record(podSubject(pod), type, reason, resizeMessage(what, pod, error));
  }
}
