import { DecodeError } from '../../../base/bytes.ts';
import { errorCode } from '../../../base/errors.ts';
import { isDamage } from '../../blockstore/errors.ts';
import { OP, OP_FLAG_FAILOK, type OsdOp } from '../../wire/messages/osd_op.ts';
import { callTarget } from './classify.ts';
import { copyFrom } from './copy-ops.ts';
import * as data from './data-ops.ts';
import { EINVAL, EIO, EMSGSIZE, EOPNOTSUPP, EOVERFLOW, ERANGE } from './errno.ts';
import * as omap from './omap-ops.ts';
import { maxReplyBytes } from './limits.ts';
import type { OpContext, OpResult } from './op-context.ts';
import { rollback } from './snap-ops.ts';
import * as watch from './watch-ops.ts';
import * as xattr from './xattr-ops.ts';

/** Runs one op: a result of 0 or more, or a negative errno. Output goes into `result.out`. */
type OpHandler = (ctx: OpContext, op: OsdOp, result: OpResult, index: number) => number | Promise<number>;

function assertVersion(ctx: OpContext, op: OsdOp): number {
  const version = op.assertVersion;
  if (version === 0) return EINVAL;
  if (version < ctx.info.userVersion) return ERANGE;
  return version > ctx.info.userVersion ? EOVERFLOW : 0;
}

function call(ctx: OpContext, op: OsdOp, result: OpResult, index: number): number | Promise<number> {
  const target = callTarget(op);
  if (target === undefined) return EINVAL;
  const answer = ctx.host.classes.call(ctx, index, target.name, target.method, target.input);
  const take = ({ rval, out }: { rval: number; out: Uint8Array }): number => {
    if (out.length > 0) result.out = [out];
    return rval;
  };
  return answer instanceof Promise ? answer.then(take) : take(answer);
}

/** One line an op code. What is not here is EOPNOTSUPP. */
const handlers: ReadonlyMap<number, OpHandler> = new Map<number, OpHandler>([
  [OP.READ, data.read],
  [OP.SYNC_READ, data.syncRead],
  [OP.SPARSE_READ, data.sparseRead],
  [OP.MAPEXT, data.mapExtents],
  [OP.STAT, data.stat],
  [OP.CHECKSUM, data.checksum],
  [OP.CMPEXT, data.compareExtent],
  [OP.ASSERT_VER, assertVersion],
  [OP.WRITE, data.write],
  [OP.WRITEFULL, data.writeFull],
  [OP.WRITESAME, data.writeSame],
  [OP.APPEND, data.append],
  [OP.TRUNCATE, data.truncate],
  [OP.ZERO, data.zero],
  [OP.CREATE, data.create],
  [OP.DELETE, data.remove],
  [OP.SETALLOCHINT, data.setAllocHint],
  [OP.GETXATTR, xattr.getXattr],
  [OP.GETXATTRS, xattr.getXattrs],
  [OP.CMPXATTR, xattr.compareXattr],
  [OP.SETXATTR, xattr.setXattr],
  [OP.RMXATTR, xattr.removeXattr],
  [OP.RESETXATTRS, xattr.resetXattrs],
  [OP.OMAPGETKEYS, omap.omapKeys],
  [OP.OMAPGETVALS, omap.omapVals],
  [OP.OMAPGETHEADER, omap.omapHeader],
  [OP.OMAPGETVALSBYKEYS, omap.omapValsByKeys],
  [OP.OMAP_CMP, omap.omapCompare],
  [OP.OMAPSETVALS, omap.omapSet],
  [OP.OMAPSETHEADER, omap.omapSetHeader],
  [OP.OMAPCLEAR, omap.omapClear],
  [OP.OMAPRMKEYS, omap.omapRemove],
  [OP.OMAPRMKEYRANGE, omap.omapRemoveRange],
  [OP.WATCH, watch.watch],
  [OP.NOTIFY, watch.notify],
  [OP.NOTIFY_ACK, watch.notifyAck],
  [OP.LIST_WATCHERS, watch.listWatchers],
  [OP.LIST_SNAPS, watch.listSnaps],
  [OP.ROLLBACK, rollback],
  [OP.COPY_FROM, copyFrom],
  [OP.COPY_FROM2, copyFrom],
  [OP.CALL, call],
]);

/** A failure to run an op as its errno: bad input is EINVAL, a damaged block EIO; anything else is a defect and thrown on. */
function failure(ctx: OpContext, error: unknown): number {
  if (error instanceof DecodeError) return EINVAL;
  if (errorCode(error) === 'UNREADABLE') return EIO;
  if (errorCode(error) === 'TOO_FEW_SHARDS') {
    ctx.tooFewShards = true;
    return EIO;
  }
  if (!isDamage(error)) throw error;
  ctx.damaged = true;
  return EIO;
}

/**
 * Runs the ops of a request one after another over its object. The first negative result ends it, unless the op carries FAILOK. Stays synchronous
 * until an op has to wait for data.
 */
export function runOps(ctx: OpContext, from = 0): number | Promise<number> {
  const { ops } = ctx.message;
  let last = from === 0 ? 0 : Math.max(0, ctx.results[from - 1]!.rval);
  for (let i = from; i < ops.length; i++) {
    const op = ops[i]!;
    const result: OpResult = { op, out: [], rval: 0 };
    ctx.results[i] = result;
    const handler = handlers.get(op.op);
    let rval: number | Promise<number>;
    try {
      rval = handler === undefined ? EOPNOTSUPP : handler(ctx, op, result, i);
    } catch (error) {
      rval = failure(ctx, error);
    }
    if (typeof rval !== 'number') {
      const safe = rval.catch((error: unknown) => failure(ctx, error));
      return safe.then((value) => {
        const end = settle(ctx, result, value);
        return end < 0 ? end : runOps(ctx, i + 1);
      });
    }
    const end = settle(ctx, result, rval);
    if (end < 0) return end;
    last = result.rval < 0 ? 0 : rval;
  }
  return last;
}

/** Notes an op's result; a negative one ends the request. */
function settle(ctx: OpContext, result: OpResult, rval: number): number {
  result.rval = rval;
  for (const piece of result.out) ctx.outBytes += piece.length;
  if (ctx.outBytes > maxReplyBytes) {
    for (const each of ctx.results) each.out = [];
    ctx.outBytes = 0;
    return EMSGSIZE;
  }
  return rval < 0 && (result.op.flags & OP_FLAG_FAILOK) === 0 ? rval : 0;
}
