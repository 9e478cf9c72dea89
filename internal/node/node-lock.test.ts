import { mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockFile } from '../base/file-lock-system.ts';
import { lockNode, refuseRunning } from './node-lock-system.ts';

let directory: string;
beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'node-lock-')));
});
afterEach(() => rmSync(directory, { recursive: true }));

const places = (runDir: string) => ({ dataDir: join(directory, 'data'), runDir: join(directory, runDir) });

test("a data directory is one node's, whatever its run directory is; when that ended, however, it is free", async () => {
  const first = Bun.spawn(
    [
      process.execPath,
      '-e',
      `const { lockNode } = await import('./node-lock-system.ts'); lockNode(${JSON.stringify(places('run-1'))}); console.log('held'); setInterval(() => {}, 1e6)`,
    ],
    { cwd: import.meta.dirname, stdout: 'pipe', env: { ...process.env, BUN_BE_BUN: '1' } },
  );
  await first.stdout.getReader().read();
  const told = `already runs with the data directory ${directory}/data, or is being started there (process ${first.pid})`;
  expect(() => lockNode(places('run-2'))).toThrow(told);
  await expect(refuseRunning(places('run-2'))).rejects.toMatchObject({
    code: 'RUNNING',
    message: expect.stringContaining(told) as string,
    hint: expect.stringContaining(`--run-dir ${directory}/run-1`) as string,
  });
  first.kill('SIGKILL');
  await first.exited;
  await refuseRunning(places('run-2'));
  lockNode(places('run-2')).release();
});

test('to look whether a node runs leaves no trace', async () => {
  await refuseRunning(places('run'));
  expect(readdirSync(directory)).toEqual([]);
});

test('a node whose control socket answers is seen, whatever its data directory is', async () => {
  const server = Bun.serve({ unix: join(directory, 'control.sock'), fetch: () => new Response() });
  try {
    await expect(refuseRunning({ dataDir: join(directory, 'other'), runDir: directory })).rejects.toThrow(
      `an appliance already runs here (${directory}/control.sock answers)`,
    );
  } finally {
    await server.stop(true);
  }
});

test('a lock whose file was removed meanwhile is none: whoever comes next has another file', () => {
  const path = join(directory, 'lock');
  const held = lockFile(path)!;
  rmSync(path);
  const next = lockFile(path);
  expect(next).toBeDefined();
  next?.release();
  held.release();
});
