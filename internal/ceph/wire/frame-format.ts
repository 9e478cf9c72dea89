import { DecodeError, getU16, getU32, putU16, putU32, putU64 } from '../../base/bytes.ts';
import { rawCrc32c } from '../../base/crc32c.ts';
import { Decoder, Encoder } from './encoding.ts';
import { decodeAddr, decodeAddrVec, type EntityAddr, type EntityAddrVec, encodeAddr, encodeAddrVec } from './types.ts';

/**
 * Frames of msgr2 revision 1 (`doc/dev/msgr2.rst`, `src/msg/async/frames_v2.h`): a 32-byte preamble, up to four segments, and behind frames of
 * several segments an epilogue with their checksums.
 */

export const TAG_HELLO = 1;
export const TAG_AUTH_REQUEST = 2;
export const TAG_AUTH_BAD_METHOD = 3;
export const TAG_AUTH_REPLY_MORE = 4;
export const TAG_AUTH_REQUEST_MORE = 5;
export const TAG_AUTH_DONE = 6;
export const TAG_AUTH_SIGNATURE = 7;
export const TAG_CLIENT_IDENT = 8;
export const TAG_SERVER_IDENT = 9;
export const TAG_IDENT_MISSING_FEATURES = 10;
export const TAG_SESSION_RECONNECT = 11;
export const TAG_SESSION_RESET = 12;
export const TAG_SESSION_RETRY = 13;
export const TAG_SESSION_RETRY_GLOBAL = 14;
export const TAG_SESSION_RECONNECT_OK = 15;
export const TAG_WAIT = 16;
export const TAG_MESSAGE = 17;
export const TAG_KEEPALIVE2 = 18;
export const TAG_KEEPALIVE2_ACK = 19;
export const TAG_ACK = 20;

export const PREAMBLE_BYTES = 32;
export const MAX_SEGMENTS = 4;
/** late_status (1) and the checksums of segments 1 to 3. */
export const EPILOGUE_BYTES = 13;
export const LATE_COMPLETE = 0x0e;
export const LATE_MASK = 0x0f;

const segmentAlignment = [8, 8, 8, 4096] as const;

export interface Preamble {
  readonly tag: number;
  readonly lengths: readonly number[];
}

/** Writes the preamble at the start of `out`. Trailing empty segments are left out. */
export function writePreamble(out: Uint8Array, tag: number, lengths: readonly number[]): void {
  let count = lengths.length;
  while (count > 1 && lengths[count - 1] === 0) count--;
  out.fill(0, 0, PREAMBLE_BYTES);
  out[0] = tag;
  out[1] = count;
  for (let i = 0; i < count; i++) {
    putU32(out, 2 + i * 6, lengths[i]!);
    putU16(out, 6 + i * 6, segmentAlignment[i]!);
  }
  putU32(out, 28, rawCrc32c(0, out, 0, 28));
}

/** Bounds on the segments of one frame. */
export interface FrameLimits {
  maxFrontBytes: number;
  maxDataBytes: number;
}

/** The preamble at `at` of `bytes`. */
export function readPreamble(bytes: Uint8Array, limits: FrameLimits, at = 0): Preamble {
  if (rawCrc32c(0, bytes, at, at + 28) !== getU32(bytes, at + 28))
    throw new DecodeError('frame preamble: checksum mismatch');
  const tag = bytes[at]!;
  const count = bytes[at + 1]!;
  if (count < 1 || count > MAX_SEGMENTS) throw new DecodeError(`frame preamble: ${count} segments`);
  if (tag < TAG_HELLO || tag > TAG_ACK) throw new DecodeError(`frame preamble: tag ${tag}`);
  if (count > 1 && tag !== TAG_MESSAGE) throw new DecodeError(`frame of tag ${tag} with ${count} segments`);
  const lengths: number[] = [];
  for (let i = 0; i < count; i++) {
    const length = getU32(bytes, at + 2 + i * 6);
    const limit = i === 3 ? limits.maxDataBytes : limits.maxFrontBytes;
    if (length > limit) throw new DecodeError(`frame segment ${i} of ${length} bytes, at most ${limit} are accepted`);
    lengths.push(length);
  }
  if (count > 1 && lengths[count - 1] === 0) throw new DecodeError('frame preamble: last segment is empty');
  return { tag, lengths };
}

/** A whole frame received. */
export interface Frame {
  readonly tag: number;
  /** Always four; missing ones are empty. */
  readonly segments: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  /** Set by the sender when it gave up half way: drop the frame. */
  readonly aborted: boolean;
}

/** `ceph_msg_header2`, segment 0 of a MESSAGE frame. */
export interface MessageHeader {
  seq: number;
  tid: number;
  type: number;
  priority: number;
  version: number;
  compat: number;
  ackSeq: number;
  flags: number;
}

export const MESSAGE_HEADER_BYTES = 41;

export function writeMessageHeader(out: Uint8Array, at: number, h: MessageHeader): void {
  out.fill(0, at, at + MESSAGE_HEADER_BYTES);
  putU64(out, at, h.seq);
  putU64(out, at + 8, h.tid);
  putU16(out, at + 16, h.type);
  putU16(out, at + 18, h.priority);
  putU16(out, at + 20, h.version);
  putU64(out, at + 28, h.ackSeq);
  out[at + 36] = h.flags;
  putU16(out, at + 37, h.compat);
}

function headerU64(segment: Uint8Array, at: number, what: string): number {
  const value = getU32(segment, at + 4) * 0x1_0000_0000 + getU32(segment, at);
  if (value > Number.MAX_SAFE_INTEGER) throw new DecodeError(`message header: ${what} beyond 2^53`);
  return value;
}

export function readMessageHeader(segment: Uint8Array): MessageHeader {
  if (segment.length !== MESSAGE_HEADER_BYTES)
    throw new DecodeError(`message header of ${segment.length} bytes, not ${MESSAGE_HEADER_BYTES}`);
  return {
    seq: headerU64(segment, 0, 'seq'),
    tid: headerU64(segment, 8, 'tid'),
    type: getU16(segment, 16),
    priority: getU16(segment, 18),
    version: getU16(segment, 20),
    ackSeq: headerU64(segment, 28, 'ack_seq'),
    flags: segment[36]!,
    compat: getU16(segment, 37),
  };
}

export const BANNER_BYTES = 26;
/** msgr2 feature bit 0: revision 1, the only one spoken here. */
const MSGR2_REVISION_1 = 1n;
const bannerText = 'ceph v2\n';

export function encodeBanner(): Uint8Array {
  const e = new Encoder(BANNER_BYTES);
  for (let i = 0; i < bannerText.length; i++) e.u8(bannerText.charCodeAt(i));
  return e.u16(16).u64b(MSGR2_REVISION_1).u64b(0n).finish();
}

/** Throws DecodeError when the peer is no msgr2.1 peer. */
export function checkBanner(bytes: Uint8Array): void {
  for (let i = 0; i < bannerText.length; i++)
    if (bytes[i] !== bannerText.charCodeAt(i)) throw new DecodeError('the peer does not speak msgr2 (no banner)');
  const d = new Decoder(bytes.subarray(8));
  const length = d.u16();
  if (length !== 16) throw new DecodeError(`msgr2 banner payload of ${length} bytes`);
  const supported = d.u64b();
  const required = d.u64b();
  if ((supported & MSGR2_REVISION_1) === 0n) throw new DecodeError('the peer speaks msgr2.0 only; 2.1 is needed');
  if ((required & ~MSGR2_REVISION_1) !== 0n)
    throw new DecodeError(`the peer requires msgr2 features 0x${required.toString(16)}`);
}

export interface Hello {
  entityType: number;
  /** How the sender sees the receiver. */
  peerAddr: EntityAddr;
}
export function encodeHello(h: Hello): Uint8Array {
  const e = new Encoder();
  e.u8(h.entityType);
  encodeAddr(e, h.peerAddr);
  return e.finish();
}
export function decodeHello(bytes: Uint8Array): Hello {
  const d = new Decoder(bytes);
  return { entityType: d.u8(), peerAddr: decodeAddr(d) };
}

export interface AuthRequest {
  method: number;
  modes: number[];
  payload: Uint8Array;
}
export function encodeAuthRequest(a: { method: number; modes: readonly number[]; payload: Uint8Array }): Uint8Array {
  const e = new Encoder();
  return e
    .u32(a.method)
    .list(a.modes, (x, m) => x.u32(m))
    .blob(a.payload)
    .finish();
}
export function decodeAuthRequest(bytes: Uint8Array): AuthRequest {
  const d = new Decoder(bytes);
  return { method: d.u32(), modes: d.list((x) => x.u32(), 4), payload: d.blob() };
}

export interface AuthBadMethod {
  method: number;
  result: number;
  methods: number[];
  modes: number[];
}
export function encodeAuthBadMethod(a: {
  method: number;
  result: number;
  methods: readonly number[];
  modes: readonly number[];
}): Uint8Array {
  const e = new Encoder();
  return e
    .u32(a.method)
    .s32(a.result)
    .list(a.methods, (x, m) => x.u32(m))
    .list(a.modes, (x, m) => x.u32(m))
    .finish();
}
export function decodeAuthBadMethod(bytes: Uint8Array): AuthBadMethod {
  const d = new Decoder(bytes);
  return {
    method: d.u32(),
    result: d.s32(),
    methods: d.list((x) => x.u32(), 4),
    modes: d.list((x) => x.u32(), 4),
  };
}

/** AUTH_REPLY_MORE and AUTH_REQUEST_MORE carry one bufferlist. */
export function encodeAuthMore(payload: Uint8Array): Uint8Array {
  return new Encoder(payload.length + 4).blob(payload).finish();
}
export function decodeAuthMore(bytes: Uint8Array): Uint8Array {
  return new Decoder(bytes).blob();
}

export interface AuthDone {
  globalId: bigint;
  mode: number;
  payload: Uint8Array;
}
export function encodeAuthDone(a: AuthDone): Uint8Array {
  return new Encoder().u64b(a.globalId).u32(a.mode).blob(a.payload).finish();
}
export function decodeAuthDone(bytes: Uint8Array): AuthDone {
  const d = new Decoder(bytes);
  return { globalId: d.u64b(), mode: d.u32(), payload: d.blob() };
}

/** Flag of CLIENT_IDENT and SERVER_IDENT: the session ends with the transport. */
export const IDENT_LOSSY = 1n;

export interface ClientIdent {
  addrs: EntityAddrVec;
  target: EntityAddr;
  /** Number of the entity; the global id of a client. */
  num: number;
  globalSeq: bigint;
  supported: bigint;
  required: bigint;
  flags: bigint;
  cookie: bigint;
}
export function encodeClientIdent(i: ClientIdent): Uint8Array {
  const e = new Encoder();
  encodeAddrVec(e, i.addrs);
  encodeAddr(e, i.target);
  return e.s64(i.num).u64b(i.globalSeq).u64b(i.supported).u64b(i.required).u64b(i.flags).u64b(i.cookie).finish();
}
export function decodeClientIdent(bytes: Uint8Array): ClientIdent {
  const d = new Decoder(bytes);
  return {
    addrs: decodeAddrVec(d),
    target: decodeAddr(d),
    num: d.s64(),
    globalSeq: d.u64b(),
    supported: d.u64b(),
    required: d.u64b(),
    flags: d.u64b(),
    cookie: d.u64b(),
  };
}

export type ServerIdent = Omit<ClientIdent, 'target'>;

export function encodeServerIdent(i: ServerIdent): Uint8Array {
  const e = new Encoder();
  encodeAddrVec(e, i.addrs);
  return e.s64(i.num).u64b(i.globalSeq).u64b(i.supported).u64b(i.required).u64b(i.flags).u64b(i.cookie).finish();
}
export function decodeServerIdent(bytes: Uint8Array): ServerIdent {
  const d = new Decoder(bytes);
  return {
    addrs: decodeAddrVec(d),
    num: d.s64(),
    globalSeq: d.u64b(),
    supported: d.u64b(),
    required: d.u64b(),
    flags: d.u64b(),
    cookie: d.u64b(),
  };
}

export interface SessionReconnect {
  addrs: EntityAddrVec;
  clientCookie: bigint;
  serverCookie: bigint;
  globalSeq: bigint;
  connectSeq: bigint;
  /** Last message number received. */
  messageSeq: number;
}
export function encodeSessionReconnect(r: SessionReconnect): Uint8Array {
  const e = new Encoder();
  encodeAddrVec(e, r.addrs);
  return e.u64b(r.clientCookie).u64b(r.serverCookie).u64b(r.globalSeq).u64b(r.connectSeq).u64(r.messageSeq).finish();
}
export function decodeSessionReconnect(bytes: Uint8Array): SessionReconnect {
  const d = new Decoder(bytes);
  return {
    addrs: decodeAddrVec(d),
    clientCookie: d.u64b(),
    serverCookie: d.u64b(),
    globalSeq: d.u64b(),
    connectSeq: d.u64b(),
    messageSeq: d.u64(),
  };
}
