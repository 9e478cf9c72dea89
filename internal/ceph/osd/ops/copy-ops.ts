import { Decoder } from '../../wire/encoding.ts';
import type { OsdOp } from '../../wire/messages/osd_op.ts';
import { OP } from '../../wire/messages/osd_op.ts';
import { type PushCursor, pushStart } from '../../wire/messages/osd_osd.ts';
import { decodeLocator, type HObject } from '../../wire/types.ts';
import type { CopyPiece } from '../copy-reads.ts';
import { isDone } from '../object-copy.ts';
import { userXattrPrefix } from '../object-info.ts';
import { EFBIG, EINVAL, ENOENT, EOPNOTSUPP, EPERM, ERANGE } from './errno.ts';
import { maxObjectBytes } from './limits.ts';
import type { OpContext } from './op-context.ts';

/** Flags of COPY_FROM (`CEPH_OSD_COPY_FROM_FLAG_*`). Those of cache tiers change nothing here. */
const FLAG_TRUNCATE_SEQ = 32;
const knownFlags = 1 | 2 | 4 | 8 | 16 | FLAG_TRUNCATE_SEQ;
/** The source may change while it is read; after so many tries its writers are too many. */
const maxTries = 8;

/** The source as its OSD gave it. */
interface Source {
  first: CopyPiece;
  pieces: NonNullable<CopyPiece['item']>[];
  size: number;
}

async function readSource(ctx: OpContext, oid: HObject, version: number): Promise<Source | number> {
  for (let tries = 1; ; tries++) {
    const source = await readOnce(ctx, oid, version);
    // Changed between two pieces: from the beginning, unless the client named the version that it wants.
    if (source !== ERANGE || version !== 0 || tries === maxTries) return source;
  }
}

async function readOnce(ctx: OpContext, oid: HObject, version: number): Promise<Source | number> {
  let from: PushCursor = pushStart;
  let source: Source | undefined;
  for (;;) {
    const piece = await ctx.host.readObject(oid, from, source?.first.userVersion ?? version);
    const { item, result } = piece;
    if (result < 0) return source === undefined || version !== 0 ? result : ERANGE;
    if (item === undefined || !item.found) return ENOENT;
    if (item.size > maxObjectBytes) return EFBIG;
    source ??= { first: piece, pieces: [], size: item.size };
    source.pieces.push(item);
    from = item.after;
    if (isDone(from)) return source;
  }
}

/** Makes the object what the source is: data, xattrs, omap, time and user version. */
function replaceBy(ctx: OpContext, { first, pieces, size }: Source): void {
  const { cid, key } = ctx;
  const { item } = first;
  ctx.modified = true;
  if (ctx.inStore) ctx.ops.push({ op: 'remove', cid, key });
  ctx.ops.push({ op: 'touch', cid, key });
  if (size > 0) ctx.ops.push({ op: 'truncate', cid, key, size });
  const xattrs = new Map([...item!.xattrs].filter(([name]) => name.startsWith(userXattrPrefix)));
  if (xattrs.size > 0) ctx.ops.push({ op: 'set-xattrs', cid, key, xattrs });
  let omap = item!.omapHeader.length > 0;
  if (omap) ctx.ops.push({ op: 'omap-set-header', cid, key, header: item!.omapHeader });
  for (const piece of pieces) {
    piece.extents.forEach(({ offset }, i) => {
      ctx.ops.push({ op: 'write', cid, key, offset, data: [piece.data[i]!] });
    });
    if (piece.omap.size === 0) continue;
    omap = true;
    ctx.ops.push({ op: 'omap-set', cid, key, entries: piece.omap });
  }
  if (!ctx.exists) ctx.delta.objects++;
  if (ctx.info.whiteout) ctx.delta.whiteouts--;
  if (omap !== ctx.info.omap) ctx.delta.objectsOmap += omap ? 1 : -1;
  ctx.delta.bytes += size - ctx.info.size;
  ctx.delta.write++;
  ctx.delta.writeKb += Math.ceil(size / 1024);
  ctx.exists = true;
  ctx.inStore = true;
  ctx.changedAll();
  ctx.info = { ...ctx.info, size, omap, whiteout: false, mtime: first.mtime, userVersion: first.userVersion };
}

/** COPY_FROM and COPY_FROM2: the object becomes a copy of another one, of any pool, with its user version and time. */
export async function copyFrom(ctx: OpContext, op: OsdOp): Promise<number> {
  const d = new Decoder(op.input);
  const name = d.string();
  const locator = decodeLocator(d);
  const given = op.op === OP.COPY_FROM2 ? { seq: d.u32(), size: d.u64() } : undefined;
  if ((op.copyFlags & ~knownFlags) !== 0) return EINVAL;
  const { pool, key, nspace } = locator;
  const hash = locator.hash >= 0 ? locator.hash : ctx.host.hashOf(pool, name, key, nspace);
  if (hash === undefined) return ENOENT;
  const oid: HObject = { key: key === name ? '' : key, name, snap: op.copySnapId, hash, max: false, nspace, pool };
  const own = ctx.obc.oid;
  if (own.pool === pool && own.name === name && own.nspace === nspace && own.key === oid.key) {
    // A clone of it may be copied back; itself may not.
    const at = ctx.host.contextAt(ctx.obc, oid.snap);
    if (at === undefined) return ENOENT;
    if (at === ctx.obc) return EINVAL;
  }
  if (!ctx.mayReadOther(pool, nspace, name)) return EPERM;
  const source = await readSource(ctx, oid, op.copyVersion);
  if (typeof source === 'number') return source;
  const hasOmap = source.pieces.some(({ omap, omapHeader }) => omap.size > 0 || omapHeader.length > 0);
  if (hasOmap && ctx.host.rules().erasure) return EOPNOTSUPP;
  replaceBy(ctx, source);
  const { truncateSeq, truncateSize } = source.first;
  const truncation = (op.copyFlags & FLAG_TRUNCATE_SEQ) !== 0 ? given : undefined;
  ctx.info = {
    ...ctx.info,
    truncateSeq: truncation?.seq ?? truncateSeq,
    truncateSize: truncation?.size ?? truncateSize,
  };
  return 0;
}
