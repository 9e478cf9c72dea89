import { describe, expect, test } from 'vitest';
import { builtinSchemas } from '../api/schema/structure.ts';
import type { Json, JsonObject } from './json.ts';
import { applyJsonPatch, applyMergePatch, applyStrategicMergePatch } from './patch.ts';

const podSchema = 'io.k8s.api.core.v1.Pod';
const deploymentSchema = 'io.k8s.api.apps.v1.Deployment';
const serviceSchema = 'io.k8s.api.core.v1.Service';
const strategic = (object: JsonObject, patch: JsonObject, schema = podSchema): JsonObject =>
  applyStrategicMergePatch(object, patch, schema, builtinSchemas);

test('JSON patch: copies of copies end at the bytes that they may add, however few operations make them', () => {
  const doubling = (times: number): Json[] => [
    { op: 'add', path: '/x', value: { text: 'some' } },
    ...Array.from({ length: times }, (_, i) => ({ op: 'copy', from: '/x', path: `/x/${i}` })),
  ];
  expect(() => applyJsonPatch({}, doubling(64))).toThrow(/copy operations of a JSON patch may add 3145728 bytes/);
  expect(applyJsonPatch({}, doubling(2))).toEqual({
    x: { text: 'some', 0: { text: 'some' }, 1: { text: 'some', 0: { text: 'some' } } },
  });
});

describe('JSON patch (examples of RFC 6902, appendix A)', () => {
  test.each<[string, JsonObject, Json[], JsonObject]>([
    ['adds an object member', { foo: 'bar' }, [{ op: 'add', path: '/baz', value: 'qux' }], { baz: 'qux', foo: 'bar' }],
    [
      'adds an array element',
      { foo: ['bar', 'baz'] },
      [{ op: 'add', path: '/foo/1', value: 'qux' }],
      { foo: ['bar', 'qux', 'baz'] },
    ],
    ['removes a member', { baz: 'qux', foo: 'bar' }, [{ op: 'remove', path: '/baz' }], { foo: 'bar' }],
    ['removes an element', { foo: ['bar', 'qux', 'baz'] }, [{ op: 'remove', path: '/foo/1' }], { foo: ['bar', 'baz'] }],
    ['replaces', { baz: 'qux' }, [{ op: 'replace', path: '/baz', value: 'boo' }], { baz: 'boo' }],
    [
      'moves',
      { foo: { bar: 'baz', waldo: 'fred' }, qux: { corge: 'grault' } },
      [{ op: 'move', from: '/foo/waldo', path: '/qux/thud' }],
      { foo: { bar: 'baz' }, qux: { corge: 'grault', thud: 'fred' } },
    ],
    [
      'moves in an array',
      { foo: ['all', 'grass', 'cows', 'eat'] },
      [{ op: 'move', from: '/foo/1', path: '/foo/3' }],
      { foo: ['all', 'cows', 'eat', 'grass'] },
    ],
    [
      'tests',
      { baz: 'qux', foo: ['a', 2, 'c'] },
      [
        { op: 'test', path: '/baz', value: 'qux' },
        { op: 'test', path: '/foo/1', value: 2 },
      ],
      { baz: 'qux', foo: ['a', 2, 'c'] },
    ],
    [
      'appends',
      { foo: ['bar'] },
      [{ op: 'add', path: '/foo/-', value: ['abc', 'def'] }],
      { foo: ['bar', ['abc', 'def']] },
    ],
    ['reads escapes', { '/': 9, '~1': 10 }, [{ op: 'test', path: '/~01', value: 10 }], { '/': 9, '~1': 10 }],
    ['copies', { a: { b: 1 } }, [{ op: 'copy', from: '/a', path: '/c' }], { a: { b: 1 }, c: { b: 1 } }],
  ])('%s', (_name, object, patch, result) => {
    expect(applyJsonPatch(object, patch)).toEqual(result);
  });
  test.each<[string, Json[], number]>([
    ['a test that fails', [{ op: 'test', path: '/a', value: 2 }], 422],
    ['a missing parent', [{ op: 'add', path: '/x/y', value: 1 }], 422],
    ['a missing member', [{ op: 'remove', path: '/x' }], 422],
    ['an index beyond the end', [{ op: 'add', path: '/list/9', value: 1 }], 422],
    ['an unknown operation', [{ op: 'spam', path: '/a' }], 400],
    ['a path without slash', [{ op: 'add', path: 'a', value: 1 }], 400],
    ['a prototype key', [{ op: 'add', path: '/__proto__', value: {} }], 400],
  ])('%s is refused', (_name, patch, code) => {
    expect(() => applyJsonPatch({ a: 1, list: [] }, patch)).toThrow(expect.objectContaining({ httpCode: code }));
  });
});

describe('merge patch (examples of RFC 7386, appendix A)', () => {
  test.each<[Json, Json, Json]>([
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('%j with %j', (object, patch, result) => {
    expect(applyMergePatch(object, patch)).toEqual(result);
  });
});

describe('strategic merge patch', () => {
  const pod = (spec: JsonObject): JsonObject => ({ metadata: { name: 'p' }, spec });
  test('merges containers by name and keeps the order of the server', () => {
    expect(
      strategic(
        pod({
          containers: [
            { name: 'a', image: '1' },
            { name: 'b', image: '1' },
          ],
        }),
        {
          spec: { containers: [{ name: 'b', image: '2' }] },
        },
      ),
    ).toEqual(
      pod({
        containers: [
          { name: 'a', image: '1' },
          { name: 'b', image: '2' },
        ],
      }),
    );
  });
  test('new items go where the patch has them', () => {
    const result = strategic(pod({ containers: [{ name: 'a' }, { name: 'b' }] }), {
      spec: {
        containers: [{ name: 'c' }, { name: 'a' }],
        '$setElementOrder/containers': [{ name: 'c' }, { name: 'a' }],
      },
    });
    expect((result.spec as JsonObject).containers).toEqual([{ name: 'c' }, { name: 'a' }, { name: 'b' }]);
  });
  test('deletes an item by $patch', () => {
    const result = strategic(pod({ containers: [{ name: 'a' }, { name: 'b' }] }), {
      spec: { containers: [{ $patch: 'delete', name: 'a' }] },
    });
    expect((result.spec as JsonObject).containers).toEqual([{ name: 'b' }]);
  });
  test('replaces a list by $patch', () => {
    const result = strategic(pod({ containers: [{ name: 'a' }, { name: 'b' }] }), {
      spec: { containers: [{ $patch: 'replace' }, { name: 'c' }] },
    });
    expect((result.spec as JsonObject).containers).toEqual([{ name: 'c' }]);
  });
  test('replaces and deletes maps by $patch', () => {
    expect(
      strategic({ metadata: { labels: { a: '1' } } }, { metadata: { labels: { $patch: 'replace', b: '2' } } }),
    ).toEqual({
      metadata: { labels: { b: '2' } },
    });
    expect(strategic({ metadata: { labels: { a: '1' } } }, { metadata: { labels: { $patch: 'delete' } } })).toEqual({
      metadata: { labels: {} },
    });
  });
  test('null deletes; a null in what is new is not stored', () => {
    expect(strategic({ metadata: { labels: { a: '1', b: '2' } } }, { metadata: { labels: { a: null } } })).toEqual({
      metadata: { labels: { b: '2' } },
    });
    expect(strategic({ metadata: {} }, { metadata: { labels: { a: null, c: '3' } } })).toEqual({
      metadata: { labels: { c: '3' } },
    });
  });
  test('$retainKeys drops what the patch does not name', () => {
    const result = strategic(
      { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } },
      { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } },
      deploymentSchema,
    );
    expect(result).toEqual({ spec: { strategy: { type: 'Recreate' } } });
  });
  test('$retainKeys of a volume swaps its source', () => {
    const result = strategic(pod({ volumes: [{ name: 'v', emptyDir: {} }] }), {
      spec: { volumes: [{ $retainKeys: ['name', 'hostPath'], name: 'v', hostPath: { path: '/x' } }] },
    });
    expect((result.spec as JsonObject).volumes).toEqual([{ name: 'v', hostPath: { path: '/x' } }]);
  });
  test('$deleteFromPrimitiveList and merged primitive lists', () => {
    const object = { metadata: { finalizers: ['a/x', 'b/x', 'c/x'] } };
    expect(strategic(object, { metadata: { '$deleteFromPrimitiveList/finalizers': ['b/x'] } })).toEqual({
      metadata: { finalizers: ['a/x', 'c/x'] },
    });
    expect(strategic(object, { metadata: { finalizers: ['d/x'] } })).toEqual({
      metadata: { finalizers: ['a/x', 'b/x', 'c/x', 'd/x'].sort((a, b) => (a === 'd/x' ? -1 : b === 'd/x' ? 1 : 0)) },
    });
  });
  test('atomic lists are replaced', () => {
    expect(
      strategic(pod({ containers: [{ name: 'a', args: ['1', '2'] }] }), {
        spec: { containers: [{ name: 'a', args: ['3'] }] },
      }),
    ).toEqual(pod({ containers: [{ name: 'a', args: ['3'] }] }));
  });
  test('service ports merge by port', () => {
    const result = strategic(
      { spec: { ports: [{ port: 80, name: 'http' }] } },
      { spec: { ports: [{ port: 443, name: 'https' }], '$setElementOrder/ports': [{ port: 80 }, { port: 443 }] } },
      serviceSchema,
    );
    expect((result.spec as JsonObject).ports).toEqual([
      { port: 80, name: 'http' },
      { port: 443, name: 'https' },
    ]);
  });
  test.each<[string, JsonObject]>([
    ['an item without its merge key', { spec: { containers: [{ image: 'x' }] } }],
    ['an unknown directive', { spec: { containers: [{ $patch: 'spam', name: 'a' }] } }],
    [
      'a patch list in another order',
      {
        spec: {
          '$setElementOrder/containers': [{ name: 'a' }, { name: 'b' }],
          containers: [{ name: 'b' }, { name: 'a' }],
        },
      },
    ],
  ])('%s is a bad request', (_name, patch) => {
    expect(() => strategic(pod({ containers: [{ name: 'a' }] }), patch)).toThrow(
      expect.objectContaining({ httpCode: 400 }),
    );
  });
});
