import type { Json, JsonObject } from '../../machinery/json.ts';
import type { Schema, SchemaSource } from '../../machinery/openapi.ts';
import type { KindTable } from '../kinds.ts';
import { consumed, produced } from './media-types.ts';
import { definitionKinds, groupPaths, groupVersionPaths, type Operation, type PathOperations } from './operations.ts';
import { parameterTable } from './parameters.ts';
import { type Docs, textsOf } from './texts.ts';
import { mergeExtensions, reachable } from './v2.ts';

/** OpenAPI v3: one document a group and version, with the definitions that it uses. */
function reference(name: string): JsonObject {
  return { $ref: `#/components/schemas/${name}` };
}

function schemaV3(schema: Schema, description: string | undefined): JsonObject {
  const text: JsonObject = description === undefined ? {} : { description };
  if (schema.ref !== undefined) {
    // A reference may have no siblings in v3: texts and extensions go around it.
    const extensions = mergeExtensions(schema);
    if (description === undefined && Object.keys(extensions).length === 0) return reference(schema.ref);
    return { ...text, allOf: [reference(schema.ref)], ...extensions };
  }
  const out: JsonObject = { ...text };
  if (schema.intOrString === true)
    return { ...out, oneOf: [{ type: 'integer' }, { type: 'string' }], format: 'int-or-string' };
  if (schema.format === 'quantity') return { ...out, oneOf: [{ type: 'string' }, { type: 'number' }] };
  if (schema.type !== undefined) out.type = schema.type;
  if (schema.format !== undefined) out.format = schema.format;
  if (schema.enum !== undefined) out.enum = schema.enum;
  if (schema.default !== undefined) out.default = schema.default as Json;
  if (schema.items !== undefined) out.items = schemaV3(schema.items, undefined);
  if (schema.additionalProperties !== undefined)
    out.additionalProperties = schemaV3(schema.additionalProperties, undefined);
  return { ...out, ...mergeExtensions(schema) };
}

function definitionV3(schema: Schema, texts: Readonly<Record<string, string>>, kinds: Json | undefined): JsonObject {
  const out = schemaV3({ ...schema, properties: {} }, texts['']);
  if (schema.properties !== undefined) {
    const properties: JsonObject = {};
    for (const name in schema.properties) properties[name] = schemaV3(schema.properties[name]!, texts[name]);
    out.properties = properties;
    if (schema.required !== undefined) out.required = schema.required;
  }
  if (kinds !== undefined) out['x-kubernetes-group-version-kind'] = kinds;
  return out;
}

function parameterV3(name: string): JsonObject {
  const { in: place, type, description } = parameterTable[name]!;
  return {
    name,
    in: place,
    description,
    ...(place === 'path' ? { required: true } : {}),
    schema: { type, uniqueItems: true },
  };
}

function operationV3(operation: Operation): JsonObject {
  const content = (types: readonly string[], schema: JsonObject): JsonObject =>
    Object.fromEntries(types.map((type) => [type, { schema }]));
  const answer = operation.answer === undefined ? { type: 'string' } : reference(operation.answer);
  const responses: JsonObject = {};
  for (const code of operation.codes)
    responses[String(code)] = {
      description: { 200: 'OK', 201: 'Created', 202: 'Accepted' }[code] ?? '',
      content: content(produced(operation), answer),
    };
  responses['401'] = { description: 'Unauthorized' };
  return {
    tags: [operation.tag],
    description: operation.description,
    operationId: operation.operationId,
    ...(operation.parameters.length > 0 ? { parameters: operation.parameters.map(parameterV3) } : {}),
    ...(operation.body === undefined
      ? {}
      : {
          requestBody: {
            content: content(consumed(operation), reference(operation.body)),
            ...(operation.method === 'delete' ? {} : { required: true }),
          },
        }),
    responses,
    ...(operation.action === undefined ? {} : { 'x-kubernetes-action': operation.action }),
    ...(operation.gvk === undefined ? {} : { 'x-kubernetes-group-version-kind': operation.gvk }),
  };
}

/** Paths of the documents: `api/v1`, `apis/apps/v1`, and those of the groups themselves. */
export function documentPaths(kinds: KindTable): Map<string, () => PathOperations[]> {
  const out = new Map<string, () => PathOperations[]>();
  for (const { group, versions } of kinds.groups()) {
    out.set(group === '' ? 'api' : `apis/${group}`, () => groupPaths(group));
    for (const version of versions)
      out.set(group === '' ? `api/${version}` : `apis/${group}/${version}`, () =>
        groupVersionPaths(kinds, group, version),
      );
  }
  return out;
}

/** One document. */
export function documentV3(
  kinds: KindTable,
  operations: PathOperations[],
  source: SchemaSource,
  docs: Docs,
  version: string,
): JsonObject {
  const paths: JsonObject = {};
  const roots = new Set<string>();
  for (const entry of operations) {
    const item: JsonObject = {};
    for (const operation of entry.operations) {
      item[operation.method] = operationV3(operation);
      if (operation.body !== undefined) roots.add(operation.body);
      if (operation.answer !== undefined) roots.add(operation.answer);
    }
    if (entry.parameters.length > 0) item.parameters = entry.parameters.map(parameterV3);
    paths[entry.path] = item;
  }
  const byDefinition = definitionKinds(kinds);
  const schemas: JsonObject = {};
  for (const name of reachable(source, roots))
    schemas[name] = definitionV3(source.definition(name), textsOf(docs, name), byDefinition.get(name));
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version },
    paths,
    components: {
      schemas,
      securitySchemes: {
        BearerToken: {
          type: 'apiKey',
          description: 'Bearer Token authentication',
          name: 'authorization',
          in: 'header',
        },
      },
    },
    security: [{ BearerToken: [] }],
  };
}
