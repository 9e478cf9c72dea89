import { chmodSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { Hono } from 'hono';
import { AppError } from '../base/errors.ts';
import type { LogLevel } from '../base/log.ts';
import { followFile, maxTailLines, tailLog } from './log-tail-system.ts';
import { socketAnswers } from './probe-system.ts';
import type { NodeStatus, ReloadStatus } from './status.ts';

export interface ControlHandlers {
  status(): NodeStatus;
  /** The log of an instance, undefined when there is no such instance. */
  logFile(instance: string): string | undefined;
  stop(): void;
  reload(): Promise<ReloadStatus>;
  setLogLevel(level: LogLevel): void;
}

/** No request has a body; what is larger is refused. */
const maxRequestBytes = 4096;
/** Logs that are followed at the same time. */
const maxFollowers = 16;
const defaultTailLines = 100;
/** A reload takes its time, and a log may be silent: connections are not ended for it. bun-types knows the option for TCP only. */
const noIdleTimeout = { idleTimeout: 0 } as object;

/**
 * Serves the control socket (0600): HTTP, so that `curl --unix-socket` works too.
 *
 * - `GET /status`: `NodeStatus`; `GET /instances`: the names of instances
 * - `GET /logs/INSTANCE?lines=N&follow=true`: the last lines of its log, then what is added
 * - `PUT /log-level/LEVEL`: of the supervisor and of every role, until the next restart
 * - `POST /reload`: reads the configuration again, `ReloadStatus`; `POST /stop`
 */
export async function startControlServer(path: string, handlers: ControlHandlers): Promise<{ close(): void }> {
  if (await socketAnswers(path))
    throw new AppError('RUNNING', `an appliance already runs here (${path} answers)`, {
      hint: '`appliance status` shows it, `appliance down` stops it',
    });
  rmSync(path, { force: true });
  const app = new Hono();
  let followers = 0;
  app.get('/status', (c) => c.json(handlers.status()));
  app.get('/instances', (c) => c.json(handlers.status().instances.map((instance) => instance.name)));
  app.get('/logs/:instance', (c) => {
    const instance = c.req.param('instance');
    const file = handlers.logFile(instance);
    if (file === undefined) {
      const names = handlers.status().instances.map((one) => one.name);
      return c.text(`no instance ${JSON.stringify(instance.slice(0, 64))}; there are ${names.join(', ')}\n`, 404);
    }
    const asked = c.req.query('lines') ?? String(defaultTailLines);
    if (!/^\d{1,6}$/.test(asked) || Number(asked) > maxTailLines)
      return c.text(`lines: expected a number up to ${maxTailLines}\n`, 400);
    const follow = c.req.query('follow') ?? 'false';
    if (follow !== 'true' && follow !== 'false') return c.text('follow: expected true or false\n', 400);
    const { text, end } = tailLog(file, Number(asked));
    if (follow === 'false') return c.text(text);
    if (followers >= maxFollowers) return c.text(`already ${maxFollowers} logs are followed; end one of them\n`, 503);
    followers++;
    const stream = followFile(file, text, end, () => {
      followers--;
    });
    return c.body(stream, 200, { 'content-type': 'text/plain; charset=utf-8' });
  });
  app.post('/reload', async (c) => c.json(await handlers.reload()));
  app.post('/stop', (c) => {
    handlers.stop();
    return c.json({ stopping: true }, 202);
  });
  app.put('/log-level/:level{debug|info|warn|error}', (c) => {
    handlers.setLogLevel(c.req.param('level') as LogLevel);
    return c.body(null, 204);
  });
  // Made where only its owner may go, so that it is 0600 from the first moment that it can be seen.
  const nursery = `${dirname(path)}/.new`;
  rmSync(nursery, { recursive: true, force: true });
  mkdirSync(nursery, { mode: 0o700 });
  const server = Bun.serve({
    unix: `${nursery}/s`,
    maxRequestBodySize: maxRequestBytes,
    ...noIdleTimeout,
    fetch: (request) => app.fetch(request),
  });
  chmodSync(`${nursery}/s`, 0o600);
  renameSync(`${nursery}/s`, path);
  rmSync(nursery, { recursive: true });
  return {
    close: () => {
      void server.stop(true);
      rmSync(path, { force: true });
    },
  };
}

/** A request to the control socket; undefined when nothing answers there. Throws AppError CONTROL when it is refused. */
export async function controlFetch(
  path: string,
  method: 'GET' | 'POST' | 'PUT',
  route: string,
): Promise<Response | undefined> {
  if (!(await socketAnswers(path))) return undefined;
  const response = await fetch(`http://appliance${route}`, { unix: path, method });
  if (!response.ok)
    throw new AppError(
      'CONTROL',
      `${method} ${route} on ${path}: ${response.status} ${(await response.text()).trim()}`,
    );
  return response;
}

/** The same for an answer in JSON; undefined also when the answer has no content. */
export async function controlRequest<T>(
  path: string,
  method: 'GET' | 'POST' | 'PUT',
  route: string,
): Promise<T | undefined> {
  const response = await controlFetch(path, method, route);
  return !response || response.status === 204 ? undefined : ((await response.json()) as T);
}
