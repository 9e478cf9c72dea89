import type { Environment } from '@marcbachmann/cel-js';
import { jsonEqual } from '../json.ts';
import { registerNamespace } from './library-namespace.ts';
import { charge } from './meter.ts';
import { jsonOf } from './values.ts';

/** The list and sets libraries. */
type Ordered = bigint | number | string | boolean | Date;

function before(a: unknown, b: unknown): boolean {
  return (a as Ordered) < (b as Ordered);
}

const same = (a: unknown, b: unknown): boolean => a === b || jsonEqual(jsonOf(a), jsonOf(b));

function holds(list: readonly unknown[], item: unknown): boolean {
  charge(list.length);
  return list.some((one) => same(one, item));
}

export function registerLists(environment: Environment): void {
  const on = (signature: string, handler: (...given: never[]) => unknown): void => {
    environment.registerFunction(signature, handler as never);
  };
  on('list.isSorted(): bool', (list: unknown[]) => {
    charge(list.length);
    return list.every((item, index) => index === 0 || !before(item, list[index - 1]));
  });
  on('list.sum(): dyn', (list: unknown[]) => {
    charge(list.length);
    if (list.length === 0) return 0n;
    return list.reduce((sum, item) => (sum as number) + (item as number));
  });
  for (const [name, wins] of [
    ['min', before],
    ['max', (a: unknown, b: unknown) => before(b, a)],
  ] as const)
    on(`list.${name}(): dyn`, (list: unknown[]) => {
      charge(list.length);
      if (list.length === 0) throw new Error(`${name} called on empty list`);
      return list.reduce((best, item) => (wins(item, best) ? item : best));
    });
  on('list.indexOf(dyn): int', (list: unknown[], item: unknown) => {
    charge(list.length);
    return BigInt(list.findIndex((one) => same(one, item)));
  });
  on('list.lastIndexOf(dyn): int', (list: unknown[], item: unknown) => {
    charge(list.length);
    return BigInt(list.findLastIndex((one) => same(one, item)));
  });
  const sets = registerNamespace(environment, 'sets');
  on(`${sets}.contains(list, list): bool`, (_sets: unknown, all: unknown[], some: unknown[]) =>
    some.every((item) => holds(all, item)),
  );
  on(
    `${sets}.equivalent(list, list): bool`,
    (_sets: unknown, a: unknown[], b: unknown[]) =>
      a.every((item) => holds(b, item)) && b.every((item) => holds(a, item)),
  );
  on(`${sets}.intersects(list, list): bool`, (_sets: unknown, a: unknown[], b: unknown[]) =>
    a.some((item) => holds(b, item)),
  );
}
