import { Writer } from 'protobufjs/minimal.js';
import type { KeyValue, RangeResponse, ResponseOp, TxnResponse, WatchEvent } from '../api.ts';
import { keyValueFieldsSize, longBits, writeKeyValueFields } from '../mvccpb.ts';

/** Answers of the store on the wire. Written by hand because they are what most of a busy server's time goes to. */

/** Writes `ResponseHeader` fields; made once for a member. */
export class HeaderWriter {
  readonly #ids: Uint8Array;
  readonly #term: () => number;

  constructor(ids: { clusterId: bigint; memberId: bigint }, term: () => number) {
    this.#ids = Writer.create()
      .uint32(8)
      .uint64(longBits(ids.clusterId) as never)
      .uint32(16)
      .uint64(longBits(ids.memberId) as never)
      .finish();
    this.#term = term;
  }

  get term(): number {
    return this.#term();
  }

  /** Field 1 of every answer. */
  write(w: Writer, revision: number): Writer {
    w.uint32(10).fork();
    raw(w, this.#ids);
    if (revision !== 0) w.uint32(24).int64(revision);
    const term = this.#term();
    if (term !== 0) w.uint32(32).uint64(term);
    return w.ldelim();
  }
}

interface RawWriter {
  _push<T>(fn: (value: T, buffer: Uint8Array, at: number) => void, length: number, value: T): Writer;
}

/** Bytes that are fields already: no length before them. */
function raw(w: Writer, bytes: Uint8Array): void {
  (w as unknown as RawWriter)._push((value, buffer, at) => buffer.set(value, at), bytes.length, bytes);
}

/** A field for each; they are written when the whole message is, straight to their place. */
function keyValueFields(w: Writer, tag: number, kvs: readonly KeyValue[]): void {
  (w as unknown as RawWriter)._push(
    (values, buffer, at) => writeKeyValueFields(buffer, at, tag, values),
    keyValueFieldsSize(tag, kvs),
    kvs,
  );
}

function keyValueField(w: Writer, tag: number, kv: KeyValue): void {
  keyValueFields(w, tag, [kv]);
}

export function rangeResponse(header: HeaderWriter, response: RangeResponse): Uint8Array {
  return rangeFields(header.write(Writer.create(), response.revision), response).finish();
}

function rangeFields(w: Writer, { kvs, more, count }: RangeResponse): Writer {
  if (kvs.length > 0) keyValueFields(w, 18, kvs);
  if (more) w.uint32(24).bool(true);
  if (count !== 0) w.uint32(32).int64(count);
  return w;
}

export function putResponse(header: HeaderWriter, response: { revision: number; prevKv?: KeyValue }): Uint8Array {
  const w = header.write(Writer.create(), response.revision);
  if (response.prevKv) keyValueField(w, 18, response.prevKv);
  return w.finish();
}

type Deleted = { revision: number; deleted: number; prevKvs: KeyValue[] };

export function deleteResponse(header: HeaderWriter, response: Deleted): Uint8Array {
  return deleteFields(header.write(Writer.create(), response.revision), response).finish();
}

function deleteFields(w: Writer, { deleted, prevKvs }: Deleted): Writer {
  if (deleted !== 0) w.uint32(16).int64(deleted);
  if (prevKvs.length > 0) keyValueFields(w, 26, prevKvs);
  return w;
}

export function txnResponse(header: HeaderWriter, response: TxnResponse): Uint8Array {
  return txnFields(header.write(Writer.create(), response.revision), response).finish();
}

function txnFields(w: Writer, { succeeded, responses }: TxnResponse): Writer {
  if (succeeded) w.uint32(16).bool(true);
  for (const response of responses) {
    w.uint32(26).fork();
    responseOp(w, response);
    w.ldelim();
  }
  return w;
}

/** Inside a transaction etcd's headers have a revision and nothing else. */
function innerHeader(w: Writer, revision: number): Writer {
  w.uint32(10).fork();
  if (revision !== 0) w.uint32(24).int64(revision);
  return w.ldelim();
}

function responseOp(w: Writer, op: ResponseOp): void {
  switch (op.op) {
    case 'range':
      rangeFields(innerHeader(w.uint32(10).fork(), op.response.revision), op.response).ldelim();
      break;
    case 'put':
      innerHeader(w.uint32(18).fork(), op.response.revision);
      if (op.response.prevKv) keyValueField(w, 18, op.response.prevKv);
      w.ldelim();
      break;
    case 'delete':
      deleteFields(innerHeader(w.uint32(26).fork(), op.response.revision), op.response).ldelim();
      break;
    case 'txn':
      // etcd leaves a nested transaction's own header empty.
      txnFields(innerHeader(w.uint32(34).fork(), 0), op.response).ldelim();
      break;
  }
}

/** `Event` fields: the type of a put is the default. */
export function eventBytes(event: WatchEvent): Uint8Array {
  const w = Writer.create();
  if (event.type === 'delete') {
    w.uint32(8).int32(1);
    // etcd tells of a deleted key its name and the revision only.
    w.uint32(18).fork().uint32(10).bytes(event.kv.key).uint32(24).int64(event.kv.modRevision).ldelim();
  } else keyValueField(w, 18, event.kv);
  if (event.prevKv) keyValueField(w, 26, event.prevKv);
  return w.finish();
}

export interface WatchAnswer {
  revision: number;
  watchId: number;
  created?: boolean;
  canceled?: boolean;
  compactRevision?: number;
  cancelReason?: string;
  fragment?: boolean;
  /** Each as `eventBytes` gives it. */
  events?: readonly Uint8Array[];
}

export function watchResponse(header: HeaderWriter, answer: WatchAnswer): Uint8Array {
  const w = header.write(Writer.create(), answer.revision);
  if (answer.watchId !== 0) w.uint32(16).int64(answer.watchId);
  if (answer.created) w.uint32(24).bool(true);
  if (answer.canceled) w.uint32(32).bool(true);
  if (answer.compactRevision) w.uint32(40).int64(answer.compactRevision);
  if (answer.cancelReason) w.uint32(50).string(answer.cancelReason);
  if (answer.fragment) w.uint32(56).bool(true);
  for (const event of answer.events ?? []) w.uint32(90).bytes(event);
  return w.finish();
}
