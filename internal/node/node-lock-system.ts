import { existsSync } from 'node:fs';
import { AppError } from '../base/errors.ts';
import { type FileLock, lockFile, lockNote } from '../base/file-lock-system.ts';
import { makeDirectory } from '../base/files-system.ts';
import type { Config } from '../config/config.ts';
import { nodePaths } from '../config/paths.ts';
import { socketAnswers } from './probe-system.ts';

/** One node a data directory: two of them would write over each other's files. */

/** In the data directory; held by the supervisor as long as it lives. */
export const lockName = 'lock';

type Places = Pick<Config, 'dataDir' | 'runDir'>;

function running(problem: string, runDir: string): AppError {
  return new AppError('RUNNING', problem, {
    hint: `\`appliance --run-dir ${runDir} status\` shows it, \`appliance --run-dir ${runDir} down\` stops it; nothing was changed`,
  });
}

/** Takes a node's data directory for this process. Throws AppError RUNNING when another node has it. */
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
    `an appliance already runs with the data directory ${dataDir} (process ${pid})`,
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
