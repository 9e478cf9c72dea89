import type { Disk } from '../../base/disk.ts';
import { assert } from '../../base/errors.ts';
import { blockBytes } from './api.ts';
import type { DataFile } from './datafile.ts';
import { ChecksumError } from './errors.ts';
import type { BlockImage, BlockSource } from './image.ts';
import type { Onode } from './onode.ts';
import { keyBytes } from './order.ts';
import { blockCrc, type Merge, mergeBlock, sourceCrc } from './translate.ts';

/** A read that met changes of the object this often gives up: its caller does not order its requests. */
const maxAttempts = 16;

export interface ReadContext {
  disk: Disk;
  data: DataFile;
  /** Of the store, for messages. */
  name: string;
  find: () => Onode | undefined;
  damaged: (error: ChecksumError) => void;
}

/** Bytes of an object as of some moment between call and return; checksums verified. */
export async function readObject(
  context: ReadContext,
  offset: number,
  length: number,
): Promise<Uint8Array | undefined> {
  for (let attempt = 1; ; attempt++) {
    const onode = context.find();
    if (onode === undefined) return undefined;
    const end = Math.min(offset + length, onode.size);
    if (end <= offset) return new Uint8Array(0);
    const { version } = onode;
    const first = Math.floor(offset / blockBytes);
    const bytes = context.disk.alignedBuffer((Math.ceil(end / blockBytes) - first) * blockBytes);
    const bad = await readBlocks(context, onode, first, bytes);
    if (bad === undefined) return bytes.subarray(offset - first * blockBytes, end - first * blockBytes);
    // The blocks may have got other content or another owner while they were read.
    const now = context.find();
    const changed = now !== onode || now.version !== version;
    if (changed && attempt < maxAttempts) continue;
    const error = new ChecksumError(
      context.name,
      onode.collection.cid,
      keyBytes(onode.name),
      bad.block * blockBytes,
      `block ${bad.physical}`,
    );
    context.damaged(error);
    throw error;
  }
}

/** Fills `into` with blocks from `first` on; returns the first one with a wrong checksum. */
async function readBlocks(
  { data }: ReadContext,
  onode: Onode,
  first: number,
  into: Uint8Array,
): Promise<{ block: number; physical: number } | undefined> {
  const reads: Promise<void>[] = [];
  const crcs = new Uint32Array(into.length / blockBytes);
  const places = new Uint32Array(crcs.length);
  onode.table.forEachRun(first, first + crcs.length, (run) => {
    const start = run.logical - first;
    let from = 0;
    for (let i = 0; i <= run.count; i++) {
      const image = i < run.count ? data.image(run.physical + i) : undefined;
      if (i < run.count) {
        crcs[start + i] = onode.table.crc(run.logical + i);
        places[start + i] = run.physical + i;
        if (image === undefined) continue;
      }
      // Blocks [from, i) of the run are in the file.
      if (i > from) {
        const part = into.subarray((start + from) * blockBytes, (start + i) * blockBytes);
        reads.push(data.read({ start: run.physical + from, count: i - from }, part));
      }
      from = i + 1;
      if (image === undefined) continue;
      const at = start + i;
      if (image.bytes !== undefined) into.set(image.bytes, at * blockBytes);
      else
        reads.push(
          whenReady(image).then((bytes) => {
            into.set(bytes, at * blockBytes);
            crcs[at] = image.crc;
          }),
        );
    }
  });
  await Promise.all(reads);
  for (let n = 0; n < crcs.length; n++) {
    const block = crcs.length === 1 ? into : into.subarray(n * blockBytes, (n + 1) * blockBytes);
    if (places[n] === 0) block.fill(0);
    else if (blockCrc(block) !== crcs[n]) return { block: first + n, physical: places[n]! };
  }
  return undefined;
}

async function whenReady(image: BlockImage): Promise<Uint8Array> {
  await image.ready;
  assert(image.bytes !== undefined, `block ${image.physical} is ready and has no content`);
  return image.bytes;
}

/** Makes the blocks that need bytes of older ones which had to be read. */
export async function finishMerges(
  merges: readonly Merge[],
  data: DataFile,
  damaged: (error: ChecksumError) => void,
): Promise<void> {
  await Promise.all(
    merges.map(async (merge) => {
      const contents = new Map<BlockSource, Uint8Array>();
      for (const source of [merge.base, 'source' in merge.patch ? merge.patch.source : undefined])
        if (source !== undefined) contents.set(source, await sourceBytes(source, data, damaged));
      mergeBlock(merge, (source) => contents.get(source)!);
      merge.settle();
    }),
  );
}

async function sourceBytes(
  source: BlockSource,
  data: DataFile,
  damaged: (error: ChecksumError) => void,
): Promise<Uint8Array> {
  if (source.image !== undefined) return whenReady(source.image);
  const bytes = data.blockBuffer();
  await data.read({ start: source.physical, count: 1 }, bytes);
  if (blockCrc(bytes) !== sourceCrc(source)) {
    const where = `block ${source.physical}, while a part of it was overwritten`;
    damaged(new ChecksumError('', source.cid, keyBytes(source.name), source.block * blockBytes, where));
  }
  return bytes;
}
