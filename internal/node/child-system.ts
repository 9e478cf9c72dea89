import { readFileSync } from 'node:fs';
import { AppError, errorText } from '../base/errors.ts';
import type { LogLevel } from '../base/log.ts';
import { systemLogger, systemRandom } from '../base/system.ts';
import type { Config } from '../config/config.ts';
import { nodePaths } from '../config/paths.ts';
import type { FromRole, ToRole } from './ipc.ts';
import { nodeClock } from '../base/last-time-system.ts';
import { giveBackWhenQuiet } from './quiet-system.ts';
import { roleEntry } from './role-table.ts';

const healthEveryMs = 2000;

/**
 * The main program of a role's process: `appliance role <instance> <file>`, started by the supervisor, which passes the effective
 * configuration in `file`, which only the role's user may read. Ends when the supervisor asks or goes away.
 */
export async function runRoleProcess(instance: string, configFile: string): Promise<never> {
  const config = JSON.parse(readFileSync(configFile, 'utf8')) as Config;
  const level: { value: LogLevel } = { value: config.logLevel };
  const log = systemLogger(level);
  const stopping = new AbortController();
  const tell = (message: FromRole): void => {
    if (process.connected) process.send?.(message);
  };
  // Ctrl-C reaches the whole process group; the supervisor alone decides the order in which roles end.
  process.on('SIGINT', () => undefined);
  const entry = roleEntry(instance);
  if (entry?.run.kind !== 'module') {
    log.error('no such role', { instance });
    process.exit(2);
  }
  const fail = (what: string, error: unknown): never => {
    // An expected failure says what it is and what to do; where it came from helps with the others only.
    if (error instanceof AppError)
      log.error(what, { error: errorText(error), ...(error.hint ? { hint: error.hint } : {}) });
    else log.error(what, { error: errorText(error), stack: error instanceof Error ? error.stack : undefined });
    tell({ t: 'failed', message: errorText(error) });
    process.exit(1);
  };
  process.on('uncaughtException', (error) => fail('uncaught exception', error));
  process.on('unhandledRejection', (error) => fail('unhandled rejection', error));

  let handle: Awaited<ReturnType<Awaited<ReturnType<typeof entry.run.load>>['start']>> | undefined;
  let ending = false;
  const end = async (why: string): Promise<void> => {
    if (ending) return;
    ending = true;
    log.info('stopping', { why });
    stopping.abort();
    try {
      await handle?.stop();
    } catch (error) {
      fail('stop failed', error);
    }
    process.exit(0);
  };
  process.on('SIGTERM', () => void end('SIGTERM'));
  process.on('disconnect', () => void end('the supervisor went away'));
  process.on('message', (message: ToRole) => {
    if (message.t === 'stop') void end('asked by the supervisor');
    else if (message.t === 'log-level') level.value = message.level;
    else void handle?.reload?.().catch((error: unknown) => log.error('reload failed', { error: errorText(error) }));
  });
  try {
    const { start } = await entry.run.load();
    const paths = nodePaths(config.dataDir, config.runDir);
    const clock = nodeClock(config.dataDir);
    handle = await start({
      role: entry.role,
      instance,
      config,
      paths,
      log,
      clock,
      random: systemRandom,
      stopping: stopping.signal,
      // Few roles look for others, and this is not small.
      discover: config.mdns
        ? async (signal) => (await import('./find-servers-client.ts')).discoverNodes(paths, clock, signal)
        : undefined,
      waits: (detail) => tell({ t: 'waits', detail }),
      fail: (error) => fail('cannot go on', error),
    });
  } catch (error) {
    fail('start failed', error);
  }
  tell({ t: 'ready' });
  giveBackWhenQuiet();
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, healthEveryMs));
    if (handle) tell({ t: 'health', ...handle.health() });
  }
}
