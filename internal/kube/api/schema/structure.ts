import { AppError } from '../../../base/errors.ts';
import type { Schema, SchemaSource } from '../../machinery/openapi.ts';
import { atomicStructs, fieldFacts, keyDefaults, plainLists } from './merge-facts.ts';
import table from './structure.json';

/**
 * The built-in definitions, without texts. `structure.json` has for each definition its fields as short codes: `s` string, `s(A|B)` with these values, `y` bytes
 * in base64, `i` int32, `l` int64, `d` double, `b` boolean, `o` any object, `[]x` list, `{}x` map, `@name` reference; a `!` behind means required.
 * Codes are parsed when a definition is first asked for.
 */
const structure = table as Readonly<Record<string, Readonly<Record<string, string>>>>;

const meta = 'io.k8s.apimachinery.pkg.';

/** Definitions that are no structs. */
const scalars: Readonly<Record<string, Schema>> = {
  [`${meta}api.resource.Quantity`]: { type: 'string', format: 'quantity' },
  [`${meta}util.intstr.IntOrString`]: { type: 'string', format: 'int-or-string', intOrString: true },
  [`${meta}apis.meta.v1.Time`]: { type: 'string', format: 'date-time' },
  [`${meta}apis.meta.v1.MicroTime`]: { type: 'string', format: 'date-time' },
  [`${meta}apis.meta.v1.FieldsV1`]: { type: 'object', preserveUnknownFields: true },
  [`${meta}apis.meta.v1.Patch`]: { type: 'object', preserveUnknownFields: true },
  [`${meta}runtime.RawExtension`]: { type: 'object', preserveUnknownFields: true },
};

function shortName(name: string): string {
  return name.replace(/^io\.k8s\.(api\.|apimachinery\.pkg\.apis\.)/, '');
}

function parseCode(code: string): Schema {
  switch (code[0]) {
    case 's':
      return code === 's' ? { type: 'string' } : { type: 'string', enum: code.slice(2, -1).split('|') };
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
      return { ref: code.slice(1) };
    default:
      throw new AppError('SCHEMA_BROKEN', `structure.json has the unknown code "${code}"`);
  }
}

function applyFacts(schema: Schema, words: string | undefined, plain: boolean): void {
  if (schema.type === 'array' && !plain) schema.listType = 'atomic';
  for (const word of words?.split(' ') ?? []) {
    const [key, value = ''] = word.split('=') as [string, string?];
    if (key === 'map') {
      schema.listType = 'map';
      schema.listMapKeys = value.split(',');
    } else if (key === 'set') schema.listType = 'set';
    else if (key === 'atomic-map') schema.mapType = 'atomic';
    else if (key === 'granular-map') schema.mapType = 'granular';
    else if (key === 'patch') {
      const [strategy, mergeKey] = value.split(':') as [string, string?];
      if (strategy !== '') schema.patchStrategy = strategy;
      if (mergeKey !== undefined) schema.patchMergeKey = mergeKey;
    }
  }
}

function build(name: string): Schema {
  const scalar = scalars[name];
  if (scalar !== undefined) return scalar;
  const fields = structure[name];
  if (fields === undefined) throw new AppError('SCHEMA_UNKNOWN', `there is no definition ${name}`);
  const short = shortName(name);
  const schema: Schema = { type: 'object', properties: {} };
  const required: string[] = [];
  for (const field in fields) {
    let code = fields[field]!;
    if (code.endsWith('!')) {
      required.push(field);
      code = code.slice(0, -1);
    }
    const property = parseCode(code);
    const plain = plainLists.includes(`${short}.${field}`) || (field === 'items' && name.endsWith('List'));
    applyFacts(property, fieldFacts[short]?.[field], plain);
    const fallback = keyDefaults[short]?.[field];
    if (fallback !== undefined) property.default = fallback;
    schema.properties![field] = property;
  }
  if (required.length > 0) schema.required = required;
  if (atomicStructs.includes(short)) schema.mapType = 'atomic';
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
  return [...Object.keys(structure), ...Object.keys(scalars)].sort();
}
