import type { DeleteRequest, PutRequest, RangeRequest, RequestOp, TxnRequest } from './api.ts';
import { maxTxnDepth } from './command.ts';
import { InvalidRequestError } from './errors.ts';
import { KeyIntervals } from './intervals.ts';
import { type KeyText, keyRange, keyText } from './keys.ts';

/** Operations in one list of a transaction. etcd's own limit is 128 and is checked by its gRPC face. */
const maxOps = 10_000;
const maxKeyBytes = 64 << 10;
const maxValueBytes = 32 << 20;

function checkKey(key: Uint8Array, range: boolean): void {
  if (key.length === 0 && !range) throw new InvalidRequestError('key is not provided', 'EMPTY_KEY');
  if (key.length > maxKeyBytes) throw new InvalidRequestError(`a key of ${key.length} bytes: at most ${maxKeyBytes}`);
}

export function checkRange(request: RangeRequest): void {
  checkKey(request.key, request.rangeEnd !== undefined);
}

export function checkPut(request: PutRequest): void {
  checkKey(request.key, false);
  if (request.ignoreValue && request.value.length > 0)
    throw new InvalidRequestError('a value is provided for a put that keeps the value', 'VALUE_PROVIDED');
  if (request.ignoreLease && (request.lease ?? 0n) !== 0n)
    throw new InvalidRequestError('a lease is provided for a put that keeps the lease', 'LEASE_PROVIDED');
  if (request.value.length > maxValueBytes)
    throw new InvalidRequestError(`a value of ${request.value.length} bytes: at most ${maxValueBytes}`);
}

export function checkDelete(request: DeleteRequest): void {
  checkKey(request.key, request.rangeEnd !== undefined);
}

/** etcd's rules (server/etcdserver/api/v3rpc/key.go): nothing is put twice, nothing is put and deleted, whichever branches are taken. */
export function checkTxn(txn: TxnRequest): void {
  checkLists(txn, 0);
  checkOverlap(txn.success);
  checkOverlap(txn.failure);
}

function checkLists(txn: TxnRequest, depth: number): void {
  if (depth > maxTxnDepth)
    throw new InvalidRequestError(`transactions nested more than ${maxTxnDepth} deep`, 'TOO_MANY_OPS');
  for (const list of [txn.compare, txn.success, txn.failure])
    if (list.length > maxOps)
      throw new InvalidRequestError(`too many operations in txn request: ${list.length}`, 'TOO_MANY_OPS');
  for (const compare of txn.compare) checkKey(compare.key, compare.rangeEnd !== undefined);
  for (const op of [...txn.success, ...txn.failure]) {
    if (op.op === 'range') checkRange(op.request);
    else if (op.op === 'put') checkPut(op.request);
    else if (op.op === 'delete') checkDelete(op.request);
    else checkLists(op.request, depth + 1);
  }
}

interface Writes {
  puts: Set<KeyText>;
  deletes: KeyIntervals;
}

/**
 * What a list of operations writes. In etcd's order (checkIntervals): this list's deletes, then nested transactions one after the other, then this
 * list's puts; a put is refused that meets an earlier put or delete. The two branches of a nested one may put the same key: only one of them runs.
 */
function checkOverlap(ops: readonly RequestOp[]): Writes {
  const all: Writes = { puts: new Set(), deletes: new KeyIntervals() };
  const put = (key: KeyText, allowed?: ReadonlySet<KeyText>): void => {
    if ((all.puts.has(key) && !allowed?.has(key)) || all.deletes.has(key))
      throw new InvalidRequestError('duplicate key given in txn request', 'DUPLICATE_KEY');
    all.puts.add(key);
  };
  for (const op of ops) if (op.op === 'delete') all.deletes.add(keyRange(op.request));
  for (const op of ops) {
    if (op.op !== 'txn') continue;
    const success = checkOverlap(op.request.success);
    const failure = checkOverlap(op.request.failure);
    for (const key of success.puts) put(key);
    for (const key of failure.puts) put(key, success.puts);
    all.deletes.addAll(success.deletes);
    all.deletes.addAll(failure.deletes);
  }
  for (const op of ops) if (op.op === 'put') put(keyText(op.request.key));
  return all;
}

/** Writes nothing, whichever branches are taken: it need not go through the log. */
export function isReadOnly(txn: TxnRequest): boolean {
  return [...txn.success, ...txn.failure].every(
    (op) => op.op === 'range' || (op.op === 'txn' && isReadOnly(op.request)),
  );
}

/** Every read of a transaction that only reads may be answered by what this member has. */
export function isSerializable(txn: TxnRequest): boolean {
  return [...txn.success, ...txn.failure].every(
    (op) => (op.op === 'range' && op.request.serializable === true) || (op.op === 'txn' && isSerializable(op.request)),
  );
}

/** Puts something, whichever branch is taken: what a full store refuses. */
export function puts(ops: readonly RequestOp[]): boolean {
  return ops.some((op) => op.op === 'put' || (op.op === 'txn' && puts([...op.request.success, ...op.request.failure])));
}
