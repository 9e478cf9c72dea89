import { Duration, UnsignedInt } from '@marcbachmann/cel-js/evaluator';
import { isObject, type Json, type JsonObject } from '../json.ts';
import { isNode, type Structural } from '../structural/schema.ts';
import { parseTime } from '../time.ts';
import { fieldIdentifier } from './types.ts';

/** JSON as values of CEL: integers are bigint, doubles number, maps Map, lists Array. */
export type CelValue = unknown;

/** A value whose type only the value itself tells. */
export function dynamicValue(value: Json | undefined): CelValue {
  if (typeof value === 'number') return Number.isInteger(value) && Math.abs(value) < 2 ** 63 ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(dynamicValue);
  if (!isObject(value)) return value;
  const out = new Map<string, CelValue>();
  for (const key in value) if (value[key] !== undefined) out.set(key, dynamicValue(value[key]));
  return out;
}

const nanosPerUnit: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1000n,
  µs: 1000n,
  μs: 1000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

/** Go's time.ParseDuration; undefined for another text. */
export function durationOf(text: string): Duration | undefined {
  if (!/^[-+]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$/.test(text) && text !== '0') return undefined;
  let nanos = 0n;
  for (const [, amount, unit] of text.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    const [whole = '', fraction = ''] = amount!.split('.');
    const scale = nanosPerUnit[unit!]!;
    nanos += BigInt(whole === '' ? '0' : whole) * scale;
    if (fraction !== '') nanos += (BigInt(fraction.slice(0, 9).padEnd(9, '0')) * scale) / 1_000_000_000n;
  }
  if (text.startsWith('-')) nanos = -nanos;
  const billion = 1_000_000_000n;
  return new Duration(nanos / billion, Number(nanos % billion));
}

function textValue(node: Structural, value: string): CelValue {
  switch (node.raw.format) {
    case 'byte':
      return new Uint8Array(Buffer.from(value, 'base64'));
    case 'date':
    case 'date-time': {
      const ms = parseTime(node.raw.format === 'date' ? `${value}T00:00:00Z` : value);
      return ms === undefined ? value : new Date(ms);
    }
    case 'duration':
      return durationOf(value) ?? value;
    default:
      return value;
  }
}

/** A value as its schema types it. Fields are named by their identifiers, keys of maps as they are. */
export function celValueOf(node: Structural, value: Json, own = false): CelValue {
  if (value === null) return null;
  if (node.intOrString || node.type === undefined) return dynamicValue(value);
  if (typeof value === 'string') return node.type === 'string' ? textValue(node, value) : value;
  if (typeof value === 'number') return node.type === 'number' ? value : dynamicValue(value);
  if (Array.isArray(value)) {
    const { items } = node;
    if (items === undefined) return dynamicValue(value);
    return value.map((item) => celValueOf(items, item, items.embeddedResource));
  }
  if (!isObject(value)) return value;
  return mapValue(node, value, own);
}

function mapValue(node: Structural, value: JsonObject, own: boolean): CelValue {
  const out = new Map<string, CelValue>();
  const more = node.additionalProperties;
  const loose = more === true || (node.properties.size === 0 && node.preserveUnknownFields);
  for (const key in value) {
    const child = value[key];
    if (child === undefined) continue;
    const property = node.properties.get(key);
    if (property !== undefined && !(own && key === 'metadata')) {
      const identifier = fieldIdentifier(key);
      if (identifier !== undefined) out.set(identifier, celValueOf(property, child, property.embeddedResource));
    } else if (isNode(more)) out.set(key, celValueOf(more, child, more.embeddedResource));
    else if (own && (key === 'apiVersion' || key === 'kind')) out.set(key, child);
    else if (own && key === 'metadata' && isObject(child)) {
      const metadata = new Map<string, CelValue>();
      for (const field of ['name', 'generateName']) if (child[field] !== undefined) metadata.set(field, child[field]);
      out.set(key, metadata);
    } else if (loose) out.set(key, dynamicValue(child));
  }
  return out;
}

/** A value of CEL as JSON: what a mutation writes and a message shows. Undefined for what JSON cannot say. */
export function jsonOf(value: CelValue): Json | undefined {
  if (value === null || typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number')
    return value;
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof UnsignedInt) return Number(value.value);
  if (value instanceof Date) return value.toISOString().replace(/\.000Z$/, 'Z');
  if (value instanceof Duration) return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (Array.isArray(value)) return value.map((item) => jsonOf(item) ?? null);
  if (value instanceof Map || isObject(value)) {
    const out: JsonObject = {};
    const entries: Iterable<[unknown, unknown]> = value instanceof Map ? value : Object.entries(value);
    for (const [key, child] of entries) {
      const name = String(key);
      const json = jsonOf(child);
      if (name !== '__proto__' && json !== undefined) out[name] = json;
    }
    return out;
  }
  return undefined;
}
