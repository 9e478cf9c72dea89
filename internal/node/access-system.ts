import { chmodSync, lchownSync, lstatSync, mkdirSync, readdirSync, renameSync, type Stats, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { AppError, errorCode } from '../base/errors.ts';
import { makeDirectory, syncDirectory } from '../base/files-system.ts';
import type { Users } from './users-system.ts';
import type { AccessRule, Owner } from './access.ts';

/**
 * Gives everything that the rules name to its owner, also what an earlier version made as root. Symbolic links are not followed and other file systems
 * are not entered; a file with a second name is refused, because that one may be elsewhere. Safe to repeat, and after it was interrupted.
 */
export function applyAccess(rules: readonly AccessRule[], users: Users): void {
  const uidOf = (owner: Owner): number => (owner === 'root' ? 0 : users.get(owner)!.uid);
  const gidOf = (owner: Owner): number => (owner === 'root' ? 0 : users.get(owner)!.gid);
  const exceptions = new Set(rules.filter((rule) => rule.kind === 'file').map((rule) => rule.path));
  for (const rule of rules) {
    if (rule.kind === 'chosen') {
      const [uid, gid] = [uidOf(rule.owner), gidOf(rule.group)];
      if (!statSync(rule.path, { throwIfNoEntry: false })) makeGiven(rule, uid, gid);
      const user = rule.reader ?? rule.owner;
      checkUsable(rule.path, user, uidOf(user), gidOf(user), rule.reader === undefined ? 'w' : 'r');
      continue;
    }
    if (rule.kind !== 'file') makeDirectory(rule.path, rule.mode);
    const stat = lstatSync(rule.path, { throwIfNoEntry: false });
    if (!stat) continue;
    if (rule.kind === 'file' ? !stat.isFile() : !stat.isDirectory())
      throw new AppError('ACCESS', `${rule.path}: expected a ${rule.kind === 'file' ? 'file' : 'directory'}`, {
        hint: 'move it away and start again',
      });
    const [uid, gid] = [uidOf(rule.owner), gidOf(rule.group)];
    if (rule.kind === 'tree') giveBelow(rule.path, stat.dev, uid, gid, exceptions);
    give(rule.path, stat, uid, gid);
    if ((stat.mode & 0o7777) !== rule.mode) chmodSync(rule.path, rule.mode);
  }
}

/** Makes a directory that is its owner's from the moment on when it has its name: an interruption leaves none that looks like somebody else's. */
function makeGiven({ path, mode }: AccessRule, uid: number, gid: number): void {
  const parent = dirname(path);
  makeDirectory(parent, 0o755);
  const made = join(parent, `.${basename(path)}.new`);
  mkdirSync(made, { recursive: true });
  try {
    lchownSync(made, uid, gid);
    chmodSync(made, mode);
  } catch (error) {
    // vfat and exFAT have no owners; whether it can be written all the same is checked.
    if (errorCode(error) !== 'EPERM') throw error;
  }
  renameSync(made, path);
  syncDirectory(parent);
}

function checkUsable(path: string, user: Owner, uid: number, gid: number, how: 'r' | 'w'): void {
  if (!statSync(path).isDirectory())
    throw new AppError('ACCESS', `${path}: expected a directory`, { hint: 'move it away and start again' });
  // The kernel decides: lists of access rights and read-only mounts count, too.
  const as = ['setpriv', '--reuid', String(uid), '--regid', String(gid), '--clear-groups', '--'];
  const { exitCode } = Bun.spawnSync(
    [...as, 'sh', '-c', `test -d "$1" && test -${how} "$1" && test -x "$1"`, 'sh', path],
    { cwd: '/', stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' },
  );
  if (exitCode !== 0)
    throw new AppError(
      'ACCESS',
      `${path}: the user ${user} (uid ${uid}) cannot ${how === 'r' ? 'read' : 'write in'} this directory`,
      {
        hint:
          how === 'r'
            ? `chmod o+rx ${path}, or setfacl -m u:${user}:rx ${path}`
            : `give it one of its own, as ${path}/appliance: it is made when it is missing; a file system without owners (vfat, exFAT) is mounted with uid=${uid}`,
      },
    );
}

function giveBelow(directory: string, device: number, uid: number, gid: number, except: ReadonlySet<string>): void {
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    if (except.has(path)) continue;
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (!stat || stat.dev !== device) continue;
    if (stat.isDirectory()) giveBelow(path, device, uid, gid, except);
    give(path, stat, uid, gid);
  }
}

function give(path: string, stat: Stats, uid: number, gid: number): void {
  if (stat.uid === uid && stat.gid === gid) return;
  if (stat.isFile() && stat.nlink > 1)
    throw new AppError('ACCESS', `${path} has a second name (a hard link), so it is not given to another user`, {
      hint: 'remove one of the names and start again',
    });
  lchownSync(path, uid, gid);
}

function firstClosedParent(path: string): string | undefined {
  for (let at = dirname(path); ; at = dirname(at)) {
    try {
      if ((statSync(at).mode & 0o001) === 0) return at;
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
    if (at === '/') return undefined;
  }
}

/** Throws AppError PREFLIGHT when roles that do not run as root could not get to `path`. */
export function checkReachable(what: string, path: string): void {
  const closed = firstClosedParent(path);
  if (closed === undefined) return;
  throw new AppError(
    'PREFLIGHT',
    `${what} ${path}: only its owner may enter ${closed}, so roles that are not root cannot reach it`,
    {
      hint: `chmod o+x ${closed}, or choose another place`,
    },
  );
}
