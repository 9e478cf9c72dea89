import { rm } from 'node:fs/promises';
import { type Pod, podNamespace, podUid } from '../pod-types.ts';
import { type PodHost, podLogDirectory } from './pod-host.ts';
import { isLive, type PodRuntime } from './runtime.ts';

/** Ended containers of one name that are kept beside the newest: the one whose log and state `--previous` shows. */
const keptPerName = 2;

/** Removes ended containers that nobody asks for any more, with their logs, and sandboxes that hold nothing. */
export async function collectEnded(host: PodHost, runtime: PodRuntime): Promise<void> {
  const seen = new Map<string, number>();
  const removed = new Set<string>();
  for (const container of runtime.containers) {
    const count = (seen.get(container.name) ?? 0) + 1;
    seen.set(container.name, count);
    if (count <= keptPerName || isLive(container)) continue;
    await host.cri.removeContainer(container.id);
    removed.add(container.id);
    if (container.logPath !== '') await rm(container.logPath, { force: true });
  }
  for (const sandbox of runtime.sandboxes.slice(1)) {
    if (runtime.containers.some((c) => c.sandboxId === sandbox.id && !removed.has(c.id))) continue;
    await host.cri.stopPodSandbox(sandbox.id);
    await host.cri.removePodSandbox(sandbox.id);
  }
}

/** Removes everything that a pod that has ended left on this node: sandboxes, containers, volumes, logs. Repeats safely. */
export async function removeRemains(host: PodHost, pod: Pod, runtime: PodRuntime): Promise<void> {
  for (const sandbox of runtime.sandboxes) {
    await host.cri.stopPodSandbox(sandbox.id);
    await host.cri.removePodSandbox(sandbox.id);
  }
  for (const container of runtime.containers) await host.cri.removeContainer(container.id);
  await host.volumes.tearDown(podUid(pod));
  const logs = podLogDirectory(host.logsDir, podNamespace(pod), pod.metadata.name, podUid(pod));
  await rm(logs, { recursive: true, force: true });
}
