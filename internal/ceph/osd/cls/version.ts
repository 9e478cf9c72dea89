import { Decoder, type Encoder, encoded } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { ECANCELED } from './errno.ts';
import { decodeStored } from './omap-values.ts';

const attribute = 'ceph.objclass.version';

/** `obj_version`. */
interface ObjectVersion {
  version: bigint;
  tag: string;
}

const decodeVersion = (d: Decoder): ObjectVersion =>
  d.struct('obj_version', 1, () => ({ version: d.u64b(), tag: d.string() }));

function encodeVersion(e: Encoder, v: ObjectVersion): void {
  e.struct(1, 1, () => e.u64b(v.version).string(v.tag));
}

type Condition = { wanted: ObjectVersion; kind: number };

/** Indexed by the condition's number. */
const checks: readonly ((stored: ObjectVersion, wanted: ObjectVersion) => boolean)[] = [
  () => true,
  (s, w) => s.version === w.version && s.tag === w.tag,
  (s, w) => s.version > w.version,
  (s, w) => s.version >= w.version,
  (s, w) => s.version < w.version,
  (s, w) => s.version <= w.version,
  (s, w) => s.tag === w.tag,
  (s, w) => s.tag !== w.tag,
];

function decodeConditions(input: Uint8Array): Condition[] {
  const d = new Decoder(input);
  return d.struct('cls_version_inc_op', 1, () => {
    decodeVersion(d);
    return d.list((x) => x.struct('obj_version_cond', 1, () => ({ wanted: decodeVersion(x), kind: x.u32() })), 6);
  });
}

function read(ctx: ClassContext): ObjectVersion | undefined {
  const bytes = ctx.xattr(attribute);
  return bytes === undefined ? undefined : decodeStored(bytes, decodeVersion);
}

function store(ctx: ClassContext, v: ObjectVersion): void {
  ctx.setXattr(
    attribute,
    encoded((e) => encodeVersion(e, v)),
  );
}

function require(stored: ObjectVersion, conditions: readonly Condition[]): void {
  for (const { wanted, kind } of conditions)
    if (!(checks[kind]?.(stored, wanted) ?? true)) throw new ClassFailure(ECANCELED);
}

function increment(ctx: ClassContext, input: Uint8Array): void {
  const conditions = decodeConditions(input);
  // A new version has a random tag, so that an object made anew is told from the old one.
  const stored = read(ctx) ?? { version: 1n, tag: Buffer.from(ctx.random(18)).toString('base64') };
  require(stored, conditions);
  store(ctx, { ...stored, version: stored.version + 1n });
}

const noVersion: ObjectVersion = { version: 0n, tag: '' };

/** Class `version` (`src/cls/version`): a version that clients count up and guard changes with. */
export const versionMethods: ClassMethods = {
  set: writeMethod((ctx, input) => {
    const d = new Decoder(input);
    store(
      ctx,
      d.struct('cls_version_set_op', 1, () => decodeVersion(d)),
    );
  }),
  inc: writeMethod(increment),
  inc_conds: writeMethod(increment),
  read: readMethod((ctx) => {
    const stored = read(ctx) ?? noVersion;
    return encoded((e) => e.struct(1, 1, () => encodeVersion(e, stored)));
  }),
  check_conds: readMethod((ctx, input) => require(read(ctx) ?? noVersion, decodeConditions(input))),
};
