import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { makeBlank } from '../../internal/base/blank-system.ts';
import { devicePath } from '../../internal/base/block-devices-system.ts';
import { AppError, errorCode } from '../../internal/base/errors.ts';
import { mountsBelow } from '../../internal/base/mounts-system.ts';
import { plural } from '../../internal/base/words.ts';
import { knownFsid } from '../../internal/ceph/client/ceph-conf-system.ts';
import { blueStorePath, holdsBlueStoreOf } from '../../internal/ceph/engine/bluestore-place-system.ts';
import { ownBlueStore } from '../../internal/ceph/engine/daemon-system.ts';
import { holdsFileSystemOf, holdsStoreOf } from '../../internal/ceph/osd/disk-owner-system.ts';
import type { Config, OsdConfig, StorageEngine } from '../../internal/config/config.ts';
import {
  type ConfigArguments,
  configSources,
  evaluateHere,
  runningConfig,
} from '../../internal/config/machine-system.ts';
import { nodePaths, type Paths, programFor } from '../../internal/config/paths.ts';
import { lockName, lockNode, removeLock } from '../../internal/node/node-lock-system.ts';
import { type FoundOsd, foreignMounts, type ResetPlan, resetPlan } from '../../internal/node/reset-plan.ts';
import { runDirectoryState } from '../../internal/node/run-directory-system.ts';
import { usersStay } from '../../internal/node/users-system.ts';
import { type CommandModule, configArguments, type OutputFormat, withExamples, withOutput } from './command.ts';
import { stopNode } from './down.ts';
import { columns, print, stepsOf } from './output.ts';

interface ResetOptions {
  output: OutputFormat;
  yes?: boolean;
  wipeDevices?: boolean;
  dryRun?: boolean;
}

export const command: CommandModule = {
  define(command) {
    withOutput(command)
      .option('-y, --yes', 'do not ask')
      .option('--dry-run', 'only show what would go')
      .option('--wipe-devices', 'make the devices that hold OSDs of this node blank, too');
    withExamples(command, [
      ['appliance reset --dry-run', 'what would go and what stays'],
      ['appliance reset --dry-run -o json', 'the same for programs'],
      ['appliance reset', 'shows it, asks, stops the node and deletes it'],
      ['appliance reset --yes --wipe-devices', 'without asking, and the disks are blank afterwards'],
    ]).action((options: ResetOptions) => reset(configArguments(command), options));
  },
};

/** So many mounts are named. */
const mountsShownMax = 10;

async function reset(from: ConfigArguments, options: ResetOptions): Promise<void> {
  const { output } = options;
  if (process.getuid?.() !== 0)
    throw new AppError('ROOT', 'reset must be started by root', { hint: 'start it with sudo' });
  const config = runningConfig(from);
  refuseOtherDirectory(from, config);
  const paths = nodePaths(config.dataDir, config.runDir);
  const look = async (): Promise<ResetPlan> =>
    resetPlan(config, {
      dataEntries: namesIn(config.dataDir),
      osds: await Promise.all(config.storage.osd.map((osd) => findOsd(osd, config.storage.engine, paths))),
      exists: existsSync,
      runDirectoryIsOurs: runDirectoryState(config.runDir) === 'ours',
      wipeDevices: options.wipeDevices ?? false,
    });
  let plan = await look();
  if (plan.remove.length === 0 && plan.wipe.length === 0) {
    return print(
      output,
      resetData(config, plan, false),
      () => `there is nothing of a node in ${config.dataDir} and ${config.runDir}`,
    );
  }
  const progress = stepsOf(output);
  progress.line(planText(config, plan));
  // Of a node that was killed the containers' mounts are still there; stopping takes them back.
  refuseForeignMounts(plan, [nodePaths(config.dataDir, config.runDir).agent, config.runDir]);
  if (options.dryRun) return print(output, resetData(config, plan, false));
  if (!options.yes) await ask(config.node.name, output);

  await stopNode(config, progress);
  // From here on nobody starts it again.
  const lock = lockNode(config);
  // A node that stopped has taken back what it mounted.
  refuseForeignMounts(plan);
  plan = await look();
  for (const { path, osd } of plan.wipe) {
    progress.wait(`wiping ${path}`);
    await makeBlank(path);
    progress.done(`${path} is blank; it held osd.${osd}`);
  }
  for (const { path } of plan.remove) {
    // The lock goes last: who takes it finds nothing of the node.
    if (path === `${config.dataDir}/${lockName}`) continue;
    progress.wait(`deleting ${path}`);
    await rm(path, { recursive: true, force: true });
  }
  removeLock(config);
  lock.release();
  progress.done(
    `nothing of ${config.node.name} is left${plan.keep.length > 0 ? ' but what is listed above as kept' : ''}`,
  );
  const stay = usersStay();
  if (stay !== undefined) progress.line(stay);
  print(output, resetData(config, plan, true));
  process.exit(0);
}

/** For programs: what a reset deletes and keeps, and whether it has. */
function resetData(config: Config, { remove, wipe, keep }: ResetPlan, done: boolean): Record<string, unknown> {
  return { node: config.node.name, done, remove, wipe, keep };
}

function planText(config: Config, { remove, wipe, keep }: ResetPlan): string {
  const rows = [
    ...remove.map(({ path, what }) => ['delete', path, what]),
    ...wipe.map(({ path, osd }) => ['wipe', path, `all data of osd.${osd}`]),
    ...keep.map(({ path, why }) => ['keep', path, why]),
  ];
  return `reset of node ${config.node.name}: it is stopped, its containers end, and this is done:\n\n${columns([['', 'PATH', 'WHAT'], ...rows])}\n`;
}

async function ask(node: string, output: OutputFormat): Promise<void> {
  if (!process.stdin.isTTY)
    throw new AppError('USAGE', 'reset asks before it deletes, and there is no terminal to ask on', {
      hint: '--yes deletes without asking, --dry-run only shows',
    });
  const questions = createInterface({
    input: process.stdin,
    output: output === 'table' ? process.stdout : process.stderr,
  });
  const answer = await questions.question(
    `All of this is lost for ever. Type the name of the node, ${node}, to go on: `,
  );
  questions.close();
  if (answer.trim() !== node) throw new AppError('RESET', 'not confirmed: nothing was stopped or deleted');
}

/** A data directory that somebody names is the one that is meant: that of another node, which has this run directory, is not deleted instead. */
function refuseOtherDirectory(from: ConfigArguments, running: Config): void {
  const { config, origins } = evaluateHere(configSources(from));
  if (config.dataDir === running.dataDir || origins.get('dataDir')?.from === 'default') return;
  throw new AppError(
    'OTHER_NODE',
    `nothing is deleted: ${config.dataDir} was named, but node ${running.node.name}, which has the run directory ${running.runDir}, has its data in ${running.dataDir}`,
    {
      hint: `\`${programFor(running)} reset\` deletes that node; another one needs its own --run-dir beside --data-dir`,
    },
  );
}

/** What is mounted where something is deleted would lose its files. The node's own mounts are below `own`. */
function refuseForeignMounts({ remove }: ResetPlan, own: readonly string[] = []): void {
  const foreign = foreignMounts(
    remove.flatMap(({ path }) => mountsBelow(path)).map(({ target }) => target),
    own,
  );
  if (foreign.length === 0) return;
  const shown = foreign.slice(0, mountsShownMax);
  const more = foreign.length - shown.length;
  throw new AppError(
    'MOUNTED',
    [
      `nothing is deleted: ${plural(foreign.length, 'mount')} would lose ${foreign.length === 1 ? 'its' : 'their'} files:`,
      ...shown.map((target) => `  ${target} is still mounted`),
      ...(more > 0 ? [`  and ${more} more`] : []),
    ].join('\n'),
    { hint: 'unmount what is named, then reset again' },
  );
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Looks where an OSD keeps its data, without changing anything. What holds something else, or cannot be told, is not ours. */
async function findOsd(config: OsdConfig, engine: StorageEngine, paths: Paths): Promise<FoundOsd> {
  const fsid = knownFsid(paths);
  const named = 'file' in config ? config.file : 'directory' in config ? config.directory : undefined;
  let path: string | undefined;
  try {
    path = named === undefined ? devicePath(config as Parameters<typeof devicePath>[0]) : realpathSync(named);
    const own = { osd: config.id, fsid };
    const ours =
      engine === 'ceph'
        ? await holdsBlueStoreOf(blueStorePath(config), ownBlueStore(config.id, paths))
        : 'directory' in config
          ? await holdsStoreOf(path, own)
          : await holdsFileSystemOf(path, own);
    return { config, path, holds: ours ? 'ours' : 'nothing' };
  } catch (error) {
    if (['ENOENT', 'NO_DEVICE', 'DEVICE'].includes(errorCode(error) ?? ''))
      return { config, path: undefined, holds: 'nothing' };
    if (!(error instanceof AppError)) throw error;
    return { config, path, holds: { foreign: `${error.message}. ${error.hint ?? ''}`.trim() } };
  }
}
