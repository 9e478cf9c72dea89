import { AppError, errorText } from '../../base/errors.ts';
import { plural } from '../../base/words.ts';
import type { CollectionId, ObjectKey, ObjectStore, StoreStatfs } from '../blockstore/api.ts';
import { blockBytes } from '../blockstore/api.ts';
import { type BlockStore, type BlockStoreOptions, openBlockStore } from '../blockstore/blockstore.ts';
import { checkData } from '../blockstore/check-data.ts';
import { checkIndex, type IndexCheck } from '../blockstore/check-index.ts';
import { keyText } from '../blockstore/errors.ts';
import { type Fault, FaultList } from '../blockstore/fault.ts';
import { readLabel } from '../blockstore/label.ts';
import { parsePg } from '../wire/types.ts';
import { isObjectKey, objectOfKey } from './object-key.ts';
import { checkOsdState, objectPlace, objectText, readMaps } from './store-check.ts';
import { type DamagedObject, type LeftObject, markMissing } from './store-repair.ts';
import { removeUnfinished, unfinishedIn } from './pg-transfer.ts';

/** The whole check of an OSD's store, and its repair. The OSD does not run. */

export interface FsckOptions
  extends Pick<BlockStoreOptions, 'disk' | 'dir' | 'clock' | 'log' | 'openIndex' | 'buffers'> {
  /** What is being done, in words; `done` and `all` in the unit of that. */
  readonly progress: (what: string, done: number, all: number) => void;
  /** Lets others run. */
  readonly breathe: () => Promise<void>;
}

export interface FsckReport {
  readonly faults: readonly Fault[];
  /** More than `faults` when there are very many. */
  readonly faultCount: number;
  readonly pgs: number;
  readonly statfs: StoreStatfs | undefined;
}

export interface RepairReport extends FsckReport {
  /** Objects that the OSD fetches from other copies when it starts. */
  readonly marked: readonly DamagedObject[];
  readonly left: readonly LeftObject[];
  /** Faults that could not be mended. */
  readonly remaining: readonly Fault[];
}

/** Reads everything: index, journal, every block, what the OSD keeps of its PGs. Nothing is changed. Errors: LABEL, VERSION, INDEX when another process has it. */
export async function fsckStore(options: FsckOptions): Promise<FsckReport> {
  const list = new FaultList();
  const { collections, removed } = await checkOnlyIndex(options, list);
  if (collections === undefined) return { faults: list.faults, faultCount: list.count, pgs: 0, statfs: undefined };
  const pgs = collections.filter(({ cid }) => parsePg(cid) !== undefined).length;
  const store = await opened(options, list, true);
  if (store === undefined) return { faults: list.faults, faultCount: list.count, pgs, statfs: undefined };
  try {
    await checkContent(withoutObjects(store, removed), list, options, removed);
    return { faults: list.faults, faultCount: list.count, pgs, statfs: store.statfs() };
  } finally {
    await store.close();
  }
}

/** Asked before something that cannot be read any more is taken out; throws when it must not be. */
export type MayRemove = (faults: readonly Fault[]) => void;

/** Checks, and mends what can be mended without inventing data. Errors: as of `fsckStore`, and what `mayRemove` throws: then nothing was changed. */
export async function repairStore(options: FsckOptions, mayRemove: MayRemove): Promise<RepairReport> {
  const list = new FaultList();
  const label = await labelOf(options);
  const journalIsEmpty = await emptyJournal(options);
  const index = await options.openIndex(options.disk, options.dir, 8 << 20);
  let check: IndexCheck;
  try {
    const blocks = Math.floor(label.capacityBytes / blockBytes);
    check = await checkIndex(index, blocks, list, options.breathe, journalIsEmpty);
    const removed = list.faults.filter(({ mend }) => mend === 'removed');
    if (removed.length > 0) mayRemove(removed);
    if (check.changes.length > 0) await index.write(check.changes);
  } finally {
    await index.close();
  }
  const remaining = (left: readonly LeftObject[]): Fault[] => [
    ...list.faults.filter(({ mend }) => mend === 'none'),
    ...left.map(
      ({ cid, key, why }): Fault => ({
        kind: 'object',
        text: `${objectName(cid, key)}: ${why}`,
        mend: 'none',
        cid,
        key,
      }),
    ),
  ];
  const base = (pgs: number): Omit<RepairReport, 'remaining'> => ({
    faults: list.faults,
    faultCount: list.count,
    pgs,
    statfs: undefined,
    marked: [],
    left: [],
  });
  if (check.collections === undefined) return { ...base(0), remaining: remaining([]) };
  const pgs = check.collections.filter(({ cid }) => parsePg(cid) !== undefined).length;
  const store = await opened(options, list, false);
  if (store === undefined) return { ...base(pgs), remaining: remaining([]) };
  try {
    await checkContent(store, list, options, check.removed);
    const wanted = new Map<string, DamagedObject>();
    const want = (cid: CollectionId, key: ObjectKey): void => void wanted.set(objectPlace(cid, key), { cid, key });
    for (const { collection, key } of check.removed) want(collection.cid, key);
    for (const { mend, cid, key } of list.faults)
      if (mend === 'fetched' && cid !== undefined && key !== undefined) want(cid, key);
    const { marked, left } = await markMissing(store, [...wanted.values()], await copiesOf(store));
    await removeUnfinished(store);
    return { ...base(pgs), statfs: store.statfs(), marked, left, remaining: remaining(left) };
  } finally {
    await store.close();
  }
}

/**
 * Brings what the journal has into the index, as a start of the OSD does. What is put right in the index afterwards then meets no record that was written before it. False when that cannot be: the
 * journal does not fit what the index says now.
 */
async function emptyJournal(options: FsckOptions): Promise<boolean> {
  const index = await options.openIndex(options.disk, options.dir, 1 << 20);
  try {
    // Nothing is written into a damaged one.
    if (index.check().length > 0) return false;
  } catch {
    return false;
  } finally {
    await index.close();
  }
  const store = await opened(options, new FaultList(), false);
  if (store === undefined) return false;
  try {
    await store.close();
    return true;
  } catch {
    return false;
  }
}

/** An object's name for people: as clients know it, where it is one of theirs. */
export function objectName(cid: CollectionId, key: ObjectKey): string {
  const pg = parsePg(cid);
  if (pg === undefined || !isObjectKey(key)) return `object ${keyText(key)} of ${cid}`;
  try {
    return `object ${objectText(objectOfKey(key, pg.pool))} of PG ${cid}`;
  } catch {
    return `object ${keyText(key)} of PG ${cid}`;
  }
}

async function labelOf({ disk, dir }: FsckOptions): Promise<{ identity: string; capacityBytes: number }> {
  const label = await readLabel(disk, dir);
  if (label === undefined) throw new AppError('LABEL', `${dir} holds no store: it has no label`);
  return label;
}

async function checkOnlyIndex(options: FsckOptions, list: FaultList): Promise<IndexCheck> {
  const { capacityBytes } = await labelOf(options);
  const index = await options.openIndex(options.disk, options.dir, 8 << 20);
  try {
    return await checkIndex(index, Math.floor(capacityBytes / blockBytes), list, async (done, all) => {
      options.progress('objects in the index', done, all);
      await options.breathe();
    });
  } finally {
    await index.close();
  }
}

/** The store with its journal replayed; undefined, and a fault, when the journal is damaged. */
async function opened(options: FsckOptions, list: FaultList, readOnly: boolean): Promise<BlockStore | undefined> {
  const { identity, capacityBytes } = await labelOf(options);
  const { disk, dir, clock, log, openIndex, buffers } = options;
  try {
    return await openBlockStore({
      disk,
      dir,
      clock,
      log,
      openIndex,
      identity,
      capacityBytes,
      readOnly,
      ...(buffers === undefined ? {} : { buffers }),
    });
  } catch (error) {
    if (error instanceof AppError && ['INDEX', 'VERSION', 'LABEL'].includes(error.code)) throw error;
    const after = list.count > 0 ? '; with what is wrong above put right it may be' : '';
    list.add({
      kind: 'journal',
      text: `what was written since the last checkpoint cannot be read or applied${after}: ${errorText(error)}`,
      mend: 'none',
    });
    return undefined;
  }
}

/** A store as it will be when objects that cannot be read are out of its index. */
function withoutObjects(store: ObjectStore, removed: IndexCheck['removed']): ObjectStore {
  if (removed.length === 0) return store;
  const places = placesOf(removed);
  const hidden = (cid: CollectionId, key: ObjectKey): boolean => places.has(objectPlace(cid, key));
  const changed: Partial<ObjectStore> = {
    list: (cid, start, limit) =>
      store
        .list(cid, start, limit + places.size)
        .filter((key) => !hidden(cid, key))
        .slice(0, limit),
    stat: (cid, key) => (hidden(cid, key) ? undefined : store.stat(cid, key)),
    xattr: (cid, key, name) => (hidden(cid, key) ? undefined : store.xattr(cid, key, name)),
  };
  return new Proxy(store, {
    get: (target, name) => {
      const value: unknown = (changed as Record<PropertyKey, unknown>)[name] ?? Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

function placesOf(removed: IndexCheck['removed']): Set<string> {
  return new Set(removed.map(({ collection, key }) => objectPlace(collection.cid, key)));
}

async function checkContent(
  store: ObjectStore,
  list: FaultList,
  options: FsckOptions,
  removed: IndexCheck['removed'],
): Promise<void> {
  const cids = store.collections();
  let seen = 0;
  await checkOsdState(
    store,
    list,
    async (cid) => {
      options.progress(`PG ${cid}`, ++seen, cids.length);
      await options.breathe();
    },
    placesOf(removed),
  );
  const unfinished = unfinishedIn(store);
  if (unfinished.length > 0)
    list.add({
      kind: 'osd',
      text: `${plural(unfinished.length, 'import')} of a PG did not end: ${unfinished.join(', ')}; what is there of it takes space`,
      mend: 'removed',
    });
  const all = store.statfs().dataBytes;
  let done = 0;
  await checkData(store, list, {
    progress: (bytes) => {
      done += bytes;
      options.progress('data', done, Math.max(all, done));
    },
    recycle: (bytes) => options.buffers?.give(bytes),
  });
}

/** How many copies the newest map that the OSD has says that a pool keeps. */
async function copiesOf(store: ObjectStore): Promise<(pool: number) => number | undefined> {
  try {
    const map = (await readMaps(store))?.current;
    return (pool) => map?.pool(pool)?.size;
  } catch {
    return () => undefined;
  }
}
