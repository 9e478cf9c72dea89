import {
  OP,
  OP_MODE_CACHE,
  OP_MODE_READ,
  OP_MODE_WRITE,
  OP_TYPE_MASK,
  OP_TYPE_PG,
  type OsdOp,
  WATCH_OP_PING,
} from '../../wire/messages/osd_op.ts';
import { textFromBytes } from '../../wire/encoding.ts';
import { EINVAL, EOPNOTSUPP } from './errno.ts';

/** What a class method may do, by its registration. */
export interface MethodFlags {
  read: boolean;
  write: boolean;
}

export type MethodLookup = (className: string, method: string) => MethodFlags | undefined;

/** What the ops of a request may do (`OpInfo::set_from_op`). */
export interface OpKinds {
  mayRead: boolean;
  mayWrite: boolean;
  /** The same without class methods: what needs `r` and `w` itself (`OpInfo::need_read_cap`). */
  needsRead: boolean;
  needsWrite: boolean;
  /** PGLS, PGNLS: about the PG, not an object. */
  pgOp: boolean;
  /** Class methods called: their capability is `x` or `class-read`/`class-write`. */
  classes: { name: string; method: string; read: boolean; write: boolean }[] | undefined;
}

export const plainRead: OpKinds = Object.freeze({
  mayRead: true,
  mayWrite: false,
  needsRead: true,
  needsWrite: false,
  pgOp: false,
  classes: undefined,
});

/** The class and method of a CALL; undefined when the input is too short for them. */
export function callTarget(op: OsdOp): { name: string; method: string; input: Uint8Array } | undefined {
  const { input } = op;
  const classEnd = op.classLength;
  const methodEnd = classEnd + op.methodLength;
  const end = methodEnd + op.indataLength;
  if (end > input.length) return undefined;
  return {
    name: textFromBytes(input.subarray(0, classEnd)),
    method: textFromBytes(input.subarray(classEnd, methodEnd)),
    input: input.subarray(methodEnd, end),
  };
}

/** Negative errno when a class method does not exist. */
export function classify(ops: readonly OsdOp[], methods: MethodLookup): OpKinds | number {
  const kinds: OpKinds = { ...plainRead, mayRead: false, needsRead: false };
  for (const op of ops) {
    const code = op.op;
    if ((code & OP_TYPE_MASK) === OP_TYPE_PG) {
      kinds.pgOp = true;
      kinds.mayRead = true;
      kinds.needsRead = true;
      continue;
    }
    if (code === OP.CALL) {
      const target = callTarget(op);
      if (target === undefined) return EINVAL;
      const flags = methods(target.name, target.method);
      if (flags === undefined) return EOPNOTSUPP;
      kinds.mayRead ||= flags.read;
      kinds.mayWrite ||= flags.write;
      kinds.classes ??= [];
      kinds.classes.push({ name: target.name, method: target.method, ...flags });
      continue;
    }
    if (code === OP.WATCH && op.watchOp === WATCH_OP_PING) {
      kinds.mayRead = true;
      kinds.needsRead = true;
      continue;
    }
    // It waits for another object: until then nobody else may change this one.
    if (code === OP.COPY_FROM || code === OP.COPY_FROM2) kinds.mayRead = true;
    if ((code & OP_MODE_CACHE) !== 0) continue;
    if ((code & OP_MODE_WRITE) !== 0) kinds.mayWrite = kinds.needsWrite = true;
    if ((code & OP_MODE_READ) !== 0) kinds.mayRead = kinds.needsRead = true;
  }
  return kinds;
}
