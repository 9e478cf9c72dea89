import { type CollectionId, type ObjectStore, storeHints, type TransactionOp } from '../blockstore/api.ts';
import type { PushCursor, PushItem } from '../wire/messages/osd_osd.ts';
import { eversionZero, type HObject } from '../wire/types.ts';
import { decodeObjectInfo, infoXattr } from './object-info.ts';
import { objectKey, tempKey } from './object-key.ts';

/** Bytes of data and omap in one piece. */
export const pieceBytes = 4 * 2 ** 20;
const pieceOmapEntries = 4096;

/** The answer for an object that is not here or cannot be read. */
export function notFound(oid: HObject, from: PushCursor): PushItem {
  return {
    oid,
    version: eversionZero,
    found: false,
    size: 0,
    before: from,
    after: from,
    xattrs: new Map(),
    omapHeader: new Uint8Array(0),
    omap: new Map(),
    extents: [],
    data: [],
  };
}

/** Reads the piece of an object that follows `from`. The object must not change between its pieces. */
export async function readPiece(
  store: ObjectStore,
  cid: CollectionId,
  oid: HObject,
  from: PushCursor,
): Promise<PushItem> {
  const item = notFound(oid, from);
  const key = objectKey(oid);
  const stat = store.stat(cid, key);
  const infoBytes = store.xattr(cid, key, infoXattr);
  if (stat === undefined || infoBytes === undefined) return item;
  item.found = true;
  item.version = decodeObjectInfo(infoBytes).version;
  item.size = stat.size;
  const after = { ...from };
  if (from.dataTo === 0 && from.omapAfter === '') {
    item.xattrs = store.xattrs(cid, key);
    item.omapHeader = store.omapHeader(cid, key);
  }
  let budget = pieceBytes;
  if (!from.dataDone) {
    const extents = store.extents(cid, key, from.dataTo, stat.size - from.dataTo);
    after.dataTo = stat.size;
    after.dataDone = true;
    const reads: Promise<Uint8Array | undefined>[] = [];
    for (const extent of extents) {
      if (budget <= 0) {
        after.dataTo = extent.offset;
        after.dataDone = false;
        break;
      }
      const length = Math.min(extent.length, budget);
      item.extents.push({ offset: extent.offset, length });
      reads.push(store.read(cid, key, extent.offset, length));
      budget -= length;
      if (length < extent.length) {
        after.dataTo = extent.offset + length;
        after.dataDone = false;
        break;
      }
    }
    const pieces = await Promise.all(reads);
    item.extents = item.extents.map((extent, i) => ({ offset: extent.offset, length: pieces[i]?.length ?? 0 }));
    item.data = pieces.map((piece) => piece ?? new Uint8Array(0));
  }
  if (after.dataDone && !from.omapDone && budget > 0) {
    const page = store.omapList(cid, key, {
      limit: pieceOmapEntries,
      ...(from.omapAfter === '' ? {} : { after: from.omapAfter }),
    });
    after.omapDone = !page.more;
    for (const [name, value] of page.entries) {
      item.omap.set(name, value);
      after.omapAfter = name;
      budget -= name.length + value.length;
      if (budget <= 0) {
        after.omapDone = after.omapDone && name === page.entries[page.entries.length - 1]![0];
        break;
      }
    }
  }
  item.after = after;
  return item;
}

export function isStart(cursor: PushCursor): boolean {
  return cursor.dataTo === 0 && cursor.omapAfter === '' && !cursor.dataDone;
}

export function isDone(cursor: PushCursor): boolean {
  return cursor.dataDone && cursor.omapDone;
}

/** Store operations that put a piece in place. The object itself changes only with the last piece, in one transaction. */
export function pieceOps(cid: CollectionId, item: PushItem): TransactionOp[] {
  const key = objectKey(item.oid);
  const first = isStart(item.before);
  const last = isDone(item.after);
  const to = first && last ? key : tempKey(item.oid);
  const ops: TransactionOp[] = [];
  if (first) {
    ops.push({ op: 'remove', cid, key: to }, { op: 'touch', cid, key: to });
    if (item.size > 0) ops.push({ op: 'truncate', cid, key: to, size: item.size });
    ops.push({ op: 'set-xattrs', cid, key: to, xattrs: item.xattrs });
    const hint = allocHintOf(item.xattrs);
    if (hint !== 0) ops.push({ op: 'set-alloc-hint', cid, key: to, flags: hint });
    if (item.omapHeader.length > 0) ops.push({ op: 'omap-set-header', cid, key: to, header: item.omapHeader });
  }
  item.extents.forEach((extent, i) => {
    ops.push({ op: 'write', cid, key: to, offset: extent.offset, data: [item.data[i]!] });
  });
  if (item.omap.size > 0) ops.push({ op: 'omap-set', cid, key: to, entries: item.omap });
  if (last && !first) ops.push({ op: 'clone', cid, from: to, to: key }, { op: 'remove', cid, key: to });
  return ops;
}

/** How clients said that an object will be used: its data is to be stored here as where it comes from. */
export function allocHintOf(xattrs: ReadonlyMap<string, Uint8Array>): number {
  const bytes = xattrs.get(infoXattr);
  return bytes === undefined ? 0 : decodeObjectInfo(bytes).allocHintFlags & storeHints;
}
