import * as fs from 'node:fs';
import { describe, expect, test } from 'vitest';
import { runScript } from './script.testing.ts';

/** Each file tells one story; `UPDATE_SCRIPTS=1` writes what happens now, for a person to review. */
const folder = new URL('./testdata/', import.meta.url).pathname;

describe('raft: scripts', () => {
  for (const name of fs.readdirSync(folder).sort())
    test(name.replace(/\.txt$/, '').replaceAll('-', ' '), () => {
      const text = fs.readFileSync(folder + name, 'utf8');
      const now = runScript(text);
      if (process.env.UPDATE_SCRIPTS === '1') fs.writeFileSync(folder + name, now);
      else expect(now).toBe(text);
    });
});
