/** The system users of roles: one a role, so that none can read what another keeps. Names are fixed; the machine gives the numbers. */

export const userNames = ['appliance-server', 'appliance-mon', 'appliance-mgr', 'appliance-edge'] as const;
export type UserName = (typeof userNames)[number];

/** The user that a distribution's package of Ceph brings: its daemons are the roles of the engine `ceph`. */
export const cephUserName = 'ceph';
export type RoleUserName = UserName | typeof cephUserName;

export interface SystemUser {
  readonly uid: number;
  readonly gid: number;
}

/** The user `name` of an /etc/passwd (passwd(5)). */
export function findUser(passwd: string, name: string): SystemUser | undefined {
  for (const line of passwd.split('\n')) {
    const fields = line.split(':');
    if (fields[0] !== name || !/^\d+$/.test(fields[2] ?? '') || !/^\d+$/.test(fields[3] ?? '')) continue;
    return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  return undefined;
}

/** What is wrong with the users that the machine has for roles, undefined when nothing is: each its own, none root, none of another account. */
export function userProblem(passwd: string, users: ReadonlyMap<RoleUserName, SystemUser>): string | undefined {
  const owners = new Map<number, string[]>();
  for (const line of passwd.split('\n')) {
    const [name, , uid] = line.split(':');
    if (name && uid && /^\d+$/.test(uid)) owners.set(Number(uid), [...(owners.get(Number(uid)) ?? []), name]);
  }
  const groups = new Map<number, string>();
  for (const [name, { uid, gid }] of users) {
    if (uid === 0 || gid === 0) return `${name} is root`;
    const others = (owners.get(uid) ?? []).filter((owner) => owner !== name);
    if (others.length > 0) return `${name} and ${others.join(', ')} are the same user, ${uid}`;
    const shared = groups.get(gid);
    if (shared !== undefined) return `${name} and ${shared} have the same group, ${gid}`;
    groups.set(gid, name);
  }
  return undefined;
}
