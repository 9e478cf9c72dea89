import { createHash } from 'node:crypto';
import {
  allVerbs,
  type CustomKind,
  defineKind,
  type KindInfo,
  scaleSubresource,
  type Strategy,
  statusSubresource,
  type SubresourceInfo,
} from '../../api/kinds.ts';
import { getPath, isObject, type Json, type JsonObject, jsonEqual } from '../../machinery/json.ts';
import { type JsonPath, parseJsonPath } from '../../machinery/json-path.ts';
import type { Schema } from '../../machinery/openapi.ts';
import type { FieldError } from '../../machinery/status.ts';
import { schemaOf, type Structural, structuralOf } from '../../machinery/structural/schema.ts';
import { schemaErrors } from '../../machinery/structural/validate.ts';
import { fillSchemaDefaults, prune } from '../../machinery/structural/values.ts';
import type { Printer, PrinterColumn } from '../../machinery/table.ts';
import { age, parseTime } from '../../machinery/time.ts';
import type { CustomKinds } from '../live-kinds.ts';

/** What the rules of a schema say of a value and what it replaces. */
export type RuleCheck = (value: Json, old: Json | undefined) => FieldError[];

const objects = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);
const strings = (value: Json | undefined): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];
const text = (value: Json | undefined): string => (typeof value === 'string' ? value : '');

/** `com.example.stable.v1.CronTab` */
export function customSchemaName(group: string, version: string, kind: string): string {
  return `${group.split('.').reverse().join('.')}.${version}.${kind}`;
}

/** The version's JSON schema; versions without one keep everything. */
export function versionSchema(version: JsonObject): JsonObject {
  const schema = getPath(version, 'schema', 'openAPIV3Schema');
  return isObject(schema) ? schema : { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
}

/** The kinds that an established CustomResourceDefinition serves. `rulesOf` gives the check of a version's rules, if it has any. */
export function customKinds(
  definition: JsonObject,
  rulesOf: (structural: Structural) => RuleCheck | undefined,
): CustomKinds {
  const spec = isObject(definition.spec) ? definition.spec : {};
  const versions = objects(spec.versions);
  const storage = versions.find((version) => version.storage === true) ?? versions[0];
  const kinds: KindInfo[] = [];
  const schemas = new Map<string, Schema>();
  for (const version of versions) {
    if (version.served !== true) continue;
    const kind = customKind(definition, spec, version, text(storage?.name), rulesOf);
    kinds.push(kind);
    schemas.set(kind.schema, schemaOf(kind.custom!.structural, true));
    schemas.set(`${kind.schema}List`, listSchema(kind.schema));
  }
  return { kinds, schemas };
}

/** The kind of the version that is stored, whether it is served or not: what a definition that goes has to be rid of. */
export function storageKind(definition: JsonObject): KindInfo | undefined {
  const spec = isObject(definition.spec) ? definition.spec : {};
  const version = objects(spec.versions).find(({ storage }) => storage === true);
  return version && customKind(definition, spec, version, text(version.name), () => undefined);
}

function listSchema(item: string): Schema {
  return {
    type: 'object',
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { ref: 'io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta' },
      items: { type: 'array', items: { ref: item } },
    },
    required: ['items'],
  };
}

function customKind(
  definition: JsonObject,
  spec: JsonObject,
  version: JsonObject,
  storageVersion: string,
  rulesOf: (structural: Structural) => RuleCheck | undefined,
): KindInfo {
  const group = text(spec.group);
  const name = text(version.name);
  const accepted = getPath(definition, 'status', 'acceptedNames');
  const names = isObject(accepted) ? accepted : isObject(spec.names) ? spec.names : {};
  const kind = text(names.kind);
  const structural = structuralOf(versionSchema(version));
  const metadata = definition.metadata as JsonObject;
  const custom: CustomKind = {
    definition: text(metadata.name),
    definitionUid: text(metadata.uid),
    structural,
    schemaId: schemaId(spec, version),
    storageVersion,
    conversion: getPath(spec, 'conversion', 'strategy') === 'Webhook' ? 'Webhook' : 'None',
    terminating: metadata.deletionTimestamp !== undefined && metadata.deletionTimestamp !== null,
  };
  const subresources = subresourcesOf(version, kind);
  return defineKind({
    group,
    version: name,
    kind,
    plural: text(names.plural),
    singular: text(names.singular) || kind.toLowerCase(),
    listKind: text(names.listKind) || `${kind}List`,
    shortNames: strings(names.shortNames),
    categories: strings(names.categories),
    namespaced: spec.scope === 'Namespaced',
    verbs: allVerbs,
    schema: customSchemaName(group, name, kind),
    subresources,
    printer: printerOf(version),
    selectableFields: selectableFieldsOf(version),
    strategy: strategyOf(structural, subresources.status !== undefined, rulesOf(structural)),
    custom,
  });
}

/** What was stored under one schema need not be looked at again as long as it stands. */
function schemaId(spec: JsonObject, version: JsonObject): string {
  const parts = [spec.conversion ?? null, version.name ?? null, versionSchema(version)];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 12);
}

/** `.spec.replicas` as keys; quoted keys as in `.metadata.annotations['a.b']`. */
function keysOf(path: Json | undefined): string[] {
  return [...text(path).matchAll(/\.([^.[\]]+)|\['((?:[^'\\]|\\.)*)'\]/g)].map((match) => match[1] ?? match[2] ?? '');
}

function subresourcesOf(version: JsonObject, kind: string): Record<string, SubresourceInfo> {
  const out: Record<string, SubresourceInfo> = {};
  const wanted = isObject(version.subresources) ? version.subresources : {};
  if (isObject(wanted.status)) out.status = statusSubresource(kind);
  if (isObject(wanted.scale))
    out.scale = {
      ...scaleSubresource,
      scale: {
        specReplicas: keysOf(wanted.scale.specReplicasPath),
        statusReplicas: keysOf(wanted.scale.statusReplicasPath),
        selector: keysOf(wanted.scale.labelSelectorPath),
      },
    };
  return out;
}

const emptyPath: JsonPath = () => [];

function pathOf(value: Json | undefined): JsonPath {
  try {
    return parseJsonPath(text(value));
  } catch {
    // Validation of the definition reports it; a column that cannot be read is empty.
    return emptyPath;
  }
}

const ageColumn: JsonObject = {
  name: 'Age',
  type: 'date',
  description:
    'CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata',
  jsonPath: '.metadata.creationTimestamp',
};

function printerOf(version: JsonObject): Printer {
  const wanted = objects(version.additionalPrinterColumns);
  const list = wanted.length === 0 ? [ageColumn] : wanted;
  const columns: PrinterColumn[] = [
    {
      name: 'Name',
      type: 'string',
      format: 'name',
      description:
        'Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names',
      priority: 0,
    },
  ];
  const cells: { type: string; path: JsonPath }[] = [];
  for (const column of list) {
    const type = text(column.type) as PrinterColumn['type'];
    columns.push({
      name: text(column.name),
      type,
      ...(text(column.format) === '' ? {} : { format: text(column.format) }),
      description:
        text(column.description) || `Custom resource definition column (in JSONPath format): ${text(column.jsonPath)}`,
      priority: typeof column.priority === 'number' ? column.priority : 0,
    });
    cells.push({ type, path: pathOf(column.jsonPath) });
  }
  return {
    columns,
    row: (object, nowMs) => [
      String(getPath(object, 'metadata', 'name') ?? ''),
      ...cells.map(({ type, path }) => cell(type, path(object)[0], nowMs)),
    ],
  };
}

function cell(type: string, value: Json | undefined, nowMs: number): string | number | boolean | null {
  if (value === undefined || value === null) return null;
  switch (type) {
    case 'integer':
      return typeof value === 'number' ? Math.trunc(value) : null;
    case 'number':
      return typeof value === 'number' ? value : null;
    case 'boolean':
      return typeof value === 'boolean' ? value : null;
    case 'date':
      return parseTime(value) === undefined ? '<invalid>' : age(value, nowMs);
    default:
      return typeof value === 'string' ? value : JSON.stringify(value);
  }
}

function selectableFieldsOf(version: JsonObject): Record<string, (object: JsonObject) => string> {
  const out: Record<string, (object: JsonObject) => string> = {};
  for (const field of objects(version.selectableFields)) {
    const path = text(field.jsonPath);
    const find = pathOf(path);
    out[path.replace(/^\./, '')] = (object) => {
      const value = find(object)[0];
      return value === undefined || value === null ? '' : typeof value === 'object' ? '' : String(value);
    };
  }
  return out;
}

/** Everything but metadata, and status where it is written apart. */
function specOf(object: JsonObject, withStatus: boolean): JsonObject {
  const { metadata: _metadata, ...rest } = object;
  if (!withStatus) delete rest.status;
  return rest;
}

function strategyOf(structural: Structural, status: boolean, rules: RuleCheck | undefined): Strategy {
  const errors = (object: JsonObject, old: JsonObject | undefined): FieldError[] => {
    const found = schemaErrors(structural, object, '', old);
    // Rules are written for values that fit the schema.
    return found.length > 0 ? found : (rules?.(object, old) ?? []);
  };
  return {
    defaults(object) {
      prune(structural, object);
      fillSchemaDefaults(structural, object);
    },
    generation: true,
    specChanged: (object, old) => !jsonEqual(specOf(object, !status), specOf(old, !status)),
    allowCreateOnUpdate: false,
    allowUnconditionalUpdate: false,
    validate: (object) => errors(object, undefined),
    validateUpdate: errors,
    subresources: {
      status: {
        prepareForUpdate(object, old) {
          const managed = (object.metadata as JsonObject).managedFields;
          const resourceVersion = (object.metadata as JsonObject).resourceVersion;
          const metadata: JsonObject = { ...(old.metadata as JsonObject), resourceVersion };
          if (managed !== undefined) metadata.managedFields = managed;
          object.metadata = metadata;
        },
        validateUpdate: errors,
      },
    },
  };
}
