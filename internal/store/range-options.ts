import { emptyBytes } from '../base/bytes.ts';
import type { KeyValue, RangeRequest, SortTarget } from './api.ts';

/** True when the whole range must be read before `limit` can cut: it is sorted or filtered. */
export function needsWholeRange(request: RangeRequest): boolean {
  return (
    request.sort !== undefined ||
    Boolean(request.minModRevision || request.maxModRevision || request.minCreateRevision || request.maxCreateRevision)
  );
}

/**
 * What a range answers of the keys that it found (in key order): bounds, then order, then limit, as etcd does (server/etcdserver/txn/range.go).
 * `kvs` may have been cut to `limit` already when nothing needs the whole range; then `count` tells of the rest.
 */
export function shapeRange(
  request: RangeRequest,
  kvs: readonly KeyValue[],
  count: number,
): { kvs: KeyValue[]; more: boolean } {
  if (request.countOnly) return { kvs: [], more: false };
  const limit = request.limit && request.limit > 0 ? request.limit : Number.POSITIVE_INFINITY;
  let out = kvs as KeyValue[];
  let found = count;
  if (needsWholeRange(request)) {
    out = kvs.filter((kv) => inBounds(request, kv));
    found = out.length;
    if (request.sort) {
      const order = orders[request.sort.by];
      const sign = request.sort.descending ? -1 : 1;
      out.sort((a, b) => sign * order(a, b));
    }
    if (out.length > limit) out = out.slice(0, limit);
  }
  if (request.keysOnly) out = out.map((kv) => ({ ...kv, value: emptyBytes }));
  return { kvs: out, more: found > out.length };
}

function inBounds(request: RangeRequest, kv: KeyValue): boolean {
  return (
    !(request.maxModRevision && kv.modRevision > request.maxModRevision) &&
    !(request.minModRevision && kv.modRevision < request.minModRevision) &&
    !(request.maxCreateRevision && kv.createRevision > request.maxCreateRevision) &&
    !(request.minCreateRevision && kv.createRevision < request.minCreateRevision)
  );
}

const orders: Record<SortTarget, (a: KeyValue, b: KeyValue) => number> = {
  key: (a, b) => Buffer.compare(a.key, b.key),
  version: (a, b) => a.version - b.version,
  create: (a, b) => a.createRevision - b.createRevision,
  mod: (a, b) => a.modRevision - b.modRevision,
  value: (a, b) => Buffer.compare(a.value, b.value),
};
