import { existsSync, rmdirSync, rmSync } from 'node:fs';
import { AppError, errorCode } from '../base/errors.ts';
import { type FileLock, lockFile, lockNote } from '../base/file-lock-system.ts';
import { makeDirectory } from '../base/files-system.ts';
import type { Config } from '../config/config.ts';
import { nodePaths, programFor } from '../config/paths.ts';
import { socketAnswers } from './probe-system.ts';

/** One node a data directory: two of them would write over each other's files. */

/** In the data directory; held by the supervisor as long as it lives, and by whatever writes there while none runs: the preparation of a start, a join, a reset. */
export const lockName = 'lock';

type Places = Pick<Config, 'dataDir' | 'runDir'>;

function running(problem: string, runDir: string): AppError {
  return new AppError('RUNNING', problem, {
    hint: `\`${programFor({ runDir })} status\` shows it, \`${programFor({ runDir })} down\` stops it; nothing was changed`,
  });
}

/** Takes a node's data directory for this process, before anything is written there. Throws AppError RUNNING when another process has it: one that runs it, starts it, joins or deletes it. */
export function lockNode(places: Places): FileLock {
  makeDirectory(places.dataDir, 0o711);
  return takeLock(places, `${process.pid} ${places.runDir}\n`);
}

function takeLock({ dataDir, runDir }: Places, note?: string): FileLock {
  const path = `${dataDir}/${lockName}`;
  const lock = lockFile(path, note);
  if (lock) return lock;
  const [pid, ...directory] = lockNote(path).split(' ');
  throw running(
    `an appliance already runs with the data directory ${dataDir}, or is being started there (process ${pid || 'unknown'})`,
    directory.join(' ') || runDir,
  );
}

/** Throws AppError RUNNING when a node runs in these directories. Changes nothing. */
export async function refuseRunning({ dataDir, runDir }: Places): Promise<void> {
  const { controlSocket } = nodePaths(dataDir, runDir);
  if (await socketAnswers(controlSocket))
    throw running(`an appliance already runs here (${controlSocket} answers)`, runDir);
  if (existsSync(`${dataDir}/${lockName}`)) takeLock({ dataDir, runDir }).release();
}

/** Does what writes into the data directory of a node that does not run, which nobody else does meanwhile. When it fails, the lock is no trace of it. */
export async function whileIdle<T>(places: Places, work: () => Promise<T>): Promise<T> {
  await refuseRunning(places);
  const lock = lockNode(places);
  try {
    return await work();
  } catch (error) {
    removeLock(places);
    throw error;
  } finally {
    lock.release();
  }
}

/** Of a lock that this process holds: removes its file, and the data directory when there is nothing else in it. A mount point stays. */
export function removeLock({ dataDir }: Pick<Config, 'dataDir'>): void {
  rmSync(`${dataDir}/${lockName}`, { force: true });
  try {
    rmdirSync(dataDir);
  } catch (error) {
    if (!['EBUSY', 'ENOENT', 'ENOTEMPTY'].includes(errorCode(error) ?? '')) throw error;
  }
}
