import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  createReadStream,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { runCommand } from '../base/command-system.ts';
import { AppError } from '../base/errors.ts';
import {
  makeDirectory,
  readFileIfThere,
  removeFileDurably,
  syncDirectory,
  writeFileAtomic,
} from '../base/files-system.ts';
import { installedExecutable, unitName } from './unit.ts';

/** The executable and the unit on a machine, or in the tree of one that is not running. */

export interface InstallPlace {
  /** Before every path: '' is this machine, else an image's tree. */
  readonly root: string;
}

export interface InstallResult {
  /** What was done, a sentence each; nothing when all was there already. */
  readonly done: string[];
  /** What runs is not what is installed now. */
  readonly changed: boolean;
}

const unitFile = `/etc/systemd/system/${unitName}`;
const previousExecutable = `${installedExecutable}.previous`;
const systemctlTimeoutMs = 400_000;

/** True when systemd runs this machine (sd_booted(3)). */
export function systemdRuns(): boolean {
  return existsSync('/run/systemd/system');
}

/** For `root` other than '' systemctl changes links only. */
export async function systemctl(place: InstallPlace, ...argv: string[]): Promise<void> {
  const root = place.root === '' ? [] : [`--root=${place.root}`];
  await runCommand(['systemctl', ...root, ...argv], { timeoutMs: systemctlTimeoutMs });
}

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Puts `executable` and the unit in their places. What is there already is left alone; the executable that it replaces is kept for a rollback. */
export async function installFiles(place: InstallPlace, executable: string, unit: string): Promise<InstallResult> {
  const done: string[] = [];
  const target = place.root + installedExecutable;
  if (await installExecutable(executable, target, place.root + previousExecutable)) done.push(`installed ${target}`);
  const path = place.root + unitFile;
  if (readFileIfThere(path) !== unit) {
    writeFileAtomic(path, unit, 0o644);
    done.push(`wrote ${path}`);
  }
  return { done, changed: done.length > 0 };
}

async function installExecutable(source: string, target: string, previous: string): Promise<boolean> {
  const there = statSync(target, { throwIfNoEntry: false });
  if (there) {
    if (realpathSync(source) === realpathSync(target)) return false;
    if (there.size === statSync(source).size && (await sha256(source)) === (await sha256(target))) return false;
  }
  makeDirectory(dirname(target), 0o755);
  const fresh = `${target}.new`;
  copyFileSync(source, fresh);
  chmodSync(fresh, 0o755);
  const fd = openSync(fresh, 'r');
  fsyncSync(fd);
  closeSync(fd);
  if (there) {
    // At every moment there is an executable in its place: the old one gets its second name first.
    rmSync(previous, { force: true });
    linkSync(target, previous);
  }
  renameSync(fresh, target);
  syncDirectory(dirname(target));
  return true;
}

/** Puts the executable back that the last upgrade replaced, and keeps that one in turn. */
export function rollBackExecutable(place: InstallPlace): string {
  const [target, previous] = [place.root + installedExecutable, place.root + previousExecutable];
  if (!existsSync(previous))
    throw new AppError('INSTALL', `there is no ${previous} to go back to`, {
      hint: 'it is kept when `appliance install` replaces an executable',
    });
  const aside = `${target}.rollback`;
  rmSync(aside, { force: true });
  if (existsSync(target)) linkSync(target, aside);
  renameSync(previous, target);
  if (existsSync(aside)) renameSync(aside, previous);
  syncDirectory(dirname(target));
  return `${target} is the one from before the last upgrade; the newer one is ${previous}`;
}

/** Removes the unit and the executables; what was there. */
export function removeFiles(place: InstallPlace): string[] {
  const removed = [unitFile, installedExecutable, previousExecutable]
    .map((path) => place.root + path)
    .filter((path) => existsSync(path));
  for (const path of removed) removeFileDurably(path);
  return removed;
}

/** True when there is a unit to disable. */
export function unitInstalled(place: InstallPlace): boolean {
  return existsSync(place.root + unitFile);
}
