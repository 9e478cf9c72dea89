import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { effectiveConfig } from '../../internal/config/load.ts';
import { lockNode } from '../../internal/node/node-lock-system.ts';
import { claimRunDirectory } from '../../internal/node/run-directory-system.ts';
import { stopNode } from './down.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'down-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

test('down: a start that is being prepared is told, and nothing of it is removed', async () => {
  const text = `dataDir: ${directory}/data\nrunDir: ${directory}/run\n`;
  const config = effectiveConfig(text, 'test', { hostname: 'n1', ip: '192.168.7.1', freeBytes: 1e12 });
  const nothing = (): void => undefined;
  const progress = { line: nothing, done: nothing, wait: nothing, clear: nothing };
  const lock = lockNode(config);
  try {
    claimRunDirectory(config.runDir);
    writeFileSync(`${config.runDir}/effective.json`, '{}');
    await expect(stopNode(config, progress)).rejects.toMatchObject({
      code: 'RUNNING',
      message: expect.stringContaining(`is being started there (process ${process.pid})`) as string,
      hint: expect.stringContaining('call `appliance down` again') as string,
    });
    expect(existsSync(`${config.runDir}/effective.json`)).toBe(true);
  } finally {
    lock.release();
  }
});
