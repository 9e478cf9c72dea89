import { sleep } from '../../../base/clock.ts';
import { errorText } from '../../../base/errors.ts';
import type { Container, Handler, Pod } from '../pod-types.ts';
import { allContainers, initContainers, isSidecar, podKey } from '../pod-types.ts';
import { runHandler } from '../probe/handler-client.ts';
import { type PodHost, podSubject } from './pod-host.ts';
import { currentSandbox, isLive, type PodRuntime, type RuntimeContainer } from './runtime.ts';

/** What a container gets at least after its preStop hook (upstream's minimumGracePeriodInSeconds). */
const minGraceSeconds = 2;

/** Runs a lifecycle hook; throws with what went wrong. */
export async function runHook(
  host: PodHost,
  runtime: PodRuntime,
  pod: Pod,
  container: Container,
  containerId: string,
  hook: Handler,
  timeoutMs: number,
): Promise<void> {
  if (hook.sleep) {
    await sleep(host.clock, Math.min(hook.sleep.seconds * 1000, timeoutMs));
    return;
  }
  const podIP = pod.spec.hostNetwork ? host.hostIP : (currentSandbox(runtime)?.ips[0] ?? '');
  const outcome = await runHandler(hook, { container, containerId, podIP, cri: host.cri }, timeoutMs);
  if (outcome.result !== 'success') throw new Error(outcome.message || 'the hook failed');
}

/** Ends one container: preStop hook, then the stop signal, then SIGKILL, all within `graceSeconds`. */
export async function killContainer(
  host: PodHost,
  pod: Pod,
  runtime: PodRuntime,
  found: RuntimeContainer,
  graceSeconds: number,
  message: string,
): Promise<void> {
  const container = allContainers(pod).find((c) => c.name === found.name);
  host.events.record(podSubject(pod, container), 'Normal', 'Killing', message);
  const begun = host.clock.monotonic();
  const hook = container?.lifecycle?.preStop;
  if (container && hook && graceSeconds > 0 && found.state === 'running') {
    try {
      const done = runHook(host, runtime, pod, container, found.id, hook, graceSeconds * 1000);
      await Promise.race([done, sleep(host.clock, graceSeconds * 1000)]);
    } catch (error) {
      host.events.record(
        podSubject(pod, container),
        'Warning',
        'FailedPreStopHook',
        `PreStopHook failed: ${errorText(error)}`,
      );
    }
  }
  const used = Math.round((host.clock.monotonic() - begun) / 1000);
  const left = graceSeconds === 0 ? 0 : Math.max(hook ? minGraceSeconds : 1, graceSeconds - used);
  await host.cri.stopContainer(found.id, left);
}

/**
 * Ends all containers of a pod that is to end: the main ones at once together, then sidecars from the last to the first, so that each
 * outlives what depends on it (KEP-753). Errors are told and thrown after everything was tried.
 */
export async function killAll(host: PodHost, pod: Pod, runtime: PodRuntime, graceSeconds: number): Promise<void> {
  const deadline = host.clock.monotonic() + graceSeconds * 1000;
  const live = runtime.containers.filter(isLive);
  const sidecars = initContainers(pod)
    .filter(isSidecar)
    .map((c) => c.name);
  const failures: string[] = [];
  const kill = async (found: RuntimeContainer): Promise<void> => {
    const left = graceSeconds === 0 ? 0 : Math.max(1, Math.ceil((deadline - host.clock.monotonic()) / 1000));
    try {
      await killContainer(host, pod, runtime, found, left, `Stopping container ${found.name}`);
    } catch (error) {
      failures.push(`${found.name}: ${errorText(error)}`);
    }
  };
  await Promise.all(live.filter((c) => !sidecars.includes(c.name)).map(kill));
  for (const name of [...sidecars].reverse()) await Promise.all(live.filter((c) => c.name === name).map(kill));
  if (failures.length > 0) {
    host.log.warn('containers did not end', { pod: podKey(pod), error: failures.join('; ') });
    throw new Error(failures.join('; '));
  }
}
