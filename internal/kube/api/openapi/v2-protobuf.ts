import { utf8 } from '../../../base/bytes.ts';
import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';

/**
 * An OpenAPI v2 document as `openapi.v2.Document` (github.com/google/gnostic, openapiv2/OpenAPIv2.proto), which is what old kubectl asks for. Only the messages
 * and fields that our document has; extensions are YAML texts there, for which JSON is good.
 */
class Message {
  readonly #pieces: Uint8Array[] = [];
  #size = 0;

  #push(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#size += piece.length;
  }

  #varint(value: number): void {
    const out: number[] = [];
    let rest = value;
    while (rest > 0x7f) {
      out.push((rest & 0x7f) | 0x80);
      rest = Math.floor(rest / 128);
    }
    out.push(rest);
    this.#push(Uint8Array.from(out));
  }

  text(field: number, value: unknown): this {
    if (typeof value === 'string' && value !== '') this.bytes(field, utf8(value));
    return this;
  }

  texts(field: number, values: unknown): this {
    if (Array.isArray(values)) for (const value of values) this.bytes(field, utf8(String(value)));
    return this;
  }

  flag(field: number, value: unknown): this {
    if (value === true) {
      this.#varint(field * 8);
      this.#varint(1);
    }
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.#varint(field * 8 + 2);
    this.#varint(value.length);
    this.#push(value);
    return this;
  }

  message(field: number, value: Message | undefined): this {
    return value === undefined ? this : this.bytes(field, value.finish());
  }

  finish(): Uint8Array {
    const out = new Uint8Array(this.#size);
    let at = 0;
    for (const piece of this.#pieces) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }
}

function named(name: string, value: Message): Message {
  return new Message().text(1, name).message(2, value);
}

/** Vendor extensions of an object as repeated NamedAny. */
function extensions(message: Message, field: number, value: JsonObject): Message {
  for (const key in value)
    if (key.startsWith('x-')) message.message(field, named(key, new Message().text(2, JSON.stringify(value[key]))));
  return message;
}

function schema(value: JsonObject): Message {
  const message = new Message()
    .text(1, value.$ref)
    .text(2, value.format)
    .text(4, value.description)
    .texts(19, value.required);
  if (isObject(value.additionalProperties))
    message.message(21, new Message().message(1, schema(value.additionalProperties)));
  if (value.type !== undefined) message.message(22, new Message().text(1, value.type));
  if (isObject(value.items)) message.message(23, new Message().message(1, schema(value.items)));
  if (isObject(value.properties)) message.message(25, namedSchemas(value.properties));
  return extensions(message, 31, value);
}

function namedSchemas(values: JsonObject): Message {
  const message = new Message();
  for (const name in values) message.message(1, named(name, schema(values[name] as JsonObject)));
  return message;
}

function parameter(value: JsonObject): Message {
  if (value.in === 'body') {
    const body = new Message().text(1, value.description).text(2, value.name).text(3, value.in).flag(4, value.required);
    if (isObject(value.schema)) body.message(5, schema(value.schema));
    return new Message().message(1, body);
  }
  const query = value.in === 'query';
  const simple = new Message()
    .flag(1, value.required)
    .text(2, value.in)
    .text(3, value.description)
    .text(4, value.name)
    .text(query ? 6 : 5, value.type)
    .flag(query ? 20 : 19, value.uniqueItems);
  return new Message().message(2, new Message().message(query ? 3 : 4, simple));
}

function parameters(message: Message, field: number, list: Json | undefined): Message {
  if (Array.isArray(list))
    for (const item of list) message.message(field, new Message().message(1, parameter(item as JsonObject)));
  return message;
}

function operation(value: JsonObject): Message {
  const message = new Message()
    .texts(1, value.tags)
    .text(3, value.description)
    .text(5, value.operationId)
    .texts(6, value.produces)
    .texts(7, value.consumes);
  parameters(message, 8, value.parameters);
  const responses = new Message();
  for (const [code, response] of Object.entries(value.responses as JsonObject)) {
    const { description, schema: body } = response as JsonObject;
    const inner = new Message().text(1, description);
    if (isObject(body)) inner.message(2, new Message().message(1, schema(body)));
    responses.message(1, named(code, new Message().message(1, inner)));
  }
  message.message(9, responses).texts(10, value.schemes);
  return extensions(message, 13, value);
}

const methods: Readonly<Record<string, number>> = { get: 2, put: 3, post: 4, delete: 5, patch: 8 };

function pathItem(value: JsonObject): Message {
  const message = new Message();
  for (const method in methods) {
    const one = value[method];
    if (isObject(one)) message.message(methods[method]!, operation(one));
  }
  return parameters(message, 9, value.parameters);
}

/** The bytes of a document made by `documentV2`. */
export function encodeV2(document: JsonObject): Uint8Array {
  const info = document.info as JsonObject;
  const paths = new Message();
  for (const [path, item] of Object.entries(document.paths as JsonObject))
    paths.message(2, named(path, pathItem(item as JsonObject)));
  const message = new Message()
    .text(1, document.swagger)
    .message(2, new Message().text(1, info.title).text(2, info.version))
    .message(8, paths)
    .message(9, namedSchemas(document.definitions as JsonObject));
  for (const requirement of (document.security as JsonObject[] | undefined) ?? []) {
    const item = new Message();
    for (const name in requirement) item.message(1, named(name, new Message().texts(1, requirement[name])));
    message.message(12, item);
  }
  const definitions = new Message();
  for (const [name, value] of Object.entries(document.securityDefinitions as JsonObject)) {
    const key = value as JsonObject;
    const item = new Message().text(1, key.type).text(2, key.name).text(3, key.in).text(4, key.description);
    definitions.message(1, named(name, new Message().message(2, item)));
  }
  return message.message(13, definitions).finish();
}
