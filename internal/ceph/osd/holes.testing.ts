import { OP, OsdOp } from '../wire/messages/osd_op.ts';
import { Decoder } from '../wire/encoding.ts';

/** Ops that change what of an object is data and what is a hole, as `holes-recorded.txt` has them: a name and numbers. */
const makers: Readonly<Record<string, (a: number, b: number) => OsdOp>> = {
  write: (offset, length) => OsdOp.extent(OP.WRITE, offset, length, [new Uint8Array(length).fill(120)]),
  zeros: (offset, length) => OsdOp.extent(OP.WRITE, offset, length, [new Uint8Array(length)]),
  zero: (offset, length) => OsdOp.extent(OP.ZERO, offset, length),
  truncate: (size) => OsdOp.extent(OP.TRUNCATE, size, 0),
  append: (length) => OsdOp.extent(OP.APPEND, 0, length, [new Uint8Array(length).fill(121)]),
  writefull: (length) => OsdOp.extent(OP.WRITEFULL, 0, length, [new Uint8Array(length).fill(122)]),
};

/** The op of a line `NAME A B`. */
export function holeOp(text: string): OsdOp {
  const [name = '', a, b] = text.split(' ');
  const make = makers[name];
  if (make === undefined) throw new Error(`${text}: no op`);
  return make(Number(a), Number(b ?? 0));
}

/** What MAPEXT and SPARSE_READ are asked. */
export const wholeObject = 4 << 20;

/** `OFFSET+LENGTH OFFSET+LENGTH`, of what MAPEXT or SPARSE_READ answered. */
export function extentsText(out: Uint8Array): string {
  const d = new Decoder(out);
  return d
    .list((x) => [x.u64(), x.u64()])
    .map(([offset, length]) => `${offset}+${length}`)
    .join(' ');
}
