import { OSD_FLAG_FULL_FORCE, OSD_FLAG_FULL_TRY, OSD_FLAG_PARALLELEXEC } from '../wire/messages/osd_client.ts';
import { PG_ACTIVE } from '../wire/messages/osd_mgr.ts';
import { OP, WATCH_OP_PING } from '../wire/messages/osd_op.ts';
import { ENTITY_MDS, type HObject, SNAP_HEAD } from '../wire/types.ts';
import { maxObjectKeyBytes } from './object-key.ts';
import type { OpRequest } from './op-request.ts';
import { anyCopy, replicaServes } from './replica-read.ts';
import { EAGAIN, EBLOCKLISTED, EDQUOT, EINVAL, EIO, EMSGSIZE, ENAMETOOLONG, ENOSPC, EPERM } from './ops/errno.ts';
import { maxNameBytes, maxNamespaceBytes, maxWriteBytes } from './ops/limits.ts';
import type { PgCore } from './pg-core.ts';

/**
 * What becomes of a request before its object is looked at: a negative errno answers it, `drop` leaves it to the client to send it again, `wait` holds it
 * until the PG serves and its read lease holds, `pg` is about the PG itself, an object goes on.
 */
export type Verdict = number | 'drop' | 'wait' | 'pg' | HObject;

function byteLength(text: string): number {
  return Buffer.byteLength(text);
}

/** Requests that only give space back pass a full cluster. */
function onlyFrees(request: OpRequest): boolean {
  return request.message.ops.every(
    (op) =>
      op.op === OP.DELETE ||
      op.op === OP.TRUNCATE ||
      op.op === OP.ZERO ||
      (op.op === OP.WATCH && op.watchOp !== WATCH_OP_PING),
  );
}

/** What becomes of a write when the cluster, its pool or our disk is full; undefined: it goes on. Asked once it is known not to have been carried out before. */
export function fullVerdict(core: PgCore, request: OpRequest, diskFull: boolean): number | 'drop' | undefined {
  const { flags } = request.message;
  const pool = core.map.pool(core.id.pool);
  if (pool === undefined) return 'drop';
  // The MDS decides for itself what it writes while a pool is full.
  const forced = (flags & OSD_FLAG_FULL_FORCE) !== 0 || request.client.name.type === ENTITY_MDS;
  if (!(diskFull || (pool.full && !forced)) || onlyFrees(request)) return undefined;
  // Without FULL_TRY the client holds its writes back as soon as its map says full, and sends them again when it no longer does.
  if ((flags & OSD_FLAG_FULL_TRY) === 0) return 'drop';
  return pool.fullQuota ? EDQUOT : ENOSPC;
}

/** Checks in the order of `PrimaryLogPG::do_op`. */
export function admit(core: PgCore, request: OpRequest): Verdict {
  const { message, kinds, client } = request;
  const { flags, locator, oid } = message;
  if ((flags & OSD_FLAG_PARALLELEXEC) !== 0) return EINVAL;
  const pool = core.map.pool(core.id.pool);
  if (!client.open || pool === undefined) return 'drop';
  const { samePrimarySince, lastEpochSplit } = core.info.history;
  if (message.epoch < Math.max(pool.lastForceOpResend, samePrimarySince, lastEpochSplit)) return 'drop';
  if (!core.isPrimary && !(core.isActing && anyCopy(request))) return 'drop';
  if (pool.eio) return EIO;
  if (!core.isPrimary) {
    if (!replicaServes(core, request)) return EAGAIN;
  } else if (!core.hasState(PG_ACTIVE)) return 'wait';
  else if (!core.lease.readable) {
    core.lease.lag();
    return 'wait';
  }
  const { nspace } = locator;
  if (!client.allowed(pool, nspace, oid, kinds)) return EPERM;
  if (kinds.pgOp) return 'pg';
  // Misdirected: its object is of another PG.
  if (core.map.pgOfHash(core.id.pool, message.hash).seed !== core.id.seed) return 'drop';
  const nameBytes = byteLength(oid);
  const keyBytes = locator.key === '' ? 0 : byteLength(locator.key);
  const nspaceBytes = nspace === '' ? 0 : byteLength(nspace);
  if (nameBytes > maxNameBytes || keyBytes > maxNameBytes || nspaceBytes > maxNamespaceBytes) return ENAMETOOLONG;
  if (nameBytes + keyBytes + nspaceBytes > maxObjectKeyBytes - 64) return ENAMETOOLONG;
  if (oid === '') return EINVAL;
  if (core.map.isBlocklisted(client.requester.addr)) return EBLOCKLISTED;
  if (kinds.mayWrite) {
    if (message.snapId !== SNAP_HEAD) return EINVAL;
    let bytes = 0;
    for (const op of message.ops) bytes += op.input.length;
    const { maxWriteSize } = core.env.options();
    if (bytes > Math.min(maxWriteBytes, maxWriteSize * 2 ** 20 || maxWriteBytes)) return EMSGSIZE;
  }
  return {
    key: locator.key === oid ? '' : locator.key,
    name: oid,
    snap: SNAP_HEAD,
    hash: message.hash,
    max: false,
    nspace,
    pool: core.id.pool,
  };
}
