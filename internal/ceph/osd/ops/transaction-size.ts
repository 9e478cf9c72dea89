import { blockBytes, type ObjectStore, type TransactionOp } from '../../blockstore/api.ts';
import { EFBIG, EMSGSIZE, ENAMETOOLONG, ENOSPC } from './errno.ts';
import { maxMetadataBytes, maxObjectBytes, maxStoreNameBytes, maxWriteBytes } from './limits.ts';

/**
 * Whether what the ops of one request come to is more than a store takes in one transaction, than one message carries to the replicas, or than there is room for: 0, or the errno that
 * refuses it. In an erasure-coded pool the data is divided by so many `shards`. A few bytes of input can ask for much: WRITESAME, a truncation that a write brings along, thousands of writes of a byte.
 */
export function refusedChanges(store: ObjectStore, ops: readonly TransactionOp[], shards = 1): number {
  let metadata = 0;
  let data = 0;
  let room = 0;
  let longest = 0;
  const name = (text: string): void => {
    // Text of the store has a character a byte, or is ASCII.
    longest = Math.max(longest, text.length);
    metadata += text.length * 3 + 8;
  };
  for (const op of ops)
    switch (op.op) {
      case 'write': {
        let length = 0;
        for (const piece of op.data) length += piece.length;
        if (op.offset + length > maxObjectBytes) return EFBIG;
        data += length;
        room += length + 2 * blockBytes;
        // The store logs whole blocks of small writes.
        metadata += length > smallBytes ? 2 * blockBytes : length + 2 * blockBytes;
        break;
      }
      case 'truncate':
        if (op.size > maxObjectBytes) return EFBIG;
        break;
      case 'set-xattrs':
      case 'omap-set':
        for (const [key, value] of op.op === 'set-xattrs' ? op.xattrs : op.entries) {
          name(key);
          metadata += value.length;
        }
        break;
      case 'omap-remove':
        for (const key of op.keys) name(key);
        break;
      case 'omap-remove-range':
        name(op.first);
        name(op.last);
        break;
      case 'omap-set-header':
        metadata += op.header.length;
        break;
      default:
        break;
    }
  if (longest > maxStoreNameBytes) return ENAMETOOLONG;
  if (metadata > maxMetadataBytes || data > maxWriteBytes) return EMSGSIZE;
  return data > 0 && !store.hasRoom(Math.ceil(room / shards)) ? ENOSPC : 0;
}

/** Longer writes go to the data file at once. */
const smallBytes = 32 * 1024;
