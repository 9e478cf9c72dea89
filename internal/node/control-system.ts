import { chmodSync, rmSync } from 'node:fs';
import { Hono } from 'hono';
import { AppError } from '../base/errors.ts';
import type { LogLevel } from '../base/log.ts';
import { socketAnswers } from './probe-system.ts';
import type { NodeStatus } from './supervisor-system.ts';

export interface ControlHandlers {
  status(): NodeStatus;
  stop(): void;
  setLogLevel(level: LogLevel): void;
}

/** Serves the control socket (0600): HTTP, so that `curl --unix-socket` works too. */
export async function startControlServer(path: string, handlers: ControlHandlers): Promise<{ close(): void }> {
  if (await socketAnswers(path))
    throw new AppError('RUNNING', `an appliance already runs here (${path} answers)`, {
      hint: '`appliance status` shows it, `appliance down` stops it',
    });
  rmSync(path, { force: true });
  const app = new Hono();
  app.get('/status', (c) => c.json(handlers.status()));
  app.post('/stop', (c) => {
    handlers.stop();
    return c.json({ stopping: true }, 202);
  });
  app.put('/log-level/:level{debug|info|warn|error}', (c) => {
    handlers.setLogLevel(c.req.param('level') as LogLevel);
    return c.body(null, 204);
  });
  const server = Bun.serve({ unix: path, fetch: app.fetch });
  chmodSync(path, 0o600);
  return {
    close: () => {
      void server.stop(true);
      rmSync(path, { force: true });
    },
  };
}

/** One request to the control socket; undefined when nothing answers there. */
export async function controlRequest<T>(
  path: string,
  method: 'GET' | 'POST' | 'PUT',
  route: string,
): Promise<T | undefined> {
  if (!(await socketAnswers(path))) return undefined;
  const response = await fetch(`http://appliance${route}`, { unix: path, method });
  if (!response.ok)
    throw new AppError('CONTROL', `${method} ${route} on ${path}: ${response.status} ${await response.text()}`);
  return response.status === 204 ? undefined : ((await response.json()) as T);
}
