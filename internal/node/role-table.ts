import { writeFileAtomic } from '../base/files-system.ts';
import type { Config } from '../config/config.ts';
import type { Paths } from '../config/paths.ts';
import type { StartRole } from './role.ts';

/** A role of the table: which instances a node runs of it, and how. A role that is not built is not listed. */
export interface RoleEntry {
  readonly role: string;
  /** Names of the instances that this configuration asks for. */
  instances(config: Config): string[];
  /** Roles (every instance of them) that must have been ready before. */
  readonly needs: readonly string[];
  readonly stopDeadlineMs: number;
  /**
   * The memory that the JavaScript engine believes the machine has, in MiB: it collects garbage the earlier the less there is. Without it an
   * OSD keeps hundreds of MiB of dead buffers after load.
   */
  readonly engineMemoryMiB?: number;
  /** Gives the process a mount namespace of its own, so that what it mounts goes with it. */
  readonly privateMounts?: boolean;
  readonly run: RoleModule | RoleProgram;
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
  prepare(config: Config, paths: Paths): Promise<readonly string[]>;
  /** True when it serves. */
  ready(config: Config, paths: Paths): Promise<boolean>;
}

const one =
  (role: Config['roles'][number], name: string) =>
  (config: Config): string[] =>
    config.roles.includes(role) ? [name] : [];

export const roleTable: readonly RoleEntry[] = [
  {
    role: 'mon',
    instances: one('mon', 'mon'),
    needs: [],
    stopDeadlineMs: 20_000,
    engineMemoryMiB: 64,
    run: { kind: 'module', load: () => import('../ceph/mon/role.ts') },
  },
  {
    role: 'mgr',
    instances: one('mgr', 'mgr'),
    needs: ['mon'],
    stopDeadlineMs: 10_000,
    engineMemoryMiB: 64,
    run: { kind: 'module', load: () => import('../ceph/mgr/role.ts') },
  },
  {
    role: 'osd',
    instances: (config) => (config.roles.includes('osd') ? config.storage.osd.map((osd) => `osd.${osd.id}`) : []),
    needs: ['mon'],
    stopDeadlineMs: 30_000,
    engineMemoryMiB: 128,
    privateMounts: true,
    run: { kind: 'module', load: () => import('../ceph/osd/role.ts') },
  },
  {
    role: 'server',
    instances: one('server', 'server'),
    needs: [],
    stopDeadlineMs: 20_000,
    engineMemoryMiB: 256,
    run: { kind: 'module', load: () => import('./roles/server.ts') },
  },
  {
    role: 'containerd',
    instances: one('agent', 'containerd'),
    needs: [],
    stopDeadlineMs: 20_000,
    run: {
      kind: 'program',
      prepare: async (config, paths) => {
        const { containerdCommand } = await import('../kube/kubelet/containerd.ts');
        const { argv, files } = containerdCommand(config, paths);
        for (const file of files) writeFileAtomic(file.path, file.content, file.mode);
        return argv;
      },
      ready: async (_config, paths) => (await import('./probe-system.ts')).socketAnswers(paths.containerdSocket),
    },
  },
  {
    role: 'agent',
    instances: one('agent', 'agent'),
    needs: ['containerd', 'server'],
    stopDeadlineMs: 20_000,
    engineMemoryMiB: 128,
    run: { kind: 'module', load: () => import('./roles/agent.ts') },
  },
  {
    role: 'edge',
    instances: one('agent', 'edge'),
    needs: ['agent', 'server'],
    stopDeadlineMs: 10_000,
    engineMemoryMiB: 64,
    run: { kind: 'module', load: () => import('../kube/network/role.ts') },
  },
];

/** The role of an instance: `osd` of `osd.2`. */
export function roleEntry(instance: string): RoleEntry | undefined {
  const role = instance.split('.')[0];
  return roleTable.find((entry) => entry.role === role);
}

/** Every instance of the node with the names of the instances that it needs. */
export function instanceSpecs(
  config: Config,
): { name: string; needs: string[]; stopDeadlineMs: number; entry: RoleEntry }[] {
  const byRole = new Map(roleTable.map((entry) => [entry.role, entry.instances(config)]));
  return roleTable.flatMap((entry) =>
    entry.instances(config).map((name) => ({
      name,
      needs: entry.needs.flatMap((role) => byRole.get(role) ?? []),
      stopDeadlineMs: entry.stopDeadlineMs,
      entry,
    })),
  );
}
