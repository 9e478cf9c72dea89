import { parseQuantity } from '../../machinery/quantity.ts';

const nanos = 1_000_000_000n;

function ceilDivide(value: bigint, by: bigint): bigint {
  return value > 0n ? (value + by - 1n) / by : value / by;
}

/** The number that a resource quantity stands for: `1250m` is 1.25, `64Mi` is 67108864. */
export function quantityValue(text: string | number): number {
  return Number(parseQuantity(text).nano) / 1e9;
}

/** Thousandths, rounded up; the unit of cpu. */
export function milliValue(text: string | number): number {
  return Number(ceilDivide(parseQuantity(text).nano, nanos / 1000n));
}

/** Whole units, rounded up; the unit of memory and storage. */
export function wholeValue(text: string | number): number {
  return Number(ceilDivide(parseQuantity(text).nano, nanos));
}

/** What `resourceFieldRef` shows: `value / divisor`, rounded up. */
export function dividedValue(value: number, divisor: string | undefined): string {
  const by = divisor === undefined ? 1 : quantityValue(divisor) || 1;
  return String(Math.ceil(value / by - 1e-9));
}
