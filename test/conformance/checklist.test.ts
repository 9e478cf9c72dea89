import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

/** `| id | file |` or `| id | open: reason |`. */
const rows = [
  ...readFileSync(join(import.meta.dirname, 'README.md'), 'utf8').matchAll(/^\| ([a-z0-9-]+) \| (.*) \|$/gm),
]
  .map((row) => ({ id: row[1]!, state: row[2]! }))
  .filter(({ id }) => id !== 'spec' && id !== '---');

/** `id file` of each test that is there. */
const tests = [...new Bun.Glob('api/*.test.ts').scanSync(import.meta.dirname)].flatMap((file) =>
  [
    ...readFileSync(join(import.meta.dirname, file), 'utf8').matchAll(/^\s*test\(\s*'conformance: ([a-z0-9-]+): /gm),
  ].map((name) => `${name[1]} ${file.replace('api/', '')}`),
);

test('each spec of the table has one test of its name in its file, or a reason; each test stands in the table', () => {
  expect(rows.length).toBeGreaterThan(140);
  expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length);
  const closed = rows.filter(({ state }) => !state.startsWith('open: '));
  expect(tests.toSorted()).toEqual(closed.map(({ id, state }) => `${id} ${state}`).toSorted());
  for (const { state } of rows) expect(state).toMatch(/^([a-z-]+\.test\.ts|open: .+)$/);
});

const list = '../shared/design/conformance-checklist.md';
test.skipIf(!existsSync(list))(
  'the table has every spec of the list that an API server alone can prove (skipped without the list beside the tree)',
  () => {
    // `- [ ] id (1.37) — what is to be seen. [api]`
    const specs = [...readFileSync(list, 'utf8').matchAll(/^- \[.\] ([a-z0-9-]+)( \(1\.37\))? — (.*)$/gm)].map(
      ([, id, added, text]) => ({
        id: id!,
        tags: [...text!.matchAll(/\[(api|ctl|node|net)\]/g)].map((tag) => tag[1]),
        added: added !== undefined,
      }),
    );
    expect(specs.filter(({ added }) => !added)).toHaveLength(446);
    expect(new Set(specs.map(({ id }) => id)).size).toBe(specs.length);
    for (const { id, tags } of specs) expect(tags, id).not.toEqual([]);
    const own = specs.filter(({ tags }) => tags.includes('api'));
    expect(rows.map(({ id }) => id).toSorted()).toEqual(own.map(({ id }) => id).toSorted());
    const open = rows.filter(({ state }) => state.startsWith('open: '));
    // Only what this version of Kubernetes does not have may be open.
    expect(open.map(({ id }) => id).toSorted()).toEqual(own.flatMap(({ id, added }) => (added ? [id] : [])).toSorted());
  },
);
