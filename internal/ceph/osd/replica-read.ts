import { OSD_FLAG_BALANCE_READS, OSD_FLAG_LOCALIZE_READS, OSD_FLAG_RWORDERED } from '../wire/messages/osd_client.ts';
import { OP } from '../wire/messages/osd_op.ts';
import { compareHObject, type HObject } from '../wire/types.ts';
import type { OpRequest } from './op-request.ts';
import type { PgCore } from './pg-core.ts';

/** Reads that clients left to any copy, at this OSD as a replica, since it started; the names are upstream's counters. */
export interface ReplicaReadCounts {
  /** `replica_read`. */
  asked: number;
  /** `replica_read_served`. */
  served: number;
  /** `replica_read_redirect_missing`: the object is not here, or the lease does not hold. */
  missing: number;
  /** `replica_read_redirect_conflict`: it has a write that may not be on all disks yet. */
  conflict: number;
}

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
  if (message.ops.some(({ op }) => primaryOnly.has(op))) return false;
  const counts = core.env.replicaReads;
  counts.asked++;
  if (!core.lease.readable) counts.missing++;
  return core.lease.readable;
}

/** Whether this replica may show the object: it has it, and no write to it that could still be lost (`PeeringState::can_serve_replica_read`). */
export function replicaShows(core: PgCore, oid: HObject): boolean {
  const { meta, info, unstable, env } = core;
  if (meta.missing.has(oid) || compareHObject(oid, info.lastBackfill) > 0) env.replicaReads.missing++;
  else if (unstable.has(oid)) env.replicaReads.conflict++;
  else return true;
  return false;
}
