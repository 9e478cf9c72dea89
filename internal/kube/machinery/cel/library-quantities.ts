import type { Environment } from '@marcbachmann/cel-js';
import { addQuantities, compareQuantities, parseQuantity, type Quantity, tryQuantity } from '../quantity.ts';

/** `quantity("1Gi")` and semantic versions. */
class CelQuantity {
  readonly value: Quantity;
  constructor(value: Quantity) {
    this.value = value;
  }
}
class CelSemver {
  readonly numbers: readonly [bigint, bigint, bigint];
  readonly pre: string;
  constructor(numbers: readonly [bigint, bigint, bigint], pre: string) {
    this.numbers = numbers;
    this.pre = pre;
  }
}

const nanos = 1_000_000_000n;

function plus(quantity: CelQuantity, other: CelQuantity | bigint, sign: bigint): CelQuantity {
  const nano = typeof other === 'bigint' ? other * nanos : other.value.nano;
  return new CelQuantity(addQuantities(quantity.value, { nano: sign * nano, format: quantity.value.format }));
}

const semverPattern =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-.]+)?$/;

function semverOf(text: string): CelSemver | undefined {
  const match = text.length > 256 ? null : semverPattern.exec(text);
  if (match === null) return undefined;
  return new CelSemver([BigInt(match[1]!), BigInt(match[2]!), BigInt(match[3]!)], match[4] ?? '');
}

function normalized(text: string): string {
  const parts = text.replace(/^v/, '').split('.');
  while (parts.length < 3) parts.push('0');
  return parts.map((part) => part.replace(/^0+(?=\d)/, '')).join('.');
}

function compareSemver(a: CelSemver, b: CelSemver): bigint {
  for (const index of [0, 1, 2] as const)
    if (a.numbers[index] !== b.numbers[index]) return a.numbers[index] < b.numbers[index] ? -1n : 1n;
  if (a.pre === b.pre) return 0n;
  if (a.pre === '') return 1n;
  if (b.pre === '') return -1n;
  const left = a.pre.split('.');
  const right = b.pre.split('.');
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const l = left[i];
    const r = right[i];
    if (l === r) continue;
    if (l === undefined) return -1n;
    if (r === undefined) return 1n;
    const numeric = [l, r].map((part) => /^\d+$/.test(part));
    if (numeric[0] && numeric[1]) return BigInt(l) < BigInt(r) ? -1n : 1n;
    if (numeric[0] !== numeric[1]) return numeric[0] ? -1n : 1n;
    return l < r ? -1n : 1n;
  }
  return 0n;
}

export function registerQuantities(environment: Environment): void {
  const on = (signature: string, handler: (...given: never[]) => unknown): void => {
    environment.registerFunction(signature, handler as never);
  };
  const q = 'kubernetes.Quantity';
  environment.registerType(q, CelQuantity as never);
  on(`quantity(string): ${q}`, (text: string) => new CelQuantity(parseQuantity(text)));
  on('isQuantity(string): bool', (text: string) => tryQuantity(text) !== undefined);
  on(`${q}.sign(): int`, (one: CelQuantity) => (one.value.nano > 0n ? 1n : one.value.nano < 0n ? -1n : 0n));
  on(`${q}.isInteger(): bool`, (one: CelQuantity) => one.value.nano % nanos === 0n);
  on(`${q}.asInteger(): int`, (one: CelQuantity) => {
    if (one.value.nano % nanos !== 0n) throw new Error('cannot convert value to integer');
    return one.value.nano / nanos;
  });
  on(`${q}.asApproximateFloat(): double`, (one: CelQuantity) => Number(one.value.nano) / 1e9);
  for (const other of [q, 'int']) {
    on(`${q}.add(${other}): ${q}`, (one: CelQuantity, two: CelQuantity | bigint) => plus(one, two, 1n));
    on(`${q}.sub(${other}): ${q}`, (one: CelQuantity, two: CelQuantity | bigint) => plus(one, two, -1n));
  }
  const compare = (a: CelQuantity, b: CelQuantity): number => compareQuantities(a.value, b.value);
  on(`${q}.compareTo(${q}): int`, (a: CelQuantity, b: CelQuantity) => BigInt(Math.sign(compare(a, b))));
  on(`${q}.isLessThan(${q}): bool`, (a: CelQuantity, b: CelQuantity) => compare(a, b) < 0);
  on(`${q}.isGreaterThan(${q}): bool`, (a: CelQuantity, b: CelQuantity) => compare(a, b) > 0);
  environment.registerOperator(`${q} == ${q}`, ((a: CelQuantity, b: CelQuantity) => compare(a, b) === 0) as never);

  const s = 'kubernetes.Semver';
  environment.registerType(s, CelSemver as never);
  const parse = (text: string): CelSemver => {
    const found = semverOf(text);
    if (found === undefined) throw new Error(`No Major.Minor.Patch elements found in ${JSON.stringify(text)}`);
    return found;
  };
  on(`semver(string): ${s}`, parse as never);
  on(`semver(string, bool): ${s}`, (text: string, loose: boolean) => parse(loose ? normalized(text) : text));
  on('isSemver(string): bool', (text: string) => semverOf(text) !== undefined);
  on(
    'isSemver(string, bool): bool',
    (text: string, loose: boolean) => semverOf(loose ? normalized(text) : text) !== undefined,
  );
  for (const [index, name] of ['major', 'minor', 'patch'].entries())
    on(`${s}.${name}(): int`, (one: CelSemver) => one.numbers[index]!);
  on(`${s}.compareTo(${s}): int`, compareSemver as never);
  on(`${s}.isLessThan(${s}): bool`, (a: CelSemver, b: CelSemver) => compareSemver(a, b) < 0n);
  on(`${s}.isGreaterThan(${s}): bool`, (a: CelSemver, b: CelSemver) => compareSemver(a, b) > 0n);
  environment.registerOperator(`${s} == ${s}`, ((a: CelSemver, b: CelSemver) => compareSemver(a, b) === 0n) as never);
}
