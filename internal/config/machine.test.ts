import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadConfig } from './machine-system.ts';

let directory = '';
beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'config-')));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test('directories are named as the mount table names them, also before they exist', () => {
  mkdirSync(join(directory, 'real'));
  symlinkSync('real', join(directory, 'link'));
  const file = join(directory, 'appliance.yaml');
  writeFileSync(file, `dataDir: ${directory}/link/./data\nrunDir: ${directory}/link/a/../run\n`);
  const config = loadConfig({ file, flags: {} });
  expect(config.dataDir).toBe(`${directory}/real/data`);
  expect(config.runDir).toBe(`${directory}/real/run`);
});
