import type { DeleteRequest, PutRequest, RangeRequest, RequestOp, TxnRequest } from './api.ts';
import { maxTxnDepth } from './command.ts';
import { InvalidRequestError } from './errors.ts';
import { inRange, type KeyRange, type KeyText, keyRange, keyText } from './keys.ts';

/** Operations in one list of a transaction. etcd's own limit is 128 and is checked by its gRPC face. */
const maxOps = 10_000;
const maxKeyBytes = 64 << 10;
const maxValueBytes = 32 << 20;

function checkKey(key: Uint8Array, range: boolean): void {
  if (key.length === 0 && !range) throw new InvalidRequestError('key is not provided');
  if (key.length > maxKeyBytes) throw new InvalidRequestError(`a key of ${key.length} bytes: at most ${maxKeyBytes}`);
}

export function checkRange(request: RangeRequest): void {
  checkKey(request.key, request.rangeEnd !== undefined);
}

export function checkPut(request: PutRequest): void {
  checkKey(request.key, false);
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
  if (depth >= maxTxnDepth) throw new InvalidRequestError(`transactions nested more than ${maxTxnDepth} deep`);
  for (const list of [txn.compare, txn.success, txn.failure])
    if (list.length > maxOps) throw new InvalidRequestError(`too many operations in txn request: ${list.length}`);
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
  deletes: KeyRange[];
}

function duplicate(): InvalidRequestError {
  return new InvalidRequestError('duplicate key given in txn request');
}

function checkOverlap(ops: readonly RequestOp[]): Writes {
  const all: Writes = { puts: new Set(), deletes: [] };
  const add = (writes: Writes): void => {
    for (const put of writes.puts) {
      if (all.puts.has(put) || all.deletes.some((range) => inRange(range, put))) throw duplicate();
    }
    for (const range of writes.deletes) for (const put of all.puts) if (inRange(range, put)) throw duplicate();
    for (const put of writes.puts) all.puts.add(put);
    all.deletes.push(...writes.deletes);
  };
  for (const op of ops) {
    if (op.op === 'put') add({ puts: new Set([keyText(op.request.key)]), deletes: [] });
    else if (op.op === 'delete') add({ puts: new Set(), deletes: [keyRange(op.request)] });
    else if (op.op === 'txn') {
      // The two branches may touch the same keys: only one of them runs.
      const success = checkOverlap(op.request.success);
      const failure = checkOverlap(op.request.failure);
      add({
        puts: new Set([...success.puts, ...failure.puts]),
        deletes: [...success.deletes, ...failure.deletes],
      });
    }
  }
  return all;
}

/** Writes nothing, whichever branches are taken: it need not go through the log. */
export function isReadOnly(txn: TxnRequest): boolean {
  return [...txn.success, ...txn.failure].every(
    (op) => op.op === 'range' || (op.op === 'txn' && isReadOnly(op.request)),
  );
}
