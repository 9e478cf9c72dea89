/**
 * Request bodies as `application/vnd.kubernetes.protobuf`, which typed Go clients (parts of kubectl too) send: decoded into the same JSON objects as a
 * JSON body, in the form that Go writes: zeros of fields without omitempty are there, those of fields with omitempty are not. The envelope is k8s.io/apimachinery/pkg/runtime, Unknown, behind the four bytes `k8s\0`.
 */
import { DecodeError, utf8Text } from '../../../base/bytes.ts';
import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { resolve, type Schema, type SchemaSource } from '../../machinery/openapi.ts';
import { formatTime } from '../../machinery/time.ts';
import { type FieldEntry, type Layout, layoutOf } from './layout.ts';

export const protobufMediaType = 'application/vnd.kubernetes.protobuf';

const depthMax = 64;
const metaTime = 'io.k8s.apimachinery.pkg.apis.meta.v1.Time';
const metaMicroTime = 'io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime';
const jsonValue = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON';
const rawTypes = new Set([
  'io.k8s.apimachinery.pkg.runtime.RawExtension',
  'io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1',
  jsonValue,
]);

/** A bounded reader of protobuf's wire format (protobuf.dev/programming-guides/encoding). */
class Wire {
  readonly #bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.at >= this.#bytes.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#bytes[this.at++];
      if (byte === undefined) throw new DecodeError('protobuf: cut short in a number');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new DecodeError('protobuf: a number is too long');
  }

  bytes(): Uint8Array {
    return this.#take(Number(this.varint()));
  }

  #take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.at) throw new DecodeError('protobuf: cut short');
    const out = this.#bytes.subarray(this.at, this.at + length);
    this.at += length;
    return out;
  }

  /** The payload of a field as its wire type says. */
  value(wireType: number): bigint | Uint8Array {
    switch (wireType) {
      case 0:
        return this.varint();
      case 1:
        return this.#take(8);
      case 2:
        return this.bytes();
      case 5:
        return this.#take(4);
      default:
        throw new DecodeError(`protobuf: wire type ${wireType} is not known`);
    }
  }
}

function* fields(bytes: Uint8Array): Generator<{ number: number; value: bigint | Uint8Array }> {
  const wire = new Wire(bytes);
  while (!wire.done) {
    const tag = Number(wire.varint());
    if (!Number.isSafeInteger(tag) || tag < 8) throw new DecodeError('protobuf: a field has no number');
    yield { number: Math.floor(tag / 8), value: wire.value(tag & 7) };
  }
}

const asBytes = (value: bigint | Uint8Array | undefined): Uint8Array => {
  if (value === undefined) return new Uint8Array(0);
  if (typeof value === 'bigint') throw new DecodeError('protobuf: a number where bytes are expected');
  return value;
};
const asNumber = (value: bigint | Uint8Array | undefined): number => {
  if (value === undefined) return 0;
  if (typeof value !== 'bigint') throw new DecodeError('protobuf: bytes where a number is expected');
  return Number(BigInt.asIntN(64, value));
};

function fieldMap(bytes: Uint8Array): Map<number, bigint | Uint8Array> {
  const out = new Map<number, bigint | Uint8Array>();
  for (const { number, value } of fields(bytes)) out.set(number, value);
  return out;
}

/** Whether `body` is an enveloped message. */
export function isProtobuf(body: Uint8Array): boolean {
  return body[0] === 0x6b && body[1] === 0x38 && body[2] === 0x73 && body[3] === 0x00;
}

/** The object in an enveloped message, decoded as `definition`. Throws DecodeError. */
export function decodeProtobuf(body: Uint8Array, definition: string, source: SchemaSource): JsonObject {
  if (!isProtobuf(body)) throw new DecodeError('protobuf: the body does not begin with k8s\\0');
  const unknown = fieldMap(body.subarray(4));
  const type = fieldMap(asBytes(unknown.get(1)));
  const object: JsonObject = {};
  const kind = utf8Text(asBytes(type.get(2)));
  const apiVersion = utf8Text(asBytes(type.get(1)));
  if (kind !== '') object.kind = kind;
  if (apiVersion !== '') object.apiVersion = apiVersion;
  const schema = source.definition(definition);
  fill(object, asBytes(unknown.get(2)), definition, schema, source, 0);
  return object;
}

function fill(
  out: JsonObject,
  bytes: Uint8Array,
  definition: string,
  schema: Schema,
  source: SchemaSource,
  depth: number,
): void {
  const layout = layoutOf(definition);
  if (layout === undefined) throw new DecodeError(`protobuf: ${definition} is not known`);
  fillFrom(out, bytes, layout, schema, source, depth);
}

function fillFrom(
  out: JsonObject,
  bytes: Uint8Array,
  layout: Layout,
  schema: Schema,
  source: SchemaSource,
  depth: number,
): void {
  if (depth > depthMax) throw new DecodeError('protobuf: nests too deep');
  for (const { number, value } of fields(bytes)) {
    const entry = layout.get(number);
    // Fields of a newer client, as unknown fields of JSON.
    if (entry === undefined) continue;
    if ('inline' in entry) {
      fillFrom(out, asBytes(value), entry.inline, schema, source, depth + 1);
      continue;
    }
    const property = schema.properties?.[entry.name];
    if (property !== undefined) put(out, entry, value, property, source, depth);
  }
}

function put(
  out: JsonObject,
  entry: FieldEntry,
  value: bigint | Uint8Array,
  property: Schema,
  source: SchemaSource,
  depth: number,
): void {
  const schema = resolve(source, property);
  if (schema.type === 'array') {
    // An element without content: null where it may be any JSON, else a struct without fields.
    const empty = schema.items?.ref === jsonValue ? null : {};
    const item = one(value, schema.items ?? {}, source, depth) ?? empty;
    const list = out[entry.name];
    if (Array.isArray(list)) list.push(item);
    else out[entry.name] = [item];
    return;
  }
  if (schema.type === 'object' && schema.additionalProperties !== undefined) {
    const pair = fieldMap(asBytes(value));
    if (!isObject(out[entry.name])) out[entry.name] = {};
    const name = utf8Text(asBytes(pair.get(1)));
    const item = resolve(source, schema.additionalProperties);
    // Protobuf has no map of lists: a message with the items as field 1.
    const decoded =
      item.type === 'array'
        ? [...fields(asBytes(pair.get(2)))].map((field) => one(field.value, item.items ?? {}, source, depth) ?? '')
        : (one(pair.get(2) ?? zeroOf(item), schema.additionalProperties, source, depth) ?? null);
    Object.defineProperty(out[entry.name], name, {
      value: decoded,
      enumerable: true,
      writable: true,
      configurable: true,
    });
    return;
  }
  const decoded = one(value, property, source, depth);
  if (decoded === undefined) return;
  if (entry.zero === 'omitempty' && isZero(decoded)) return;
  out[entry.name] = decoded;
}

function zeroOf(schema: Schema): bigint | Uint8Array {
  return schema.type === 'integer' || schema.type === 'boolean' ? 0n : new Uint8Array(0);
}

function isZero(value: Json): boolean {
  return value === '' || value === 0 || value === false || value === null;
}

/** One value. Undefined for a time that is not set. */
function one(value: bigint | Uint8Array, property: Schema, source: SchemaSource, depth: number): Json | undefined {
  const { ref } = property;
  if (ref === metaTime || ref === metaMicroTime) {
    const time = fieldMap(asBytes(value));
    if (!time.has(1) && !time.has(2)) return undefined;
    const ms = asNumber(time.get(1)) * 1000;
    if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15) throw new DecodeError('protobuf: a time is out of range');
    // The zero time of Go (year 1) is an unset one.
    if (ms <= -62_135_596_800_000) return undefined;
    if (ref === metaTime) return formatTime(ms);
    const micros = Math.floor((((asNumber(time.get(2)) / 1000) % 1e6) + 1e6) % 1e6);
    return `${formatTime(ms).slice(0, -1)}.${String(micros).padStart(6, '0')}Z`;
  }
  if (ref !== undefined && rawTypes.has(ref)) {
    const raw = asBytes(fieldMap(asBytes(value)).get(1));
    if (raw.length === 0) return undefined;
    try {
      return JSON.parse(utf8Text(raw)) as Json;
    } catch {
      throw new DecodeError('protobuf: raw bytes are not JSON');
    }
  }
  const either = ref === undefined ? undefined : schemaAlternatives[ref];
  if (either !== undefined) return either(fieldMap(asBytes(value)), asBytes(value), source, depth + 1);
  const schema = resolve(source, property);
  if (schema.intOrString === true) {
    const parts = fieldMap(asBytes(value));
    return asNumber(parts.get(1)) === 0 ? asNumber(parts.get(2)) : utf8Text(asBytes(parts.get(3)));
  }
  if (schema.format === 'quantity') return utf8Text(asBytes(fieldMap(asBytes(value)).get(1)));
  switch (schema.type) {
    case 'string':
      return schema.format === 'byte' ? Buffer.from(asBytes(value)).toString('base64') : utf8Text(asBytes(value));
    case 'boolean':
      return asNumber(value) !== 0;
    case 'integer':
      return asNumber(value);
    case 'number': {
      const bytes = asBytes(value);
      if (bytes.length !== 8) throw new DecodeError('protobuf: a float has the wrong length');
      return new DataView(bytes.buffer, bytes.byteOffset, 8).getFloat64(0, true);
    }
    default: {
      const out: JsonObject = {};
      if (ref !== undefined) fill(out, asBytes(value), ref, schema, source, depth + 1);
      return out;
    }
  }
}

const jsonSchema = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps';

function jsonSchemaFrom(bytes: Uint8Array, source: SchemaSource, depth: number): JsonObject {
  const out: JsonObject = {};
  fill(out, bytes, jsonSchema, source.definition(jsonSchema), source, depth);
  return out;
}

/** Fields of a CRD's schema that are a schema or something else: the schema is field 1 (of …OrBool: 2), the other the other one. */
const schemaAlternatives: Readonly<
  Record<
    string,
    (
      parts: Map<number, bigint | Uint8Array>,
      bytes: Uint8Array,
      source: SchemaSource,
      depth: number,
    ) => Json | undefined
  >
> = {
  [`${jsonSchema}OrBool`]: (parts, _bytes, source, depth) =>
    parts.has(2) ? jsonSchemaFrom(asBytes(parts.get(2)), source, depth) : asNumber(parts.get(1)) !== 0,
  [`${jsonSchema}OrArray`]: (parts, bytes, source, depth) => {
    if (parts.has(1)) return jsonSchemaFrom(asBytes(parts.get(1)), source, depth);
    return [...fields(bytes)].map(({ value }) => jsonSchemaFrom(asBytes(value), source, depth));
  },
  [`${jsonSchema}OrStringArray`]: (parts, bytes, source, depth) => {
    if (parts.has(1)) return jsonSchemaFrom(asBytes(parts.get(1)), source, depth);
    return [...fields(bytes)].map(({ value }) => utf8Text(asBytes(value)));
  },
};
