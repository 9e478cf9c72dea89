import type { CommandModule } from './command.ts';

/** A sub-command: its module is loaded when it is called. */
export interface CommandRow {
  readonly name: string;
  /** One line of `appliance --help`. */
  readonly summary: string;
  /** The heading in `appliance --help`. Without one it is for the program's own use and not listed. */
  readonly group?: 'Run a node' | 'Look at a node' | 'Other';
  load(): Promise<{ readonly command: CommandModule }>;
}

/** Every sub-command, in the order of `appliance --help`. One file each. */
export const commands: readonly CommandRow[] = [
  {
    name: 'up',
    summary: 'start this node in the foreground and show how it comes up; Ctrl-C stops it and cleans up',
    group: 'Run a node',
    load: () => import('./up.ts'),
  },
  {
    name: 'join',
    summary: 'make this machine a node of a cluster, then run it as `up` does',
    group: 'Run a node',
    load: () => import('./join.ts'),
  },
  {
    name: 'run',
    summary: 'start this node for systemd: logs only; a stop leaves containers running',
    group: 'Run a node',
    load: () => import('./run.ts'),
  },
  {
    name: 'down',
    summary: 'stop the node and remove every process, mount, interface and firewall rule of it; data stays',
    group: 'Run a node',
    load: () => import('./down.ts'),
  },
  {
    name: 'install',
    summary: 'make this node a service of systemd, or upgrade it to this executable',
    group: 'Run a node',
    load: () => import('./install.ts'),
  },
  {
    name: 'uninstall',
    summary: 'stop the node and remove service and executable; configuration and data stay',
    group: 'Run a node',
    load: () => import('./uninstall.ts'),
  },
  {
    name: 'reload',
    summary: 'have the running node read its configuration again; tells what holds now and what needs a restart',
    group: 'Run a node',
    load: () => import('./reload.ts'),
  },
  {
    name: 'reset',
    summary: 'stop the node and delete everything it has written, after showing it and asking',
    group: 'Run a node',
    load: () => import('./reset.ts'),
  },
  {
    name: 'status',
    summary: 'tell in words how the node, its roles, pods and storage are',
    group: 'Look at a node',
    load: () => import('./status.ts'),
  },
  {
    name: 'doctor',
    summary: 'look for what is wrong with this machine, why it matters and how it is put right',
    group: 'Look at a node',
    load: () => import('./doctor.ts'),
  },
  {
    name: 'logs',
    summary: 'print what the roles have logged, of one or all of them',
    group: 'Look at a node',
    load: () => import('./logs.ts'),
  },
  {
    name: 'token',
    summary: 'make, show and delete the tokens that machines join with; on a server',
    group: 'Run a node',
    load: () => import('./token.ts'),
  },
  {
    name: 'secrets-encrypt',
    summary: 'look after the encryption of Secrets in the store: status, on and off, new keys; on a server',
    group: 'Run a node',
    load: () => import('./secrets-encrypt.ts'),
  },
  {
    name: 'store',
    summary: 'look after the control-plane store: status, snapshots, restoring, compaction; on a server',
    group: 'Look at a node',
    load: () => import('./store.ts'),
  },
  {
    name: 'osd',
    summary: 'look after the disks of OSDs: which they are, checking and mending them, moving PGs between them',
    group: 'Look at a node',
    load: () => import('./osd.ts'),
  },
  {
    name: 'config',
    summary: 'show, check and explain the configuration',
    group: 'Look at a node',
    load: () => import('./config.ts'),
  },
  {
    name: 'completion',
    summary: 'print the script that makes bash, zsh or fish complete the command line',
    group: 'Other',
    load: () => import('./completion.ts'),
  },
  { name: 'version', summary: 'print the version', group: 'Other', load: () => import('./version.ts') },
  { name: 'self-test', summary: 'load every native part and module', load: () => import('./self-test.ts') },
  { name: 'teardown', summary: 'one part of taking a node down', load: () => import('./teardown.ts') },
  { name: 'prepare', summary: 'make what a node needs before it starts', load: () => import('./prepare.ts') },
  { name: 'role', summary: 'the main program of one role', load: () => import('./role.ts') },
];
