import { existsSync } from 'node:fs';
import type { WriteStream } from 'node:tty';
import type { Command } from 'commander';
import { listBlockDevices, realpath } from '../../internal/base/block-devices-system.ts';
import { findDevice } from '../../internal/base/block-devices.ts';
import { AppError } from '../../internal/base/errors.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock } from '../../internal/base/system.ts';
import { sizeWords } from '../../internal/base/words.ts';
import { releaseVolumeCopies } from '../../internal/ceph/osd/mount-copies-system.ts';
import {
  type DiskPlace,
  diskAt,
  hasPrivateMounts,
  type OfflineDisk,
  openOffline,
  refuseUsed,
  withPrivateMounts,
} from '../../internal/ceph/osd/offline-disk-system.ts';
import type { Config, OsdConfig } from '../../internal/config/config.ts';
import { runningConfig } from '../../internal/config/machine-system.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import { selfCommand } from '../../internal/node/self-system.ts';
import { configArguments } from './command.ts';
import type { Progress } from './progress.ts';
import { terminal } from './terminal.ts';

/** What the sub-commands of `appliance osd` have in common: which disk is meant, its store within reach, how far it is. */

/** How an argument that names a disk is explained. */
export const diskArgument = 'a disk, partition, file or directory, or osd.N of this node';

export function requireRoot(command: Command): void {
  if (process.getuid?.() !== 0)
    throw new AppError('ROOT', `osd ${command.name()}: disks are root’s to look at`, { hint: 'start it with sudo' });
}

/** What does with a BlueStore what a sub-command does with our store. `data`: the directory of the OSD, which must not run. */
const blueStoreWays: Readonly<Record<string, (data: string) => string>> = {
  list: (data) => `ceph-objectstore-tool --data-path ${data} --op list-pgs`,
  fsck: (data) => `ceph-bluestore-tool fsck --path ${data}`,
  repair: (data) => `ceph-bluestore-tool repair --path ${data}`,
  export: (data) => `ceph-objectstore-tool --data-path ${data} --op export --pgid PG --file FILE`,
  import: (data) => `ceph-objectstore-tool --data-path ${data} --op import --file FILE`,
};

/** For what reads and writes the store of the embedded engine. Errors: ENGINE on a node whose OSDs are another's. */
export function refuseOtherEngine(command: Command, { dataDir, runDir, storage }: Config, name: string): void {
  if (storage.engine === 'embedded') return;
  const what = `osd ${command.name()}`;
  if (storage.engine === 'external')
    throw new AppError('ENGINE', `${what}: this node has no OSD: its storage is an external Ceph cluster`, {
      hint: 'call the tools of Ceph where its OSDs are',
    });
  const instance = /^osd\.\d+$/.test(name) ? name : 'osd.N';
  const paths = nodePaths(dataDir, runDir);
  const way = blueStoreWays[command.name()];
  throw new AppError(
    'ENGINE',
    `${what} is for the embedded engine; OSDs of this node are ceph-osd's (storage.engine: ceph)`,
    {
      hint: way
        ? `while it does not run: ${way(paths.instanceDir(instance))}`
        : `a blank disk needs no preparing; one with an OSD of this cluster is this node's when storage.osd names it by its id, and its key is in ${paths.keyring(instance)}`,
    },
  );
}

/** Where an OSD of the configuration lives; undefined when nothing is there. */
export function placeOfOsd(osd: OsdConfig): DiskPlace | undefined {
  if ('directory' in osd) return existsSync(osd.directory) ? diskAt(osd.directory) : undefined;
  if ('file' in osd) return existsSync(osd.file) ? diskAt(osd.file) : undefined;
  try {
    return diskAt(findDevice(osd, listBlockDevices(), realpath).path);
  } catch (error) {
    if (error instanceof AppError && error.code === 'NO_DEVICE') return undefined;
    throw error;
  }
}

/** The disk that an argument names. Errors: NO_DISK, USAGE. */
export function placeOf(config: Config, name: string): DiskPlace {
  const id = /^osd\.(\d+)$/.exec(name)?.[1];
  if (id === undefined) {
    const byId = `/dev/disk/by-id/${name}`;
    return diskAt(!existsSync(name) && existsSync(byId) ? byId : name);
  }
  const osd = config.storage.osd.find((one) => one.id === Number(id));
  if (osd === undefined)
    throw new AppError('USAGE', `this node has no ${name}`, {
      hint: `name its disk${config.storage.osd.length === 0 ? '' : `; this node has ${config.storage.osd.map((one) => `osd.${one.id}`).join(', ')}`}`,
    });
  const place = placeOfOsd(osd);
  if (place === undefined) throw new AppError('NO_DISK', `the disk of ${name} is not there`, { hint: 'attach it' });
  return place;
}

/**
 * Calls `use` with the store of an OSD that does not run. What has to be mounted is mounted where nobody else sees it: then this process runs itself again, and ends with what
 * that ended with.
 */
export async function withOffline<T>(
  command: Command,
  name: string,
  use: (disk: OfflineDisk, config: Config) => Promise<T>,
): Promise<T> {
  requireRoot(command);
  const config = runningConfig(configArguments(command));
  refuseOtherEngine(command, config, name);
  const place = placeOf(config, name);
  refuseUsed(place);
  if (place.kind !== 'directory') {
    if (!hasPrivateMounts()) process.exit(await again());
    const paths = nodePaths(config.dataDir, config.runDir);
    await releaseVolumeCopies([paths.agent, `${paths.runDir}/containerd`], systemClock, silentLogger);
  }
  const disk = await openOffline(place);
  try {
    return await use(disk, config);
  } finally {
    await disk.close();
  }
}

async function again(): Promise<number> {
  const argv = withPrivateMounts([...selfCommand(), ...process.argv.slice(2)]);
  const child = Bun.spawn(argv, { stdin: 'inherit', stdout: 'inherit', stderr: 'inherit' });
  const code = await child.exited;
  return child.signalCode === null ? code : 1;
}

/** Shorter work tells nothing on its way. */
const quietMs = 2000;

/** How far something is, from two seconds on: redrawn on a terminal, a line every ten seconds elsewhere. */
export class WorkProgress {
  readonly #steps: Progress;
  readonly #everyMs: number;
  #nextMs: number;

  constructor(steps: Progress, out: WriteStream) {
    this.#steps = steps;
    this.#everyMs = terminal(out).live ? 200 : 10_000;
    this.#nextMs = performance.now() + quietMs;
  }

  tell(what: string, done: number, all: number): void {
    const now = performance.now();
    if (now < this.#nextMs) return;
    this.#nextMs = now + this.#everyMs;
    this.#steps.wait(`${what}: ${done} of ${all}`);
  }

  bytes(what: string, done: number, all: number): void {
    const now = performance.now();
    if (now < this.#nextMs) return;
    this.#nextMs = now + this.#everyMs;
    const share = all > 0 ? ` (${Math.floor((100 * done) / all)} %)` : '';
    this.#steps.wait(`${what}: ${sizeWords(done)} of ${sizeWords(all)}${share}`);
  }

  end(): void {
    this.#steps.clear();
  }
}
