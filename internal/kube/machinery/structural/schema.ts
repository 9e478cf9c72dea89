import { isObject, type Json, type JsonObject } from '../json.ts';
import type { Schema } from '../openapi.ts';

/**
 * The schema of a CustomResourceDefinition as a tree that can be walked beside a value (docs: tasks/extend-kubernetes/custom-resources/
 * custom-resource-definitions, "Specifying a structural schema"): every node has its type, its children and what it demands of a value.
 */
export type StructuralType = 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';

export interface ValidationRule {
  readonly rule: string;
  readonly message?: string;
  readonly messageExpression?: string;
  readonly reason?: string;
  readonly fieldPath?: string;
  readonly optionalOldSelf?: boolean;
}

export interface Structural {
  /** Undefined for int-or-string and for nodes that keep whatever they are given. */
  readonly type: StructuralType | undefined;
  readonly description: string | undefined;
  readonly nullable: boolean;
  readonly intOrString: boolean;
  readonly preserveUnknownFields: boolean;
  readonly embeddedResource: boolean;
  readonly properties: ReadonlyMap<string, Structural>;
  /** Values of a map; `true` allows any. */
  readonly additionalProperties: Structural | true | undefined;
  readonly items: Structural | undefined;
  readonly default: Json | undefined;
  readonly listType: 'atomic' | 'set' | 'map' | undefined;
  readonly listMapKeys: readonly string[];
  readonly mapType: 'atomic' | 'granular' | undefined;
  readonly rules: readonly ValidationRule[];
  /** The JSON schema itself: value validations (`pattern`, `minimum`, `oneOf`, …) are read from it. */
  readonly raw: JsonObject;
}

const types: ReadonlySet<unknown> = new Set(['object', 'array', 'string', 'integer', 'number', 'boolean']);

/** Deepest nesting of a schema; deeper ones are refused when the definition is validated. */
export const schemaDepthMax = 100;

const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);

/** Reads JSONSchemaProps. Unknown shapes are read as nodes that allow anything: validation of the definition has refused them before. */
export function structuralOf(schema: Json | undefined, depth = 0): Structural {
  const raw = isObject(schema) && depth <= schemaDepthMax ? schema : {};
  const properties = new Map<string, Structural>();
  if (isObject(raw.properties))
    for (const key in raw.properties) properties.set(key, structuralOf(raw.properties[key], depth + 1));
  const more = raw.additionalProperties;
  return {
    type: types.has(raw.type) ? (raw.type as StructuralType) : undefined,
    description: text(raw.description),
    nullable: raw.nullable === true,
    intOrString: raw['x-kubernetes-int-or-string'] === true,
    preserveUnknownFields: raw['x-kubernetes-preserve-unknown-fields'] === true,
    embeddedResource: raw['x-kubernetes-embedded-resource'] === true,
    properties,
    additionalProperties: more === true ? true : isObject(more) ? structuralOf(more, depth + 1) : undefined,
    items: isObject(raw.items) ? structuralOf(raw.items, depth + 1) : undefined,
    default: raw.default,
    listType: text(raw['x-kubernetes-list-type']) as Structural['listType'],
    listMapKeys: Array.isArray(raw['x-kubernetes-list-map-keys'])
      ? raw['x-kubernetes-list-map-keys'].filter((key) => typeof key === 'string')
      : [],
    mapType: text(raw['x-kubernetes-map-type']) as Structural['mapType'],
    rules: rulesOf(raw['x-kubernetes-validations']),
    raw,
  };
}

function rulesOf(value: Json | undefined): ValidationRule[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isObject).map((rule) => ({
    rule: text(rule.rule) ?? '',
    ...(text(rule.message) === undefined ? {} : { message: text(rule.message)! }),
    ...(text(rule.messageExpression) === undefined ? {} : { messageExpression: text(rule.messageExpression)! }),
    ...(text(rule.reason) === undefined ? {} : { reason: text(rule.reason)! }),
    ...(text(rule.fieldPath) === undefined ? {} : { fieldPath: text(rule.fieldPath)! }),
    ...(rule.optionalOldSelf === true ? { optionalOldSelf: true } : {}),
  }));
}

/** Whether any node of the tree satisfies `test`. */
export function someNode(node: Structural, test: (node: Structural) => boolean): boolean {
  if (test(node)) return true;
  for (const child of node.properties.values()) if (someNode(child, test)) return true;
  if (node.items !== undefined && someNode(node.items, test)) return true;
  return isNode(node.additionalProperties) && someNode(node.additionalProperties, test);
}

export function isNode(value: Structural | true | undefined): value is Structural {
  return value !== undefined && value !== true;
}

const objectMeta = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';

/** The node as server-side apply, field management and OpenAPI know types. `root`: the object itself, whose metadata is ObjectMeta. */
export function schemaOf(node: Structural, root = false): Schema {
  const out: Schema = {};
  if (node.type !== undefined) out.type = node.type;
  if (node.intOrString) out.intOrString = true;
  if (typeof node.raw.format === 'string' && node.type !== 'object') out.format = node.raw.format;
  const own = root || node.embeddedResource;
  if (node.properties.size > 0 || own) {
    out.type = 'object';
    out.properties = Object.create(null) as Record<string, Schema>;
    for (const [key, child] of node.properties) out.properties[key] = schemaOf(child);
    if (own) {
      out.properties.apiVersion = { type: 'string' };
      out.properties.kind = { type: 'string' };
      out.properties.metadata = { ref: objectMeta };
    }
  }
  if (node.items !== undefined) out.items = schemaOf(node.items);
  if (isNode(node.additionalProperties)) out.additionalProperties = schemaOf(node.additionalProperties);
  else if (node.additionalProperties === true) out.additionalProperties = { preserveUnknownFields: true };
  if (node.preserveUnknownFields) out.preserveUnknownFields = true;
  if (node.embeddedResource) out.embeddedResource = true;
  if (node.default !== undefined) out.default = node.default;
  if (node.type === 'array') out.listType = node.listType ?? 'atomic';
  if (node.listMapKeys.length > 0) out.listMapKeys = [...node.listMapKeys];
  if (node.mapType !== undefined) out.mapType = node.mapType;
  return out;
}
