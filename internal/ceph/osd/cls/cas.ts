import { Decoder, encoded } from '../../wire/encoding.ts';
import { compareHObject, decodeHObject, encodeHObject, type HObject } from '../../wire/types.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EIO, ENOENT, ENOLINK, ENOMSG } from './errno.ts';
import { decodeStored, mustExist } from './omap-values.ts';

const attribute = 'chunk_refs';
/** Upstream counts by less and less of the object when there are many; here the objects are always known. */
const byObject = 1;
/** What is there already must be the same data. */
const verify = 1n;

/** Objects that refer to the chunk; one may do so several times. ENOENT: there is no chunk. */
function read(ctx: ClassContext): HObject[] {
  if (ctx.stat() === undefined) throw new ClassFailure(ENOENT);
  const bytes = ctx.xattr(attribute);
  if (bytes === undefined) return [];
  return decodeStored(bytes, (d) =>
    d.struct('chunk_refs_t', 1, () => {
      if (d.u8() !== byObject) throw new ClassFailure(EIO);
      return d.struct('chunk_refs_by_object_t', 1, () => d.list(decodeHObject, 40));
    }),
  );
}

function store(ctx: ClassContext, refs: readonly HObject[]): void {
  const sorted = [...refs].sort(compareHObject);
  ctx.setXattr(
    attribute,
    encoded((e) => e.struct(1, 1, () => e.u8(byObject).struct(1, 1, () => e.list(sorted, encodeHObject)))),
  );
}

async function createOrGet(ctx: ClassContext, input: Uint8Array): Promise<void> {
  const d = new Decoder(input);
  const { source, flags, data } = d.struct('cls_cas_chunk_create_or_get_ref_op', 1, () => ({
    source: decodeHObject(d),
    flags: d.u64b(),
    data: d.blob(),
  }));
  if (ctx.stat() === undefined) {
    ctx.writeFull(data);
    store(ctx, [source]);
    return;
  }
  const refs = read(ctx);
  if ((flags & verify) !== 0n && Buffer.compare(await ctx.read(0, mustExist(ctx).size), data) !== 0)
    throw new ClassFailure(ENOMSG);
  store(ctx, [...refs, source]);
}

function sourceOf(name: string, input: Uint8Array): HObject {
  const d = new Decoder(input);
  return d.struct(name, 1, () => decodeHObject(d));
}

function get(ctx: ClassContext, input: Uint8Array): void {
  const source = sourceOf('cls_cas_chunk_get_ref_op', input);
  store(ctx, [...read(ctx), source]);
}

function put(ctx: ClassContext, input: Uint8Array): void {
  const source = sourceOf('cls_cas_chunk_put_ref_op', input);
  const refs = read(ctx);
  const at = refs.findIndex((ref) => compareHObject(ref, source) === 0);
  if (at < 0) throw new ClassFailure(ENOLINK);
  refs.splice(at, 1);
  if (refs.length === 0) ctx.remove();
  else store(ctx, refs);
}

/** Class `cas` (`src/cls/cas`): chunks that many objects share, which go with the last reference. */
export const casMethods: ClassMethods = {
  chunk_create_or_get_ref: writeMethod(createOrGet),
  chunk_get_ref: writeMethod(get),
  chunk_put_ref: writeMethod(put),
  // No object here has a manifest.
  references_chunk: readMethod((_, input) => {
    new Decoder(input).string();
    throw new ClassFailure(ENOLINK);
  }),
};
