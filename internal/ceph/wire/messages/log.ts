import type { Decoder, Encoder, UTime } from '../encoding.ts';
import { frontCodec } from '../message.ts';
import {
  decodeAddrVec,
  decodeEntityName,
  decodeEntityNum,
  type EntityAddrVec,
  type EntityName,
  type EntityNum,
  encodeAddrVec,
  encodeEntityName,
  encodeEntityNum,
} from '../types.ts';
import { decodePaxosHead, encodePaxosHead } from './mon.ts';

/** Levels of the cluster log (`clog_type`). */
export const LOG_DEBUG = 0;
export const LOG_INFO = 1;
export const LOG_SECURITY = 2;
export const LOG_WARN = 3;
export const LOG_ERROR = 4;

/** A line of the cluster log. */
export interface LogEntry {
  name: EntityName;
  rank: EntityNum;
  addrs: EntityAddrVec;
  stamp: UTime;
  seq: number;
  level: number;
  message: string;
  /** `cluster`, `audit`. */
  channel: string;
}

export function encodeLogEntry(e: Encoder, l: LogEntry): void {
  const at = e.open(5, 5);
  encodeEntityName(e, l.name);
  encodeEntityNum(e, l.rank);
  encodeAddrVec(e, l.addrs);
  e.utime(l.stamp).u64(l.seq).u16(l.level).string(l.message).string(l.channel).close(at);
}
export function decodeLogEntry(d: Decoder): LogEntry {
  const opened = d.open('LogEntry', 5);
  const entry: LogEntry = {
    name: decodeEntityName(d),
    rank: decodeEntityNum(d),
    addrs: decodeAddrVec(d),
    stamp: d.utime(),
    seq: d.u64(),
    level: d.u16(),
    message: d.string(),
    channel: d.string(),
  };
  d.close(opened);
  return entry;
}

/** From daemons to the mon, and from the mon to subscribers of `log-info` and the like. */
export const MLog = frontCodec<{ version: number; fsid: string; entries: readonly LogEntry[] }>(
  { type: 52, name: 'MLog', version: 1, compat: 1 },
  (e, m) => {
    encodePaxosHead(e, m.version);
    e.uuid(m.fsid).list(m.entries, encodeLogEntry);
  },
  (d) => ({ version: decodePaxosHead(d), fsid: d.uuid(), entries: d.list(decodeLogEntry, 40) }),
);

export const MLogAck = frontCodec<{ fsid: string; last: number; channel: string }>(
  { type: 53, name: 'MLogAck', version: 1, compat: 1 },
  (e, m) => e.uuid(m.fsid).u64(m.last).string(m.channel),
  (d) => ({ fsid: d.uuid(), last: d.u64(), channel: d.remaining > 0 ? d.string() : '' }),
);
