import { type MOSDOpReplyValue, OSD_FLAG_ACK, OSD_FLAG_ONDISK, OSD_FLAG_ONNVRAM } from '../wire/messages/osd_client.ts';
import type { EVersion } from '../wire/types.ts';
import { EOVERFLOW } from './ops/errno.ts';
import { maxWriteReplyBytes } from './ops/limits.ts';
import type { OpRequest } from './op-request.ts';
import type { OpResult } from './ops/op-context.ts';
import type { PgCore } from './pg-core.ts';

/** The answer to a request. */
export function replyTo(
  core: PgCore,
  request: OpRequest,
  result: number,
  results: readonly OpResult[],
  version: EVersion,
  userVersion: number,
): MOSDOpReplyValue {
  const { message } = request;
  return {
    oid: message.oid,
    pg: core.id,
    flags: (message.flags & ~(OSD_FLAG_ACK | OSD_FLAG_ONNVRAM | OSD_FLAG_ONDISK)) | OSD_FLAG_ACK | OSD_FLAG_ONDISK,
    result,
    badReplayVersion: userVersion === 0 ? version : { epoch: version.epoch, version: userVersion },
    epoch: core.map.epoch,
    ops: results.length === message.ops.length ? results : fillResults(request, results),
    retry: message.retry,
    replayVersion: version,
    userVersion,
  };
}

/** Ops behind the one that failed have no result. */
function fillResults(request: OpRequest, results: readonly OpResult[]): OpResult[] {
  return request.message.ops.map((op, i): OpResult => results[i] ?? { op, out: [], rval: 0 });
}

/** Leaves out what a write gives back beyond the bound (EOVERFLOW); false when there was such. */
export function boundReturns(results: readonly OpResult[]): boolean {
  let bounded = true;
  for (const each of results) {
    let length = 0;
    for (const piece of each.out) length += piece.length;
    if (length <= maxWriteReplyBytes) continue;
    each.rval = EOVERFLOW;
    each.out = [];
    bounded = false;
  }
  return bounded;
}
