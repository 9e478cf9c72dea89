import { cloneJson, isObject, type Json, type JsonObject } from '../json.ts';
import { isNode, type Structural } from './schema.ts';

/** Fields that every object has, whatever its schema says. */
const ownFields: ReadonlySet<string> = new Set(['apiVersion', 'kind', 'metadata']);

/** `spec.list[0].x`; the root is ''. */
export function childPath(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

/**
 * Drops what the schema does not name, in place, and gives the paths of what was dropped. Below `x-kubernetes-preserve-unknown-fields` unknown fields
 * stay, but those that are named are still pruned inside.
 */
export function prune(node: Structural, value: JsonObject, embedded?: Embedded): string[] {
  const walk = { unknown: [], embedded };
  pruneAt(node, value, '', true, walk);
  return walk.unknown;
}

/** Hears of each embedded object (`x-kubernetes-embedded-resource`) and where it is. */
export type Embedded = (object: JsonObject, path: string) => void;

interface Pruning {
  readonly unknown: string[];
  readonly embedded: Embedded | undefined;
}

function pruneAt(node: Structural, value: Json, path: string, own: boolean, walk: Pruning): void {
  if (Array.isArray(value)) {
    if (node.items === undefined) return;
    for (const [index, item] of value.entries())
      pruneAt(node.items, item, `${path}[${index}]`, node.items.embeddedResource, walk);
    return;
  }
  if (!isObject(value)) return;
  if (own && path !== '') walk.embedded?.(value, path);
  for (const key of Object.keys(value)) {
    const child = value[key];
    if (child === undefined) continue;
    const property = node.properties.get(key);
    if (own && ownFields.has(key)) continue;
    if (property !== undefined) pruneAt(property, child, childPath(path, key), property.embeddedResource, walk);
    else if (isNode(node.additionalProperties)) {
      const more = node.additionalProperties;
      pruneAt(more, child, childPath(path, key), more.embeddedResource, walk);
    } else if (node.additionalProperties !== true && !node.preserveUnknownFields) {
      delete value[key];
      walk.unknown.push(childPath(path, key));
    }
  }
}

/**
 * Fills defaults, in place. A null where the schema allows none counts as not said: it is dropped, or becomes the default (docs: "Defaulting and Nullable").
 */
export function fillSchemaDefaults(node: Structural, value: Json): void {
  if (Array.isArray(value)) {
    if (node.items !== undefined) for (const item of value) fillSchemaDefaults(node.items, item);
    return;
  }
  if (!isObject(value)) return;
  for (const [key, property] of node.properties) {
    if (value[key] === null && !property.nullable) delete value[key];
    if (value[key] === undefined && property.default !== undefined) value[key] = cloneJson(property.default);
    const child = value[key];
    if (child !== undefined && child !== null) fillSchemaDefaults(property, child);
  }
  if (!isNode(node.additionalProperties)) return;
  const more = node.additionalProperties;
  for (const key of Object.keys(value)) {
    if (node.properties.has(key)) continue;
    if (value[key] === null && !more.nullable) {
      if (more.default === undefined) delete value[key];
      else value[key] = cloneJson(more.default);
    }
    const child = value[key];
    if (child !== undefined && child !== null) fillSchemaDefaults(more, child);
  }
}

/** The same key as in `x-kubernetes-list-map-keys`, defaults of keys counted. */
export function mapKeyOf(node: Structural, item: Json): string {
  const key: JsonObject = {};
  for (const name of node.listMapKeys) {
    const value = isObject(item) ? item[name] : undefined;
    key[name] = value ?? node.items?.properties.get(name)?.default ?? null;
  }
  return JSON.stringify(key);
}

/** What in `old` is the same thing as an item of the new list: only lists of type map can tell. */
export function correlated(node: Structural, old: Json | undefined): (item: Json) => Json | undefined {
  if (node.listType !== 'map' || !Array.isArray(old)) return () => undefined;
  let index: Map<string, Json> | undefined;
  return (item) => {
    index ??= new Map(old.map((one) => [mapKeyOf(node, one), one]));
    return index.get(mapKeyOf(node, item));
  };
}
