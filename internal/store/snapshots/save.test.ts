import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { nameSnapshot } from './save-system.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'save-'));
  writeFileSync(join(directory, 'a.db.part'), 'snapshot');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const failing = (code: string) => (): never => {
  throw Object.assign(new Error(code), { code });
};

describe.each([
  ['with second names', undefined],
  ['without second names (EPERM)', failing('EPERM')],
  ['without second names (EOPNOTSUPP)', failing('EOPNOTSUPP')],
])('on a file system %s', (_what, link) => {
  const name = (): void => nameSnapshot(join(directory, 'a.db.part'), join(directory, 'a.db'), link);

  test('a snapshot gets its name', () => {
    name();
    expect(readdirSync(directory)).toEqual(['a.db']);
    expect(readFileSync(join(directory, 'a.db'), 'utf8')).toBe('snapshot');
  });

  test('a file that has the name is not replaced', () => {
    writeFileSync(join(directory, 'a.db'), 'older');
    expect(name).toThrow(/EEXIST/);
    expect(readFileSync(join(directory, 'a.db'), 'utf8')).toBe('older');
  });
});

test('another failure is told', () => {
  expect(() => nameSnapshot(join(directory, 'a.db.part'), join(directory, 'a.db'), failing('EIO'))).toThrow('EIO');
  expect(readdirSync(directory)).toEqual(['a.db.part']);
});
