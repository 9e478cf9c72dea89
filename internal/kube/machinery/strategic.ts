import { isObject, type Json, type JsonObject, showJson } from './json.ts';
import { propertyOf, resolve, type Schema, type SchemaSource } from './openapi.ts';
import { badRequest } from './status.ts';

/**
 * Strategic merge patch (k8s.io/apimachinery/pkg/util/strategicpatch, sig-api-machinery/strategic-merge-patch.md). Lists with a merge key are merged by that
 * key; directives in the patch say what is deleted, replaced, kept and in which order. Inputs are not changed.
 */
const directive = '$patch';
const retainKeys = '$retainKeys';
const setOrderPrefix = '$setElementOrder/';
const deleteListPrefix = '$deleteFromPrimitiveList/';

/** Throws StatusError 400 for directives that make no sense. */
export function applyStrategicMergePatch(
  object: JsonObject,
  patch: unknown,
  schema: string,
  source: SchemaSource,
): JsonObject {
  if (!isObject(patch)) throw badRequest('strategic merge patch: the body must be an object');
  return mergeMap(source, object, patch, source.definition(schema));
}

interface FieldMeta {
  schema: Schema | undefined;
  /** `replace`, `merge` or '' (which means: maps merge, lists are replaced). */
  strategy: string;
  mergeKey: string | undefined;
}

function fieldMeta(source: SchemaSource, owner: Schema | undefined, key: string): FieldMeta {
  const field = owner === undefined ? undefined : propertyOf(owner, key);
  if (field === undefined) {
    const value = owner?.additionalProperties;
    return { schema: value === undefined ? undefined : resolve(source, value), strategy: '', mergeKey: undefined };
  }
  const strategies = (field.patchStrategy ?? '').split(',').filter((name) => name !== 'retainKeys');
  return { schema: resolve(source, field), strategy: strategies[0] ?? '', mergeKey: field.patchMergeKey };
}

function mergeMap(
  source: SchemaSource,
  original: JsonObject,
  patch: JsonObject,
  schema: Schema | undefined,
): JsonObject {
  const special = patch[directive];
  if (special !== undefined) {
    if (special === 'replace') {
      const { [directive]: _, ...rest } = patch;
      return dropDirectives(rest) as JsonObject;
    }
    if (special === 'delete') return {};
    if (special !== 'merge') throw badRequest(`unknown patch type found: ${showJson(special)}`);
  }
  const out: JsonObject = { ...original };
  const rest: JsonObject = { ...patch };
  delete rest[directive];
  applyRetainKeys(out, rest);
  applySetOrders(source, out, rest, schema);
  for (const key in rest) {
    const value = rest[key];
    if (value === undefined) continue;
    if (key === '__proto__') throw badRequest('the key "__proto__" is not supported');
    if (key.startsWith(deleteListPrefix)) {
      const target = key.slice(deleteListPrefix.length);
      const list = out[target];
      if (!Array.isArray(value)) throw badRequest(`${key} must be a list`);
      if (Array.isArray(list)) out[target] = list.filter((item) => !value.includes(item));
      continue;
    }
    if (value === null) {
      delete out[key];
      continue;
    }
    const current = out[key];
    if (current === undefined || current === null) {
      const kept = dropDirectives(dropNulls(value));
      if (kept !== undefined) out[key] = kept;
    } else if (isObject(current) && isObject(value)) {
      const meta = fieldMeta(source, schema, key);
      out[key] =
        meta.strategy === 'replace' ? (dropDirectives(value) as Json) : mergeMap(source, current, value, meta.schema);
    } else if (Array.isArray(current) && Array.isArray(value)) {
      const meta = fieldMeta(source, schema, key);
      out[key] = mergeSlice(source, current, value, meta, key);
    } else {
      const kept = dropDirectives(value);
      if (kept !== undefined) out[key] = kept;
    }
  }
  return out;
}

function applyRetainKeys(original: JsonObject, patch: JsonObject): void {
  const keep = patch[retainKeys];
  if (keep === undefined) return;
  delete patch[retainKeys];
  if (!Array.isArray(keep)) throw badRequest(`${retainKeys} must be a list of keys`);
  for (const key in patch) {
    const name = key.startsWith(setOrderPrefix)
      ? key.slice(setOrderPrefix.length)
      : key.startsWith(deleteListPrefix)
        ? key.slice(deleteListPrefix.length)
        : key;
    if (patch[key] !== null && key !== directive && !keep.includes(name))
      throw badRequest(`${retainKeys} does not contain the key ${JSON.stringify(name)} of the patch`);
  }
  for (const key of Object.keys(original)) if (!keep.includes(key)) delete original[key];
}

/** Merges every list that has a `$setElementOrder` and takes both out of the patch. */
function applySetOrders(source: SchemaSource, out: JsonObject, patch: JsonObject, schema: Schema | undefined): void {
  for (const key of Object.keys(patch)) {
    if (!key.startsWith(setOrderPrefix)) continue;
    const order = patch[key];
    delete patch[key];
    if (!Array.isArray(order)) throw badRequest(`${key} must be a list`);
    const field = key.slice(setOrderPrefix.length);
    const original = out[field];
    const change = patch[field];
    const meta = fieldMeta(source, schema, field);
    if (original !== undefined && original !== null && !Array.isArray(original))
      throw badRequest(`${key}: ${field} is not a list`);
    if (change !== undefined && change !== null && !Array.isArray(change))
      throw badRequest(`${key}: ${field} in the patch is not a list`);
    if (change === null) continue;
    checkOrder(change ?? [], order, meta.mergeKey, field);
    let merged: Json[];
    if (Array.isArray(original)) {
      merged = change === undefined ? original : mergeSlice(source, original, change, meta, field);
    } else if (change !== undefined) merged = dropDirectives(change) as Json[];
    else continue;
    const [inOrder, serverOnly] = partition(merged, order, meta.mergeKey);
    out[field] = normalize(inOrder, serverOnly, order, Array.isArray(original) ? original : [], meta.mergeKey);
    delete patch[field];
  }
}

/** Every element of the patch must be in the order list, in the same order. */
function checkOrder(change: Json[], order: Json[], mergeKey: string | undefined, field: string): void {
  let at = 0;
  for (const item of change) {
    if (isObject(item) && item[directive] !== undefined) continue;
    while (at < order.length && !sameItem(order[at], item, mergeKey)) at++;
    if (at >= order.length)
      throw badRequest(`The order in patch list of ${field} doesn't match its ${setOrderPrefix.slice(0, -1)} list`);
    at++;
  }
}

function mergeSlice(source: SchemaSource, original: Json[], patch: Json[], meta: FieldMeta, field: string): Json[] {
  if (meta.strategy !== 'merge') return dropDirectives(patch) as Json[];
  const sample = patch[0] ?? original[0];
  if (sample === undefined) return original;
  if (!isObject(sample)) {
    const merged = [...new Set([...original, ...patch])];
    const [inOrder, serverOnly] = partition(merged, patch, undefined);
    return normalize(inOrder, serverOnly, patch, original, undefined);
  }
  const mergeKey = meta.mergeKey;
  if (mergeKey === undefined) throw badRequest(`cannot merge the list ${field}: it has no merge key`);
  let base = original;
  const plain: JsonObject[] = [];
  let replaced = false;
  for (const item of patch) {
    if (!isObject(item)) throw badRequest(`the list ${field} mixes objects and scalars`);
    const special = item[directive];
    if (special === undefined || special === 'merge') {
      plain.push(item);
    } else if (special === 'delete') {
      const key = item[mergeKey];
      if (key === undefined)
        throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${mergeKey}`);
      base = base.filter((other) => !isObject(other) || other[mergeKey] !== key);
    } else if (special === 'replace') replaced = true;
    else throw badRequest(`unknown patch type found: ${showJson(special)}`);
  }
  if (replaced) return plain.map((item) => dropDirectives(item) as Json);
  const elementSchema = meta.schema?.items === undefined ? undefined : resolve(source, meta.schema.items);
  const merged = [...base];
  for (const item of plain) {
    const key = item[mergeKey];
    if (key === undefined || key === null)
      throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${mergeKey}`);
    const index = merged.findIndex((other) => isObject(other) && other[mergeKey] === key);
    if (index < 0) merged.push(dropDirectives(dropNulls(item)) as Json);
    else merged[index] = mergeMap(source, merged[index] as JsonObject, item, elementSchema);
  }
  const [inOrder, serverOnly] = partition(merged, plain, mergeKey);
  return normalize(inOrder, serverOnly, plain, original, mergeKey);
}

function sameItem(a: Json | undefined, b: Json | undefined, mergeKey: string | undefined): boolean {
  if (mergeKey === undefined || !isObject(a) || !isObject(b)) return a === b;
  return a[mergeKey] === b[mergeKey];
}

function indexIn(list: readonly Json[], item: Json, mergeKey: string | undefined): number {
  return list.findIndex((other) => sameItem(other, item, mergeKey));
}

function partition(items: Json[], order: readonly Json[], mergeKey: string | undefined): [Json[], Json[]] {
  const inOrder: Json[] = [];
  const rest: Json[] = [];
  for (const item of items) (indexIn(order, item, mergeKey) >= 0 ? inOrder : rest).push(item);
  return [inOrder, rest];
}

/** The patch's items in the patch's order and the server's own in theirs, interleaved by where the server had them. */
function normalize(
  patchItems: Json[],
  serverItems: Json[],
  patchOrder: readonly Json[],
  serverOrder: readonly Json[],
  mergeKey: string | undefined,
): Json[] {
  const by = (order: readonly Json[]): ((a: Json, b: Json) => number) => {
    return (a, b) => indexIn(order, a, mergeKey) - indexIn(order, b, mergeKey);
  };
  const right = [...patchItems].sort(by(patchOrder));
  const left = [...serverItems].sort(by(serverOrder));
  const out: Json[] = [];
  let i = 0;
  let j = 0;
  while (i < left.length || j < right.length) {
    if (i >= left.length) out.push(right[j++]!);
    else if (j >= right.length) out.push(left[i++]!);
    else {
      const l = indexIn(serverOrder, left[i]!, mergeKey);
      const r = indexIn(serverOrder, right[j]!, mergeKey);
      if (l >= 0 && r >= 0 && l < r) out.push(left[i++]!);
      else out.push(right[j++]!);
    }
  }
  return out;
}

/** Nulls in what is new mean nothing; they would otherwise be stored. */
function dropNulls(value: Json): Json {
  if (!isObject(value)) return value;
  const out: JsonObject = {};
  for (const key in value) {
    const child = value[key];
    if (child !== null && child !== undefined) out[key] = dropNulls(child);
  }
  return out;
}

/** A value of the patch that is taken as it is, without directives; undefined when a directive deletes it. */
function dropDirectives(value: Json): Json | undefined {
  if (Array.isArray(value)) {
    const out: Json[] = [];
    for (const item of value) {
      const kept = dropDirectives(item);
      if (kept !== undefined) out.push(kept);
    }
    return out;
  }
  if (!isObject(value)) return value;
  if (value[directive] === 'delete') return undefined;
  const out: JsonObject = {};
  for (const key in value) {
    if (key === directive || key === retainKeys || key.startsWith(setOrderPrefix) || key.startsWith(deleteListPrefix))
      continue;
    if (key === '__proto__') throw badRequest('the key "__proto__" is not supported');
    const child = value[key];
    if (child === undefined) continue;
    const kept = dropDirectives(child);
    if (kept !== undefined) out[key] = kept;
  }
  return out;
}
