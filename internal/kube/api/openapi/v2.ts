import type { Json, JsonObject } from '../../machinery/json.ts';
import type { Schema, SchemaSource } from '../../machinery/openapi.ts';
import type { KindTable } from '../kinds.ts';
import { consumed, produced } from './media-types.ts';
import { allPaths, definitionKinds, type Operation } from './operations.ts';
import { parameterTable } from './parameters.ts';
import { type Docs, plainText, textsOf } from './texts.ts';

/** Extensions of a schema that tell how it merges. */
export function mergeExtensions(schema: Schema): JsonObject {
  const out: JsonObject = {};
  if (schema.listMapKeys !== undefined) out['x-kubernetes-list-map-keys'] = schema.listMapKeys;
  if (schema.listType !== undefined) out['x-kubernetes-list-type'] = schema.listType;
  if (schema.mapType !== undefined) out['x-kubernetes-map-type'] = schema.mapType;
  if (schema.patchMergeKey !== undefined) out['x-kubernetes-patch-merge-key'] = schema.patchMergeKey;
  if (schema.patchStrategy !== undefined) out['x-kubernetes-patch-strategy'] = schema.patchStrategy;
  if (schema.unions !== undefined) out['x-kubernetes-unions'] = [...schema.unions];
  return out;
}

function schemaV2(schema: Schema, description: string | undefined): JsonObject {
  const out: JsonObject = {};
  const text = plainText(description);
  if (schema.ref !== undefined) out.$ref = `#/definitions/${schema.ref}`;
  if (text !== undefined) out.description = text;
  if (schema.type !== undefined) out.type = schema.type;
  if (schema.format !== undefined && schema.format !== 'quantity') out.format = schema.format;
  if (schema.items !== undefined) out.items = schemaV2(schema.items, undefined);
  if (schema.additionalProperties !== undefined)
    out.additionalProperties = schemaV2(schema.additionalProperties, undefined);
  return { ...out, ...mergeExtensions(schema) };
}

function definitionV2(schema: Schema, texts: Readonly<Record<string, string>>, kinds: Json | undefined): JsonObject {
  const out: JsonObject = schemaV2({ ...schema, properties: {} }, texts['']);
  if (schema.properties !== undefined) {
    const properties: JsonObject = {};
    for (const name in schema.properties) properties[name] = schemaV2(schema.properties[name]!, texts[name]);
    out.properties = properties;
    if (schema.required !== undefined) out.required = schema.required;
  }
  if (kinds !== undefined) out['x-kubernetes-group-version-kind'] = kinds;
  return out;
}

function parameterV2(name: string): JsonObject {
  const { in: place, type, description } = parameterTable[name]!;
  return { description, in: place, name, ...(place === 'path' ? { required: true } : {}), type, uniqueItems: true };
}

function operationV2(operation: Operation): JsonObject {
  const parameters: JsonObject[] = operation.parameters.map(parameterV2);
  if (operation.body !== undefined)
    parameters.unshift({
      in: 'body',
      name: 'body',
      ...(operation.method === 'delete' ? {} : { required: true }),
      schema: { $ref: `#/definitions/${operation.body}` },
    });
  const schema: JsonObject =
    operation.answer === undefined ? { type: 'string' } : { $ref: `#/definitions/${operation.answer}` };
  const responses: JsonObject = {};
  for (const code of operation.codes)
    responses[String(code)] = { description: { 200: 'OK', 201: 'Created', 202: 'Accepted' }[code] ?? '', schema };
  responses['401'] = { description: 'Unauthorized' };
  return {
    consumes: [...consumed(operation)],
    description: operation.description,
    operationId: operation.operationId,
    ...(parameters.length > 0 ? { parameters } : {}),
    produces: [...produced(operation)],
    responses,
    schemes: ['https'],
    tags: [operation.tag],
    ...(operation.action === undefined ? {} : { 'x-kubernetes-action': operation.action }),
    ...(operation.gvk === undefined ? {} : { 'x-kubernetes-group-version-kind': operation.gvk }),
  };
}

/** Names of everything that some definitions refer to, themselves included. */
export function reachable(source: SchemaSource, roots: Iterable<string>): string[] {
  const seen = new Set<string>();
  const queue = [...roots];
  const visit = (schema: Schema): void => {
    if (schema.ref !== undefined) queue.push(schema.ref);
    if (schema.items !== undefined) visit(schema.items);
    if (schema.additionalProperties !== undefined) visit(schema.additionalProperties);
    for (const name in schema.properties) visit(schema.properties[name]!);
  };
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    visit(source.definition(name));
  }
  return [...seen].sort();
}

/** The whole API as one OpenAPI v2 (Swagger) document. */
export function documentV2(kinds: KindTable, source: SchemaSource, docs: Docs, version: string): JsonObject {
  const paths: JsonObject = {};
  const roots = new Set<string>();
  for (const { path, parameters, operations } of allPaths(kinds)) {
    const item: JsonObject = {};
    for (const operation of operations) {
      item[operation.method] = operationV2(operation);
      if (operation.body !== undefined) roots.add(operation.body);
      if (operation.answer !== undefined) roots.add(operation.answer);
    }
    if (parameters.length > 0) item.parameters = parameters.map(parameterV2);
    paths[path] = item;
  }
  const byDefinition = definitionKinds(kinds);
  for (const name of byDefinition.keys()) roots.add(name);
  const definitions: JsonObject = {};
  for (const name of reachable(source, roots))
    definitions[name] = definitionV2(source.definition(name), textsOf(docs, name), byDefinition.get(name));
  return {
    swagger: '2.0',
    info: { title: 'Kubernetes', version },
    paths,
    definitions,
    securityDefinitions: {
      BearerToken: { description: 'Bearer Token authentication', in: 'header', name: 'authorization', type: 'apiKey' },
    },
    security: [{ BearerToken: [] }],
  };
}
