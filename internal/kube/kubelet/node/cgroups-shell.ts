import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import { cgroupV2 } from '../machine-system.ts';
import { cpuPeriod, cpuWeight, type PodCgroupLimits } from '../pod/resources.ts';

const mountPoint = '/sys/fs/cgroup';
const v2Controllers = '+cpu +memory +pids';

/** The control groups of pods, in whichever hierarchy the machine has. Paths are relative to the controllers' mount points. */
export class Cgroups {
  readonly #log: Logger;
  readonly #unified = cgroupV2();

  constructor(log: Logger) {
    this.#log = log;
  }

  async #write(file: string, value: string): Promise<void> {
    try {
      await writeFile(file, value);
    } catch (error) {
      this.#log.debug('cgroup value not set', { file, value, error: errorText(error) });
    }
  }

  /** Makes the pod's group with its limits; they are set anew when it is there already. */
  async ensure(path: string, limits: PodCgroupLimits): Promise<void> {
    if (this.#unified) {
      let current = mountPoint;
      for (const part of path.split('/').filter((p) => p !== '')) {
        await this.#write(join(current, 'cgroup.subtree_control'), v2Controllers);
        current = join(current, part);
        await mkdir(current, { recursive: true });
      }
      await this.#write(join(current, 'cpu.weight'), String(cpuWeight(limits.cpuShares)));
      await this.#write(join(current, 'cpu.max'), `${limits.cpuQuota > 0 ? limits.cpuQuota : 'max'} ${cpuPeriod}`);
      await this.#write(join(current, 'memory.max'), limits.memoryLimit > 0 ? String(limits.memoryLimit) : 'max');
      return;
    }
    const cpu = join(mountPoint, 'cpu', path);
    const memory = join(mountPoint, 'memory', path);
    await mkdir(cpu, { recursive: true });
    await mkdir(memory, { recursive: true });
    await this.#write(join(cpu, 'cpu.shares'), String(limits.cpuShares));
    await this.#write(join(cpu, 'cpu.cfs_period_us'), String(cpuPeriod));
    await this.#write(join(cpu, 'cpu.cfs_quota_us'), String(limits.cpuQuota > 0 ? limits.cpuQuota : -1));
    await this.#write(join(memory, 'memory.limit_in_bytes'), String(limits.memoryLimit > 0 ? limits.memoryLimit : -1));
  }

  /** Every directory that `path` has: one in the unified hierarchy, one a controller in the old one. */
  async #directories(path: string): Promise<string[]> {
    if (this.#unified) return existsSync(join(mountPoint, path)) ? [join(mountPoint, path)] : [];
    const controllers = await readdir(mountPoint, { withFileTypes: true });
    return controllers
      .filter((c) => c.isDirectory())
      .map((c) => join(mountPoint, c.name, path))
      .filter((d) => existsSync(d));
  }

  /** Kills what is left in the group and below, and removes it. */
  async remove(path: string): Promise<void> {
    for (const directory of await this.#directories(path)) await this.#removeTree(directory);
  }

  async #removeTree(directory: string): Promise<void> {
    let entries: string[];
    try {
      entries = (await readdir(directory, { withFileTypes: true })).filter((e) => e.isDirectory()).map((e) => e.name);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return;
      throw error;
    }
    for (const name of entries) await this.#removeTree(join(directory, name));
    const processes = await readFile(join(directory, 'cgroup.procs'), 'utf8').catch(() => '');
    for (const pid of processes.split('\n').filter((p) => p !== '')) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It ended by itself.
      }
    }
    for (let i = 0; ; i++) {
      try {
        await rmdir(directory);
        return;
      } catch (error) {
        if (errorCode(error) === 'ENOENT') return;
        // The kernel lets go of a group a moment after its last process has gone.
        if (errorCode(error) !== 'EBUSY' || i >= 40) {
          this.#log.warn('cgroup cannot be removed', { directory, error: errorText(error) });
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    }
  }

  /** Pods that have a group below `root`, by uid, with the group's path. */
  async pods(root: string): Promise<Map<string, string>> {
    const out = new Map<string, string>();
    for (const sub of ['', '/burstable', '/besteffort']) {
      for (const directory of await this.#directories(`${root}${sub}`)) {
        for (const name of await readdir(directory).catch(() => [])) {
          if (name.startsWith('pod')) out.set(name.slice(3), `${root}${sub}/${name}`);
        }
      }
    }
    return out;
  }
}
