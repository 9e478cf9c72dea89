import { readFileSync } from 'node:fs';
import { runCommand } from '../base/command-system.ts';
import { AppError, errorText } from '../base/errors.ts';
import {
  cephUserName,
  findUser,
  type RoleUserName,
  type SystemUser,
  type UserName,
  userNames,
  userProblem,
} from './users.ts';

export type Users = ReadonlyMap<RoleUserName, SystemUser>;

const attempts = 5;

function readPasswd(): string {
  return readFileSync('/etc/passwd', 'utf8');
}

/** The users of roles that the machine has, and that of the distribution's Ceph. */
export function readUsers(passwd = readPasswd()): Users {
  const users = new Map<RoleUserName, SystemUser>();
  for (const name of [...userNames, cephUserName] as const) {
    const user = findUser(passwd, name);
    if (user) users.set(name, user);
  }
  return users;
}

/**
 * That the users of roles stay when everything else of a node is removed, as Debian's packages leave theirs: whatever file is still theirs, in a backup or
 * on another disk, would belong to whom the number is given next. Undefined when the machine has none.
 */
export function usersStay(): string | undefined {
  const users = readUsers();
  const names = userNames.filter((name) => users.has(name));
  return names.length === 0
    ? undefined
    : `the system users ${names.join(', ')} stay, since files elsewhere may be theirs; \`userdel NAME\` removes one`;
}

/** The users of roles; those that are not there yet are made, as system users that nobody can log in as. Throws AppError USERS. */
export async function ensureUsers(): Promise<Users> {
  for (const name of userNames) await ensureUser(name);
  const passwd = readPasswd();
  const users = readUsers(passwd);
  const problem = userProblem(passwd, users);
  if (problem !== undefined)
    throw new AppError('USERS', `the users of roles cannot be told apart: ${problem}`, {
      hint: 'each needs a uid and a group of its own: see /etc/passwd, and remove the wrong one with userdel',
    });
  return users;
}

async function ensureUser(name: UserName): Promise<void> {
  for (let attempt = 1; findUser(readPasswd(), name) === undefined; attempt++) {
    const argv = ['useradd', '--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent'];
    try {
      await runCommand([...argv, '--shell', '/usr/sbin/nologin', '--comment', 'appliance', name], {
        timeoutMs: 20_000,
      });
    } catch (error) {
      // Somebody else may hold the lock of /etc/passwd, or have made it meanwhile.
      if (attempt < attempts) await Bun.sleep(200 * attempt);
      else if (findUser(readPasswd(), name) === undefined)
        throw new AppError('USERS', `cannot make the system user ${name}: ${errorText(error)}`, {
          cause: error,
          hint: `make it yourself: useradd --system --user-group --no-create-home --shell /usr/sbin/nologin ${name}`,
        });
    }
  }
}
