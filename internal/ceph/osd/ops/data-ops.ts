import { rawCrc32c } from '../../../base/crc32c.ts';
import { storeHints } from '../../blockstore/api.ts';
import { Decoder, Encoder } from '../../wire/encoding.ts';
import { OP_FLAG_EXCL, type OsdOp } from '../../wire/messages/osd_op.ts';
import { EEXIST, EFBIG, EINVAL, EMSGSIZE, ENOENT, EOPNOTSUPP, MAX_ERRNO } from './errno.ts';
import { maxChecksums, maxObjectBytes, maxWriteBytes } from './limits.ts';
import type { OpContext, OpResult } from './op-context.ts';

const noTruncate = Number.MAX_SAFE_INTEGER;

/** "No truncation" comes as sequence 1 with size -1 from old clients. */
function truncation(op: OsdOp): { seq: number; size: number } {
  const seq = op.truncateSeq;
  const size = op.truncateSize;
  return seq === 1 && size === noTruncate ? { seq: 0, size: 0 } : { seq, size };
}

function outOfBounds(offset: number, length: number): boolean {
  return offset >= maxObjectBytes || length > maxObjectBytes || offset + length > maxObjectBytes;
}

/** What of [offset, offset+length) can be read (`do_read`); length 0 asks for everything. A newer truncation that has not arrived here counts. */
function readable(ctx: OpContext, op: OsdOp): { offset: number; length: number } {
  let size = ctx.exists ? ctx.info.size : 0;
  const { seq, size: truncateSize } = truncation(op);
  const { offset } = op;
  let { length } = op;
  if (ctx.info.truncateSeq < seq && offset + length > truncateSize && size > truncateSize) size = truncateSize;
  if (length === 0) length = size;
  return { offset, length: Math.max(0, Math.min(length, size - offset)) };
}

/** READ. */
export function read(ctx: OpContext, op: OsdOp, result: OpResult): number | Promise<number> {
  const { offset, length } = readable(ctx, op);
  ctx.delta.read++;
  if (length === 0) return 0;
  ctx.delta.readKb += Math.ceil(length / 1024);
  const { store } = ctx.host;
  const ready = store.readNow?.(ctx.cid, ctx.key, offset, length);
  if (ready !== undefined) {
    result.out = [ready];
    return 0;
  }
  return store.read(ctx.cid, ctx.key, offset, length).then((bytes) => {
    if (bytes !== undefined) result.out = [bytes];
    return 0;
  });
}

/** SYNC_READ: not where reads have to wait for others. */
export function syncRead(ctx: OpContext, op: OsdOp, result: OpResult): number | Promise<number> {
  return ctx.host.rules().erasure ? EOPNOTSUPP : read(ctx, op, result);
}

function encodeExtents(e: Encoder, extents: readonly { offset: number; length: number }[]): void {
  e.list(extents, (x, r) => x.u64(r.offset).u64(r.length));
}

/** MAPEXT. */
export function mapExtents(ctx: OpContext, op: OsdOp, result: OpResult): number {
  if (ctx.host.rules().erasure) return EOPNOTSUPP;
  const { offset, length } = readable(ctx, op);
  const e = new Encoder();
  encodeExtents(e, length > 0 ? ctx.host.store.extents(ctx.cid, ctx.key, offset, length) : []);
  result.out = [e.finish()];
  return 0;
}

/** SPARSE_READ: the extents that hold data, then their bytes. */
export function sparseRead(ctx: OpContext, op: OsdOp, result: OpResult): number | Promise<number> {
  const { offset, length } = readable(ctx, op);
  const extents = length > 0 ? ctx.host.store.extents(ctx.cid, ctx.key, offset, length) : [];
  ctx.delta.read++;
  ctx.delta.readKb += Math.ceil(length / 1024);
  let total = 0;
  for (const extent of extents) total += extent.length;
  const e = new Encoder(16 + extents.length * 16);
  encodeExtents(e, extents);
  e.u32(total);
  const head = e.finish();
  if (extents.length === 0) {
    result.out = [head];
    return 0;
  }
  const reads = extents.map((extent) => ctx.host.store.read(ctx.cid, ctx.key, extent.offset, extent.length));
  return Promise.all(reads).then((pieces) => {
    result.out = [head, ...pieces.map((piece) => piece ?? new Uint8Array(0))];
    return 0;
  });
}

/** STAT. */
export function stat(ctx: OpContext, _op: OsdOp, result: OpResult): number {
  if (!ctx.exists) return ENOENT;
  ctx.delta.read++;
  result.out = [new Encoder(16).u64(ctx.info.size).utime(ctx.info.mtime).finish()];
  return 0;
}

const CHECKSUM_XXHASH32 = 0;
const CHECKSUM_XXHASH64 = 1;
const CHECKSUM_CRC32C = 2;

/** CHECKSUM of an extent, or of each of its chunks. */
export function checksum(ctx: OpContext, op: OsdOp, result: OpResult): number | Promise<number> {
  const type = op.checksumType;
  const wide = type === CHECKSUM_XXHASH64;
  if (type > CHECKSUM_CRC32C || op.input.length < (wide ? 8 : 4)) return EINVAL;
  const d = new Decoder(op.input);
  const seed = wide ? d.u64b() : BigInt(d.u32());
  let { length } = op;
  const { offset } = op;
  if (!ctx.exists) return ENOENT;
  if (length === 0 && offset === 0) length = ctx.info.size;
  length = Math.max(0, Math.min(length, ctx.info.size - offset));
  const chunk = op.checksumChunk === 0 ? length : op.checksumChunk;
  if (op.checksumChunk > 0 && (length % chunk !== 0 || length / chunk > maxChecksums)) return EINVAL;
  return ctx.host.store.read(ctx.cid, ctx.key, offset, length).then((bytes) => {
    const data = bytes ?? new Uint8Array(0);
    const count = chunk === 0 ? 0 : Math.floor(data.length / chunk);
    const e = new Encoder(4 + count * 8).u32(count);
    for (let i = 0; i < count; i++) {
      const part = data.subarray(i * chunk, (i + 1) * chunk);
      if (type === CHECKSUM_CRC32C) e.u32(rawCrc32c(Number(seed), part));
      else if (type === CHECKSUM_XXHASH32) e.u32(Bun.hash.xxHash32(part, Number(seed)));
      else e.u64b(Bun.hash.xxHash64(part, seed));
    }
    result.out = [e.finish()];
    return 0;
  });
}

/** CMPEXT: what is not there compares as zeros. */
export function compareExtent(ctx: OpContext, op: OsdOp): number | Promise<number> {
  const { input } = op;
  const compare = (bytes: Uint8Array | undefined): number => {
    for (let i = 0; i < input.length; i++) if (input[i] !== (bytes?.[i] ?? 0)) return -MAX_ERRNO - i;
    return 0;
  };
  const { offset, length } = readable(ctx, op);
  ctx.delta.read++;
  if (length === 0) return compare(undefined);
  return ctx.host.store.read(ctx.cid, ctx.key, offset, length).then(compare);
}

/** A write that meets a truncation: see CephFS truncation in the protocol map. Gives how much of the data counts. */
function applyTruncation(ctx: OpContext, op: OsdOp, offset: number, length: number): number {
  const { seq, size } = truncation(op);
  const known = ctx.info.truncateSeq;
  let usable = length;
  if (known !== 0 && known > seq && offset + length > ctx.info.size)
    usable = offset > ctx.info.size ? 0 : ctx.info.size - offset;
  if (seq > known) {
    if (ctx.exists) {
      ctx.ops.push({ op: 'truncate', cid: ctx.cid, key: ctx.key, size });
      const from = Math.min(size, ctx.info.size);
      ctx.changedRange(from, Math.max(size, ctx.info.size) - from);
      ctx.setSize(size);
    }
    ctx.info = { ...ctx.info, truncateSeq: seq, truncateSize: size };
  }
  return usable;
}

function cut(data: readonly Uint8Array[], length: number): readonly Uint8Array[] {
  const out: Uint8Array[] = [];
  let left = length;
  for (const piece of data) {
    if (left <= 0) break;
    out.push(piece.length <= left ? piece : piece.subarray(0, left));
    left -= piece.length;
  }
  return out;
}

/** False: the pool takes only writes at the end of an object, whole stripes before them. */
function appends(ctx: OpContext, offset: number): boolean {
  const { appendBytes } = ctx.host.rules();
  return appendBytes === 0 || (offset % appendBytes === 0 && offset === (ctx.exists ? ctx.info.size : 0));
}

function writeAt(ctx: OpContext, op: OsdOp, offset: number): number {
  const given = op.length;
  if (given !== op.input.length) return EINVAL;
  if (!appends(ctx, offset)) return EOPNOTSUPP;
  const length = applyTruncation(ctx, op, offset, given);
  if (outOfBounds(offset, length) && !(length === 0 && offset < maxObjectBytes)) return EFBIG;
  ctx.create();
  ctx.delta.write++;
  if (length === 0) {
    if (offset > ctx.info.size) {
      ctx.ops.push({ op: 'truncate', cid: ctx.cid, key: ctx.key, size: offset });
      ctx.setSize(offset);
    }
    return 0;
  }
  ctx.delta.writeKb += Math.ceil(length / 1024);
  ctx.ops.push({
    op: 'write',
    cid: ctx.cid,
    key: ctx.key,
    offset,
    data: length === given ? op.data : cut(op.data, length),
  });
  ctx.changedRange(offset, length);
  if (offset + length > ctx.info.size) ctx.setSize(offset + length);
  return 0;
}

/** WRITE. */
export function write(ctx: OpContext, op: OsdOp): number {
  return writeAt(ctx, op, op.offset);
}

/** APPEND: a write at the end. */
export function append(ctx: OpContext, op: OsdOp): number {
  return writeAt(ctx, op, ctx.exists ? ctx.info.size : 0);
}

/** WRITEFULL: the data becomes all of the object's data. */
export function writeFull(ctx: OpContext, op: OsdOp): number {
  const { length } = op;
  if (length !== op.input.length) return EINVAL;
  if (outOfBounds(0, length) && length > 0) return EFBIG;
  ctx.create();
  ctx.delta.write++;
  ctx.delta.writeKb += Math.ceil(length / 1024);
  ctx.changedAll();
  if (ctx.info.size > length || length === 0)
    ctx.ops.push({ op: 'truncate', cid: ctx.cid, key: ctx.key, size: length });
  if (length > 0) ctx.ops.push({ op: 'write', cid: ctx.cid, key: ctx.key, offset: 0, data: op.data });
  ctx.setSize(length);
  return 0;
}

/** WRITESAME: the data again and again over the extent. */
export function writeSame(ctx: OpContext, op: OsdOp): number {
  const { offset, length } = op;
  const piece = op.input;
  if (length === 0) return 0;
  if (piece.length === 0 || piece.length !== op.writesameDataLength || length % piece.length !== 0) return EINVAL;
  if (outOfBounds(offset, length)) return EFBIG;
  // Before the memory for it is taken.
  if (length > maxWriteBytes) return EMSGSIZE;
  if (!appends(ctx, offset)) return EOPNOTSUPP;
  ctx.create();
  ctx.delta.write++;
  ctx.delta.writeKb += Math.ceil(length / 1024);
  const whole = new Uint8Array(length);
  for (let at = 0; at < length; at += piece.length) whole.set(piece, at);
  ctx.ops.push({ op: 'write', cid: ctx.cid, key: ctx.key, offset, data: [whole] });
  ctx.changedRange(offset, length);
  if (offset + length > ctx.info.size) ctx.setSize(offset + length);
  return 0;
}

function truncateTo(ctx: OpContext, size: number): number {
  ctx.create();
  ctx.delta.write++;
  ctx.ops.push({ op: 'truncate', cid: ctx.cid, key: ctx.key, size });
  const from = Math.min(size, ctx.info.size);
  ctx.changedRange(from, Math.max(size, ctx.info.size) - from);
  ctx.setSize(size);
  return 0;
}

/** TRUNCATE: nothing on a missing object. */
export function truncate(ctx: OpContext, op: OsdOp): number {
  if (ctx.host.rules().appendBytes > 0) return EOPNOTSUPP;
  if (!ctx.exists) return 0;
  const size = op.offset;
  if (size > maxObjectBytes) return EFBIG;
  const { seq, size: truncateSize } = truncation(op);
  if (seq !== 0) {
    if (seq <= ctx.info.truncateSeq) return 0;
    ctx.info = { ...ctx.info, truncateSeq: seq, truncateSize };
  }
  return truncateTo(ctx, size);
}

/** ZERO: never makes the object longer; up to the end it is a truncation. */
export function zero(ctx: OpContext, op: OsdOp): number {
  if (ctx.host.rules().appendBytes > 0) return EOPNOTSUPP;
  const { offset, length } = op;
  if (outOfBounds(offset, length)) return EFBIG;
  if (!ctx.exists || length === 0) return 0;
  if (offset + length >= ctx.info.size) return offset >= ctx.info.size ? 0 : truncateTo(ctx, offset);
  ctx.touch();
  ctx.delta.write++;
  ctx.ops.push({ op: 'zero', cid: ctx.cid, key: ctx.key, offset, length });
  ctx.changedRange(offset, length);
  return 0;
}

/** CREATE. */
export function create(ctx: OpContext, op: OsdOp): number {
  if (ctx.exists && (op.flags & OP_FLAG_EXCL) !== 0) return EEXIST;
  ctx.delta.write++;
  ctx.create();
  return 0;
}

/** DELETE. The head stays as a whiteout while clones of it live, or one is about to be made. */
export function remove(ctx: OpContext): number {
  if (!ctx.exists) return ENOENT;
  ctx.delta.write++;
  ctx.remove(ctx.obc.snapset.clones.length > 0 || needsClone(ctx));
  return 0;
}

/** Whether snapshots taken since the last write call for a clone. */
export function needsClone(ctx: OpContext): boolean {
  const { snaps } = ctx.snapContext;
  return snaps.length > 0 && snaps[0]! > ctx.obc.snapset.seq && ctx.obc.exists;
}

/** SETALLOCHINT. */
export function setAllocHint(ctx: OpContext, op: OsdOp): number {
  ctx.create();
  ctx.delta.write++;
  const flags = op.allocHintFlags & storeHints;
  // librbd hints with every write: mostly nothing.
  if (flags !== 0 || (ctx.info.allocHintFlags & storeHints) !== 0)
    ctx.ops.push({ op: 'set-alloc-hint', cid: ctx.cid, key: ctx.key, flags });
  ctx.info = {
    ...ctx.info,
    expectedObjectSize: op.expectedObjectSize,
    expectedWriteSize: op.expectedWriteSize,
    allocHintFlags: op.allocHintFlags,
  };
  return 0;
}
