import type { MessageCodec } from '../wire/message.ts';
import { MOSDCopyGet, MOSDCopyGetReply } from '../wire/messages/osd_copy.ts';
import {
  MOSDPGBackfill,
  MOSDPGInfo,
  MOSDPGLog,
  MOSDPGNotify,
  MOSDPGPull,
  MOSDPGPush,
  MOSDPGPushReply,
  MOSDPGQuery,
  MOSDPGRemove,
  MOSDPGScan,
  MOSDRepOp,
  MOSDRepOpReply,
  type PgMessage,
} from '../wire/messages/osd_osd.ts';
import { MOSDECSubOpRead, MOSDECSubOpReadReply } from '../wire/messages/osd_ec.ts';
import { MOSDPGLease, MOSDPGLeaseAck } from '../wire/messages/osd_lease.ts';
import { MOSDRepScrub, MOSDRepScrubMap, MOSDScrubReserve } from '../wire/messages/osd_scrub.ts';
import type { Pg } from './pg.ts';

/** What OSDs say to each other about PGs, by message type. */
export const peerCodecs: ReadonlyMap<number, MessageCodec<PgMessage>> = new Map(
  [
    MOSDRepOp,
    MOSDRepOpReply,
    MOSDPGNotify,
    MOSDPGQuery,
    MOSDPGInfo,
    MOSDPGLog,
    MOSDPGRemove,
    MOSDPGPull,
    MOSDPGPush,
    MOSDPGPushReply,
    MOSDPGScan,
    MOSDPGBackfill,
    MOSDCopyGet,
    MOSDCopyGetReply,
    MOSDScrubReserve,
    MOSDRepScrub,
    MOSDRepScrubMap,
    MOSDECSubOpRead,
    MOSDECSubOpReadReply,
    MOSDPGLease,
    MOSDPGLeaseAck,
  ].map((codec) => [codec.type, codec as unknown as MessageCodec<PgMessage>]),
);

/** Gives a PG what another OSD says of it; `copyReply` sends the answer to a COPY_GET. */
export function deliver(
  pg: Pg,
  from: number,
  type: number,
  m: PgMessage,
  copyReply: (reply: MOSDCopyGetReply) => void,
): void {
  switch (type) {
    case MOSDRepOp.type:
      pg.onRepOp(from, m as MOSDRepOp);
      break;
    case MOSDRepOpReply.type:
      pg.onRepOpReply(from, m as MOSDRepOpReply);
      break;
    case MOSDPGNotify.type:
      pg.onNotify(from, m as MOSDPGNotify);
      break;
    case MOSDPGQuery.type:
      pg.onQuery(from, m as MOSDPGQuery);
      break;
    case MOSDPGInfo.type:
      pg.onInfo(from, m as MOSDPGInfo);
      break;
    case MOSDPGLog.type:
      pg.onLog(from, m as MOSDPGLog);
      break;
    case MOSDPGRemove.type:
      pg.onRemove(from);
      break;
    case MOSDPGPull.type:
      pg.onPull(from, m as MOSDPGPull);
      break;
    case MOSDPGPush.type:
      pg.onPush(from, m as MOSDPGPush);
      break;
    case MOSDPGPushReply.type:
      pg.onPushReply(from, m as MOSDPGPushReply);
      break;
    case MOSDPGScan.type:
      pg.onScan(from, m as MOSDPGScan);
      break;
    case MOSDPGBackfill.type:
      pg.onBackfill(from, m as MOSDPGBackfill);
      break;
    case MOSDCopyGet.type:
      pg.onCopyGet(m as MOSDCopyGet, copyReply);
      break;
    case MOSDECSubOpRead.type:
      pg.onShardRead(from, m as MOSDECSubOpRead);
      break;
    case MOSDECSubOpReadReply.type:
      pg.onShardReadReply(from, m as MOSDECSubOpReadReply);
      break;
    case MOSDPGLease.type:
      pg.onLease(from, m as MOSDPGLease);
      break;
    case MOSDPGLeaseAck.type:
      pg.onLeaseAck(from, m as MOSDPGLeaseAck);
      break;
    case MOSDScrubReserve.type:
      pg.onScrubReserve(from, m as MOSDScrubReserve);
      break;
    case MOSDRepScrub.type:
      pg.onRepScrub(from, m as MOSDRepScrub);
      break;
    case MOSDRepScrubMap.type:
      pg.onRepScrubMap(from, m as MOSDRepScrubMap);
      break;
  }
}
