import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { compareQuantities, tryQuantity } from '../../machinery/quantity.ts';
import { qualifiedNameErrors } from '../../machinery/selectors.ts';
import type { FieldError } from '../../machinery/status.ts';
import { invalidValue } from '../../machinery/validation.ts';

export function nonNegative(value: Json | undefined, path: string): FieldError[] {
  return typeof value === 'number' && value < 0
    ? [invalidValue(path, value, 'must be greater than or equal to 0')]
    : [];
}

/** Whether every quantity of `requests` fits its limit, with upstream's words. */
export function resourceErrors(resources: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const limits = isObject(resources.limits) ? resources.limits : {};
  const requests = isObject(resources.requests) ? resources.requests : {};
  for (const [name, list] of [
    ['limits', limits],
    ['requests', requests],
  ] as const)
    for (const resource in list) {
      const at = `${path}.${name}`;
      for (const why of qualifiedNameErrors(resource)) errors.push(invalidValue(at, resource, why));
      const quantity = tryQuantity(list[resource]);
      if (quantity !== undefined && quantity.nano < 0n)
        errors.push(invalidValue(`${at}[${resource}]`, list[resource], 'must be greater than or equal to 0'));
    }
  for (const resource in requests) {
    const request = tryQuantity(requests[resource]);
    const limit = tryQuantity(limits[resource]);
    if (request === undefined || limit === undefined) continue;
    if (compareQuantities(request, limit) > 0)
      errors.push(
        invalidValue(
          `${path}.requests`,
          requests[resource],
          `must be less than or equal to ${resource} limit of ${String(limits[resource])}`,
        ),
      );
  }
  return errors;
}
