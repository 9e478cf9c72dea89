import { type MOSDOpValue, OSD_FLAG_ENFORCE_SNAPC } from '../wire/messages/osd_client.ts';
import type { SnapContext } from '../wire/types.ts';
import { effectiveSnapContext } from './ops/snap-ops.ts';
import type { PgCore } from './pg-core.ts';

/** The snapshots for which a write keeps what it changes. A client that has not heard of a removed one must not make clones for it any more. */
export function requestSnapContext(core: PgCore, message: MOSDOpValue): SnapContext {
  const { map, id } = core;
  const given = effectiveSnapContext(
    { seq: message.snapSeq, snaps: message.snaps },
    map.pool(id.pool)?.poolSnaps,
    (message.flags & OSD_FLAG_ENFORCE_SNAPC) !== 0,
  );
  if (!given.snaps.some((snap) => map.isSnapRemoved(id.pool, snap))) return given;
  return { seq: given.seq, snaps: given.snaps.filter((snap) => !map.isSnapRemoved(id.pool, snap)) };
}
