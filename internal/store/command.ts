import { ByteReader, ByteWriter, DecodeError } from '../base/bytes.ts';
import type { Compare, RequestOp, TxnRequest } from './api.ts';

/**
 * What the log holds: each entry is one command, and applying the same commands in the same order gives the same state on every member.
 * Everything that is not deterministic (ids, times) is decided before a command is made.
 */
export type Command =
  | { kind: 'txn'; txn: TxnRequest }
  | { kind: 'op'; op: RequestOp }
  | { kind: 'compact'; revision: number }
  | { kind: 'lease-grant'; id: bigint; ttlSeconds: number }
  | { kind: 'lease-revoke'; id: bigint }
  /** Revisions up to `to` may be handed out before the entries that make them are on disk. */
  | { kind: 'reserve'; to: number }
  /** After an unclean start: the next revision is beyond every reserved one, and history ends here. */
  | { kind: 'jump'; to: number };

/** First byte of every entry; another one is a newer format. */
const formatVersion = 1;

const kinds = { txn: 1, op: 2, compact: 3, 'lease-grant': 4, 'lease-revoke': 5, reserve: 6, jump: 7 } as const;
const ops = ['range', 'put', 'delete', 'txn'] as const;
const results = ['equal', 'greater', 'less', 'not-equal'] as const;
const targets = ['version', 'create', 'mod', 'lease', 'value'] as const;

/** Nested transactions deeper than this are refused when read and when written. */
export const maxTxnDepth = 8;

/** Values from this size on travel as pieces of their own and are not copied. */
const pieceFrom = 512;

class PieceWriter {
  readonly pieces: Uint8Array[] = [];
  head = new ByteWriter(128);

  blob(bytes: Uint8Array): void {
    this.head.u32(bytes.length);
    if (bytes.length < pieceFrom) {
      this.head.bytes(bytes);
      return;
    }
    this.pieces.push(this.head.finish(), bytes);
    this.head = new ByteWriter(128);
  }
  optional(bytes: Uint8Array | undefined): void {
    if (bytes === undefined) this.head.u8(0);
    else {
      this.head.u8(1);
      this.blob(bytes);
    }
  }
  finish(): Uint8Array[] {
    if (this.head.size > 0) this.pieces.push(this.head.finish());
    return this.pieces;
  }
}

/** The entry as pieces; large values are views of what was given. */
export function encodeCommand(command: Command): Uint8Array[] {
  const out = new PieceWriter();
  out.head.u8(formatVersion).u8(kinds[command.kind]);
  switch (command.kind) {
    case 'txn':
      writeTxn(out, command.txn);
      break;
    case 'op':
      writeOp(out, command.op);
      break;
    case 'compact':
      out.head.u64(command.revision);
      break;
    case 'lease-grant':
      out.head.u64b(command.id).u64(command.ttlSeconds);
      break;
    case 'lease-revoke':
      out.head.u64b(command.id);
      break;
    case 'reserve':
    case 'jump':
      out.head.u64(command.to);
      break;
  }
  return out.finish();
}

function writeTxn(out: PieceWriter, txn: TxnRequest): void {
  out.head.u32(txn.compare.length);
  for (const compare of txn.compare) {
    out.head.u8(targets.indexOf(compare.target)).u8(results.indexOf(compare.result));
    out.blob(compare.key);
    out.optional(compare.rangeEnd);
    if (compare.target === 'value') out.blob(compare.value);
    else if (compare.target === 'lease') out.head.u64b(compare.value);
    else out.head.u64(compare.value);
  }
  for (const branch of [txn.success, txn.failure]) {
    out.head.u32(branch.length);
    for (const op of branch) writeOp(out, op);
  }
}

function writeOp(out: PieceWriter, op: RequestOp): void {
  out.head.u8(ops.indexOf(op.op));
  switch (op.op) {
    case 'range': {
      const { request } = op;
      out.blob(request.key);
      out.optional(request.rangeEnd);
      out.head.u64(request.limit ?? 0).u64(request.revision ?? 0);
      out.head.u8((request.keysOnly ? 1 : 0) | (request.countOnly ? 2 : 0));
      break;
    }
    case 'put':
      out.blob(op.request.key);
      out.head.u64b(op.request.lease ?? 0n).u8(op.request.prevKv ? 1 : 0);
      out.blob(op.request.value);
      break;
    case 'delete':
      out.blob(op.request.key);
      out.optional(op.request.rangeEnd);
      out.head.u8(op.request.prevKv ? 1 : 0);
      break;
    case 'txn':
      writeTxn(out, op.request);
      break;
  }
}

/** Reads an entry. Keys and values are copies, so that `bytes` may be reused. */
export function decodeCommand(bytes: Uint8Array): Command {
  const r = new ByteReader(bytes);
  const version = r.u8();
  if (version !== formatVersion) throw new DecodeError(`log entry of format ${version}, this version reads 1`);
  const kind = r.u8();
  switch (kind) {
    case kinds.txn:
      return { kind: 'txn', txn: readTxn(r, 0) };
    case kinds.op:
      return { kind: 'op', op: readOp(r, 0) };
    case kinds.compact:
      return { kind: 'compact', revision: r.u64() };
    case kinds['lease-grant']:
      return { kind: 'lease-grant', id: r.u64b(), ttlSeconds: r.u64() };
    case kinds['lease-revoke']:
      return { kind: 'lease-revoke', id: r.u64b() };
    case kinds.reserve:
      return { kind: 'reserve', to: r.u64() };
    case kinds.jump:
      return { kind: 'jump', to: r.u64() };
    default:
      throw new DecodeError(`log entry of unknown kind ${kind}`);
  }
}

function blob(r: ByteReader): Uint8Array {
  return r.bytes(r.u32()).slice();
}

function optional(r: ByteReader): Uint8Array | undefined {
  return r.u8() === 0 ? undefined : blob(r);
}

function pick<T>(list: readonly T[], index: number, what: string): T {
  const found = list[index];
  if (found === undefined) throw new DecodeError(`log entry with unknown ${what} ${index}`);
  return found;
}

function readTxn(r: ByteReader, depth: number): TxnRequest {
  if (depth > maxTxnDepth) throw new DecodeError('log entry with a transaction nested too deeply');
  const compare: Compare[] = [];
  for (let n = r.u32(); n > 0; n--) {
    const target = pick(targets, r.u8(), 'comparison');
    const result = pick(results, r.u8(), 'comparison result');
    const key = blob(r);
    const rangeEnd = optional(r);
    const base = { key, result, ...(rangeEnd && { rangeEnd }) };
    if (target === 'value') compare.push({ ...base, target, value: blob(r) });
    else if (target === 'lease') compare.push({ ...base, target, value: r.u64b() });
    else compare.push({ ...base, target, value: r.u64() });
  }
  const branches: RequestOp[][] = [[], []];
  for (const branch of branches) for (let n = r.u32(); n > 0; n--) branch.push(readOp(r, depth + 1));
  return { compare, success: branches[0]!, failure: branches[1]! };
}

function readOp(r: ByteReader, depth: number): RequestOp {
  const op = pick(ops, r.u8(), 'operation');
  switch (op) {
    case 'range': {
      const key = blob(r);
      const rangeEnd = optional(r);
      const limit = r.u64();
      const revision = r.u64();
      const flags = r.u8();
      return {
        op,
        request: {
          key,
          ...(rangeEnd && { rangeEnd }),
          limit,
          revision,
          keysOnly: (flags & 1) !== 0,
          countOnly: (flags & 2) !== 0,
        },
      };
    }
    case 'put': {
      const key = blob(r);
      const lease = r.u64b();
      const prevKv = r.u8() !== 0;
      return { op, request: { key, lease, prevKv, value: blob(r) } };
    }
    case 'delete': {
      const key = blob(r);
      const rangeEnd = optional(r);
      return { op, request: { key, ...(rangeEnd && { rangeEnd }), prevKv: r.u8() !== 0 } };
    }
    case 'txn':
      return { op, request: readTxn(r, depth) };
  }
}
