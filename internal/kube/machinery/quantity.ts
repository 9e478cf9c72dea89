import { AppError } from '../../base/errors.ts';

/**
 * resource.Quantity (k8s.io/apimachinery/pkg/api/resource): a decimal number with a suffix, kept exactly. The value is held in billionths (nano), the finest
 * scale that upstream keeps; finer values are rounded up, away from zero.
 */
export interface Quantity {
  /** Value times 10^9. */
  nano: bigint;
  /** Which family of suffixes the canonical text uses. */
  format: 'DecimalSI' | 'BinarySI' | 'DecimalExponent';
}

const nanos = 1_000_000_000n;
/** Values are capped here, as upstream caps at 2^63 - 1. */
const maxValue = (1n << 63n) - 1n;

const decimalSuffixes: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  '': 0,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const binarySuffixes: Readonly<Record<string, bigint>> = {
  Ki: 10n,
  Mi: 20n,
  Gi: 30n,
  Ti: 40n,
  Pi: 50n,
  Ei: 60n,
};

const pattern = /^([+-]?)(\d*)(?:\.(\d*))?(?:(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E)|[eE]([+-]?\d+))?$/;

/** Upstream's text for a malformed quantity. */
export const quantityFormatMessage =
  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

function ceilDivide(value: bigint, divisor: bigint): bigint {
  const quotient = value / divisor;
  return quotient * divisor === value ? quotient : quotient + 1n;
}

/** Parses a quantity; throws AppError QUANTITY with upstream's message. */
export function parseQuantity(text: string | number): Quantity {
  const source = String(text).trim();
  const match = source.length > 64 ? null : pattern.exec(source);
  if (match === null || ((match[2] ?? '') === '' && (match[3] ?? '') === ''))
    throw new AppError('QUANTITY', quantityFormatMessage);
  const negative = match[1] === '-';
  const whole = match[2] ?? '';
  const fraction = match[3] ?? '';
  const suffix = match[4];
  const exponent = match[5];
  // digits * 10^-fraction.length * scale
  let digits = BigInt(`${whole}${fraction}`);
  let scale = -fraction.length;
  let format: Quantity['format'] = 'DecimalSI';
  if (suffix !== undefined && suffix in binarySuffixes) {
    digits <<= binarySuffixes[suffix]!;
    format = 'BinarySI';
  } else if (suffix !== undefined) scale += decimalSuffixes[suffix]!;
  else if (exponent !== undefined) {
    const power = Number(exponent);
    if (Math.abs(power) > 40) {
      if (power > 0 && digits !== 0n) return capped(maxValue * nanos, negative, 'DecimalExponent');
      return { nano: digits === 0n ? 0n : negative ? -1n : 1n, format: 'DecimalExponent' };
    }
    scale += power;
    format = 'DecimalExponent';
  }
  const shift = scale + 9;
  const nano = shift >= 0 ? digits * 10n ** BigInt(shift) : ceilDivide(digits, 10n ** BigInt(-shift));
  return capped(nano, negative, format);
}

function capped(nano: bigint, negative: boolean, format: Quantity['format']): Quantity {
  const bounded = nano > maxValue * nanos ? maxValue * nanos : nano;
  return { nano: negative ? -bounded : bounded, format };
}

/** The quantity, or undefined for what is none. */
export function tryQuantity(value: unknown): Quantity | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return undefined;
  try {
    return parseQuantity(value);
  } catch {
    return undefined;
  }
}

/** Canonical text: no fraction, the largest suffix that keeps it exact. */
export function formatQuantity({ nano, format }: Quantity): string {
  if (nano === 0n) return '0';
  const sign = nano < 0n ? '-' : '';
  const size = nano < 0n ? -nano : nano;
  // Below 1024 there is no binary suffix to use, and upstream writes such values with decimal ones.
  if (format === 'BinarySI' && size >= 1024n * nanos) {
    let value = ceilDivide(size, nanos);
    let suffix = '';
    for (const next of ['Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei']) {
      if (value % 1024n !== 0n) break;
      value /= 1024n;
      suffix = next;
    }
    return `${sign}${value}${suffix}`;
  }
  let value = size;
  let power = -9;
  while (value % 1000n === 0n && power < 18) {
    value /= 1000n;
    power += 3;
  }
  if (format === 'DecimalExponent') return `${sign}${value}${power === 0 ? '' : `e${power}`}`;
  const suffix = Object.keys(decimalSuffixes).find((key) => decimalSuffixes[key] === power) ?? '';
  return `${sign}${value}${suffix}`;
}

/** The canonical form of a text: `1000m` is `1`, `0.5Gi` is `512Mi`. Throws like parseQuantity. */
export function canonicalQuantity(text: string | number): string {
  return formatQuantity(parseQuantity(text));
}

export function compareQuantities(a: Quantity, b: Quantity): number {
  return a.nano < b.nano ? -1 : a.nano > b.nano ? 1 : 0;
}

/** The sum, in the format of the first that is not zero. */
export function addQuantities(a: Quantity, b: Quantity): Quantity {
  return { nano: a.nano + b.nano, format: a.nano === 0n ? b.format : a.format };
}

/** Whole units, rounded up (bytes, counts); as a number, which is exact below 2^53. */
export function quantityValue(quantity: Quantity): number {
  return Number(quantity.nano >= 0n ? ceilDivide(quantity.nano, nanos) : quantity.nano / nanos);
}

/** Thousandths, rounded up (milli-CPU). */
export function quantityMilli(quantity: Quantity): number {
  return Number(quantity.nano >= 0n ? ceilDivide(quantity.nano, 1_000_000n) : quantity.nano / 1_000_000n);
}
