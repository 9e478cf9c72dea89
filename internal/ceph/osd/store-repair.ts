import type { CollectionId, ObjectKey, ObjectStore } from '../blockstore/api.ts';
import { type EVersion, eversionZero, parsePg } from '../wire/types.ts';
import { decodeObjectInfo, infoXattr } from './object-info.ts';
import { isObjectKey, objectOfKey } from './object-key.ts';
import { completeUpTo, type PgMeta } from './pg-meta.ts';
import { loadPg } from './store-check.ts';

/** How many copies the cluster keeps of what is in a pool; undefined when that is not known. */
export type CopiesOf = (pool: number) => number | undefined;

export interface DamagedObject {
  readonly cid: CollectionId;
  readonly key: ObjectKey;
}

/** Why an object was left as it is. */
export interface LeftObject extends DamagedObject {
  readonly why: string;
}

/**
 * Notes in their PGs that objects are missing here: the OSD that starts with this store asks other copies for them, as it does for an object whose damage a read has found. What is here of
 * them stays until another copy has come. An object of which no other copy is known is left as it is: its whole parts can still be read, and a missing object could not.
 */
export async function markMissing(
  store: ObjectStore,
  objects: readonly DamagedObject[],
  copies: CopiesOf,
): Promise<{ marked: DamagedObject[]; left: LeftObject[] }> {
  const marked: DamagedObject[] = [];
  const left: LeftObject[] = [];
  const byPg = new Map<CollectionId, DamagedObject[]>();
  for (const object of objects) {
    const list = byPg.get(object.cid);
    if (list === undefined) byPg.set(object.cid, [object]);
    else list.push(object);
  }
  for (const [cid, list] of byPg) {
    const meta = readable(store, cid);
    const count = meta && copies(meta.pg.pool);
    const done: DamagedObject[] = [];
    for (const object of list) {
      const version = meta && isObjectKey(object.key) ? versionOf(store, meta, object.key) : undefined;
      const why =
        meta === undefined || !isObjectKey(object.key)
          ? 'it is no object of a PG'
          : count === undefined || count < 2
            ? 'there is no other copy of it'
            : version === undefined
              ? `it is not known which version it had: a scrub finds it (ceph pg repair ${cid})`
              : undefined;
      if (why !== undefined) {
        left.push({ ...object, why });
        continue;
      }
      meta!.missing.set(objectOfKey(object.key, meta!.pg.pool), version!, eversionZero);
      done.push(object);
    }
    if (meta === undefined || done.length === 0) continue;
    meta.info.lastComplete = completeUpTo(meta.log, meta.missing, meta.info.lastUpdate);
    meta.touchFast();
    await store.queue({ ops: meta.writeOps() });
    marked.push(...done);
  }
  return { marked, left };
}

function readable(store: ObjectStore, cid: CollectionId): PgMeta | undefined {
  if (parsePg(cid) === undefined) return undefined;
  try {
    return loadPg(store, cid);
  } catch {
    return undefined;
  }
}

/** The version that this copy should have: by the log, else by the object itself. */
function versionOf(store: ObjectStore, meta: PgMeta, key: ObjectKey): EVersion | undefined {
  const oid = objectOfKey(key, meta.pg.pool);
  const logged = meta.log.latest(oid);
  if (logged !== undefined) return logged.op === 'delete' ? undefined : logged.version;
  const bytes = store.xattr(meta.cid, key, infoXattr);
  if (bytes === undefined) return undefined;
  try {
    return decodeObjectInfo(bytes).version;
  } catch {
    return undefined;
  }
}
