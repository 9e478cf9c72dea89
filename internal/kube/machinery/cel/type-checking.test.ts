import { expect, test } from 'vitest';
import type { Json, JsonObject } from '../json.ts';
import type { Schema, SchemaSource } from '../openapi.ts';
import { celTypeOfDefinition, checkedResources, expressionWarnings, paramKindOf } from './type-checking.ts';
import type { CelType } from './types.ts';

const policyOf = (resourceRules: Json, more: JsonObject = {}): JsonObject => ({
  spec: { matchConstraints: { resourceRules }, ...more },
});

test('type checking: resources of the rules in order, ten at most; wildcards and subresources have no type', () => {
  const rule = (apiGroups: string[], apiVersions: string[], resources: string[]): JsonObject => ({
    apiGroups,
    apiVersions,
    resources,
  });
  const named = (...rules: JsonObject[]): string[] =>
    checkedResources(policyOf(rules)).map(({ group, version, resource }) => `${group}/${version}/${resource}`);
  expect(named(rule(['apps', ''], ['v1'], ['pods', 'deployments/scale', '*']))).toEqual(['/v1/pods', 'apps/v1/pods']);
  expect(named(rule(['*'], ['v1'], ['pods']), rule([''], ['v*'], ['pods']))).toEqual([]);
  expect(named(rule([''], ['v1'], 'klmnopqrstuv'.split('')))).toHaveLength(10);
  expect(checkedResources({ spec: {} })).toEqual([]);
});

test('type checking: a type that is inside itself is of any type there; every type that does not fit is named, in order', () => {
  const definitions: Record<string, Schema> = {
    Tree: {
      type: 'object',
      properties: { size: { type: 'integer' }, children: { type: 'array', items: { ref: 'Tree' } } },
    },
    Leaf: { type: 'object', properties: { size: { type: 'string' } } },
  };
  const source: SchemaSource = { definition: (name) => definitions[name]! };
  const types = ['Tree', 'Leaf'].map((name) => ({ name: `v1, Kind=${name}`, type: celTypeOfDefinition(source, name) }));
  const warnings = (expression: string): string[] =>
    expressionWarnings(policyOf([], { validations: [{ expression }] }), types).map(({ warning }) => warning);
  expect(warnings('has(object.size)')).toEqual([]);
  expect(warnings('object.size == 1')).toEqual([
    expect.stringMatching(
      /^v1, Kind=Leaf: ERROR: <input>:1:13: found no matching overload for '_==_' applied to '\(string, int\)'\n/,
    ),
  ]);
  const [both] = warnings('object.nope');
  expect(both!.match(/Kind=\w+: ERROR: <input>:1:7: undefined field 'nope'/g)).toEqual([
    "Kind=Leaf: ERROR: <input>:1:7: undefined field 'nope'",
    "Kind=Tree: ERROR: <input>:1:7: undefined field 'nope'",
  ]);
  expect(warnings('object.children[0].children[0].anything == object.size')).toEqual([
    expect.stringContaining("v1, Kind=Leaf: ERROR: <input>:1:7: undefined field 'children'"),
  ]);
});

test('type checking: request and namespaceObject have their types; params only where the policy has a kind for them, and that type', () => {
  const types = [{ name: 'v1, Kind=Any', type: 'dyn' as const }];
  const warnings = (expression: string, params?: CelType): string =>
    expressionWarnings(policyOf([], { validations: [{ expression }] }), types, params)
      .map(({ warning }) => warning)
      .join();
  const limits: CelType = { fields: new Map([['most', 'int' as const]]) };
  expect(warnings("request.namespace == 'a' && request.userInfo.groups.exists(g, g == 'b') && !request.dryRun")).toBe(
    '',
  );
  expect(warnings('request.options.anything == 1 && request.kind.group == request.requestResource.group')).toBe('');
  expect(warnings('request.object == 1')).toContain("undefined field 'object'");
  expect(warnings("request.dryRun == 'no'")).toContain("no matching overload for '_==_' applied to '(bool, string)'");
  expect(warnings("namespaceObject.metadata.labels['a'] == 'b' && namespaceObject.status.phase == 'Active'")).toBe('');
  expect(warnings('namespaceObject.data == 1')).toContain("undefined field 'data'");
  expect(warnings('params.most > 1')).toContain("undeclared reference to 'params'");
  expect(warnings('params.most > 1', limits)).toBe('');
  expect(warnings('params.least > 1', limits)).toContain("undefined field 'least'");
});

test('type checking: the kind of parameters', () => {
  const of = (paramKind?: JsonObject): unknown => paramKindOf({ spec: paramKind === undefined ? {} : { paramKind } });
  expect(of({ apiVersion: 'v1', kind: 'ConfigMap' })).toEqual({ group: '', version: 'v1', kind: 'ConfigMap' });
  expect(of({ apiVersion: 'a.io/v2', kind: 'Limit' })).toEqual({ group: 'a.io', version: 'v2', kind: 'Limit' });
  expect(of()).toBeUndefined();
});
