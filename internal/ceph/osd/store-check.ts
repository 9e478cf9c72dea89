import { errorText } from '../../base/errors.ts';
import { silentLogger } from '../../base/log.ts';
import type { CollectionId, ObjectKey, ObjectStore } from '../blockstore/api.ts';
import { objectsOf } from '../blockstore/check-data.ts';
import { keyText } from '../blockstore/errors.ts';
import type { FaultList } from '../blockstore/fault.ts';
import { compareEVersion, compareHObject, eversionText, type HObject, parsePg, SNAP_HEAD } from '../wire/types.ts';
import { MapKeeper, metaCollection } from './map-keeper.ts';
import { decodeObjectInfo, decodeSnapSet, infoXattr, type ObjectInfo, snapsetXattr } from './object-info.ts';
import { isObjectKey, objectKey, objectOfKey } from './object-key.ts';
import { PgMeta } from './pg-meta.ts';

/** What an OSD keeps in its store, compared with itself: maps, PGs, their logs, and what is kept with each object. Nothing is changed. */

/** The maps of an OSD that does not run. Undefined in a store that has not had any yet. Errors: whatever does not fit. */
export async function readMaps(store: ObjectStore): Promise<MapKeeper | undefined> {
  if (!store.collections().includes(metaCollection)) return undefined;
  let empty = false;
  const maps = await MapKeeper.open(store, silentLogger, { fsid: '', osdId: -1 }, () => {
    empty = true;
  });
  return empty || maps.newest === 0 ? undefined : maps;
}

/** A PG as its rows say; undefined for what is left of one that was being removed. Errors: whatever cannot be read. */
export function loadPg(store: ObjectStore, cid: CollectionId): PgMeta | undefined {
  const id = parsePg(cid);
  return id && PgMeta.load(store, id);
}

/** An object in a store, as a text that names no other. */
export function objectPlace(cid: CollectionId, key: ObjectKey): string {
  return `${cid} ${Buffer.from(key).toString('latin1')}`;
}

/** `object` in words: its name, namespace and snapshot. */
export function objectText({ name, nspace, snap }: HObject): string {
  const space = nspace === '' ? '' : `${nspace}/`;
  return `${space}${keyText(Buffer.from(name, 'utf8'))}${snap === SNAP_HEAD ? '' : `@${snap}`}`;
}

/** `told`: objects of which nothing more is to be said, as `objectPlace` names them. */
export async function checkOsdState(
  store: ObjectStore,
  list: FaultList,
  progress: (cid: CollectionId) => Promise<void>,
  told: ReadonlySet<string> = new Set(),
): Promise<void> {
  try {
    await readMaps(store);
  } catch (error) {
    list.add({
      kind: 'osd',
      text: `the OSD’s maps cannot be read: ${errorText(error)}`,
      mend: 'none',
      cid: metaCollection,
    });
  }
  for (const cid of store.collections()) {
    if (parsePg(cid) === undefined) continue;
    await progress(cid);
    let meta: PgMeta | undefined;
    try {
      meta = loadPg(store, cid);
    } catch (error) {
      list.add({
        kind: 'pg',
        text: `PG ${cid}: what it says of itself cannot be read: ${errorText(error)}`,
        mend: 'none',
        cid,
      });
      continue;
    }
    if (meta !== undefined) new PgChecker(store, meta, list, told).run();
  }
}

class PgChecker {
  readonly #store: ObjectStore;
  readonly #meta: PgMeta;
  readonly #list: FaultList;
  readonly #told: ReadonlySet<string>;

  constructor(store: ObjectStore, meta: PgMeta, list: FaultList, told: ReadonlySet<string>) {
    this.#store = store;
    this.#meta = meta;
    this.#list = list;
    this.#told = told;
  }

  #fault(kind: 'pg' | 'object-info', text: string, key?: ObjectKey): void {
    const { cid } = this.#meta;
    if (key !== undefined && this.#told.has(objectPlace(cid, key))) return;
    const mend = key === undefined ? 'none' : 'fetched';
    this.#list.add({ kind, text: `PG ${cid}: ${text}`, mend, cid, ...(key === undefined ? {} : { key }) });
  }

  run(): void {
    const { log, info, missing, cid, pg } = this.#meta;
    const newest = log.all().at(-1)?.version ?? log.tail;
    if (compareEVersion(newest, info.lastUpdate) !== 0)
      this.#fault('pg', `its log ends at ${eversionText(newest)}, its info says ${eversionText(info.lastUpdate)}`);
    for (const key of objectsOf(this.#store, cid)) {
      if (!isObjectKey(key)) continue;
      let oid: HObject;
      try {
        oid = objectOfKey(key, pg.pool);
      } catch (error) {
        this.#fault('object-info', `a key that is no object’s: ${keyText(key)}: ${errorText(error)}`);
        continue;
      }
      if (!missing.has(oid)) this.#checkObject(oid, key);
    }
    this.#checkLogged();
  }

  #checkObject(oid: HObject, key: ObjectKey): void {
    const { cid, pg } = this.#meta;
    const name = objectText(oid);
    const bytes = this.#store.xattr(cid, key, infoXattr);
    if (bytes === undefined) {
      this.#fault('object-info', `object ${name} has no version`, key);
      return;
    }
    let info: ObjectInfo;
    try {
      info = decodeObjectInfo(bytes);
    } catch (error) {
      this.#fault('object-info', `object ${name}: its version cannot be read: ${errorText(error)}`, key);
      return;
    }
    const size = this.#store.stat(cid, key)!.size;
    // A shard of an erasure-coded object has a part of it.
    if (pg.shard === undefined && size !== info.size)
      this.#fault('object-info', `object ${name} should have ${info.size} bytes and has ${size}`, key);
    const snaps = this.#store.xattr(cid, key, snapsetXattr);
    if (oid.snap !== SNAP_HEAD || snaps === undefined) return;
    try {
      for (const { id } of decodeSnapSet(snaps).clones) {
        const clone = { ...oid, snap: id };
        const cloneKey = objectKey(clone);
        if (this.#meta.missing.has(clone) || compareHObject(clone, this.#meta.info.lastBackfill) > 0) continue;
        if (this.#store.stat(cid, cloneKey) === undefined)
          this.#fault('object-info', `object ${name}: its clone ${id} is not there`, cloneKey);
      }
    } catch (error) {
      this.#fault('object-info', `object ${name}: its snapshots cannot be read: ${errorText(error)}`, key);
    }
  }

  /** What the log says that this copy has, it must have. */
  #checkLogged(): void {
    const { log, missing, info, cid } = this.#meta;
    for (const entry of log.all()) {
      const { oid, op, version } = entry;
      if (op === 'error' || op === 'clone' || log.latest(oid) !== entry) continue;
      if (missing.has(oid) || compareHObject(oid, info.lastBackfill) > 0) continue;
      const key = objectKey(oid);
      const there = this.#store.stat(cid, key) !== undefined;
      if (op === 'delete') {
        if (there) this.#fault('pg', `object ${objectText(oid)} was deleted by ${eversionText(version)} and is there`);
        continue;
      }
      if (!there) {
        this.#fault(
          'object-info',
          `object ${objectText(oid)} was written by ${eversionText(version)} and is not there`,
          key,
        );
        continue;
      }
      const bytes = this.#store.xattr(cid, key, infoXattr);
      if (bytes === undefined) continue;
      try {
        const have = decodeObjectInfo(bytes).version;
        if (compareEVersion(have, version) < 0)
          this.#fault(
            'object-info',
            `object ${objectText(oid)} is at ${eversionText(have)}, its log says ${eversionText(version)}`,
            key,
          );
      } catch {
        // Told of with the object.
      }
    }
  }
}
