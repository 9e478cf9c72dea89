import { readdirSync, readFileSync } from 'node:fs';
import { AppError, errorCode } from '../base/errors.ts';
import { makeDirectory, writeFileAtomic } from '../base/files-system.ts';
import type { Logger } from '../base/log.ts';
import { mountsBelow } from '../base/mounts-system.ts';
import type { Config } from '../config/config.ts';
import { nodePaths } from '../config/paths.ts';
import { socketAnswers } from './probe-system.ts';
import { roleTable } from './role-table.ts';
import { claimRunDirectory, removeRunDirectory } from './run-directory-system.ts';
import { selfCommand } from './self-system.ts';
import { isRoleOf } from './strays.ts';
import { Supervisor } from './supervisor-system.ts';

/** What `up` and `down` do so that nothing of a node is left: each part in a process of its own, so that the caller stays small. */

const podsTimeoutMs = 90_000;
const networkTimeoutMs = 30_000;

/** What comes between the parts: processes that are killed have to end, and a part's process has to begin. */
const betweenMs = 30_000;

/** How long a full stop may take in which every part uses up its time: who asked for it does not give up before. */
export const fullStopMsMax =
  roleTable.reduce((sum, { stopDeadlineMs }) => sum + stopDeadlineMs, 0) + podsTimeoutMs + networkTimeoutMs + betweenMs;

/** The parts that `appliance teardown PART FILE` carries out. */
export type TeardownPart = 'pods' | 'network';

/** A full stop of a running node: pods first, while their volumes' storage still runs, then every role, then what is left on the machine. */
export async function stopAll(
  supervisor: Supervisor,
  config: Config,
  tell: { wait(text: string): void; done(text: string): void },
): Promise<void> {
  // Before anything is stopped: a reload would start it again.
  await supervisor.beginStop();
  const agents = supervisor
    .status()
    .instances.map((instance) => instance.name)
    .filter((name) => name === 'agent' || name === 'edge');
  await supervisor.stop(agents);
  await teardownPods(config, (text) => {
    supervisor.tellStep(text);
    tell.wait(text);
  });
  supervisor.tellStep(undefined);
  if (agents.length > 0) tell.done('pods stopped, volumes unmounted');
  await supervisor.stop();
  await teardownRest(config);
}

/** Stops and removes every container and sandbox, unmounts and detaches every volume. containerd must be running. */
export async function teardownPods(config: Config, wait: (text: string) => void): Promise<void> {
  if (!config.roles.includes('agent')) return;
  wait('stopping pods and unmounting volumes');
  await runPart('pods', config, podsTimeoutMs);
}

const storageRoles = ['mon', 'mgr', 'osd'];
const storageStartMs = 60_000;

/**
 * When nothing of a node runs but its containers: volumes on its own storage can only be written out while that runs. It is started for the time of it, pods are
 * stopped and volumes unmounted, and everything ends. Does nothing where no volume is mounted.
 */
export async function stopPodsWithStorage(
  config: Config,
  applianceId: string,
  log: Logger,
  wait: (text: string) => void,
): Promise<void> {
  const { plugins } = nodePaths(config.dataDir, config.runDir);
  if (!config.roles.includes('osd') || mountsBelow(plugins).length === 0) return;
  wait('starting the storage once more, so that volumes can be written out');
  await killStrays(config);
  const supervisor = new Supervisor({
    node: { config, applianceId },
    log,
    version: '',
    only: storageRoles,
    onChange: () => undefined,
    prepareAgain: () => Promise.reject(new AppError('RELOAD', 'the node is stopping')),
  });
  await supervisor.start(() => undefined);
  try {
    const deadline = performance.now() + storageStartMs;
    while (!supervisor.allReady && performance.now() < deadline) await Bun.sleep(200);
    await teardownPods(config, wait);
  } finally {
    await supervisor.stop();
  }
}

/** The same when the node's supervisor was killed: containerd is started for it if it is not there, and what still runs is ended. */
export async function teardownLeftovers(config: Config, wait: (text: string) => void): Promise<void> {
  const paths = nodePaths(config.dataDir, config.runDir);
  await killStrays(config);
  if (!config.roles.includes('agent')) return;
  const entry = roleTable.find((one) => one.role === 'containerd')!;
  if (entry.run.kind !== 'program') return;
  wait('looking for containers');
  claimRunDirectory(config.runDir);
  makeDirectory(paths.logs);
  const groups = { shims: undefined };
  const argv = await entry.run.prepare({ instance: 'containerd', config, paths, groups, user: undefined });
  const containerd = Bun.spawn(['setpriv', '--pdeathsig', 'KILL', 'setsid', ...argv], {
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: Bun.file(`${paths.logs}/containerd.log`),
  });
  try {
    const deadline = performance.now() + 20_000;
    while (!(await socketAnswers(paths.containerdSocket))) {
      if (performance.now() > deadline || containerd.exitCode !== null)
        throw new AppError('CONTAINERD', 'containerd does not start, so containers cannot be removed', {
          hint: `its log is ${paths.logs}/containerd.log`,
        });
      await Bun.sleep(100);
    }
    await teardownPods(config, wait);
  } finally {
    containerd.kill('SIGTERM');
    await containerd.exited;
  }
}

/** Removes the network's traces and the run directory. Nothing may run any more. */
export async function teardownRest(config: Config): Promise<void> {
  if (config.roles.includes('agent')) await runPart('network', config, networkTimeoutMs);
  await removeRunDirectory(config.runDir);
}

async function runPart(part: TeardownPart, config: Config, timeoutMs: number): Promise<void> {
  claimRunDirectory(config.runDir);
  const file = `${config.runDir}/teardown.json`;
  writeFileAtomic(file, JSON.stringify(config), 0o600);
  const child = Bun.spawn(['setsid', ...selfCommand(), 'teardown', part, file], {
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'pipe',
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  const text = await new Response(child.stderr).text();
  const code = await child.exited;
  if (code !== 0)
    throw new AppError(
      'TEARDOWN',
      `removing ${part} ${child.signalCode ? `did not end within ${timeoutMs / 1000} s` : 'failed'}: ${text.trim().split('\n').slice(-5).join('; ')}`,
    );
}

/** Roles' processes whose supervisor is gone end by themselves; those that do not within a second are killed. */
async function killStrays(config: Config): Promise<void> {
  const { agent } = nodePaths(config.dataDir, config.runDir);
  const place = { runDir: config.runDir, agent, containerd: config.containerd.command };
  const strays = (): number[] =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .filter((name) => {
        try {
          // Every argument ends with NUL.
          const argv = readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').slice(0, -1);
          return isRoleOf(argv, place);
        } catch {
          return false;
        }
      })
      .map(Number);
  for (let round = 0; round < 10; round++) {
    if (strays().length === 0) return;
    await Bun.sleep(100);
  }
  for (const pid of strays())
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      // It has ended meanwhile.
      if (errorCode(error) !== 'ESRCH') throw error;
    }
}
