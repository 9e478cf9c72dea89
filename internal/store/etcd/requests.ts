import { emptyBytes } from '../../base/bytes.ts';
import type { Compare, DeleteRequest, PutRequest, RangeRequest, RequestOp, TxnRequest } from '../api.ts';
import { sortTargets } from '../api.ts';
import { safeNumber, signedBigint } from '../mvccpb.ts';
import { etcdError } from './errors.ts';
import type {
  CompareMessage,
  DeleteRangeRequestMessage,
  PutRequestMessage,
  RangeRequestMessage,
  RequestOpMessage,
  TxnRequestMessage,
} from './messages.ts';

/** Requests of the wire as the store takes them, with the checks that etcd makes before (server/etcdserver/api/v3rpc/key.go). */

export function rangeRequest(m: RangeRequestMessage): RangeRequest {
  if (m.key.length === 0) throw etcdError('EMPTY_KEY');
  const by = sortTargets[m.sortTarget];
  if (by === undefined || m.sortOrder < 0 || m.sortOrder > 2) throw etcdError('INVALID_SORT');
  // Without an order, another target than the key means ascending.
  const sorted = m.sortOrder !== 0 || by !== 'key';
  return {
    key: m.key,
    ...(m.rangeEnd.length > 0 && { rangeEnd: m.rangeEnd }),
    limit: Math.max(0, safeNumber(m.limit)),
    revision: Math.max(0, safeNumber(m.revision)),
    keysOnly: m.keysOnly,
    countOnly: m.countOnly,
    serializable: m.serializable,
    ...(sorted && { sort: { by, descending: m.sortOrder === 2 } }),
    minModRevision: safeNumber(m.minModRevision),
    maxModRevision: safeNumber(m.maxModRevision),
    minCreateRevision: safeNumber(m.minCreateRevision),
    maxCreateRevision: safeNumber(m.maxCreateRevision),
  };
}

/** protobufjs gives a plain empty array for a field that is not there. */
function given(bytes: Uint8Array): Uint8Array {
  return bytes.length === 0 ? emptyBytes : bytes;
}

export function putRequest(m: PutRequestMessage): PutRequest {
  if (m.key.length === 0) throw etcdError('EMPTY_KEY');
  return {
    key: m.key,
    value: given(m.value),
    lease: signedBigint(m.lease),
    prevKv: m.prevKv,
    ignoreValue: m.ignoreValue,
    ignoreLease: m.ignoreLease,
  };
}

export function deleteRequest(m: DeleteRangeRequestMessage): DeleteRequest {
  if (m.key.length === 0) throw etcdError('EMPTY_KEY');
  return { key: m.key, ...(m.rangeEnd.length > 0 && { rangeEnd: m.rangeEnd }), prevKv: m.prevKv };
}

const results = ['equal', 'greater', 'less', 'not-equal'] as const;

/** `maxOps` of the longest list, nested transactions included in what their parent leaves. */
export function txnRequest(m: TxnRequestMessage, maxOps: number): TxnRequest {
  const ops = Math.max(m.compare.length, m.success.length, m.failure.length);
  if (ops > maxOps) throw etcdError('TOO_MANY_OPS');
  const left = maxOps - ops;
  return {
    compare: m.compare.map(compare),
    success: m.success.map((op) => requestOp(op, left)),
    failure: m.failure.map((op) => requestOp(op, left)),
  };
}

function compare(m: CompareMessage): Compare {
  if (m.key.length === 0) throw etcdError('EMPTY_KEY');
  const result = results[m.result];
  const base = { key: m.key, result: result ?? 'equal', ...(m.rangeEnd.length > 0 && { rangeEnd: m.rangeEnd }) };
  // etcd lets a comparison by an unknown result hold, and one of an unknown target too (as 0 with 0).
  if (result === undefined || m.target < 0 || m.target > 4)
    return { ...base, result: 'greater', target: 'version', value: -1 };
  switch (m.target) {
    case 0:
      return { ...base, target: 'version', value: safeNumber(m.version ?? 0) };
    case 1:
      return { ...base, target: 'create', value: safeNumber(m.createRevision ?? 0) };
    case 2:
      return { ...base, target: 'mod', value: safeNumber(m.modRevision ?? 0) };
    case 3:
      return { ...base, target: 'value', value: given(m.value ?? emptyBytes) };
    default:
      return { ...base, target: 'lease', value: signedBigint(m.lease ?? 0) };
  }
}

function requestOp(m: RequestOpMessage, maxOps: number): RequestOp {
  if (m.requestRange) return { op: 'range', request: rangeRequest(m.requestRange) };
  if (m.requestPut) return { op: 'put', request: putRequest(m.requestPut) };
  if (m.requestDeleteRange) return { op: 'delete', request: deleteRequest(m.requestDeleteRange) };
  if (m.requestTxn) return { op: 'txn', request: txnRequest(m.requestTxn, maxOps) };
  throw etcdError('KEY_NOT_FOUND');
}
