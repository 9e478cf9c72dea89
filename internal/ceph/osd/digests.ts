import { Crc32cPieces, crcBlockBytes, knownBlockCrcs, rawCrc32c, wholeCrc32c } from '../../base/crc32c.ts';
import type { TransactionOp } from '../blockstore/api.ts';

/** What CRC-32C begins with here, and so the digest of nothing. */
export const emptyDigest = 0xffffffff;

/** Checksums of an object's data and of its omap, where they are known (`object_info_t::data_digest`, `omap_digest`). */
export interface Digests {
  dataDigest: number | undefined;
  omapDigest: number | undefined;
}

export const unknownDigests: Digests = { dataDigest: undefined, omapDigest: undefined };
export const emptyDigests: Digests = { dataDigest: emptyDigest, omapDigest: emptyDigest };

const blocks = new Crc32cPieces(crcBlockBytes);

/** CRC-32C of bytes behind what `crc` is of. What the network has summed already is not summed again. */
export function extendDigest(crc: number, pieces: readonly Uint8Array[]): number {
  for (const piece of pieces) {
    const known = knownBlockCrcs(piece);
    if (known !== undefined) for (const each of known) crc = blocks.join(crc, each);
    else crc = crc === emptyDigest ? wholeCrc32c(piece) : rawCrc32c(crc, piece);
  }
  return crc;
}

/**
 * The digests of the object at `key` once store operations have been done to it, which was `before` of `size` bytes: known where all of it is written, or
 * something is put behind a part that is known. `sourceOf`: those of an object that it becomes a copy of.
 */
export function digestsAfter(
  before: Digests,
  size: number,
  ops: readonly TransactionOp[],
  key: Uint8Array,
  sourceOf: (key: Uint8Array) => Digests & { size: number },
): Digests {
  let { dataDigest, omapDigest } = before;
  for (const op of ops) {
    if (op.op === 'clone') {
      if (Buffer.compare(op.to, key) === 0) ({ dataDigest, omapDigest, size } = sourceOf(op.from));
      continue;
    }
    if (!('key' in op) || (op.key !== key && Buffer.compare(op.key, key) !== 0)) continue;
    switch (op.op) {
      case 'write': {
        let length = 0;
        for (const piece of op.data) length += piece.length;
        if (op.offset === 0 && length >= size) dataDigest = extendDigest(emptyDigest, op.data);
        else if (op.offset === size && dataDigest !== undefined) dataDigest = extendDigest(dataDigest, op.data);
        else dataDigest = undefined;
        size = Math.max(size, op.offset + length);
        break;
      }
      case 'zero':
        dataDigest = undefined;
        size = Math.max(size, op.offset + op.length);
        break;
      case 'truncate':
        if (op.size !== size) dataDigest = op.size === 0 ? emptyDigest : undefined;
        ({ size } = op);
        break;
      case 'remove':
        ({ dataDigest, omapDigest } = emptyDigests);
        size = 0;
        break;
      case 'omap-set':
      case 'omap-remove':
      case 'omap-remove-range':
      case 'omap-set-header':
        omapDigest = undefined;
        break;
      case 'omap-clear':
        omapDigest = emptyDigest;
        break;
    }
  }
  return { dataDigest, omapDigest };
}
