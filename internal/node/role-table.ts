import { writeFileAtomic } from '../base/files-system.ts';
import type { CephDaemon } from '../ceph/engine/daemon-conf.ts';
import type { Config, StorageEngine } from '../config/config.ts';
import type { Paths } from '../config/paths.ts';
import type { StartRole } from './role.ts';
import type { InstanceSpec } from './supervision.ts';
import { cephUserName, type RoleUserName, type SystemUser } from './users.ts';

/** A role of the table: which instances a node runs of it, and how. A role that is not built is not listed. */
export interface RoleEntry {
  readonly role: string;
  /** Names of the instances that this configuration asks for. */
  instances(config: Config): string[];
  /** Roles (every instance of them) that must have been ready before. */
  readonly needs: readonly string[];
  /** How long a start may take at most: after a power loss, on a slow card, with all that is replayed, checked or unpacked before it serves. */
  readonly startDeadlineMs: number;
  readonly stopDeadlineMs: number;
  readonly memory: RoleMemory;
  /**
   * False: the engine's slowest and best compiler (JavaScriptCore's FTL) stays off. Its threads take the processors from a role whose time goes to native
   * code and system calls, for longer than they win.
   */
  readonly bestCompiler?: boolean;
  /** The system user that it runs as, without privileges. Absent: root, because it mounts, makes interfaces or opens devices. */
  readonly user?: RoleUserName;
  /** The ports that it listens on. */
  ports?(config: Config): number[];
  /** What it starts outlives it and the supervisor, and is taken over again. */
  readonly survives?: boolean;
  /** Gives the process a mount namespace of its own, so that what it mounts goes with it. */
  readonly privateMounts?: boolean;
  readonly run: RoleModule | RoleProgram;
  /** What is another with another storage engine. Its deadlines are not longer than these. */
  readonly engines?: Partial<Record<StorageEngine, Partial<Omit<RoleEntry, 'role' | 'instances' | 'engines'>>>>;
}

export interface RoleMemory {
  /** The key of `memory` in the configuration that is its budget: what its process and all that it starts may use, page cache included. */
  readonly budget: keyof Config['memory'];
  /**
   * The memory that the JavaScript engine believes the machine has, as a share of the budget: it collects garbage the earlier the less there is. Without
   * it an OSD keeps hundreds of MiB of dead buffers after load. Absent: somebody else's program, which has no such engine.
   */
  readonly engineShare?: number;
  /**
   * A smaller heap than the engine's own choice for a role whose live data is small beside what passes through it. `leastBytes`: what may fill up before
   * anything is collected (JavaScriptCore's `largeHeapSize`, 32 MiB of itself). `growth`: how often what survived fits the heap before the next
   * collection (`smallHeapGrowthFactor`, 2 of itself; every collection is a full one from 1.5 down).
   */
  readonly heap?: { readonly leastBytes: number; readonly growth: number };
  /**
   * How long the allocator keeps freed memory before the system gets it back, in milliseconds (mimalloc's `purge_delay`). A role that moves
   * large buffers would pay for page faults on each of them; what is free while it idles goes back all the same.
   */
  readonly freedMemoryMs?: number;
}

/** A role of this executable, in a child process that loads only its own modules. */
export interface RoleModule {
  readonly kind: 'module';
  load(): Promise<{ start: StartRole }>;
}

/** Somebody else's program, supervised like a role. */
export interface RoleProgram {
  readonly kind: 'program';
  /** Writes its configuration and tells the command line. */
  prepare(start: ProgramStart): Promise<readonly string[]>;
  /** How it is, asked again and again. An error is its detail, and that it does not serve. */
  ask(config: Config, paths: Paths, instance: string): Promise<ProgramHealth>;
}

export interface ProgramStart {
  readonly instance: string;
  readonly config: Config;
  readonly paths: Paths;
  readonly groups: ProgramGroups;
  /** Whom it runs as; undefined: root. */
  readonly user: SystemUser | undefined;
}

export interface ProgramHealth {
  /** It has come to its work. */
  readonly serves: boolean;
  /** One plain sentence. */
  readonly detail: string;
}

/** Cgroups that a program puts what it starts into, relative to the mount point of the memory controller; undefined where there are none. */
export interface ProgramGroups {
  readonly shims: string | undefined;
}

const one =
  (role: Config['roles'][number], name: string) =>
  (config: Config): string[] =>
    config.roles.includes(role) ? [name] : [];

/** A daemon of the distribution's Ceph in the place of one of ours. It gives back what it mounts by itself, and compiles nothing. */
function cephDaemon(daemon: CephDaemon): Pick<RoleEntry, 'user' | 'memory' | 'privateMounts' | 'run'> {
  return {
    user: cephUserName,
    memory: { budget: daemon },
    privateMounts: false,
    run: {
      kind: 'program',
      prepare: async ({ config, instance, paths, user }) =>
        (await import('../ceph/engine/daemon-system.ts')).prepareDaemon(daemon, instance, config, paths, user!),
      ask: async (config, paths, instance) =>
        (await import('../ceph/engine/daemon-system.ts')).askDaemonHealth(daemon, instance, config, paths),
    },
  };
}

export const roleTable: readonly RoleEntry[] = [
  {
    role: 'mon',
    instances: one('mon', 'mon'),
    needs: [],
    startDeadlineMs: 120_000,
    stopDeadlineMs: 20_000,
    memory: { budget: 'mon', engineShare: 1 / 4 },
    user: 'appliance-mon',
    ports: (config) => [config.ports.mon, config.ports.monPeer],
    run: { kind: 'module', load: () => import('../ceph/mon/role.ts') },
    engines: { ceph: cephDaemon('mon') },
  },
  {
    role: 'mgr',
    instances: one('mgr', 'mgr'),
    needs: ['mon'],
    // A ceph-mgr loads two dozen modules of Python first: on a busy machine that took two minutes.
    startDeadlineMs: 300_000,
    stopDeadlineMs: 10_000,
    memory: { budget: 'mgr', engineShare: 1 / 3 },
    user: 'appliance-mgr',
    ports: (config) => [config.ports.ceph, config.ports.prometheus],
    run: { kind: 'module', load: () => import('../ceph/mgr/role.ts') },
    engines: { ceph: cephDaemon('mgr') },
  },
  {
    role: 'osd',
    instances: (config) => (config.roles.includes('osd') ? config.storage.osd.map((osd) => `osd.${osd.id}`) : []),
    needs: ['mon'],
    startDeadlineMs: 600_000,
    stopDeadlineMs: 30_000,
    memory: { budget: 'osd', engineShare: 1 / 4, freedMemoryMs: 10_000 },
    bestCompiler: false,
    privateMounts: true,
    run: { kind: 'module', load: () => import('../ceph/osd/role.ts') },
    engines: { ceph: cephDaemon('osd') },
  },
  {
    role: 'mds',
    instances: one('mds', 'mds'),
    needs: ['mon'],
    startDeadlineMs: 120_000,
    stopDeadlineMs: 20_000,
    ...cephDaemon('mds'),
  },
  {
    // Its first start makes pools and writes into them.
    role: 'rgw',
    instances: one('rgw', 'rgw'),
    needs: ['mon', 'osd'],
    startDeadlineMs: 300_000,
    stopDeadlineMs: 20_000,
    ports: (config) => [config.ports.rgw],
    ...cephDaemon('rgw'),
  },
  {
    role: 'server',
    instances: one('server', 'server'),
    needs: [],
    startDeadlineMs: 300_000,
    stopDeadlineMs: 20_000,
    memory: { budget: 'server', engineShare: 2 / 5, heap: { leastBytes: 8 * 2 ** 20, growth: 1.6 } },
    user: 'appliance-server',
    ports: ({ ports, datastore }) => [ports.api, ...(datastore === undefined ? [ports.etcd, ports.etcdPeer] : [])],
    run: { kind: 'module', load: () => import('./roles/server.ts') },
  },
  {
    role: 'containerd',
    instances: one('agent', 'containerd'),
    needs: [],
    startDeadlineMs: 120_000,
    stopDeadlineMs: 20_000,
    memory: { budget: 'containerd' },
    survives: true,
    run: {
      kind: 'program',
      prepare: async ({ config, paths, groups: { shims } }) => {
        const { containerdCommand } = await import('../kube/kubelet/containerd.ts');
        const { argv, files } = containerdCommand(config, paths, shims);
        for (const file of files) writeFileAtomic(file.path, file.content, file.mode);
        return argv;
      },
      ask: async (_config, paths) => {
        const serves = await (await import('./probe-system.ts')).socketAnswers(paths.containerdSocket);
        return { serves, detail: serves ? 'running' : 'does not answer' };
      },
    },
  },
  {
    role: 'agent',
    instances: one('agent', 'agent'),
    needs: ['containerd', 'server'],
    startDeadlineMs: 600_000,
    stopDeadlineMs: 20_000,
    memory: { budget: 'agent', engineShare: 1 / 3 },
    run: { kind: 'module', load: () => import('./roles/agent.ts') },
  },
  {
    role: 'edge',
    instances: one('agent', 'edge'),
    needs: ['agent', 'server'],
    startDeadlineMs: 120_000,
    stopDeadlineMs: 10_000,
    memory: { budget: 'edge', engineShare: 1 / 3 },
    user: 'appliance-edge',
    ports: (config) => [config.ports.dns],
    run: { kind: 'module', load: () => import('../kube/network/role.ts') },
  },
];

/** What the engine of a role without a limit is told. */
const unlimitedEngineBytes = 2 ** 30;

/** The memory budget of a role's process in bytes, undefined when it has none, and what its engine is told. */
export function memoryOf(
  entry: RoleEntry,
  config: Config,
): { limitBytes: number | undefined; engineBytes: number | undefined } {
  const { budget, engineShare } = entry.memory;
  const limitBytes = config.memory[budget] === 0 ? undefined : config.memory[budget];
  if (engineShare === undefined) return { limitBytes, engineBytes: undefined };
  return {
    limitBytes,
    engineBytes: limitBytes === undefined ? unlimitedEngineBytes : Math.floor(limitBytes * engineShare),
  };
}

/** What the JavaScript engine of a role's process and its allocator are told, in their own environment variables. */
export function engineEnvironment(entry: RoleEntry, config: Config): Record<string, string> {
  const { freedMemoryMs, heap } = entry.memory;
  const { engineBytes } = memoryOf(entry, config);
  return {
    ...(engineBytes !== undefined && { BUN_JSC_forceRAMSize: String(engineBytes) }),
    ...(heap !== undefined && {
      BUN_JSC_largeHeapSize: String(heap.leastBytes),
      BUN_JSC_smallHeapGrowthFactor: String(heap.growth),
    }),
    ...(freedMemoryMs !== undefined && { MIMALLOC_PURGE_DELAY: String(freedMemoryMs) }),
    ...(entry.bestCompiler === false && { BUN_JSC_useFTLJIT: '0' }),
  };
}

/** The role of an instance: `osd` of `osd.2`. */
/** The entry as the storage engine of this configuration has it. */
export function entryWith(entry: RoleEntry, { storage }: Config): RoleEntry {
  const other = entry.engines?.[storage.engine];
  return other ? { ...entry, bestCompiler: true, ...other } : entry;
}

export function roleEntry(instance: string): RoleEntry | undefined {
  const role = instance.split('.')[0];
  return roleTable.find((entry) => entry.role === role);
}

/** Every instance of the node with the names of the instances that it needs. */
export function instanceSpecs(config: Config): (InstanceSpec & { entry: RoleEntry })[] {
  const byRole = new Map(roleTable.map((entry) => [entry.role, entry.instances(config)]));
  return roleTable.flatMap((entry) =>
    entry.instances(config).map((name) => ({
      name,
      needs: entry.needs.flatMap((role) => byRole.get(role) ?? []),
      startDeadlineMs: entry.startDeadlineMs,
      stopDeadlineMs: entry.stopDeadlineMs,
      entry: entryWith(entry, config),
    })),
  );
}
