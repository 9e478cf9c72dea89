import type { Decoder, Encoder } from '../encoding.ts';
import { frontCodec, type MessageCodec } from '../message.ts';
import { decodeIntervalSet } from '../types.ts';

/**
 * Three fields that many messages to and from the mon begin with (`src/messages/PaxosServiceMessage.h`): the version of the service's state that the
 * sender has seen, and two that are not used. Clients leave them blank.
 */
export function encodePaxosHead(e: Encoder, version = 0): void {
  e.u64(version).s16(-1).u64(0);
}
export function decodePaxosHead(d: Decoder): number {
  const version = d.u64();
  d.skip(10);
  return version;
}

/** A message without a body. */
export type Nothing = Record<never, never>;
const nothing: Nothing = Object.freeze({});

export const MPing = frontCodec<Nothing>(
  { type: 2, name: 'MPing', version: 1, compat: 1 },
  () => undefined,
  () => nothing,
);

export const MMonGetMap = frontCodec<Nothing>(
  { type: 5, name: 'MMonGetMap', version: 1, compat: 1 },
  () => undefined,
  () => nothing,
);

export const MMonMap = frontCodec<{ monmap: Uint8Array }>(
  { type: 4, name: 'MMonMap', version: 1, compat: 1 },
  (e, m) => e.blob(m.monmap),
  (d) => ({ monmap: d.blob() }),
);

export const SUBSCRIBE_ONCE = 1;

export interface Subscription {
  /** First version wanted; 0: the newest, whole. */
  start: number;
  /** Ends after one answer. */
  once: boolean;
}

export const MMonSubscribe = frontCodec<{ what: ReadonlyMap<string, Subscription>; hostname: string }>(
  { type: 15, name: 'MMonSubscribe', version: 3, compat: 1 },
  (e, m) => {
    e.stringMap(m.what, (x, s) => x.u64(s.start).u8(s.once ? SUBSCRIBE_ONCE : 0));
    e.string(m.hostname);
  },
  (d, version) => ({
    what: d.stringMap((x): Subscription => ({ start: x.u64(), once: (x.u8() & SUBSCRIBE_ONCE) !== 0 })),
    hostname: version >= 3 ? d.string() : '',
  }),
);

/** Only for peers without FEATURE_MON_STATEFUL_SUB. */
export const MMonSubscribeAck = frontCodec<{ intervalSec: number; fsid: string }>(
  { type: 16, name: 'MMonSubscribeAck', version: 1, compat: 1 },
  (e, m) => e.u32(m.intervalSec).uuid(m.fsid),
  (d) => ({ intervalSec: d.u32(), fsid: d.uuid() }),
);

export const MMonGetVersion = frontCodec<{ handle: number; what: string }>(
  { type: 19, name: 'MMonGetVersion', version: 1, compat: 1 },
  (e, m) => e.u64(m.handle).string(m.what),
  (d) => ({ handle: d.u64(), what: d.string() }),
);

export const MMonGetVersionReply = frontCodec<{ handle: number; version: number; oldest: number }>(
  { type: 20, name: 'MMonGetVersionReply', version: 2, compat: 1 },
  (e, m) => e.u64(m.handle).u64(m.version).u64(m.oldest),
  (d, version) => ({ handle: d.u64(), version: d.u64(), oldest: version >= 2 ? d.u64() : 0 }),
);

export interface MMonGetOSDMapValue {
  fullFirst: number;
  fullLast: number;
  incFirst: number;
  incLast: number;
}
export const MMonGetOSDMap = frontCodec<MMonGetOSDMapValue>(
  { type: 6, name: 'MMonGetOSDMap', version: 1, compat: 1 },
  (e, m) => {
    encodePaxosHead(e);
    e.u32(m.fullFirst).u32(m.fullLast).u32(m.incFirst).u32(m.incLast);
  },
  (d) => {
    decodePaxosHead(d);
    return { fullFirst: d.u32(), fullLast: d.u32(), incFirst: d.u32(), incLast: d.u32() };
  },
);

/** OSDMap epochs as encoded bytes (views). */
export interface MOSDMapValue {
  fsid: string;
  incrementals: ReadonlyMap<number, Uint8Array>;
  full: ReadonlyMap<number, Uint8Array>;
  /** Oldest epoch the mon keeps, and its newest. */
  oldest: number;
  newest: number;
}
export const MOSDMap = frontCodec<MOSDMapValue>(
  { type: 41, name: 'MOSDMap', version: 4, compat: 3 },
  (e, m) => {
    e.uuid(m.fsid);
    e.numberMap(
      m.incrementals,
      (x, k) => x.u32(k),
      (x, v) => x.blob(v),
    );
    e.numberMap(
      m.full,
      (x, k) => x.u32(k),
      (x, v) => x.blob(v),
    );
    e.u32(m.oldest).u32(m.newest).u32(0);
  },
  (d, version) => {
    const blobs = (): Map<number, Uint8Array> =>
      d.map(
        (x) => x.u32(),
        (x) => x.blob(),
        8,
      );
    const value: MOSDMapValue = {
      fsid: d.uuid(),
      incrementals: blobs(),
      full: blobs(),
      oldest: version >= 2 ? d.u32() : 0,
      newest: version >= 2 ? d.u32() : 0,
    };
    if (version >= 4) d.map((x) => x.s64(), decodeIntervalSet, 12);
    return value;
  },
);

export const MConfig = frontCodec<{ config: ReadonlyMap<string, string> }>(
  { type: 62, name: 'MConfig', version: 1, compat: 1 },
  (e, m) => e.stringStringMap(m.config),
  (d) => ({ config: d.stringStringMap() }),
);

/** Keys of the mon's key-value store that were subscribed to by `kv:<prefix>`; an absent value was removed. */
export interface MKVDataValue {
  version: number;
  prefix: string;
  incremental: boolean;
  data: ReadonlyMap<string, Uint8Array | undefined>;
}
export const MKVData = frontCodec<MKVDataValue>(
  { type: 54, name: 'MKVData', version: 1, compat: 1 },
  (e, m) => {
    e.u64(m.version).string(m.prefix).bool(m.incremental);
    e.stringMap(m.data, (x, v) => x.optional(v, (y, b) => y.blob(b)));
  },
  (d) => ({
    version: d.u64(),
    prefix: d.string(),
    incremental: d.bool(),
    data: d.stringMap((x) => x.optional((y) => y.blob())),
  }),
);

/** A later request of the authentication protocol over the running session: ticket renewal, rotating secrets. */
export interface MAuthValue {
  protocol: number;
  payload: Uint8Array;
  monmapEpoch: number;
}
export const MAuth: MessageCodec<MAuthValue> = frontCodec<MAuthValue>(
  { type: 17, name: 'MAuth', version: 1, compat: 1 },
  (e, m) => {
    encodePaxosHead(e);
    e.u32(m.protocol).blob(m.payload).u32(m.monmapEpoch);
  },
  (d) => {
    decodePaxosHead(d);
    return { protocol: d.u32(), payload: d.blob(), monmapEpoch: d.remaining >= 4 ? d.u32() : 0 };
  },
);

export interface MAuthReplyValue {
  protocol: number;
  result: number;
  globalId: bigint;
  payload: Uint8Array;
  message: string;
}
export const MAuthReply = frontCodec<MAuthReplyValue>(
  { type: 18, name: 'MAuthReply', version: 1, compat: 1 },
  (e, m) => e.u32(m.protocol).s32(m.result).u64b(m.globalId).blob(m.payload).string(m.message),
  (d) => ({ protocol: d.u32(), result: d.s32(), globalId: d.u64b(), payload: d.blob(), message: d.string() }),
);
