import { lstatSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { AppError, errorCode } from '../base/errors.ts';
import { makeDirectory } from '../base/files-system.ts';
import { removeTree } from '../base/mounts-system.ts';
import { effectiveConfigFile, nodePaths } from '../config/paths.ts';

/** The run directory is removed at a stop, so it has to be the node's own: a marker in it says so. */

const marker = '.appliance-run';

/**
 * `ours`: has the marker, or what an earlier version, which wrote none, kept there. `foreign`: has something in it, but neither of these.
 */
export type RunDirectoryState = 'missing' | 'empty' | 'ours' | 'foreign';

export function runDirectoryState(runDir: string): RunDirectoryState {
  let names: string[];
  try {
    names = readdirSync(runDir);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 'missing';
    throw error;
  }
  if (names.length === 0) return 'empty';
  const { controlSocket } = nodePaths('', runDir);
  const ours =
    names.includes(marker) ||
    lstatSync(controlSocket, { throwIfNoEntry: false })?.isSocket() === true ||
    names.includes(basename(effectiveConfigFile(runDir)));
  return ours ? 'ours' : 'foreign';
}

/** Makes the directory, or takes one that is empty or ours. Throws AppError PREFLIGHT, and changes nothing, when something else is in it. */
export function claimRunDirectory(runDir: string): void {
  if (runDirectoryState(runDir) === 'foreign')
    throw new AppError(
      'PREFLIGHT',
      `runDir ${runDir}: expected a directory that is empty or that a node made, for it is removed at a stop; it has ${readdirSync(runDir).toSorted()[0]} in it`,
      { hint: 'choose a directory that nothing else uses, as /run/appliance' },
    );
  makeDirectory(runDir, 0o711);
  writeFileSync(join(runDir, marker), 'The node removes this directory when it stops.\n');
}

/** Removes the directory with all that is in it if it is ours, the marker last, so that it stays ours when this is interrupted. */
export async function removeRunDirectory(runDir: string): Promise<void> {
  if (runDirectoryState(runDir) === 'ours') await removeTree(runDir, marker);
}
