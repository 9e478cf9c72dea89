import { isObject, type Json, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import { compareQuantities, tryQuantity } from '../../machinery/quantity.ts';
import { qualifiedNameErrors } from '../../machinery/selectors.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1123SubdomainErrors,
  immutableMessage,
  invalidValue,
  notSupported,
  required,
} from '../../machinery/validation.ts';

export function specOf(object: JsonObject): JsonObject {
  return isObject(object.spec) ? object.spec : {};
}

export function metadataOf(object: JsonObject): JsonObject {
  return isObject(object.metadata) ? object.metadata : {};
}

/** What is at `key`, or an empty object. */
export function part(object: JsonObject, key: string): JsonObject {
  const value = object[key];
  return isObject(value) ? value : {};
}

export function texts(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

/** A field that may not differ from what it was. */
export function immutable(object: JsonObject, old: JsonObject, field: string, path: string): FieldError[] {
  return jsonEqual(object[field], old[field])
    ? []
    : [invalidValue(path === '' ? field : `${path}.${field}`, object[field], immutableMessage)];
}

/** A field that must be one of some values. Absent is required, or left to others when `optional`. */
export function oneOf(
  value: Json | undefined,
  allowed: readonly string[],
  path: string,
  optional = false,
): FieldError[] {
  if (value === undefined || value === '') return optional ? [] : [required(path)];
  return allowed.includes(String(value)) ? [] : [notSupported(path, value, allowed)];
}

const pathPattern = /^[A-Za-z0-9/\-._~%!$&'()*+,;=:]+$/;

/** `acme.io/foo` (k8s.io/apimachinery/pkg/util/validation, IsDomainPrefixedPath). */
export function domainPrefixedPathErrors(value: string, path: string): FieldError[] {
  if (value === '') return [required(path)];
  const slash = value.indexOf('/');
  if (slash <= 0 || slash === value.length - 1)
    return [invalidValue(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')];
  const errors = dns1123SubdomainErrors(value.slice(0, slash)).map((why) =>
    invalidValue(path, value.slice(0, slash), why),
  );
  const rest = value.slice(slash + 1);
  if (!pathPattern.test(rest))
    errors.push(
      invalidValue(path, rest, "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"),
    );
  return errors;
}

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
