import { isObject, type Json, jsonEqual, type JsonObject } from '../json.ts';
import type { FieldError } from '../status.ts';
import { duplicate, invalidValue, notSupported, required, tooLongField, tooManyField } from '../validation.ts';
import { hasFormat } from './formats.ts';
import { findsRe2 } from './regexp.ts';
import { isNode, type Structural } from './schema.ts';
import { childPath, correlated, mapKeyOf } from './values.ts';

/**
 * A value against its schema, in the words of k8s.io/kube-openapi/pkg/validation. `old` is what the value replaces: what did not change is not complained
 * about (KEP-4008, ratcheting).
 */
export function schemaErrors(node: Structural, value: Json, path = '', old?: Json): FieldError[] {
  const out: FieldError[] = [];
  check(node, value, path, old, out);
  return out.slice(0, errorsMax);
}

const errorsMax = 100;

/** The name that a message calls the place by: the root has none. */
const shown = (path: string): string => (path === '' ? '' : path);
const inBody = (path: string): string => `${shown(path)} in body`;
const rootField = '<nil>';

function at(path: string): string {
  return path === '' ? rootField : path;
}

function typeOf(value: Json): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

function hasType(type: string | undefined, value: Json): boolean {
  const have = typeOf(value);
  return type === undefined || have === type || (type === 'number' && have === 'integer');
}

function wrongType(path: string, type: string, value: Json): FieldError {
  const have = typeOf(value);
  return {
    type: 'FieldValueTypeInvalid',
    field: at(path),
    detail: `Invalid value: ${JSON.stringify(have)}: ${inBody(path)} must be of type ${type}: ${JSON.stringify(have)}`,
  };
}

function check(node: Structural, value: Json, path: string, old: Json | undefined, out: FieldError[]): void {
  if (out.length >= errorsMax) return;
  if (old !== undefined && jsonEqual(old, value)) return;
  if (value === null) {
    if (!node.nullable && node.type !== undefined) out.push(wrongType(path, node.type, value));
    return;
  }
  if (node.intOrString) {
    if (typeof value !== 'string' && !(typeof value === 'number' && Number.isInteger(value)))
      out.push(wrongType(path, 'integer,string', value));
  } else if (!hasType(node.type, value)) {
    out.push(wrongType(path, node.type!, value));
    return;
  }
  out.push(...valueErrors(node.raw, value, path));
  if (Array.isArray(value)) checkList(node, value, path, old, out);
  else if (isObject(value)) checkMap(node, value, path, old, out);
}

function checkList(node: Structural, value: Json[], path: string, old: Json | undefined, out: FieldError[]): void {
  if (node.items !== undefined) {
    const before = correlated(node, old);
    for (const [index, item] of value.entries()) check(node.items, item, `${path}[${index}]`, before(item), out);
  }
  if (node.listType !== 'set' && node.listType !== 'map') return;
  const seen = new Set<string>();
  for (const [index, item] of value.entries()) {
    const key = node.listType === 'set' ? canonical(item) : mapKeyOf(node, item);
    if (seen.has(key))
      out.push(duplicate(`${at(path)}[${index}]`, node.listType === 'set' ? item : (JSON.parse(key) as Json)));
    seen.add(key);
  }
}

function checkMap(node: Structural, value: JsonObject, path: string, old: Json | undefined, out: FieldError[]): void {
  const before = isObject(old) ? old : {};
  if (node.embeddedResource && path !== '')
    for (const field of ['apiVersion', 'kind']) {
      const content = value[field];
      if (content === undefined || content === '') out.push(required(childPath(path, field), 'must not be empty'));
    }
  for (const key in value) {
    const child = value[key];
    if (child === undefined) continue;
    const property = node.properties.get(key);
    if (property !== undefined) check(property, child, childPath(path, key), before[key], out);
    else if (isNode(node.additionalProperties))
      check(node.additionalProperties, child, childPath(path, key), before[key], out);
  }
}

/** A text that is the same for equal values, whatever the order of keys. */
function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const keys = Object.keys(value).filter((key) => value[key] !== undefined);
  return `{${keys
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key]!)}`)
    .join()}}`;
}

type Check = (demand: Json, value: Json, path: string, schema: JsonObject) => FieldError[];

const fail = (path: string, value: Json, why: string): FieldError[] => [
  invalidValue(at(path), isObject(value) || Array.isArray(value) ? value : value, why),
];

const onNumber =
  (test: (demand: number, value: number, schema: JsonObject) => string | undefined): Check =>
  (demand, value, path, schema) => {
    if (typeof value !== 'number' || typeof demand !== 'number') return [];
    const why = test(demand, value, schema);
    return why === undefined ? [] : fail(path, value, `${inBody(path)} should be ${why}`);
  };

const length = (value: string): number => {
  let count = 0;
  for (const _ of value) count++;
  return count;
};

/** Each keyword of a JSON schema that demands something of the value itself. */
const keywords: Readonly<Record<string, Check>> = {
  maximum: onNumber((demand, value, schema) =>
    schema.exclusiveMaximum === true
      ? value < demand
        ? undefined
        : `less than ${demand}`
      : value <= demand
        ? undefined
        : `less than or equal to ${demand}`,
  ),
  minimum: onNumber((demand, value, schema) =>
    schema.exclusiveMinimum === true
      ? value > demand
        ? undefined
        : `greater than ${demand}`
      : value >= demand
        ? undefined
        : `greater than or equal to ${demand}`,
  ),
  multipleOf: onNumber((demand, value) => {
    const times = value / demand;
    return demand > 0 && Math.abs(times - Math.round(times)) < 1e-9 * Math.max(1, Math.abs(times))
      ? undefined
      : `a multiple of ${demand}`;
  }),
  maxLength: (demand, value, path) =>
    typeof value === 'string' && length(value) > Number(demand) ? [tooLongField(at(path), Number(demand))] : [],
  minLength: (demand, value, path) =>
    typeof value === 'string' && length(value) < Number(demand)
      ? fail(path, value, `${inBody(path)} should be at least ${String(demand)} chars long`)
      : [],
  pattern: (demand, value, path) => {
    if (typeof value !== 'string' || typeof demand !== 'string') return [];
    let found = false;
    try {
      found = findsRe2(demand, value);
    } catch {
      // The definition was accepted with it by an older server: what cannot be read matches nothing.
    }
    return found ? [] : fail(path, value, `${inBody(path)} should match '${demand}'`);
  },
  format: (demand, value, path) =>
    typeof value === 'string' && typeof demand === 'string' && !hasFormat(demand, value)
      ? fail(path, value, `${inBody(path)} must be of type ${demand}: ${JSON.stringify(value)}`)
      : [],
  maxItems: (demand, value, path) =>
    Array.isArray(value) && value.length > Number(demand) ? [tooManyField(at(path), value.length, Number(demand))] : [],
  minItems: (demand, value, path) =>
    Array.isArray(value) && value.length < Number(demand)
      ? fail(path, value.length, `${inBody(path)} should have at least ${String(demand)} items`)
      : [],
  uniqueItems: (demand, value, path) =>
    demand === true && Array.isArray(value) && new Set(value.map(canonical)).size < value.length
      ? fail(path, value, `${inBody(path)} shouldn't contain duplicates`)
      : [],
  maxProperties: (demand, value, path) => {
    const count = isObject(value) ? Object.keys(value).length : 0;
    return count > Number(demand) ? [tooManyField(at(path), count, Number(demand))] : [];
  },
  minProperties: (demand, value, path) =>
    isObject(value) && Object.keys(value).length < Number(demand)
      ? fail(path, Object.keys(value).length, `${inBody(path)} should have at least ${String(demand)} properties`)
      : [],
  required: (demand, value, path) =>
    isObject(value) && Array.isArray(demand)
      ? demand.filter((key) => value[String(key)] === undefined).map((key) => required(childPath(path, String(key))))
      : [],
  enum: (demand, value, path) =>
    Array.isArray(demand) && !demand.some((one) => jsonEqual(one, value))
      ? [
          notSupported(
            at(path),
            value,
            demand.map((one) => (typeof one === 'string' ? one : JSON.stringify(one))),
          ),
        ]
      : [],
  allOf: (demand, value, path) =>
    Array.isArray(demand) ? demand.flatMap((one) => nestedErrors(one, value, path)) : [],
  anyOf: (demand, value, path) => {
    if (!Array.isArray(demand) || demand.some((one) => nestedErrors(one, value, path).length === 0)) return [];
    return [
      ...fail(
        path,
        valueOrName(value, path),
        `${JSON.stringify(shown(path))} must validate at least one schema (anyOf)`,
      ),
      ...demand.slice(0, 1).flatMap((one) => nestedErrors(one, value, path)),
    ];
  },
  oneOf: (demand, value, path) => {
    if (!Array.isArray(demand)) return [];
    const valid = demand.filter((one) => nestedErrors(one, value, path).length === 0).length;
    if (valid === 1) return [];
    const found = valid === 0 ? 'none valid' : 'more than one valid';
    return fail(
      path,
      valueOrName(value, path),
      `${JSON.stringify(shown(path))} must validate one and only one schema (oneOf). Found ${valid === 0 ? found : '2 valid alternatives'}`,
    );
  },
  not: (demand, value, path) =>
    nestedErrors(demand, value, path).length === 0
      ? fail(path, valueOrName(value, path), `${JSON.stringify(shown(path))} must not validate the schema (not)`)
      : [],
};

const valueOrName = (value: Json, _path: string): Json => value;

/** What the keywords of one schema demand of a value; children are not looked at. */
function valueErrors(schema: JsonObject, value: Json, path: string): FieldError[] {
  const out: FieldError[] = [];
  for (const key in schema) {
    const demand = schema[key];
    if (demand !== undefined && demand !== null && Object.hasOwn(keywords, key))
      out.push(...keywords[key]!(demand, value, path, schema));
  }
  return out;
}

/** Schemas inside allOf, anyOf, oneOf and not: they name children, too, but have no types of their own except under int-or-string. */
function nestedErrors(schema: Json, value: Json, path: string): FieldError[] {
  if (!isObject(schema)) return [];
  if (typeof schema.type === 'string' && !hasType(schema.type, value)) return [wrongType(path, schema.type, value)];
  const out = valueErrors(schema, value, path);
  if (isObject(value)) {
    const properties = isObject(schema.properties) ? schema.properties : {};
    for (const key in properties) {
      const child = value[key];
      if (child !== undefined) out.push(...nestedErrors(properties[key]!, child, childPath(path, key)));
    }
    if (isObject(schema.additionalProperties))
      for (const key in value)
        if (!Object.hasOwn(properties, key) && value[key] !== undefined)
          out.push(...nestedErrors(schema.additionalProperties, value[key], childPath(path, key)));
  } else if (Array.isArray(value) && isObject(schema.items))
    for (const [index, item] of value.entries()) out.push(...nestedErrors(schema.items, item, `${path}[${index}]`));
  return out;
}
