import type { MountEntry } from '../base/mountinfo.ts';

/**
 * Where the memory controller is and how its files are named: cgroup v1 (Documentation/admin-guide/cgroup-v1/memory.rst) and v2
 * (Documentation/admin-guide/cgroup-v2.rst). Which of them a machine has is told by its mount table.
 */

export interface MemoryController {
  readonly version: 1 | 2;
  readonly mountPoint: string;
  /** This process's own group, relative to the mount point; '' is the root. */
  readonly own: string;
}

/** Names of files and forms of values, which differ between the versions. */
export interface MemoryFiles {
  readonly limit: string;
  readonly noLimit: string;
  readonly usage: string;
  /** The file with the line `oom_kill N`. */
  readonly events: string;
  /** Where it is counted how often the group's own limit was met. */
  readonly limitHits: string;
}

export const memoryFiles: Readonly<Record<1 | 2, MemoryFiles>> = {
  1: {
    limit: 'memory.limit_in_bytes',
    noLimit: '-1',
    usage: 'memory.usage_in_bytes',
    events: 'memory.oom_control',
    limitHits: 'memory.failcnt',
  },
  2: {
    limit: 'memory.max',
    noLimit: 'max',
    usage: 'memory.current',
    events: 'memory.events',
    limitHits: 'memory.events',
  },
};

/**
 * The memory controller of this machine; undefined where none is (Raspberry Pi OS without `cgroup_enable=memory`). `selfCgroup` is
 * /proc/self/cgroup, `controllers` gives the text of `cgroup.controllers` of a mount point.
 */
export function findMemoryController(
  mounts: readonly MountEntry[],
  selfCgroup: string,
  controllers: (mountPoint: string) => string,
): MemoryController | undefined {
  const lines = selfCgroup.split('\n').map((line) => /^(\d+):([^:]*):(.*)$/.exec(line));
  const own = (mount: MountEntry, wanted: (names: string) => boolean): string => {
    const path = lines.find((line) => line !== null && wanted(line[2]!))?.[3] ?? '/';
    const below = mount.root === '/' ? path : path.startsWith(`${mount.root}/`) ? path.slice(mount.root.length) : '/';
    // `/..`: the group is outside of what this process's cgroup namespace shows.
    return below === '/' || below.startsWith('/..') ? '' : below;
  };
  const v1 = mounts.find((mount) => mount.type === 'cgroup' && mount.superOptions.includes('memory'));
  if (v1)
    return {
      version: 1,
      mountPoint: v1.target,
      own: own(v1, (names) => names.split(',').includes('memory')),
    };
  const v2 = mounts.find(
    (mount) => mount.type === 'cgroup2' && controllers(mount.target).trim().split(/\s+/).includes('memory'),
  );
  return v2 && { version: 2, mountPoint: v2.target, own: own(v2, (names) => names === '') };
}

/** What the kernel counts of a group's want of memory, since the group was made. */
export interface OomCounts {
  /** Processes of the group that the kernel killed, also because the whole machine, or a group above, had no memory left. 0 where an old kernel does not tell. */
  readonly kills: number;
  /**
   * How often the group's own limit was met: in v2 with nothing left to reclaim (`oom`, which counts neither the machine's want nor that of a group above); in v1 also when page cache made
   * room (`memory.failcnt`).
   */
  readonly limitHits: number;
}

/** `events` and `hits` are the texts of the files that `memoryFiles` names so. */
export function parseOomCounts(events: string, hits: string): OomCounts {
  const number = (text: string, pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0);
  return { kills: number(events, /^oom_kill (\d+)$/m), limitHits: number(hits, /^(?:oom )?(\d+)$/m) };
}

/** Where an appliance's groups are, relative to the controller's mount point. */
export interface GroupPlaces {
  /** Parent of the groups of what ends with the supervisor. */
  readonly roles: string;
  /**
   * Parent of the groups of what outlives it: container shims and what backs mounted volumes. Never below a systemd unit's group: in v2 that one must be
   * free of processes and of sub-groups with processes when the unit starts again.
   */
  readonly survivors: string;
}

/** `delegated`: this process's own group was given to it (systemd, `Delegate=yes`), so it may divide it; else its groups are beside the pods'. */
export function groupPlaces(controller: MemoryController, applianceId: string, delegated: boolean): GroupPlaces {
  const survivors = `/appliance-${applianceId}-node`;
  return { survivors, roles: delegated ? controller.own : survivors };
}
