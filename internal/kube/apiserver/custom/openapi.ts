import { createHash } from 'node:crypto';
import { utf8, utf8Text } from '../../../base/bytes.ts';
import type { OpenApiDocuments } from '../../api/builtin.ts';
import { type KindInfo, makeKindTable } from '../../api/kinds.ts';
import { encodeV2 } from '../../api/openapi/v2-protobuf.ts';
import { type Docs, objectTexts } from '../../api/openapi/texts.ts';
import { documentV2 } from '../../api/openapi/v2.ts';
import { documentV3 } from '../../api/openapi/v3.ts';
import { groupVersionPaths } from '../../api/openapi/operations.ts';
import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import type { LiveKinds } from '../live-kinds.ts';

/** Documents of the built-in kinds, and those of CustomResourceDefinitions beside them: made when they are asked for, kept until a definition changes. */
export function liveOpenApi(builtin: OpenApiDocuments, live: LiveKinds, version: string): OpenApiDocuments {
  let revision = -1;
  const kept = new Map<string, Promise<Uint8Array>>();
  const cached = (key: string, make: () => Promise<Uint8Array>): Promise<Uint8Array> => {
    if (revision !== live.revision) {
      kept.clear();
      revision = live.revision;
    }
    let made = kept.get(key);
    if (made === undefined) {
      made = make();
      kept.set(key, made);
      made.catch(() => kept.delete(key));
    }
    return made;
  };
  const pathsOf = (): string[] => [...new Set(live.custom.map((kind) => `apis/${kind.group}/${kind.version}`))];
  const kindsOf = (path: string): KindInfo[] =>
    live.custom.filter((kind) => `apis/${kind.group}/${kind.version}` === path);
  return {
    async v2Json() {
      if (live.custom.length === 0) return builtin.v2Json();
      return cached('v2', async () => {
        const more = ownV2(live, version);
        return spliced(await builtin.v2Json(), more);
      });
    },
    async v2Protobuf() {
      if (live.custom.length === 0) return builtin.v2Protobuf();
      return cached('v2pb', async () => {
        const more = ownV2(live, version);
        // Messages that follow each other are one message whose lists are joined.
        return Buffer.concat([
          await builtin.v2Protobuf(),
          encodeV2({ swagger: '2.0', info: { title: 'Kubernetes', version }, ...more, securityDefinitions: {} }),
        ]);
      });
    },
    async v3Index() {
      const index = await builtin.v3Index();
      const paths = { ...index.paths };
      for (const path of pathsOf()) {
        const marks = kindsOf(path).map((kind) => [
          kind.kind,
          kind.plural,
          kind.custom!.schemaId,
          kind.printer.columns.length,
        ]);
        const hash = createHash('sha256').update(JSON.stringify(marks)).digest('hex').toUpperCase();
        paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` };
        const group = path.split('/').slice(0, 2).join('/');
        paths[group] ??= { serverRelativeURL: `/openapi/v3/${group}?hash=${hash}` };
      }
      return { paths };
    },
    texts: () => builtin.texts(),
    async v3Json(path) {
      const kinds = kindsOf(path);
      if (kinds.length > 0)
        return cached(path, async () => utf8(JSON.stringify(ownV3(live, kinds, version, builtin.texts()))));
      const isGroup = live.custom.some((kind) => `apis/${kind.group}` === path);
      return (
        (await builtin.v3Json(path)) ??
        (isGroup
          ? utf8(JSON.stringify({ openapi: '3.0.0', info: { title: 'Kubernetes', version }, paths: {} }))
          : undefined)
      );
    },
  };
}

const objectMeta = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';

const gvkExtension = 'x-kubernetes-group-version-kind';

/** The schema as clients see it: with the fields that every object has. */
function published(kind: KindInfo, reference: (name: string) => JsonObject): JsonObject {
  const schema = withObjectFields(kind.custom!.structural.raw, reference);
  return {
    ...schema,
    [gvkExtension]: [{ group: kind.group, version: kind.version, kind: kind.kind }],
  };
}

function withObjectFields(raw: JsonObject, reference: (name: string) => JsonObject): JsonObject {
  const given = isObject(raw.properties) ? raw.properties : {};
  return {
    ...embedded(raw, reference),
    properties: {
      ...(isObject(given) ? mapValues(given, (child) => embedded(child, reference)) : {}),
      apiVersion: { description: objectTexts.apiVersion, type: 'string' },
      kind: { description: objectTexts.kind, type: 'string' },
      metadata: reference(objectMeta),
    },
  };
}

function mapValues(object: JsonObject, change: (child: JsonObject) => JsonObject): JsonObject {
  const out: JsonObject = {};
  for (const key in object) {
    const child = object[key];
    if (child !== undefined) out[key] = isObject(child) ? change(child) : child;
  }
  return out;
}

const embeddedTexts = {
  apiVersion:
    'apiVersion defines the versioned schema of this representation of an object. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources',
  kind: 'kind is a string value representing the type of this object. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds',
} as const;

/** True or absent, of those that a definition may have as false. */
const flags = ['x-kubernetes-embedded-resource', 'x-kubernetes-int-or-string'] as const;

/** Embedded resources have the fields of objects, too. Flags that are false say nothing and are left out. */
function embedded(raw: JsonObject, reference: (name: string) => JsonObject): JsonObject {
  const out: JsonObject = { ...raw };
  for (const flag of flags) if (out[flag] === false) delete out[flag];
  if (isObject(raw.properties)) out.properties = mapValues(raw.properties, (child) => embedded(child, reference));
  if (isObject(raw.items)) out.items = embedded(raw.items, reference);
  if (isObject(raw.additionalProperties)) out.additionalProperties = embedded(raw.additionalProperties, reference);
  if (raw['x-kubernetes-embedded-resource'] === true) {
    out.properties = {
      ...(isObject(out.properties) ? out.properties : {}),
      apiVersion: { description: embeddedTexts.apiVersion, type: 'string' },
      kind: { description: embeddedTexts.kind, type: 'string' },
      metadata: reference(objectMeta),
    };
    const required = Array.isArray(raw.required) ? raw.required : [];
    out.required = [...required, ...['kind', 'apiVersion'].filter((name) => !required.includes(name))];
  }
  return out;
}

/** What OpenAPI v2 can say (k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder: ToStructuralOpenAPIV2). */
const notInV2 = [
  'nullable',
  'oneOf',
  'anyOf',
  'not',
  'allOf',
  'default',
  'x-kubernetes-validations',
  'example',
  'id',
  '$schema',
];

function toV2(raw: Json | undefined): JsonObject {
  if (!isObject(raw)) return {};
  const out: JsonObject = {};
  for (const key in raw) if (!notInV2.includes(key)) out[key] = raw[key];
  if (raw.nullable === true) {
    // A client would refuse the null.
    for (const key of ['type', 'items', 'properties', 'additionalProperties', 'format']) delete out[key];
    return out;
  }
  if (raw['x-kubernetes-preserve-unknown-fields'] === true) {
    delete out.items;
    delete out.properties;
    if (raw.type !== 'object') delete out.type;
    return out;
  }
  if (isObject(raw.properties)) out.properties = mapValues(raw.properties, toV2);
  if (isObject(raw.items)) out.items = toV2(raw.items);
  if (isObject(raw.additionalProperties)) out.additionalProperties = toV2(raw.additionalProperties);
  return out;
}

function ownV2(live: LiveKinds, version: string): { paths: JsonObject; definitions: JsonObject } {
  const kinds = live.custom;
  const table = makeKindTable(kinds);
  const document = documentV2(table, live, {}, version);
  const paths: JsonObject = {};
  const all = document.paths as JsonObject;
  for (const path in all)
    if (
      kinds.some((kind) => path.startsWith(`/apis/${kind.group}/${kind.version}/`) || path === `/apis/${kind.group}/`)
    )
      paths[path] = all[path]!;
  const definitions: JsonObject = {};
  const reference = (name: string): JsonObject => ({
    description: objectTexts.metadata,
    $ref: `#/definitions/${name}`,
  });
  for (const kind of kinds) {
    definitions[kind.schema] = rootV2(kind, reference);
    definitions[`${kind.schema}List`] = (document.definitions as JsonObject)[`${kind.schema}List`];
  }
  return { paths, definitions };
}

function rootV2(kind: KindInfo, reference: (name: string) => JsonObject): JsonObject {
  const schema = toV2(published(kind, reference));
  if (!kind.custom!.structural.preserveUnknownFields) return schema;
  // Anything more, and kubectl would refuse what is not named.
  return { type: 'object', [gvkExtension]: schema[gvkExtension] };
}

function ownV3(live: LiveKinds, kinds: readonly KindInfo[], version: string, texts: Docs): JsonObject {
  const table = makeKindTable(kinds);
  const { group, version: apiVersion } = kinds[0]!;
  const document = documentV3(table, groupVersionPaths(table, group, apiVersion), live, texts, version);
  const schemas = (document.components as JsonObject).schemas as JsonObject;
  const reference = (name: string): JsonObject => ({
    description: objectTexts.metadata,
    allOf: [{ $ref: `#/components/schemas/${name}` }],
  });
  for (const kind of kinds) schemas[kind.schema] = published(kind, reference);
  return document;
}

/** Puts paths and definitions into the text of the built-in document, which is not parsed for it. */
function spliced(document: Uint8Array, more: { paths: JsonObject; definitions: JsonObject }): Uint8Array {
  let text = utf8Text(document);
  for (const section of ['paths', 'definitions'] as const) {
    const inner = JSON.stringify(more[section]).slice(1, -1);
    const mark = `"${section}":{`;
    const at = section === 'paths' ? text.indexOf(mark) : text.indexOf(`},${mark}`) + 2;
    if (at < 2) throw new Error(`invariant broken: the OpenAPI document has no ${section}`);
    const start = at + mark.length;
    const rest = text.slice(start);
    text = `${text.slice(0, start)}${inner}${inner !== '' && !rest.startsWith('}') ? ',' : ''}${rest}`;
  }
  return utf8(text);
}
