import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ControlHandlers, controlRequest, startControlServer } from './control-system.ts';
import type { NodeStatus, ReloadStatus } from './status.ts';

const status: NodeStatus = {
  protocol: 1,
  version: '1',
  node: 'n1',
  pid: 1,
  upSeconds: 1,
  stopping: false,
  logLevel: 'info',
  instances: [],
};
const reloaded: ReloadStatus = { at: 'now', applied: ['logLevel'], restart: [] };
const handlers = (more: Partial<ControlHandlers>): ControlHandlers => ({
  status: () => status,
  logFile: () => undefined,
  stop: () => undefined,
  reload: async () => reloaded,
  setLogLevel: () => undefined,
  ...more,
});

let directory: string;
let socket: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'control-'));
  socket = join(directory, 'control.sock');
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('the control socket', () => {
  test('is for its owner alone, and for one supervisor', async () => {
    const server = await startControlServer(socket, handlers({}));
    try {
      expect(statSync(socket).mode & 0o777).toBe(0o600);
      expect(await controlRequest<NodeStatus>(socket, 'GET', '/status')).toEqual(status);
      await expect(startControlServer(socket, handlers({}))).rejects.toThrow('already runs');
    } finally {
      server.close();
    }
    expect(await controlRequest(socket, 'GET', '/status')).toBeUndefined();
  });

  test('an answer may take longer than a silent connection lives', { timeout: 60_000 }, async () => {
    const server = await startControlServer(socket, handlers({ reload: () => Bun.sleep(13_000).then(() => reloaded) }));
    try {
      expect(await controlRequest<ReloadStatus>(socket, 'POST', '/reload')).toEqual(reloaded);
    } finally {
      server.close();
    }
  });
});
