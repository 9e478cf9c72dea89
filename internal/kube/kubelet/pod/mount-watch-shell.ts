import { allContainers, type Pod, podKey } from '../pod-types.ts';
import { type PodHost, podSubject } from './pod-host.ts';
import { isLive, latest, type PodRuntime } from './runtime.ts';

/** How often the mounts of claims are asked whether they live. */
const checkMs = 15_000;

/**
 * Watches over the mounts that a pod's claims stand on. When what backs one is gone, the containers on it are restarted on a fresh mount:
 * a program on a dead mount would see nothing but errors for ever.
 */
export class MountWatch {
  readonly #host: PodHost;
  #checkAtMs = 0;

  constructor(host: PodHost) {
    this.#host = host;
  }

  /** Milliseconds until the next check is due, Infinity for a pod that has nothing to check. */
  nextCheckMs(pod: Pod): number {
    if (!(pod.spec.volumes ?? []).some((v) => v.persistentVolumeClaim ?? v.csi ?? v.ephemeral))
      return Number.POSITIVE_INFINITY;
    return Math.max(0, this.#checkAtMs - this.#host.clock.monotonic());
  }

  /** Dead volumes with the reason, when a check is due. Live containers that use one are added to `condemned`, by runtime id. */
  async check(pod: Pod, runtime: PodRuntime, condemned: Map<string, string>): Promise<Map<string, string>> {
    if (this.nextCheckMs(pod) > 0) return new Map();
    const dead = await this.#host.volumes.dead(pod);
    if (dead.size === 0) {
      this.#checkAtMs = this.#host.clock.monotonic() + checkMs;
      return dead;
    }
    for (const container of allContainers(pod)) {
      const mount = container.volumeMounts?.find((m) => dead.has(m.name));
      const found = latest(runtime, container.name);
      if (!mount || !found || !isLive(found)) continue;
      const reason = dead.get(mount.name) ?? '';
      condemned.set(
        found.id,
        `Container ${container.name} stands on volume "${mount.name}" whose mount is dead (${reason}), will be restarted`,
      );
    }
    return dead;
  }

  /** Takes dead mounts away once nothing runs on them; the next set-up of the pod's volumes makes them anew. */
  async reset(pod: Pod, runtime: PodRuntime, dead: ReadonlyMap<string, string>): Promise<void> {
    for (const [name, reason] of dead) {
      const used = allContainers(pod).some((c) => {
        const found = latest(runtime, c.name);
        return found !== undefined && isLive(found) && c.volumeMounts?.some((m) => m.name === name);
      });
      if (used) continue;
      this.#host.log.warn('volume mounted anew', { pod: podKey(pod), volume: name, reason });
      const text = `The mount of volume "${name}" was dead (${reason}); it is made anew`;
      this.#host.events.record(podSubject(pod), 'Warning', 'VolumeRemounted', text);
      await this.#host.volumes.reset(pod, name);
    }
  }
}
