import type { ClassContext } from './context.ts';
import { decodeStored, entriesWith, readKey, writeKey } from './omap-values.ts';
import {
  decodeParent,
  decodeSnapshot,
  encodeParent,
  encodeSnapshot,
  noParent,
  parentExists,
  type Snapshot,
  snapshotKey,
} from './rbd-types.ts';

const prefix = 'snapshot_';

/** Records of all snapshots of an image, ascending by id. */
export function* snapshotsOf(ctx: ClassContext): Generator<Snapshot> {
  for (const [, value] of entriesWith(ctx, prefix)) yield decodeStored(value, decodeSnapshot);
}

export function* snapshotIdsOf(ctx: ClassContext): Generator<bigint> {
  for (const [key] of entriesWith(ctx, prefix)) yield BigInt(`0x${key.slice(prefix.length)}`);
}

/**
 * Stores a record. A parent inside it (as old releases kept it) moves to the header's `parent` key first; the record then holds only how much of the
 * parent the snapshot shows.
 */
export function writeSnapshot(ctx: ClassContext, snap: Snapshot): void {
  let record = snap;
  if (parentExists(snap.parent)) {
    const stored = readKey(ctx, 'parent', decodeParent);
    if (stored === undefined || !parentExists(stored))
      writeKey(ctx, 'parent', (e) => encodeParent(e, { ...snap.parent, overlap: undefined }));
    record = { ...snap, parentOverlap: snap.parent.overlap, parent: noParent };
  }
  writeKey(ctx, snapshotKey(record.id), (e) => encodeSnapshot(e, record));
}
