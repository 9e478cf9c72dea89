import { compareText, Decoder, encoded } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EINVAL, ENOENT } from './errno.ts';
import { decodeStored } from './omap-values.ts';

const attribute = 'refcount';
/** The reference that an object without a record has. */
const implicitTag = '';

interface References {
  held: Set<string>;
  retired: Set<string>;
}

function read(ctx: ClassContext, implicit: boolean): References {
  if (ctx.stat() === undefined) throw new ClassFailure(ENOENT);
  const bytes = ctx.xattr(attribute);
  if (bytes === undefined) return { held: new Set(implicit ? [implicitTag] : []), retired: new Set() };
  return decodeStored(bytes, (d) =>
    d.struct('obj_refcount', 2, (_, version) => ({
      held: new Set(d.stringMap((x) => x.bool()).keys()),
      retired: version >= 2 ? d.stringSet() : new Set<string>(),
    })),
  );
}

function store(ctx: ClassContext, refs: References): void {
  ctx.setXattr(
    attribute,
    encoded((e) =>
      e.struct(2, 1, () => {
        e.stringMap(new Map([...refs.held].map((tag) => [tag, true])), (x, v) => x.bool(v));
        e.stringSet(refs.retired);
      }),
    ),
  );
}

function tagOp(input: Uint8Array): { tag: string; implicit: boolean } {
  const d = new Decoder(input);
  return d.struct('cls_refcount_get_op', 1, () => ({ tag: d.string(), implicit: d.bool() }));
}

function get(ctx: ClassContext, input: Uint8Array): void {
  const { tag, implicit } = tagOp(input);
  const refs = read(ctx, implicit);
  refs.held.add(tag);
  store(ctx, refs);
}

function put(ctx: ClassContext, input: Uint8Array): void {
  const { tag, implicit } = tagOp(input);
  const refs = read(ctx, implicit);
  if (refs.held.size === 0) throw new ClassFailure(EINVAL);
  const held = refs.held.has(tag) ? tag : implicit && refs.held.has(implicitTag) ? implicitTag : undefined;
  if (held === undefined || refs.retired.has(tag)) return;
  refs.retired.add(tag);
  refs.held.delete(held);
  if (refs.held.size === 0) ctx.remove();
  else store(ctx, refs);
}

function set(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const tags = d.struct('cls_refcount_set_op', 1, () => d.stringList());
  if (tags.length === 0) ctx.remove();
  else store(ctx, { held: new Set(tags), retired: new Set() });
}

function list(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const implicit = d.struct('cls_refcount_read_op', 1, () => d.bool());
  const tags = [...read(ctx, implicit).held].sort(compareText);
  return encoded((e) => e.struct(1, 1, () => e.list(tags, (x, tag) => x.string(tag))));
}

/** Class `refcount` (`src/cls/refcount`): an object that goes with its last reference. */
export const refcountMethods: ClassMethods = {
  get: writeMethod(get),
  put: writeMethod(put),
  set: writeMethod(set),
  read: readMethod(list),
};
