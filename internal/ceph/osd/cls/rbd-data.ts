import { DecodeError } from '../../../base/bytes.ts';
import { Decoder } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, writeMethod } from './context.ts';
import { EINVAL, EOPNOTSUPP, ERANGE } from './errno.ts';
import { mustExist } from './omap-values.ts';

/** Fills an object of a clone from its parent, unless somebody wrote it meanwhile. */
function copyup(ctx: ClassContext, input: Uint8Array): void {
  if (ctx.stat() === undefined) ctx.write(0, input);
}

function sparseCopyup(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const extents = d.list((x): [bigint, bigint] => [x.u64b(), x.u64b()], 16);
  const data = d.blob();
  if (ctx.stat() !== undefined) return;
  if (extents.length === 0) {
    ctx.create(true);
    return;
  }
  let at = 0;
  for (const [offset, length] of extents) {
    const end = at + Number(length);
    if (end > data.length || offset > BigInt(Number.MAX_SAFE_INTEGER)) throw new DecodeError('sparse_copyup: data');
    ctx.write(Number(offset), data.subarray(at, end));
    at = end;
  }
}

const snapSeqGreater = 0;
const snapSeqLessOrEqual = 1;

/** Guards of deep copies: whether the client's snapshot context is newer than the object's snapshots. */
function assertSnapSeq(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const seq = d.u64b();
  const state = d.u8();
  const newer = ctx.stat() === undefined || seq > ctx.snapSetSeq;
  if (state !== snapSeqGreater && state !== snapSeqLessOrEqual) throw new ClassFailure(EOPNOTSUPP);
  if (newer !== (state === snapSeqGreater)) throw new ClassFailure(ERANGE);
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((b) => b === 0);
}

/** Gives back the space of blocks of zeros. */
async function sparsify(ctx: ClassContext, input: Uint8Array): Promise<void> {
  const d = new Decoder(input);
  const block = d.u64();
  const removeEmpty = d.bool();
  if (block === 0) throw new ClassFailure(EINVAL);
  const { size } = mustExist(ctx);
  const data = await ctx.read(0, size);
  if (isZero(data)) {
    if (removeEmpty) ctx.remove();
    else if (data.length > 0) ctx.writeFull(new Uint8Array(0));
    return;
  }
  const keep: [start: number, end: number][] = [];
  for (let at = 0; at < data.length; at += block) {
    const end = Math.min(at + block, data.length);
    if (isZero(data.subarray(at, end))) continue;
    const last = keep[keep.length - 1];
    if (last !== undefined && last[1] === at) last[1] = end;
    else keep.push([at, end]);
  }
  if (keep.length === 1 && keep[0]![0] === 0 && keep[0]![1] === data.length) return;
  // The new content replaces the old: zeros at the end are cut off, those between become holes.
  ctx.truncate(0);
  for (const [start, end] of keep) ctx.write(start, data.subarray(start, end));
}

/** Methods on data objects of images. */
export const rbdDataMethods: ClassMethods = {
  copyup: writeMethod(copyup),
  sparse_copyup: writeMethod(sparseCopyup),
  // It writes nothing, but belongs to writes, and holds for objects that are not there yet.
  assert_snapc_seq: writeMethod(assertSnapSeq),
  sparsify: writeMethod(sparsify),
};
