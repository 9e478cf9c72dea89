import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { documents, withGenerated } from './documents.ts';

test.each(Object.entries(documents()))('%s is as the tables in the code are (bun cmd/build/docs.ts)', (file, text) => {
  const document = readFileSync(join(import.meta.dirname, '../..', file), 'utf8');
  expect(withGenerated(document, text)).toBe(document);
});
