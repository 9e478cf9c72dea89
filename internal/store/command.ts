import { ByteReader, ByteWriter, DecodeError } from '../base/bytes.ts';
import {
  type Alarm,
  alarmTypes,
  type Compare,
  type RangeRequest,
  type RequestOp,
  sortTargets,
  type TxnRequest,
} from './api.ts';

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
  /** What is left of long leases, so that another leader (or the next start) does not give them their whole time again. 0: whole. */
  | { kind: 'lease-checkpoint'; checkpoints: readonly { id: bigint; remainingSeconds: number }[] }
  | { kind: 'alarm'; raise: boolean; alarm: Alarm }
  /** Revisions up to `to` may be handed out before the entries that make them are on disk. */
  | { kind: 'reserve'; to: number }
  /** After an unclean start: the next revision is beyond every reserved one, and history ends here. */
  | { kind: 'jump'; to: number }
  /** The state may lack what clients have seen: the next revision is `by` further than it would be, and history ends here. */
  | { kind: 'skip'; by: number };

/**
 * First byte of every entry; a higher one is a newer format. 2 adds sorting, revision bounds and `serializable` to ranges, what a put keeps, lease
 * checkpoints and alarms; 3 adds `skip`. An entry has the oldest format that can say it.
 */
const formatVersion = 3;
const formatOf = (kind: Command['kind']): number => (kind === 'skip' ? 3 : 2);

const kinds = {
  txn: 1,
  op: 2,
  compact: 3,
  'lease-grant': 4,
  'lease-revoke': 5,
  reserve: 6,
  jump: 7,
  'lease-checkpoint': 8,
  alarm: 9,
  skip: 10,
} as const;
const ops = ['range', 'put', 'delete', 'txn'] as const;
const results = ['equal', 'greater', 'less', 'not-equal'] as const;
const targets = ['version', 'create', 'mod', 'lease', 'value'] as const;

/**
 * How often a transaction can be in another one. As etcd's: each counts as one of the 128 operations that its parent may have (v3rpc/key.go,
 * checkTxnRequest).
 */
export const maxTxnDepth = 128;

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
  out.head.u8(formatOf(command.kind)).u8(kinds[command.kind]);
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
    case 'lease-checkpoint':
      out.head.u32(command.checkpoints.length);
      for (const { id, remainingSeconds } of command.checkpoints) out.head.u64b(id).u64(remainingSeconds);
      break;
    case 'alarm':
      out.head
        .u8(command.raise ? 1 : 0)
        .u64b(command.alarm.memberId)
        .u8(alarmTypes.indexOf(command.alarm.type));
      break;
    case 'reserve':
    case 'jump':
      out.head.u64(command.to);
      break;
    case 'skip':
      out.head.u64(command.by);
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
      writeRangeOptions(out.head, request);
      break;
    }
    case 'put':
      out.blob(op.request.key);
      out.head
        .u64b(op.request.lease ?? 0n)
        .u8((op.request.prevKv ? 1 : 0) | (op.request.ignoreValue ? 2 : 0) | (op.request.ignoreLease ? 4 : 0));
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

const bounds = ['minModRevision', 'maxModRevision', 'minCreateRevision', 'maxCreateRevision'] as const;

/** A byte of flags: keys only, count only, serializable, sorted, descending, bounds; then what the last three need. */
function writeRangeOptions(out: ByteWriter, request: RangeRequest): void {
  const { sort } = request;
  const bounded = bounds.some((bound) => request[bound]);
  out.u8(
    (request.keysOnly ? 1 : 0) |
      (request.countOnly ? 2 : 0) |
      (request.serializable ? 4 : 0) |
      (sort ? 8 : 0) |
      (sort?.descending ? 16 : 0) |
      (bounded ? 32 : 0),
  );
  if (sort) out.u8(sortTargets.indexOf(sort.by));
  if (bounded) for (const bound of bounds) out.u64(request[bound] ?? 0);
}

function readRangeOptions(r: ByteReader): Partial<RangeRequest> {
  const flags = r.u8();
  const options: Partial<RangeRequest> = {
    keysOnly: (flags & 1) !== 0,
    countOnly: (flags & 2) !== 0,
    serializable: (flags & 4) !== 0,
    ...((flags & 8) !== 0 && {
      sort: { by: pick(sortTargets, r.u8(), 'sort target'), descending: (flags & 16) !== 0 },
    }),
  };
  if ((flags & 32) !== 0) for (const bound of bounds) options[bound] = r.s64();
  return options;
}

/** Reads an entry. Keys and values are copies, so that `bytes` may be reused. */
export function decodeCommand(bytes: Uint8Array): Command {
  const r = new ByteReader(bytes);
  const version = r.u8();
  if (version < 1 || version > formatVersion)
    throw new DecodeError(`log entry of format ${version}, this version reads 1 to ${formatVersion}`);
  const kind = r.u8();
  switch (kind) {
    case kinds.txn:
      return { kind: 'txn', txn: readTxn(r, 0) };
    case kinds.op:
      return { kind: 'op', op: readOp(r, 0) };
    case kinds.compact:
      return { kind: 'compact', revision: r.s64() };
    case kinds['lease-grant']:
      return { kind: 'lease-grant', id: leaseId(r), ttlSeconds: r.u64() };
    case kinds['lease-revoke']:
      return { kind: 'lease-revoke', id: leaseId(r) };
    case kinds.reserve:
      return { kind: 'reserve', to: r.u64() };
    case kinds.jump:
      return { kind: 'jump', to: r.u64() };
    case kinds.skip:
      return { kind: 'skip', by: r.u64() };
    case kinds['lease-checkpoint']: {
      const checkpoints: { id: bigint; remainingSeconds: number }[] = [];
      for (let n = r.u32(); n > 0; n--) checkpoints.push({ id: leaseId(r), remainingSeconds: r.u64() });
      return { kind: 'lease-checkpoint', checkpoints };
    }
    case kinds.alarm: {
      const raise = r.u8() !== 0;
      return { kind: 'alarm', raise, alarm: { memberId: r.u64b(), type: pick(alarmTypes, r.u8(), 'alarm') } };
    }
    default:
      throw new DecodeError(`log entry of unknown kind ${kind}`);
  }
}

/** A lease's id is a signed number. */
function leaseId(r: ByteReader): bigint {
  return BigInt.asIntN(64, r.u64b());
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
    else if (target === 'lease') compare.push({ ...base, target, value: leaseId(r) });
    else compare.push({ ...base, target, value: r.s64() });
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
      const limit = r.s64();
      const revision = r.s64();
      return { op, request: { key, ...(rangeEnd && { rangeEnd }), limit, revision, ...readRangeOptions(r) } };
    }
    case 'put': {
      const key = blob(r);
      const lease = leaseId(r);
      const flags = r.u8();
      return {
        op,
        request: {
          key,
          lease,
          prevKv: (flags & 1) !== 0,
          ignoreValue: (flags & 2) !== 0,
          ignoreLease: (flags & 4) !== 0,
          value: blob(r),
        },
      };
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
