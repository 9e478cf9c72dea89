import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../../base/errors.ts';
import { systemClock, systemLogger } from '../../base/system.ts';
import { sleep } from '../../base/clock.ts';
import type { Config } from '../../config/config.ts';
import type { Paths } from '../../config/paths.ts';
import { containerdPlaces } from './containerd.ts';
import { prepareContainerd } from './containerd-system.ts';
import { CriClient } from './cri/cri-client.ts';
import { Cgroups } from './node/cgroups-shell.ts';
import { podsCgroupRoot } from './node/identity.ts';
import { annotationGrace } from './pod/container-config.ts';
import { list, removeCsiDirectory } from './volume/csi-volumes-shell.ts';
import { removeMountPoints, unmountTree } from './volume/mount-shell.ts';

/** A pod's grace period is honoured up to this when the whole node is taken down. */
const maxGraceSeconds = 30;
const startMs = 20_000;

/**
 * Stops and removes every container, sandbox, mount and cgroup of this appliance, for `appliance down`. The agent must not run any more.
 * containerd is started for the time of it where it does not run. Repeats safely; throws when something could not be taken away. What CSI
 * drivers have staged is theirs to undo afterwards.
 */
export async function stopAllPods(config: Config, paths: Paths): Promise<void> {
  const log = systemLogger({ value: 'warn' });
  const places = containerdPlaces(paths);
  const failures: string[] = [];
  // One part that fails keeps no other from being done.
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      failures.push(`${what}: ${errorText(error)}`);
    }
  };
  if (existsSync(places.root))
    await attempt('containers', async () => {
      const runtime = await reach(config, paths);
      try {
        failures.push(...(await removeEverything(runtime.cri)));
      } finally {
        runtime.cri.close();
        await runtime.stop();
      }
    });
  await attempt('shims', () => killShims(paths.containerdSocket));
  await attempt('cgroups', () => new Cgroups(log).remove(podsCgroupRoot(config).split('/').slice(0, 2).join('/')));
  for (const directory of [join(paths.agent, 'pods'), places.state])
    await attempt(directory, () => unmountTree(directory));
  // Published volumes are gone; records of them would only mislead the next start.
  for (const uid of await list(join(paths.agent, 'pods')))
    await attempt(`volumes of pod ${uid}`, async () => {
      await removeMountPoints(join(paths.agent, 'pods', uid, 'volume-subpaths'), 3);
      const csi = join(paths.agent, 'pods', uid, 'volumes', 'kubernetes.io~csi');
      for (const name of await list(csi)) await removeCsiDirectory(join(csi, name));
      await removeMountPoints(csi, 0);
    });
  if (failures.length > 0) throw new Error(`not everything could be stopped: ${failures.join('; ')}`);
}

interface Reached {
  readonly cri: CriClient;
  stop(): Promise<void>;
}

async function reach(config: Config, paths: Paths): Promise<Reached> {
  const cri = new CriClient(paths.containerdSocket);
  try {
    await cri.version();
    return { cri, stop: async () => undefined };
  } catch {
    // It does not run: it is started for a moment.
  }
  const child = Bun.spawn(await prepareContainerd(config, paths), {
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  });
  const begun = systemClock.monotonic();
  for (;;) {
    try {
      await cri.version();
      break;
    } catch (error) {
      if (systemClock.monotonic() - begun > startMs || child.exitCode !== null) {
        child.kill('SIGKILL');
        throw new Error(`containerd cannot be started to stop containers: ${errorText(error)}`);
      }
      await sleep(systemClock, 200);
    }
  }
  return {
    cri,
    stop: async () => {
      child.kill('SIGTERM');
      await child.exited;
    },
  };
}

async function removeEverything(cri: CriClient): Promise<string[]> {
  const failures: string[] = [];
  const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      failures.push(`${what}: ${errorText(error)}`);
    }
  };
  const containers = await cri.listContainers();
  await Promise.all(
    containers.map((container) =>
      attempt(`container ${container.metadata.name}`, async () => {
        const asked = Number(container.annotations[annotationGrace] ?? maxGraceSeconds);
        if (container.state !== 'CONTAINER_EXITED')
          await cri.stopContainer(container.id, Math.min(asked, maxGraceSeconds));
        await cri.removeContainer(container.id);
      }),
    ),
  );
  const sandboxes = await cri.listPodSandbox();
  await Promise.all(
    sandboxes.map((sandbox) =>
      attempt(`pod ${sandbox.metadata.namespace}/${sandbox.metadata.name}`, async () => {
        await cri.stopPodSandbox(sandbox.id);
        await cri.removePodSandbox(sandbox.id);
      }),
    ),
  );
  return failures;
}

/** Ends shims of our containerd that it no longer knows. */
async function killShims(socket: string): Promise<void> {
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (!words[0]?.includes('containerd-shim')) continue;
    const address = words.indexOf('-address');
    if (address < 0 || words[address + 1] !== socket) continue;
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
}
