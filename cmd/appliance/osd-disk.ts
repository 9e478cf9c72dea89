import { existsSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { makeBlank, whyNotBlank } from '../../internal/base/blank-system.ts';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { utf8Text } from '../../internal/base/bytes.ts';
import { AppError } from '../../internal/base/errors.ts';
import { makeDirectory, writeFileAtomic } from '../../internal/base/files-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { plural, sizeWords } from '../../internal/base/words.ts';
import { keyringEntryText, parseKeyring } from '../../internal/ceph/auth/keyring.ts';
import { readLabel } from '../../internal/ceph/blockstore/label.ts';
import { knownFsid } from '../../internal/ceph/client/ceph-conf-system.ts';
import { blueStoreOwner } from '../../internal/ceph/engine/bluestore-label.ts';
import { blueStoreOn } from '../../internal/ceph/engine/bluestore-place-system.ts';
import { parseIdentity } from '../../internal/ceph/osd/disk-owner.ts';
import { holdsFileSystemOf, osdOn } from '../../internal/ceph/osd/disk-owner-system.ts';
import { makeFile, makeFileSystem } from '../../internal/ceph/osd/disk-system.ts';
import {
  type DiskPlace,
  diskAt,
  type OfflineDisk,
  refuseUsed,
  takeFile,
} from '../../internal/ceph/osd/offline-disk-system.ts';
import type { Config } from '../../internal/config/config.ts';
import { runningConfig } from '../../internal/config/machine-system.ts';
import { nodePaths, type Paths } from '../../internal/config/paths.ts';
import { parseSize } from '../../internal/config/values.ts';
import { connectMon, hasCephKeys } from '../../internal/node/ceph-connect-client.ts';
import { storeFiles } from '../../internal/node/reset-plan.ts';
import { configArguments, type OutputFormat } from './command.ts';
import { placeOf, placeOfOsd, refuseOtherEngine, requireRoot } from './osd-target.ts';
import { print } from './output.ts';

/** `appliance osd prepare`, `adopt` and `wipe`. */

const monMs = 15_000;
/** As `storage.osd` has it. */
const leastFileBytes = 512 * 2 ** 20;

/** How an OSD is named in `storage.osd`. */
function entryText(id: number, { kind, path }: DiskPlace): string {
  return `{id: ${id}, ${kind}: ${path}}`;
}

function clusterOf(paths: Paths): string {
  const fsid = knownFsid(paths);
  if (fsid !== undefined) return fsid;
  throw new AppError('NO_CLUSTER', 'this node has no storage cluster yet', {
    hint: 'it gets one at its first start, `appliance up`, or when it joins one with storage',
  });
}

/** Errors for an id that this node has elsewhere, and for a disk on which it has another OSD. */
function refuseTaken(config: Config, id: number, place: DiskPlace | undefined): void {
  for (const osd of config.storage.osd) {
    const there = placeOfOsd(osd);
    const same = there !== undefined && there.path === place?.path;
    if (osd.id === id && there !== undefined && !same)
      throw new AppError('TAKEN', `this node has osd.${id} on ${there.path}`, {
        hint: 'choose another id, or take it out of storage.osd first',
      });
    if (same && osd.id !== id && osd.id >= 0)
      throw new AppError('TAKEN', `storage.osd has osd.${osd.id} on ${there.path}, not osd.${id}`, {
        hint: 'change one of them',
      });
  }
}

export async function prepare(
  command: Command,
  name: string,
  { id: idText, size: sizeText, output }: { id: string; size?: string; output: OutputFormat },
): Promise<void> {
  requireRoot(command);
  if (!/^\d{1,5}$/.test(idText))
    throw new AppError('USAGE', `${JSON.stringify(idText)} is no id of an OSD`, {
      hint: 'expected a number such as 3',
    });
  const osd = Number(idText);
  const config = runningConfig(configArguments(command));
  refuseOtherEngine(command, config, name);
  const fsid = clusterOf(nodePaths(config.dataDir, config.runDir));
  const own = { osd, fsid };
  const size = sizeText === undefined ? undefined : parseSize(sizeText);
  if (sizeText !== undefined && (size === undefined || size < leastFileBytes))
    throw new AppError('USAGE', `${JSON.stringify(sizeText)} is no size of an OSD`, {
      hint: 'expected one such as 20Gi, at least 512Mi',
    });
  let made = true;
  if (!existsSync(name) && size !== undefined) {
    refuseTaken(config, osd, undefined);
    await makeFile(resolve(name), size, own);
  } else {
    if (!existsSync(name) && name.startsWith('/') && !name.startsWith('/dev/'))
      throw new AppError('NO_DISK', `${name} is not there`, {
        hint: 'a file is made with --size, such as --size 20Gi',
      });
    const place = placeOf(config, name);
    if (place.kind === 'directory')
      throw new AppError('USAGE', `${place.path} is a directory: it needs no preparing`, {
        hint: 'name it in storage.osd, and start the node',
      });
    refuseTaken(config, osd, place);
    refuseUsed(place);
    const lock = place.kind === 'file' ? takeFile(place.path) : undefined;
    made = !(await holdsFileSystemOf(place.path, own));
    if (made) await makeFileSystem(place.path, own);
    lock?.release();
  }
  const place = diskAt(name);
  print(output, { disk: place.path, osd, cluster: fsid, made, entry: entryText(osd, place) }, () =>
    [
      made
        ? `${place.path} is prepared for osd.${osd} of this cluster`
        : `${place.path} was prepared for osd.${osd} before`,
      ...next(config, osd, place),
    ].join('\n'),
  );
}

function next(config: Config, osd: number, place: DiskPlace): string[] {
  const there = config.storage.osd.some((one) => one.id === osd && placeOfOsd(one)?.path === place.path);
  return there
    ? ['start the node, or have it reload: appliance reload']
    : [
        `write it into storage.osd: ${entryText(osd, place)}`,
        'then start the node, or have it reload: appliance reload',
      ];
}

export async function adopt(
  disk: OfflineDisk,
  config: Config,
  { keyring, output }: { keyring?: string; output: OutputFormat },
): Promise<void> {
  const paths = nodePaths(config.dataDir, config.runDir);
  const { place, identity } = disk;
  const { osd, fsid, uuid } = identity;
  const own = clusterOf(paths);
  if (fsid !== own)
    throw new AppError('FOREIGN_DISK', `${place.path} is the disk of osd.${osd} of another cluster: ${fsid}`, {
      hint: `this node's cluster is ${own}: the data cannot be had here. If it is not needed: appliance osd wipe ${place.path} --foreign --yes`,
    });
  refuseTaken(config, osd, place);
  const entity = `osd.${osd}`;
  const file = paths.keyring(entity);
  const known = existsSync(file) && parseKeyring(readFileSync(file, 'utf8'), file).has(entity);
  if (!known || keyring !== undefined) {
    const text = keyring === undefined ? await keyFromMon(paths, entity) : keyFromFile(keyring, entity);
    makeDirectory(paths.ceph, 0o711);
    makeDirectory(`${paths.ceph}/keyrings`);
    writeFileAtomic(file, text, 0o600);
  }
  print(output, { disk: place.path, osd, cluster: fsid, uuid, keyring: file, entry: entryText(osd, place) }, () =>
    [`${place.path} holds osd.${osd} of this cluster, and this node has its key`, ...next(config, osd, place)].join(
      '\n',
    ),
  );
}

function keyFromFile(path: string, entity: string): string {
  if (!existsSync(path)) throw new AppError('USAGE', `${path} is not there`);
  const entry = parseKeyring(readFileSync(path, 'utf8'), path).get(entity);
  if (entry === undefined)
    throw new AppError('KEYRING', `${path} has no key of ${entity}`, {
      hint: `on a server: ceph auth get ${entity} -o ${entity}.keyring`,
    });
  return keyringEntryText(entity, entry);
}

async function keyFromMon(paths: Paths, entity: string): Promise<string> {
  const byHand = `on a server: ceph auth get ${entity} -o ${entity}.keyring; then here: --keyring ${entity}.keyring`;
  if (!hasCephKeys(paths))
    throw new AppError('KEYRING', `this node has no key of ${entity}, and may not ask for it`, { hint: byHand });
  const mon = await connectMon(paths, silentLogger, monMs).catch((cause: unknown) => {
    throw new AppError('NOT_RUNNING', `this node has no key of ${entity}, and no mon answers that could be asked`, {
      hint: byHand,
      cause,
    });
  });
  try {
    const answer = await mon.command({ prefix: 'auth get', entity });
    if (answer.code !== 0)
      throw new AppError('MON', `the cluster gives no key of ${entity}: ${answer.status || `error ${answer.code}`}`, {
        hint: 'it was purged: its data was made anew elsewhere. Wipe the disk, and give it to a new OSD',
      });
    return utf8Text(answer.output);
  } finally {
    await mon.close();
  }
}

export async function wipe(
  command: Command,
  name: string,
  { yes, foreign, output }: { yes: boolean; foreign: boolean; output: OutputFormat },
): Promise<void> {
  requireRoot(command);
  const config = runningConfig(configArguments(command));
  const place = placeOf(config, name);
  refuseUsed(place);
  const lock = place.kind === 'file' ? takeFile(place.path) : undefined;
  const own = knownFsid(nodePaths(config.dataDir, config.runDir));
  const holds = await whatItHolds(place, own);
  const data = { disk: place.path, held: holds.text, osd: holds.osd ?? null, cluster: holds.fsid ?? null };
  if (holds.blank) {
    print(output, { ...data, wiped: false }, () => `${place.path} is blank already`);
    return;
  }
  const ours = own !== undefined && holds.fsid === own;
  if (!ours && !foreign)
    throw new AppError('FOREIGN_DISK', `${place.path} holds ${holds.text}: that is no OSD of this cluster`, {
      hint: 'nothing was changed; --foreign wipes it all the same',
    });
  if (!yes)
    throw new AppError('CONFIRM', `${place.path} holds ${holds.text}: all of it would be lost`, {
      hint: 'nothing was changed; --yes wipes it',
    });
  if (place.kind === 'device') await makeBlank(place.path);
  else if (place.kind === 'file') blankFile(place.path);
  else for (const file of [...storeFiles, 'block']) rmSync(`${place.path}/${file}`, { recursive: true, force: true });
  lock?.release();
  print(output, { ...data, wiped: true }, () =>
    [
      `${place.path} is blank; it held ${holds.text}`,
      ...(ours
        ? [
            `if the cluster still has osd.${holds.osd}: ceph osd purge ${holds.osd} --yes-i-really-mean-it, before a new OSD takes its place`,
          ]
        : []),
    ].join('\n'),
  );
}

/** A file keeps its size and has no content any more. */
function blankFile(path: string): void {
  const { size } = Bun.file(path);
  truncateSync(path, 0);
  truncateSync(path, size);
}

interface Held {
  readonly text: string;
  readonly blank: boolean;
  readonly osd?: number | undefined;
  readonly fsid?: string | undefined;
}

async function whatItHolds({ kind, path }: DiskPlace, own: string | undefined): Promise<Held> {
  const blueStore = blueStoreOn(kind === 'directory' ? `${path}/block` : path);
  if (blueStore) return { text: blueStoreOwner(blueStore), blank: false, osd: blueStore.osd, fsid: blueStore.fsid };
  if (kind === 'directory') {
    const label = await readLabel(systemDisk, path);
    const store = label && parseIdentity(label.identity);
    if (store !== undefined) return { text: `osd.${store.osd} of cluster ${store.fsid}`, blank: false, ...store };
    const files = storeFiles.filter((file) => existsSync(`${path}/${file}`));
    return files.length === 0
      ? { text: 'no OSD', blank: true }
      : { text: `${plural(files.length, 'file')} of an OSD without a label`, blank: false };
  }
  const found = await osdOn(path, own);
  if (found !== undefined) {
    const of = found.fsid === undefined ? 'that does not say of which cluster' : `of cluster ${found.fsid}`;
    return { text: `osd.${found.osd} ${of}`, blank: false, ...found };
  }
  const why = await whyNotBlank(path);
  return why === undefined
    ? { text: 'nothing', blank: true }
    : {
        text: `something else (${why}), ${kind === 'file' ? sizeWords(Bun.file(path).size) : 'a device'}`,
        blank: false,
      };
}
