import { utf8, utf8Text } from '../../../base/bytes.ts';
import { Decoder } from '../../wire/encoding.ts';
import { type ClassContext, ClassFailure, type ClassMethods, writeMethod } from './context.ts';
import { EBADMSG, EINVAL } from './errno.ts';

function parse(text: string, failure: number): number {
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value)) throw new ClassFailure(failure);
  return value;
}

/** Ten significant digits, as `std::setprecision(10)` prints. */
function format(value: number): string {
  const text = value.toPrecision(10);
  const [mantissa, exponent] = text.split('e') as [string, string?];
  const short = mantissa.includes('.') ? mantissa.replace(/\.?0+$/, '') : mantissa;
  if (exponent === undefined) return short;
  return `${short}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`;
}

const change =
  (op: (stored: number, given: number) => number) =>
  (ctx: ClassContext, input: Uint8Array): void => {
    const d = new Decoder(input);
    const key = d.string();
    const given = parse(d.string(), EINVAL);
    const bytes = ctx.omapValue(key);
    const stored = bytes === undefined || bytes.length === 0 ? 0 : parse(utf8Text(bytes), EBADMSG);
    ctx.setOmap(new Map([[key, utf8(format(op(stored, given)))]]));
  };

/** Class `numops` (`src/cls/numops`): arithmetic on numbers kept as text in omap values. */
export const numopsMethods: ClassMethods = {
  add: writeMethod(change((stored, given) => stored + given)),
  mul: writeMethod(change((stored, given) => stored * given)),
};
