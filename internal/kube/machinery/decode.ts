import { parseJson } from './json-text.ts';
import { isObject, type Json, type JsonObject, showJson } from './json.ts';
import { propertyOf, resolve, type Schema, type SchemaSource } from './openapi.ts';
import { canonicalQuantity, quantityFormatMessage } from './quantity.ts';
import { badRequest, unsupportedMediaType } from './status.ts';
import { formatMicroTime, formatTime, parseTime } from './time.ts';
import { parseYaml } from './yaml-text.ts';

/** The `fieldValidation` query parameter; Warn is the server's default. */
export type FieldValidation = 'Ignore' | 'Warn' | 'Strict';

/** What the object must say that it is; what it does not say is filled in. */
export interface ExpectedType {
  apiVersion: string;
  kind: string;
  /** Another apiVersion with the same structure, which is taken as this one. */
  alsoVersion?: string;
}

export interface DecodeOptions {
  /** Definition to decode into; undefined keeps every field (unstructured). */
  schema?: string;
  source: SchemaSource;
  fieldValidation: FieldValidation;
  /** What the endpoint expects: filled in when the body leaves it out, refused with 400 when it differs. */
  expect?: ExpectedType;
  /** Takes the paths of fields that the schema does not name, in place of a complaint about each. */
  undeclared?: string[];
  /** Paths name elements of keyed lists by their keys, as server-side apply does: `containers[name="c"]`. */
  keyedPaths?: boolean;
}

export interface Decoded {
  object: JsonObject;
  /** Texts for `Warning: 299` headers. */
  warnings: string[];
}

const acceptedTypes = ['application/json', 'application/yaml'];

/** `application/json; charset=utf-8` -> `application/json`. */
export function baseMediaType(mediaType: string): string {
  return (mediaType.split(';')[0] ?? '').trim().toLowerCase();
}

/** A body as plain data, with the complaints about duplicate keys in upstream's words. An empty media type means JSON. */
export function parseBody(body: Uint8Array, mediaType: string): { value: unknown; duplicates: string[] } {
  const type = baseMediaType(mediaType);
  const text = new TextDecoder().decode(body);
  if (type === '' || type === 'application/json' || type.endsWith('+json')) {
    const { value, duplicates } = parseJson(text);
    return { value, duplicates: duplicates.map((path) => `duplicate field ${JSON.stringify(path)}`) };
  }
  if (type === 'application/yaml' || type === 'text/yaml' || type === 'application/x-yaml' || type.endsWith('+yaml')) {
    // JSON is YAML; its own parser is much faster and most bodies are JSON.
    const { value, duplicates } = parseYaml(text);
    return {
      value,
      duplicates:
        duplicates.length === 0 ? [] : [`yaml: unmarshal errors:\n${duplicates.map((d) => `  ${d}`).join('\n')}`],
    };
  }
  throw unsupportedMediaType(mediaType, acceptedTypes);
}

/**
 * A request body as an object: JSON or YAML by media type (`application/json`, `application/yaml`, `application/apply-patch+yaml`, …), unknown fields
 * dropped and reported, duplicate keys reported, scalars checked against the schema and brought to canonical form. Throws StatusError 400 or 415.
 */
export function decodeBody(body: Uint8Array, mediaType: string, options: DecodeOptions): Decoded {
  const { value, duplicates } = parseBody(body, mediaType);
  return decodeWith(value, duplicates, options);
}

/** The same checks for an object that is already parsed (the result of a patch). */
export function decodeObject(value: unknown, options: DecodeOptions): Decoded {
  return decodeWith(value, [], options);
}

function decodeWith(value: unknown, duplicates: string[], options: DecodeOptions): Decoded {
  if (!isObject(value)) {
    const kind = options.expect?.kind ?? 'object';
    throw badRequest(`the object provided is unrecognized (must be of type ${kind}): a JSON object is expected`);
  }
  const object = { ...value };
  if (options.expect !== undefined) checkType(object, options.expect);
  if (options.schema === undefined) {
    return finish(object, duplicates, options);
  }
  const walk: Walk = { source: options.source, unknown: [], keyed: options.keyedPaths === true };
  const name = options.schema.slice(options.schema.lastIndexOf('.') + 1);
  const decoded = decodeValue(
    walk,
    options.source.definition(options.schema),
    object,
    '',
    name,
    options.expect,
  ) as JsonObject;
  if (options.undeclared !== undefined) {
    options.undeclared.push(...walk.unknown);
    return finish(decoded, duplicates, options);
  }
  const unknown = walk.unknown.map((path) => `unknown field ${JSON.stringify(path)}`);
  return finish(decoded, [...unknown, ...duplicates], options);
}

function checkType(object: JsonObject, expect: ExpectedType): void {
  if (object.apiVersion === undefined || object.apiVersion === '') object.apiVersion = expect.apiVersion;
  if (object.kind === undefined || object.kind === '') object.kind = expect.kind;
  if (object.kind !== expect.kind)
    throw badRequest(
      `${showJson(object.kind)} in version ${JSON.stringify(versionOf(object.apiVersion))} cannot be handled as a ${expect.kind}: the kinds do not match`,
    );
  if (expect.alsoVersion === object.apiVersion) object.apiVersion = expect.apiVersion;
  if (object.apiVersion !== expect.apiVersion)
    throw badRequest(
      `the API version in the data (${showJson(object.apiVersion)}) does not match the expected API version (${expect.apiVersion})`,
    );
}

function versionOf(apiVersion: unknown): string {
  const text = showJson(apiVersion);
  return text.slice(text.indexOf('/') + 1);
}

function finish(object: JsonObject, complaints: string[], options: DecodeOptions): Decoded {
  if (complaints.length === 0 || options.fieldValidation === 'Ignore') return { object, warnings: [] };
  if (options.fieldValidation === 'Warn') return { object, warnings: complaints.slice(0, 50) };
  throw cannotHandle(options.expect, `strict decoding error: ${complaints.slice(0, 50).join(', ')}`);
}

function cannotHandle(expect: ExpectedType | undefined, why: string): Error {
  if (expect === undefined) return badRequest(why);
  return badRequest(
    `${expect.kind} in version ${JSON.stringify(versionOf(expect.apiVersion))} cannot be handled as a ${expect.kind}: ${why}`,
  );
}

interface Walk {
  source: SchemaSource;
  /** Paths of fields that the schema does not name. */
  unknown: string[];
  keyed: boolean;
}

function jsonType(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (value === null) return 'null';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

function mismatch(expect: DecodeOptions['expect'], value: unknown, path: string, owner: string, goType: string): never {
  throw cannotHandle(
    expect,
    `json: cannot unmarshal ${jsonType(value)} into Go struct field ${owner}.${path} of type ${goType}`,
  );
}

function decodeValue(
  walk: Walk,
  given: Schema,
  value: unknown,
  path: string,
  owner: string,
  expect: DecodeOptions['expect'],
): Json | undefined {
  const schema = resolve(walk.source, given);
  if (schema.intOrString === true) {
    if (typeof value === 'string') return value;
    if (typeof value === 'number' && Number.isInteger(value)) return value;
    mismatch(expect, value, path, owner, 'intstr.IntOrString');
  }
  switch (schema.type) {
    case 'string':
      return decodeString(schema, given, value, path, owner, expect);
    case 'integer': {
      const goType = schema.format === 'int32' ? 'int32' : 'int64';
      if (typeof value !== 'number') mismatch(expect, value, path, owner, goType);
      const limit = schema.format === 'int32' ? 2 ** 31 : 2 ** 63;
      if (!Number.isInteger(value) || value >= limit || value < -limit)
        throw cannotHandle(
          expect,
          `json: cannot unmarshal number ${value} into Go struct field ${owner}.${path} of type ${goType}`,
        );
      return value;
    }
    case 'number':
      if (typeof value !== 'number') mismatch(expect, value, path, owner, 'float64');
      return value;
    case 'boolean':
      if (typeof value !== 'boolean') mismatch(expect, value, path, owner, 'bool');
      return value;
    case 'array': {
      if (!Array.isArray(value)) mismatch(expect, value, path, owner, `[]${goTypeOf(walk, schema.items)}`);
      const items = schema.items ?? {};
      return value.map((item, index) =>
        item === null
          ? zeroOf(walk, items)
          : (decodeValue(walk, items, item, `${path}${elementName(walk, schema, item, index)}`, owner, expect) ?? null),
      );
    }
    default:
      return decodeStruct(walk, schema, given, value, path, owner, expect);
  }
}

/** `[0]`, or by the keys of a keyed list (structured-merge-diff, PathElement). */
function elementName(walk: Walk, schema: Schema, item: unknown, index: number): string {
  const keys = schema.listType === 'map' ? schema.listMapKeys : undefined;
  if (!walk.keyed || keys === undefined || !isObject(item)) return `[${index}]`;
  const items = schema.items === undefined ? {} : resolve(walk.source, schema.items);
  const value = (key: string): unknown => item[key] ?? propertyOf(items, key)?.default;
  const said = keys.toSorted().filter((key) => value(key) !== undefined);
  return said.length === 0 ? `[${index}]` : `[${said.map((key) => `${key}=${JSON.stringify(value(key))}`).join(',')}]`;
}

/** What a null element of a list or map becomes in Go. */
function zeroOf(walk: Walk, given: Schema): Json {
  const schema = resolve(walk.source, given);
  // A time that is not set is written as null.
  if (schema.format === 'date-time') return null;
  if (schema.type === 'string') return '';
  if (schema.type === 'integer' || schema.type === 'number') return 0;
  if (schema.type === 'boolean') return false;
  if (schema.type === 'array') return [];
  return schema.preserveUnknownFields === true ? null : {};
}

function goTypeOf(walk: Walk, given: Schema | undefined): string {
  if (given === undefined) return 'interface {}';
  if (given.ref !== undefined) {
    const [version, name] = given.ref.split('.').slice(-2);
    return `${version}.${name}`;
  }
  const schema = resolve(walk.source, given);
  return schema.type === 'integer'
    ? (schema.format ?? 'int64')
    : schema.type === 'boolean'
      ? 'bool'
      : (schema.type ?? 'interface {}');
}

function decodeString(
  schema: Schema,
  given: Schema,
  value: unknown,
  path: string,
  owner: string,
  expect: DecodeOptions['expect'],
): Json {
  if (schema.format === 'quantity') {
    if (typeof value !== 'string' && typeof value !== 'number')
      mismatch(expect, value, path, owner, 'resource.Quantity');
    if (value === '') return '0';
    try {
      return canonicalQuantity(value);
    } catch {
      throw cannotHandle(expect, quantityFormatMessage);
    }
  }
  if (typeof value !== 'string') mismatch(expect, value, path, owner, 'string');
  if (schema.format === 'date-time') {
    const ms = parseTime(value);
    if (ms === undefined)
      throw cannotHandle(
        expect,
        `parsing time ${JSON.stringify(JSON.stringify(value))} as "2006-01-02T15:04:05Z07:00": ${path} is not an RFC 3339 time`,
      );
    return given.ref?.endsWith('.MicroTime') === true ? microTime(value, ms) : formatTime(ms);
  }
  if (schema.format === 'byte' && !/^[A-Za-z0-9+/]*={0,2}$/.test(value.replace(/[\r\n]/g, '')))
    throw cannotHandle(expect, 'illegal base64 data');
  if (schema.format === 'byte' && value.replace(/[\r\n]/g, '').length % 4 !== 0)
    throw cannotHandle(expect, 'illegal base64 data');
  return schema.format === 'byte' ? value.replace(/[\r\n]/g, '') : value;
}

/** Keeps the six digits that a double of milliseconds cannot hold exactly. */
function microTime(text: string, ms: number): string {
  const fraction = /\.(\d+)/.exec(text)?.[1] ?? '';
  const micros = fraction.slice(3, 6).padEnd(3, '0');
  return `${formatMicroTime(Math.floor(ms)).slice(0, 23)}${micros}Z`;
}

function decodeStruct(
  walk: Walk,
  schema: Schema,
  given: Schema,
  value: unknown,
  path: string,
  owner: string,
  expect: DecodeOptions['expect'],
): Json {
  const structName = given.ref === undefined ? owner : given.ref.slice(given.ref.lastIndexOf('.') + 1);
  if (
    schema.properties === undefined &&
    schema.additionalProperties === undefined &&
    schema.preserveUnknownFields === true
  )
    return value as Json;
  if (!isObject(value)) {
    const goType =
      schema.additionalProperties === undefined
        ? goTypeOf(walk, given)
        : `map[string]${goTypeOf(walk, schema.additionalProperties)}`;
    mismatch(expect, value, path, owner, goType);
  }
  const out: JsonObject = {};
  for (const key in value) {
    const child = value[key];
    if (child === undefined) continue;
    const childPath = path === '' ? key : `${path}.${key}`;
    const property = propertyOf(schema, key);
    if (property !== undefined) {
      if (child === null) continue;
      const decoded = decodeValue(walk, property, child, childPath, structName, expect);
      if (decoded !== undefined && !vanishes(walk, schema, key, property, decoded)) out[key] = decoded;
    } else if (schema.additionalProperties !== undefined) {
      out[key] =
        child === null
          ? zeroOf(walk, schema.additionalProperties)
          : (decodeValue(walk, schema.additionalProperties, child, childPath, structName, expect) ?? null);
    } else if (schema.preserveUnknownFields === true) out[key] = child;
    else walk.unknown.push(childPath);
  }
  return out;
}

/** Go's omitempty: an optional list or map without elements is not written. */
function vanishes(walk: Walk, schema: Schema, key: string, property: Schema, value: Json): boolean {
  if (schema.required?.includes(key) === true) return false;
  if (Array.isArray(value)) return value.length === 0;
  if (!isObject(value) || property.ref !== undefined) return false;
  const type = resolve(walk.source, property);
  if (type.additionalProperties === undefined) return false;
  for (const _ in value) return false;
  return true;
}
