/**
 * What OSDs say to each other: peering, replication, recovery, backfill. The type numbers are upstream's (`src/msg/Message.h`), the
 * bodies our own, each one versioned structure (the replicated write, which is hot, has a bare version byte).
 *
 * `epoch` is the sender's map: a receiver with an older one waits for that map. `interval` is the first epoch of the interval the message
 * belongs to: a receiver whose PG has begun a newer one drops it.
 */
import { DecodeError } from '../../../base/bytes.ts';
import { Decoder, Encoder } from '../encoding.ts';
import { frontCodec, type MessageBody, type MessageCodec } from '../message.ts';
import {
  decodeEVersion,
  decodeHObject,
  type EVersion,
  encodeEVersion,
  encodeHObject,
  eversionZero,
  type HObject,
  type PgId,
} from '../types.ts';
import { decodePgLease, decodePgLeaseAck, encodePgLease, encodePgLeaseAck, type PgLease } from './osd_lease.ts';
import { decodeObjectSums, encodeObjectSums, type ObjectSums } from './osd_mgr.ts';
import {
  decodeLogEntry,
  decodeLogSegment,
  decodeMissing,
  decodePastIntervals,
  decodePgHistory,
  decodePgInfo,
  encodeLogEntry,
  encodeLogSegment,
  encodeMissing,
  encodePastIntervals,
  encodePgHistory,
  encodePgInfo,
  type LogEntry,
  type LogSegment,
  type MissingItem,
  type PastInterval,
  type PgHistory,
  type PgInfo,
} from './osd_pg.ts';

export const MSG_OSD_PG_LOG = 83;
export const MSG_OSD_PG_REMOVE = 84;
export const MSG_OSD_PG_SCAN = 94;
export const MSG_OSD_PG_BACKFILL = 95;
export const MSG_OSD_PG_PUSH = 105;
export const MSG_OSD_PG_PULL = 106;
export const MSG_OSD_PG_PUSH_REPLY = 107;
export const MSG_OSD_REPOP = 112;
export const MSG_OSD_REPOPREPLY = 113;
export const MSG_OSD_PG_NOTIFY = 130;
export const MSG_OSD_PG_QUERY = 131;
export const MSG_OSD_PG_INFO = 132;

/** What every message about a PG begins with. */
export interface PgMessage {
  /** In an erasure-coded pool with the receiver's shard. */
  pg: PgId;
  /** The sender's shard, there. */
  fromShard?: number;
  epoch: number;
  interval: number;
}

/** A `pg_t`; the shards lie where it once had a preferred OSD (-1: none). */
export function encodeHead(e: Encoder, m: PgMessage): void {
  const { pool, seed, shard } = m.pg;
  e.u8(1).u64(pool).u32(seed);
  e.s32(shard === undefined ? -1 : (shard << 8) | (m.fromShard ?? 0));
  e.u32(m.epoch).u32(m.interval);
}
export function decodeHead(d: Decoder): PgMessage {
  const version = d.u8();
  if (version !== 1) throw new DecodeError(`pg_t: version ${version}`);
  const pg = { pool: d.s64(), seed: d.u32() };
  const shards = d.s32();
  const head = { pg, epoch: d.u32(), interval: d.u32() };
  if (shards < 0) return head;
  return { ...head, pg: { ...pg, shard: shards >> 8 }, fromShard: shards & 255 };
}

export function pgCodec<T extends PgMessage>(
  type: number,
  name: string,
  encode: (e: Encoder, m: T) => void,
  decode: (d: Decoder, head: PgMessage, version: number) => T,
  version = 1,
): MessageCodec<T> {
  return frontCodec<T>(
    { type, name, version: 1, compat: 1 },
    (e, m) => {
      e.struct(version, 1, () => {
        encodeHead(e, m);
        encode(e, m);
      });
    },
    (d) => d.struct(name, 1, (_, found) => decode(d, decodeHead(d), found)),
  );
}

/** A member or former member tells the primary what it has; also the answer to a query for info. */
export interface MOSDPGNotify extends PgMessage {
  info: PgInfo;
  past: PastInterval[];
}

export const MOSDPGNotify = pgCodec<MOSDPGNotify>(
  MSG_OSD_PG_NOTIFY,
  'MOSDPGNotify',
  (e, m) => {
    encodePgInfo(e, m.info);
    encodePastIntervals(e, m.past);
  },
  (d, head) => ({ ...head, info: decodePgInfo(d), past: decodePastIntervals(d) }),
);

/** `log`: entries newer than `since` and the missing set; `fulllog`: all entries. */
export type QueryKind = 'info' | 'log' | 'fulllog';
const queryKinds: readonly QueryKind[] = ['info', 'log', 'fulllog'];

export interface MOSDPGQuery extends PgMessage {
  kind: QueryKind;
  since: EVersion;
  history: PgHistory;
}

export const MOSDPGQuery = pgCodec<MOSDPGQuery>(
  MSG_OSD_PG_QUERY,
  'MOSDPGQuery',
  (e, m) => {
    e.u8(queryKinds.indexOf(m.kind));
    encodeEVersion(e, m.since);
    encodePgHistory(e, m.history);
  },
  (d, head) => {
    const kind = queryKinds[d.u8()];
    if (kind === undefined) throw new DecodeError('MOSDPGQuery: unknown kind');
    return { ...head, kind, since: decodeEVersion(d), history: decodePgHistory(d) };
  },
);

/**
 * From the primary: news of the history (it went active, it is clean). From a replica: "my activation is on disk" (`activated`).
 */
export interface MOSDPGInfo extends PgMessage {
  info: PgInfo;
  activated: boolean;
  /** From the primary of an erasure-coded PG: entries up to here are on all shards for good. */
  forwardTo: EVersion;
  /** From the primary: writes up to here are acknowledged (`MOSDRepOp`). */
  committedTo: EVersion;
  /** With `activated`, when the activation came with a lease: the upper bound that was taken note of. */
  leaseAckMs: number | undefined;
}

export const MOSDPGInfo = pgCodec<MOSDPGInfo>(
  MSG_OSD_PG_INFO,
  'MOSDPGInfo',
  (e, m) => {
    encodePgInfo(e, m.info);
    e.bool(m.activated);
    if (m.pg.shard !== undefined) encodeEVersion(e, m.forwardTo);
    encodeEVersion(e, m.committedTo);
    e.optional(m.leaseAckMs, encodePgLeaseAck);
  },
  (d, head, version) => ({
    ...head,
    info: decodePgInfo(d),
    activated: d.bool(),
    forwardTo: head.pg.shard === undefined ? eversionZero : decodeEVersion(d),
    committedTo: version >= 2 ? decodeEVersion(d) : eversionZero,
    leaseAckMs: version >= 2 ? d.optional(decodePgLeaseAck) : undefined,
  }),
  2,
);

/** Log entries and the missing set: the answer to a query, or (from the primary) what a replica takes over before it activates. */
export interface MOSDPGLog extends PgMessage {
  info: PgInfo;
  log: LogSegment;
  missing: MissingItem[];
  past: PastInterval[];
  /** Of a shard of an erasure-coded PG: numbers of the versions whose entries it can take back. */
  undoable: readonly number[];
  /**
   * The primary tells the receiver to take this over and activate; `backfill`: it starts from nothing; `rewind`: a stray shard is to take back what it has beyond
   * the log.
   */
  activate: 'no' | 'log' | 'backfill' | 'rewind';
  /** With what an acting OSD activates. */
  lease: PgLease | undefined;
}
const activations: readonly MOSDPGLog['activate'][] = ['no', 'log', 'backfill', 'rewind'];

export const MOSDPGLog = pgCodec<MOSDPGLog>(
  MSG_OSD_PG_LOG,
  'MOSDPGLog',
  (e, m) => {
    encodePgInfo(e, m.info);
    encodeLogSegment(e, m.log);
    encodeMissing(e, m.missing);
    encodePastIntervals(e, m.past);
    e.u8(activations.indexOf(m.activate));
    if (m.pg.shard !== undefined) e.list(m.undoable, (x, version) => x.u64(version));
    e.optional(m.lease, encodePgLease);
  },
  (d, head, version) => ({
    ...head,
    info: decodePgInfo(d),
    log: decodeLogSegment(d, head.pg.pool),
    missing: decodeMissing(d),
    past: decodePastIntervals(d),
    activate: activations[d.u8()] ?? 'no',
    undoable: head.pg.shard === undefined ? [] : d.list((x) => x.u64(), 8),
    lease: version >= 2 ? d.optional(decodePgLease) : undefined,
  }),
  2,
);

/** The PG is clean without the receiver: its stray copy may go. */
export type MOSDPGRemove = PgMessage;

export const MOSDPGRemove = pgCodec<MOSDPGRemove>(
  MSG_OSD_PG_REMOVE,
  'MOSDPGRemove',
  () => undefined,
  (_, head) => head,
);

/** A write to replicate: log entries and the changes, in one transaction of the receiver's store. */
export interface MOSDRepOp extends PgMessage {
  tid: number;
  entries: LogEntry[];
  /** The log may be trimmed to here. */
  trimTo: EVersion;
  lastUserVersion: number;
  /** In an erasure-coded pool: entries up to here are on all shards for good. */
  forwardTo: EVersion;
  /** Writes up to here are on the disk of every member: what an object held then, anybody may see (`min_last_complete_ondisk`). */
  committedTo: EVersion;
  /** The PG's sums after this write. */
  sums: ObjectSums;
  /** Encoded store operations (`osd/store-ops.ts`); their payloads are `data`. Empty for a backfill target that does not hold the object yet. */
  ops: Uint8Array;
  data: readonly Uint8Array[];
  /** What `encode` gives for it, where it goes to several. */
  encoded?: MessageBody;
}

export const MOSDRepOp: MessageCodec<MOSDRepOp> = {
  type: MSG_OSD_REPOP,
  name: 'MOSDRepOp',
  version: 1,
  compat: 1,
  encode: (m) => {
    if (m.encoded !== undefined) return m.encoded;
    const e = new Encoder(512 + m.ops.length);
    e.u8(1);
    encodeHead(e, m);
    e.u64(m.tid).list(m.entries, encodeLogEntry);
    encodeEVersion(e, m.trimTo);
    e.u64(m.lastUserVersion);
    encodeObjectSums(e, m.sums);
    e.blob(m.ops);
    if (m.pg.shard !== undefined) encodeEVersion(e, m.forwardTo);
    encodeEVersion(e, m.committedTo);
    return { front: e.finish(), data: m.data };
  },
  decode: (parts) => {
    const d = new Decoder(parts.front);
    const format = d.u8();
    if (format !== 1) throw new DecodeError(`MOSDRepOp: version ${format}, this one knows 1`);
    const head = decodeHead(d);
    return {
      ...head,
      tid: d.u64(),
      entries: d.list((x) => decodeLogEntry(x, head.pg.pool), 59),
      trimTo: decodeEVersion(d),
      lastUserVersion: d.u64(),
      sums: decodeObjectSums(d),
      ops: d.blob(),
      forwardTo: head.pg.shard === undefined ? eversionZero : decodeEVersion(d),
      // Older OSDs do not say it.
      committedTo: d.remaining > 0 ? decodeEVersion(d) : eversionZero,
      data: [parts.data],
    };
  },
};

/** The write `tid` is on the sender's disk. */
export interface MOSDRepOpReply extends PgMessage {
  tid: number;
  /** 0; ENOENT: the replica has lost what the write builds on, and counts its objects as missing. */
  result: number;
  lastComplete: EVersion;
}

export const MOSDRepOpReply = pgCodec<MOSDRepOpReply>(
  MSG_OSD_REPOPREPLY,
  'MOSDRepOpReply',
  (e, m) => {
    e.u64(m.tid).s32(m.result);
    encodeEVersion(e, m.lastComplete);
  },
  (d, head) => ({ ...head, tid: d.u64(), result: d.s32(), lastComplete: decodeEVersion(d) }),
);

/** How far an object's copy has come: bytes of data, and the omap key behind which it goes on. */
export interface PushCursor {
  dataTo: number;
  dataDone: boolean;
  omapAfter: string;
  omapDone: boolean;
}

export const pushStart: PushCursor = Object.freeze({ dataTo: 0, dataDone: false, omapAfter: '', omapDone: false });

export function encodeCursor(e: Encoder, c: PushCursor): void {
  e.u64(c.dataTo).bool(c.dataDone).string(c.omapAfter).bool(c.omapDone);
}
export function decodeCursor(d: Decoder): PushCursor {
  return { dataTo: d.u64(), dataDone: d.bool(), omapAfter: d.string(), omapDone: d.bool() };
}

/** The least that an `hobject_t` takes, and one with a version and a cursor: they bound counts. */
export const hobjectMinBytes = 39;
const pullItemMinBytes = hobjectMinBytes + 12 + 14;

/** Asks for objects of which the sender knows that the receiver has version `need`. */
export interface PullItem {
  oid: HObject;
  need: EVersion;
  from: PushCursor;
}

export interface MOSDPGPull extends PgMessage {
  items: PullItem[];
}

export const MOSDPGPull = pgCodec<MOSDPGPull>(
  MSG_OSD_PG_PULL,
  'MOSDPGPull',
  (e, m) => {
    e.list(m.items, (_, item) => {
      encodeHObject(e, item.oid);
      encodeEVersion(e, item.need);
      encodeCursor(e, item.from);
    });
  },
  (d, head) => ({
    ...head,
    items: d.list(() => ({ oid: decodeHObject(d), need: decodeEVersion(d), from: decodeCursor(d) }), pullItemMinBytes),
  }),
);

/** A piece of an object's copy. The first piece has the xattrs and the omap header; extents not named are holes. */
export interface PushItem {
  oid: HObject;
  version: EVersion;
  /** False: the sender does not have it (any more); nothing else counts then. */
  found: boolean;
  size: number;
  before: PushCursor;
  after: PushCursor;
  xattrs: Map<string, Uint8Array>;
  omapHeader: Uint8Array;
  omap: Map<string, Uint8Array>;
  /** Where the bytes of `data` belong, in order. */
  extents: { offset: number; length: number }[];
  data: Uint8Array[];
}

export interface MOSDPGPush extends PgMessage {
  /** True: the receiver asked for it (a pull); false: the primary recovers or backfills the receiver. */
  pulled: boolean;
  items: PushItem[];
}

export function encodePushItem(e: Encoder, item: PushItem): void {
  encodeHObject(e, item.oid);
  encodeEVersion(e, item.version);
  e.bool(item.found).u64(item.size);
  encodeCursor(e, item.before);
  encodeCursor(e, item.after);
  e.stringMap(item.xattrs, (x, v) => x.blob(v));
  e.blob(item.omapHeader);
  e.map(
    item.omap,
    (x, k) => x.string(k),
    (x, v) => x.blob(v),
  );
  e.list(item.extents, (x, r) => x.u64(r.offset).u64(r.length));
}

export function decodePushItem(d: Decoder, data: Decoder): PushItem {
  const item: PushItem = {
    oid: decodeHObject(d),
    version: decodeEVersion(d),
    found: d.bool(),
    size: d.u64(),
    before: decodeCursor(d),
    after: decodeCursor(d),
    xattrs: d.stringMap((x) => x.blob()),
    omapHeader: d.blob(),
    omap: d.stringMap((x) => x.blob()),
    extents: d.list((x) => ({ offset: x.u64(), length: x.u64() }), 16),
    data: [],
  };
  for (const extent of item.extents) item.data.push(data.bytes(extent.length));
  return item;
}

export const MOSDPGPush: MessageCodec<MOSDPGPush> = {
  type: MSG_OSD_PG_PUSH,
  name: 'MOSDPGPush',
  version: 1,
  compat: 1,
  encode: (m) => {
    const e = new Encoder(1024);
    e.u8(1);
    encodeHead(e, m);
    e.bool(m.pulled).list(m.items, encodePushItem);
    return { front: e.finish(), data: m.items.flatMap((item) => item.data) };
  },
  decode: (parts) => {
    const d = new Decoder(parts.front);
    const format = d.u8();
    if (format !== 1) throw new DecodeError(`MOSDPGPush: version ${format}, this one knows 1`);
    const head = decodeHead(d);
    const data = new Decoder(parts.data);
    return { ...head, pulled: d.bool(), items: d.list((x) => decodePushItem(x, data), 80) };
  },
};

export interface PushReply {
  oid: HObject;
  version: EVersion;
  result: number;
  /** What is on the receiver's disk; the sender goes on from here. */
  after: PushCursor;
}

export interface MOSDPGPushReply extends PgMessage {
  items: PushReply[];
}

export const MOSDPGPushReply = pgCodec<MOSDPGPushReply>(
  MSG_OSD_PG_PUSH_REPLY,
  'MOSDPGPushReply',
  (e, m) => {
    e.list(m.items, (_, item) => {
      encodeHObject(e, item.oid);
      encodeEVersion(e, item.version);
      e.s32(item.result);
      encodeCursor(e, item.after);
    });
  },
  (d, head) => ({
    ...head,
    items: d.list(
      () => ({ oid: decodeHObject(d), version: decodeEVersion(d), result: d.s32(), after: decodeCursor(d) }),
      pullItemMinBytes,
    ),
  }),
);

/** `get`: list what you hold in [begin, end). `digest`: the answer. */
export interface MOSDPGScan extends PgMessage {
  op: 'get' | 'digest';
  begin: HObject;
  end: HObject;
  items: { oid: HObject; version: EVersion }[];
}

export const MOSDPGScan = pgCodec<MOSDPGScan>(
  MSG_OSD_PG_SCAN,
  'MOSDPGScan',
  (e, m) => {
    e.u8(m.op === 'get' ? 1 : 2);
    encodeHObject(e, m.begin);
    encodeHObject(e, m.end);
    e.list(m.items, (_, item) => {
      encodeHObject(e, item.oid);
      encodeEVersion(e, item.version);
    });
  },
  (d, head) => ({
    ...head,
    op: d.u8() === 1 ? 'get' : 'digest',
    begin: decodeHObject(d),
    end: decodeHObject(d),
    items: d.list(() => ({ oid: decodeHObject(d), version: decodeEVersion(d) }), hobjectMinBytes + 12),
  }),
);

/** `progress`: everything up to `lastBackfill` is yours now; remove `remove` first. `finish` also says that the copy is complete. */
export interface MOSDPGBackfill extends PgMessage {
  op: 'progress' | 'finish' | 'ack';
  lastBackfill: HObject;
  sums: ObjectSums;
  remove: HObject[];
}
const backfillOps: readonly MOSDPGBackfill['op'][] = ['progress', 'finish', 'ack'];

export const MOSDPGBackfill = pgCodec<MOSDPGBackfill>(
  MSG_OSD_PG_BACKFILL,
  'MOSDPGBackfill',
  (e, m) => {
    e.u8(backfillOps.indexOf(m.op));
    encodeHObject(e, m.lastBackfill);
    encodeObjectSums(e, m.sums);
    e.list(m.remove, encodeHObject);
  },
  (d, head) => {
    const op = backfillOps[d.u8()];
    if (op === undefined) throw new DecodeError('MOSDPGBackfill: unknown op');
    return {
      ...head,
      op,
      lastBackfill: decodeHObject(d),
      sums: decodeObjectSums(d),
      remove: d.list(decodeHObject, hobjectMinBytes),
    };
  },
);
