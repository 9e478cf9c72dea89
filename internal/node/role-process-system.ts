import { chmodSync, chownSync, closeSync } from 'node:fs';
import { AppError } from '../base/errors.ts';
import { makeDirectory, writeFileAtomic } from '../base/files-system.ts';
import type { Config } from '../config/config.ts';
import type { Paths } from '../config/paths.ts';
import type { RoleCgroups } from './cgroup-system.ts';
import type { FromRole } from './ipc.ts';
import { launchCommand, portCapabilities } from './launch.ts';
import { roleConfig } from './role-config.ts';
import { logFile, openLog } from './role-log-system.ts';
import { engineEnvironment, memoryOf, type RoleEntry } from './role-table.ts';
import { selfCommand } from './self-system.ts';
import { cephUserName, type SystemUser } from './users.ts';
import type { Users } from './users-system.ts';

/** What roles are told of the environment. */
const passedOn = ['PATH', 'LANG', 'TZ', 'NO_COLOR', 'SSL_CERT_FILE', 'APPLIANCE_PLANTED_FAULT'];

export interface RoleProcessOptions {
  readonly entry: RoleEntry;
  readonly instance: string;
  readonly config: Config;
  readonly paths: Paths;
  readonly users: Users;
  readonly cgroups: RoleCgroups;
  onMessage(message: FromRole): void;
}

/** Starts the process of an instance: in its cgroup, as its user, with what it may know and no more. */
export async function startRoleProcess(options: RoleProcessOptions): Promise<Bun.Subprocess> {
  const { entry, instance, config, paths } = options;
  const { limitBytes } = memoryOf(entry, config);
  const user = entry.user === undefined ? undefined : options.users.get(entry.user);
  if (entry.user !== undefined && !user)
    throw new AppError('USERS', `${instance}: the user ${entry.user} is gone`, {
      hint:
        entry.user === cephUserName
          ? 'the package ceph-common makes it: on Debian, apt-get install ceph-common'
          : 'start the appliance again: it makes it',
    });
  const directory = makeRunDirectory(paths, instance, user);
  const configFile = `${directory}/config.json`;
  if (entry.run.kind === 'module') writeConfig(configFile, roleConfig(config, entry.role), user);
  const command =
    entry.run.kind === 'module'
      ? [...selfCommand(), 'role', instance, configFile]
      : await entry.run.prepare({ instance, config, paths, groups: options.cgroups.programGroups(), user });
  const argv = launchCommand({
    supervisorPid: process.pid,
    command,
    cgroupProcs: options.cgroups.ensure(instance, limitBytes, entry.survives === true),
    privateMounts: entry.privateMounts === true,
    user,
    capabilities: portCapabilities(entry.ports?.(config) ?? []),
  });
  const log = openLog(logFile(paths, instance));
  try {
    return Bun.spawn(argv, {
      stdin: 'ignore',
      stdout: log,
      stderr: log,
      cwd: '/',
      env: { ...environment(paths, directory, user), ...engineEnvironment(entry, config) },
      ...(entry.run.kind === 'module' ? { ipc: (message: FromRole) => options.onMessage(message) } : {}),
    });
  } finally {
    closeSync(log);
  }
}

/** The directory is named `roles/INSTANCE`; root's temporary files are shared, because there the native library is unpacked once. */
function makeRunDirectory(paths: Paths, instance: string, user: SystemUser | undefined): string {
  const directory = paths.instanceRunDir(instance);
  makeDirectory(`${paths.runDir}/roles`, 0o711);
  for (const path of [directory, ...(user ? [`${directory}/tmp`] : [])]) {
    makeDirectory(path, 0o700);
    if (user) chownSync(path, user.uid, user.gid);
  }
  return directory;
}

function writeConfig(path: string, config: Config, user: SystemUser | undefined): void {
  writeFileAtomic(path, JSON.stringify(config), 0o600);
  if (user) chownSync(path, user.uid, user.gid);
}

function environment(paths: Paths, directory: string, user: SystemUser | undefined): Record<string, string> {
  const out: Record<string, string> = {
    TMPDIR: user ? `${directory}/tmp` : `${paths.runDir}/tmp`,
    HOME: user ? directory : (process.env.HOME ?? '/root'),
  };
  for (const key of passedOn) {
    const value = process.env[key];
    if (value !== undefined) out[key] = value;
  }
  return out;
}

/** Makes the directories that roles' processes need before the first one starts. */
export function makeRunDirectories(paths: Paths): void {
  makeDirectory(paths.runDir, 0o711);
  // An earlier version made it for root alone.
  chmodSync(paths.runDir, 0o711);
  makeDirectory(`${paths.runDir}/tmp`);
  makeDirectory(paths.logs);
}
