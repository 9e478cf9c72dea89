import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { assert } from '../../base/errors.ts';
import { Allocator, type Run } from './allocator.ts';
import { blockBytes, type CompressedSums } from './api.ts';
import type { CompressedBlob } from './blob.ts';
import type { BlockRun } from './blocktable.ts';
import type { Index, IndexChange } from './index-api.ts';
import {
  collectionRow,
  compressedRow,
  decodeState,
  encodeState,
  newCollection,
  nothingCompressed,
  number,
  objectKey,
  readCollections,
  readCompressed,
  stateKey,
  stretchEnd,
  type Totals,
} from './index-rows.ts';
import { Omaps } from './omap.ts';
import { DamagedEntryError } from './errors.ts';
import { addGap, gapsIn, removeGaps } from './gaps.ts';
import { type Collection, Onode } from './onode.ts';
import { OnodeCache } from './onode-cache.ts';
import { keyBytes } from './order.ts';
import { RecordWriter } from './record-writer.ts';
import { Share } from './share.ts';

/** Names of a collection that are remembered as absent. */
const maxAbsent = 16;

/** What one checkpoint writes: the state as of one transaction, untouched by later ones. */
export interface Snapshot {
  onodes: ReadonlySet<Onode>;
  shares: Map<number, Share>;
  space: Map<number, Uint8Array | undefined>;
  droppedOmaps: IndexChange[];
  rows: IndexChange[];
}

/**
 * All metadata of the store: what the index holds, under what is changed since. Changes happen in place in the current generation; what an
 * older generation, a checkpoint being written, refers to is copied first. Nothing here waits or writes.
 */
export class Catalog {
  readonly allocator: Allocator;
  readonly omaps: Omaps;
  readonly #index: Index;
  readonly #collections = new Map<string, Collection>();
  readonly #cache: OnodeCache;
  #generation = 1;
  #dirty = new Set<Onode>();
  #frozen: ReadonlySet<Onode> = new Set<Onode>();
  readonly #shares = new Map<number, Share>();
  #dirtyShares = new Map<number, Share>();
  #frozenShares = new Map<number, Share>();
  #dirtyCollections = new Set<string>();
  #droppedOmaps: number[] = [];
  readonly #totals: Totals = { nextCollection: 1, nextOmap: 1, nextShare: 1, objects: 0, storedBytes: 0 };
  #compressed = new Map<number, CompressedSums>();
  /** Pools of which something else is compressed than the index says. */
  #dirtyCompressed = new Set<number>();
  readonly #rowWriter = new RecordWriter();
  /** Told of each entry that is found damaged. */
  onDamaged: (error: DamagedEntryError) => void = () => undefined;
  /** Blocks that the transaction being applied gave up. */
  freed: Run[] = [];

  /** Journal index of the last transaction that the index holds, 0 for a new store. */
  appliedIndex = 0;

  /** Loads collections, counters and the map of free space. */
  constructor(index: Index, totalBlocks: number, cacheLimitBytes: number) {
    this.#index = index;
    this.#cache = new OnodeCache(cacheLimitBytes);
    this.allocator = new Allocator(totalBlocks);
    this.omaps = new Omaps(index);
    this.#load();
  }

  #load(): void {
    const row = this.#index.get('meta', stateKey);
    if (row === undefined) return;
    const state = decodeState(row);
    this.appliedIndex = state.appliedIndex;
    Object.assign(this.#totals, state.totals);
    for (const collection of readCollections(this.#index)) this.#addCollection(collection);
    this.#compressed = readCompressed(this.#index);
    for (const [key, value] of this.#index.range('space', number(0), number(2 ** 32), 2 ** 31))
      this.allocator.load(new DataView(key.buffer, key.byteOffset).getUint32(4), value);
    this.allocator.takeDirty();
  }

  // --- looking up

  get objects(): number {
    return this.#totals.objects;
  }

  get storedBytes(): number {
    return this.#totals.storedBytes;
  }

  /** By pool. */
  get compressed(): ReadonlyMap<number, Readonly<CompressedSums>> {
    return this.#compressed;
  }

  /** Memory that is bound until the next checkpoint, in bytes, about. */
  get dirtyBytes(): number {
    return this.omaps.dirtyBytes + this.#dirty.size * 1024;
  }

  get memoryBytes(): number {
    return this.omaps.memoryBytes + this.#cache.bytes + this.allocator.memoryBytes;
  }

  collectionNames(): string[] {
    return [...this.#collections.keys()].sort();
  }

  collection(cid: string): Collection | undefined {
    return this.#collections.get(cid);
  }

  find(collection: Collection, name: string): Onode | undefined {
    const cached = collection.onodes.get(name);
    if (cached !== undefined) {
      this.#cache.use(cached);
      return cached.exists ? cached : undefined;
    }
    const { absent } = collection;
    if (absent.has(name)) return undefined;
    const place = collection.layout.idOf(name);
    const row = place === 0 ? undefined : this.#index.get('objects', objectKey(place, name));
    if (row === undefined) {
      if (absent.size >= maxAbsent) absent.clear();
      absent.add(name);
      return undefined;
    }
    const onode = this.#decode(collection, name, place, row);
    this.#cache.add(onode);
    return onode;
  }

  #decode(collection: Collection, name: string, place: number, row: Uint8Array): Onode {
    try {
      return Onode.decode(collection, name, place, 0, row);
    } catch (cause) {
      const onode = new Onode(collection, name, place, 0);
      onode.damaged = new DamagedEntryError(collection.cid, keyBytes(name), cause);
      this.onDamaged(onode.damaged);
      return onode;
    }
  }

  /** Names >= start in byte order, at most `limit`. */
  list(collection: Collection, start: string, limit: number): string[] {
    const changed = new Set<string>();
    for (const level of [this.#dirty, this.#frozen])
      for (const onode of level) if (onode.collection === collection && onode.name >= start) changed.add(onode.name);
    const added = [...changed].filter((name) => this.find(collection, name) !== undefined).sort();
    const out: string[] = [];
    let next = 0;
    for (const stretch of collection.layout.between(start)) {
      const end = stretchEnd(stretch);
      let from = objectKey(stretch.id, stretch.first);
      for (;;) {
        const keys = this.#index.keys('objects', from, end, limit);
        for (const key of keys) {
          const name = Buffer.from(key.buffer, key.byteOffset + 4, key.length - 4).toString('latin1');
          if (changed.has(name)) continue;
          while (next < added.length && added[next]! < name) out.push(added[next++]!);
          out.push(name);
          if (out.length >= limit) return out.slice(0, limit);
        }
        if (keys.length < limit) break;
        const last = keys.at(-1)!;
        from = new Uint8Array(last.length + 1);
        from.set(last);
      }
    }
    out.push(...added.slice(next));
    return out.slice(0, limit);
  }

  /** How many objects have names in [first, end). */
  count(collection: Collection, first: string, end: string): number {
    let count = 0;
    for (const stretch of collection.layout.between(first, end))
      count += this.#index.count('objects', objectKey(stretch.id, stretch.first), stretchEnd(stretch));
    const seen = new Set<string>();
    for (const level of [this.#dirty, this.#frozen])
      for (const { name, collection: where } of level) {
        if (where !== collection || name < first || name >= end || seen.has(name)) continue;
        seen.add(name);
        const place = collection.layout.idOf(name);
        const counted = place !== 0 && this.#index.get('objects', objectKey(place, name)) !== undefined;
        const there = this.find(collection, name) !== undefined;
        if (counted !== there) count += there ? 1 : -1;
      }
    return count;
  }

  // --- changing

  /** The objects of `from` with names in [first, end) become those of `to`, which has none there. */
  moveRange(from: Collection, to: Collection, first: string, end: string): void {
    const count = this.count(from, first, end);
    const inside = (name: string): boolean => name >= first && name < end;
    to.layout.put(first, end, from.layout.take(first, end));
    for (const onode of [...from.onodes.values()]) {
      if (!inside(onode.name)) continue;
      from.onodes.delete(onode.name);
      const gone = to.onodes.get(onode.name);
      if (gone !== undefined) this.#cache.remove(gone);
      to.onodes.set(onode.name, onode);
      onode.collection = to;
    }
    for (const level of [this.#dirty, this.#frozen])
      for (const onode of level) if (onode.collection === from && inside(onode.name)) onode.collection = to;
    to.absent.clear();
    from.objects -= count;
    to.objects += count;
    this.#dirtyCollections.add(from.cid);
    this.#dirtyCollections.add(to.cid);
  }

  #place(collection: Collection, name: string): number {
    const place = collection.layout.idOf(name);
    if (place !== 0) return place;
    const fresh = this.#totals.nextCollection++;
    collection.layout.assign(name, fresh);
    this.#dirtyCollections.add(collection.cid);
    return fresh;
  }

  createCollection(cid: string): void {
    this.#addCollection(newCollection(cid, this.#totals.nextCollection++));
    this.#dirtyCollections.add(cid);
  }

  removeCollection(cid: string): void {
    const collection = this.#collections.get(cid);
    assert(collection !== undefined && collection.objects === 0, `collection ${cid} cannot be removed`);
    this.#collections.delete(cid);
    this.#dirtyCollections.add(cid);
  }

  /** The object to change, made when it is not there. */
  make(collection: Collection, name: string): Onode {
    const onode = this.find(collection, name);
    if (onode !== undefined) return this.#own(onode);
    this.#totals.objects++;
    collection.objects++;
    this.#dirtyCollections.add(collection.cid);
    return this.#put(new Onode(collection, name, this.#place(collection, name), this.#generation));
  }

  /** The object to change, if it is there. */
  change(collection: Collection, name: string): Onode | undefined {
    const onode = this.find(collection, name);
    return onode && this.#own(onode);
  }

  remove(onode: Onode): void {
    onode = this.#own(onode);
    this.unmap(onode, 0, Number.MAX_SAFE_INTEGER);
    this.clearOmap(onode);
    this.#totals.objects--;
    onode.collection.objects--;
    this.#dirtyCollections.add(onode.collection.cid);
    const gone = new Onode(onode.collection, onode.name, onode.place, this.#generation);
    gone.exists = false;
    gone.version = onode.version + 1;
    this.#put(gone);
  }

  setSize(onode: Onode, size: number): void {
    const before = onode.storedBytes;
    onode.size = size;
    onode.gaps = removeGaps(onode.gaps, size, Number.MAX_SAFE_INTEGER);
    this.#totals.storedBytes += onode.storedBytes - before;
  }

  /** Nobody wrote [from, end), which is in blocks that are there, or will be; or somebody did. */
  setGap(onode: Onode, from: number, end: number, isGap: boolean): void {
    const before = onode.storedBytes;
    onode.gaps = isGap ? addGap(onode.gaps, from, end) : removeGaps(onode.gaps, from, end);
    this.#totals.storedBytes += onode.storedBytes - before;
  }

  /** Puts a run of newly allocated blocks under [logical, logical + run.count); what was there is given up. */
  map(onode: Onode, logical: number, run: Run, crcs: ArrayLike<number>): void {
    const before = onode.storedBytes;
    this.#giveUp(onode, logical, logical + run.count);
    for (let i = 0; i < run.count; i++) onode.table.set(logical + i, run.start + i, crcs[i]!, 0);
    this.#totals.storedBytes += onode.storedBytes - before;
  }

  /** Puts the blocks of a new blob where it begins; what was there is given up. `crcs`: of what they are when they are not compressed. */
  mapCompressed(onode: Onode, blob: CompressedBlob, crcs: ArrayLike<number>): void {
    const before = onode.storedBytes;
    this.#giveUp(onode, blob.first, blob.first + blob.blocks);
    onode.table.addBlob(blob);
    for (let i = 0; i < blob.blocks; i++) onode.table.setCompressed(blob.first + i, blob, crcs[i]!);
    this.#totals.storedBytes += onode.storedBytes - before;
    this.#countCompressed(onode, blob.length, blob.places.length, blob.blocks);
  }

  /** What is compressed grows by bytes that compression made, blocks they are in, blocks of objects. */
  #countCompressed({ collection: { pool } }: Onode, stored: number, places: number, blocks: number): void {
    let sums = this.#compressed.get(pool);
    if (sums === undefined) {
      sums = { ...nothingCompressed };
      this.#compressed.set(pool, sums);
    }
    sums.stored += stored;
    sums.allocated += places * blockBytes;
    sums.original += blocks * blockBytes;
    if (sums.stored === 0 && sums.allocated === 0 && sums.original === 0) this.#compressed.delete(pool);
    this.#dirtyCompressed.add(pool);
  }

  /** The blocks keep their place and get other content. */
  setCrcs(onode: Onode, logical: number, crcs: ArrayLike<number>): void {
    for (let i = 0; i < crcs.length; i++) {
      onode.unresolved?.delete(logical + i);
      // Where its blocks are is not known any more.
      if (onode.damaged !== undefined && onode.table.physical(logical + i) === 0) continue;
      onode.table.setCrc(logical + i, crcs[i]!);
    }
  }

  /** Blocks [first, end) become holes. */
  unmap(onode: Onode, first: number, end: number): void {
    const before = onode.storedBytes;
    this.#giveUp(onode, first, end);
    onode.gaps = removeGaps(onode.gaps, first * blockBytes, end * blockBytes);
    this.#totals.storedBytes += onode.storedBytes - before;
  }

  /** `name` becomes a copy of `from` that shares its blocks. */
  clone(from: Onode, name: string): void {
    from = this.#own(from);
    if (from.name === name) return;
    const old = this.find(from.collection, name);
    const share = new Share(this.#totals.nextShare, this.#generation);
    const runs: BlockRun[] = [];
    from.table.forEachRun(0, Number.MAX_SAFE_INTEGER, (run) => runs.push(run));
    for (const run of runs) if (run.blob === undefined) this.#share(from, run, share);
    for (const blob of from.table.blobs()) this.#shareBlob(blob, share);
    this.#addShare(share);
    const version = (old?.version ?? 0) + 1;
    const copy = from.copy(this.#generation, name, this.#place(from.collection, name));
    if (old !== undefined) this.remove(old);
    copy.version = version + 1;
    copy.omapId = 0;
    this.#totals.objects++;
    this.#totals.storedBytes += copy.storedBytes;
    for (const blob of copy.table.blobs()) this.#countCompressed(copy, 0, 0, blob.live);
    copy.collection.objects++;
    this.#dirtyCollections.add(copy.collection.cid);
    this.#put(copy);
    if (from.omapId !== 0) {
      copy.omapId = this.#totals.nextOmap++;
      for (const [key, value] of this.omaps.all(from.omapId)) this.omaps.set(copy.omapId, key, value);
    }
  }

  /** Blocks [first, end) of `to` become those of `from`, holes included. */
  cloneBlocks(from: Onode, to: Onode, first: number, end: number): void {
    from = this.#own(from);
    const before = to.storedBytes;
    const runs: BlockRun[] = [];
    from.table.forEachRun(first, end, (run) => runs.push(run));
    const share = new Share(this.#totals.nextShare, this.#generation);
    for (const run of runs) if (run.blob === undefined) this.#share(from, run, share);
    const blobs = new Set(runs.map(({ blob }) => blob).filter((blob) => blob !== undefined));
    for (const blob of blobs) this.#shareBlob(blob, share);
    this.#addShare(share);
    this.#giveUp(to, first, end);
    for (const blob of blobs) {
      // An object counts once, however many blocks of a blob it has.
      if (to.table.blobOf(blob.key) === undefined) to.table.addBlob(blob.empty());
      else this.#releaseBlob(to, blob);
    }
    for (const run of runs)
      for (let block = run.logical; block < run.logical + run.count; block++) {
        if (run.blob !== undefined) {
          to.table.setCompressed(block, to.table.blobOf(run.blob.key)!, from.table.crc(block));
          this.#countCompressed(to, 0, 0, 1);
          continue;
        }
        to.table.set(block, from.table.physical(block), from.table.crc(block), from.table.share(block));
        const image = from.unresolved?.get(block);
        if (image === undefined) continue;
        to.unresolved ??= new Map();
        to.unresolved.set(block, image);
        image.holders.push(to);
      }
    const [start, behind] = [first * blockBytes, end * blockBytes];
    to.gaps = removeGaps(to.gaps, start, behind);
    for (const gap of gapsIn(from.gaps, start, behind)) to.gaps = addGap(to.gaps, ...gap);
    this.#totals.storedBytes += to.storedBytes - before;
  }

  omapId(onode: Onode): number {
    if (onode.omapId === 0) onode.omapId = this.#totals.nextOmap++;
    return onode.omapId;
  }

  clearOmap(onode: Onode): void {
    onode.omapHeader = new Uint8Array(0);
    if (onode.omapId === 0) return;
    this.#droppedOmaps.push(onode.omapId);
    onode.omapId = 0;
  }

  #addCollection(collection: Collection): void {
    this.#collections.set(collection.cid, collection);
  }

  /** One more user for the blocks of a run of `from`; those without a share enter `fresh`. */
  #share(from: Onode, run: BlockRun, fresh: Share): void {
    const blocks = { start: run.physical, count: run.count };
    if (run.share !== 0) {
      this.#ownShare(run.share).retain(blocks);
      return;
    }
    fresh.add(blocks, 2);
    for (let i = 0; i < run.count; i++)
      from.table.set(run.logical + i, run.physical + i, from.table.crc(run.logical + i), fresh.id);
  }

  /** One more user for a blob; without a share it enters `fresh`. */
  #shareBlob(blob: CompressedBlob, fresh: Share): void {
    for (const run of blob.runs())
      if (blob.share === 0) fresh.add(run, 2);
      else this.#ownShare(blob.share).retain(run);
    if (blob.share === 0) blob.share = fresh.id;
  }

  /** One user less for a blob; without users its place is given up. */
  #releaseBlob(onode: Onode, blob: CompressedBlob): void {
    let gone = false;
    for (const run of blob.runs())
      for (const free of blob.share === 0 ? [run] : this.#ownShare(blob.share).release(run)) {
        this.allocator.free(free);
        this.freed.push(free);
        gone ||= free.start <= blob.key && blob.key < free.start + free.count;
      }
    if (gone) this.#countCompressed(onode, -blob.length, -blob.places.length, 0);
  }

  #addShare(share: Share): void {
    if (share.empty) return;
    this.#totals.nextShare++;
    this.#shares.set(share.id, share);
    this.#dirtyShares.set(share.id, share);
  }

  #ownShare(id: number): Share {
    let share = this.#shares.get(id);
    if (share === undefined) {
      const row = this.#index.get('shares', number(id));
      assert(row !== undefined, `share ${id} is not in the index`);
      share = Share.decode(id, this.#generation, new ByteReader(row));
    } else if (share.generation !== this.#generation) share = share.copy(this.#generation);
    this.#shares.set(id, share);
    this.#dirtyShares.set(id, share);
    return share;
  }

  #giveUp(onode: Onode, first: number, end: number): void {
    if (onode.table.mapped === 0) return;
    const runs: BlockRun[] = [];
    onode.table.forEachRun(first, end, (run) => runs.push(run));
    for (const run of runs) {
      if (run.blob !== undefined) {
        for (let i = 0; i < run.count; i++) onode.table.clear(run.logical + i);
        this.#countCompressed(onode, 0, 0, -run.count);
        if (run.blob.live === 0) this.#releaseBlob(onode, run.blob);
        continue;
      }
      const blocks = { start: run.physical, count: run.count };
      for (const gone of run.share === 0 ? [blocks] : this.#ownShare(run.share).release(blocks)) {
        this.allocator.free(gone);
        this.freed.push(gone);
      }
      for (let i = 0; i < run.count; i++) {
        onode.table.clear(run.logical + i);
        onode.unresolved?.delete(run.logical + i);
      }
    }
  }

  /** The version of an object that the current generation may change. */
  #own(onode: Onode): Onode {
    if (onode.generation === this.#generation) {
      onode.version++;
      return onode;
    }
    const copy = onode.copy(this.#generation);
    copy.version++;
    return this.#put(copy);
  }

  /** The newest version of an object, changed in this generation. */
  #put(onode: Onode): Onode {
    const old = onode.collection.onodes.get(onode.name);
    if (old !== undefined) {
      this.#dirty.delete(old);
      this.#cache.remove(old);
    }
    onode.collection.absent.delete(onode.name);
    this.#dirty.add(onode);
    this.#cache.add(onode);
    return onode;
  }

  // --- checkpoints

  /** Takes the state as it is now; one snapshot at a time. `appliedIndex` is the journal index of the last transaction in it. */
  freeze(appliedIndex: number): Snapshot {
    assert(this.#frozen.size === 0 && this.#frozenShares.size === 0, 'two checkpoints at once');
    this.#generation++;
    this.#frozen = this.#dirty;
    this.#dirty = new Set();
    this.#frozenShares = this.#dirtyShares;
    this.#dirtyShares = new Map();
    this.omaps.freeze();
    const rows: IndexChange[] = [];
    for (const cid of this.#dirtyCollections) rows.push(collectionRow(cid, this.#collections.get(cid)));
    this.#dirtyCollections = new Set();
    for (const pool of this.#dirtyCompressed)
      rows.push(compressedRow(pool, this.#compressed.get(pool) ?? nothingCompressed));
    this.#dirtyCompressed = new Set();
    const plain = [...this.#collections.values()].every(({ layout }) => layout.simple);
    rows.push({ table: 'meta', key: stateKey, value: encodeState(appliedIndex, this.#totals, plain) });
    const dropped = this.#droppedOmaps.map((id) => this.omaps.drop(id));
    this.#droppedOmaps = [];
    return {
      onodes: this.#frozen,
      shares: this.#frozenShares,
      space: this.allocator.takeDirty(),
      droppedOmaps: dropped,
      rows,
    };
  }

  /** The rows of a snapshot; drawn after everything in it is on disk in the journal. */
  *changes(snapshot: Snapshot): Generator<IndexChange> {
    for (const onode of snapshot.onodes)
      yield {
        table: 'objects',
        key: objectKey(onode.place, onode.name),
        value: onode.exists ? onode.encode(this.#rowWriter) : undefined,
      };
    yield* this.omaps.frozenChanges();
    yield* snapshot.droppedOmaps;
    for (const share of snapshot.shares.values()) {
      const writer = new ByteWriter();
      if (!share.empty) share.encode(writer);
      yield { table: 'shares', key: number(share.id), value: share.empty ? undefined : writer.finish() };
    }
    for (const [index, bits] of snapshot.space) yield { table: 'space', key: number(index), value: bits };
    yield* snapshot.rows;
  }

  /** The index holds the snapshot. */
  thaw(): void {
    for (const onode of this.#frozen)
      if (!onode.exists && onode.collection.onodes.get(onode.name) === onode) this.#cache.remove(onode);
    this.#frozen = new Set();
    // Shares are looked up rarely: what is not changed is read again when it is needed.
    for (const [id, share] of this.#frozenShares) if (this.#shares.get(id) === share) this.#shares.delete(id);
    this.#frozenShares = new Map();
    this.omaps.thaw();
    // What was changed before the current generation began is in the index.
    this.#cache.unpin(this.#generation - 1);
  }
}
