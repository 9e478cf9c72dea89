import type { Disk } from '../../base/disk.ts';
import { assert } from '../../base/errors.ts';
import { blockBytes } from './api.ts';
import type { DataFile } from './datafile.ts';
import { ChecksumError } from './errors.ts';
import type { BlockImage, BlockSource } from './image.ts';
import type { Onode } from './onode.ts';
import { keyBytes } from './order.ts';
import { blockCrc, type Merge, mergeBlock } from './translate.ts';

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
  const checks: { block: number; physical: number; count: number; crcs: Uint32Array }[] = [];
  onode.table.forEachRun(first, first + into.length / blockBytes, (run) => {
    let from = 0;
    for (let i = 0; i <= run.count; i++) {
      const image = i < run.count ? data.image(run.physical + i) : undefined;
      if (i < run.count && image === undefined) continue;
      // Blocks [from, i) of the run are in the file.
      if (i > from) {
        const block = run.logical + from;
        const start = (block - first) * blockBytes;
        const count = i - from;
        const crcs = new Uint32Array(count);
        for (let n = 0; n < count; n++) crcs[n] = onode.table.crc(block + n);
        checks.push({ block, physical: run.physical + from, count, crcs });
        reads.push(data.read({ start: run.physical + from, count }, into.subarray(start, start + count * blockBytes)));
      }
      from = i + 1;
      if (image !== undefined) {
        const at = (run.logical + i - first) * blockBytes;
        if (image.bytes !== undefined) into.set(image.bytes, at);
        else reads.push(whenReady(image).then((bytes) => into.set(bytes, at)));
      }
    }
  });
  await Promise.all(reads);
  for (const { block, physical, count, crcs } of checks)
    for (let n = 0; n < count; n++) {
      const at = (block + n - first) * blockBytes;
      if (blockCrc(into.subarray(at, at + blockBytes)) !== crcs[n]) return { block: block + n, physical: physical + n };
    }
  return undefined;
}

async function whenReady(image: BlockImage): Promise<Uint8Array> {
  await image.ready;
  assert(image.bytes !== undefined, `block ${image.physical} is ready and has no content`);
  return image.bytes;
}

/**
 * Makes the blocks that need bytes of older ones. When an older one is damaged the new one must not hide it: it gets a checksum that does not
 * match, so that the next read finds the damage and the object is repaired from a replica.
 */
export async function finishMerges(
  merges: readonly Merge[],
  data: DataFile,
  damaged: (error: ChecksumError) => void,
): Promise<void> {
  await Promise.all(
    merges.map(async (merge) => {
      const sources = [merge.base, 'source' in merge.patch ? merge.patch.source : undefined];
      const contents = new Map<BlockSource, Uint8Array>();
      let poison = false;
      for (const source of sources) {
        if (source === undefined) continue;
        if (source.image !== undefined) {
          contents.set(source, await whenReady(source.image));
          if (blockCrc(source.image.bytes!) !== source.image.crc) poison = true;
          continue;
        }
        const bytes = data.blockBuffer();
        await data.read({ start: source.physical, count: 1 }, bytes);
        if (blockCrc(bytes) !== source.crc) {
          poison = true;
          damaged(
            new ChecksumError(
              '',
              source.cid,
              keyBytes(source.name),
              source.block * blockBytes,
              `block ${source.physical}`,
            ),
          );
        }
        contents.set(source, bytes);
      }
      const bytes = mergeBlock(merge, (source) => contents.get(source)!);
      const crc = blockCrc(bytes);
      merge.image.resolve(bytes, poison ? ~crc >>> 0 : crc);
      merge.settle();
    }),
  );
}
