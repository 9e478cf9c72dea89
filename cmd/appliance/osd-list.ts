import type { Command } from 'commander';
import { whyNotBlank } from '../../internal/base/blank-system.ts';
import { listBlockDevices } from '../../internal/base/block-devices-system.ts';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { AppError, errorCode, errorText } from '../../internal/base/errors.ts';
import { sizeWords } from '../../internal/base/words.ts';
import { objectsOf } from '../../internal/ceph/blockstore/check-data.ts';
import { readLabel } from '../../internal/ceph/blockstore/label.ts';
import { knownFsid } from '../../internal/ceph/client/ceph-conf-system.ts';
import { blueStoreOwner } from '../../internal/ceph/engine/bluestore-label.ts';
import { blueStoreOn } from '../../internal/ceph/engine/bluestore-place-system.ts';
import { parseIdentity } from '../../internal/ceph/osd/disk-owner.ts';
import { osdOn } from '../../internal/ceph/osd/disk-owner-system.ts';
import { type DiskFacts, type DiskState, diskState } from '../../internal/ceph/osd/disk-use.ts';
import { isObjectKey, objectOfKey } from '../../internal/ceph/osd/object-key.ts';
import { type DiskPlace, type OfflineDisk, userOf } from '../../internal/ceph/osd/offline-disk-system.ts';
import { loadPg, objectText } from '../../internal/ceph/osd/store-check.ts';
import { comparePg, eversionText, parsePg, pgText } from '../../internal/ceph/wire/types.ts';
import { unallocatedOsd } from '../../internal/config/config.ts';
import { runningConfig } from '../../internal/config/machine-system.ts';
import { osdPlace } from '../../internal/config/load.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import { configArguments, type OutputFormat } from './command.ts';
import { openStore, pgArgument } from './osd-move.ts';
import { placeOfOsd, requireRoot } from './osd-target.ts';
import { columns, print } from './output.ts';

/** `appliance osd list`. */

interface ListedDisk {
  readonly disk: string;
  readonly bytes: number | null;
  readonly osd: number | null;
  readonly cluster: string | null;
  readonly state: DiskState;
  readonly note: string;
}

/** What holds no OSD of anybody and cannot. */
const noDisks = /^(loop|ram|zram|sr|fd|nbd|rbd)\d/;

export async function listDisks(command: Command, output: OutputFormat): Promise<void> {
  requireRoot(command);
  const config = runningConfig(configArguments(command));
  const own = knownFsid(nodePaths(config.dataDir, config.runDir));
  const devices = listBlockDevices();
  const listed: ListedDisk[] = [];
  const seen = new Set<string>();
  for (const osd of config.storage.osd) {
    const place = placeOfOsd(osd);
    if (place !== undefined) seen.add(place.path);
    const configured = osd.id === unallocatedOsd ? undefined : osd.id;
    const bytes =
      devices.find(({ path }) => path === place?.path)?.bytes ?? ('size' in osd ? (osd.size ?? null) : null);
    listed.push(await describe(place, { configured, name: osdPlace(osd), bytes, own }));
  }
  const whole = devices.filter(({ name }) => !noDisks.test(name));
  for (const device of whole) {
    // A disk that is divided is told of by its parts.
    if (seen.has(device.path) || whole.some(({ partOf }) => partOf?.disk === device.name)) continue;
    const facts = { configured: undefined, name: device.path, bytes: device.bytes, own };
    listed.push(await describe({ kind: 'device', path: device.path }, facts));
  }
  print(output, listed, () =>
    columns([
      ['DISK', 'SIZE', 'OSD', 'STATE', ''],
      ...listed.map(({ disk, bytes, osd, state, note }) => [
        disk,
        bytes === null ? '-' : sizeWords(bytes),
        osd === null ? '-' : `osd.${osd}`,
        state,
        note,
      ]),
    ]),
  );
}

async function describe(
  place: DiskPlace | undefined,
  {
    configured,
    name,
    bytes,
    own,
  }: { configured: number | undefined; name: string; bytes: number | null; own: string | undefined },
): Promise<ListedDisk> {
  const user = place && userOf(place);
  const holds = place && (await holdsOf(place, user, own));
  const found = holds !== undefined && typeof holds === 'object' && 'osd' in holds ? holds : undefined;
  return {
    disk: name,
    bytes,
    osd: found?.osd ?? configured ?? null,
    cluster: found?.fsid ?? null,
    ...diskState({ configured, holds, user }, own),
  };
}

async function holdsOf(
  { kind, path }: DiskPlace,
  user: string | undefined,
  own: string | undefined,
): Promise<DiskFacts['holds']> {
  try {
    const blueStore = blueStoreOn(kind === 'directory' ? `${path}/block` : path);
    if (blueStore?.osd !== undefined) return { osd: blueStore.osd, fsid: blueStore.fsid, daemons: true };
    if (blueStore) return { other: blueStoreOwner(blueStore) };
    if (kind === 'directory') {
      const label = await readLabel(systemDisk, path);
      return (label && parseIdentity(label.identity)) ?? { other: 'a directory without an OSD' };
    }
    const osd = await osdOn(path, own);
    if (osd !== undefined) return osd;
    if (user !== undefined) return { other: user };
    const why = await whyNotBlank(path);
    return why === undefined ? 'blank' : { other: why };
  } catch (error) {
    if (errorCode(error) === undefined) throw error;
    return { other: errorText(error) };
  }
}

/** The PGs on a disk. */
export async function listPgs(disk: OfflineDisk, output: OutputFormat): Promise<void> {
  const store = await openStore(disk, true);
  try {
    const pgs = store
      .collections()
      .flatMap((cid) => parsePg(cid) ?? [])
      .sort(comparePg)
      .map((pg) => {
        const cid = pgText(pg);
        let objects = 0;
        let bytes = 0;
        for (const key of objectsOf(store, cid)) {
          if (!isObjectKey(key)) continue;
          objects++;
          bytes += store.stat(cid, key)!.size;
        }
        try {
          const meta = loadPg(store, cid);
          if (meta === undefined)
            return {
              pg: cid,
              objects,
              bytes,
              lastUpdate: null,
              missing: null,
              note: 'left of one that was being removed',
            };
          const complete = meta.info.lastBackfill.max;
          const note = complete ? '' : 'a part of it: it was being filled';
          return {
            pg: cid,
            objects,
            bytes,
            lastUpdate: eversionText(meta.info.lastUpdate),
            missing: meta.missing.size,
            note,
          };
        } catch (error) {
          return {
            pg: cid,
            objects,
            bytes,
            lastUpdate: null,
            missing: null,
            note: `it cannot be read: ${errorText(error)}`,
          };
        }
      });
    print(output, pgs, () =>
      columns([
        ['PG', 'OBJECTS', 'BYTES', 'LAST UPDATE', 'MISSING', ''],
        ...pgs.map(({ pg, objects, bytes, lastUpdate, missing, note }) => [
          pg,
          String(objects),
          sizeWords(bytes),
          lastUpdate ?? '-',
          missing === null ? '-' : String(missing),
          note,
        ]),
      ]),
    );
  } finally {
    await store.close();
  }
}

/** The objects of a PG on a disk. */
export async function listObjects(disk: OfflineDisk, pgName: string, output: OutputFormat): Promise<void> {
  const pg = pgArgument(pgName);
  const cid = pgText(pg);
  const store = await openStore(disk, true);
  try {
    if (!store.collections().includes(cid))
      throw new AppError('PG', `there is no PG ${cid} on this disk`, {
        hint: '`appliance osd list DISK` shows those that are',
      });
    const objects = [...objectsOf(store, cid)].filter(isObjectKey).map((key) => {
      const oid = objectOfKey(key, pg.pool);
      return { object: objectText(oid), namespace: oid.nspace, locator: oid.key, size: store.stat(cid, key)!.size };
    });
    print(output, objects, () =>
      columns([['OBJECT', 'SIZE'], ...objects.map(({ object, size }) => [object, String(size)])]),
    );
  } finally {
    await store.close();
  }
}
