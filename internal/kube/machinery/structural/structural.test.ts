import { describe, expect, test } from 'vitest';
import { ruleDefinitionErrors } from '../cel/definition.ts';
import { compileRules, ruleErrors } from '../cel/rules.ts';
import { cloneJson, type Json, type JsonObject } from '../json.ts';
import { definitionErrors } from './definition.ts';
import { structuralOf } from './schema.ts';
import { schemaErrors } from './validate.ts';
import { fillSchemaDefaults, prune } from './values.ts';

const object = (properties: JsonObject, more: JsonObject = {}): JsonObject => ({ type: 'object', properties, ...more });
const texts = (errors: { field: string; detail: string }[]): string[] => errors.map((e) => `${e.field}: ${e.detail}`);

describe('pruning', () => {
  const schema = structuralOf(
    object({
      spec: object({
        known: { type: 'string' },
        list: { type: 'array', items: object({ a: { type: 'string' } }) },
        map: { type: 'object', additionalProperties: object({ b: { type: 'string' } }) },
        open: object({ c: object({ d: { type: 'string' } }) }, { 'x-kubernetes-preserve-unknown-fields': true }),
        embedded: object({ spec: object({}) }, { 'x-kubernetes-embedded-resource': true }),
      }),
    }),
  );

  test('drops what the schema does not name and says where it was', () => {
    const value: JsonObject = {
      apiVersion: 'a/v1',
      kind: 'K',
      metadata: { name: 'x' },
      extra: 1,
      spec: {
        known: 'a',
        unknown: 'b',
        list: [{ a: '1', z: 1 }],
        map: { k: { b: 'b', y: 1 } },
        open: { any: { thing: 1 }, c: { d: 'd', gone: 1 } },
        embedded: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec: { gone: 1 }, status: {} },
      },
    };
    expect(prune(schema, value)).toEqual([
      'extra',
      'spec.unknown',
      'spec.list[0].z',
      'spec.map.k.y',
      'spec.open.c.gone',
      'spec.embedded.spec.gone',
      'spec.embedded.status',
    ]);
    expect(value).toEqual({
      apiVersion: 'a/v1',
      kind: 'K',
      metadata: { name: 'x' },
      spec: {
        known: 'a',
        list: [{ a: '1' }],
        map: { k: { b: 'b' } },
        open: { any: { thing: 1 }, c: { d: 'd' } },
        embedded: { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p' }, spec: {} },
      },
    });
  });
});

describe('defaulting', () => {
  test('nulls that are not allowed are dropped or become the default; nested defaults apply to what is there', () => {
    const schema = structuralOf(
      object({
        foo: { type: 'string', nullable: false, default: 'default' },
        bar: { type: 'string', nullable: true },
        baz: { type: 'string' },
        deep: object({ x: { type: 'integer', default: 5 } }, { default: {} }),
        list: { type: 'array', items: object({ p: { type: 'string', default: 'TCP' } }) },
      }),
    );
    const value: Json = { foo: null, bar: null, baz: null, list: [{}] };
    fillSchemaDefaults(schema, value);
    expect(value).toEqual({ foo: 'default', bar: null, deep: { x: 5 }, list: [{ p: 'TCP' }] });
  });
});

describe('validation', () => {
  const schema = structuralOf(
    object(
      {
        replicas: { type: 'integer', minimum: 1, maximum: 10 },
        image: { type: 'string', pattern: '^[a-z]+$', maxLength: 5 },
        port: { 'x-kubernetes-int-or-string': true, anyOf: [{ type: 'integer' }, { type: 'string' }] },
        mode: { type: 'string', enum: ['a', 'b'] },
        set: { type: 'array', items: { type: 'string' }, 'x-kubernetes-list-type': 'set' },
        map: {
          type: 'array',
          items: object({ name: { type: 'string' }, v: { type: 'integer' } }, { required: ['name'] }),
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
        },
        when: { type: 'string', format: 'date-time' },
        one: object(
          { x: { type: 'integer' }, y: { type: 'integer' } },
          { oneOf: [{ required: ['x'] }, { required: ['y'] }] },
        ),
      },
      { required: ['replicas'] },
    ),
  );

  test.each<[Json, string[]]>([
    [{ replicas: 3, image: 'abc', port: '80', mode: 'a', set: ['a', 'b'], when: '2024-02-29T10:00:00Z' }, []],
    [{}, ['replicas: Required value']],
    [{ replicas: '3' }, ['replicas: Invalid value: "string": replicas in body must be of type integer: "string"']],
    [
      { replicas: 11, image: 'A' },
      [
        'replicas: Invalid value: 11: replicas in body should be less than or equal to 10',
        'image: Invalid value: "A": image in body should match \'^[a-z]+$\'',
      ],
    ],
    [{ replicas: 1, image: 'abcdefg' }, ['image: Too long: may not be more than 5 bytes']],
    [{ replicas: 1, mode: 'c' }, ['mode: Unsupported value: "c": supported values: "a", "b"']],
    [{ replicas: 1, set: ['a', 'b', 'a'] }, ['set[2]: Duplicate value: "a"']],
    [{ replicas: 1, map: [{ name: 'a' }, { name: 'a', v: 1 }] }, ['map[1]: Duplicate value: {"name":"a"}']],
    [
      { replicas: 1, port: true },
      ['port: Invalid value: "boolean": port in body must be of type integer,string: "boolean"'],
    ],
    [
      { replicas: 1, when: '2023-02-29T10:00:00Z' },
      ['when: Invalid value: "2023-02-29T10:00:00Z": when in body must be of type date-time: "2023-02-29T10:00:00Z"'],
    ],
    [
      { replicas: 1, one: {} },
      ['one: Invalid value: {}: "one" must validate one and only one schema (oneOf). Found none valid'],
    ],
    [{ replicas: null }, ['replicas: Invalid value: "null": replicas in body must be of type integer: "null"']],
  ])('%j', (value, expected) => {
    expect(texts(schemaErrors(schema, value)).slice(0, expected.length || 1)).toEqual(expected);
  });

  test('what did not change is not complained about', () => {
    const old: Json = { replicas: 99, map: [{ name: 'a', v: 'wrong' }, { name: 'b' }] };
    const next: Json = { replicas: 99, map: [{ name: 'b' }, { name: 'a', v: 'wrong' }], mode: 'a' };
    expect(texts(schemaErrors(schema, next, '', old))).toEqual([]);
    expect(texts(schemaErrors(schema, { ...next, replicas: 98 }, '', old))).toHaveLength(1);
  });
});

describe('definitions', () => {
  test.each<[string, JsonObject, string]>([
    ['no type at the root', {}, 'schema.type: Required value: must not be empty at the root'],
    [
      'no type of a field',
      object({ a: {} }),
      'schema.properties[a].type: Required value: must not be empty for specified object fields',
    ],
    [
      'a type under anyOf',
      object({ a: { type: 'string', anyOf: [{ type: 'string' }] } }),
      'schema.properties[a].anyOf[0].type: Forbidden: must be empty to be structural',
    ],
    [
      'a field only under oneOf',
      object({}, { oneOf: [{ properties: { x: { minimum: 1 } } }] }),
      'schema.properties[x]: Required value: because it is defined in schema.oneOf[0].properties[x]',
    ],
    [
      'list keys that are optional',
      object({
        l: {
          type: 'array',
          items: object({ k: { type: 'string' } }),
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['k'],
        },
      }),
      'schema.properties[l].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property',
    ],
    [
      'a default that is not valid',
      object({ a: { type: 'integer', default: 'x' } }),
      'schema.properties[a].default: Invalid value: "string": schema.properties[a].default in body must be of type integer: "string"',
    ],
    [
      'a reference',
      object({ a: { type: 'string', $ref: '#/x' } }),
      'schema.properties[a].$ref: Forbidden: $ref is not supported',
    ],
    [
      'a pattern that is none',
      object({ a: { type: 'string', pattern: '(' } }),
      'schema.properties[a].pattern: Invalid value: "(": must be a valid regular expression, but isn\'t',
    ],
  ])('%s is refused', (_name, schema, expected) => {
    expect(texts(definitionErrors(schema, 'schema'))).toContain(expected);
  });

  test('a structural schema is accepted', () => {
    const schema = object({
      port: { 'x-kubernetes-int-or-string': true, anyOf: [{ type: 'integer' }, { type: 'string' }] },
      any: { 'x-kubernetes-preserve-unknown-fields': true },
      deep: object({ x: { type: 'integer', default: 5 } }, { default: {}, oneOf: [{ required: ['x'] }] }),
    });
    expect(texts(definitionErrors(schema, 'schema'))).toEqual([]);
  });
});

describe('rules', () => {
  const schema: JsonObject = object({
    spec: object(
      {
        min: { type: 'integer' },
        max: { type: 'integer' },
        fixed: {
          type: 'string',
          'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'fixed is immutable' }],
        },
        items: {
          type: 'array',
          maxItems: 10,
          'x-kubernetes-list-type': 'map',
          'x-kubernetes-list-map-keys': ['name'],
          items: object(
            { name: { type: 'string', maxLength: 10 }, size: { type: 'integer' } },
            {
              required: ['name'],
              'x-kubernetes-validations': [
                {
                  rule: '!has(oldSelf.size) || self.size >= oldSelf.size',
                  messageExpression: '"%s may not shrink".format([self.name])',
                  reason: 'FieldValueForbidden',
                  fieldPath: '.size',
                },
              ],
            },
          ),
        },
      },
      { 'x-kubernetes-validations': [{ rule: 'self.min <= self.max' }] },
    ),
  });
  const tree = compileRules(structuralOf(schema))!;
  const run = (value: Json, old?: Json): string[] => texts(ruleErrors(tree, value, old, { remaining: 10_000_000 }));

  test('a rule that fails says so with its message; transition rules speak on update only, of the same list item', () => {
    expect(texts(ruleDefinitionErrors(schema, 's'))).toEqual([]);
    expect(run({ spec: { min: 5, max: 3, fixed: 'a' } })).toEqual([
      'spec: Invalid value: "object": failed rule: self.min <= self.max',
    ]);
    expect(run({ spec: { min: 1, max: 3, fixed: 'b' } }, { spec: { min: 1, max: 3, fixed: 'a' } })).toEqual([
      'spec.fixed: Invalid value: "string": fixed is immutable',
    ]);
    const old: Json = {
      spec: {
        min: 1,
        max: 3,
        items: [
          { name: 'a', size: 5 },
          { name: 'b', size: 1 },
        ],
      },
    };
    const next = cloneJson(old) as { spec: JsonObject };
    next.spec.items = [
      { name: 'b', size: 1 },
      { name: 'a', size: 4 },
      { name: 'c', size: 1 },
    ];
    expect(run(next as unknown as Json, old)).toEqual(['spec.items[1].size: Forbidden: a may not shrink']);
    expect(run({ spec: { min: 1 } })).toEqual([
      'spec: Invalid value: "object": no such key: max evaluating rule: self.min <= self.max',
    ]);
  });

  test('a rule that does not compile, or that could cost too much, is refused with the definition', () => {
    const bad = object({ a: { type: 'string', 'x-kubernetes-validations': [{ rule: 'self.nope > 1' }] } });
    expect(texts(ruleDefinitionErrors(bad, 's'))[0]).toMatch(
      /^s\.properties\[a\]\.x-kubernetes-validations\[0\]\.rule: Invalid value: "self\.nope > 1": compilation failed: ERROR: /,
    );
    const costly = object({
      a: {
        type: 'array',
        items: { type: 'string' },
        'x-kubernetes-validations': [{ rule: 'self.all(x, self.all(y, x == y || x != y))' }],
      },
    });
    expect(texts(ruleDefinitionErrors(costly, 's'))[0]).toContain('estimated rule cost exceeds budget by factor of');
    const bounded = cloneJson(costly) as { properties: { a: JsonObject } };
    bounded.properties.a.maxItems = 20;
    (bounded.properties.a.items as JsonObject).maxLength = 20;
    expect(texts(ruleDefinitionErrors(bounded as unknown as JsonObject, 's'))).toEqual([]);
  });

  test('a rule within lists without bounds is as dear as a request has room for what it is about, however many lists there are', () => {
    const within = (schema: JsonObject, maxItems?: number): JsonObject => ({
      type: 'array',
      items: schema,
      ...(maxItems === undefined ? {} : { maxItems }),
    });
    const errors = (rule: string, wrap: (schema: JsonObject) => JsonObject): string[] => {
      const inner = object({ a: { type: 'string' }, b: { type: 'string' } });
      inner['x-kubernetes-validations'] = [{ rule }];
      return texts(ruleDefinitionErrors(object({ list: wrap(inner) }), 's'));
    };
    const cheap = '!has(self.a) || has(self.b)';
    expect(errors(cheap, (schema) => within(schema))).toEqual([]);
    expect(errors(cheap, (schema) => within(object({ inner: within(within(schema)) })))).toEqual([]);
    // Bounds multiply: what is bounded by much more than a request has room for is refused, as upstream.
    expect(errors(cheap, (schema) => within(within(schema, 100_000), 100_000))[0]).toContain('exceeds budget');
    expect(errors(cheap, (schema) => within(within(schema, 100), 100))).toEqual([]);
    const dear = 'has(self.a) && self.a.matches("a+b+c+") && self.a.matches("d+e+f+")';
    expect(errors(dear, (schema) => within(schema))[0]).toContain('exceeds budget');
  });

  test('optionalOldSelf: the rule speaks on create, too', () => {
    const once = compileRules(
      structuralOf(
        object({
          a: {
            type: 'string',
            'x-kubernetes-validations': [
              { rule: 'oldSelf.hasValue() || self == "first"', optionalOldSelf: true, message: 'starts as first' },
            ],
          },
        }),
      ),
    )!;
    const budget = { remaining: 10_000_000 };
    expect(texts(ruleErrors(once, { a: 'x' }, undefined, budget))).toEqual([
      'a: Invalid value: "string": starts as first',
    ]);
    expect(texts(ruleErrors(once, { a: 'x' }, { a: 'y' }, budget))).toEqual([]);
  });
});
