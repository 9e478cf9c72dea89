import { DecodeError } from '../../base/bytes.ts';
import { AppError, assert } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { ObjectStore, TransactionOp } from '../blockstore/api.ts';
import { isDamage } from '../blockstore/errors.ts';
import { applyIncremental } from '../maps/apply.ts';
import { decodeIncremental } from '../maps/incremental-codec.ts';
import { decodeOsdMap, encodeOsdMap } from '../maps/osdmap-codec.ts';
import { Decoder, Encoder } from '../wire/encoding.ts';
import { parsePg } from '../wire/types.ts';
import type { MMonGetOSDMapValue, MOSDMapValue } from '../wire/messages/mon.ts';
import { OsdMapView } from './osd-map-view.ts';
import type { MapHistory } from './pg-birth.ts';

/** The OSD's own collection, and its object with the rows `super`. */
export const metaCollection = 'meta';
const superKey = Uint8Array.of(0);
const ROW_SUPER = 'super';
const KEY_FULL = 1;
const KEY_INC = 2;

/** A whole map is written every so many epochs; between them increments do. */
const fullEvery = 32;
/** Maps kept behind the newest even if no PG needs them: clients and peers that are behind are told by them. */
const keepEpochs = 100;
/** Maps shared with a client in one message. */
export const maxSharedMaps = 40;

function mapKey(kind: number, epoch: number): Uint8Array {
  const key = new Uint8Array(5);
  key[0] = kind;
  new DataView(key.buffer).setUint32(1, epoch);
  return key;
}

interface Superblock {
  fsid: string;
  osdId: number;
  /** Oldest and newest map on disk; the oldest is a whole one. */
  oldest: number;
  newest: number;
  poolCreated: Map<number, number>;
}

function encodeSuper(s: Superblock): Uint8Array {
  const e = new Encoder(128);
  e.struct(1, 1, () => {
    e.uuid(s.fsid).s32(s.osdId).u32(s.oldest).u32(s.newest);
    e.numberMap(
      s.poolCreated,
      (x, k) => x.s64(k),
      (x, v) => x.u32(v),
    );
  });
  return e.finish();
}

function decodeSuper(bytes: Uint8Array): Superblock {
  const d = new Decoder(bytes);
  return d.struct('OSD superblock', 1, () => ({
    fsid: d.uuid(),
    osdId: d.s32(),
    oldest: d.u32(),
    newest: d.u32(),
    poolCreated: d.map(
      (x) => x.s64(),
      (x) => x.u32(),
      12,
    ),
  }));
}

/** Asks the mons for maps, whole ones or increments. */
export type AskMaps = (asked: MMonGetOSDMapValue) => Promise<Pick<MOSDMapValue, 'full' | 'incrementals'>>;

async function fetchMap(ask: AskMaps, kind: number, epoch: number): Promise<Uint8Array | undefined> {
  const [full, increment] = kind === KEY_FULL ? [epoch, 0] : [0, epoch];
  const found = await ask({ fullFirst: full, fullLast: full, incFirst: increment, incLast: increment });
  return (kind === KEY_FULL ? found.full : found.incrementals).get(epoch)?.slice();
}

/** What came of a message with maps. */
export interface MapsTaken {
  /** The newest map is newer than before. */
  advanced: boolean;
  /** Epochs between what we have and what came are missing: ask from here. 0: none. */
  missingFrom: number;
  /** The mon no longer had some maps between the last and the newest one. */
  skipped: boolean;
}

/**
 * The OSD maps that an OSD keeps: in memory as views, on disk as increments with a whole map now and then. Bounded by `trim`. Written in the store's order,
 * so that no PG on disk refers to a map that is not.
 */
export class MapKeeper implements MapHistory {
  readonly #store: ObjectStore;
  readonly #log: Logger;
  readonly #commit: (ops: TransactionOp[]) => void;
  readonly #views = new Map<number, OsdMapView>();
  readonly #increments = new Map<number, Uint8Array>();
  /** Whole maps on disk, ascending. */
  #fulls: number[] = [];
  #super: Superblock;

  private constructor(store: ObjectStore, log: Logger, commit: (ops: TransactionOp[]) => void, superblock: Superblock) {
    this.#store = store;
    this.#log = log;
    this.#commit = commit;
    this.#super = superblock;
  }

  /**
   * Reads what the store has; makes the OSD's collection in a new one. Maps that the disk has damaged come from the mons, by `ask`, and are written again. Errors: MAP_DAMAGED when these no
   * longer have them; STORE_DAMAGED when there are PGs, and not the row that tells of maps: a store like that is not a new one.
   */
  static async open(
    store: ObjectStore,
    log: Logger,
    identity: { fsid: string; osdId: number },
    commit: (ops: TransactionOp[]) => void,
    ask?: AskMaps,
  ): Promise<MapKeeper> {
    const bytes = store.collections().includes(metaCollection)
      ? store.omapGet(metaCollection, superKey, [ROW_SUPER]).get(ROW_SUPER)
      : undefined;
    if (bytes === undefined) {
      const pgs = store.collections().filter((cid) => parsePg(cid) !== undefined);
      if (pgs.length > 0) throw noSuperblock(identity.osdId, pgs);
      const keeper = new MapKeeper(store, log, commit, { ...identity, oldest: 0, newest: 0, poolCreated: new Map() });
      const ops: TransactionOp[] = store.collections().includes(metaCollection)
        ? []
        : [{ op: 'create-collection', cid: metaCollection }];
      commit([...ops, keeper.#superOp()]);
      return keeper;
    }
    const keeper = new MapKeeper(store, log, commit, decodeSuper(bytes));
    await keeper.#load(ask);
    return keeper;
  }

  async #load(ask: AskMaps | undefined): Promise<void> {
    const { oldest, newest } = this.#super;
    const mended: TransactionOp[] = [];
    const read = async (kind: number, epoch: number): Promise<Uint8Array | undefined> => {
      const at = { cid: metaCollection, key: mapKey(kind, epoch) };
      try {
        return await this.#store.read(at.cid, at.key, 0, 64 * 2 ** 20);
      } catch (error) {
        if (!isDamage(error) || ask === undefined) throw error;
        this.#log.warn('a map on disk is damaged: the mons are asked for it', { epoch, error });
        const bytes = await fetchMap(ask, kind, epoch);
        if (bytes === undefined)
          throw new AppError('MAP_DAMAGED', `OSDMap ${epoch} on disk is damaged, and the mons no longer have it`, {
            cause: error,
            hint: 'when all PGs are active without this OSD, remove it (`ceph osd purge`), wipe its disk and make it anew',
          });
        mended.push({ op: 'remove', ...at }, { op: 'write', ...at, offset: 0, data: [bytes] });
        return bytes;
      }
    };
    let view: OsdMapView | undefined;
    for (let epoch = oldest; epoch <= newest && epoch > 0; epoch++) {
      const increment = view === undefined ? undefined : await read(KEY_INC, epoch);
      const full = increment === undefined ? await read(KEY_FULL, epoch) : undefined;
      if (this.#store.stat(metaCollection, mapKey(KEY_FULL, epoch)) !== undefined) {
        this.#fulls.push(epoch);
        // Once it is the oldest it is needed, and the mons may have it no more.
        if (full === undefined) await read(KEY_FULL, epoch);
      }
      if (increment !== undefined && view !== undefined) {
        this.#increments.set(epoch, increment);
        view = new OsdMapView(applyIncremental(view.map, decodeIncremental(increment)), view);
      } else if (full !== undefined) view = new OsdMapView(decodeOsdMap(full), view);
      else continue;
      this.#views.set(epoch, view);
    }
    assert(newest === 0 || this.#views.has(newest), `map ${newest} is not on disk`);
    if (mended.length > 0) this.#commit(mended);
  }

  get fsid(): string {
    return this.#super.fsid;
  }
  get osdId(): number {
    return this.#super.osdId;
  }
  get oldest(): number {
    return this.#super.oldest;
  }
  get newest(): number {
    return this.#super.newest;
  }
  get(epoch: number): OsdMapView | undefined {
    return this.#views.get(epoch);
  }
  get current(): OsdMapView | undefined {
    return this.#views.get(this.#super.newest);
  }
  poolCreated(pool: number): number | undefined {
    const epoch = this.#super.poolCreated.get(pool);
    return epoch !== undefined && epoch >= this.#super.oldest ? epoch : undefined;
  }

  #superOp(): TransactionOp {
    return {
      op: 'omap-set',
      cid: metaCollection,
      key: superKey,
      entries: new Map([[ROW_SUPER, encodeSuper(this.#super)]]),
    };
  }

  /** Takes what a message brings, as far as it continues what we have. */
  take(message: MOSDMapValue): MapsTaken {
    const before = this.#super.newest;
    const ops: TransactionOp[] = [];
    let skipped = false;
    for (;;) {
      const epoch = this.#super.newest + 1;
      const previous = this.current;
      const increment = message.incrementals.get(epoch);
      const full = message.full.get(epoch);
      if (previous !== undefined && increment !== undefined)
        this.#add(this.#apply(previous, increment), increment, ops);
      else if (full !== undefined) this.#add(new OsdMapView(decodeOsdMap(full), previous), undefined, ops);
      else if (this.#jump(message, ops)) skipped = before > 0;
      else break;
    }
    if (ops.length > 0) {
      ops.push(this.#superOp());
      this.#commit(ops);
    }
    const next = this.#super.newest + 1;
    const offered = [...message.incrementals.keys(), ...message.full.keys()];
    const missing = offered.some((epoch) => epoch >= next);
    return { advanced: this.#super.newest > before, missingFrom: missing ? next : 0, skipped };
  }

  #apply(previous: OsdMapView, increment: Uint8Array): OsdMapView {
    return new OsdMapView(applyIncremental(previous.map, decodeIncremental(increment)), previous);
  }

  /** The mon no longer has the maps that we lack and sent a later one whole. */
  #jump(message: MOSDMapValue, ops: TransactionOp[]): boolean {
    const next = this.#super.newest + 1;
    if (message.oldest !== 0 && message.oldest <= next && this.#super.newest > 0) return false;
    const later = [...message.full.keys()].filter((epoch) => epoch > next).sort((a, b) => a - b)[0];
    if (later === undefined) return false;
    const view = new OsdMapView(decodeOsdMap(message.full.get(later)!));
    if (this.#super.newest > 0) this.#log.warn('maps skipped', { from: next, to: later });
    // Pools that are new here may be older than this map: nothing is known of where they were.
    for (const id of view.pools()) if (!this.#super.poolCreated.has(id)) this.#super.poolCreated.set(id, 0);
    this.#add(view, undefined, ops);
    return true;
  }

  #add(view: OsdMapView, increment: Uint8Array | undefined, ops: TransactionOp[]): void {
    const { epoch } = view;
    const known = this.#super.poolCreated;
    for (const id of view.pools()) if (!known.has(id)) known.set(id, epoch);
    for (const id of known.keys()) if (view.pool(id) === undefined) known.delete(id);
    this.#views.set(epoch, view);
    const write = (kind: number, bytes: Uint8Array): void => {
      ops.push({ op: 'write', cid: metaCollection, key: mapKey(kind, epoch), offset: 0, data: [bytes] });
    };
    if (increment !== undefined) {
      this.#increments.set(epoch, increment.slice());
      write(KEY_INC, increment);
    }
    if (increment === undefined || epoch % fullEvery === 0) {
      const announced = view.map.crc;
      const bytes = encodeOsdMap(view.map.copy());
      const { crc } = decodeOsdMap(bytes);
      if (announced !== 0 && crc !== announced)
        throw new DecodeError(`OSDMap ${epoch}: checksum ${crc.toString(16)}, the mon's is ${announced.toString(16)}`);
      write(KEY_FULL, bytes);
      this.#fulls.push(epoch);
    }
    if (this.#super.oldest === 0) this.#super.oldest = epoch;
    this.#super.newest = epoch;
  }

  /** Forgets maps that no PG needs (`needed` is the oldest that one does). */
  trim(needed: number): void {
    const limit = Math.min(needed, this.#super.newest - keepEpochs);
    const oldest = this.#fulls.filter((epoch) => epoch <= limit).at(-1);
    if (oldest === undefined || oldest <= this.#super.oldest) return;
    const ops: TransactionOp[] = [];
    for (let epoch = this.#super.oldest; epoch < oldest; epoch++) {
      this.#views.delete(epoch);
      this.#increments.delete(epoch);
      for (const kind of [KEY_FULL, KEY_INC]) ops.push({ op: 'remove', cid: metaCollection, key: mapKey(kind, epoch) });
    }
    this.#fulls = this.#fulls.filter((epoch) => epoch >= oldest);
    this.#super.oldest = oldest;
    ops.push(this.#superOp());
    this.#commit(ops);
  }

  /** What a client with map `epoch` lacks, or the newest map whole when that is too much. */
  message(epoch: number): MOSDMapValue {
    const incrementals = new Map<number, Uint8Array>();
    const full = new Map<number, Uint8Array>();
    const { newest, oldest, fsid } = this.#super;
    if (newest - epoch <= maxSharedMaps)
      for (let e = epoch + 1; e <= newest; e++) {
        const bytes = this.#increments.get(e);
        if (bytes === undefined) {
          incrementals.clear();
          break;
        }
        incrementals.set(e, bytes);
      }
    if (incrementals.size === 0 && this.current !== undefined) full.set(newest, encodeOsdMap(this.current.map.copy()));
    return { fsid, incrementals, full, oldest, newest };
  }
}

function noSuperblock(osdId: number, pgs: readonly string[]): AppError {
  const some = pgs.slice(0, 3).join(', ') + (pgs.length > 3 ? ', …' : '');
  return new AppError(
    'STORE_DAMAGED',
    `osd.${osdId}: its store has ${pgs.length} PGs (${some}), but not the row that says which maps it knows`,
    {
      hint: '`appliance osd fsck` tells what else is damaged. When all PGs are active without it, wipe this OSD: it is filled anew from the others.',
    },
  );
}
