import { OSD_FLAG_BALANCE_READS, OSD_FLAG_LOCALIZE_READS, OSD_FLAG_RWORDERED } from '../wire/messages/osd_client.ts';
import { OP } from '../wire/messages/osd_op.ts';
import { compareHObject, type HObject } from '../wire/types.ts';
import type { OpRequest } from './op-request.ts';
import type { PgCore } from './pg-core.ts';

/** What only the primary knows: who watches, and what it orders. */
const primaryOnly: ReadonlySet<number> = new Set([OP.NOTIFY, OP.NOTIFY_ACK, OP.WATCH, OP.LIST_WATCHERS]);

/** Whether the client leaves it to us which copy it reads (BALANCE_READS, LOCALIZE_READS). */
export function anyCopy(request: OpRequest): boolean {
  const { flags } = request.message;
  return (flags & (OSD_FLAG_BALANCE_READS | OSD_FLAG_LOCALIZE_READS)) !== 0 && !request.kinds.mayWrite;
}

/**
 * Whether this replica may answer the request at all (`PrimaryLogPG::do_op`); else the client is to ask the primary. An erasure-coded PG has no copy that could be
 * read alone.
 */
export function replicaServes(core: PgCore, { message, kinds }: OpRequest): boolean {
  if (core.erasure || kinds.pgOp || (message.flags & OSD_FLAG_RWORDERED) !== 0) return false;
  return core.lease.readable && !message.ops.some(({ op }) => primaryOnly.has(op));
}

/** Whether this replica may show the object: it has it, and no write to it that could still be lost (`PeeringState::can_serve_replica_read`). */
export function replicaShows(core: PgCore, oid: HObject): boolean {
  const { meta, info, unstable } = core;
  return !meta.missing.has(oid) && !unstable.has(oid) && compareHObject(oid, info.lastBackfill) <= 0;
}
