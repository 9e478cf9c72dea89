import { bytesEqual, DecodeError } from '../../../base/bytes.ts';
import { Decoder } from '../../wire/encoding.ts';
import {
  BitVector,
  bitVectorHeaderBytes,
  bitVectorSize,
  bitVectorWindow,
  windowCrcs,
  windowGet,
  windowSet,
} from './bit-vector.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EINVAL, ENOENT, ERANGE, ESTALE } from './errno.ts';
import { mustExist } from './omap-values.ts';

/** `MAX_OBJECT_MAP_OBJECT_COUNT`. */
const maxObjects = 256_000_000;

const OBJECT_EXISTS = 1;
const OBJECT_EXISTS_CLEAN = 3;

async function load(ctx: ClassContext): Promise<BitVector> {
  const { size } = mustExist(ctx);
  if (size === 0) throw new ClassFailure(ENOENT);
  return BitVector.decode(await ctx.read(0, size), maxObjects);
}

async function resize(ctx: ClassContext, input: Uint8Array): Promise<void> {
  const d = new Decoder(input);
  const count = d.u64b();
  const state = d.u8();
  if (count > BigInt(maxObjects)) throw new ClassFailure(EINVAL);
  const wanted = Number(count);
  const stat = ctx.stat();
  const map = stat === undefined || stat.size === 0 ? new BitVector() : await load(ctx);
  const before = map.size;
  for (let i = wanted; i < before; i++) if (map.get(i) !== state) throw new ClassFailure(ESTALE);
  map.resize(wanted);
  for (let i = before; i < wanted; i++) map.set(i, state);
  ctx.writeFull(map.encode(true));
}

/** Reads and writes only the blocks that it changes: it runs with every first write to an object of an image. */
async function update(ctx: ClassContext, input: Uint8Array): Promise<void> {
  const d = new Decoder(input);
  const first = d.u64b();
  const end = d.u64b();
  const state = d.u8();
  const expected = d.optional((x) => x.u8());
  mustExist(ctx);
  const size = bitVectorSize(await ctx.read(0, bitVectorHeaderBytes), maxObjects);
  if (first >= end || end > BigInt(size)) throw new ClassFailure(ERANGE);
  const w = bitVectorWindow(size, Number(first), Number(end));
  const crcs = await ctx.read(w.crcAt, w.crcBytes);
  const data = (await ctx.read(w.objectAt, w.dataBytes)).slice();
  if (data.length !== w.dataBytes) throw new DecodeError('object map: data is missing');
  if (crcs.length === w.crcBytes && !bytesEqual(crcs, windowCrcs(data)))
    throw new DecodeError('object map: CRC of a block is wrong');
  let changed = false;
  for (let i = Number(first); i < Number(end); i++) {
    const now = windowGet(w, data, i);
    const matches =
      expected === undefined || now === expected || (expected === OBJECT_EXISTS && now === OBJECT_EXISTS_CLEAN);
    if (!matches || now === state) continue;
    windowSet(w, data, i, state);
    changed = true;
  }
  if (!changed) return;
  ctx.write(w.objectAt, data);
  ctx.write(w.crcAt, windowCrcs(data));
}

/** A snapshot was taken: what exists is clean until it is written again. */
async function snapAdd(ctx: ClassContext): Promise<void> {
  const map = await load(ctx);
  let changed = false;
  for (let i = 0; i < map.size; i++) {
    if (map.get(i) !== OBJECT_EXISTS) continue;
    map.set(i, OBJECT_EXISTS_CLEAN);
    changed = true;
  }
  if (changed) ctx.writeFull(map.encode(true));
}

/** A snapshot goes: what was dirty in its map is dirty in this one. */
async function snapRemove(ctx: ClassContext, input: Uint8Array): Promise<void> {
  const removed = BitVector.decode(input, maxObjects);
  const map = await load(ctx);
  let changed = false;
  for (let i = 0; i < map.size; i++) {
    if (map.get(i) !== OBJECT_EXISTS_CLEAN) continue;
    if (i < removed.size && removed.get(i) !== OBJECT_EXISTS) continue;
    map.set(i, OBJECT_EXISTS);
    changed = true;
  }
  if (changed) ctx.writeFull(map.encode(true));
}

/** Methods on `rbd_object_map.ID`. */
export const rbdObjectMapMethods: ClassMethods = {
  object_map_load: readMethod(async (ctx) => (await load(ctx)).encode(false)),
  object_map_save: writeMethod((ctx, input) => {
    ctx.writeFull(BitVector.decode(input, maxObjects).encode(true));
  }),
  object_map_resize: writeMethod(resize),
  object_map_update: writeMethod(update),
  object_map_snap_add: writeMethod(snapAdd),
  object_map_snap_remove: writeMethod(snapRemove),
};
