import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, expect, test } from 'vitest';
import { makeDirectory, readFileIfThere, writeFileAtomic } from './files-system.ts';

const dir = mkdtempSync(`${tmpdir()}/files-test-`);
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('a file appears with its missing directories; again is no error', () => {
  writeFileAtomic(`${dir}/a/b/file`, 'one', 0o600);
  writeFileAtomic(`${dir}/a/b/file`, 'two', 0o600);
  expect(readFileIfThere(`${dir}/a/b/file`)).toBe('two');
  makeDirectory(`${dir}/a/c/d`, 0o750);
  makeDirectory(`${dir}/a/c/d`, 0o750);
  expect(statSync(`${dir}/a/c/d`).mode & 0o777).toBe(0o750);
  expect(readFileIfThere(`${dir}/a/nothing`)).toBeUndefined();
});
