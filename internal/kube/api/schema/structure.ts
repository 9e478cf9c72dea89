import { AppError } from '../../../base/errors.ts';
import type { JsonObject } from '../../machinery/json.ts';
import type { Schema, SchemaSource } from '../../machinery/openapi.ts';
import { definitionOf, type Field, fullName, tableNames } from './definitions.ts';

/** The built-in definitions as schemas, without texts; each is made when it is first asked for. */

const meta = 'io.k8s.apimachinery.pkg.';
const extensions = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.';

/** Definitions that are no structs. */
const scalars: Readonly<Record<string, Schema>> = {
  [`${meta}api.resource.Quantity`]: { type: 'string', format: 'quantity' },
  [`${meta}util.intstr.IntOrString`]: { type: 'string', format: 'int-or-string', intOrString: true },
  [`${meta}apis.meta.v1.Time`]: { type: 'string', format: 'date-time' },
  [`${meta}apis.meta.v1.MicroTime`]: { type: 'string', format: 'date-time' },
  [`${meta}apis.meta.v1.FieldsV1`]: { type: 'object', preserveUnknownFields: true },
  [`${meta}apis.meta.v1.Patch`]: { type: 'object', preserveUnknownFields: true },
  [`${meta}runtime.RawExtension`]: { type: 'object', preserveUnknownFields: true },
  [`${extensions}JSON`]: { preserveUnknownFields: true },
  [`${extensions}JSONSchemaPropsOrArray`]: { preserveUnknownFields: true },
  [`${extensions}JSONSchemaPropsOrBool`]: { preserveUnknownFields: true },
  [`${extensions}JSONSchemaPropsOrStringArray`]: { preserveUnknownFields: true },
};

function parseCode(code: string): Schema {
  switch (code[0]) {
    case 's':
      return code === 's'
        ? { type: 'string' }
        : { type: 'string', enum: code.slice(2, -1).replaceAll('%20', ' ').split('|') };
    case 'y':
      return { type: 'string', format: 'byte' };
    case 'i':
      return { type: 'integer', format: 'int32' };
    case 'l':
      return { type: 'integer', format: 'int64' };
    case 'd':
      return { type: 'number', format: 'double' };
    case 'b':
      return { type: 'boolean' };
    case 'o':
      return { type: 'object', preserveUnknownFields: true };
    case '[':
      return { type: 'array', items: parseCode(code.slice(2)) };
    case '{':
      return { type: 'object', additionalProperties: parseCode(code.slice(2)) };
    case '@':
      return { ref: fullName(code.slice(1)) };
    default:
      throw new AppError('SCHEMA_BROKEN', `definitions.table has the unknown code "${code}"`);
  }
}

function propertyFrom(field: Field, plain: boolean): Schema {
  const schema = parseCode(field.code);
  if (schema.type === 'array' && !plain) schema.listType = 'atomic';
  for (const word of field.words) {
    const at = word.indexOf('=');
    const key = at < 0 ? word : word.slice(0, at);
    const value = at < 0 ? '' : word.slice(at + 1);
    if (key === 'map') {
      schema.listType = 'map';
      schema.listMapKeys = value.split(',');
    } else if (key === 'set' || key === 'atomic') schema.listType = key;
    else if (key === 'plain') delete schema.listType;
    else if (key === 'atomic-map') schema.mapType = 'atomic';
    else if (key === 'granular-map') schema.mapType = 'granular';
    else if (key === 'default') schema.default = JSON.parse(value) as unknown;
    else if (key === 'patch') {
      const [strategy, mergeKey] = value.split(':') as [string, string?];
      if (strategy !== '') schema.patchStrategy = strategy;
      if (mergeKey !== undefined) schema.patchMergeKey = mergeKey;
    }
  }
  return schema;
}

function build(name: string): Schema {
  const scalar = scalars[name];
  if (scalar !== undefined) return scalar;
  const { words, fields } = definitionOf(name);
  const schema: Schema = { type: 'object', properties: {} };
  const required: string[] = [];
  for (const field of fields) {
    if (field.required) required.push(field.name);
    schema.properties![field.name] = propertyFrom(field, field.name === 'items' && name.endsWith('List'));
  }
  if (required.length > 0) schema.required = required;
  for (const word of words)
    if (word === 'atomic') schema.mapType = 'atomic';
    else if (word.startsWith('union=')) schema.unions = JSON.parse(word.slice('union='.length)) as JsonObject[];
  return schema;
}

const cache = new Map<string, Schema>();

/** Definitions of the built-in types, structure only. */
export const builtinSchemas: SchemaSource = {
  definition(name) {
    let schema = cache.get(name);
    if (schema === undefined) {
      schema = build(name);
      cache.set(name, schema);
    }
    return schema;
  },
};

/** Names of all built-in definitions. */
export function definitionNames(): string[] {
  return [...tableNames(), ...Object.keys(scalars)].sort();
}
