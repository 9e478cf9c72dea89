import { concatBytes } from '../../../base/bytes.ts';
import { bytesFromText, Decoder, Encoder, encoded, textFromBytes } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EDQUOT, EEXIST, EINVAL, EIO, ENOENT, ESTALE } from './errno.ts';
import { asU64, readKey } from './omap-values.ts';

/** `rbd_obj_header_ondisk`: texts, order, then from here on numbers, followed by ids and sizes of snapshots, then by their names. */
const numbersAt = 80;
const headerBytes = 112;

interface OldSnapshot {
  id: bigint;
  size: bigint;
  name: string;
}

/** The header of an image of format 1, newest snapshot first. */
interface OldHeader {
  /** Everything before the numbers. */
  texts: Uint8Array;
  size: bigint;
  snapSeq: bigint;
  reserved: number;
  snaps: OldSnapshot[];
}

/** Errors: EINVAL when the object is too short for a header, EIO when its parts do not fit together. */
async function readHeader(ctx: ClassContext): Promise<OldHeader> {
  const head = await ctx.read(0, headerBytes);
  if (head.length < headerBytes) throw new ClassFailure(EINVAL);
  const d = new Decoder(head.subarray(numbersAt));
  const size = d.u64b();
  const snapSeq = d.u64b();
  const count = d.u32();
  const reserved = d.u32();
  const namesBytes = d.u64();
  const stat = ctx.stat();
  if (stat === undefined || headerBytes + count * 16 + namesBytes > stat.size) throw new ClassFailure(EIO);
  const rest = await ctx.read(headerBytes, count * 16 + namesBytes);
  const ids = new Decoder(rest.subarray(0, count * 16));
  const names = textFromBytes(rest.subarray(count * 16)).split('\0');
  if (names.length < count + (count > 0 ? 1 : 0)) throw new ClassFailure(EIO);
  const snaps = Array.from(
    { length: count },
    (_, i): OldSnapshot => ({ id: ids.u64b(), size: ids.u64b(), name: names[i]! }),
  );
  return { texts: head.slice(0, numbersAt), size, snapSeq, reserved, snaps };
}

function writeHeader(ctx: ClassContext, header: OldHeader): void {
  const names = bytesFromText(header.snaps.map(({ name }) => `${name}\0`).join(''));
  const numbers = new Encoder(headerBytes);
  numbers.u64b(header.size).u64b(header.snapSeq).u32(header.snaps.length).u32(header.reserved).u64(names.length);
  for (const { id, size } of header.snaps) numbers.u64b(id).u64b(size);
  ctx.writeFull(concatBytes([header.texts, numbers.finish(), names]));
}

async function list(ctx: ClassContext): Promise<Uint8Array> {
  const { snapSeq, snaps } = await readHeader(ctx);
  return encoded((e) => {
    e.u64b(snapSeq).u32(snaps.length);
    for (const { id, size, name } of snaps) e.u64b(id).u64b(size).string(name);
  });
}

async function add(ctx: ClassContext, input: Uint8Array): Promise<void> {
  const header = await readHeader(ctx);
  const d = new Decoder(input);
  const name = d.string().split('\0')[0]!;
  const id = d.u64b();
  // Somebody else was faster: ids only grow.
  if (header.snapSeq > id) throw new ClassFailure(ESTALE);
  const limit = readKey(ctx, 'snap_limit', asU64);
  if (limit !== undefined && BigInt(header.snaps.length) >= limit) throw new ClassFailure(EDQUOT);
  if (header.snaps.some((snap) => snap.name === name)) throw new ClassFailure(EEXIST);
  writeHeader(ctx, { ...header, snapSeq: id, snaps: [{ id, size: header.size, name }, ...header.snaps] });
}

async function remove(ctx: ClassContext, input: Uint8Array): Promise<void> {
  const header = await readHeader(ctx);
  const name = new Decoder(input).string();
  const snaps = header.snaps.filter((snap) => snap.name !== name);
  if (snaps.length === header.snaps.length) throw new ClassFailure(ENOENT);
  writeHeader(ctx, { ...header, snaps });
}

async function rename(ctx: ClassContext, input: Uint8Array): Promise<void> {
  const header = await readHeader(ctx);
  const d = new Decoder(input);
  const id = d.u64b();
  const name = d.string().split('\0')[0]!;
  if (header.snaps.some((snap) => snap.name === name)) throw new ClassFailure(EEXIST);
  if (!header.snaps.some((snap) => snap.id === id)) throw new ClassFailure(ENOENT);
  writeHeader(ctx, { ...header, snaps: header.snaps.map((snap) => (snap.id === id ? { ...snap, name } : snap)) });
}

/** Methods on `IMAGE.rbd`, the header of an image of format 1. */
export const rbdOldFormatMethods: ClassMethods = {
  snap_list: readMethod(list),
  snap_add: writeMethod(add),
  snap_remove: writeMethod(remove),
  snap_rename: writeMethod(rename),
};
