import { DecodeError } from '../../../base/bytes.ts';
import { Decoder, Encoder } from '../../wire/encoding.ts';
import type { Message } from '../../wire/message.ts';
import type { RawMessage } from '../../wire/messenger.ts';
import {
  decodeAddrVec,
  decodeEntityName,
  encodeAddrVec,
  encodeEntityName,
  type EntityAddrVec,
  type EntityName,
} from '../../wire/types.ts';

/**
 * What mons ask the one that leads, in Ceph's primitives. Only mons of the cluster can send it (`../peers-system.ts`); it is bounded all the same by the frame that it comes in.
 */

/** A message of a client or daemon, handed on (`MForward`), with who sent it and what it may. */
export interface ForwardedRequest {
  readonly kind: 'request';
  /** The same when it is asked again: it is carried out once. */
  readonly id: bigint;
  /** Name of the mon that hands it on. */
  readonly mon: string;
  readonly session: ForwardedSession;
  readonly message: RawMessage;
}

export interface ForwardedSession {
  readonly name: EntityName;
  readonly globalId: bigint;
  readonly caps: string;
  readonly allowAll: boolean;
  readonly addrs: EntityAddrVec;
  /** By the socket, for `network` in capabilities; empty from a mon that does not tell it: such a grant then gives nothing. */
  readonly remoteIp: string;
  readonly features: bigint;
  readonly hostname: string;
  /** It is told of new OSDMaps anyway. */
  readonly followsOsdMap: boolean;
}

/** What is to be sent to whom the request came from, once this mon's state is of the revision. */
export interface ForwardedAnswer {
  readonly revision: number;
  readonly messages: readonly RawMessage[];
}

/** A mon that follows is there. Answered at once when there is something to tell it, else a moment later. */
export interface Hello {
  readonly kind: 'hello';
  readonly name: string;
  /** How much this mon's clock is ahead of the leader's, and how long the way there takes, as the last answer showed; milliseconds. */
  readonly skewMs: number;
  readonly latencyMs: number;
  /** What `ceph mon metadata` shows of it; empty when the leader has been told. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Of who is connected with it. */
  readonly features: readonly FeatureCount[];
}

/** So many peers of a type (`ENTITY_OSD`) can do the same. */
export interface FeatureCount {
  readonly type: number;
  readonly features: bigint;
  readonly count: number;
}

export interface HelloAnswer {
  readonly leader: string;
  /** Names of the mons in quorum. */
  readonly quorum: readonly string[];
  /** The leader's clock when the question came and when the answer went. */
  readonly receivedMs: number;
  readonly sentMs: number;
  /** Messages for sessions of this mon, by their global ids. */
  readonly pushes: readonly { readonly globalId: bigint; readonly message: RawMessage }[];
}

/** Global ids that no other mon will give. */
export interface Reservation {
  readonly kind: 'reserve';
}

export type Question = ForwardedRequest | Hello | Reservation;

const kinds = { request: 1, hello: 2, reserve: 3 } as const;

function encodeRaw(e: Encoder, message: RawMessage): void {
  e.struct(1, 1, (x) => {
    x.u16(message.type).u16(message.version).u16(message.compat);
    x.u64(message.tid ?? 0).u16(message.priority ?? 0);
    x.blob(message.front)
      .blob(message.middle ?? new Uint8Array(0))
      .blobs(message.data ?? []);
  });
}

function decodeRaw(d: Decoder): RawMessage {
  return d.struct('message', 1, (x) => {
    const [type, version, compat] = [x.u16(), x.u16(), x.u16()] as const;
    const tid = x.u64();
    const priority = x.u16();
    const [front, middle, data] = [x.blob(), x.blob(), x.blob()] as const;
    return {
      type,
      version,
      compat,
      tid,
      front,
      ...(priority > 0 && { priority }),
      ...(middle.length > 0 && { middle }),
      ...(data.length > 0 && { data: [data] }),
    };
  });
}

/** As it came. */
export function rawOf(message: Message): RawMessage {
  const { type, version, compat, tid, priority, front, middle, data } = message;
  return { type, version, compat, tid, priority, front, middle, data: [data] };
}

export function encodeQuestion(question: Question): Uint8Array {
  const e = new Encoder(256);
  e.u8(kinds[question.kind]);
  e.struct(3, 1, (x) => {
    if (question.kind === 'hello') {
      x.string(question.name).f64(question.skewMs).f64(question.latencyMs).stringStringMap(question.metadata);
      x.list(question.features, (y, { type, features, count }) => y.u8(type).u64b(features).u32(count));
    } else if (question.kind === 'request') {
      const { id, mon, session, message } = question;
      x.u64b(id).string(mon);
      encodeEntityName(x, session.name);
      x.u64b(session.globalId).string(session.caps).bool(session.allowAll);
      encodeAddrVec(x, session.addrs);
      x.u64b(session.features).string(session.hostname).bool(session.followsOsdMap);
      encodeRaw(x, message);
      x.string(session.remoteIp);
    }
  });
  return e.finish();
}

/** Errors: DecodeError. */
export function decodeQuestion(bytes: Uint8Array): Question {
  const d = new Decoder(bytes);
  const kind = d.u8();
  return d.struct('question of a mon', 3, (x, version) => readQuestion(kind, version, x));
}

function readQuestion(kind: number, version: number, x: Decoder): Question {
  if (kind === kinds.reserve) return { kind: 'reserve' };
  if (kind === kinds.hello)
    return {
      kind: 'hello',
      name: x.string(),
      skewMs: x.f64(),
      latencyMs: x.f64(),
      metadata: x.stringStringMap(),
      features: version < 2 ? [] : x.list((y) => ({ type: y.u8(), features: y.u64b(), count: y.u32() }), 13),
    };
  if (kind !== kinds.request) throw new DecodeError(`a question of kind ${kind}`);
  const id = x.u64b();
  const mon = x.string();
  const session: Omit<ForwardedSession, 'remoteIp'> = {
    name: decodeEntityName(x),
    globalId: x.u64b(),
    caps: x.string(),
    allowAll: x.bool(),
    addrs: decodeAddrVec(x),
    features: x.u64b(),
    hostname: x.string(),
    followsOsdMap: x.bool(),
  };
  const message = decodeRaw(x);
  const remoteIp = version < 3 ? '' : x.string();
  return { kind: 'request', id, mon, session: { ...session, remoteIp }, message };
}

export function encodeAnswer(answer: ForwardedAnswer): Uint8Array {
  const e = new Encoder(256);
  e.struct(1, 1, (x) => x.u64(answer.revision).list(answer.messages, encodeRaw));
  return e.finish();
}

export function decodeAnswer(bytes: Uint8Array): ForwardedAnswer {
  return new Decoder(bytes).struct('answer of a mon', 1, (x) => ({
    revision: x.u64(),
    messages: x.list(decodeRaw, 6),
  }));
}

export function encodeHelloAnswer(answer: HelloAnswer): Uint8Array {
  const e = new Encoder(256);
  e.struct(1, 1, (x) => {
    x.string(answer.leader).list(answer.quorum, (y, name) => y.string(name));
    x.f64(answer.receivedMs).f64(answer.sentMs);
    x.list(answer.pushes, (y, { globalId, message }) => encodeRaw(y.u64b(globalId), message));
  });
  return e.finish();
}

export function decodeHelloAnswer(bytes: Uint8Array): HelloAnswer {
  return new Decoder(bytes).struct('answer to a hello', 1, (x) => ({
    leader: x.string(),
    quorum: x.stringList(),
    receivedMs: x.f64(),
    sentMs: x.f64(),
    pushes: x.list((y) => ({ globalId: y.u64b(), message: decodeRaw(y) }), 14),
  }));
}

export function encodeReserved(from: number, below: number): Uint8Array {
  const e = new Encoder(32);
  e.struct(1, 1, (x) => x.u64(from).u64(below));
  return e.finish();
}

export function decodeReserved(bytes: Uint8Array): { from: number; below: number } {
  return new Decoder(bytes).struct('reserved ids', 1, (x) => ({ from: x.u64(), below: x.u64() }));
}
