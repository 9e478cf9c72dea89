/** Reads of shards of erasure-coded PGs between OSDs: upstream's type numbers (`MOSDECSubOpRead`), our own bodies. */
import { DecodeError } from '../../../base/bytes.ts';
import { Decoder, Encoder } from '../encoding.ts';
import type { MessageCodec } from '../message.ts';
import { decodeEVersion, decodeHObject, type EVersion, encodeEVersion, encodeHObject, type HObject } from '../types.ts';
import { decodeHead, encodeHead, pgCodec, type PgMessage } from './osd_osd.ts';

export const MSG_OSD_EC_READ = 110;
export const MSG_OSD_EC_READ_REPLY = 111;

/** Asks for a stretch of what the receiver's shard holds of an object. */
export interface MOSDECSubOpRead extends PgMessage {
  tid: number;
  oid: HObject;
  offset: number;
  length: number;
  /** Its xattrs, too. */
  attrs: boolean;
}

export const MOSDECSubOpRead = pgCodec<MOSDECSubOpRead>(
  MSG_OSD_EC_READ,
  'MOSDECSubOpRead',
  (e, m) => {
    e.u64(m.tid);
    encodeHObject(e, m.oid);
    e.u64(m.offset).u64(m.length).bool(m.attrs);
  },
  (d, head) => ({
    ...head,
    tid: d.u64(),
    oid: decodeHObject(d),
    offset: d.u64(),
    length: d.u64(),
    attrs: d.bool(),
  }),
);

export interface MOSDECSubOpReadReply extends PgMessage {
  tid: number;
  /** 0, or a negative errno: it is not there (ENOENT) or damaged (EIO). */
  result: number;
  /** The object's version there. */
  version: EVersion;
  xattrs: Map<string, Uint8Array>;
  data: Uint8Array;
}

export const MOSDECSubOpReadReply: MessageCodec<MOSDECSubOpReadReply> = {
  type: MSG_OSD_EC_READ_REPLY,
  name: 'MOSDECSubOpReadReply',
  version: 1,
  compat: 1,
  encode: (m) => {
    const e = new Encoder(256);
    e.u8(1);
    encodeHead(e, m);
    e.u64(m.tid).s32(m.result);
    encodeEVersion(e, m.version);
    e.stringMap(m.xattrs, (x, v) => x.blob(v));
    return { front: e.finish(), data: [m.data] };
  },
  decode: (parts) => {
    const d = new Decoder(parts.front);
    const format = d.u8();
    if (format !== 1) throw new DecodeError(`MOSDECSubOpReadReply: version ${format}, this one knows 1`);
    return {
      ...decodeHead(d),
      tid: d.u64(),
      result: d.s32(),
      version: decodeEVersion(d),
      xattrs: d.stringMap((x) => x.blob()),
      data: parts.data,
    };
  },
};
