import { Decoder, type Encoder, encoded } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EBADF, EEXIST, EINVAL, EIO, ENOENT } from './errno.ts';
import { decodeStored, entriesWith, readKey, writeKey } from './omap-values.ts';
import { directoryAddMethod, directoryList, directoryRemoveMethod, directoryRenameMethod } from './rbd-directory.ts';
import { setOpFeatures } from './rbd-header.ts';
import { OP_FEATURE_GROUP } from './rbd-types.ts';

const imagePrefix = 'image_';
const snapPrefix = 'snapshot_';
const groupRef = 'rbd_group_ref';

/** `GroupImageSpec`: an image of a group. */
interface ImageSpec {
  image: string;
  pool: number;
}

const decodeImageSpec = (d: Decoder): ImageSpec =>
  d.struct('GroupImageSpec', 1, () => ({ image: d.string(), pool: d.s64() }));

function imageKey(spec: ImageSpec): string {
  return spec.pool === -1 ? '' : `${imagePrefix}${spec.pool.toString(16).padStart(16, '0')}_${spec.image}`;
}

/** `GroupSpec`: the group an image is in. */
interface GroupSpec {
  pool: number;
  group: string;
}

const decodeGroupSpec = (d: Decoder): GroupSpec =>
  d.struct('GroupSpec', 1, () => ({ pool: d.s64(), group: d.string() }));

function encodeGroupSpec(e: Encoder, g: GroupSpec): void {
  e.struct(1, 1, () => e.s64(g.pool).string(g.group));
}

function imageSet(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  d.struct('GroupImageStatus', 1, () => {
    const spec = decodeImageSpec(d);
    const state = d.u8();
    writeKey(ctx, imageKey(spec), (e) => e.u8(state));
  });
}

function imageList(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const after = imageKey(decodeImageSpec(d));
  const limit = Number(d.u64b());
  const found: { spec: ImageSpec; state: number }[] = [];
  for (const [key, value] of entriesWith(ctx, imagePrefix, after === '' ? imagePrefix : after)) {
    if (found.length >= limit) break;
    const match = /^image_([0-9a-f]+)_(.*)$/.exec(key);
    if (match === null) throw new ClassFailure(EIO);
    const state = decodeStored(value, (x) => x.u8());
    found.push({ spec: { pool: Number.parseInt(match[1]!, 16), image: match[2]! }, state });
  }
  return encoded((e) =>
    e.list(found, (x, { spec, state }) =>
      x.struct(1, 1, () => {
        x.struct(1, 1, () => x.string(spec.image).s64(spec.pool));
        x.u8(state);
      }),
    ),
  );
}

function imageGroupAdd(ctx: ClassContext, input: Uint8Array): void {
  const group = decodeGroupSpec(new Decoder(input));
  const old = readKey(ctx, groupRef, decodeGroupSpec);
  if (old !== undefined) {
    if (old.group !== group.group || old.pool !== group.pool) throw new ClassFailure(EEXIST);
    return;
  }
  setOpFeatures(ctx, OP_FEATURE_GROUP, OP_FEATURE_GROUP);
  writeKey(ctx, groupRef, (e) => encodeGroupSpec(e, group));
}

function imageGroupRemove(ctx: ClassContext, input: Uint8Array): void {
  const group = decodeGroupSpec(new Decoder(input));
  const old = readKey(ctx, groupRef, decodeGroupSpec);
  if (old === undefined) throw new ClassFailure(ENOENT);
  if (old.group !== group.group || old.pool !== group.pool) throw new ClassFailure(EBADF);
  ctx.removeOmap([groupRef]);
  setOpFeatures(ctx, 0n, OP_FEATURE_GROUP);
}

const snapshotIncomplete = 0;

/** A GroupSnapshot is stored as the client encoded it. */
function readGroupSnapshot(d: Decoder): { id: string; name: string; state: number; bytes: Uint8Array } {
  const start = d.at;
  const opened = d.open('GroupSnapshot', 1);
  const id = d.string();
  const name = d.string();
  const state = d.u8();
  d.close(opened);
  return { id, name, state, bytes: d.source.slice(start, d.at) };
}

function snapSet(ctx: ClassContext, input: Uint8Array): void {
  const snap = readGroupSnapshot(new Decoder(input));
  if (snap.name === '' || snap.id === '') throw new ClassFailure(EINVAL);
  for (const [, value] of entriesWith(ctx, snapPrefix)) {
    const other = decodeStored(value, readGroupSnapshot);
    if (other.name === snap.name && other.id !== snap.id) throw new ClassFailure(EEXIST);
  }
  const key = snapPrefix + snap.id;
  if (snap.state === snapshotIncomplete && ctx.omapValue(key) !== undefined) throw new ClassFailure(EEXIST);
  ctx.setOmap(new Map([[key, snap.bytes]]));
}

function snapList(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const after = readGroupSnapshot(d);
  const limit = Number(d.u64b());
  const found: Uint8Array[] = [];
  for (const [, value] of entriesWith(ctx, snapPrefix, snapPrefix + after.id)) {
    if (found.length >= limit) break;
    found.push(decodeStored(value, readGroupSnapshot).bytes);
  }
  return encoded((e) => e.list(found, (x, bytes) => x.bytes(bytes)));
}

/** Methods on `rbd_group_directory`, `rbd_group_header.ID`, and on the headers of a group's images. */
export const rbdGroupMethods: ClassMethods = {
  group_dir_list: readMethod(directoryList),
  group_dir_add: directoryAddMethod,
  group_dir_remove: directoryRemoveMethod,
  group_dir_rename: directoryRenameMethod,
  group_image_set: writeMethod(imageSet),
  group_image_remove: writeMethod((ctx, input) => ctx.removeOmap([imageKey(decodeImageSpec(new Decoder(input)))])),
  group_image_list: readMethod(imageList),
  image_group_add: writeMethod(imageGroupAdd),
  image_group_remove: writeMethod(imageGroupRemove),
  image_group_get: readMethod((ctx) => {
    const group = readKey(ctx, groupRef, decodeGroupSpec) ?? { pool: -1, group: '' };
    return encoded((e) => encodeGroupSpec(e, group));
  }),
  group_snap_set: writeMethod(snapSet),
  group_snap_remove: writeMethod((ctx, input) => ctx.removeOmap([snapPrefix + new Decoder(input).string()])),
  group_snap_get_by_id: readMethod((ctx, input) => {
    const value = ctx.omapValue(snapPrefix + new Decoder(input).string());
    if (value === undefined) throw new ClassFailure(ENOENT);
    return decodeStored(value, readGroupSnapshot).bytes;
  }),
  group_snap_list: readMethod(snapList),
};
