/** Objects as protobuf messages, byte for byte as Go's generated code writes them: fields by number, maps by key, zeros of fields that are no pointers. */
import { utf8 } from '../../../base/bytes.ts';
import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { resolve, type Schema, type SchemaSource } from '../../machinery/openapi.ts';
import { parseTime } from '../../machinery/time.ts';
import { type FieldEntry, type Layout, layoutOf } from './layout.ts';

const magic = Uint8Array.of(0x6b, 0x38, 0x73, 0x00);
const meta = 'io.k8s.apimachinery.pkg.';
const jsonSchema = 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps';

/** A message under construction. */
class Message {
  readonly #parts: Uint8Array[] = [];

  #varint(value: bigint): void {
    const out: number[] = [];
    let rest = BigInt.asUintN(64, value);
    while (rest > 0x7fn) {
      out.push(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    out.push(Number(rest));
    this.#parts.push(Uint8Array.from(out));
  }

  #tag(number: number, wireType: number): void {
    this.#varint(BigInt(number * 8 + wireType));
  }

  integer(number: number, value: number | bigint): this {
    this.#tag(number, 0);
    this.#varint(BigInt(value));
    return this;
  }

  double(number: number, value: number): this {
    this.#tag(number, 1);
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value, true);
    this.#parts.push(bytes);
    return this;
  }

  bytes(number: number, value: Uint8Array): this {
    this.#tag(number, 2);
    this.#varint(BigInt(value.length));
    this.#parts.push(value);
    return this;
  }

  text(number: number, value: string): this {
    return this.bytes(number, utf8(value));
  }

  done(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}

/** An object in the envelope of `application/vnd.kubernetes.protobuf`: k8s.io/apimachinery/pkg/runtime, Unknown, behind `k8s\0`. */
export function encodeProtobuf(object: JsonObject, definition: string, source: SchemaSource): Uint8Array {
  const type = new Message().text(1, String(object.apiVersion ?? '')).text(2, String(object.kind ?? ''));
  const unknown = new Message()
    .bytes(1, type.done())
    .bytes(2, struct(object, definition, source))
    .text(3, '')
    .text(4, '');
  return Buffer.concat([magic, unknown.done()]);
}

/** What an answer is encoded by: the definition of its kind, and where definitions are. */
export interface ProtobufForm {
  readonly definition: string;
  readonly source: SchemaSource;
}

/** An answer about a kind in that envelope: an object of it, a list of them, or a Status. */
export function encodeAnswer(value: JsonObject, { definition, source }: ProtobufForm): Uint8Array {
  if (value.kind === 'Status') return encodeProtobuf(value, `${meta}apis.meta.v1.Status`, source);
  const list = Array.isArray(value.items) && String(value.kind).endsWith('List');
  return encodeProtobuf(value, list ? `${definition}List` : definition, source);
}

/** An event of a watch: its length in four bytes, then metav1.WatchEvent, whose object has the envelope (runtime/serializer/protobuf). */
export function encodeWatchEvent(type: string, object: JsonObject, form: ProtobufForm): Uint8Array {
  const extension = new Message().bytes(1, encodeAnswer(object, form));
  const event = new Message().text(1, type).bytes(2, extension.done()).done();
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, event.length);
  return Buffer.concat([length, event]);
}

function struct(object: JsonObject, definition: string, source: SchemaSource): Uint8Array {
  const layout = layoutOf(definition);
  if (layout === undefined) throw new Error(`invariant broken: ${definition} has no protobuf form`);
  const message = new Message();
  writeFields(message, object, layout, source.definition(definition), source);
  return message.done();
}

function writeFields(message: Message, object: JsonObject, layout: Layout, schema: Schema, source: SchemaSource): void {
  for (const entry of layout.values()) {
    if ('inline' in entry) {
      const inner = new Message();
      writeFields(inner, object, entry.inline, schema, source);
      message.bytes(entry.number, inner.done());
      continue;
    }
    const property = schema.properties?.[entry.name];
    if (property !== undefined) writeField(message, entry, object[entry.name], property, source);
  }
}

function writeField(
  message: Message,
  entry: FieldEntry,
  value: Json | undefined,
  property: Schema,
  source: SchemaSource,
): void {
  const schema = resolve(source, property);
  if (schema.type === 'array') {
    for (const item of Array.isArray(value) ? value : [])
      writeOne(message, entry.number, item, schema.items ?? {}, source);
  } else if (schema.type === 'object' && schema.additionalProperties !== undefined) {
    if (!isObject(value)) return;
    for (const key of Object.keys(value).sort((a, b) => Buffer.compare(utf8(a), utf8(b)))) {
      const pair = new Message().text(1, key);
      writeMapValue(pair, value[key], schema.additionalProperties, source);
      message.bytes(entry.number, pair.done());
    }
  } else if (value !== undefined && value !== null) writeOne(message, entry.number, value, property, source);
  // A slice of bytes that is nil is not written, all other values that are no pointers are.
  else if (entry.zero !== 'pointer' && schema.format !== 'byte')
    writeOne(message, entry.number, undefined, property, source);
}

function writeMapValue(pair: Message, value: Json | undefined, property: Schema, source: SchemaSource): void {
  const schema = resolve(source, property);
  if (schema.type !== 'array') {
    writeOne(pair, 2, value, property, source);
    return;
  }
  const list = new Message();
  for (const item of Array.isArray(value) ? value : []) writeOne(list, 1, item, schema.items ?? {}, source);
  pair.bytes(2, list.done());
}

/** Types that have a form of their own, by definition. Undefined is their zero. */
const special: Readonly<Record<string, (value: Json | undefined, source: SchemaSource) => Uint8Array>> = {
  [`${meta}apis.meta.v1.Time`]: (value) => time(value, false),
  [`${meta}apis.meta.v1.MicroTime`]: (value) => time(value, true),
  [`${meta}apis.meta.v1.FieldsV1`]: raw,
  [`${meta}runtime.RawExtension`]: raw,
  [`${jsonSchema.slice(0, -'SchemaProps'.length)}`]: raw,
  [`${meta}api.resource.Quantity`]: (value) => new Message().text(1, value === undefined ? '0' : String(value)).done(),
  [`${meta}util.intstr.IntOrString`]: (value) =>
    new Message()
      .integer(1, typeof value === 'string' ? 1 : 0)
      .integer(2, typeof value === 'number' ? value : 0)
      .text(3, typeof value === 'string' ? value : '')
      .done(),
  [`${jsonSchema}OrBool`]: (value, source) => {
    const message = new Message().integer(1, value === undefined || value === false ? 0 : 1);
    if (isObject(value)) message.bytes(2, struct(value, jsonSchema, source));
    return message.done();
  },
  [`${jsonSchema}OrArray`]: (value, source) => {
    const message = new Message();
    if (isObject(value)) message.bytes(1, struct(value, jsonSchema, source));
    for (const item of Array.isArray(value) ? value : [])
      message.bytes(2, struct(isObject(item) ? item : {}, jsonSchema, source));
    return message.done();
  },
  [`${jsonSchema}OrStringArray`]: (value, source) => {
    const message = new Message();
    if (isObject(value)) message.bytes(1, struct(value, jsonSchema, source));
    for (const item of Array.isArray(value) ? value : []) message.text(2, String(item));
    return message.done();
  },
};

function raw(value: Json | undefined): Uint8Array {
  return value === undefined ? new Uint8Array(0) : new Message().text(1, JSON.stringify(value)).done();
}

function time(value: Json | undefined, micro: boolean): Uint8Array {
  const text = typeof value === 'string' ? value : '';
  const ms = parseTime(text);
  if (ms === undefined) return new Uint8Array(0);
  const micros = Number((/\.(\d+)/.exec(text)?.[1] ?? '').slice(0, 6).padEnd(6, '0'));
  return new Message()
    .integer(1, Math.floor(ms / 1000))
    .integer(2, micro ? micros * 1000 : 0)
    .done();
}

function writeOne(
  message: Message,
  number: number,
  value: Json | undefined,
  property: Schema,
  source: SchemaSource,
): void {
  const form = property.ref === undefined ? undefined : special[property.ref];
  if (form !== undefined) {
    message.bytes(number, form(value ?? undefined, source));
    return;
  }
  const schema = resolve(source, property);
  switch (schema.type) {
    case 'string':
      if (schema.format === 'byte') message.bytes(number, Buffer.from(String(value ?? ''), 'base64'));
      else message.text(number, String(value ?? ''));
      return;
    case 'boolean':
      message.integer(number, value === true ? 1 : 0);
      return;
    case 'integer':
      message.integer(number, Math.trunc(Number(value ?? 0)));
      return;
    case 'number':
      message.double(number, Number(value ?? 0));
      return;
    default:
      message.bytes(
        number,
        property.ref === undefined ? raw(value) : struct(isObject(value) ? value : {}, property.ref, source),
      );
  }
}
