import { DecodeError } from '../../../base/bytes.ts';
import { Decoder, type Encoder, encoded } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure } from './context.ts';
import { EIO, ENOENT } from './errno.ts';

/** Keys that one look at an omap takes. */
const pageSize = 64;

/** A stored value that does not decode is EIO. */
export function decodeStored<T>(bytes: Uint8Array, decode: (d: Decoder) => T): T {
  try {
    return decode(new Decoder(bytes));
  } catch (error) {
    if (error instanceof DecodeError) throw new ClassFailure(EIO);
    throw error;
  }
}

/** The value of an omap key, undefined when there is none. */
export function readKey<T>(ctx: ClassContext, key: string, decode: (d: Decoder) => T): T | undefined {
  const bytes = ctx.omapValue(key);
  return bytes === undefined ? undefined : decodeStored(bytes, decode);
}

/** The value of an omap key that must be there: ENOENT. */
export function needKey<T>(ctx: ClassContext, key: string, decode: (d: Decoder) => T): T {
  const value = readKey(ctx, key, decode);
  if (value === undefined) throw new ClassFailure(ENOENT);
  return value;
}

export function writeKey(ctx: ClassContext, key: string, encode: (e: Encoder) => void): void {
  ctx.setOmap(new Map([[key, encoded(encode)]]));
}

/** All entries whose key begins with `prefix`, those after `after` only. */
export function* entriesWith(ctx: ClassContext, prefix: string, after = prefix): Generator<[string, Uint8Array]> {
  for (;;) {
    const page = ctx.omapList(after, prefix, pageSize);
    yield* page.entries;
    const last = page.entries[page.entries.length - 1];
    if (!page.more || last === undefined) return;
    after = last[0];
  }
}

/** The object must exist: ENOENT. */
export function mustExist(ctx: ClassContext): { size: number } {
  const stat = ctx.stat();
  if (stat === undefined) throw new ClassFailure(ENOENT);
  return stat;
}

export const asString = (d: Decoder): string => d.string();
export const asU64 = (d: Decoder): bigint => d.u64b();
export const asU8 = (d: Decoder): number => d.u8();
export const asS64 = (d: Decoder): number => d.s64();
