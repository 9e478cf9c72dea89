import type { JsonObject } from './json.ts';

/**
 * Structure of the API's types. A Schema is the OpenAPI subset that Kubernetes publishes, whether it comes from the built-in definitions or
 * from a CRD; references are by definition name (`io.k8s.api.core.v1.Pod`), without a `#/…` prefix, and resolved through a SchemaSource.
 */
export interface Schema {
  type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  format?: string;
  description?: string;
  /** Name of another definition. */
  ref?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  /** Values of a map. */
  additionalProperties?: Schema;
  enum?: string[];
  default?: unknown;
  /** `x-kubernetes-int-or-string` */
  intOrString?: boolean;
  /** `x-kubernetes-preserve-unknown-fields` */
  preserveUnknownFields?: boolean;
  /** `x-kubernetes-embedded-resource` */
  embeddedResource?: boolean;
  /** `x-kubernetes-list-type`: how server-side apply merges the list; absent means atomic. */
  listType?: 'atomic' | 'set' | 'map';
  /** `x-kubernetes-list-map-keys` */
  listMapKeys?: string[];
  /** `x-kubernetes-map-type` */
  mapType?: 'atomic' | 'granular';
  /** `x-kubernetes-patch-strategy`: `merge`, `retainKeys`, `merge,retainKeys`, `replace`. */
  patchStrategy?: string;
  /** `x-kubernetes-patch-merge-key` */
  patchMergeKey?: string;
  /** `x-kubernetes-unions`: which value of a field goes with which other field. Only published. */
  unions?: readonly JsonObject[];
}

/** Where references are looked up. Descriptions are not loaded here: see `descriptions` of the built-in source. */
export interface SchemaSource {
  /** The definition of that name; throws AppError SCHEMA_UNKNOWN for a name that nothing refers to. */
  definition(name: string): Schema;
}

/** Follows `ref` until a schema with content. */
export function resolve(source: SchemaSource, schema: Schema): Schema {
  let at = schema;
  for (let depth = 0; at.ref !== undefined; depth++) {
    if (depth > 16) throw new Error(`invariant broken: schema reference loop at ${at.ref}`);
    at = source.definition(at.ref);
  }
  return at;
}

/** The schema of a struct's field; keys such as `constructor` are not mistaken for fields. */
export function propertyOf(schema: Schema, key: string): Schema | undefined {
  return schema.properties !== undefined && Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined;
}
