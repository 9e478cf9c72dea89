import { Decoder, Encoder } from '../wire/encoding.ts';
import type { MOSDOpValue } from '../wire/messages/osd_client.ts';
import { OP, type OsdOp } from '../wire/messages/osd_op.ts';
import {
  compareHObject,
  decodeHObject,
  encodeHObject,
  type HObject,
  hobjectMax,
  type PgId,
  reverseBits32,
  SNAP_HEAD,
} from '../wire/types.ts';
import type { RecoveryGate } from './engine-host.ts';
import { decodeObjectInfo, infoXattr } from './object-info.ts';
import { hasClassFilter } from './cls/table.ts';
import { endObjectKey, objectKey, objectOfKey } from './object-key.ts';
import { E2BIG, EINVAL, EOPNOTSUPP } from './ops/errno.ts';
import { maxListEntries, maxPgOps } from './ops/limits.ts';
import type { OpResult } from './ops/op-context.ts';
import { toStoreText } from './ops/store-text.ts';
import type { PgCore } from './pg-core.ts';

/** Namespace with which clients ask for the objects of all namespaces. */
const allNamespaces = '\u0001';

/** Keys looked at in one answer: a namespace with few objects in a PG with many must not hold the OSD up. */
const maxLooked = 4096;

/** Where the next PG begins in the order of hashes (`pg_t::get_hobj_end`). */
export function pgEnd(pg: PgId, pgNum: number): HObject {
  const bitCount = 32 - Math.clz32(pgNum);
  const half = 2 ** (bitCount - 1);
  const bits = pgNum === 1 ? 0 : pg.seed % half < pgNum % half ? bitCount : bitCount - 1;
  const start = reverseBits32(pg.seed);
  const end = (start | (bits === 0 ? 0xffffffff : 0xffffffff >>> bits)) >>> 0;
  if (end === 0xffffffff) return hobjectMax;
  return { key: '', name: '', snap: SNAP_HEAD, hash: reverseBits32(end + 1), max: false, nspace: '', pool: pg.pool };
}

/** Objects whose xattr (by its name in the store, `_` in front) has this value. */
interface ListFilter {
  xattr: string;
  value: Uint8Array;
}

/**
 * What a filtered listing asks for (`PrimaryLogPG::get_pgls_filter`), behind the two words `pg filter`: the kind of filter with its parameters. A kind
 * `CLASS.NAME` is an object class's own. Undefined: there is no such filter.
 */
function decodeFilter(d: Decoder): ListFilter | undefined {
  d.string();
  d.string();
  const kind = d.string();
  if (kind !== 'plain' && !hasClassFilter(kind)) return undefined;
  return { xattr: d.string(), value: d.blob() };
}

export interface ListAnswer {
  rval: number;
  out: Uint8Array;
}

/** Carries out a request about the PG itself; between two of its ops others have their turn, by `pause`. */
export async function runPgOps(
  core: PgCore,
  gate: Pick<RecoveryGate, 'listInconsistent'>,
  message: MOSDOpValue,
  pause: () => Promise<void>,
): Promise<{ result: number; results: OpResult[] }> {
  const results: OpResult[] = [];
  if (message.ops.length > maxPgOps) return { result: E2BIG, results };
  let result = 0;
  for (const op of message.ops) {
    if (results.length > 0) await pause();
    const answer =
      op.op === OP.SCRUBLS ? gate.listInconsistent(op.input) : listObjects(core, op, message.locator.nspace);
    result = answer.rval;
    results.push({ op, rval: answer.rval, out: answer.out.length > 0 ? [answer.out] : [] });
    if (result < 0) break;
  }
  return { result, results };
}

/** PGNLS and PGLS, plain and with a filter: heads of the PG behind a cursor, in hash order. Result 1: this was the end, the cursor is the next PG's. */
export function listObjects(core: PgCore, op: OsdOp, nspace: string): ListAnswer {
  const none = new Uint8Array(0);
  const plain = op.op === OP.PGLS || op.op === OP.PGLS_FILTER;
  if (!plain && op.op !== OP.PGNLS && op.op !== OP.PGNLS_FILTER) return { rval: EOPNOTSUPP, out: none };
  let cursor: HObject;
  let filter: ListFilter | undefined;
  try {
    const d = new Decoder(op.input);
    if (op.op === OP.PGLS_FILTER || op.op === OP.PGNLS_FILTER) {
      filter = decodeFilter(d);
      if (filter === undefined) return { rval: EINVAL, out: none };
    }
    cursor = decodeHObject(d);
  } catch {
    return { rval: EINVAL, out: none };
  }
  const limit = Math.min(maxListEntries, op.count);
  const isMin = cursor.name === '' && cursor.hash === 0 && !cursor.max;
  if (!isMin && !cursor.max && core.map.pgOfHash(core.id.pool, cursor.hash).seed !== core.id.seed)
    return { rval: EINVAL, out: none };

  const found: HObject[] = [];
  let next: HObject | undefined;
  if (!cursor.max) {
    const { store } = core.env;
    // What is not here yet has no xattr to look at: a filtered listing leaves it out.
    const missing = (filter === undefined ? core.meta.missing.list() : [])
      .map((item) => item.oid)
      .filter((oid) => oid.snap === SNAP_HEAD && compareHObject(oid, cursor) >= 0)
      .sort(compareHObject);
    let start = objectKey(cursor);
    let missingAt = 0;
    let looked = 0;
    const take = (oid: HObject): boolean => {
      if (nspace !== allNamespaces && oid.nspace !== nspace) return true;
      if (found.length >= limit) {
        next = oid;
        return false;
      }
      found.push(oid);
      return true;
    };
    listing: for (;;) {
      const page = store.list(core.meta.cid, start, 256);
      for (const key of page) {
        if (Buffer.compare(key, endObjectKey) >= 0) break listing;
        const oid = objectOfKey(key, core.id.pool);
        if (++looked > maxLooked) {
          next = oid;
          break listing;
        }
        while (missingAt < missing.length && compareHObject(missing[missingAt]!, oid) < 0)
          if (!take(missing[missingAt++]!)) break listing;
        if (missingAt < missing.length && compareHObject(missing[missingAt]!, oid) === 0) missingAt++;
        if (oid.snap !== SNAP_HEAD) continue;
        if (store.stat(core.meta.cid, key)?.damaged) {
          // That it is there is all that is known of it.
          if (filter === undefined && !take(oid)) break listing;
          continue;
        }
        const info = store.xattr(core.meta.cid, key, infoXattr);
        if (info === undefined || decodeObjectInfo(info).whiteout) continue;
        if (filter !== undefined) {
          const value = store.xattr(core.meta.cid, key, toStoreText(filter.xattr));
          if (value === undefined || Buffer.compare(value, filter.value) !== 0) continue;
        }
        if (!take(oid)) break listing;
      }
      if (page.length < 256) break;
      start = new Uint8Array([...page[page.length - 1]!, 0]);
    }
    while (next === undefined && missingAt < missing.length) if (!take(missing[missingAt++]!)) break;
  }
  const ended = next === undefined;
  const handle = next ?? pgEnd(core.id, core.map.pool(core.id.pool)?.pgNum ?? 1);
  return { rval: ended ? 1 : 0, out: plain ? plainAnswer(handle, found) : namespaceAnswer(handle, found) };
}

function namespaceAnswer(handle: HObject, found: readonly HObject[]): Uint8Array {
  const e = new Encoder(64 + found.length * 32);
  e.struct(1, 1, () => {
    encodeHObject(e, handle);
    e.list(found, (_, oid) => e.string(oid.nspace).string(oid.name).string(oid.key));
  });
  return e.finish();
}

function plainAnswer(handle: HObject, found: readonly HObject[]): Uint8Array {
  const e = new Encoder(64 + found.length * 32);
  e.u8(1);
  encodeHObject(e, handle);
  e.list(found, (_, oid) => e.string(oid.name).string(oid.key));
  return e.finish();
}
