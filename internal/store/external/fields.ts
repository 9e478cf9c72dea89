import { emptyBytes } from '../../base/bytes.ts';
import {
  alarmTypes,
  type Compare,
  type DeleteRequest,
  type KeyValue,
  type PutRequest,
  type RangeRequest,
  type RangeResponse,
  type RequestOp,
  type ResponseOp,
  sortTargets,
  type TxnRequest,
  type TxnResponse,
  type WatchEvent,
} from '../api.ts';
import { longBits, safeNumber, signedBigint } from '../mvccpb.ts';
import type { HeaderMessage, Wide } from '../etcd/messages.ts';

/** Requests of the store as an etcd takes them, and its answers as the store gives them: the other way round than `etcd/requests.ts` and `etcd/responses.ts`. */

/** An end that is there and empty means "every key from here on" to etcd, so one that is not wanted is left out. */
function end({ rangeEnd }: { rangeEnd?: Uint8Array }): { rangeEnd?: Uint8Array } {
  return rangeEnd === undefined || rangeEnd.length === 0 ? {} : { rangeEnd };
}

export function rangeFields(request: RangeRequest): object {
  const { sort } = request;
  return {
    key: request.key,
    ...end(request),
    limit: request.limit ?? 0,
    revision: request.revision ?? 0,
    keysOnly: request.keysOnly ?? false,
    countOnly: request.countOnly ?? false,
    serializable: request.serializable ?? false,
    ...(sort && { sortTarget: sortTargets.indexOf(sort.by), sortOrder: sort.descending ? 2 : 1 }),
    minModRevision: request.minModRevision ?? 0,
    maxModRevision: request.maxModRevision ?? 0,
    minCreateRevision: request.minCreateRevision ?? 0,
    maxCreateRevision: request.maxCreateRevision ?? 0,
  };
}

export function putFields(request: PutRequest): object {
  return {
    key: request.key,
    value: request.value,
    lease: longBits(request.lease ?? 0n),
    prevKv: request.prevKv ?? false,
    ignoreValue: request.ignoreValue ?? false,
    ignoreLease: request.ignoreLease ?? false,
  };
}

export function deleteFields(request: DeleteRequest): object {
  return { key: request.key, ...end(request), prevKv: request.prevKv ?? false };
}

export function txnFields(request: TxnRequest): object {
  return {
    compare: request.compare.map(compareFields),
    success: request.success.map(opFields),
    failure: request.failure.map(opFields),
  };
}

const results = { equal: 0, greater: 1, less: 2, 'not-equal': 3 } as const;

function compareFields(compare: Compare): object {
  const base = { key: compare.key, ...end(compare), result: results[compare.result] };
  switch (compare.target) {
    case 'version':
      return { ...base, target: 0, version: compare.value };
    case 'create':
      return { ...base, target: 1, createRevision: compare.value };
    case 'mod':
      return { ...base, target: 2, modRevision: compare.value };
    case 'value':
      return { ...base, target: 3, value: compare.value };
    case 'lease':
      return { ...base, target: 4, lease: longBits(compare.value) };
  }
}

function opFields(op: RequestOp): object {
  switch (op.op) {
    case 'range':
      return { requestRange: rangeFields(op.request) };
    case 'put':
      return { requestPut: putFields(op.request) };
    case 'delete':
      return { requestDeleteRange: deleteFields(op.request) };
    case 'txn':
      return { requestTxn: txnFields(op.request) };
  }
}

export interface KeyValueMessage {
  key: Uint8Array;
  value: Uint8Array;
  createRevision: Wide;
  modRevision: Wide;
  version: Wide;
  lease: Wide;
}
export interface RangeResponseMessage {
  header: HeaderMessage | null;
  kvs: KeyValueMessage[];
  more: boolean;
  count: Wide;
}
export interface PutResponseMessage {
  header: HeaderMessage | null;
  prevKv: KeyValueMessage | null;
}
export interface DeleteResponseMessage {
  header: HeaderMessage | null;
  deleted: Wide;
  prevKvs: KeyValueMessage[];
}
export interface TxnResponseMessage {
  header: HeaderMessage | null;
  succeeded: boolean;
  responses: {
    responseRange?: RangeResponseMessage | null;
    responsePut?: PutResponseMessage | null;
    responseDeleteRange?: DeleteResponseMessage | null;
    responseTxn?: TxnResponseMessage | null;
  }[];
}
export interface EventMessage {
  type: number;
  kv: KeyValueMessage;
  prevKv: KeyValueMessage | null;
}

/** protobufjs gives a plain empty array for a field that is not there. */
const given = (bytes: Uint8Array): Uint8Array => (bytes.length === 0 ? emptyBytes : bytes);

export function keyValue(m: KeyValueMessage): KeyValue {
  return {
    key: given(m.key),
    value: given(m.value),
    createRevision: safeNumber(m.createRevision),
    modRevision: safeNumber(m.modRevision),
    version: safeNumber(m.version),
    lease: signedBigint(m.lease),
  };
}

export function headerRevision(header: HeaderMessage | null): number {
  return header === null ? 0 : safeNumber(header.revision);
}

export function rangeResult(m: RangeResponseMessage): RangeResponse {
  return { revision: headerRevision(m.header), kvs: m.kvs.map(keyValue), count: safeNumber(m.count), more: m.more };
}

export function putResult(m: PutResponseMessage): { revision: number; prevKv?: KeyValue } {
  return { revision: headerRevision(m.header), ...(m.prevKv && { prevKv: keyValue(m.prevKv) }) };
}

export function deleteResult(m: DeleteResponseMessage): { revision: number; deleted: number; prevKvs: KeyValue[] } {
  return { revision: headerRevision(m.header), deleted: safeNumber(m.deleted), prevKvs: m.prevKvs.map(keyValue) };
}

/** `outer`: the revision for nested transactions, whose own header is empty. */
export function txnResult(m: TxnResponseMessage, outer = headerRevision(m.header)): TxnResponse {
  const responses = m.responses.map((response): ResponseOp => {
    if (response.responseRange) return { op: 'range', response: rangeResult(response.responseRange) };
    if (response.responsePut) return { op: 'put', response: putResult(response.responsePut) };
    if (response.responseDeleteRange) return { op: 'delete', response: deleteResult(response.responseDeleteRange) };
    return { op: 'txn', response: txnResult(response.responseTxn!, outer) };
  });
  return { revision: outer, succeeded: m.succeeded, responses };
}

export function watchEvent(m: EventMessage): WatchEvent {
  return {
    type: m.type === 1 ? 'delete' : 'put',
    kv: keyValue(m.kv),
    ...(m.prevKv && { prevKv: keyValue(m.prevKv) }),
  };
}

export function alarmNumber(type: (typeof alarmTypes)[number]): number {
  return alarmTypes.indexOf(type) + 1;
}
