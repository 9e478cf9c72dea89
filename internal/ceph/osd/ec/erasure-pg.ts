import { AppError } from '../../../base/errors.ts';
import type { CollectionId, ObjectStore, TransactionOp } from '../../blockstore/api.ts';
import { gather, shardSize, stripeBytes } from '../../erasure/layout.ts';
import { gatherCrcs } from '../../erasure/stripe-crcs.ts';
import type { PushCursor, PushItem } from '../../wire/messages/osd_osd.ts';
import { compareEVersion, type EVersion, type HObject } from '../../wire/types.ts';
import type { PoolCode } from '../map-view.ts';
import { notFound, pieceBytes } from '../object-copy.ts';
import { decodeObjectInfo, infoXattr, type ObjectInfo } from '../object-info.ts';
import { objectKey, objectOfKey } from '../object-key.ts';
import type { ObjectContext } from '../ops/object-context.ts';
import type { PgCore } from '../pg-core.ts';
import { type Member, shardOf } from '../shards.ts';
import { type ShardReadHooks, ShardReads } from './shard-reads.ts';
import { WritePlan } from './write-plan.ts';

/** Holes are kept in blocks of this size. */
const holeBytes = 4096;

/** An erasure-coded PG as its primary works with it: objects as clients see them, made of shards. */
export class ErasurePg {
  readonly code: PoolCode;
  readonly reads: ShardReads;
  /** The PG's objects whole: what is here of their metadata, and their data from the shards. */
  readonly objects: ObjectStore;
  readonly #core: PgCore;

  constructor(core: PgCore, code: PoolCode, hooks: ShardReadHooks) {
    this.#core = core;
    this.code = code;
    this.reads = new ShardReads(core, code, hooks);
    this.objects = this.#objects(core.env.store);
  }

  #infoAt(key: Uint8Array): ObjectInfo | undefined {
    const { env, meta } = this.#core;
    if (env.store.stat(meta.cid, key)?.damaged) return undefined;
    const bytes = env.store.xattr(meta.cid, key, infoXattr);
    return bytes === undefined ? undefined : decodeObjectInfo(bytes);
  }

  #objects(store: ObjectStore): ObjectStore {
    const size = (key: Uint8Array): number | undefined => this.#infoAt(key)?.size;
    return {
      queue: (transaction) => store.queue(transaction),
      hasRoom: (bytes) => store.hasRoom(bytes),
      collections: () => store.collections(),
      stat: (_cid, key) => {
        const bytes = size(key);
        return bytes === undefined ? undefined : { size: bytes };
      },
      read: (_cid, key, offset, length) => this.#read(key, offset, length),
      // Where its holes are is not known.
      extents: (_cid, key, offset, length) => {
        const end = Math.min(offset + length, size(key) ?? 0);
        return end > offset ? [{ offset, length: end - offset }] : [];
      },
      xattr: (cid, key, name) => store.xattr(cid, key, name),
      xattrs: (cid, key) => store.xattrs(cid, key),
      omapHeader: (cid, key) => store.omapHeader(cid, key),
      omapList: (cid, key, options) => store.omapList(cid, key, options),
      omapGet: (cid, key, keys) => store.omapGet(cid, key, keys),
      list: (cid, start, limit) => store.list(cid, start, limit),
      statfs: () => store.statfs(),
      compressed: () => store.compressed(),
      setCompression: (policies) => store.setCompression(policies),
      close: () => store.close(),
    };
  }

  async #read(key: Uint8Array, offset: number, length: number): Promise<Uint8Array | undefined> {
    const info = this.#infoAt(key);
    // Whoever reads knows that it exists.
    if (info === undefined) throw lost(this.#core.text);
    const end = Math.min(offset + length, info.size);
    if (end <= offset) return new Uint8Array(0);
    const { layout } = this.code;
    const { k, chunkBytes } = layout;
    const stripe = stripeBytes(layout);
    const first = Math.floor(offset / stripe);
    const last = Math.floor((end - 1) / stripe);
    const at = offset - first * stripe;
    let wanted = Array.from({ length: k }, (_, shard) => shard);
    if (first === last) {
      const to = Math.floor((end - 1 - first * stripe) / chunkBytes);
      wanted = wanted.slice(Math.floor(at / chunkBytes), to + 1);
    }
    const { chunks } = await this.reads.read({
      oid: objectOfKey(key, this.#core.id.pool),
      version: info.version,
      offset: first * chunkBytes,
      length: (last - first + 1) * chunkBytes,
      wanted,
      attrs: false,
    });
    const { env } = this.#core;
    const out = env.take(end - offset);
    gather(layout, chunks, at, out);
    gatherCrcs(layout, chunks, at, out);
    for (const chunk of chunks.values()) env.recycle(chunk);
    return out;
  }

  /**
   * What a request's changes of an object mean for each shard. The object is alone in the request's hands. Errors: UNREADABLE; CHECKSUM (our own shard is not
   * what the request builds on).
   */
  async plan(
    { inStore, info, key: own }: ObjectContext,
    cid: CollectionId,
    ops: readonly TransactionOp[],
  ): Promise<TransactionOp[][]> {
    const present = this.#infoAt(own);
    if (inStore && (present === undefined || compareEVersion(present.version, info.version) !== 0))
      throw lost(this.#core.text);
    const plan = new WritePlan(this.code, ops, (key) => {
      const found = this.#infoAt(key);
      if (found === undefined && key !== own)
        throw new AppError('UNREADABLE', `pg ${this.#core.text}: a clone is lost`);
      return found?.size ?? 0;
    });
    const old = await Promise.all(
      plan.reads.map(({ key, offset, length }) =>
        this.#read(key, offset, length).then((bytes) => bytes ?? new Uint8Array(0)),
      ),
    );
    const { env } = this.#core;
    const shards = plan.shards(old, env.take);
    for (const bytes of old) env.recycle(bytes);
    return shards.map((list) => list.map((op) => ({ ...op, cid })));
  }

  /** The piece of a shard's copy of an object that follows `from`, made of other shards. Errors: UNREADABLE. */
  async rebuild(oid: HObject, version: EVersion, member: Member, from: PushCursor): Promise<PushItem> {
    const { env, meta } = this.#core;
    const key = objectKey(oid);
    const shard = shardOf(member)!;
    const first = from.dataTo === 0;
    const absent = meta.missing.has(oid) || env.store.stat(meta.cid, key)?.damaged;
    const here = absent ? undefined : env.store.xattrs(meta.cid, key);
    const item: PushItem = { ...notFound(oid, from), version, found: true };
    let info = here === undefined ? undefined : this.#infoAt(key);
    if (info === undefined) {
      const xattrs = await this.#xattrsFrom(oid, version);
      info = decodeObjectInfo(xattrs.get(infoXattr)!);
      if (first) item.xattrs = xattrs;
    } else if (first) item.xattrs = here!;
    item.size = shardSize(this.code.layout, info.size);
    const { chunkBytes } = this.code.layout;
    const step = Math.max(1, Math.floor(pieceBytes / chunkBytes)) * chunkBytes;
    const to = Math.min(item.size, from.dataTo + step);
    item.after = { dataTo: to, dataDone: to === item.size, omapAfter: '', omapDone: true };
    if (to === from.dataTo) return item;
    const { chunks } = await this.reads.read({
      oid,
      version,
      offset: from.dataTo,
      length: to - from.dataTo,
      wanted: [shard],
      attrs: false,
    });
    const bytes = chunks.get(shard)!;
    for (let at = 0; at < bytes.length; ) {
      const start = at;
      while (at < bytes.length && !isHole(bytes, at)) at += holeBytes;
      at = Math.min(at, bytes.length);
      if (at > start) {
        item.extents.push({ offset: from.dataTo + start, length: at - start });
        item.data.push(bytes.subarray(start, at));
      }
      while (at < bytes.length && isHole(bytes, at)) at += holeBytes;
    }
    return item;
  }

  /** An object's xattrs, which every shard has. */
  async #xattrsFrom(oid: HObject, version: EVersion): Promise<Map<string, Uint8Array>> {
    const wanted = [...this.reads.sources(oid, version).keys()].slice(0, 1);
    const { xattrs } = await this.reads.read({ oid, version, offset: 0, length: 0, wanted, attrs: true });
    if (xattrs === undefined) throw new AppError('UNREADABLE', `pg ${this.#core.text}: no shard of ${oid.name}`);
    return xattrs;
  }
}

/** The disk does not have an object any more that it should have. */
function lost(pg: string): AppError {
  return new AppError('CHECKSUM', `pg ${pg}: an object is lost`);
}

function isHole(bytes: Uint8Array, at: number): boolean {
  const end = Math.min(at + holeBytes, bytes.length);
  for (let i = at; i < end; i++) if (bytes[i] !== 0) return false;
  return true;
}
