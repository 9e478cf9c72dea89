import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { roleTable } from './role-table.ts';
import { fullStopMsMax } from './teardown-system.ts';
import { claimRunDirectory, removeRunDirectory, runDirectoryState } from './run-directory-system.ts';

let directory: string;
let run: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'run-'));
  run = join(directory, 'run');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function fill(...names: string[]): void {
  mkdirSync(run);
  for (const name of names) writeFileSync(join(run, name), '{}');
}

test('whoever asks for a full stop waits longer than its parts may take one after the other', () => {
  const deadline = (name: string): number => roleTable.find(({ role }) => role === name)!.stopDeadlineMs;
  // Pods have 90 s and the network 30 s; what needs others stops before them.
  const chain = ['edge', 'agent', 'server', 'containerd', 'osd', 'mon'].reduce((sum, name) => sum + deadline(name), 0);
  expect(fullStopMsMax).toBeGreaterThan(chain + 90_000 + 30_000);
});

describe('the run directory', () => {
  test.each([
    ['missing', (): void => undefined],
    ['empty', (): void => fill()],
    ['ours', (): void => fill('effective.json', 'teardown.json')],
  ] as const)('that is %s is taken, and removed whole at the stop', async (state, make) => {
    make();
    expect(runDirectoryState(run)).toBe(state);
    claimRunDirectory(run);
    writeFileSync(join(run, 'containerd.sock'), '');
    claimRunDirectory(run);
    expect(runDirectoryState(run)).toBe('ours');
    await removeRunDirectory(run);
    expect(existsSync(run)).toBe(false);
  });

  test('of an earlier version, with a control socket, is ours', async () => {
    mkdirSync(run);
    const server = createServer();
    await new Promise<void>((listening) => server.listen(join(run, 'control.sock'), listening));
    expect(runDirectoryState(run)).toBe('ours');
    server.close();
  });

  test.each([['photo.jpg'], ['control.sock'], ['roles']])(
    'with %s of somebody else is refused and left alone',
    async (name) => {
      fill(name);
      expect(() => claimRunDirectory(run)).toThrow(`runDir ${run}: expected a directory that is empty`);
      await removeRunDirectory(run);
      expect(readdirSync(run)).toEqual([name]);
    },
  );

  test('that is empty and that no node took stays', async () => {
    fill();
    await removeRunDirectory(run);
    expect(existsSync(run)).toBe(true);
  });
});
