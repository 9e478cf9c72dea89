import {
  difference,
  emptySet,
  type FieldSet,
  fieldsFromSet,
  intersection,
  isEmptySet,
  members,
  pathText,
  setFromFields,
  setsEqual,
  union,
  withoutSubtrees,
} from './fieldset.ts';
import { isObject, type Json, type JsonObject, jsonEqual, showJson } from './json.ts';
import { resolve, type Schema, type SchemaSource } from './openapi.ts';
import { applyConflict, badRequest, type StatusCause } from './status.ts';
import { compareTyped, mergeTyped, removePaths, toFieldSet, withNamedFields } from './typed.ts';

/** Who owns which field (KEP-555; k8s.io/apimachinery/pkg/util/managedfields, sigs.k8s.io/structured-merge-diff/merge). */
export interface ManagedFieldsEntry {
  manager: string;
  operation: 'Apply' | 'Update';
  apiVersion: string;
  time?: string;
  fieldsType: 'FieldsV1';
  fieldsV1: JsonObject;
  subresource?: string;
}

export interface FieldManagement {
  schema: string;
  source: SchemaSource;
  /** apiVersion of the object. */
  apiVersion: string;
  manager: string;
  /** '' for the main resource. */
  subresource: string;
  /** RFC 3339, whole seconds. */
  time: string;
  /** Top-level fields that this request cannot own (`ignoredFields` of the lifecycle). */
  ignored?: readonly string[];
}

/** Managers that only update are folded into one above this number. */
const updateManagersMax = 10;
const foldedManager = 'ancient-changes';

/** Fields that nobody owns. */
const systemPaths: readonly (readonly string[])[] = [
  ['f:apiVersion'],
  ['f:kind'],
  ['f:metadata', 'f:name'],
  ['f:metadata', 'f:namespace'],
  ['f:metadata', 'f:creationTimestamp'],
  ['f:metadata', 'f:selfLink'],
  ['f:metadata', 'f:uid'],
  ['f:metadata', 'f:clusterName'],
  ['f:metadata', 'f:generation'],
  ['f:metadata', 'f:managedFields'],
  ['f:metadata', 'f:resourceVersion'],
];

interface Manager {
  entry: Omit<ManagedFieldsEntry, 'fieldsV1'>;
  set: FieldSet;
}

function readManagers(object: JsonObject | undefined): Manager[] {
  const list = isObject(object?.metadata) ? object.metadata.managedFields : undefined;
  if (!Array.isArray(list)) return [];
  const out: Manager[] = [];
  for (const item of list) {
    if (!isObject(item) || item.fieldsType !== 'FieldsV1') continue;
    if (item.operation !== 'Apply' && item.operation !== 'Update') continue;
    out.push({
      entry: {
        manager: showJson(item.manager ?? ''),
        operation: item.operation,
        apiVersion: showJson(item.apiVersion ?? ''),
        ...(typeof item.time === 'string' ? { time: item.time } : {}),
        fieldsType: 'FieldsV1',
        ...(typeof item.subresource === 'string' && item.subresource !== '' ? { subresource: item.subresource } : {}),
      },
      set: setFromFields(item.fieldsV1),
    });
  }
  return out;
}

function sameManager(a: Manager['entry'], b: Manager['entry']): boolean {
  return (
    a.manager === b.manager &&
    a.operation === b.operation &&
    (a.subresource ?? '') === (b.subresource ?? '') &&
    // An applier is one manager whatever version it speaks.
    (a.operation === 'Apply' || a.apiVersion === b.apiVersion)
  );
}

function writeManagers(object: JsonObject, managers: Manager[]): void {
  const metadata = isObject(object.metadata) ? object.metadata : {};
  object.metadata = metadata;
  const list = capped(managers.filter((manager) => !isEmptySet(manager.set)));
  list.sort(({ entry: a }, { entry: b }) => {
    if (a.operation !== b.operation) return a.operation < b.operation ? -1 : 1;
    if ((a.time ?? '') !== (b.time ?? '')) return (a.time ?? '') < (b.time ?? '') ? -1 : 1;
    if (a.manager !== b.manager) return a.manager < b.manager ? -1 : 1;
    if (a.apiVersion !== b.apiVersion) return a.apiVersion < b.apiVersion ? -1 : 1;
    return (a.subresource ?? '') < (b.subresource ?? '') ? -1 : 1;
  });
  if (list.length === 0) delete metadata.managedFields;
  else
    metadata.managedFields = list.map(({ entry, set }): JsonObject => {
      const { subresource, time, ...rest } = entry;
      return {
        ...rest,
        ...(time === undefined ? {} : { time }),
        fieldsV1: fieldsFromSet(set),
        ...(subresource === undefined ? {} : { subresource }),
      };
    });
}

function capped(managers: Manager[]): Manager[] {
  const updaters = managers.filter((manager) => manager.entry.operation === 'Update');
  if (updaters.length <= updateManagersMax) return managers;
  updaters.sort((a, b) => ((a.entry.time ?? '') < (b.entry.time ?? '') ? -1 : 1));
  const folded = updaters.slice(0, updaters.length - updateManagersMax + 1);
  const first = folded[folded.length - 1]!;
  let set = emptySet();
  for (const manager of folded) set = union(set, manager.set);
  const { subresource: _subresource, ...entry } = first.entry;
  return [
    ...managers.filter((manager) => !folded.includes(manager)),
    { entry: { ...entry, manager: foldedManager }, set },
  ];
}

/** The object as field management sees it. */
function content(object: JsonObject): JsonObject {
  const metadata = isObject(object.metadata) ? { ...object.metadata } : {};
  delete metadata.managedFields;
  return { ...object, metadata };
}

function owned(set: FieldSet, ignored: readonly string[] | undefined): FieldSet {
  return withoutSubtrees(set, [...systemPaths, ...(ignored ?? []).map((field) => [`f:${field}`])]);
}

/** Struct fields that Go writes also when they are empty, beside the required ones: they are not "added" with their first content. */
const alwaysThere: readonly string[] = [
  'metadata',
  'spec',
  'status',
  'strategy',
  'updateStrategy',
  'template',
  'loadBalancer',
];

/** What an empty object of this type looks like next to `model`: its structs and required lists exist. */
function skeleton(source: SchemaSource, field: Schema, model: Json | undefined): Json | undefined {
  const schema = resolve(source, field);
  if (!isObject(model) || schema.properties === undefined) return undefined;
  const out: JsonObject = {};
  for (const key in model) {
    const property = schema.properties[key];
    const child = model[key];
    if (property === undefined || child === undefined) continue;
    if (!alwaysThere.includes(key) && schema.required?.includes(key) !== true) continue;
    if (Array.isArray(child)) out[key] = null;
    else if (isObject(child)) out[key] = skeleton(source, property, child) ?? {};
  }
  return out;
}

/** Takes from every other manager what changed and what is gone. */
function release(managers: Manager[], current: Manager['entry'] | undefined, taken: FieldSet, removed: FieldSet): void {
  for (const manager of managers) {
    if (current !== undefined && sameManager(manager.entry, current)) continue;
    manager.set = difference(difference(manager.set, taken), removed);
  }
}

/**
 * Sets metadata.managedFields of `next` after a create or update by `manager` (POST, PUT, the three plain patches). `live` is undefined on create.
 * Call it after defaults; objects with `managedFields: []` or a single empty entry in the request reset tracking, as upstream.
 */
export function trackUpdate(live: JsonObject | undefined, next: JsonObject, options: FieldManagement): void {
  const given = isObject(next.metadata) ? next.metadata.managedFields : undefined;
  const reset = Array.isArray(given) && (given.length === 0 || (given.length === 1 && emptyEntry(given[0])));
  // A client may edit the list (to drop a manager); without one in the request the live list counts.
  const managers = reset ? [] : Array.isArray(given) ? readManagers(next) : readManagers(live);
  if (reset && live !== undefined) {
    writeManagers(next, []);
    return;
  }
  const schema = options.source.definition(options.schema);
  const after = content(next);
  const before = live === undefined ? (skeleton(options.source, schema, after) as JsonObject) : content(live);
  const { added, modified, removed } = compareTyped(options.source, schema, before, after);
  const taken = owned(union(added, modified), options.ignored);
  const entry: Manager['entry'] = {
    manager: options.manager,
    operation: 'Update',
    apiVersion: options.apiVersion,
    time: options.time,
    fieldsType: 'FieldsV1',
    ...(options.subresource === '' ? {} : { subresource: options.subresource }),
  };
  release(managers, undefined, taken, removed);
  if (!isEmptySet(taken)) {
    const own = managers.find((manager) => sameManager(manager.entry, entry));
    if (own === undefined) managers.push({ entry, set: taken });
    else {
      own.set = union(own.set, taken);
      own.entry = entry;
    }
  }
  writeManagers(next, managers);
}

function emptyEntry(entry: Json | undefined): boolean {
  return isObject(entry) && Object.keys(entry).every((key) => entry[key] === '' || entry[key] === undefined);
}

/**
 * Server-side apply: merges `applied` (the client's intent, decoded, without managedFields) into `live` (undefined: create). The result has its
 * managedFields; strategy and defaults still have to run. Throws StatusError 409 with causes FieldManagerConflict unless `force`. Inputs are not changed.
 */
export function serverSideApply(
  live: JsonObject | undefined,
  applied: JsonObject,
  options: FieldManagement & { force: boolean },
): JsonObject {
  if (isObject(applied.metadata) && applied.metadata.managedFields !== undefined)
    throw badRequest('metadata.managedFields must be nil');
  const { source } = options;
  const schema = source.definition(options.schema);
  const managers = readManagers(live);
  const before: JsonObject = live === undefined ? {} : content(live);
  const intent = content(applied);
  for (const field of options.ignored ?? []) delete intent[field];
  const entry: Manager['entry'] = {
    manager: options.manager,
    operation: 'Apply',
    apiVersion: options.apiVersion,
    time: options.time,
    fieldsType: 'FieldsV1',
    ...(options.subresource === '' ? {} : { subresource: options.subresource }),
  };
  const own = managers.find((manager) => sameManager(manager.entry, entry));
  const lastSet = own?.set;
  const set = owned(toFieldSet(source, schema, intent), options.ignored);
  const others = managers.filter((manager) => manager !== own);
  let merged = mergeTyped(source, schema, before, intent) as JsonObject;
  if (lastSet !== undefined && !isEmptySet(lastSet)) merged = pruned(source, schema, merged, lastSet, set, others);
  const change = compareTyped(source, schema, before, merged);
  const touched = union(change.added, change.modified);
  if (!options.force) refuseConflicts(others, touched);
  release(others, entry, touched, change.removed);
  const unchanged = live !== undefined && jsonEqual(before, merged) && lastSet !== undefined && setsEqual(lastSet, set);
  const current: Manager = { entry: unchanged && own !== undefined ? own.entry : entry, set };
  const result: JsonObject = { ...merged, metadata: { ...(merged.metadata as JsonObject) } };
  writeManagers(result, [...others, current]);
  return result;
}

/** Drops what the applier owned before, no longer wants, and nobody else owns. */
function pruned(
  source: SchemaSource,
  schema: Schema,
  merged: JsonObject,
  lastSet: FieldSet,
  newSet: FieldSet,
  others: Manager[],
): JsonObject {
  const named = (set: FieldSet): FieldSet => withNamedFields(source, schema, set);
  const last = named(lastSet);
  const without = (value: JsonObject, remove: FieldSet): JsonObject =>
    (removePaths(source, schema, value, remove) as JsonObject | undefined) ?? {};
  const setOf = (value: JsonObject): FieldSet => named(toFieldSet(source, schema, value));
  const mergedSet = setOf(merged);
  let result = without(merged, last);
  let managed = newSet;
  for (const other of others) managed = union(managed, other.set);
  // Back comes what somebody still owns …
  result = without(merged, difference(mergedSet, union(setOf(result), named(managed))));
  // … and what the applier never owned.
  return without(merged, intersection(difference(mergedSet, setOf(result)), last));
}

function describe(entry: Manager['entry']): string {
  let out = JSON.stringify(entry.manager);
  if (entry.subresource !== undefined) out += ` with subresource ${JSON.stringify(entry.subresource)}`;
  if (entry.operation === 'Update') {
    out += ` using ${entry.apiVersion}`;
    if (entry.time !== undefined) out += ` at ${entry.time}`;
  }
  return out;
}

function refuseConflicts(others: Manager[], touched: FieldSet): void {
  const causes: StatusCause[] = [];
  const blocks: { who: string; paths: string[] }[] = [];
  for (const { entry, set } of others) {
    const paths = [...members(intersection(set, touched))].map(pathText);
    if (paths.length === 0) continue;
    const who = describe(entry);
    blocks.push({ who, paths });
    for (const field of paths) causes.push({ reason: 'FieldManagerConflict', message: `conflict with ${who}`, field });
  }
  if (causes.length === 0) return;
  if (causes.length === 1)
    throw applyConflict(`Apply failed with 1 conflict: ${causes[0]!.message}: ${causes[0]!.field}`, causes);
  blocks.sort((a, b) => (a.who < b.who ? -1 : 1));
  const lines = blocks.flatMap(({ who, paths }) => [`conflicts with ${who}:`, ...paths.map((path) => `- ${path}`)]);
  throw applyConflict(`Apply failed with ${causes.length} conflicts: ${lines.join('\n')}`, causes);
}
