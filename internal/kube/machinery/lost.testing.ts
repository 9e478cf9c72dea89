import { isObject, type Json, jsonEqual } from './json.ts';

/** Paths, as `path.spec.ports.0`, of values of `before` that are not the same in `after`; what `after` has besides does not count. */
export function lost(before: Json, after: Json | undefined, path: string): string[] {
  if (isObject(before) && Object.keys(before).length > 0)
    return Object.keys(before).flatMap((key) =>
      lost(before[key]!, isObject(after) ? after[key] : undefined, `${path}.${key}`),
    );
  if (Array.isArray(before))
    return before.flatMap((item, index) =>
      lost(item, Array.isArray(after) ? after[index] : undefined, `${path}.${index}`),
    );
  return jsonEqual(before, after) ? [] : [path];
}
