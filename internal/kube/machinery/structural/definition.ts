import { cloneJson, isObject, type Json, type JsonObject } from '../json.ts';
import type { FieldError } from '../status.ts';
import { forbiddenField, invalidValue, notSupported, required } from '../validation.ts';
import { compileRe2 } from './regexp.ts';
import { schemaDepthMax, structuralOf } from './schema.ts';
import { schemaErrors } from './validate.ts';
import { fillSchemaDefaults, prune } from './values.ts';

/**
 * What keeps a JSON schema from being structural, in upstream's words (k8s.io/apiextensions-apiserver/pkg/apiserver/schema/validation.go and
 * pkg/apis/apiextensions/validation).
 */
export function definitionErrors(schema: JsonObject, path: string): FieldError[] {
  const out: FieldError[] = [];
  if (schema.type === undefined || schema.type === '')
    out.push(required(`${path}.type`, 'must not be empty at the root'));
  else if (schema.type !== 'object') out.push(invalidValue(`${path}.type`, schema.type, 'must be object at the root'));
  checkNode(schema, path, 0, true, out);
  checkMetadata(schema, path, out);
  if (out.length === 0) checkDefaults(schema, path, true, out);
  return out;
}

const listTypes = ['atomic', 'map', 'set'];
const mapTypes = ['atomic', 'granular'];
const scalars: ReadonlySet<unknown> = new Set(['string', 'integer', 'number', 'boolean']);
const types: ReadonlySet<unknown> = new Set(['object', 'array', ...scalars]);
/** Vendor extensions and the rest that only the tree itself may say, not what stands in allOf, anyOf, oneOf and not. */
const onlyStructural = [
  'description',
  'type',
  'additionalProperties',
  'default',
  'title',
  'nullable',
  'x-kubernetes-preserve-unknown-fields',
  'x-kubernetes-embedded-resource',
  'x-kubernetes-int-or-string',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-list-type',
  'x-kubernetes-map-type',
  'x-kubernetes-validations',
];

function checkNode(schema: JsonObject, path: string, depth: number, root: boolean, out: FieldError[]): void {
  if (depth > schemaDepthMax) {
    out.push(forbiddenField(path, `nests deeper than ${schemaDepthMax} levels`));
    return;
  }
  checkShape(schema, path, out);
  checkLists(schema, path, out);
  for (const junctor of ['allOf', 'anyOf', 'oneOf'] as const) {
    const list = schema[junctor];
    if (Array.isArray(list))
      for (const [index, one] of list.entries())
        if (isObject(one)) checkNested(one, schema, `${path}.${junctor}[${index}]`, depth + 1, out);
  }
  if (isObject(schema.not)) checkNested(schema.not, schema, `${path}.not`, depth + 1, out);
  for (const [key, child] of entriesOf(schema.properties)) {
    // ObjectMeta of the object itself is checked apart.
    if (root && key === 'metadata') continue;
    const at = `${path}.properties[${key}]`;
    requireType(child, at, 'must not be empty for specified object fields', out);
    checkNode(child, at, depth + 1, false, out);
  }
  if (isObject(schema.items)) {
    requireType(schema.items, `${path}.items`, 'must not be empty for specified array items', out);
    checkNode(schema.items, `${path}.items`, depth + 1, false, out);
  }
  if (isObject(schema.additionalProperties)) {
    const at = `${path}.additionalProperties`;
    requireType(schema.additionalProperties, at, 'must not be empty for specified object fields', out);
    checkNode(schema.additionalProperties, at, depth + 1, false, out);
  }
}

function entriesOf(value: Json | undefined): [string, JsonObject][] {
  if (!isObject(value)) return [];
  return Object.entries(value).filter((entry): entry is [string, JsonObject] => isObject(entry[1]));
}

function requireType(schema: JsonObject, path: string, why: string, out: FieldError[]): void {
  const open = schema['x-kubernetes-preserve-unknown-fields'] === true || schema['x-kubernetes-int-or-string'] === true;
  if ((schema.type === undefined || schema.type === '') && !open) out.push(required(`${path}.type`, why));
}

function checkShape(schema: JsonObject, path: string, out: FieldError[]): void {
  const { type } = schema;
  if (type !== undefined && type !== '' && !types.has(type))
    out.push(notSupported(`${path}.type`, type, [...types].map(String)));
  if (typeof schema.$ref === 'string' && schema.$ref !== '')
    out.push(forbiddenField(`${path}.$ref`, '$ref is not supported'));
  if (schema.uniqueItems === true)
    out.push(
      forbiddenField(
        `${path}.uniqueItems`,
        'uniqueItems cannot be set to true since the runtime complexity becomes quadratic',
      ),
    );
  if (schema.additionalProperties !== undefined && schema.properties !== undefined)
    out.push(
      forbiddenField(`${path}.additionalProperties`, 'additionalProperties and properties are mutual exclusive'),
    );
  if (schema.additionalProperties === false)
    out.push(forbiddenField(`${path}.additionalProperties`, 'additionalProperties cannot be set to false'));
  if (type === 'array' && !isObject(schema.items)) out.push(required(`${path}.items`, 'must be specified'));
  if (schema['x-kubernetes-preserve-unknown-fields'] === false)
    out.push(invalidValue(`${path}.x-kubernetes-preserve-unknown-fields`, false, 'must be true or undefined'));
  if (schema['x-kubernetes-int-or-string'] === true && type !== undefined && type !== '')
    out.push(invalidValue(`${path}.type`, type, 'must be empty if x-kubernetes-int-or-string is true'));
  if (schema['x-kubernetes-embedded-resource'] === true) {
    if (type !== 'object')
      out.push(invalidValue(`${path}.type`, type ?? '', 'must be object if x-kubernetes-embedded-resource is true'));
    if (schema['x-kubernetes-preserve-unknown-fields'] !== true && schema.properties === undefined)
      out.push(
        required(
          `${path}.properties`,
          'must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields',
        ),
      );
  }
  if (typeof schema.pattern === 'string') {
    try {
      compileRe2(schema.pattern);
    } catch {
      out.push(invalidValue(`${path}.pattern`, schema.pattern, "must be a valid regular expression, but isn't"));
    }
  }
}

function checkLists(schema: JsonObject, path: string, out: FieldError[]): void {
  const listType = schema['x-kubernetes-list-type'];
  const mapType = schema['x-kubernetes-map-type'];
  const keys = schema['x-kubernetes-list-map-keys'];
  if (listType !== undefined) {
    if (!listTypes.includes(listType as string))
      out.push(notSupported(`${path}.x-kubernetes-list-type`, listType, listTypes));
    if (schema.type !== 'array')
      out.push(invalidValue(`${path}.type`, schema.type ?? '', 'must be array if x-kubernetes-list-type is specified'));
  }
  if (mapType !== undefined) {
    if (!mapTypes.includes(mapType as string))
      out.push(notSupported(`${path}.x-kubernetes-map-type`, mapType, mapTypes));
    if (schema.type !== 'object')
      out.push(invalidValue(`${path}.type`, schema.type ?? '', 'must be object if x-kubernetes-map-type is specified'));
  }
  if (listType !== 'map') {
    if (keys !== undefined)
      out.push(
        forbiddenField(
          `${path}.x-kubernetes-list-map-keys`,
          'must not be specified unless x-kubernetes-list-type is map',
        ),
      );
    return;
  }
  if (!Array.isArray(keys) || keys.length === 0) {
    out.push(required(`${path}.x-kubernetes-list-map-keys`, 'must not be empty if x-kubernetes-list-type is map'));
    return;
  }
  const items = isObject(schema.items) ? schema.items : {};
  if (items.type !== 'object')
    out.push(
      invalidValue(
        `${path}.items.type`,
        items.type ?? '',
        "must be object if parent array's x-kubernetes-list-type is map",
      ),
    );
  const properties = isObject(items.properties) ? items.properties : {};
  const needed = Array.isArray(items.required) ? items.required : [];
  for (const [index, key] of keys.entries()) {
    const property = properties[String(key)];
    if (!isObject(property))
      out.push(
        invalidValue(
          `${path}.x-kubernetes-list-map-keys[${index}]`,
          key,
          `entries must all be names of item properties`,
        ),
      );
    else if (!scalars.has(property.type))
      out.push(
        invalidValue(
          `${path}.items.properties[${String(key)}].type`,
          property.type ?? '',
          "must be a scalar type if parent array's x-kubernetes-list-type is map",
        ),
      );
    else if (!needed.includes(key) && property.default === undefined)
      out.push(
        required(
          `${path}.items.properties[${String(key)}].default`,
          `this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property`,
        ),
      );
  }
}

/** Under allOf, anyOf, oneOf and not stand demands only; every field that they name is named by the tree itself, too. */
function checkNested(
  schema: JsonObject,
  tree: JsonObject | undefined,
  path: string,
  depth: number,
  out: FieldError[],
): void {
  if (depth > schemaDepthMax) return;
  const intOrString = tree?.['x-kubernetes-int-or-string'] === true;
  for (const key of onlyStructural) {
    if (schema[key] === undefined || schema[key] === '' || schema[key] === false) continue;
    if (key === 'type' && intOrString) continue;
    out.push(forbiddenField(`${path}.${key}`, 'must be empty to be structural'));
  }
  for (const [key, child] of entriesOf(schema.properties)) {
    const known = isObject(tree?.properties) ? tree.properties[key] : undefined;
    if (!isObject(known))
      out.push(required(treePath(path, key), `because it is defined in ${path}.properties[${key}]`));
    checkNested(child, isObject(known) ? known : undefined, `${path}.properties[${key}]`, depth + 1, out);
  }
  if (isObject(schema.items)) {
    const known = isObject(tree?.items) ? tree.items : undefined;
    checkNested(schema.items, known, `${path}.items`, depth + 1, out);
  }
  for (const junctor of ['allOf', 'anyOf', 'oneOf'] as const) {
    const list = schema[junctor];
    if (Array.isArray(list))
      for (const [index, one] of list.entries())
        if (isObject(one)) checkNested(one, tree, `${path}.${junctor}[${index}]`, depth + 1, out);
  }
  if (isObject(schema.not)) checkNested(schema.not, tree, `${path}.not`, depth + 1, out);
}

/** Where the tree would have to name the field. */
function treePath(path: string, key: string): string {
  return `${path.replace(/\.(allOf\[\d+\]|anyOf\[\d+\]|oneOf\[\d+\]|not)/g, '')}.properties[${key}]`;
}

function checkMetadata(schema: JsonObject, path: string, out: FieldError[]): void {
  const metadata = isObject(schema.properties) ? schema.properties.metadata : undefined;
  if (!isObject(metadata)) return;
  const at = `${path}.properties[metadata]`;
  if (metadata.type !== undefined && metadata.type !== 'object')
    out.push(invalidValue(`${at}.type`, metadata.type, 'must be object'));
  const other = Object.keys(metadata).some((key) => !['type', 'properties', 'description', 'required'].includes(key));
  const fields = isObject(metadata.properties) ? Object.keys(metadata.properties) : [];
  if (other || fields.some((field) => field !== 'name' && field !== 'generateName'))
    out.push(
      forbiddenField(
        at,
        'must not specify anything other than name and generateName, but metadata is implicitly specified',
      ),
    );
}

/** A default is pruned, has its own defaults and is valid where it stands. */
function checkDefaults(schema: JsonObject, path: string, top: boolean, out: FieldError[]): void {
  if (schema.default !== undefined) {
    if (top) out.push(forbiddenField(`${path}.default`, 'must not be set in top-level object'));
    const node = structuralOf(schema);
    const value = cloneJson(schema.default) as Json;
    const holder: JsonObject = { value };
    const tree = structuralOf({ type: 'object', properties: { value: schema } });
    const unknown = prune(tree, holder);
    for (const field of unknown)
      out.push(
        invalidValue(`${path}.default${field.slice('value'.length)}`, schema.default, 'must not have unknown fields'),
      );
    fillSchemaDefaults(node, holder.value!);
    for (const error of schemaErrors(node, holder.value!, `${path}.default`)) out.push(error);
  }
  for (const [key, child] of entriesOf(schema.properties))
    checkDefaults(child, `${path}.properties[${key}]`, false, out);
  if (isObject(schema.items)) checkDefaults(schema.items, `${path}.items`, false, out);
  if (isObject(schema.additionalProperties))
    checkDefaults(schema.additionalProperties, `${path}.additionalProperties`, false, out);
}
