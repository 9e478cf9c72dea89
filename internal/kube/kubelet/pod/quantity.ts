import { AppError } from '../../../base/errors.ts';

const suffixes: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** The number that a resource quantity stands for (apimachinery, resource.Quantity): `1250m` is 1.25, `64Mi` is 67108864. */
export function quantityValue(text: string | number): number {
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/.exec(String(text));
  if (!match) throw new AppError('INVALID_QUANTITY', `"${text}" is not a quantity`);
  const scale = match[2] === undefined ? suffixes[match[3] ?? '']! : 10 ** Number(match[2]);
  return Number(match[1]) * scale;
}

/** Thousandths, rounded up; the unit of cpu. */
export function milliValue(text: string | number): number {
  return Math.ceil(quantityValue(text) * 1000 - 1e-6);
}

/** Whole units, rounded up; the unit of memory and storage. */
export function wholeValue(text: string | number): number {
  return Math.ceil(quantityValue(text) - 1e-6);
}

/** What `resourceFieldRef` shows: `value / divisor`, rounded up. */
export function dividedValue(value: number, divisor: string | undefined): string {
  const by = divisor === undefined ? 1 : quantityValue(divisor) || 1;
  return String(Math.ceil(value / by - 1e-9));
}
