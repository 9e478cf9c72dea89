import { expect, test } from 'vitest';
import { parseJsonPath } from './json-path.ts';

const object = {
  metadata: { name: 'x', annotations: { 'a.b/c': 'd' } },
  spec: { list: [{ n: 1 }, { n: 2 }, { n: 3 }] },
  status: {
    conditions: [
      { type: 'Ready', status: 'True' },
      { type: 'Old', status: 'False' },
    ],
  },
};

test.each([
  ['.metadata.name', ['x']],
  ['{.metadata.name}', ['x']],
  ['.metadata.annotations.a\\.b/c', ['d']],
  [".metadata.annotations['a.b/c']", ['d']],
  ['.status.conditions[?(@.type=="Ready")].status', ['True']],
  ["$.status.conditions[?(@.type == 'Old')].status", ['False']],
  ['.status.conditions[?(@.reason)].status', []],
  ['.spec.list[*].n', [1, 2, 3]],
  ['.spec.list[-1].n', [3]],
  ['.spec.list[0:2].n', [1, 2]],
  ['.spec.list[?(@.n>=2)].n', [2, 3]],
  ['..n', [1, 2, 3]],
  ['.nope.x[0]', []],
  ['.constructor', []],
])('%s', (path, expected) => {
  expect(parseJsonPath(path)(object)).toEqual(expected);
});

test.each(['.a[', '.a[x]', 'a b', '.a[?(1==1)]', '.a[?(@.b==x)]'])('%s is no path', (path) => {
  expect(() => parseJsonPath(path)).toThrow();
});
