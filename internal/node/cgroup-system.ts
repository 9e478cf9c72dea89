import { dlopen, FFIType, ptr } from 'bun:ffi';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { parseMountInfo } from '../base/mountinfo.ts';
import {
  findMemoryController,
  type GroupPlaces,
  groupPlaces,
  type MemoryController,
  memoryFiles,
  type OomCounts,
  parseOomCounts,
} from './cgroup.ts';

/** What of the machine matters here; tests put a tree of files in its place. */
export interface CgroupMachine {
  /** Put before every absolute path. */
  readonly root: string;
  /** Whether the group of this process was given to it to divide. */
  delegated(directory: string): boolean;
}

const systemdUnit = /\.service$/;

export const systemMachine: CgroupMachine = {
  root: '',
  // systemd marks what it delegates (systemd's CGROUP_DELEGATION.md). In v1 its name says enough: systemd manages nothing below a unit there.
  delegated: (directory) =>
    process.env.INVOCATION_ID !== undefined &&
    systemdUnit.test(directory) &&
    (!existsSync(`${directory}/cgroup.controllers`) || hasAttribute(directory, 'trusted.delegate')),
};

function hasAttribute(path: string, name: string): boolean {
  const { symbols, close } = dlopen('libc.so.6', {
    getxattr: { args: [FFIType.ptr, FFIType.ptr, FFIType.ptr, FFIType.u64], returns: FFIType.i64 },
  });
  try {
    const value = Buffer.alloc(8);
    const texts = [path, name].map((text) => Buffer.from(`${text}\0`));
    return Number(symbols.getxattr(ptr(texts[0]!), ptr(texts[1]!), ptr(value), value.length)) >= 1 && value[0] === 0x31;
  } finally {
    close();
  }
}

/** The group that what backs mounted volumes is in. */
export const volumesGroup = 'volumes';
/** The group that container shims are in: a budget of containerd must not end them, for they hold the containers. */
const shimsGroup = 'shims';

/**
 * The control groups of a node's roles: one each, with its memory budget. A machine without the memory controller runs without budgets: `problem` tells
 * why. Nothing here throws: a budget that cannot be set never keeps a role from running.
 */
export class RoleCgroups {
  readonly #machine: CgroupMachine;
  readonly #log: Logger;
  readonly #controller: MemoryController | undefined;
  readonly #places: GroupPlaces | undefined;
  #problem: string | undefined;

  constructor(applianceId: string, log: Logger, machine: CgroupMachine = systemMachine) {
    this.#machine = machine;
    this.#log = log;
    const controller = findMemoryController(
      parseMountInfo(this.#read('/proc/self/mountinfo')),
      this.#read('/proc/self/cgroup'),
      (mountPoint) => this.#read(`${mountPoint}/cgroup.controllers`),
    );
    this.#controller = controller;
    if (!controller) {
      this.#problem = 'the kernel has no memory controller (Raspberry Pi OS: cgroup_enable=memory in cmdline.txt)';
      return;
    }
    const own = controller.mountPoint + controller.own;
    this.#places = groupPlaces(controller, applianceId, machine.delegated(own));
  }

  /** Why roles run without memory budgets, undefined when they have them. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Makes the parents of groups. In v2 this process leaves a group that was delegated to it for a leaf of it: inner groups have no processes. */
  setUp(): void {
    const [controller, places] = [this.#controller, this.#places];
    if (!controller || !places) return;
    try {
      if (controller.version === 2 && places.roles !== places.survivors) {
        const leaf = `${places.roles}/supervisor`;
        this.#make(leaf);
        this.#write(`${leaf}/cgroup.procs`, String(process.pid));
      }
      for (const parent of new Set([places.roles, places.survivors])) {
        this.#make(parent);
        if (controller.version === 2) this.#passMemoryOn(parent);
      }
    } catch (error) {
      this.#problem = `no cgroup can be made for roles: ${errorText(error)}`;
    }
  }

  /** Gives the memory controller to the groups below `path`, from the root down. */
  #passMemoryOn(path: string): void {
    const parts = path.split('/').filter((part) => part !== '');
    for (let depth = 0; depth <= parts.length; depth++) {
      const file = `${parts
        .slice(0, depth)
        .map((part) => `/${part}`)
        .join('')}/cgroup.subtree_control`;
      if (!this.#readGroup(file).split(/\s+/).includes('memory')) this.#write(file, '+memory');
    }
  }

  /**
   * Makes an instance's group with its budget in bytes (undefined: none) and gives its `cgroup.procs`, undefined where there are no groups. What an earlier
   * process of the instance left in it is killed, unless the group is of what `survives`.
   */
  ensure(instance: string, limitBytes: number | undefined, survives: boolean): string | undefined {
    const group = this.#group(instance, survives);
    if (group === undefined || this.#problem !== undefined) return undefined;
    try {
      this.#make(group);
      if (!survives) this.#killAll(group);
    } catch (error) {
      this.#log.warn('no cgroup', { instance, error: errorText(error) });
      return undefined;
    }
    this.setLimit(instance, limitBytes, survives);
    return `${this.#machine.root}${this.#controller!.mountPoint}${group}/cgroup.procs`;
  }

  /** The groups of what a program starts and that outlives it; made here. */
  programGroups(): { shims: string | undefined } {
    return {
      shims: this.ensure(shimsGroup, undefined, true) === undefined ? undefined : this.#group(shimsGroup, true),
    };
  }

  /** Changes a budget while the instance runs. */
  setLimit(instance: string, limitBytes: number | undefined, survives: boolean): void {
    const group = this.#group(instance, survives);
    if (group === undefined || this.#problem !== undefined) return;
    const files = memoryFiles[this.#controller!.version];
    try {
      this.#write(`${group}/${files.limit}`, limitBytes === undefined ? files.noLimit : String(limitBytes));
    } catch (error) {
      // EBUSY in v1: it uses more than that now.
      this.#log.warn('memory budget not set', { instance, limitBytes, error: errorText(error) });
    }
  }

  /** What the kernel has counted of the group's want of memory, since the group was made. */
  oomCounts(instance: string, survives: boolean): OomCounts {
    const group = this.#group(instance, survives);
    if (group === undefined || this.#problem !== undefined) return { kills: 0, limitHits: 0 };
    const { events, limitHits } = memoryFiles[this.#controller!.version];
    return parseOomCounts(this.#readGroup(`${group}/${events}`), this.#readGroup(`${group}/${limitHits}`));
  }

  /** Bytes that the instance's group uses now, page cache included. */
  usage(instance: string, survives: boolean): number | undefined {
    const group = this.#group(instance, survives);
    if (group === undefined || this.#problem !== undefined) return undefined;
    const bytes = Number(this.#readGroup(`${group}/${memoryFiles[this.#controller!.version].usage}`) || Number.NaN);
    return Number.isFinite(bytes) ? bytes : undefined;
  }

  /** Removes the instance's group if nothing is in it any more. */
  remove(instance: string, survives: boolean): void {
    const group = this.#group(instance, survives);
    if (group === undefined) return;
    this.#removeDirectory(group);
  }

  /** Removes the parents of groups if nothing is in them any more. */
  tearDown(): void {
    if (!this.#places) return;
    this.#removeDirectory(this.#places.survivors);
  }

  #group(instance: string, survives: boolean): string | undefined {
    return this.#places && `${survives ? this.#places.survivors : this.#places.roles}/${instance}`;
  }

  #path(group: string): string {
    return `${this.#machine.root}${this.#controller!.mountPoint}${group}`;
  }

  #make(group: string): void {
    mkdirSync(this.#path(group), { recursive: true, mode: 0o755 });
  }

  #write(file: string, value: string): void {
    writeFileSync(this.#path(file), value);
  }

  #read(path: string): string {
    try {
      return readFileSync(`${this.#machine.root}${path}`, 'utf8');
    } catch {
      return '';
    }
  }

  #readGroup(file: string): string {
    return this.#read(this.#controller!.mountPoint + file);
  }

  #killAll(group: string): void {
    for (const pid of this.#readGroup(`${group}/cgroup.procs`)
      .split('\n')
      .filter((line) => line !== '')) {
      this.#log.warn('killing what an earlier process left behind', { group, pid });
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch (error) {
        if (errorCode(error) !== 'ESRCH') throw error;
      }
    }
  }

  #removeDirectory(group: string): void {
    try {
      for (const entry of readdirSync(this.#path(group), { withFileTypes: true }))
        if (entry.isDirectory()) this.#removeDirectory(join(group, entry.name));
      rmdirSync(this.#path(group));
    } catch (error) {
      // EBUSY: something lives on in it, as it should.
      if (errorCode(error) !== 'EBUSY' && errorCode(error) !== 'ENOENT')
        this.#log.debug('cgroup not removed', { group, error: errorText(error) });
    }
  }
}
