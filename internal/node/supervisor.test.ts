import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AppError } from '../base/errors.ts';
import { silentLogger } from '../base/log.ts';
import { effectiveConfigFile } from '../config/paths.ts';
import type { PreparedNode } from './prepared-process.ts';
import { standardConfig } from './standard-config.testing.ts';
import { Supervisor } from './supervisor-system.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'supervisor-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function supervisorOf(prepareAgain: (stopping: AbortSignal) => Promise<PreparedNode>): {
  supervisor: Supervisor;
  node: PreparedNode;
} {
  const config = standardConfig(`dataDir: ${directory}/data\nrunDir: ${directory}/run\nroles: [agent, server]\n`);
  const node = { config, applianceId: 'test' };
  return {
    node,
    supervisor: new Supervisor({ node, log: silentLogger, version: '', onChange: () => undefined, prepareAgain }),
  };
}

test('a stop that begins while the configuration is read again: what is being read starts nothing any more', async () => {
  const read = Promise.withResolvers<PreparedNode>();
  const { node, supervisor } = supervisorOf(() => read.promise);
  const reloading = supervisor.reload();
  const begun = supervisor.beginStop();
  read.resolve(node);
  await begun;
  expect(await reloading).toMatchObject({ error: 'the node is stopping' });
  expect(supervisor.status()).toMatchObject({ stopping: true, instances: [] });
  expect(existsSync(effectiveConfigFile(`${directory}/run`))).toBe(false);
});

test('the process that reads it is told to give up, and a reload that comes later is refused', async () => {
  let asked = 0;
  const { supervisor } = supervisorOf((stopping) => {
    asked++;
    return new Promise((_resolve, reject) => {
      stopping.addEventListener('abort', () => reject(new AppError('RELOAD', 'killed')));
    });
  });
  const reloading = supervisor.reload();
  await supervisor.beginStop();
  expect(await reloading).toMatchObject({ error: 'the node is stopping' });
  expect(await supervisor.reload()).toMatchObject({ error: 'the node is stopping' });
  expect(asked).toBe(1);
});
