/**
 * `bun cmd/build/docs.ts`: writes the parts of docs/ that are made of tables in the code again: keys of the configuration, commands, exit codes.
 * A test tells when they are out of date.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { documents, withGenerated } from './documents.ts';

const root = join(import.meta.dir, '../..');
for (const [file, text] of Object.entries(documents())) {
  const path = join(root, file);
  writeFileSync(path, withGenerated(readFileSync(path, 'utf8'), text));
}
