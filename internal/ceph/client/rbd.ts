import type { Random } from '../../base/random.ts';
import { AppError } from '../../base/errors.ts';
import { Decoder, Encoder } from '../wire/encoding.ts';
import { EBUSY, EEXIST, ENOENT, ENOTEMPTY, type IoCtx, isRadosError, RadosError } from './rados-api.ts';

/**
 * Images of an rbd pool, made and removed step by step as librbd does it (`src/librbd/image/CreateRequest.cc`, `RemoveRequest.cc`), so that `rbd`
 * and krbd see the same objects.
 */

export const RBD_FEATURE_LAYERING = 1;
export const RBD_FEATURE_OBJECT_MAP = 8;
/** Objects of 4 MiB. */
const defaultOrder = 22;
const directory = 'rbd_directory';
/** The object that leads from an image's name to its id. */
export const idObject = (name: string): string => `rbd_id.${name}`;
export const headerObject = (id: string): string => `rbd_header.${id}`;
export const objectMapObject = (id: string): string => `rbd_object_map.${id}`;
export const dataObject = (prefix: string, index: number): string =>
  `${prefix}.${index.toString(16).padStart(16, '0')}`;
const noSnap = -2n;
/** Data objects removed at once. */
const removeInFlight = 16;

export interface RbdImageInfo {
  id: string;
  sizeBytes: number;
  order: number;
  features: bigint;
  objectPrefix: string;
}

const strings = (...values: string[]): Uint8Array => {
  const e = new Encoder();
  for (const value of values) e.string(value);
  return e.finish();
};

/** Undefined when there is no image of that name. */
export async function imageId(ioctx: IoCtx, name: string): Promise<string | undefined> {
  try {
    return new Decoder(await ioctx.exec(idObject(name), 'rbd', 'get_id')).string();
  } catch (error) {
    if (isRadosError(error, ENOENT)) return undefined;
    throw error;
  }
}

/** Facts of an image, undefined when it is not there. */
export async function imageInfo(ioctx: IoCtx, name: string): Promise<RbdImageInfo | undefined> {
  const id = await imageId(ioctx, name);
  if (id === undefined) return undefined;
  const header = headerObject(id);
  const snap = new Encoder().u64b(noSnap).finish();
  const features = new Encoder().u64b(noSnap).u8(1).finish();
  try {
    const size = new Decoder(await ioctx.exec(header, 'rbd', 'get_size', snap));
    const order = size.u8();
    const sizeBytes = size.u64();
    return {
      id,
      order,
      sizeBytes,
      features: new Decoder(await ioctx.exec(header, 'rbd', 'get_features', features)).u64b(),
      objectPrefix: new Decoder(await ioctx.exec(header, 'rbd', 'get_object_prefix')).string(),
    };
  } catch (error) {
    if (isRadosError(error, ENOENT)) return undefined;
    throw error;
  }
}

/** The client's number and 32 random bits, in hexadecimal, at most 14 characters. */
function newImageId(globalId: bigint, random: Random): string {
  return `${globalId.toString(16)}${random.uint32().toString(16)}`.slice(-14);
}

export function objectCount(sizeBytes: number, order: number): number {
  return Math.ceil(sizeBytes / 2 ** order);
}

/**
 * Makes an image. Repeating it for an image that is there with the same size is no error, and one that was half made before a crash is completed,
 * so that a caller may retry.
 */
export async function createImage(
  ioctx: IoCtx,
  name: string,
  options: {
    sizeBytes: number;
    /** Default: layering alone, which every client understands. */
    features?: number;
    /** Objects are 2^order bytes; default 22. */
    order?: number;
    /** Where the data objects go, with RBD_FEATURE_DATA_POOL; default the image's own pool. */
    dataPoolId?: number;
    globalId: bigint;
    random: Random;
  },
): Promise<RbdImageInfo> {
  const existing = await imageInfo(ioctx, name);
  if (existing) {
    if (existing.sizeBytes !== options.sizeBytes)
      throw new AppError(
        'RBD_EXISTS',
        `image ${ioctx.pool}/${name} exists with ${existing.sizeBytes} bytes, ${options.sizeBytes} were asked for`,
      );
    return existing;
  }
  const id = (await imageId(ioctx, name)) ?? newImageId(options.globalId, options.random);
  await tolerate(
    ioctx.operate(directory, [{ op: 'exec', cls: 'rbd', method: 'dir_add_image', input: strings(name, id) }]),
    EEXIST,
  );
  await tolerate(
    ioctx.operate(idObject(name), [
      { op: 'create', exclusive: true },
      { op: 'exec', cls: 'rbd', method: 'set_id', input: strings(id) },
    ]),
    EEXIST,
  );
  const { features = RBD_FEATURE_LAYERING, order = defaultOrder, dataPoolId = -1 } = options;
  const prefix = dataPoolId < 0 ? `rbd_data.${id}` : `rbd_data.${ioctx.poolId}.${id}`;
  // Before the header: an image that is there has its object map.
  if ((features & RBD_FEATURE_OBJECT_MAP) !== 0) {
    const size = new Encoder().u64(objectCount(options.sizeBytes, order)).u8(0).finish();
    await ioctx.operate(objectMapObject(id), [
      { op: 'create', exclusive: false },
      { op: 'exec', cls: 'rbd', method: 'object_map_resize', input: size },
    ]);
  }
  const create = new Encoder().u64(options.sizeBytes).u8(order).u64(features);
  create.string(prefix).s64(dataPoolId);
  await ioctx.operate(headerObject(id), [
    { op: 'create', exclusive: true },
    { op: 'exec', cls: 'rbd', method: 'create', input: create.finish() },
  ]);
  const made = await imageInfo(ioctx, name);
  if (!made)
    throw new AppError(
      'RBD_CREATE',
      `image ${ioctx.pool}/${name} was made and is not there: it may have been removed meanwhile`,
    );
  return made;
}

/**
 * Removes an image with its data; no error when it is not there. EBUSY while somebody watches it (has it open), ENOTEMPTY when it has snapshots.
 */
export async function removeImage(ioctx: IoCtx, name: string): Promise<void> {
  const info = await imageInfo(ioctx, name);
  const id = info?.id ?? (await imageId(ioctx, name));
  if (info) {
    const header = headerObject(info.id);
    const watchers = await ioctx.listWatchers(header);
    if (watchers.length > 0)
      throw new RadosError(
        EBUSY,
        `image ${ioctx.pool}/${name} is in use by ${watchers[0]!.entity} at ${watchers[0]!.address}`,
      );
    const snapContext = new Decoder(await ioctx.exec(header, 'rbd', 'get_snapcontext'));
    snapContext.u64b();
    if (snapContext.u32() > 0) throw new RadosError(ENOTEMPTY, `image ${ioctx.pool}/${name} has snapshots`);
    await removeData(ioctx, info, () => true);
  }
  if (id !== undefined) await removeTraces(ioctx, name, id);
}

/** What is left of an image when its data is gone. May be repeated after a crash: the name goes last. */
export async function removeTraces(ioctx: IoCtx, name: string, id: string): Promise<void> {
  await tolerate(ioctx.remove(objectMapObject(id)), ENOENT);
  await tolerate(ioctx.remove(headerObject(id)), ENOENT);
  await tolerate(
    ioctx.operate(directory, [{ op: 'exec', cls: 'rbd', method: 'dir_remove_image', input: strings(name, id) }]),
    ENOENT,
  );
  await tolerate(ioctx.remove(idObject(name)), ENOENT);
}

/** Removes the data objects that may exist. */
export async function removeData(
  ioctx: IoCtx,
  info: { sizeBytes: number; order: number; objectPrefix: string },
  mayExist: (index: number) => boolean,
): Promise<void> {
  const count = objectCount(info.sizeBytes, info.order);
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const index = next++;
      if (mayExist(index)) await tolerate(ioctx.remove(dataObject(info.objectPrefix, index)), ENOENT);
    }
  };
  await Promise.all(Array.from({ length: Math.min(removeInFlight, count) }, worker));
}

async function tolerate(done: Promise<unknown>, errno: number): Promise<void> {
  try {
    await done;
  } catch (error) {
    if (!isRadosError(error, errno)) throw error;
  }
}
