import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Schema } from '../../machinery/openapi.ts';
import { builtinSchemas, definitionNames } from './structure.ts';

const oraclePath = new URL('../../../../../shared/data/kubernetes-1.36/openapi-v2.json', import.meta.url).pathname;

/** What an API server publishes about merging and types, in our words. */
function published(property: Record<string, unknown>): Schema {
  const out: Schema = {};
  if (property.$ref !== undefined) out.ref = String(property.$ref).replace('#/definitions/', '');
  if (property.type !== undefined) out.type = property.type as NonNullable<Schema['type']>;
  if (property.format !== undefined) out.format = String(property.format);
  if (property.items !== undefined) out.items = published(property.items as Record<string, unknown>);
  if (property.additionalProperties !== undefined)
    out.additionalProperties = published(property.additionalProperties as Record<string, unknown>);
  const extension = (name: string): unknown => property[`x-kubernetes-${name}`];
  if (extension('list-type') !== undefined) out.listType = extension('list-type') as NonNullable<Schema['listType']>;
  if (extension('list-map-keys') !== undefined) out.listMapKeys = extension('list-map-keys') as string[];
  if (extension('map-type') !== undefined) out.mapType = extension('map-type') as NonNullable<Schema['mapType']>;
  if (extension('patch-strategy') !== undefined) out.patchStrategy = String(extension('patch-strategy'));
  if (extension('patch-merge-key') !== undefined) out.patchMergeKey = String(extension('patch-merge-key'));
  return out;
}

/** Ours without what the document does not show in a property. */
function ours(property: Schema): Schema {
  const { enum: _values, default: _default, preserveUnknownFields: _open, intOrString: _int, ...rest } = property;
  if (rest.items !== undefined) rest.items = ours(rest.items);
  if (rest.additionalProperties !== undefined) rest.additionalProperties = ours(rest.additionalProperties);
  return rest;
}

describe.skipIf(!existsSync(oraclePath))('built-in schemas against the OpenAPI document of Kubernetes 1.36', () => {
  const oracle = JSON.parse(existsSync(oraclePath) ? readFileSync(oraclePath, 'utf8') : '{"definitions":{}}') as {
    definitions: Record<string, { properties?: Record<string, Record<string, unknown>>; required?: string[] }>;
  };
  test('every definition has the same fields, types, required fields and merge facts', () => {
    for (const name of definitionNames()) {
      const theirs = oracle.definitions[name];
      expect(theirs, name).toBeDefined();
      if (theirs?.properties === undefined) continue;
      const mine = builtinSchemas.definition(name);
      expect(Object.keys(mine.properties ?? {}).sort(), name).toEqual(Object.keys(theirs.properties).sort());
      expect([...(mine.required ?? [])].sort(), name).toEqual([...(theirs.required ?? [])].sort());
      for (const field in theirs.properties)
        expect(ours(mine.properties![field]!), `${name}.${field}`).toEqual(published(theirs.properties[field]!));
    }
  });
});
