import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { AppError } from '../../internal/base/errors.ts';
import { syncDirectory } from '../../internal/base/files-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock } from '../../internal/base/system.ts';
import { plural, sizeWords } from '../../internal/base/words.ts';
import { type BlockStore, openBlockStore } from '../../internal/ceph/blockstore/blockstore.ts';
import { openSqliteIndex } from '../../internal/ceph/blockstore/index-sqlite-shell.ts';
import type { MapKeeper } from '../../internal/ceph/osd/map-keeper.ts';
import type { OfflineDisk } from '../../internal/ceph/osd/offline-disk-system.ts';
import type { ReadBytes } from '../../internal/ceph/osd/pg-archive.ts';
import { compressionPolicies } from '../../internal/ceph/osd/compression.ts';
import { exportPg, importPg } from '../../internal/ceph/osd/pg-transfer.ts';
import { loadPg, readMaps } from '../../internal/ceph/osd/store-check.ts';
import { eversionText, type PgId, parsePg, pgText } from '../../internal/ceph/wire/types.ts';
import type { OutputFormat } from './command.ts';
import { print, stepsOf } from './output.ts';
import { WorkProgress } from './osd-target.ts';

/** `appliance osd export` and `import`. */

export function pgArgument(text: string): PgId {
  const pg = parsePg(text);
  if (pg === undefined)
    throw new AppError('USAGE', `${JSON.stringify(text)} is no PG`, {
      hint: 'expected one such as 2.1f; `appliance osd list DISK` shows those of a disk',
    });
  return pg;
}

/** The store on a disk. */
export function openStore({ dir, label }: OfflineDisk, readOnly: boolean): Promise<BlockStore> {
  return openBlockStore({
    disk: systemDisk,
    dir,
    clock: systemClock,
    log: silentLogger,
    openIndex: openSqliteIndex,
    capacityBytes: label.capacityBytes,
    identity: label.identity,
    readOnly,
  });
}

/** Maps of an OSD, without which a PG has no place. */
async function mapsOf(store: BlockStore, disk: OfflineDisk): Promise<MapKeeper> {
  const maps = await readMaps(store);
  if (maps !== undefined) return maps;
  throw new AppError('PG', `osd.${disk.identity.osd} on ${disk.place.path} has never been in its cluster`, {
    hint: 'start it for a moment, so that it gets maps, and stop it again',
  });
}

export async function exportTo(
  disk: OfflineDisk,
  pgName: string,
  to: string,
  { output, skipDamaged }: { output: OutputFormat; skipDamaged: boolean },
): Promise<void> {
  const pg = pgArgument(pgName);
  const file = resolve(to);
  if (existsSync(file)) throw new AppError('EXISTS', `${file} is there already`, { hint: 'Name another file.' });
  if (!existsSync(dirname(file)))
    throw new AppError('USAGE', `the directory ${dirname(file)} is not there`, {
      hint: 'mount or make it, or name another file',
    });
  const progress = new WorkProgress(stepsOf(output), output === 'table' ? process.stdout : process.stderr);
  const store = await openStore(disk, true);
  const temporary = join(dirname(file), `.${basename(file)}.new`);
  const fd = openSync(temporary, 'w', 0o600);
  try {
    const maps = await mapsOf(store, disk);
    const meta = loadPg(store, pgText(pg));
    const map = meta && (maps.get(meta.epoch) ?? maps.get(maps.oldest));
    const free = statfsSync(dirname(file));
    const all = dataBytesOf(store, pg);
    if (all > free.bavail * free.bsize)
      throw new AppError(
        'ENOSPC',
        `PG ${pgName} has ${sizeWords(all)}, ${dirname(file)} has ${sizeWords(free.bavail * free.bsize)} left`,
        {
          hint: 'name a file where there is more room',
        },
      );
    let written = 0;
    const result = await exportPg(store, pg, {
      fsid: disk.identity.fsid,
      osd: disk.identity.osd,
      nowMs: systemClock.now(),
      pgNum: map?.pool(pg.pool)?.pgNum ?? 0,
      skipDamaged,
      write: (pieces) => {
        for (const piece of pieces) for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
        return Promise.resolve();
      },
      progress: (bytes) => {
        written += bytes;
        progress.bytes(`exporting PG ${pgName}`, written, all);
      },
    });
    fsyncSync(fd);
    renameSync(temporary, file);
    syncDirectory(dirname(file));
    progress.end();
    const { begin, objects, dataBytes, skipped } = result;
    const data = {
      file,
      pg: pgName,
      osd: begin.osd,
      objects,
      dataBytes,
      lastUpdate: eversionText(begin.lastUpdate),
      skipped: skipped.length,
    };
    print(output, data, () =>
      [
        `${file}: PG ${pgName} of osd.${begin.osd}, ${plural(objects, 'object')}, ${sizeWords(dataBytes)}, up to ${data.lastUpdate}`,
        ...(skipped.length === 0
          ? []
          : [
              `${plural(skipped.length, 'damaged object')} left out: the copy says that it lacks ${skipped.length === 1 ? 'it' : 'them'}`,
            ]),
      ].join('\n'),
    );
  } finally {
    progress.end();
    closeSync(fd);
    rmSync(temporary, { force: true });
    await store.close();
  }
}

function dataBytesOf(store: BlockStore, pg: PgId): number {
  let sum = 0;
  const cid = pgText(pg);
  let start: Uint8Array = new Uint8Array(0);
  for (;;) {
    const keys = store.list(cid, start, 1024);
    for (const key of keys) for (const { length } of store.extents(cid, key, 0, Number.MAX_SAFE_INTEGER)) sum += length;
    if (keys.length < 1024) return sum;
    const last = keys.at(-1)!;
    start = new Uint8Array(last.length + 1);
    start.set(last);
  }
}

export async function importFrom(
  disk: OfflineDisk,
  from: string,
  { output, replace }: { output: OutputFormat; replace: boolean },
): Promise<void> {
  const file = resolve(from);
  if (!existsSync(file))
    throw new AppError('USAGE', `${file} is not there`, { hint: 'it is made by `appliance osd export`' });
  const progress = new WorkProgress(stepsOf(output), output === 'table' ? process.stdout : process.stderr);
  const store = await openStore(disk, false);
  const fd = openSync(file, 'r');
  try {
    const maps = await mapsOf(store, disk);
    const newest = maps.get(maps.newest);
    if (newest !== undefined) store.setCompression(compressionPolicies(newest, new Map()));
    let checked = 0;
    let written = 0;
    const result = await importPg(
      {
        store,
        fsid: disk.identity.fsid,
        osd: disk.identity.osd,
        maps: { oldest: maps.oldest, newest: maps.newest, pgNum: (epoch, pool) => maps.get(epoch)?.pool(pool)?.pgNum },
      },
      {
        replace,
        open: () => readerOf(fd),
        checked: (bytes) => {
          checked += bytes;
          progress.bytes('verifying', checked, checked);
        },
        written: (bytes) => {
          written += bytes;
          progress.bytes('importing', written, checked);
        },
      },
    );
    progress.end();
    const { begin, objects, dataBytes, replaced } = result;
    const data = {
      pg: pgText(begin.pg),
      osd: disk.identity.osd,
      from: begin.osd,
      objects,
      dataBytes,
      lastUpdate: eversionText(begin.lastUpdate),
      replaced: replaced === undefined ? null : eversionText(replaced),
    };
    print(output, data, () =>
      [
        `PG ${data.pg} of osd.${begin.osd} is on osd.${disk.identity.osd} now: ${plural(objects, 'object')}, ${sizeWords(dataBytes)}, up to ${data.lastUpdate}`,
        ...(replaced === undefined ? [] : [`it took the place of a copy up to ${data.replaced}`]),
        'start the OSD: the cluster finds it there',
      ].join('\n'),
    );
  } finally {
    progress.end();
    closeSync(fd);
    await store.close();
  }
}

/** Reads a file from its beginning. */
function readerOf(fd: number): ReadBytes {
  let position = 0;
  return (count) => {
    const bytes = new Uint8Array(count);
    let at = 0;
    while (at < count) {
      const read = readSync(fd, bytes, at, count - at, position);
      if (read === 0) break;
      at += read;
      position += read;
    }
    return Promise.resolve(bytes.subarray(0, at));
  };
}
