import { Decoder, Encoder } from '../../wire/encoding.ts';
import type { OsdOp } from '../../wire/messages/osd_op.ts';
import { ECANCELED, EINVAL, ENOENT, EOPNOTSUPP } from './errno.ts';
import { maxOmapBytes, maxOmapEntries } from './limits.ts';
import type { OpContext, OpResult } from './op-context.ts';
import { fromStoreText, toStoreKeys, toStoreText } from './store-text.ts';
import { CMP_EQ, CMP_GT, CMP_LT } from './xattr-ops.ts';

/** A page of omap behind `after`; nothing of an object that is not there. */
export function omapPage(
  ctx: OpContext,
  after: string,
  prefix: string,
  limit: number,
): { entries: [string, Uint8Array][]; more: boolean } {
  if (!ctx.exists || !ctx.obc.info.omap) return { entries: [], more: false };
  const page = ctx.host.store.omapList(ctx.cid, ctx.key, {
    limit,
    ...(after === '' ? {} : { after: toStoreText(after) }),
    ...(prefix === '' ? {} : { prefix: toStoreText(prefix) }),
  });
  return { entries: page.entries.map(([key, value]) => [fromStoreText(key), value]), more: page.more };
}

/** Values by key, for those that are there. */
export function omapValues(ctx: OpContext, keys: readonly string[]): Map<string, Uint8Array> {
  if (!ctx.exists) return new Map();
  const found = ctx.host.store.omapGet(ctx.cid, ctx.key, keys.map(toStoreText));
  const out = new Map<string, Uint8Array>();
  for (const [key, value] of found) out.set(fromStoreText(key), value);
  return out;
}

export function omapKeys(ctx: OpContext, op: OsdOp, result: OpResult): number {
  const d = new Decoder(op.input);
  const after = d.string();
  const limit = Math.min(maxOmapEntries, Number(d.u64b()));
  const page = omapPage(ctx, after, '', limit);
  ctx.delta.read++;
  const e = new Encoder(64);
  e.list(page.entries, (x, [key]) => x.string(key)).bool(page.more);
  result.out = [e.finish()];
  return 0;
}

export function omapVals(ctx: OpContext, op: OsdOp, result: OpResult): number {
  const d = new Decoder(op.input);
  const after = d.string();
  const limit = Math.min(maxOmapEntries, Number(d.u64b()));
  const prefix = d.string();
  const page = omapPage(ctx, after, prefix, limit);
  let bytes = 0;
  let count = 0;
  for (const [key, value] of page.entries) {
    bytes += key.length + value.length;
    if (bytes > maxOmapBytes && count > 0) break;
    count++;
  }
  const entries = count < page.entries.length ? page.entries.slice(0, count) : page.entries;
  ctx.delta.read++;
  ctx.delta.readKb += Math.ceil(bytes / 1024);
  const e = new Encoder(64 + bytes);
  e.list(entries, (x, [key, value]) => x.string(key).blob(value)).bool(page.more || count < page.entries.length);
  result.out = [e.finish()];
  return 0;
}

export function omapHeader(ctx: OpContext, _op: OsdOp, result: OpResult): number {
  ctx.delta.read++;
  if (ctx.exists) result.out = [ctx.host.store.omapHeader(ctx.cid, ctx.key)];
  return 0;
}

export function omapValsByKeys(ctx: OpContext, op: OsdOp, result: OpResult): number {
  const keys = new Decoder(op.input).stringList();
  const found = omapValues(ctx, keys);
  ctx.delta.read++;
  const e = new Encoder(64);
  e.stringMap(found, (x, v) => x.blob(v));
  result.out = [e.finish()];
  return 0;
}

/** OMAP_CMP: the stored value stands on the left; what is missing compares as empty. */
export function omapCompare(ctx: OpContext, op: OsdOp): number {
  const wanted = new Decoder(op.input).stringMap((d) => ({ value: d.blob(), cmp: d.s32() }));
  if (!ctx.exists) return ENOENT;
  const found = omapValues(ctx, [...wanted.keys()]);
  ctx.delta.read++;
  for (const [key, { value, cmp }] of wanted) {
    const order = Buffer.compare(found.get(key) ?? new Uint8Array(0), value);
    if (cmp === CMP_EQ) {
      if (order !== 0) return ECANCELED;
    } else if (cmp === CMP_LT) {
      if (order >= 0) return ECANCELED;
    } else if (cmp === CMP_GT) {
      if (order <= 0) return ECANCELED;
    } else return EINVAL;
  }
  return 0;
}

export function setOmap(ctx: OpContext, entries: ReadonlyMap<string, Uint8Array>): void {
  ctx.create();
  ctx.markOmap();
  ctx.delta.write++;
  let bytes = 0;
  for (const [key, value] of entries) bytes += key.length + value.length;
  ctx.delta.writeKb += Math.ceil(bytes / 1024);
  ctx.ops.push({ op: 'omap-set', cid: ctx.cid, key: ctx.key, entries: toStoreKeys(entries) });
}

export function omapSet(ctx: OpContext, op: OsdOp): number {
  if (ctx.host.rules().erasure) return EOPNOTSUPP;
  setOmap(
    ctx,
    new Decoder(op.input).stringMap((d) => d.blob()),
  );
  return 0;
}

export function setOmapHeader(ctx: OpContext, header: Uint8Array): void {
  ctx.create();
  ctx.markOmap();
  ctx.delta.write++;
  ctx.ops.push({ op: 'omap-set-header', cid: ctx.cid, key: ctx.key, header });
}

export function omapSetHeader(ctx: OpContext, op: OsdOp): number {
  if (ctx.host.rules().erasure) return EOPNOTSUPP;
  setOmapHeader(ctx, op.input);
  return 0;
}

export function omapClear(ctx: OpContext): number {
  if (ctx.host.rules().erasure) return EOPNOTSUPP;
  if (!ctx.exists) return ENOENT;
  ctx.touch();
  ctx.delta.write++;
  ctx.ops.push({ op: 'omap-clear', cid: ctx.cid, key: ctx.key });
  if (ctx.info.omap) {
    ctx.info = { ...ctx.info, omap: false };
    ctx.delta.objectsOmap--;
  }
  return 0;
}

export function removeOmapKeys(ctx: OpContext, keys: readonly string[]): number {
  if (!ctx.exists) return ENOENT;
  ctx.touch();
  ctx.delta.write++;
  ctx.ops.push({ op: 'omap-remove', cid: ctx.cid, key: ctx.key, keys: keys.map(toStoreText) });
  return 0;
}

export function omapRemove(ctx: OpContext, op: OsdOp): number {
  if (ctx.host.rules().erasure) return EOPNOTSUPP;
  return removeOmapKeys(ctx, new Decoder(op.input).stringList());
}

export function removeOmapRange(ctx: OpContext, first: string, end: string): number {
  if (!ctx.exists) return ENOENT;
  ctx.touch();
  ctx.delta.write++;
  ctx.ops.push({
    op: 'omap-remove-range',
    cid: ctx.cid,
    key: ctx.key,
    first: toStoreText(first),
    last: toStoreText(end),
  });
  return 0;
}

export function omapRemoveRange(ctx: OpContext, op: OsdOp): number {
  if (ctx.host.rules().erasure) return EOPNOTSUPP;
  const d = new Decoder(op.input);
  const first = d.string();
  return removeOmapRange(ctx, first, d.string());
}
