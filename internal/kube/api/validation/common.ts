import { isObject, type Json, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import { compareQuantities, tryQuantity } from '../../machinery/quantity.ts';
import { qualifiedNameErrors } from '../../machinery/selectors.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1123SubdomainErrors,
  forbiddenField,
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

const idMax = 2 ** 31 - 1;

/** Ids of users and groups. */
export function idErrors(value: Json | undefined, path: string): FieldError[] {
  return typeof value === 'number' && (value < 0 || value > idMax)
    ? [invalidValue(path, value, `must be between 0 and ${idMax}, inclusive`)]
    : [];
}

const profileTypes = ['Localhost', 'RuntimeDefault', 'Unconfined'];

/** A seccomp or AppArmor profile: a file of the node has a name, the others have none. */
export function profileErrors(profile: Json | undefined, path: string, what: 'seccomp' | 'AppArmor'): FieldError[] {
  if (!isObject(profile)) return [];
  const errors = oneOf(profile.type, profileTypes, `${path}.type`);
  const name = String(profile.localhostProfile ?? '');
  const at = `${path}.localhostProfile`;
  if (profile.type === 'Localhost') {
    if (name === '') errors.push(required(at, `must be set when ${what} type is Localhost`));
    else if (what === 'seccomp' && (name.startsWith('/') || name.split('/').includes('..')))
      errors.push(invalidValue(at, name, name.startsWith('/') ? 'must be a relative path' : "must not contain '..'"));
  } else if (profile.localhostProfile !== undefined)
    errors.push(invalidValue(at, name, `can only be set when ${what} type is Localhost`));
  return errors;
}

const containerResources = ['cpu', 'ephemeral-storage', 'memory'];
const isHugePages = (name: string): boolean => name.startsWith('hugepages-');
/** What is not shared: devices and the like, with a domain that is not Kubernetes' own. */
const isExtended = (name: string): boolean => name.includes('/') && !/(^|\.)kubernetes\.io\//.test(name);

/** Resources of a container: names that containers have, and what `unsharedErrors` tells. */
export function containerResourceErrors(resources: JsonObject, path: string): FieldError[] {
  const errors = resourceErrors(resources, path);
  const limits = part(resources, 'limits');
  const requests = part(resources, 'requests');
  for (const [list, values] of [
    ['limits', limits],
    ['requests', requests],
  ] as const)
    for (const name in values) {
      const at = `${path}.${list}[${name}]`;
      if (!name.includes('/') && !isHugePages(name) && !containerResources.includes(name))
        errors.push(invalidValue(at, name, 'must be a standard resource for containers'));
      const quantity = tryQuantity(values[name]);
      if (isExtended(name) && quantity !== undefined && quantity.nano % 1_000_000_000n !== 0n)
        errors.push(invalidValue(at, values[name], 'must be an integer'));
    }
  errors.push(...unsharedErrors(resources, path));
  return errors;
}

/** What cannot be shared has as much limit as request. */
export function unsharedErrors(resources: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const limits = part(resources, 'limits');
  const requests = part(resources, 'requests');
  for (const name in requests) {
    if (!isExtended(name) && !isHugePages(name)) continue;
    if (limits[name] === undefined)
      errors.push(required(`${path}.limits`, 'Limit must be set for non overcommitable resources'));
    else if (!sameQuantity(requests[name], limits[name]))
      errors.push(
        invalidValue(`${path}.requests`, requests[name], `must be equal to ${name} limit of ${String(limits[name])}`),
      );
  }
  const names = [...Object.keys(limits), ...Object.keys(requests)];
  if (names.some(isHugePages) && !names.includes('cpu') && !names.includes('memory'))
    errors.push(forbiddenField(path, 'HugePages require cpu or memory'));
  return errors;
}

/** Whether two texts say the same amount: 1 and 1000m do. */
function sameQuantity(a: Json | undefined, b: Json | undefined): boolean {
  const amount = tryQuantity(a)?.nano;
  return a === b || (amount !== undefined && amount === tryQuantity(b)?.nano);
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
