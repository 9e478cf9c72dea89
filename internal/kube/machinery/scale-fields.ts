import {
  difference,
  emptySet,
  type FieldSet,
  fieldsFromSet,
  insertPath,
  isEmptySet,
  setFromFields,
} from './fieldset.ts';
import { isObject, type Json, type JsonObject } from './json.ts';

/**
 * Who owns an object's replicas, as its Scale shows it and back (k8s.io/apimachinery/pkg/util/managedfields/scalehandler.go). Entries keep their manager and
 * apiVersion; what changes is the path: `spec.replicas` in a Scale, what the kind says in its parent.
 */

/** Where the objects of an apiVersion have their replicas; undefined where they have no Scale. */
export type ReplicasPath = (apiVersion: string) => readonly string[] | undefined;

const inScale = { 'f:spec': { 'f:replicas': {} } };

const entriesOf = (list: Json | undefined): JsonObject[] => (Array.isArray(list) ? list.filter(isObject) : []);

function setOf(path: readonly string[]): FieldSet {
  const set = emptySet();
  insertPath(
    set,
    path.map((field) => `f:${field}`),
  );
  return set;
}

/** The set of the path when the entry has it. */
function replicasOf(entry: JsonObject, pathOf: ReplicasPath): FieldSet | undefined {
  const path = pathOf(String(entry.apiVersion));
  if (path === undefined) return undefined;
  const own = setOf(path);
  return isEmptySet(difference(own, setFromFields(entry.fieldsV1))) ? own : undefined;
}

/** The managers of the parent's replicas as managers of a Scale. */
export function scaleManagers(parent: Json | undefined, pathOf: ReplicasPath): JsonObject[] {
  return entriesOf(parent)
    .filter((entry) => replicasOf(entry, pathOf) !== undefined)
    .map((entry) => ({ ...entry, fieldsV1: inScale }));
}

/** The parent's managedFields once the Scale has these. `apiVersion`: the parent's, for managers that it does not know. */
export function parentManagers(
  parent: Json | undefined,
  scale: Json | undefined,
  pathOf: ReplicasPath,
  apiVersion: string,
): JsonObject[] {
  const left = new Map<string, JsonObject>();
  for (const entry of entriesOf(scale))
    if (isObject(entry.fieldsV1) && replicasOf(entry, () => ['spec', 'replicas'])) left.set(identity(entry), entry);
  const out: JsonObject[] = [];
  for (const entry of entriesOf(parent)) {
    const own = replicasOf(entry, pathOf);
    if (own === undefined || left.delete(identity(entry))) {
      out.push(entry);
      continue;
    }
    const rest = difference(setFromFields(entry.fieldsV1), own);
    if (!isEmptySet(rest)) out.push({ ...entry, fieldsV1: fieldsFromSet(rest) });
  }
  const path = pathOf(apiVersion);
  if (path === undefined) return out;
  for (const entry of left.values()) out.push({ ...entry, apiVersion, fieldsV1: fieldsFromSet(setOf(path)) });
  return out;
}

/** An applier is one manager whatever version it speaks. */
function identity({ manager, operation, subresource, apiVersion }: JsonObject): string {
  return JSON.stringify([manager, operation, subresource ?? '', operation === 'Apply' ? '' : apiVersion]);
}
