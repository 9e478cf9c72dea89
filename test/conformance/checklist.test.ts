import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

/** `| id | ticked |` or `| id | open: reason |`. */
const rows = [
  ...readFileSync(join(import.meta.dirname, 'README.md'), 'utf8').matchAll(/^\| ([a-z0-9-]+) \| (.*) \|$/gm),
]
  .map((row) => ({ id: row[1]!, state: row[2]! }))
  .filter(({ id }) => id !== 'spec' && id !== '---');

const named = [...new Bun.Glob('api/*.test.ts').scanSync(import.meta.dirname)].flatMap((file) =>
  [
    ...readFileSync(join(import.meta.dirname, file), 'utf8').matchAll(/^\s*test\(\s*'conformance: ([a-z0-9-]+): /gm),
  ].map((name) => name[1]!),
);

test('each spec of the list that is ticked has one test of its name, and each test stands in the list', () => {
  expect(rows.length).toBeGreaterThan(140);
  expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length);
  const ticked = rows.filter(({ state }) => state === 'ticked').map(({ id }) => id);
  expect(named.toSorted()).toEqual(ticked.toSorted());
  for (const { state } of rows) expect(state).toMatch(/^(ticked|open: .+)$/);
});
