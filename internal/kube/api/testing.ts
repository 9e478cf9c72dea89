import { seededRandom } from '../../base/random.ts';
import { cloneJson, type JsonObject } from '../machinery/json.ts';
import { StatusError } from '../machinery/status.ts';
import { builtinKinds } from './builtin.ts';
import { apiVersionOf, type KindInfo, type StrategyContext } from './kinds.ts';
import { beforeCreate, beforeUpdate, fillDefaults } from './lifecycle.ts';

/** For tests of rules: what creating or changing an object of a kind makes of it, and in which words it is refused. */
const now = Date.parse('2026-01-01T00:00:00Z');
const context = (): StrategyContext => ({ now: () => now, random: seededRandom(1) });

/** `apps/v1 Deployment`, `v1 Pod`. */
export function kindNamed(name: string): KindInfo {
  const [apiVersion = '', kind = ''] = name.split(' ');
  const slash = apiVersion.indexOf('/');
  const found = builtinKinds.byKind(slash < 0 ? '' : apiVersion.slice(0, slash), apiVersion.slice(slash + 1), kind);
  if (found === undefined) throw new Error(`there is no kind ${name}`);
  return found;
}

export function create(name: string, object: JsonObject): JsonObject {
  const kind = kindNamed(name);
  const copy = cloneJson({ apiVersion: apiVersionOf(kind), kind: kind.kind, ...object }) as JsonObject;
  fillDefaults(kind, copy);
  beforeCreate(kind, copy, { namespace: kind.namespaced ? 'default' : undefined }, context());
  return copy;
}

export function update(
  name: string,
  old: JsonObject,
  change: (object: JsonObject) => void,
  subresource = '',
): JsonObject {
  const kind = kindNamed(name);
  const copy = cloneJson(old);
  change(copy);
  fillDefaults(kind, copy);
  beforeUpdate(kind, subresource, copy, old, context());
  return copy;
}

/** What is wrong, a line a cause: `spec.replicas: Invalid value: -1: must be greater than or equal to 0`. Empty when nothing is. */
export function refused(run: () => unknown): string[] {
  try {
    run();
    return [];
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    const causes = error.status.details?.causes ?? [];
    return causes.length === 0
      ? [error.message]
      : causes.map((cause) => (cause.field === undefined ? String(cause.message) : `${cause.field}: ${cause.message}`));
  }
}

/** Sets the value at a path of keys and indexes; undefined removes it. */
export function put(object: JsonObject, path: string, value: unknown): void {
  const keys = path.split('.');
  const last = keys.pop()!;
  let at = object as Record<string, unknown>;
  for (const key of keys) {
    at[key] ??= {};
    at = at[key] as Record<string, unknown>;
  }
  if (value === undefined) delete at[last];
  else at[last] = value;
}

/** `object` with some places changed. */
export function changed(object: JsonObject, places: Readonly<Record<string, unknown>>): JsonObject {
  const copy = cloneJson(object);
  for (const path in places) put(copy, path, places[path]);
  return copy;
}
