import { utf8, utf8Text } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import { AppError } from '../../base/errors.ts';
import type { Random } from '../../base/random.ts';
import { Decoder, encoded, utimeToMs } from '../wire/encoding.ts';
import { OP, OP_FLAG_EXCL, OsdOp } from '../wire/messages/osd_op.ts';
import { addrHostPort, type EntityAddr, SNAP_HEAD } from '../wire/types.ts';
import { EEXIST, EINVAL, ENOENT, EOPNOTSUPP, isRadosError, RadosError } from './errors.ts';
import type { PoolIo } from './ioctx.ts';
import {
  createImage,
  headerObject,
  idObject,
  imageId,
  objectCount,
  objectMapObject,
  removeData,
  removeTraces,
  RBD_FEATURE_LAYERING,
  RBD_FEATURE_OBJECT_MAP,
} from './rbd.ts';
import type { Rados } from './rados-client.ts';
import { assertLockedOp, HeaderLock, lockObjectMap, unlockOp } from './rbd-lock.ts';

/** rbd images as librbd keeps them (`src/librbd/image/CreateRequest.cc`, `RemoveRequest.cc`, `operation/ResizeRequest.cc`). */

export const RBD_FEATURE_STRIPINGV2 = 2;
export const RBD_FEATURE_EXCLUSIVE_LOCK = 4;
export const RBD_FEATURE_FAST_DIFF = 16;
export const RBD_FEATURE_DEEP_FLATTEN = 32;
export const RBD_FEATURE_JOURNALING = 64;
export const RBD_FEATURE_DATA_POOL = 128;
/** What `rbd create` gives. */
export const RBD_DEFAULT_FEATURES =
  RBD_FEATURE_LAYERING |
  RBD_FEATURE_EXCLUSIVE_LOCK |
  RBD_FEATURE_OBJECT_MAP |
  RBD_FEATURE_FAST_DIFF |
  RBD_FEATURE_DEEP_FLATTEN;

const supportedFeatures = RBD_DEFAULT_FEATURES | RBD_FEATURE_DATA_POOL;
const directory = 'rbd_directory';
const poolInfo = 'rbd_info';
const poolValidated = 'overwrite validated';
const defaultOrder = 22;
const lockWaitMs = 30_000;

export interface RbdCreateOptions {
  sizeBytes: number;
  /** Objects are 2^order bytes; default 22 (4 MiB). */
  order?: number;
  features?: number;
  /** Pool for the data objects, by name. */
  dataPool?: string;
}

export interface RbdImageDetails {
  name: string;
  id: string;
  sizeBytes: number;
  order: number;
  features: number;
  flags: number;
  objectPrefix: string;
  /** -1: the image's own pool. */
  dataPoolId: number;
  createdMs: number;
  snapshots: readonly bigint[];
  /** A clone: of which image. */
  parent: { poolId: number; imageId: string; snapId: bigint } | undefined;
}

/** Images of one pool and namespace. */
export class Rbd {
  readonly #client: Rados;
  readonly #io: PoolIo;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(client: Rados, io: PoolIo, clock: Clock, random: Random) {
    this.#client = client;
    this.#io = io;
    this.#clock = clock;
    this.#random = random;
  }

  #env() {
    return {
      io: this.#io,
      clock: this.#clock,
      globalId: this.#client.mon.globalId,
      blocklist: async (addr: EntityAddr): Promise<void> => {
        await this.#client.check({
          prefix: 'osd blocklist',
          blocklistop: 'add',
          addr: `${addrHostPort(addr)}/${addr.nonce}`,
        });
        await this.#client.latestMap();
      },
    };
  }

  // --- create --------------------------------------------------------------------------------------------------------------------

  /** Makes an image; its id. RadosError EEXIST when the name is taken. */
  async create(name: string, options: RbdCreateOptions): Promise<string> {
    const order = options.order ?? defaultOrder;
    let features = options.features ?? RBD_DEFAULT_FEATURES;
    if (name === '' || name.includes('/') || name.includes('@')) throw new RadosError(EINVAL, `image name "${name}"`);
    if (order < 12 || order > 25) throw new RadosError(EINVAL, `image ${name}: object order ${order} is not in 12..25`);
    if (!Number.isSafeInteger(options.sizeBytes) || options.sizeBytes < 0)
      throw new RadosError(EINVAL, `image ${name}: size ${options.sizeBytes}`);
    if ((features & ~supportedFeatures) !== 0) throw new RadosError(EOPNOTSUPP, `image ${name}: features ${features}`);
    if (await this.#io.exists(`${name}.rbd`)) throw new RadosError(EEXIST, `image ${name}`);
    if (await this.#io.exists(idObject(name))) throw new RadosError(EEXIST, `image ${name}`);
    await this.#validatePool();
    let dataPoolId = -1;
    if (options.dataPool !== undefined && options.dataPool !== this.#io.pool) {
      dataPoolId = (await this.#client.ioctx(options.dataPool)).poolId;
      features |= RBD_FEATURE_DATA_POOL;
    }
    await this.#negotiate(features);
    const made = await createImage(this.#io, name, {
      sizeBytes: options.sizeBytes,
      order,
      features,
      dataPoolId,
      globalId: this.#client.globalId,
      random: this.#random,
    });
    return made.id;
  }

  /** Every OSD must know the features (their classes tell). */
  async #negotiate(features: number): Promise<void> {
    await this.#io.create(directory, false);
    const all = new Decoder(await this.#io.exec(directory, 'rbd', 'get_all_features')).u64b();
    const missing = BigInt(features) & ~all;
    if (missing !== 0n) throw new RadosError(EOPNOTSUPP, `rbd features 0x${missing.toString(16)} on these OSDs`);
  }

  /** A pool can hold images when it takes self-managed snapshots and overwrites; rbd_info remembers that it was found so. */
  async #validatePool(): Promise<void> {
    try {
      if (utf8Text(await this.#io.read(poolInfo)) === poolValidated) return;
    } catch (error) {
      if (!isRadosError(error, ENOENT)) throw error;
    }
    const snap = await this.#client.createSelfManagedSnap(this.#io.poolId);
    const text = utf8('validate');
    const ops = [OsdOp.make(OP.CREATE, [], OP_FLAG_EXCL), OsdOp.extent(OP.WRITE, 0, text.length, [text])];
    const made = await this.#io.tryRun(poolInfo, ops, true);
    if (made.result < 0 && made.result !== EEXIST) throw new RadosError(made.result, `${this.#io.pool}/${poolInfo}`);
    await this.#client.removeSelfManagedSnap(this.#io.poolId, snap);
    await this.#io.write(poolInfo, utf8(poolValidated));
  }

  // --- look ----------------------------------------------------------------------------------------------------------------------

  /** Names and ids, by name. */
  async list(): Promise<Map<string, string>> {
    const all = new Map<string, string>();
    let after = '';
    for (;;) {
      const input = encoded((e) => e.string(after).u64(1024));
      let page: Map<string, string>;
      try {
        page = new Decoder(await this.#io.exec(directory, 'rbd', 'dir_list', input)).stringStringMap();
      } catch (error) {
        if (isRadosError(error, ENOENT)) return all;
        throw error;
      }
      for (const [name, id] of page) all.set(name, id);
      if (page.size < 1024) return all;
      after = [...page.keys()].at(-1)!;
    }
  }

  /** RadosError ENOENT when there is no such image. */
  async idOf(name: string): Promise<string> {
    const id = await imageId(this.#io, name);
    if (id === undefined) throw new RadosError(ENOENT, `image ${this.#io.pool}/${name}`);
    return id;
  }

  async info(name: string): Promise<RbdImageDetails> {
    return this.#infoOf(name, await this.idOf(name));
  }

  async #infoOf(name: string, id: string): Promise<RbdImageDetails> {
    const head = encoded((e) => e.u64b(SNAP_HEAD));
    const reply = await this.#io.run(
      headerObject(id),
      [
        OsdOp.call('rbd', 'get_size', head),
        OsdOp.call('rbd', 'get_object_prefix', new Uint8Array(0)),
        OsdOp.call(
          'rbd',
          'get_features',
          encoded((e) => e.u64b(SNAP_HEAD).u8(1)),
        ),
        OsdOp.call('rbd', 'get_flags', head),
        OsdOp.call('rbd', 'get_snapcontext', new Uint8Array(0)),
        OsdOp.call('rbd', 'get_data_pool', new Uint8Array(0)),
        OsdOp.call('rbd', 'get_create_timestamp', new Uint8Array(0)),
        OsdOp.call('rbd', 'parent_get', new Uint8Array(0)),
      ],
      false,
    );
    const out = (i: number): Decoder => new Decoder(reply.ops[i]!.out[0] ?? new Uint8Array(0));
    const size = out(0);
    const order = size.u8();
    const snapContext = out(4);
    snapContext.u64b();
    const parent = out(7).struct('ParentImageSpec', 1, (d) => ({
      poolId: d.s64(),
      nspace: d.string(),
      imageId: d.string(),
      snapId: d.u64b(),
    }));
    return {
      name,
      id,
      order,
      sizeBytes: size.u64(),
      objectPrefix: out(1).string(),
      features: out(2).u64(),
      flags: out(3).u64(),
      snapshots: snapContext.list((d) => d.u64b(), 8),
      dataPoolId: out(5).s64(),
      createdMs: utimeToMs(out(6).utime()),
      parent: parent.poolId < 0 ? undefined : { poolId: parent.poolId, imageId: parent.imageId, snapId: parent.snapId },
    };
  }

  // --- resize --------------------------------------------------------------------------------------------------------------------

  /** Grows an image; clients that have it open see the new size. The same size does nothing; shrinking is not supported here. */
  async resize(name: string, sizeBytes: number): Promise<void> {
    const info = await this.info(name);
    if (sizeBytes === info.sizeBytes) return;
    if (sizeBytes < info.sizeBytes) throw new RadosError(EOPNOTSUPP, `image ${name}: shrinking`);
    this.#checkSupported(info);
    await this.#withLock(info, async (lock) => {
      const now = await this.#infoOf(name, info.id);
      if (now.sizeBytes >= sizeBytes) return;
      const guard = (info.features & RBD_FEATURE_EXCLUSIVE_LOCK) !== 0 ? [lock.assertOp()] : [];
      if ((info.features & RBD_FEATURE_OBJECT_MAP) !== 0) {
        const oid = objectMapObject(info.id);
        await lockObjectMap(this.#io, oid);
        try {
          const input = mapSize(objectCount(sizeBytes, info.order));
          await this.#io.execWrite(oid, 'rbd', 'object_map_resize', input, [assertLockedOp('', '')]);
        } finally {
          await this.#io.run(oid, [unlockOp('')], true);
        }
      }
      const input = encoded((e) => e.u64(sizeBytes));
      await this.#io.execWrite(headerObject(info.id), 'rbd', 'set_size', input, guard);
      await lock.headerUpdated();
    });
  }

  #checkSupported(info: RbdImageDetails): void {
    const unknown = info.features & ~(supportedFeatures | RBD_FEATURE_STRIPINGV2);
    if (unknown !== 0) throw new RadosError(EOPNOTSUPP, `image ${info.name}: features 0x${unknown.toString(16)}`);
  }

  async #withLock(info: RbdImageDetails, work: (lock: HeaderLock) => Promise<void>): Promise<void> {
    const lock = await HeaderLock.open(this.#env(), headerObject(info.id));
    try {
      if ((info.features & RBD_FEATURE_EXCLUSIVE_LOCK) !== 0) await lock.acquire(lockWaitMs);
      await work(lock);
    } finally {
      await lock.close();
    }
  }

  // --- remove --------------------------------------------------------------------------------------------------------------------

  /**
   * Removes an image and its data. False when there is none. AppError IMAGE_IN_USE while somebody has it open, IMAGE_HAS_SNAPSHOTS while it
   * has snapshots. May be called again after a crash in the middle: each step can be repeated, and the name goes last.
   */
  async remove(name: string): Promise<boolean> {
    const id = await imageId(this.#io, name);
    if (id === undefined) return false;
    let info: RbdImageDetails | undefined;
    try {
      info = await this.#infoOf(name, id);
    } catch (error) {
      // An earlier attempt came as far as removing the header.
      if (!isRadosError(error, ENOENT)) throw error;
    }
    if (info !== undefined) await this.#removeContent(info);
    await removeTraces(this.#io, name, id);
    return true;
  }

  async #removeContent(info: RbdImageDetails): Promise<void> {
    this.#checkSupported(info);
    if (info.parent !== undefined) throw new RadosError(EOPNOTSUPP, `image ${info.name}: removing a clone`);
    if (info.snapshots.length > 0)
      throw new AppError('IMAGE_HAS_SNAPSHOTS', `image ${info.name} has ${info.snapshots.length} snapshots`, {
        hint: `rbd snap purge ${this.#io.pool}/${info.name}`,
      });
    const lock = await HeaderLock.open(this.#env(), headerObject(info.id));
    try {
      const others = await lock.otherWatchers();
      if (others.length > 0)
        throw new AppError('IMAGE_IN_USE', `image ${info.name} is open at ${others.join(', ')}`, {
          hint: 'unmap it there; a client that crashed is forgotten after 30 seconds',
        });
      if ((info.features & RBD_FEATURE_EXCLUSIVE_LOCK) !== 0) await lock.acquire(lockWaitMs);
      await this.#removeData(info);
    } finally {
      await lock.close();
    }
  }

  async #removeData(info: RbdImageDetails): Promise<void> {
    const io =
      info.dataPoolId < 0 ? this.#io : (await this.#client.ioctx(info.dataPoolId)).with({ nspace: this.#io.nspace });
    const count = objectCount(info.sizeBytes, info.order);
    const mapped = (info.features & RBD_FEATURE_OBJECT_MAP) !== 0 && (info.flags & 1) === 0;
    await removeData(io, info, mapped ? await this.#objectMap(info.id, count) : () => true);
  }

  /** Which objects may exist, by the object map (2 bits each, first in the high bits); all when it cannot be read. */
  async #objectMap(id: string, count: number): Promise<(index: number) => boolean> {
    try {
      const d = new Decoder(await this.#io.exec(objectMapObject(id), 'rbd', 'object_map_load'));
      // BitVector<2>: its header as a blob, then the bits, then checksums.
      const elements = new Decoder(d.blob()).struct('BitVector', 1, (x) => x.u64());
      const bytes = d.bytes(Math.ceil((elements * 2) / 8)).slice();
      if (elements < count) return () => true;
      return (index) => ((bytes[index >>> 2]! >>> (6 - (index & 3) * 2)) & 3) !== 0;
    } catch (error) {
      if (error instanceof RadosError || (error instanceof AppError && error.code === 'DECODE')) return () => true;
      throw error;
    }
  }
}

function mapSize(objects: number): Uint8Array {
  return encoded((e) => e.u64(objects).u8(0));
}
