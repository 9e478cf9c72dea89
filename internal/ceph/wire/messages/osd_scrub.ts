/**
 * Scrubbing: the mgr tells OSDs to begin (MOSDScrub2, upstream's body), and members of a PG reserve, list and compare what they hold (upstream's type
 * numbers, our own bodies).
 */
import { DecodeError } from '../../../base/bytes.ts';
import type { Decoder, Encoder } from '../encoding.ts';
import { frontCodec } from '../message.ts';
import { decodeHObject, decodeShardPg, encodeHObject, encodeShardPg, type HObject, type ShardPgId } from '../types.ts';
import { hobjectMinBytes, pgCodec, type PgMessage } from './osd_osd.ts';

export const MSG_OSD_SCRUB_RESERVE = 92;
export const MSG_OSD_REP_SCRUB = 93;
export const MSG_OSD_REP_SCRUBMAP = 117;
export const MSG_OSD_SCRUB2 = 121;

/** The mgr passes a command of the operator on to the OSD that leads the PGs. */
export interface MOSDScrub2 {
  fsid: string;
  epoch: number;
  pgs: readonly ShardPgId[];
  repair: boolean;
  deep: boolean;
}

export const MOSDScrub2 = frontCodec<MOSDScrub2>(
  { type: MSG_OSD_SCRUB2, name: 'MOSDScrub2', version: 1, compat: 1 },
  (e, m) => {
    e.uuid(m.fsid).u32(m.epoch).list(m.pgs, encodeShardPg);
    e.bool(m.repair).bool(m.deep);
  },
  (d) => ({
    fsid: d.uuid(),
    epoch: d.u32(),
    pgs: d.list(decodeShardPg, 24),
    repair: d.bool(),
    deep: d.bool(),
  }),
);

/** The primary asks a member for a place among its scrubs and gives it back; the member answers. `attempt` tells answers to older questions apart. */
export interface MOSDScrubReserve extends PgMessage {
  op: 'request' | 'grant' | 'reject' | 'release';
  attempt: number;
}
const reserveOps: readonly MOSDScrubReserve['op'][] = ['request', 'grant', 'reject', 'release'];

export const MOSDScrubReserve = pgCodec<MOSDScrubReserve>(
  MSG_OSD_SCRUB_RESERVE,
  'MOSDScrubReserve',
  (e, m) => e.u8(reserveOps.indexOf(m.op)).u32(m.attempt),
  (d, head) => {
    const op = reserveOps[d.u8()];
    if (op === undefined) throw new DecodeError('MOSDScrubReserve: unknown op');
    return { ...head, op, attempt: d.u32() };
  },
);

/** Asks a member what it holds behind `begin` up to `end` inclusive. A newer question makes an older one void. */
export interface MOSDRepScrub extends PgMessage {
  chunk: number;
  begin: HObject;
  end: HObject;
  deep: boolean;
}

export const MOSDRepScrub = pgCodec<MOSDRepScrub>(
  MSG_OSD_REP_SCRUB,
  'MOSDRepScrub',
  (e, m) => {
    e.u32(m.chunk).bool(m.deep);
    encodeHObject(e, m.begin);
    encodeHObject(e, m.end);
  },
  (d, head) => ({ ...head, chunk: d.u32(), deep: d.bool(), begin: decodeHObject(d), end: decodeHObject(d) }),
);

/** One object as one copy of the PG holds it (`ScrubMap::object`). */
export interface ScrubObject {
  oid: HObject;
  /** Bytes, by the store. */
  size: number;
  /** All of them, as they lie in the store. */
  xattrs: ReadonlyMap<string, Uint8Array>;
  /** Its entry in the store's index is damaged: nothing else of it is known. */
  statError: boolean;
  /** Its data or omap could not be read. */
  readError: boolean;
  /** CRC-32C of the data, and of omap header and entries; of deep scrubs only. */
  dataDigest: number | undefined;
  omapDigest: number | undefined;
  omapKeys: number;
  omapBytes: number;
}

export interface MOSDRepScrubMap extends PgMessage {
  chunk: number;
  objects: readonly ScrubObject[];
}

const READ_ERROR = 1;
const DATA_DIGEST = 2;
const OMAP_DIGEST = 4;
const STAT_ERROR = 8;

function encodeScrubObject(e: Encoder, o: ScrubObject): void {
  encodeHObject(e, o.oid);
  e.u64(o.size).stringMap(o.xattrs, (x, v) => x.blob(v));
  e.u8(
    (o.readError ? READ_ERROR : 0) |
      (o.statError ? STAT_ERROR : 0) |
      (o.dataDigest === undefined ? 0 : DATA_DIGEST) |
      (o.omapDigest === undefined ? 0 : OMAP_DIGEST),
  );
  e.u32(o.dataDigest ?? 0)
    .u32(o.omapDigest ?? 0)
    .u64(o.omapKeys)
    .u64(o.omapBytes);
}

function decodeScrubObject(d: Decoder): ScrubObject {
  const oid = decodeHObject(d);
  const size = d.u64();
  const xattrs = d.stringMap((x) => x.blob());
  const flags = d.u8();
  const data = d.u32();
  const omap = d.u32();
  return {
    oid,
    size,
    xattrs,
    statError: (flags & STAT_ERROR) !== 0,
    readError: (flags & READ_ERROR) !== 0,
    dataDigest: flags & DATA_DIGEST ? data : undefined,
    omapDigest: flags & OMAP_DIGEST ? omap : undefined,
    omapKeys: d.u64(),
    omapBytes: d.u64(),
  };
}

export const MOSDRepScrubMap = pgCodec<MOSDRepScrubMap>(
  MSG_OSD_REP_SCRUBMAP,
  'MOSDRepScrubMap',
  (e, m) => e.u32(m.chunk).list(m.objects, encodeScrubObject),
  (d, head) => ({ ...head, chunk: d.u32(), objects: d.list(decodeScrubObject, hobjectMinBytes + 37) }),
);
