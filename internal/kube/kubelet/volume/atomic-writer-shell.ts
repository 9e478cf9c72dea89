import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { bytesEqual } from '../../../base/bytes.ts';
import { errorCode } from '../../../base/errors.ts';
import type { Payload } from './payload.ts';

const dataLink = '..data';

/** Ownership that a pod's fsGroup asks for. */
export interface GroupOwner {
  readonly gid: number;
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** A group that is to read the files gets to read them (kubernetes/pkg/volume/volume_linux.go: roMask). */
function finalMode(mode: number, group: GroupOwner | undefined): number {
  return group ? mode | 0o440 : mode;
}

async function sameFiles(directory: string, payload: Payload, group: GroupOwner | undefined): Promise<boolean> {
  const present = new Set<string>();
  const walk = async (sub: string): Promise<void> => {
    for (const entry of await readdir(join(directory, sub), { withFileTypes: true })) {
      const path = sub === '' ? entry.name : `${sub}/${entry.name}`;
      if (entry.isDirectory()) await walk(path);
      else present.add(path);
    }
  };
  await walk('');
  if (present.size !== payload.size) return false;
  for (const [path, file] of payload) {
    if (!present.has(path)) return false;
    const full = join(directory, path);
    const info = await stat(full);
    if ((info.mode & 0o7777) !== finalMode(file.mode, group) || info.size !== file.data.length) return false;
    if (info.uid !== (file.uid ?? 0) || (group && info.gid !== group.gid)) return false;
    if (!bytesEqual(new Uint8Array(await readFile(full)), file.data)) return false;
  }
  return true;
}

/**
 * Makes the files of `payload` appear in `root` all at once: they are written to a directory with a name of its own, to which the link
 * `..data` is swapped by a rename; the visible names are links through `..data`. Readers see the old set or the new one, never a mixture.
 * Returns whether anything changed.
 */
export async function writeAtomically(
  root: string,
  payload: Payload,
  options: { stamp: string; group?: GroupOwner | undefined },
): Promise<boolean> {
  const { group } = options;
  const old = await linkTarget(join(root, dataLink));
  if (old !== undefined) {
    try {
      if (await sameFiles(join(root, old), payload, group)) {
        await makeLinks(root, payload);
        return false;
      }
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
  }
  const name = `..${options.stamp}`;
  const fresh = join(root, name);
  const gid = group?.gid ?? 0;
  const dirMode = group ? 0o2755 : 0o755;
  await rm(fresh, { recursive: true, force: true });
  const makeDir = async (path: string): Promise<void> => {
    await mkdir(path, { recursive: true });
    await chown(path, 0, gid);
    await chmod(path, dirMode);
  };
  await makeDir(fresh);
  for (const [path, file] of payload) {
    const parent = dirname(path);
    if (parent !== '.') {
      let so = '';
      for (const part of parent.split('/')) {
        so = so === '' ? part : `${so}/${part}`;
        await makeDir(join(fresh, so));
      }
    }
    const full = join(fresh, path);
    await writeFile(full, file.data, { mode: 0o600 });
    await chown(full, file.uid ?? 0, gid);
    // The mode is set after the write because the process's umask narrows the one given to open.
    await chmod(full, finalMode(file.mode, group));
  }
  if (group) {
    await chown(root, 0, gid);
    await chmod(root, ((await stat(root)).mode & 0o7777) | 0o2050);
  }
  const temporary = join(root, '..data_tmp');
  await rm(temporary, { force: true });
  await symlink(name, temporary);
  await rename(temporary, join(root, dataLink));
  await makeLinks(root, payload);
  if (old !== undefined && old !== name) await rm(join(root, old), { recursive: true, force: true });
  return true;
}

async function makeLinks(root: string, payload: Payload): Promise<void> {
  const wanted = new Set([...payload.keys()].map((path) => path.split('/')[0]!));
  for (const name of wanted) {
    const target = `${dataLink}/${name}`;
    const link = join(root, name);
    if ((await linkTarget(link).catch(() => '')) === target) continue;
    await rm(link, { recursive: true, force: true });
    await symlink(target, link);
  }
  for (const name of await readdir(root)) {
    if (name.startsWith('..') || wanted.has(name)) continue;
    const info = await lstat(join(root, name));
    if (info.isSymbolicLink()) await rm(join(root, name), { force: true });
  }
}
