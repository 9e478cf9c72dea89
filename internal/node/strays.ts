import { basename } from 'node:path';

/** Where a node keeps what its processes are started with. */
export interface NodePlace {
  readonly runDir: string;
  /** containerd's directory. */
  readonly agent: string;
  /** `containerd.command` of the configuration. */
  readonly containerd: string;
}

/**
 * Whether these arguments are those of a role of the node, of its containerd or a daemon of the distribution's Ceph, by the end of the command line as the supervisor makes it. Whoever only reads
 * a file there is nobody's to kill.
 */
export function isRoleOf(argv: readonly string[], { runDir, agent, containerd }: NodePlace): boolean {
  const [program, second, third] = argv.slice(-3);
  if (program === undefined || second === undefined || third === undefined) return false;
  if (program === 'role' && argv.length > 3) return third === `${runDir}/roles/${second}/config.json`;
  // `ceph-osd -f -i 0 -c FILE`, once the shell that made it has become it.
  if (second === '-c' && /^ceph-(mon|mgr|osd)$/.test(basename(argv[0]!)))
    return third.startsWith(`${runDir}/roles/`) && third.endsWith('/ceph.conf');
  return basename(program) === basename(containerd) && second === '--config' && third.startsWith(`${agent}/`);
}
