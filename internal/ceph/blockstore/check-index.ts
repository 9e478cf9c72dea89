import { ByteReader, ByteWriter } from '../../base/bytes.ts';
import { errorText } from '../../base/errors.ts';
import { plural } from '../../base/words.ts';
import { mapChunkBlocks } from './allocator.ts';
import { blockBytes, type CompressedSums } from './api.ts';
import { keyText } from './errors.ts';
import type { Fault, FaultList } from './fault.ts';
import type { Index, IndexChange, IndexTable } from './index-api.ts';
import {
  collectionRow,
  compressedRow,
  decodeState,
  encodeState,
  endOfNumbers,
  newCollection,
  nothingCompressed,
  number,
  numberOf,
  objectKey,
  readCollections,
  readCompressed,
  stateKey,
  type Totals,
} from './index-rows.ts';
import { type Collection, Onode } from './onode.ts';
import { keyString } from './order.ts';
import { RecordWriter } from './record-writer.ts';
import { type CountedRun, Share } from './share.ts';
import { countUses, UsedBlocks } from './used-blocks.ts';

const pageRows = 256;
const noKey = new Uint8Array(0);

/** What an index says of itself, and what is to be written so that it says the truth. */
export interface IndexCheck {
  /** Undefined when it cannot be read at all: then nothing else can be checked. */
  readonly collections: readonly Collection[] | undefined;
  readonly objects: number;
  /** Rows that repair writes, in one batch. Nothing in them is guessed: each follows from the rows of the objects. */
  readonly changes: readonly IndexChange[];
  /** Objects whose row cannot be read and that `changes` take out. */
  readonly removed: readonly { readonly collection: Collection; readonly key: Uint8Array }[];
}

/** Every row of a table from `from` on, page by page. */
function* rows(index: Index, table: IndexTable, from: Uint8Array = noKey): Generator<[Uint8Array, Uint8Array]> {
  for (;;) {
    const page = index.range(table, from, endOfNumbers, pageRows);
    yield* page;
    if (page.length < pageRows) return;
    const last = page.at(-1)![0];
    from = new Uint8Array(last.length + 1);
    from.set(last);
  }
}

/**
 * Reads every row of an index and compares what they say of one another: tables of objects with the map of used blocks, with shares, key-value rows and sums. The state is
 * that of the last checkpoint; the journal goes on from there. Nothing is changed. `progress` is told how many objects were read, of how many. While the journal has something, nobody can say
 * what else was written into a block that two objects have: then nothing is proposed about those.
 */
export async function checkIndex(
  index: Index,
  totalBlocks: number,
  list: FaultList,
  progress: (done: number, all: number) => Promise<void>,
  journalIsEmpty = true,
): Promise<IndexCheck> {
  return new IndexChecker(index, totalBlocks, list, progress, journalIsEmpty).run();
}

class IndexChecker {
  readonly #index: Index;
  readonly #list: FaultList;
  readonly #progress: (done: number, all: number) => Promise<void>;
  readonly #journalIsEmpty: boolean;
  readonly #used: UsedBlocks;
  /** Blocks that were two objects' alone are a share's from now on. */
  #madeShare: CountedRun[] = [];
  readonly #changes: IndexChange[] = [];
  readonly #removed: { collection: Collection; key: Uint8Array }[] = [];
  /** Key-value rows that objects have, by number. */
  readonly #omaps = new Set<number>();
  readonly #counted = new Map<Collection, number>();
  /** By pool. */
  readonly #compressed = new Map<number, CompressedSums>();
  /** Keys of compressed blobs that clones share and that are counted. */
  readonly #countedBlobs = new Set<number>();
  #storedBytes = 0;
  #objects = 0;
  #newestShare = 0;

  constructor(
    index: Index,
    totalBlocks: number,
    list: FaultList,
    progress: (done: number, all: number) => Promise<void>,
    journalIsEmpty: boolean,
  ) {
    this.#journalIsEmpty = journalIsEmpty;
    this.#index = index;
    this.#list = list;
    this.#progress = progress;
    this.#used = new UsedBlocks(totalBlocks);
  }

  async run(): Promise<IndexCheck> {
    const unreadable = (text: string): IndexCheck => {
      this.#list.add({ kind: 'index', text, mend: 'none' });
      return { collections: undefined, objects: 0, changes: [], removed: [] };
    };
    try {
      const broken = this.#index.check();
      if (broken.length > 0) return unreadable(`the index is damaged: ${broken.slice(0, 3).join('; ')}`);
    } catch (error) {
      return unreadable(`the index cannot be read: ${errorText(error)}`);
    }
    const row = this.#index.get('meta', stateKey);
    if (row === undefined) return { collections: [], objects: 0, changes: [], removed: [] };
    let state: ReturnType<typeof decodeState>;
    let collections: Collection[];
    try {
      state = decodeState(row);
      collections = readCollections(this.#index);
    } catch (error) {
      return unreadable(`what the index says of the store cannot be read: ${errorText(error)}`);
    }
    await this.#checkObjects(collections, state.totals.objects);
    const alone = this.#used.twice.length;
    const wanted = this.#used.shares();
    for (const id of wanted.keys()) this.#newestShare = Math.max(this.#newestShare, id);
    const mixed = this.#used.twice.splice(alone);
    if (mixed.length > 0)
      this.#fault({
        kind: 'block-twice',
        text: `${plural(mixed.length, 'run')} of blocks that clones share ${mixed.length === 1 ? 'is' : 'are'} other objects’, too`,
        mend: 'none',
      });
    else if (alone > 0) this.#settleTwice(collections, state.totals.nextShare);
    this.#checkShares(wanted);
    if (this.#madeShare.length > 0) this.#writeShare(this.#newestShare, this.#madeShare);
    this.#checkSpace();
    await this.#checkOmaps();
    this.#checkSums(collections, state.appliedIndex, state.totals);
    return { collections, objects: this.#objects, changes: this.#changes, removed: this.#removed };
  }

  #fault(fault: Fault): void {
    this.#list.add(fault);
  }

  async #checkObjects(collections: readonly Collection[], expected: number): Promise<void> {
    const byPlace = placesOf(collections);
    let strays = 0;
    for (const [rowKey, value] of rows(this.#index, 'objects')) {
      const place = new DataView(rowKey.buffer, rowKey.byteOffset).getUint32(0);
      const key = rowKey.subarray(4);
      const name = keyString(key);
      const collection = byPlace.get(place)?.find(({ layout }) => layout.idOf(name) === place);
      let onode: Onode | undefined;
      let why = '';
      try {
        onode = Onode.decode(collection ?? newCollection('', place), name, place, 0, value);
        why = this.#impossible(onode);
      } catch (error) {
        why = errorText(error);
      }
      if (collection === undefined) {
        strays++;
        if (onode !== undefined && why === '') this.#take(onode);
        continue;
      }
      if (onode === undefined || why !== '') {
        const text = `object ${keyText(key)} of ${collection.cid}: its entry in the index is damaged: ${why}`;
        this.#fault({ kind: 'object', text, mend: 'removed', cid: collection.cid, key: key.slice() });
        this.#changes.push({ table: 'objects', key: objectKey(place, name), value: undefined });
        this.#removed.push({ collection, key: key.slice() });
        continue;
      }
      this.#counted.set(collection, (this.#counted.get(collection) ?? 0) + 1);
      this.#storedBytes += onode.storedBytes;
      this.#take(onode);
      this.#objects++;
      if (this.#objects % 1000 === 0) await this.#progress(this.#objects, expected);
    }
    if (strays > 0)
      this.#fault({
        kind: 'stray-object',
        text: `${plural(strays, 'object')} in no collection: nothing can be read of them, their space stays taken`,
        mend: 'none',
      });
  }

  /** Why an object's row cannot be true; '' when it can. */
  #impossible(onode: Onode): string {
    let why = '';
    const blocks = Math.ceil(onode.size / blockBytes);
    const live = new Map<number, number>();
    for (const blob of onode.table.blobs())
      for (const place of blob.places)
        if (place >= this.#used.totalBlocks) why = `block ${place} is behind the end of the disk`;
    onode.table.forEachRun(0, Number.MAX_SAFE_INTEGER, (run) => {
      if (run.blob !== undefined) {
        const { key, first, blocks } = run.blob;
        live.set(key, (live.get(key) ?? 0) + run.count);
        if (run.logical < first || run.logical + run.count > first + blocks) why = `block ${key} has two uses in it`;
      } else if (run.physical + run.count > this.#used.totalBlocks)
        why = `block ${run.physical + run.count - 1} is behind the end of the disk`;
      if (run.logical + run.count > blocks) why = `it has data behind its end at ${onode.size}`;
    });
    for (let at = 0; at < onode.gaps.length; at += 2) {
      const [from, end] = [onode.gaps[at]!, onode.gaps[at + 1]!];
      let there = 0;
      onode.table.forEachRun(Math.floor(from / blockBytes), Math.ceil(end / blockBytes), ({ count }) => {
        there += count;
      });
      if (end > onode.size || there !== Math.ceil(end / blockBytes) - Math.floor(from / blockBytes))
        why = `it has no data at ${from} that could be unwritten`;
    }
    for (const blob of onode.table.blobs())
      if (live.get(blob.key) !== blob.live) why = `block ${blob.key} has two uses in it`;
    return why;
  }

  #take(onode: Onode): void {
    onode.table.forEachRun(0, Number.MAX_SAFE_INTEGER, ({ physical, count, share, blob }) => {
      if (blob === undefined) this.#used.add({ start: physical, count }, share);
    });
    for (const blob of onode.table.blobs()) {
      for (const run of blob.runs()) this.#used.add(run, blob.share);
      const { pool } = onode.collection;
      let sums = this.#compressed.get(pool);
      if (sums === undefined) {
        sums = { ...nothingCompressed };
        this.#compressed.set(pool, sums);
      }
      sums.original += blob.live * blockBytes;
      if (blob.share !== 0) {
        if (this.#countedBlobs.has(blob.key)) continue;
        this.#countedBlobs.add(blob.key);
      }
      sums.stored += blob.length;
      sums.allocated += blob.places.length * blockBytes;
    }
    if (onode.omapId === 0) return;
    if (this.#omaps.has(onode.omapId))
      this.#fault({
        kind: 'omap',
        text: `object ${keyText(Buffer.from(onode.name, 'latin1'))} of ${onode.collection.cid} has the same key-value rows as another one`,
        mend: 'none',
        cid: onode.collection.cid,
        key: Buffer.from(onode.name, 'latin1'),
      });
    this.#omaps.add(onode.omapId);
  }

  /**
   * Goes through the objects again, for those that have a block which is used twice. Whose it is cannot be told, and need not be: they share it, so that none of them writes or gives up
   * what the other has. Its content fits the checksum of one of them; of the others it is damaged, which the next read finds.
   */
  #settleTwice(collections: readonly Collection[], nextShare: number): void {
    const byPlace = placesOf(collections);
    const twice = countUses(this.#used.twice.flatMap(({ start, count }) => [start, count]));
    const isTwice = (block: number): boolean =>
      twice.some(({ start, count }) => block >= start && block < start + count);
    const share = Math.max(nextShare, this.#newestShare + 1);
    const uses: number[] = [];
    const writer = new RecordWriter();
    for (const [rowKey, value] of rows(this.#index, 'objects')) {
      const place = new DataView(rowKey.buffer, rowKey.byteOffset).getUint32(0);
      const key = rowKey.slice(4);
      const name = keyString(key);
      const collection = byPlace.get(place)?.find(({ layout }) => layout.idOf(name) === place);
      const isRemoved = this.#removed.some((one) => one.collection === collection && keyString(one.key) === name);
      if (collection === undefined || isRemoved) continue;
      const onode = Onode.decode(collection, name, place, 0, value);
      const blocks: { logical: number; physical: number }[] = [];
      onode.table.forEachRun(0, Number.MAX_SAFE_INTEGER, (run) => {
        for (let i = 0; i < run.count; i++)
          if (run.blob === undefined && run.share === 0 && isTwice(run.physical + i))
            blocks.push({ logical: run.logical + i, physical: run.physical + i });
      });
      const blobs = [...onode.table.blobs()].filter((blob) => blob.share === 0 && blob.places.some(isTwice));
      const count = blocks.length + blobs.length;
      if (count === 0) continue;
      this.#fault({
        kind: 'block-twice',
        text: `object ${keyText(key)} of ${collection.cid}: ${plural(count, 'block')} of it ${count === 1 ? 'is' : 'are'} another object’s, too`,
        mend: this.#journalIsEmpty ? 'rebuilt' : 'none',
        cid: collection.cid,
        key,
      });
      if (!this.#journalIsEmpty) continue;
      for (const { logical, physical } of blocks) {
        uses.push(physical, 1);
        onode.table.set(logical, physical, onode.table.crc(logical), share);
      }
      // A blob is shared as a whole.
      for (const blob of blobs) {
        for (const place of blob.places) uses.push(place, 1);
        blob.share = share;
        if (!this.#countedBlobs.has(blob.key)) {
          this.#countedBlobs.add(blob.key);
          continue;
        }
        const sums = this.#compressed.get(collection.pool)!;
        sums.stored -= blob.length;
        sums.allocated -= blob.places.length * blockBytes;
      }
      this.#changes.push({ table: 'objects', key: objectKey(place, name), value: onode.encode(writer).slice() });
    }
    if (uses.length === 0) return;
    this.#newestShare = share;
    this.#madeShare = countUses(uses);
  }

  #checkShares(wanted: Map<number, CountedRun[]>): void {
    let wrong = 0;
    let unused = 0;
    for (const [key, value] of rows(this.#index, 'shares')) {
      const id = numberOf(key);
      let found: readonly CountedRun[] | undefined;
      try {
        found = Share.decode(id, 0, new ByteReader(value)).runs;
      } catch {
        // Counted as wrong below.
      }
      const runs = wanted.get(id);
      wanted.delete(id);
      if (runs === undefined) {
        unused++;
        this.#changes.push({ table: 'shares', key: number(id), value: undefined });
      } else if (found === undefined || !sameRuns(found, runs)) {
        wrong++;
        this.#writeShare(id, runs);
      }
    }
    const missing = wanted.size;
    for (const [id, runs] of wanted) this.#writeShare(id, runs);
    const tell = (count: number, text: string): void => {
      if (count > 0)
        this.#fault({
          kind: 'share',
          text: `${plural(count, 'count')} of blocks that clones share ${text}`,
          mend: 'rebuilt',
        });
    };
    tell(wrong, 'is wrong: other objects use them than it says');
    tell(missing, 'is not there');
    tell(unused, 'is of blocks that no object uses');
  }

  #writeShare(id: number, runs: CountedRun[]): void {
    const writer = new ByteWriter(64);
    new Share(id, 0, runs).encode(writer);
    this.#changes.push({ table: 'shares', key: number(id), value: writer.finish() });
  }

  #checkSpace(): void {
    let free = 0;
    let lost = 0;
    const left = new Set(this.#used.chunks());
    const compare = (index: number, row: Uint8Array | undefined): void => {
      const wanted = this.#used.chunk(index);
      let differs = row !== undefined && row.length !== mapChunkBlocks / 8;
      for (let at = 0; at < mapChunkBlocks / 8; at++) {
        const have = row?.[at] ?? 0;
        // Block 0 is nobody's, and marked so that it stays so.
        const mark = index === 0 && at === 0 ? 1 : 0;
        const want = (wanted?.[at] ?? 0) | mark;
        if ((have | mark) === want) continue;
        differs = true;
        free += ones(want & ~have & ~mark);
        lost += ones(have & ~want);
      }
      if (!differs) return;
      const value = wanted?.slice();
      if (value !== undefined && index === 0) value[0]! |= 1;
      this.#changes.push({ table: 'space', key: number(index), value });
    };
    for (const [key, value] of rows(this.#index, 'space')) {
      left.delete(numberOf(key));
      compare(numberOf(key), value);
    }
    for (const index of left) compare(index, undefined);
    if (free > 0)
      this.#fault({
        kind: 'block-free',
        text: `${plural(free, 'block')} of objects count${free === 1 ? 's' : ''} as free: the next writes would overwrite ${free === 1 ? 'it' : 'them'}`,
        mend: 'rebuilt',
      });
    if (lost > 0)
      this.#fault({
        kind: 'block-lost',
        text: `${plural(lost, 'block')} (${lost * blockBytes} bytes) count${lost === 1 ? 's' : ''} as used and no object has ${lost === 1 ? 'it' : 'them'}`,
        mend: 'rebuilt',
      });
  }

  async #checkOmaps(): Promise<void> {
    const strict = new TextDecoder('utf-8', { fatal: true });
    let strayOf = 0;
    let strays = 0;
    let count = 0;
    for (const [key] of rows(this.#index, 'omap')) {
      if (++count % 4000 === 0) await this.#progress(this.#objects, this.#objects);
      const id = numberOf(key);
      if (!this.#omaps.has(id)) {
        strays++;
        if (id === strayOf) continue;
        strayOf = id;
        this.#changes.push({ table: 'omap', from: number(id), to: number(id + 1) });
        continue;
      }
      try {
        strict.decode(key.subarray(8));
      } catch {
        this.#fault({
          kind: 'omap',
          text: `a key of key-value rows ${id} is not text: ${keyText(key.subarray(8))}`,
          mend: 'none',
        });
      }
    }
    if (strays > 0)
      this.#fault({ kind: 'omap', text: `${plural(strays, 'key-value row')} of no object`, mend: 'removed' });
  }

  #checkCompressed(): void {
    let noted: ReadonlyMap<number, CompressedSums>;
    try {
      noted = readCompressed(this.#index);
    } catch (error) {
      this.#fault({ kind: 'sums', text: `what is compressed cannot be read: ${errorText(error)}`, mend: 'none' });
      return;
    }
    for (const pool of new Set([...noted.keys(), ...this.#compressed.keys()])) {
      const right = this.#compressed.get(pool) ?? nothingCompressed;
      const found = noted.get(pool) ?? nothingCompressed;
      const wrong = (['stored', 'allocated', 'original'] as const).filter((name) => right[name] !== found[name]);
      if (wrong.length === 0) continue;
      const texts = wrong.map((name) => `${name} is ${found[name]}, should be ${right[name]}`);
      const text = `sums of what is compressed in pool ${pool} are wrong: ${texts.join(', ')}`;
      this.#fault({ kind: 'sums', text, mend: 'rebuilt' });
      this.#changes.push(compressedRow(pool, right));
    }
  }

  #checkSums(collections: readonly Collection[], appliedIndex: number, totals: Totals): void {
    for (const collection of collections) {
      const count = this.#counted.get(collection) ?? 0;
      if (count === collection.objects) continue;
      this.#fault({
        kind: 'sums',
        text: `collection ${collection.cid} should hold ${plural(collection.objects, 'object')} and holds ${count}`,
        mend: 'rebuilt',
        cid: collection.cid,
      });
      collection.objects = count;
      this.#changes.push(collectionRow(collection.cid, collection));
    }
    this.#checkCompressed();
    const right: Totals = { ...totals, objects: this.#objects, storedBytes: this.#storedBytes };
    right.nextShare = Math.max(right.nextShare, this.#newestShare + 1);
    for (const id of this.#omaps) right.nextOmap = Math.max(right.nextOmap, id + 1);
    for (const place of placesOf(collections).keys()) right.nextCollection = Math.max(right.nextCollection, place + 1);
    const wrong = (Object.keys(right) as (keyof Totals)[]).filter((name) => right[name] !== totals[name]);
    if (wrong.length === 0) return;
    this.#fault({
      kind: 'sums',
      text: `sums of the store are wrong: ${wrong.map((name) => `${name} is ${totals[name]}, should be ${right[name]}`).join(', ')}`,
      mend: 'rebuilt',
    });
    const plain = collections.every(({ layout }) => layout.simple);
    this.#changes.push({ table: 'meta', key: stateKey, value: encodeState(appliedIndex, right, plain) });
  }
}

/** The collections that have objects under a number of the index. */
function placesOf(collections: readonly Collection[]): Map<number, Collection[]> {
  const out = new Map<number, Collection[]>();
  for (const collection of collections)
    for (const { id } of collection.layout.between('')) out.set(id, [...(out.get(id) ?? []), collection]);
  return out;
}

/** Whether a share's row says what was counted, whose runs are as long as they can be. */
function sameRuns(row: readonly CountedRun[], b: readonly CountedRun[]): boolean {
  const a: CountedRun[] = [];
  for (const run of row) {
    const last = a.at(-1);
    if (last !== undefined && last.start + last.count === run.start && last.refs === run.refs) last.count += run.count;
    else a.push({ ...run });
  }
  return (
    a.length === b.length &&
    a.every((run, i) => run.start === b[i]!.start && run.count === b[i]!.count && run.refs === b[i]!.refs)
  );
}

function ones(byte: number): number {
  let count = 0;
  for (let rest = byte; rest !== 0; rest &= rest - 1) count++;
  return count;
}
