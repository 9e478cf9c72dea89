import { emptySet, type FieldSet, insertPath, keyStep, pathText } from './fieldset.ts';
import { isObject, type Json, type JsonObject, jsonEqual } from './json.ts';
import { propertyOf, resolve, type Schema, type SchemaSource } from './openapi.ts';

/**
 * Values walked along their schema (sigs.k8s.io/structured-merge-diff, typed): which paths a value has, how two values differ, what their merge is, and a
 * value without some paths. These four are what server-side apply is made of.
 */

type Atom =
  | { shape: 'scalar' }
  | { shape: 'map'; atomic: boolean; schema: Schema | undefined }
  | { shape: 'list'; relation: 'atomic' | 'set' | 'map'; keys: readonly string[]; items: Schema | undefined };

/** How a value at this place merges. Without a schema, maps merge by key and lists are atomic. */
function atomOf(source: SchemaSource, field: Schema | undefined, value: unknown): Atom {
  if (field === undefined) {
    if (isObject(value)) return { shape: 'map', atomic: false, schema: undefined };
    if (Array.isArray(value)) return { shape: 'list', relation: 'atomic', keys: [], items: undefined };
    return { shape: 'scalar' };
  }
  const schema = resolve(source, field);
  if (schema.type === 'array')
    return {
      shape: 'list',
      relation: field.listType ?? schema.listType ?? 'atomic',
      keys: field.listMapKeys ?? schema.listMapKeys ?? [],
      items: schema.items,
    };
  if (schema.properties !== undefined || schema.additionalProperties !== undefined)
    return { shape: 'map', atomic: (field.mapType ?? schema.mapType) === 'atomic', schema };
  if (schema.type === 'object') {
    if (schema.preserveUnknownFields === true && field.ref !== undefined) return { shape: 'scalar' };
    return { shape: 'map', atomic: (field.mapType ?? schema.mapType) === 'atomic', schema };
  }
  return { shape: 'scalar' };
}

function fieldOf(atom: { schema: Schema | undefined }, key: string): Schema | undefined {
  if (atom.schema === undefined) return undefined;
  return propertyOf(atom.schema, key) ?? atom.schema.additionalProperties;
}

function isNamed(atom: { schema: Schema | undefined }, key: string): boolean {
  return atom.schema !== undefined && propertyOf(atom.schema, key) !== undefined;
}

/** The step of a list item in a set or map list. */
function itemStep(source: SchemaSource, atom: Atom & { shape: 'list' }, item: Json, index: number): string {
  if (atom.relation === 'set') return `v:${JSON.stringify(item)}`;
  if (!isObject(item)) return `i:${index}`;
  const items = atom.items === undefined ? undefined : resolve(source, atom.items);
  const key: JsonObject = {};
  for (const name of atom.keys) {
    const value =
      item[name] ?? (items === undefined ? undefined : (propertyOf(items, name)?.default as Json | undefined));
    if (value !== undefined) key[name] = value;
  }
  return keyStep(key);
}

/**
 * What a value says more than once: list items of a set that are equal, and those of a map list with the same keys. Each but the first is told, as
 * `.spec.containers[name="web"].env: duplicate entries for key [name="A"]`.
 */
export function duplicateItems(source: SchemaSource, schema: Schema, value: Json): string[] {
  const out: string[] = [];
  findDuplicates(source, schema, value, [], out);
  return out;
}

function findDuplicates(
  source: SchemaSource,
  field: Schema | undefined,
  value: Json,
  path: readonly string[],
  out: string[],
): void {
  const atom = atomOf(source, field, value);
  if (atom.shape === 'map' && atom.schema !== undefined && isObject(value)) {
    for (const key in value) {
      const child = value[key];
      if (child !== undefined) findDuplicates(source, fieldOf(atom, key), child, [...path, `f:${key}`], out);
    }
  } else if (atom.shape === 'list' && atom.items !== undefined && Array.isArray(value)) {
    const seen = new Set<string>();
    for (const [index, item] of value.entries()) {
      const step = atom.relation === 'atomic' ? `i:${index}` : itemStep(source, atom, item, index);
      // Without keys an item is no other's duplicate.
      if (atom.relation !== 'atomic' && step !== 'k:{}') {
        if (seen.has(step)) out.push(`${pathText(path)}: duplicate entries for key ${pathText([step])}`);
        seen.add(step);
      }
      findDuplicates(source, atom.items, item, [...path, step], out);
    }
  }
}

function emptyContainer(value: Json | undefined): boolean {
  if (value === undefined || value === null) return true;
  if (!isObject(value)) return false;
  for (const key in value) if (value[key] !== undefined) return false;
  return true;
}

/** Every path that a value sets: what an applier owns. */
export function toFieldSet(source: SchemaSource, schema: Schema, value: Json): FieldSet {
  const out = emptySet();
  collect(source, schema, value, [], out);
  return out;
}

function collect(
  source: SchemaSource,
  field: Schema | undefined,
  value: Json,
  path: readonly string[],
  out: FieldSet,
): void {
  const atom = atomOf(source, field, value);
  if (atom.shape === 'map' && !atom.atomic && isObject(value)) {
    for (const key in value) {
      const child = value[key];
      if (child === undefined) continue;
      const childPath = [...path, `f:${key}`];
      collect(source, fieldOf(atom, key), child, childPath, out);
      if (child === null || (isObject(child) && emptyContainer(child)) || !isNamed(atom, key))
        insertPath(out, childPath);
    }
  } else if (atom.shape === 'list' && atom.relation !== 'atomic' && Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      const childPath = [...path, itemStep(source, atom, item, index)];
      collect(source, atom.items, item, childPath, out);
      insertPath(out, childPath);
    }
  } else if (path.length > 0) insertPath(out, path);
}

export interface Comparison {
  added: FieldSet;
  modified: FieldSet;
  removed: FieldSet;
}

/** How `right` differs from `left`. */
export function compareTyped(
  source: SchemaSource,
  schema: Schema,
  left: Json | undefined,
  right: Json | undefined,
): Comparison {
  const out: Comparison = { added: emptySet(), modified: emptySet(), removed: emptySet() };
  compareAt(source, schema, left, right, [], out);
  return out;
}

function compareAt(
  source: SchemaSource,
  field: Schema | undefined,
  left: Json | undefined,
  right: Json | undefined,
  path: readonly string[],
  out: Comparison,
): void {
  if (left === undefined && right === undefined) return;
  const atom = atomOf(source, field, right ?? left);
  const leaf =
    atom.shape === 'scalar' ||
    (atom.shape === 'map' && (atom.atomic || (emptyContainer(left) && emptyContainer(right)))) ||
    (atom.shape === 'list' && atom.relation === 'atomic');
  if (leaf) {
    if (path.length === 0) return;
    if (left === undefined) insertPath(out.added, path);
    else if (right === undefined) insertPath(out.removed, path);
    else if (!jsonEqual(left, right)) insertPath(out.modified, path);
    return;
  }
  if (atom.shape === 'map') {
    const l = isObject(left) ? left : {};
    const r = isObject(right) ? right : {};
    for (const key in l) compareAt(source, fieldOf(atom, key), l[key], r[key], [...path, `f:${key}`], out);
    for (const key in r)
      if (l[key] === undefined) compareAt(source, fieldOf(atom, key), undefined, r[key], [...path, `f:${key}`], out);
  } else {
    const l = indexItems(source, atom, left);
    const r = indexItems(source, atom, right);
    for (const [step, item] of l) compareAt(source, atom.items, item, r.get(step), [...path, step], out);
    for (const [step, item] of r)
      if (!l.has(step)) compareAt(source, atom.items, undefined, item, [...path, step], out);
  }
  if (path.length === 0) return;
  if (left === undefined) insertPath(out.added, path);
  else if (right === undefined) insertPath(out.removed, path);
}

function indexItems(source: SchemaSource, atom: Atom & { shape: 'list' }, list: Json | undefined): Map<string, Json> {
  const out = new Map<string, Json>();
  if (Array.isArray(list))
    for (const [index, item] of list.entries()) {
      const step = itemStep(source, atom, item, index);
      if (!out.has(step)) out.set(step, item);
    }
  return out;
}

/** `left` with everything that `right` says. */
export function mergeTyped(
  source: SchemaSource,
  field: Schema | undefined,
  left: Json | undefined,
  right: Json | undefined,
): Json {
  if (right === undefined) return left ?? null;
  if (left === undefined || left === null) return right;
  const atom = atomOf(source, field, right);
  if (atom.shape === 'map' && !atom.atomic && isObject(left) && isObject(right)) {
    const out: JsonObject = { ...left };
    for (const key in right)
      if (right[key] !== undefined) out[key] = mergeTyped(source, fieldOf(atom, key), left[key], right[key]);
    return out;
  }
  if (atom.shape === 'list' && atom.relation !== 'atomic' && Array.isArray(left) && Array.isArray(right))
    return mergeLists(source, atom, left, right);
  return right;
}

/** Items of the right keep their order; items that only the left has keep their place relative to those that both have. */
function mergeLists(source: SchemaSource, atom: Atom & { shape: 'list' }, left: Json[], right: Json[]): Json[] {
  const leftItems = indexItems(source, atom, left);
  const rightItems = indexItems(source, atom, right);
  const leftSteps = left.map((item, index) => itemStep(source, atom, item, index));
  const rightSteps = right.map((item, index) => itemStep(source, atom, item, index));
  const shared = rightSteps.filter((step) => leftItems.has(step));
  let nextShared = shared.shift();
  const merged = new Set<string>();
  const out: Json[] = [];
  const take = (step: string): void => {
    merged.add(step);
    out.push(mergeTyped(source, atom.items, leftItems.get(step), rightItems.get(step)));
  };
  let l = 0;
  let r = 0;
  while (l < leftSteps.length || r < rightSteps.length) {
    if (l < leftSteps.length && r < rightSteps.length) {
      const step = leftSteps[l]!;
      if (step === rightSteps[r]) {
        take(step);
        l++;
        r++;
        nextShared = shared.shift();
        continue;
      }
      if (rightItems.has(step) && nextShared !== undefined && nextShared !== step) {
        l++;
        continue;
      }
    }
    if (l < leftSteps.length) {
      const step = leftSteps[l]!;
      if (!rightItems.has(step)) {
        out.push(left[l]!);
        l++;
        continue;
      }
      if (merged.has(step)) l++;
    }
    if (r < rightSteps.length) {
      const step = rightSteps[r]!;
      take(step);
      r++;
      if (nextShared === step) nextShared = shared.shift();
    }
  }
  return out;
}

/** A value without the paths of `remove` (and what is below them). */
export function removePaths(
  source: SchemaSource,
  field: Schema | undefined,
  value: Json,
  remove: FieldSet,
): Json | undefined {
  const atom = atomOf(source, field, value);
  if (atom.shape === 'map' && isObject(value)) {
    const out: JsonObject = {};
    let kept = 0;
    for (const key in value) {
      const child = value[key];
      if (child === undefined) continue;
      const sub = remove.children.get(`f:${key}`);
      if (sub?.member === true) continue;
      const next = sub === undefined ? child : removePaths(source, fieldOf(atom, key), child, sub);
      if (next === undefined) continue;
      out[key] = next;
      kept++;
    }
    return kept === 0 && !emptyContainer(value) ? undefined : out;
  }
  if (atom.shape === 'list' && atom.relation !== 'atomic' && Array.isArray(value)) {
    const out: Json[] = [];
    for (const [index, item] of value.entries()) {
      const sub = remove.children.get(itemStep(source, atom, item, index));
      if (sub?.member === true) continue;
      const next = sub === undefined ? item : removePaths(source, atom.items, item, sub);
      if (next !== undefined) out.push(next);
    }
    return out.length === 0 && value.length > 0 ? undefined : out;
  }
  return value;
}

/**
 * The set with every struct field on the way to a member as a member too. Owners own leaves; to see what is left of a struct, its own path has to be in the set.
 */
export function withNamedFields(source: SchemaSource, field: Schema | undefined, set: FieldSet): FieldSet {
  const schema = field === undefined ? undefined : resolve(source, field);
  const out: FieldSet = { member: set.member, children: new Map() };
  for (const [step, child] of set.children) {
    let childField: Schema | undefined;
    let named = false;
    if (step.startsWith('f:') && schema !== undefined) {
      const key = step.slice(2);
      named = propertyOf(schema, key) !== undefined;
      childField = propertyOf(schema, key) ?? schema.additionalProperties;
    } else if (schema?.type === 'array') childField = schema.items;
    const next = withNamedFields(source, childField, child);
    if (named && child.children.size > 0) next.member = true;
    out.children.set(step, next);
  }
  return out;
}
