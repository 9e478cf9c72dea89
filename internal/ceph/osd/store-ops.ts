import { bytesEqual, DecodeError, emptyBytes } from '../../base/bytes.ts';
import type { CollectionId, TransactionOp } from '../blockstore/api.ts';
import { Decoder, Encoder } from '../wire/encoding.ts';

/**
 * Store operations of one PG as they travel to its replicas: code, key, arguments; payloads of writes go beside in the data segment, uncopied.
 * Codes are ours and never change their meaning.
 */
const TOUCH = 1;
const WRITE = 2;
const ZERO = 3;
const TRUNCATE = 4;
const REMOVE = 5;
const CLONE = 6;
const CLONE_RANGE = 7;
const SET_XATTRS = 8;
const REMOVE_XATTR = 9;
const CLEAR_XATTRS = 10;
const OMAP_SET = 11;
const OMAP_REMOVE = 12;
const OMAP_REMOVE_RANGE = 13;
const OMAP_CLEAR = 14;
const OMAP_SET_HEADER = 15;

function entries(e: Encoder, map: ReadonlyMap<string, Uint8Array>): void {
  e.map(
    map,
    (x, k) => x.string(k),
    (x, v) => x.blob(v),
  );
}

export function encodeStoreOps(ops: readonly TransactionOp[]): { bytes: Uint8Array; data: Uint8Array[] } {
  const e = new Encoder(256);
  const data: Uint8Array[] = [];
  // Hints follow the operations: OSDs that know nothing of them stop reading before.
  const hints: { before: number; key: Uint8Array; flags: number }[] = [];
  let count = 0;
  for (const op of ops)
    if (op.op === 'set-alloc-hint') hints.push({ before: count, key: op.key, flags: op.flags });
    else count++;
  e.u8(1).u32(count);
  for (const op of ops) {
    switch (op.op) {
      case 'set-alloc-hint':
        break;
      case 'touch':
        e.u8(TOUCH).blob(op.key);
        break;
      case 'write': {
        let length = 0;
        for (const piece of op.data) {
          length += piece.length;
          data.push(piece);
        }
        e.u8(WRITE).blob(op.key).u64(op.offset).u32(length);
        break;
      }
      case 'zero':
        e.u8(ZERO).blob(op.key).u64(op.offset).u64(op.length);
        break;
      case 'truncate':
        e.u8(TRUNCATE).blob(op.key).u64(op.size);
        break;
      case 'remove':
        e.u8(REMOVE).blob(op.key);
        break;
      case 'clone':
        e.u8(CLONE).blob(op.from).blob(op.to);
        break;
      case 'clone-range':
        e.u8(CLONE_RANGE).blob(op.from).blob(op.to).u64(op.offset).u64(op.length);
        break;
      case 'set-xattrs':
        e.u8(SET_XATTRS).blob(op.key);
        entries(e, op.xattrs);
        break;
      case 'remove-xattr':
        e.u8(REMOVE_XATTR).blob(op.key).string(op.name);
        break;
      case 'clear-xattrs':
        e.u8(CLEAR_XATTRS).blob(op.key);
        break;
      case 'omap-set':
        e.u8(OMAP_SET).blob(op.key);
        entries(e, op.entries);
        break;
      case 'omap-remove':
        e.u8(OMAP_REMOVE)
          .blob(op.key)
          .list(op.keys, (x, k) => x.string(k));
        break;
      case 'omap-remove-range':
        e.u8(OMAP_REMOVE_RANGE).blob(op.key).string(op.first).string(op.last);
        break;
      case 'omap-clear':
        e.u8(OMAP_CLEAR).blob(op.key);
        break;
      case 'omap-set-header':
        e.u8(OMAP_SET_HEADER).blob(op.key).blob(op.header);
        break;
      default:
        throw new RangeError(`store operation ${op.op} does not travel`);
    }
  }
  if (hints.length > 0) e.list(hints, (x, { before, key, flags }) => x.u32(before).blob(key).u32(flags));
  return { bytes: e.finish(), data };
}

/** The reverse, for collection `cid`; `data` is the message's data segment. */
export function decodeStoreOps(bytes: Uint8Array, data: Uint8Array, cid: CollectionId): TransactionOp[] {
  if (bytes.length === 0) return [];
  const d = new Decoder(bytes);
  const format = d.u8();
  if (format !== 1) throw new DecodeError(`store operations of version ${format}, this one knows 1`);
  const payload = new Decoder(data);
  const count = d.count(5);
  const ops: TransactionOp[] = [];
  let key: Uint8Array = emptyBytes;
  for (let i = 0; i < count; i++) {
    const code = d.u8();
    const next = d.blob();
    // The store looks at an object once as long as it is named by the very same key.
    if (!bytesEqual(next, key)) key = next;
    ops.push(decodeOp(d, payload, cid, code, key));
  }
  return d.remaining > 0 ? withHints(d, ops, cid) : ops;
}

/** Puts hints, which follow the operations, each before the operation that it came before. */
function withHints(d: Decoder, ops: readonly TransactionOp[], cid: CollectionId): TransactionOp[] {
  const out: TransactionOp[] = [];
  let next = 0;
  for (const { before, key, flags } of d.list((x) => ({ before: x.u32(), key: x.blob(), flags: x.u32() }), 12)) {
    if (before < next || before > ops.length) throw new DecodeError(`a hint before operation ${before}`);
    out.push(...ops.slice(next, before), { op: 'set-alloc-hint', cid, key, flags });
    next = before;
  }
  out.push(...ops.slice(next));
  return out;
}

function decodeOp(d: Decoder, payload: Decoder, cid: CollectionId, code: number, key: Uint8Array): TransactionOp {
  switch (code) {
    case TOUCH:
      return { op: 'touch', cid, key };
    case WRITE: {
      const offset = d.u64();
      return { op: 'write', cid, key, offset, data: [payload.bytes(d.u32())] };
    }
    case ZERO:
      return { op: 'zero', cid, key, offset: d.u64(), length: d.u64() };
    case TRUNCATE:
      return { op: 'truncate', cid, key, size: d.u64() };
    case REMOVE:
      return { op: 'remove', cid, key };
    case CLONE:
      return { op: 'clone', cid, from: key, to: d.blob() };
    case CLONE_RANGE:
      return { op: 'clone-range', cid, from: key, to: d.blob(), offset: d.u64(), length: d.u64() };
    case SET_XATTRS:
      return { op: 'set-xattrs', cid, key, xattrs: d.stringMap((x) => x.blob()) };
    case REMOVE_XATTR:
      return { op: 'remove-xattr', cid, key, name: d.string() };
    case CLEAR_XATTRS:
      return { op: 'clear-xattrs', cid, key };
    case OMAP_SET:
      return { op: 'omap-set', cid, key, entries: d.stringMap((x) => x.blob()) };
    case OMAP_REMOVE:
      return { op: 'omap-remove', cid, key, keys: d.stringList() };
    case OMAP_REMOVE_RANGE:
      return { op: 'omap-remove-range', cid, key, first: d.string(), last: d.string() };
    case OMAP_CLEAR:
      return { op: 'omap-clear', cid, key };
    case OMAP_SET_HEADER:
      return { op: 'omap-set-header', cid, key, header: d.blob() };
    default:
      throw new DecodeError(`store operation ${code}`);
  }
}
