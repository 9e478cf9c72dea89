import { bytesFromText, Decoder, Encoder, textFromBytes } from '../../wire/encoding.ts';
import type { OsdOp } from '../../wire/messages/osd_op.ts';
import { userXattrPrefix } from '../object-info.ts';
import { ECANCELED, EFBIG, EINVAL, ENAMETOOLONG, ENODATA, ENOENT, ENOSPC } from './errno.ts';
import { maxXattrBytes, maxXattrNameBytes, maxXattrs, maxXattrsBytes } from './limits.ts';
import type { OpContext, OpResult } from './op-context.ts';
import { fromStoreText, toStoreText } from './store-text.ts';

/** Ways to compare (`CEPH_OSD_CMPXATTR_OP_*`). */
export const CMP_EQ = 1;
export const CMP_NE = 2;
export const CMP_GT = 3;
export const CMP_GTE = 4;
export const CMP_LT = 5;
export const CMP_LTE = 6;
const CMP_MODE_STRING = 1;
const CMP_MODE_U64 = 2;

function nameIn(op: OsdOp): string | undefined {
  return op.nameLength > op.input.length ? undefined : textFromBytes(op.input.subarray(0, op.nameLength));
}

function valueIn(op: OsdOp): Uint8Array | undefined {
  const end = op.nameLength + op.valueLength;
  return end > op.input.length ? undefined : op.input.subarray(op.nameLength, end);
}

/** Xattrs of the client, by the client's names. */
export function userXattrs(ctx: OpContext): Map<string, Uint8Array> {
  const out = new Map<string, Uint8Array>();
  if (!ctx.exists) return out;
  const names = [...ctx.host.store.xattrs(ctx.cid, ctx.key)].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, value] of names) if (name.startsWith(userXattrPrefix)) out.set(fromStoreText(name.slice(1)), value);
  return out;
}

export function userXattr(ctx: OpContext, name: string): Uint8Array | undefined {
  return ctx.exists ? ctx.host.store.xattr(ctx.cid, ctx.key, toStoreText(userXattrPrefix + name)) : undefined;
}

/** Whether one more of so many bytes fits among those that the object has, and the changes of this request. */
function xattrsFit(ctx: OpContext, length: number): boolean {
  if (!ctx.exists) return true;
  const stored = ctx.host.store.xattrs(ctx.cid, ctx.key);
  let bytes = length;
  for (const value of stored.values()) bytes += value.length;
  return bytes <= maxXattrsBytes && stored.size + ctx.ops.length < maxXattrs;
}

/** 0 or an errno. */
export function setUserXattr(ctx: OpContext, name: string, value: Uint8Array): number {
  if (bytesFromText(name).length > maxXattrNameBytes) return ENAMETOOLONG;
  if (value.length > maxXattrBytes) return EFBIG;
  if (!xattrsFit(ctx, value.length)) return ENOSPC;
  ctx.create();
  ctx.delta.write++;
  ctx.ops.push({
    op: 'set-xattrs',
    cid: ctx.cid,
    key: ctx.key,
    xattrs: new Map([[toStoreText(userXattrPrefix + name), value]]),
  });
  return 0;
}

export function getXattr(ctx: OpContext, op: OsdOp, result: OpResult): number {
  const name = nameIn(op);
  if (name === undefined) return EINVAL;
  const value = userXattr(ctx, name);
  if (value === undefined) return ctx.exists ? ENODATA : ENOENT;
  ctx.delta.read++;
  result.out = [value];
  return 0;
}

export function getXattrs(ctx: OpContext, _op: OsdOp, result: OpResult): number {
  const e = new Encoder();
  e.stringMap(userXattrs(ctx), (x, v) => x.blob(v));
  ctx.delta.read++;
  result.out = [e.finish()];
  return 0;
}

function holds(cmp: number, order: number): boolean | undefined {
  switch (cmp) {
    case CMP_EQ:
      return order === 0;
    case CMP_NE:
      return order !== 0;
    case CMP_GT:
      return order > 0;
    case CMP_GTE:
      return order >= 0;
    case CMP_LT:
      return order < 0;
    case CMP_LTE:
      return order <= 0;
    default:
      return undefined;
  }
}

/** CMPXATTR: the value given stands on the left, the xattr on the right; 1 when it holds. */
export function compareXattr(ctx: OpContext, op: OsdOp): number {
  const name = nameIn(op);
  const given = valueIn(op);
  if (name === undefined || given === undefined) return EINVAL;
  const stored = userXattr(ctx, name) ?? new Uint8Array(0);
  ctx.delta.read++;
  let order: number;
  if (op.cmpMode === CMP_MODE_STRING) order = Buffer.compare(given, stored);
  else if (op.cmpMode === CMP_MODE_U64) {
    if (given.length < 8) return EINVAL;
    const left = new Decoder(given).u64b();
    const digits = /^\s*[+-]?\d+/.exec(textFromBytes(stored))?.[0];
    const right = BigInt.asUintN(64, BigInt(digits?.trim().replace('+', '') ?? 0));
    order = left < right ? -1 : left > right ? 1 : 0;
  } else return EINVAL;
  const result = holds(op.cmpOp, order);
  return result === undefined ? EINVAL : result ? 1 : ECANCELED;
}

export function setXattr(ctx: OpContext, op: OsdOp): number {
  const name = nameIn(op);
  const value = valueIn(op);
  if (name === undefined || value === undefined) return EINVAL;
  return setUserXattr(ctx, name, value);
}

export function removeXattr(ctx: OpContext, op: OsdOp): number {
  const name = nameIn(op);
  if (name === undefined) return EINVAL;
  if (!ctx.exists) return ENOENT;
  ctx.touch();
  ctx.delta.write++;
  ctx.ops.push({ op: 'remove-xattr', cid: ctx.cid, key: ctx.key, name: toStoreText(userXattrPrefix + name) });
  return 0;
}

/** RESETXATTRS: all of the client's xattrs become those given. */
export function resetXattrs(ctx: OpContext, op: OsdOp): number {
  const given = new Decoder(op.input).stringMap((d) => d.blob());
  ctx.create();
  for (const name of userXattrs(ctx).keys())
    ctx.ops.push({ op: 'remove-xattr', cid: ctx.cid, key: ctx.key, name: toStoreText(userXattrPrefix + name) });
  for (const [name, value] of given) {
    const rval = setUserXattr(ctx, name, value);
    if (rval < 0) return rval;
  }
  return 0;
}
