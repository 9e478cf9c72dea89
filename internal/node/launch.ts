/** The command line that a role is started with: util-linux sets up everything that has to be done before the program itself runs. */

export interface LaunchUser {
  readonly uid: number;
  readonly gid: number;
}

export interface Launch {
  /** The process that starts it and that it ends with. */
  readonly supervisorPid: number;
  /** The program and its arguments. */
  readonly command: readonly string[];
  /** `cgroup.procs` of the group that it belongs into, before it takes any memory. */
  readonly cgroupProcs?: string | undefined;
  readonly privateMounts: boolean;
  /** Absent: root with all capabilities. */
  readonly user?: LaunchUser | undefined;
  /** What is left of root's capabilities for `user`, as capabilities(7) names them without `cap_`. */
  readonly capabilities: readonly string[];
}

// The death signal does not come for a supervisor that died before it was asked for: then somebody else is the parent already.
const supervised = '[ "$PPID" = "$1" ] || exit 1; shift';
// What cannot be put into its group still runs: it is counted where the supervisor is.
const enterGroup = '[ -z "$1" ] || echo 0 >"$1" || echo "cannot enter the cgroup $1" >&2; shift';

const diesWithParent = ['setpriv', '--pdeathsig', 'KILL'];

export function launchCommand(launch: Launch): string[] {
  return [
    // Leaves no orphan when the supervisor is killed, from the first step on.
    ...diesWithParent,
    'sh',
    '-c',
    `${supervised}; ${enterGroup}; exec "$@"`,
    'sh',
    String(launch.supervisorPid),
    launch.cgroupProcs ?? '',
    // A session of its own keeps Ctrl-C on the terminal away.
    'setsid',
    ...(launch.privateMounts ? ['unshare', '--mount', '--propagation', 'private'] : []),
    // Another user forgets the signal (prctl(2), PR_SET_PDEATHSIG).
    ...(launch.user ? [...diesWithParent, ...privilegeOptions(launch.user, launch.capabilities)] : []),
    ...launch.command,
  ];
}

/** setpriv keeps root's capabilities until it runs the program (PR_SET_KEEPCAPS), so that may be where the user could not go, such as /root. */
function privilegeOptions({ uid, gid }: LaunchUser, capabilities: readonly string[]): string[] {
  const kept = ['-all', ...capabilities.map((name) => `+${name}`)].join(',');
  return [
    '--reuid',
    String(uid),
    '--regid',
    String(gid),
    '--clear-groups',
    '--no-new-privs',
    '--inh-caps',
    kept,
    '--ambient-caps',
    kept,
    '--bounding-set',
    kept,
  ];
}

/** Binding a port below this needs CAP_NET_BIND_SERVICE (ip(7); the kernel's default of `ip_unprivileged_port_start`). */
const firstUnprivilegedPort = 1024;

/** The capabilities that a role without root keeps for the ports that it listens on. */
export function portCapabilities(ports: readonly number[]): string[] {
  return ports.some((port) => port < firstUnprivilegedPort) ? ['net_bind_service'] : [];
}
