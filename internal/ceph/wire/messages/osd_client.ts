import { DecodeError } from '../../../base/bytes.ts';
import { Decoder, Encoder, type UTime, utimeZero } from '../encoding.ts';
import { frontCodec, type MessageCodec, type MessageParts } from '../message.ts';
import {
  ENTITY_OSD,
  decodeEVersion,
  decodeHObject,
  decodeLocator,
  decodePg,
  decodeRequestId,
  decodeShardPg,
  type EntityNum,
  encodeEVersion,
  encodeHObject,
  encodeLocator,
  encodePg,
  encodeRequestId,
  encodeShardPg,
  type EVersion,
  type HObject,
  type ObjectLocator,
  type PgId,
  type RequestId,
  type ShardPgId,
} from '../types.ts';
import { OSD_OP_BYTES, OsdOp } from './osd_op.ts';

/** Request flags (`CEPH_OSD_FLAG_*`, `src/include/rados.h`). */
export const OSD_FLAG_ACK = 0x1;
export const OSD_FLAG_ONNVRAM = 0x2;
export const OSD_FLAG_ONDISK = 0x4;
export const OSD_FLAG_RETRY = 0x8;
export const OSD_FLAG_READ = 0x10;
export const OSD_FLAG_WRITE = 0x20;
export const OSD_FLAG_ORDERSNAP = 0x40;
export const OSD_FLAG_PARALLELEXEC = 0x200;
export const OSD_FLAG_BALANCE_READS = 0x100;
export const OSD_FLAG_PGOP = 0x400;
export const OSD_FLAG_EXEC = 0x800;
export const OSD_FLAG_LOCALIZE_READS = 0x2000;
export const OSD_FLAG_RWORDERED = 0x4000;
export const OSD_FLAG_IGNORE_CACHE = 0x8000;
export const OSD_FLAG_SKIPRWLOCKS = 0x10000;
export const OSD_FLAG_IGNORE_OVERLAY = 0x20000;
export const OSD_FLAG_FLUSH = 0x40000;
export const OSD_FLAG_MAP_SNAP_CLONE = 0x80000;
export const OSD_FLAG_ENFORCE_SNAPC = 0x100000;
export const OSD_FLAG_FULL_TRY = 0x800000;
export const OSD_FLAG_FULL_FORCE = 0x1000000;
export const OSD_FLAG_IGNORE_REDIRECT = 0x2000000;
export const OSD_FLAG_RETURNVEC = 0x4000000;

const noRequestId: RequestId = Object.freeze({ name: { type: 0, num: 0 }, tid: 0, inc: 0 });

/** A client's request to the primary of a PG. */
export interface MOSDOpValue {
  pg: ShardPgId;
  /** Hash of the object's name (the locator decides), not reduced to a PG. */
  hash: number;
  epoch: number;
  flags: number;
  /** Blank unless an OSD forwards the request: see `requestIdOf`. */
  requestId: RequestId;
  clientInc: number;
  mtime: UTime;
  locator: ObjectLocator;
  oid: string;
  ops: readonly OsdOp[];
  /** What reads see: SNAP_HEAD or a snapshot. */
  snapId: bigint;
  snapSeq: bigint;
  snaps: readonly bigint[];
  /** -1 at the first try. */
  retry: number;
  features: bigint;
}

/**
 * The identity of a request for duplicate detection. Only an OSD, which sends on what it was sent, gives another's: a client that names its neighbour would have
 * the neighbour's next write answered from the log.
 */
export function requestIdOf(op: MOSDOpValue, peer: EntityNum, tid: number): RequestId {
  const id = op.requestId;
  const given = id.tid !== 0 || id.name.type !== 0 || id.name.num !== 0;
  if (given && peer.type === ENTITY_OSD) return id;
  return { name: peer, tid, inc: op.clientInc };
}

function skipTrace(d: Decoder): void {
  d.skip(24);
}

export const MOSDOp: MessageCodec<MOSDOpValue> = {
  type: 42,
  name: 'MOSDOp',
  version: 8,
  compat: 3,
  encode: (m) => {
    const e = new Encoder(256 + m.oid.length + m.ops.length * OSD_OP_BYTES);
    encodeShardPg(e, m.pg);
    e.u32(m.hash).u32(m.epoch).u32(m.flags);
    encodeRequestId(e, m.requestId);
    e.zeros(24);
    e.u32(m.clientInc).utime(m.mtime);
    encodeLocator(e, m.locator);
    e.string(m.oid).u16(m.ops.length);
    const data: Uint8Array[] = [];
    for (const op of m.ops) {
      op.encode(e);
      for (const piece of op.data) data.push(piece);
    }
    e.u64b(m.snapId).u64b(m.snapSeq);
    e.list(m.snaps, (x, s) => x.u64b(s));
    e.s32(m.retry).u64b(m.features);
    return { front: e.finish(), data };
  },
  decode: (parts) => {
    if (parts.version < 8) throw new DecodeError(`MOSDOp: version ${parts.version} is older than Luminous`);
    const d = new Decoder(parts.front);
    const pg = decodeShardPg(d);
    const hash = d.u32();
    const epoch = d.u32();
    const flags = d.u32();
    const requestId = decodeRequestId(d);
    skipTrace(d);
    const clientInc = d.u32();
    const mtime = d.utime();
    const locator = decodeLocator(d);
    const oid = d.string();
    const ops = decodeOps(d, parts, d.u16());
    return {
      pg,
      hash,
      epoch,
      flags,
      requestId,
      clientInc,
      mtime,
      locator,
      oid,
      ops,
      snapId: d.u64b(),
      snapSeq: d.u64b(),
      snaps: d.list((x) => x.u64b(), 8),
      retry: d.s32(),
      features: d.u64b(),
    };
  },
};

/** The op structs with their shares of the data segment, as views. */
function decodeOps(d: Decoder, parts: MessageParts, count: number): OsdOp[] {
  if (count * OSD_OP_BYTES > d.remaining) throw new DecodeError(`${count} ops in ${d.remaining} bytes`);
  const ops: OsdOp[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const op = OsdOp.decode(d);
    const length = op.payloadLength;
    if (length > parts.data.length - at)
      throw new DecodeError(`op ${i} says ${length} bytes of data, ${parts.data.length - at} are left`);
    if (length > 0) op.data = [length === parts.data.length ? parts.data : parts.data.subarray(at, at + length)];
    at += length;
    ops.push(op);
  }
  return ops;
}

/** One op of a reply: the request's struct, its output and result. */
export interface OsdOpResult {
  op: OsdOp;
  out: readonly Uint8Array[];
  rval: number;
}

export interface MOSDOpReplyValue {
  oid: string;
  pg: PgId;
  flags: number;
  result: number;
  /** Its `version` is the user version when that is not 0 (see the protocol map). */
  badReplayVersion: EVersion;
  epoch: number;
  ops: readonly OsdOpResult[];
  retry: number;
  replayVersion: EVersion;
  userVersion: number;
}

export const MOSDOpReply: MessageCodec<MOSDOpReplyValue> = {
  type: 43,
  name: 'MOSDOpReply',
  version: 8,
  compat: 2,
  encode: (m) => {
    const e = new Encoder(160 + m.oid.length + m.ops.length * (OSD_OP_BYTES + 4));
    e.string(m.oid);
    encodePg(e, m.pg);
    e.u64(m.flags).s32(m.result);
    encodeEVersion(e, m.badReplayVersion);
    e.u32(m.epoch).u32(m.ops.length);
    const data: Uint8Array[] = [];
    for (const { op, out } of m.ops) {
      let length = 0;
      for (const piece of out) {
        length += piece.length;
        data.push(piece);
      }
      op.encode(e, length);
    }
    e.s32(m.retry);
    for (const { rval } of m.ops) e.s32(rval);
    encodeEVersion(e, m.replayVersion);
    e.u64(m.userVersion).u8(0).zeros(24);
    return { front: e.finish(), data };
  },
  decode: (parts) => {
    if (parts.version < 7) throw new DecodeError(`MOSDOpReply: version ${parts.version}`);
    const d = new Decoder(parts.front);
    const oid = d.string();
    const pg = decodePg(d);
    const flags = Number(d.u64b() & 0xffff_ffffn);
    const result = d.s32();
    const badReplayVersion = decodeEVersion(d);
    const epoch = d.u32();
    const structs = decodeOps(d, parts, d.u32());
    const retry = d.s32();
    const ops = structs.map((op): OsdOpResult => ({ op, out: op.data, rval: d.s32() }));
    const replayVersion = decodeEVersion(d);
    const userVersion = d.u64();
    if (d.bool()) throw new DecodeError('MOSDOpReply: redirects are not supported');
    return { oid, pg, flags, result, badReplayVersion, epoch, ops, retry, replayVersion, userVersion };
  },
};

export const BACKOFF_BLOCK = 1;
export const BACKOFF_ACK_BLOCK = 2;
export const BACKOFF_UNBLOCK = 3;

export interface MOSDBackoffValue {
  pg: ShardPgId;
  epoch: number;
  op: number;
  id: number;
  begin: HObject;
  end: HObject;
}

export const MOSDBackoff = frontCodec<MOSDBackoffValue>(
  { type: 61, name: 'MOSDBackoff', version: 1, compat: 1 },
  (e, m) => {
    encodeShardPg(e, m.pg);
    e.u32(m.epoch).u8(m.op).u64(m.id);
    encodeHObject(e, m.begin);
    encodeHObject(e, m.end);
  },
  (d) => ({
    pg: decodeShardPg(d),
    epoch: d.u32(),
    op: d.u8(),
    id: d.u64(),
    begin: decodeHObject(d),
    end: decodeHObject(d),
  }),
);

export const WATCH_NOTIFY = 1;
export const WATCH_NOTIFY_COMPLETE = 2;
export const WATCH_DISCONNECT = 3;

export interface MWatchNotifyValue {
  /** WATCH_NOTIFY, WATCH_NOTIFY_COMPLETE or WATCH_DISCONNECT. */
  opcode: number;
  cookie: bigint;
  version: number;
  notifyId: bigint;
  /** What the notifier sent along (WATCH_NOTIFY). */
  payload: Uint8Array;
  returnCode: number;
  notifierGid: bigint;
  /** Of WATCH_NOTIFY_COMPLETE: who answered what, who did not. Empty otherwise. */
  data: Uint8Array;
}

export const MWatchNotify: MessageCodec<MWatchNotifyValue> = {
  type: 44,
  name: 'MWatchNotify',
  version: 3,
  compat: 1,
  encode: (m) => {
    const e = new Encoder(64 + m.payload.length);
    e.u8(1).u8(m.opcode).u64b(m.cookie).u64(m.version).u64b(m.notifyId);
    e.blob(m.payload).s32(m.returnCode).u64b(m.notifierGid);
    return m.data.length > 0 ? { front: e.finish(), data: [m.data] } : { front: e.finish() };
  },
  decode: (parts) => {
    const d = new Decoder(parts.front);
    d.u8();
    return {
      opcode: d.u8(),
      cookie: d.u64b(),
      version: d.u64(),
      notifyId: d.u64b(),
      payload: d.blob(),
      returnCode: parts.version >= 2 ? d.s32() : 0,
      notifierGid: parts.version >= 3 ? d.u64b() : 0n,
      data: parts.data,
    };
  },
};

/** Defaults of a request: read or write flags, object and ops are the caller's. */
export const blankOsdOp = Object.freeze({
  requestId: noRequestId,
  clientInc: 0,
  mtime: utimeZero,
  retry: -1,
});
