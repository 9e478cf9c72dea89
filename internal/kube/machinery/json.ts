/** What JSON can say. API objects travel through the machinery as JsonObject; typed consumers use `internal/kube/api/types.ts`. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json | undefined;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A deep copy of JSON data. */
export function cloneJson<T>(value: T): T {
  if (Array.isArray(value)) return value.map(cloneJson) as T;
  if (isObject(value)) {
    const out: JsonObject = {};
    for (const key in value) {
      const child = value[key];
      if (child !== undefined) out[key] = cloneJson(child);
    }
    return out as T;
  }
  return value;
}

/** Whether two JSON values are equal; key order does not matter, a key with value undefined is absent. */
export function jsonEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a))
    return Array.isArray(b) && a.length === b.length && a.every((item, index) => jsonEqual(item, b[index]));
  if (!isObject(a) || !isObject(b)) return false;
  for (const key in a) if (!jsonEqual(a[key], b[key])) return false;
  for (const key in b) if (b[key] !== undefined && a[key] === undefined) return false;
  return true;
}

/** The value at a path of keys, or undefined. */
export function getPath(value: unknown, ...path: string[]): Json | undefined {
  let at: unknown = value;
  for (const key of path) {
    if (!isObject(at)) return undefined;
    at = at[key];
  }
  return at as Json | undefined;
}

/** A value for a message: text as it is, anything else as JSON. `String` would call a `toString` that the value itself may bring. */
export function showJson(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? 'undefined');
}
