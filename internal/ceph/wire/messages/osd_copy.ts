import { DecodeError } from '../../../base/bytes.ts';
import { Decoder, Encoder, type UTime } from '../encoding.ts';
import type { MessageCodec } from '../message.ts';
import { decodeHObject, encodeHObject, type HObject } from '../types.ts';
import {
  decodeHead,
  decodeCursor,
  decodePushItem,
  encodeCursor,
  encodeHead,
  encodePushItem,
  type PgMessage,
  pgCodec,
  type PushCursor,
  type PushItem,
} from './osd_osd.ts';

/** Of the project's own: upstream's OSDs read the source of a copy as clients of one another. */
export const MSG_OSD_COPY_GET = 0xce0;
export const MSG_OSD_COPY_GET_REPLY = 0xce1;

/** Asks the primary of an object's PG for a piece of the object, which another OSD copies (COPY_FROM). */
export interface MOSDCopyGet extends PgMessage {
  tid: number;
  /** `snap`: the snapshot to read, not a clone's id. */
  oid: HObject;
  from: PushCursor;
  /** The user version that the object must have; 0: any. */
  userVersion: number;
}

export const MOSDCopyGet = pgCodec<MOSDCopyGet>(
  MSG_OSD_COPY_GET,
  'MOSDCopyGet',
  (e, m) => {
    e.u64(m.tid);
    encodeHObject(e, m.oid);
    encodeCursor(e, m.from);
    e.u64(m.userVersion);
  },
  (d, head) => ({ ...head, tid: d.u64(), oid: decodeHObject(d), from: decodeCursor(d), userVersion: d.u64() }),
);

export interface MOSDCopyGetReply extends PgMessage {
  tid: number;
  /** 0, or a negative errno; then nothing else counts. */
  result: number;
  userVersion: number;
  mtime: UTime;
  truncateSeq: number;
  truncateSize: number;
  item: PushItem;
}

export const MOSDCopyGetReply: MessageCodec<MOSDCopyGetReply> = {
  type: MSG_OSD_COPY_GET_REPLY,
  name: 'MOSDCopyGetReply',
  version: 1,
  compat: 1,
  encode: (m) => {
    const e = new Encoder(256);
    e.u8(1);
    encodeHead(e, m);
    e.u64(m.tid).s32(m.result).u64(m.userVersion).utime(m.mtime).u32(m.truncateSeq).u64(m.truncateSize);
    encodePushItem(e, m.item);
    return { front: e.finish(), data: m.item.data };
  },
  decode: (parts) => {
    const d = new Decoder(parts.front);
    const format = d.u8();
    if (format !== 1) throw new DecodeError(`MOSDCopyGetReply: version ${format}, this one knows 1`);
    return {
      ...decodeHead(d),
      tid: d.u64(),
      result: d.s32(),
      userVersion: d.u64(),
      mtime: d.utime(),
      truncateSeq: d.u32(),
      truncateSize: d.u64(),
      item: decodePushItem(d, new Decoder(parts.data)),
    };
  },
};
